"""Registration, `include`, `match`: what is refused names both templates and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from typing import Any, assert_type

import pytest

from aiorest_ws.abstract import AbstractRouter
from aiorest_ws.app import Application
from aiorest_ws.auth.permissions import HasScope, IsAuthenticated
from aiorest_ws.decorators import endpoint
from aiorest_ws.dependencies import Depends
from aiorest_ws.exceptions import (
    EndpointValueError,
    InvalidHandler,
    InvalidPathArgument,
    InvalidRenderer,
    MethodNotAllowed,
    NoReverseMatch,
    NotSpecifiedHandler,
    NotSupportedArgumentType,
)
from aiorest_ws.renderers import XMLRenderer
from aiorest_ws.routers import Route, SimpleRouter
from aiorest_ws.testing import TestClient
from aiorest_ws.urls import resolve, reverse
from aiorest_ws.views import MethodBasedView
from aiorest_ws.wrappers import Request

VERBS = ["GET", "POST", "HEAD", "OPTIONS", "DELETE", "PUT", "TRACE", "PATCH"]


class Anything(MethodBasedView):
    def get(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return list(args)

    post = head = options = delete = put = trace = patch = get


class GetOnly(MethodBasedView):
    def get(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return list(args)


def state(router: SimpleRouter) -> Any:
    """Give all that a failed registration could have changed."""
    return router.routes, [(route.path, route.methods, route.name) for route in router.routes]


def refused(router: SimpleRouter, error: type[Exception], *args: Any, **kwargs: Any) -> str:
    """Give the text with which a registration is refused, and see to it that nothing has changed."""
    before = state(router)
    with pytest.raises(error) as caught:
        router.register(*args, **kwargs)
    assert state(router) == before
    return str(caught.value)


def matches(router: SimpleRouter, url: str, method: str = "GET") -> Any:
    """Give path and parameters of the route, or the error."""
    try:
        route, parameters = router.match(method, url)
    except NotSpecifiedHandler as exc:
        return type(exc)
    return route.path, parameters


@pytest.fixture
def router() -> SimpleRouter:
    return SimpleRouter()


# Paths


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/a", "/a/"),
        ("/a/", "/a/"),
        (" /a ", "/a/"),
        ("/", "/"),
        ("/a/{x}", "/a/{x}/"),
        ("/é/{ö}", "/é/{ö}/"),
        ("//", "//"),
    ],
)
def test_a_path_gets_its_last_slash(router: SimpleRouter, path: str, template: str) -> None:
    router.register(path, Anything, "GET")
    assert [route.path for route in router.routes] == [template]


@pytest.mark.parametrize("path", ["a", "", " ", "a/b", "{x}", "http://a/"])
def test_a_path_must_start_with_a_slash(router: SimpleRouter, path: str) -> None:
    said = refused(router, InvalidPathArgument, path, Anything, "GET")
    assert said == f"Path should be started with `/` symbol, got {path!r}"


@pytest.mark.parametrize("path", [None, 5, b"/a", ["/a"], object()])
def test_a_path_must_be_text(router: SimpleRouter, path: Any) -> None:
    assert "path" in refused(router, NotSupportedArgumentType, path, Anything, "GET")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/a/{ x }/", "Invalid { x } part of /a/{ x }/ path"),
        ("/a/{x-y}/", "Invalid {x-y} part of /a/{x-y}/ path"),
        ("/a/{}/", "Invalid {} part of /a/{}/ path"),
        ("/a/{x/", "Invalid {x part of /a/{x/ path"),
        ("/a/x}/", "Invalid x} part of /a/x}/ path"),
        ("/a/{{x}}/", "Invalid {{x}} part of /a/{{x}}/ path"),
        ("/a/{x:}/", "Invalid {x:} part of /a/{x:}/ path"),
    ],
)
def test_a_malformed_part_of_a_path_is_named(router: SimpleRouter, path: str, text: str) -> None:
    assert refused(router, EndpointValueError, path, Anything, "GET") == text


@pytest.mark.parametrize("path", ["/{x}/{x}/", "/{x}{x}/", "/{1x}/", "/a\n/", "/\x00/", "/" + "a/" * 1000])
def test_a_bad_pattern_is_named(router: SimpleRouter, path: str) -> None:
    assert refused(router, EndpointValueError, path, Anything, "GET").startswith("Bad pattern ")


@pytest.mark.parametrize(
    ("path", "url", "parameters"),
    [
        ("/a{x}b/", "/a1b", ("1",)),
        ("/a/{x}.json/", "/a/1.2.json", ("1.2",)),
        ("/{x}-{y}/", "/1-2-3/", ("1-2", "3")),
        ("/{y}/{x}/", "/1/2", ("1", "2")),
        ("/{x}/", "/b%2Fb", ("b%2Fb",)),
        ("/{x}/", "/a b", ("a b",)),
        ("/{_1}/", "/é", ("é",)),
    ],
)
def test_parameters_are_given_in_the_order_of_the_template(
    router: SimpleRouter, path: str, url: str, parameters: tuple[str, ...]
) -> None:
    router.register(path, Anything, "GET")
    route, found = router.match("GET", url)
    assert isinstance(route, Route)
    assert found == parameters


# Handlers


@pytest.mark.parametrize("handler", [None, 5, "view", object(), Anything()], ids=str)
def test_what_is_no_class_is_an_invalid_handler(router: SimpleRouter, handler: Any) -> None:
    assert refused(router, InvalidHandler, "/", handler, "GET") == (
        "Received handler isn't correct. It shall be function or class, inherited from the MethodBasedView class."
    )


@pytest.mark.parametrize("handler", [object, int, Request])
def test_a_class_must_be_a_view(router: SimpleRouter, handler: Any) -> None:
    assert refused(router, InvalidHandler, "/", handler, "GET") == (
        "Your class should be inherited from the MethodBasedView class"
    )


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "GET"])
def test_a_declared_verb_that_the_view_lacks_is_refused_and_named(router: SimpleRouter, verb: str) -> None:
    text = refused(router, InvalidHandler, "/", GetOnly, ["GET", verb])
    assert text == f"view GetOnly has no method '{verb.lower()}' for the declared verb '{verb}'"


@pytest.mark.parametrize("verb", ["dispatch", "get_renderer", "methods", "renderers", "auth_required"])
def test_what_the_base_class_has_is_no_verb(router: SimpleRouter, verb: str) -> None:
    assert verb in refused(router, InvalidHandler, "/", Anything, verb)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        *(("GTE", "GET"), ("gett", "GET"), ("GT", "GET"), ("PSOT", "POST"), ("POSTT", "POST"), ("PTU", "PUT")),
        *(("PATHC", "PATCH"), ("PTACH", "PATCH"), ("DELET", "DELETE"), ("DELEET", "DELETE"), ("HAED", "HEAD")),
        *(("OPTION", "OPTIONS"), ("TARCE", "TRACE"), (["GET", " psot "], "POST")),
    ],
)
def test_a_verb_with_a_slip_of_the_pen_is_refused_and_named(router: SimpleRouter, wrong: Any, meant: str) -> None:
    verb = (wrong if isinstance(wrong, str) else wrong[-1]).strip().upper()
    said = (
        f"has no verb '{verb}', did you mean '{meant}'? A verb of your own is a method of its name in a MethodBasedView"
    )
    for register in (
        router.route,
        endpoint,
        lambda path, methods: router.register(path, lambda request: None, methods),
    ):
        with pytest.raises(NotSupportedArgumentType) as caught:
            register("/a", wrong)
        assert str(caught.value).startswith("endpoint /a")
        assert str(caught.value).endswith(said)
    assert router.routes == ()


@pytest.mark.parametrize("verb", ["WATCH", "MATCH", "BATCH", "SET", "READ", "TRACK", "HOST", "LIST", "PURGE", "search"])
def test_a_function_may_have_a_verb_of_its_own(router: SimpleRouter, verb: str) -> None:
    router.route("/a", [verb])(lambda request: None)
    assert router.match(verb.upper(), "/a")[0].methods == (verb.upper(),)


@pytest.mark.parametrize("verb", VERBS)
def test_a_decorator_of_one_verb_takes_no_others(router: SimpleRouter, verb: str) -> None:
    with pytest.raises(TypeError) as caught:
        getattr(router, verb.lower())("/a", methods=["GET", "POST"])
    assert str(caught.value) == (
        f"`@router.{verb.lower()}` is for {verb} alone, got methods=['GET', 'POST']: "
        "`@router.route(path, methods)` takes them"
    )


def test_a_verb_of_its_own_may_be_declared(router: SimpleRouter) -> None:
    class Purging(MethodBasedView):
        def purge(self, request: Any) -> None: ...

    router.register("/", Purging, "purge")
    assert router.match("PURGE", "/")[0].methods == ("PURGE",)


def test_a_handler_that_cannot_take_the_path_parameters_is_refused(router: SimpleRouter) -> None:
    class TakesOne(MethodBasedView):
        def get(self, request: Any, x: str) -> None: ...

        def put(self, request: Any, x: str, y: str, /) -> None: ...

        def post(self) -> None: ...

    router.register("/{x}", TakesOne, "GET")
    assert refused(router, InvalidHandler, "/{x}/{y}", TakesOne, "GET").endswith(
        "takes 1 path parameters, its path has 2"
    )
    assert "positional-only parameter 'y'" in refused(router, InvalidHandler, "/a/{x}", TakesOne, "PUT")
    assert "must take `self` and `request` first" in refused(router, InvalidHandler, "/a/{x}", TakesOne, "POST")


@pytest.mark.parametrize("check", [object(), type("NoCheck", (), {})], ids=["object", "class"])
def test_a_permission_without_check_is_refused(router: SimpleRouter, check: Any) -> None:
    view = type("View", (GetOnly,), {"permission_classes": (check,)})
    assert "check" in refused(router, InvalidHandler, "/", view, "GET")


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("auth_requierd", "auth_required"),
        ("auth_require", "auth_required"),
        ("authrequired", "auth_required"),
        ("permission_class", "permission_classes"),
        ("permissions_classes", "permission_classes"),
    ],
)
def test_a_view_that_is_open_by_a_slip_of_the_pen_is_refused(router: SimpleRouter, wrong: str, near: str) -> None:
    view = type("View", (type("Base", (GetOnly,), {wrong: True}),), {})
    text = refused(router, InvalidHandler, "/", view, "GET")
    assert text == f"view View has an attribute '{wrong}', did you mean '{near}'?"


def test_a_view_may_have_attributes_of_its_own(router: SimpleRouter) -> None:
    router.register("/", type("View", (GetOnly,), {"author": 1, "required": 2, "roles": 3, "classes": 4}), "GET")


def test_permissions_that_are_no_list_are_refused(router: SimpleRouter) -> None:
    view = type("View", (GetOnly,), {"permission_classes": IsAuthenticated})
    text = refused(router, InvalidHandler, "/", view, "GET")
    assert text.startswith("permission_classes of view View must be a list or a tuple, got ")


def test_a_permission_that_is_a_class_where_an_instance_is_due_is_refused(router: SimpleRouter) -> None:
    """It would let nobody in, and say why only in the log."""
    view = type("View", (GetOnly,), {"permission_classes": (HasScope,)})
    text = refused(router, InvalidHandler, "/", view, "GET")
    assert text.endswith(
        "cannot be asked with check(request, handler), missing a required argument: 'handler': give an instance of it"
    )
    router.register("/", type("View", (GetOnly,), {"permission_classes": (HasScope("read"),)}), "GET")


# Methods


@pytest.mark.parametrize("methods", [("GET",), {"GET"}, 5, {"GET": 1}, frozenset(["GET"])], ids=str)
def test_methods_must_be_a_list_or_a_string(router: SimpleRouter, methods: Any) -> None:
    assert refused(router, NotSupportedArgumentType, "/", Anything, methods) == (
        'Variable with name "methods" must be `list` or `str` type.'
    )


@pytest.mark.parametrize(
    "methods", [[], "", " ", [""], ["GET", 5], ["GET", None], "GET POST", "__init__", "gét"], ids=str
)
def test_what_is_no_verb_is_refused(router: SimpleRouter, methods: Any) -> None:
    refused(router, NotSupportedArgumentType, "/", Anything, methods)


def test_methods_are_upper_case_stripped_and_each_once(router: SimpleRouter) -> None:
    router.register("/", Anything, [" get ", "GET", "Post"])
    assert router.routes[0].methods == ("GET", "POST")


def test_methods_are_those_of_the_route_alone(router: SimpleRouter) -> None:
    """R1 and R3: every declared method works, no other does, and routes do not share a list."""
    methods = ["GET"]
    router.register("/a", Anything, methods)
    methods.append("PUT")
    router.register("/b", Anything, VERBS)
    assert matches(router, "/a", "PUT") is MethodNotAllowed
    for verb in VERBS:
        assert matches(router, "/b", verb) == ("/b/", ())
    assert router.routes[0].methods == ("GET",)


@pytest.mark.parametrize("verb", ["HEAD", "OPTIONS"])
def test_head_and_options_exist_only_where_they_are_declared(router: SimpleRouter, verb: str) -> None:
    router.register("/a", Anything, "GET")
    router.register("/b", Anything, ["GET", verb])
    assert matches(router, "/a", verb) is MethodNotAllowed
    assert matches(router, "/b", verb) == ("/b/", ())


# Names


@pytest.mark.parametrize("name", [None, "", 0, (), False], ids=repr)
def test_a_false_name_is_none(router: SimpleRouter, name: Any) -> None:
    router.register("/a", Anything, "GET", name)
    router.register("/b", Anything, "GET", name=name)
    assert [route.name for route in router.routes] == [None, None]


@pytest.mark.parametrize("name", [5, ["name"], b"name", object], ids=repr)
def test_a_name_must_be_text(router: SimpleRouter, name: Any) -> None:
    assert refused(router, NotSupportedArgumentType, "/", Anything, "GET", name) == "name variable must be string type"


def test_a_name_twice_is_refused(router: SimpleRouter) -> None:
    router.register("/a", Anything, "GET", name="detail")
    text = refused(router, EndpointValueError, "/b", Anything, "GET", name="detail")
    assert text.startswith("Duplicate detail, already handled by ")
    assert "/a/" in text
    assert matches(router, "/b") is NotSpecifiedHandler


# The same path and method


@pytest.mark.parametrize(
    ("first", "second"),
    [("/a", "/a/"), ("/a/{x}", "/a/{y}"), ("/{a}.{b}/c", "/{x}.{y}/c"), ("/", "/"), ("/{x}/{y}", "/{y}/{x}")],
)
def test_the_same_path_and_method_twice_is_refused_and_names_both(
    router: SimpleRouter, first: str, second: str
) -> None:
    router.register(first, Anything, "GET")
    text = refused(router, EndpointValueError, second, Anything, ["POST", "GET"], name="second")
    assert first in text
    assert second in text
    assert "GET" in text
    if "{" not in first:
        assert matches(router, first, "POST") is MethodNotAllowed  # not half of it either
    router.register(second, Anything, "POST", name="second")


def test_one_path_may_be_registered_with_several_methods(router: SimpleRouter) -> None:
    router.register("/a/{x}", GetOnly, "GET")
    router.register("/a/{y}", Anything, ["POST", "PUT"])
    assert router.match("GET", "/a/1")[0].handler is GetOnly
    assert router.match("PUT", "/a/1")[0].handler is Anything
    assert matches(router, "/a/1", "DELETE") is MethodNotAllowed


# Matching


def test_a_literal_beats_a_parameter_whatever_the_order(router: SimpleRouter) -> None:
    router.register("/user/{id}", Anything, "GET")
    router.register("/user/list", Anything, "GET")
    router.register("/user/{x}.json", Anything, "GET")
    assert matches(router, "/user/list") == ("/user/list/", ())
    assert matches(router, "/user/5") == ("/user/{id}/", ("5",))
    assert matches(router, "/user/5.json") == ("/user/{x}.json/", ("5",))


def test_a_choice_that_leads_nowhere_is_taken_back(router: SimpleRouter) -> None:
    router.register("/a/{y}/b", Anything, "GET")
    router.register("/{x}/c", Anything, "GET")
    assert matches(router, "/a/c") == ("/{x}/c/", ("a",))
    assert matches(router, "/a/1/b") == ("/a/{y}/b/", ("1",))
    assert matches(router, "/a/1/c") is NotSpecifiedHandler


def test_405_only_when_no_matching_template_has_the_method(router: SimpleRouter) -> None:
    router.register("/a/b", Anything, "GET")
    router.register("/a/{x}", Anything, "POST")
    assert matches(router, "/a/b", "GET") == ("/a/b/", ())
    assert matches(router, "/a/b", "POST") == ("/a/{x}/", ("b",))
    assert matches(router, "/a/b", "PUT") is MethodNotAllowed
    assert matches(router, "/a/c", "GET") is MethodNotAllowed
    assert matches(router, "/c", "GET") is NotSpecifiedHandler


@pytest.mark.parametrize("url", ["/hello", "/hello/", " /hello ", "  /hello/"])
def test_outer_spaces_and_the_last_slash_do_not_matter(router: SimpleRouter, url: str) -> None:
    router.register("/hello", Anything, "GET")
    assert matches(router, url) == ("/hello/", ())


@pytest.mark.parametrize(
    "url", ["hello", "/hello//", "/hello?x=1", "/HELLO", "//hello", "/hello/x", "/%68ello", "/{x}", ""]
)
def test_a_url_is_taken_as_it_is(router: SimpleRouter, url: str) -> None:
    router.register("/hello", Anything, "GET")
    assert matches(router, url) is NotSpecifiedHandler


@pytest.mark.parametrize("url", [" ", "/"])
def test_nothing_and_a_slash_are_the_root(router: SimpleRouter, url: str) -> None:
    router.register("/", Anything, "GET")
    assert matches(router, url) == ("/", ())


# Endpoints


def test_register_endpoint_and_register_take_a_decorated_function(router: SimpleRouter) -> None:
    @endpoint("/a/{x}", ["GET", "PUT"], name="a")
    def first(request: Any, x: str) -> None: ...

    @endpoint("/b", "GET")
    def second(request: Any) -> None: ...

    router.register_endpoint(first)
    router.register(second)
    assert [(route.path, route.methods, route.name) for route in router.routes] == [
        ("/a/{x}/", ("GET", "PUT"), "a"),
        ("/b/", ("GET",), None),
    ]


@pytest.mark.parametrize("handler", [None, lambda: ("/", Anything, "GET", None), Anything, 5, ("/", Anything)], ids=str)
def test_register_endpoint_refuses_anything_else(router: SimpleRouter, handler: Any) -> None:
    with pytest.raises(InvalidHandler, match="@endpoint"):
        router.register_endpoint(handler)
    assert router.routes == ()


def test_methods_of_an_endpoint_are_checked_at_registration(router: SimpleRouter) -> None:
    @endpoint("/", ("GET",))  # type: ignore[arg-type]
    def function(request: Any) -> None: ...

    with pytest.raises(NotSupportedArgumentType, match="`list` or `str`"):
        router.register_endpoint(function)


def test_an_endpoint_that_cannot_take_the_path_parameters_is_refused(router: SimpleRouter) -> None:
    @endpoint("/{x}/{y}", "GET")
    def function(request: Any, x: str) -> None: ...

    with pytest.raises(InvalidHandler, match="takes 1 path parameters, its path has 2"):
        router.register_endpoint(function)
    assert router.routes == ()


# include


def test_include_takes_every_route_with_its_name(router: SimpleRouter) -> None:
    other = SimpleRouter()
    other.register("/a/{x}", Anything, ["GET", "PUT"], name="a")
    router.include(other)
    assert matches(router, "/a/1", "PUT") == ("/a/{x}/", ("1",))
    assert router.routes[0].name == "a"


@pytest.mark.parametrize("prefix", ["/v2", "/v2/", " /v2 "])
def test_include_puts_a_prefix_in_front(router: SimpleRouter, prefix: str) -> None:
    other = SimpleRouter()
    other.register("/a", Anything, "GET")
    other.register("/", Anything, "GET")
    router.include(other, prefix=prefix)
    assert matches(router, "/v2/a") == ("/v2/a/", ())
    assert matches(router, "/v2") == ("/v2/", ())
    assert matches(router, "/a") is NotSpecifiedHandler
    assert matches(other, "/a") == ("/a/", ())


def test_a_prefix_may_have_parameters_and_they_come_first(router: SimpleRouter) -> None:
    other = SimpleRouter()
    other.register("/a/{x}", Anything, "GET")
    router.include(other, prefix="/{tenant}")
    assert matches(router, "/t/a/1") == ("/{tenant}/a/{x}/", ("t", "1"))


def test_a_prefix_whose_parameters_clash_is_refused(router: SimpleRouter) -> None:
    other = SimpleRouter()
    other.register("/a/{x}", Anything, "GET")
    with pytest.raises(EndpointValueError, match="'x'"):
        router.include(other, prefix="/{x}")
    assert router.routes == ()
    other.register("/b", Anything, "GET")
    assert router.routes == ()


def test_a_prefix_whose_parameters_the_handler_cannot_take_is_refused(router: SimpleRouter) -> None:
    class TakesNone(MethodBasedView):
        def get(self, request: Any) -> None: ...

    other = SimpleRouter()
    other.register("/a", TakesNone, "GET")
    with pytest.raises(InvalidHandler, match="path parameters"):
        router.include(other, prefix="/{x}")
    assert router.routes == ()


@pytest.mark.parametrize("prefix", ["v2", "/{", "/{x-y}", "/\n/"])
def test_a_malformed_prefix_is_refused(router: SimpleRouter, prefix: str) -> None:
    other = SimpleRouter()
    other.register("/a", Anything, "GET")
    with pytest.raises((InvalidPathArgument, EndpointValueError)):
        router.include(other, prefix=prefix)
    assert router.routes == ()


def test_a_route_added_to_an_included_router_later_is_seen(router: SimpleRouter) -> None:
    inner, middle = SimpleRouter(), SimpleRouter()
    middle.include(inner, prefix="/inner")
    router.include(middle, prefix="/middle")
    inner.register("/late", Anything, "GET", name="late")
    assert matches(router, "/middle/inner/late") == ("/middle/inner/late/", ())
    assert matches(middle, "/inner/late") == ("/inner/late/", ())
    assert [route.name for route in router.routes] == ["late"]


def test_a_late_route_that_clashes_above_is_added_nowhere(router: SimpleRouter) -> None:
    inner = SimpleRouter()
    router.include(inner, prefix="/v1")
    router.register("/v1/a/{x}", Anything, "GET", name="a")
    for path, name in (("/a/{y}", "b"), ("/other", "a")):
        before = state(router)
        with pytest.raises(EndpointValueError) as caught:
            inner.register(path, Anything, "GET", name=name)
        assert state(router) == before
        assert inner.routes == ()
        assert "/v1/a/{x}/" in str(caught.value)
        if name == "b":
            assert "/v1/a/{y}/" in str(caught.value)
    assert matches(inner, "/a/1") is NotSpecifiedHandler


def test_include_reports_clashes_of_paths_and_names_and_changes_nothing(router: SimpleRouter) -> None:
    router.register("/a/{x}", Anything, "GET", name="a")
    same_path, same_name = SimpleRouter(), SimpleRouter()
    same_path.register("/free", Anything, "GET")
    same_path.register("/a/{y}", Anything, ["PUT", "GET"])
    same_name.register("/free", Anything, "GET")
    same_name.register("/b", Anything, "GET", name="a")
    before = state(router)
    with pytest.raises(EndpointValueError) as caught:
        router.include(same_path)
    assert "/a/{x}/" in str(caught.value)
    assert "/a/{y}/" in str(caught.value)
    with pytest.raises(EndpointValueError, match="Duplicate a, already handled by "):
        router.include(same_name)
    assert state(router) == before
    assert matches(router, "/free") is NotSpecifiedHandler
    same_path.register("/later", Anything, "GET")
    assert matches(router, "/later") is NotSpecifiedHandler, "a refused include must not be remembered"


def test_a_router_may_be_included_twice_under_two_prefixes_if_it_has_no_names(router: SimpleRouter) -> None:
    other = SimpleRouter()
    other.register("/a", Anything, "GET")
    router.include(other, prefix="/v1")
    router.include(other, prefix="/v2")
    other.register("/b", Anything, "GET")
    for url in ("/v1/a", "/v2/a", "/v1/b", "/v2/b"):
        assert matches(router, url) == (url + "/", ())
    with pytest.raises(EndpointValueError, match="Duplicate c, already handled by "):
        other.register("/c", Anything, "GET", name="c")
    assert matches(router, "/v1/c") is NotSpecifiedHandler


def test_a_router_included_twice_without_prefix_is_refused(router: SimpleRouter) -> None:
    other = SimpleRouter()
    other.register("/a", Anything, "GET")
    router.include(other)
    with pytest.raises(EndpointValueError, match="/a/"):
        router.include(other)
    assert len(router.routes) == 1


def test_an_empty_router_included_twice_finds_the_clash_later(router: SimpleRouter) -> None:
    other = SimpleRouter()
    router.include(other)
    router.include(other)
    with pytest.raises(EndpointValueError, match="/a/"):
        other.register("/a", Anything, "GET")
    assert (router.routes, other.routes) == ((), ())


def test_routers_cannot_include_themselves(router: SimpleRouter) -> None:
    inner = SimpleRouter()
    router.include(inner, prefix="/inner")
    for outer, included in ((router, router), (inner, router)):
        with pytest.raises(EndpointValueError, match="cannot include itself"):
            outer.include(included, prefix="/x")
    inner.register("/a", Anything, "GET")
    assert matches(router, "/inner/a") == ("/inner/a/", ())


class Foreign(AbstractRouter):
    def process_request(self, request: Any) -> bytes:
        return b""


@pytest.mark.parametrize("other", [None, 5, object(), SimpleRouter])
def test_only_a_router_can_be_included(router: SimpleRouter, other: Any) -> None:
    with pytest.raises(TypeError, match=r"^Passed router must be inherited from the AbstractRouter class\.$"):
        router.include(other)


def test_a_foreign_router_cannot_be_included(router: SimpleRouter) -> None:
    with pytest.raises(TypeError, match="only a SimpleRouter can be included, got Foreign"):
        router.include(Foreign())  # type: ignore[arg-type]


def test_routers_share_nothing(router: SimpleRouter) -> None:
    router.register("/a", Anything, "GET", name="a")
    other = SimpleRouter()
    assert other.routes == ()
    other.register("/a", Anything, "GET", name="a")


# Route and process_request


def test_a_route_matches_whatever_the_method(router: SimpleRouter) -> None:
    router.register("/a/{x}.{y}", Anything, ["PUT", "GET"])
    (route,) = router.routes
    assert route.match("/a/1.2") == ("1", "2")
    assert route.match("/a/1") is None
    assert repr(route) == "<Route PUT,GET /a/{x}.{y}/>"


def test_process_request_answers_by_itself(router: SimpleRouter) -> None:
    """As in 1.1.1, and as tests of applications do it: without a server."""
    router.register("/a/{x}", Anything, "GET")
    rendered = router.process_request(Request(method="GET", url="/a/1", event_name="e"))
    assert rendered == b'{"data":["1"],"event_name":"e"}'


def test_process_request_raises_what_went_wrong(router: SimpleRouter) -> None:
    router.register("/a", Anything, "GET")
    with pytest.raises(NotSpecifiedHandler):
        router.process_request(Request(method="GET", url="/b"))
    with pytest.raises(MethodNotAllowed):
        router.process_request(Request(method="PUT", url="/a"))


def test_thousands_of_routes_are_registered_and_matched(router: SimpleRouter) -> None:
    for number in range(2000):
        router.register(f"/r{number}/{{x}}", GetOnly, "GET")
    assert json.dumps(matches(router, "/r1999/5")) == '["/r1999/{x}/", ["5"]]'


# Decorators of the router


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_a_decorator_that_gives_the_function_back(router: SimpleRouter, verb: str) -> None:
    def plain(request: Any, number: int) -> list[Any]:
        return ["plain", number]

    async def waiting(request: Any, number: int) -> list[Any]:
        return ["waiting", number]

    decorator = getattr(router, verb.lower())
    assert decorator("/plain/{number:int}")(plain) is plain
    assert decorator("/waiting/{number:int}", name="waiting")(waiting) is waiting
    assert [(route.methods, route.name) for route in router.routes] == [((verb,), None), ((verb,), "waiting")]
    assert plain(None, 1) == ["plain", 1]
    with TestClient(Application(router)) as client:
        for kind in ("plain", "waiting"):
            assert client.request(verb, f"/{kind}/7").data == [kind, 7]


def test_route_takes_several_methods_and_functions_may_be_decorated_again(router: SimpleRouter) -> None:
    @router.get("/other")
    @router.route("/items/{number}", ["PUT", "patch"], name="item")
    def change(request: Any, number: str = "none") -> str:
        return number

    assert [(route.path, route.methods) for route in router.routes] == [
        ("/items/{number}/", ("PUT", "PATCH")),
        ("/other/", ("GET",)),
    ]


def test_decorators_take_every_keyword_of_endpoint(router: SimpleRouter) -> None:
    options: Any = {"ROLES": ["admin"]}

    @router.get(
        "/a",
        name="a",
        auth_required=True,
        middlewares=[],
        permission_classes=[IsAuthenticated],
        renderers=[XMLRenderer],
        response_model=None,
        threaded=True,
        **options,
    )
    def function(request: Any) -> None: ...

    view: Any = router.routes[0].handler
    assert (view.auth_required, view.threaded, view.roles) == (True, True, ["admin"])
    assert (view.permission_classes, view.renderers) == ([IsAuthenticated], [XMLRenderer])


def test_a_guard_of_a_decorator_guards(router: SimpleRouter) -> None:
    @router.get("/a", permission_classes=[IsAuthenticated])
    def function(request: Any) -> str:
        return "let in"

    with TestClient(Application(router)) as client:
        assert client.get("/a").status in (401, 403)


@pytest.mark.parametrize(
    ("wrong", "said"), [("methods", "`@router.get` is for GET alone"), ("path", "multiple values for argument 'path'")]
)
def test_a_decorator_of_one_verb_takes_no_methods(router: SimpleRouter, wrong: str, said: str) -> None:
    options: Any = {wrong: "POST"}
    with pytest.raises(TypeError, match=said):
        router.get("/a", **options)


def test_what_a_decorator_refuses_changes_nothing(router: SimpleRouter) -> None:
    router.get("/a")(lambda request: None)
    with pytest.raises(EndpointValueError, match="GET /a/ is already registered as GET /a/"):
        router.get("/a")(lambda request: None)
    with pytest.raises(InvalidPathArgument):
        router.get("a")
    assert len(router.routes) == 1


def test_register_endpoint_takes_what_an_endpoint_gives(router: SimpleRouter) -> None:
    @endpoint("/a", "GET")
    def first(request: Any) -> None: ...

    router.register_endpoint(first())
    assert router.routes[0].path == "/a/"


# Namespaces


def named_users() -> SimpleRouter:
    users = SimpleRouter()

    @users.get("/users", name="users")
    def listing(request: Any) -> Any:
        return [request.url_for("users"), request.url_for("user", number=1)]

    @users.get("/users/{number:int}", name="user")
    def detail(request: Any, number: int) -> Any:
        return request.url_for("user", number=number + 1)

    return users


def test_a_router_may_be_included_twice_with_names(router: SimpleRouter) -> None:
    users = named_users()
    router.include(users, prefix="/v1", name="v1")
    router.include(users, prefix="/v2", name="v2")
    users.get("/late", name="late")(lambda request: None)
    assert sorted(router.names) == ["v1:late", "v1:user", "v1:users", "v2:late", "v2:user", "v2:users"]
    assert router.url_for("v1:users") == "/v1/users/"
    assert router.url_for("v2:user", number=7) == "/v2/users/7/"
    assert users.url_for("user", number=7) == "/users/7/"
    assert reverse("v2:user", router, args=[7], relative=True) == "/v2/users/7/"
    assert resolve("/v1/users/7", router).view_name == "v1:user"


def test_namespaces_nest(router: SimpleRouter) -> None:
    api, bare = SimpleRouter(), SimpleRouter()
    users = named_users()
    api.include(users, prefix="/v1", name="v1")
    bare.include(users, prefix="/bare")  # adds nothing to the names
    router.include(api, prefix="/api", name="api")
    router.include(bare, name="other")
    assert sorted(router.names) == ["api:v1:user", "api:v1:users", "other:user", "other:users"]
    assert router.url_for("api:v1:user", number=1) == "/api/v1/users/1/"


def test_a_handler_finds_the_names_of_its_own_namespace(router: SimpleRouter) -> None:
    """It does not know where its router is included."""
    api = SimpleRouter()
    api.include(named_users(), prefix="/v1", name="v1")
    router.include(api, prefix="/api", name="api")
    router.include(named_users(), prefix="/plain")

    @api.get("/near")
    def near(request: Any) -> Any:
        return [request.url_for(name) for name in ("v1:users", "api:v1:users", "users")]

    with TestClient(Application(router)) as client:
        assert client.get("/api/v1/users").data == ["/api/v1/users/", "/api/v1/users/1/"]
        assert client.get("/api/v1/users/4").data == "/api/v1/users/5/"
        assert client.get("/plain/users").data == ["/plain/users/", "/plain/users/1/"]
        assert client.get("/api/near").data == ["/api/v1/users/", "/api/v1/users/", "/plain/users/"]


def test_names_that_clash_are_named_with_the_cure(router: SimpleRouter) -> None:
    users = named_users()
    router.include(users, prefix="/v1", name="v1")
    before = state(router)
    for prefix, name in (("/v2", "v1"), ("/v3", "v1")):
        with pytest.raises(EndpointValueError) as caught:
            router.include(users, prefix=prefix, name=name)
        assert str(caught.value) == (
            "Duplicate v1:users, already handled by <Route GET /v1/users/>: "
            f"<Route GET {prefix}/users/> needs another name, or its include a namespace (`name=`)"
        )
    assert state(router) == before
    router.include(users, prefix="/v2", name="v2")


@pytest.mark.parametrize("name", ["a:b", ":", 5, None, ["v1"]], ids=repr)
def test_a_namespace_is_text_without_a_colon(router: SimpleRouter, name: Any) -> None:
    with pytest.raises(NotSupportedArgumentType, match="name of an include must be a string without a colon, got"):
        router.include(SimpleRouter(), name=name)


@pytest.mark.parametrize(("wrong", "near"), [("users", "v1:users"), ("v1:user_list", ""), ("v1:usres", "v1:users")])
def test_a_name_that_is_not_there_names_the_one_that_is_meant(router: SimpleRouter, wrong: str, near: str) -> None:
    router.include(named_users(), prefix="/v1", name="v1")
    cure = f", did you mean '{near}'?" if near else ""
    with pytest.raises(NoReverseMatch) as caught:
        router.url_for(wrong)
    assert str(caught.value) == f"no route is named {wrong!r}{cure}"


def test_decorators_keep_the_type_of_the_function(router: SimpleRouter) -> None:
    @router.get("/a", name="a", threaded=False)
    def plain(request: Any, number: int = 1) -> str:
        return str(number)

    @router.route("/b", ["GET", "PUT"])
    async def waiting(request: Any, number: int = 1) -> str:
        return str(number)

    @endpoint("/c", "GET")
    def older(request: Any, number: int = 1) -> str:
        return str(number)

    assert_type(plain(None, 2), str)
    assert_type(waiting(None, 2), Coroutine[Any, Any, str]).close()
    assert_type(older(None, 2), str)
    assert_type(older()[0], str)
    plain(None, "2")  # type: ignore[arg-type]
    older(None, "2")  # type: ignore[call-overload]


def test_type_checkers_see_a_keyword_that_is_not_there(router: SimpleRouter) -> None:
    with pytest.raises(TypeError, match="did you mean 'auth_required'"):
        router.get("/a", auth_requierd=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="did you mean 'permission_classes'"):
        endpoint("/a", "GET", permissions=[IsAuthenticated])  # type: ignore[call-arg]


def test_what_no_list_takes_is_refused_by_type_checkers_too() -> None:
    """`make lint` fails where one of these needs no `ignore`."""
    router = SimpleRouter()
    with pytest.raises(TypeError, match="middleware 5 has no method"):
        SimpleRouter(middlewares=[5])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="did you mean Depends"):
        SimpleRouter(dependencies=[print])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="dependencies of an include must be a list"):
        router.include(SimpleRouter(), "/v2", dependencies=Depends(print))  # type: ignore[arg-type]
    with pytest.raises(InvalidHandler):
        router.register("/x", 5)  # type: ignore[arg-type]
    with pytest.raises(InvalidHandler, match="decorated with @endpoint"):
        router.register_endpoint(print)  # type: ignore[arg-type]
    with pytest.raises(InvalidHandler, match="must have a method"):
        router.get("/x", permission_classes=["admin"])(lambda request: None)  # type: ignore[list-item]
    with pytest.raises(InvalidRenderer):
        router.get("/x", renderers=["json"])(lambda request: None)  # type: ignore[list-item]
