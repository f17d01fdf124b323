"""Which of our names somebody means; what is like none of them is their own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorest_ws.app import Application
from aiorest_ws.callables.spelling import meant, unknown
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.views import ATTRIBUTES, MethodBasedView

LETTERS = "abcdefghijklmnopqrstuvwxyz_"

MEANT = {
    "auth_required": "auth_requierd auth_require authrequired Auth_Required auth_required_ auth__required authRequired "
    "login_required requires_auth auth",
    "dependencies": "dependency dependancies depends dependecies Dependencies",
    "middlewares": "middleware midlewares middleware_classes authentication_classes decorators throttle_classes",
    "permission_classes": "permissions permission guards permission_class permissions_classes permision_clases "
    "permissionClasses get_permissions",
    "renderers": "renderer rendrers renderer_classes",
    "response_model": "reponse_model response_models responsemodel",
    "threaded": "thread threads treaded",
}
FREE = (
    "author",
    "required",
    "roles",
    "scopes",
    "classes",
    "cost",
    "tags",
    "model",
    "response",
    "level",
    "queryset",
    "limit",
)


class Plain(MethodBasedView):
    def get(self, request: Any) -> str:
        return "ok"


def registered(view: type[MethodBasedView]) -> None:
    SimpleRouter().register("/", view, "GET")


@pytest.mark.parametrize(("option", "name"), [(o, name) for o, names in MEANT.items() for name in names.split()])
def test_a_near_miss_and_a_word_of_others_are_refused_wherever_they_stand(option: str, name: str) -> None:
    class Mixin:
        pass

    setattr(Mixin, name, ())
    on_view = type("View", (Plain,), {name: ()})
    on_base = type("View", (type("Base", (Plain,), {name: ()}),), {})
    on_mixin = type("View", (Mixin, Plain), {})
    behind = type("View", (Plain, Mixin), {})
    for view in (on_view, on_base, on_mixin, behind):
        with pytest.raises(InvalidHandler) as caught:
            registered(view)
        assert str(caught.value) == f"view View has an attribute {name!r}, did you mean {option!r}?"
    keywords: Any = {name: ()}
    router = SimpleRouter()
    for decorator in (router.get, router.delete):
        if name.lower() not in ATTRIBUTES:  # 1.1.1 took them in any case
            with pytest.raises(TypeError, match=f"unknown keyword .* of endpoint /a, did you mean '{option}'"):
                decorator("/a", **keywords)


@pytest.mark.parametrize("name", FREE)
def test_other_attributes_are_the_programs_own(name: str) -> None:
    keywords: Any = {name: 1}
    router = SimpleRouter()
    router.register("/", type("View", (Plain,), keywords), "GET")
    router.get("/a", **keywords)(lambda request: None)
    assert getattr(router.routes[1].handler, name) == 1


@pytest.mark.parametrize("name", ["permissions", "auth_requierd", "middleware"])
def test_what_an_instance_sets_on_itself_is_seen(name: str) -> None:
    namespace: dict[str, Any] = {"Plain": Plain}
    exec(
        f"class View(Plain):\n"
        f"    def __init__(self, other=None):\n"
        f"        value = [1]\n"
        f"        self.fine = value\n"
        f"        self.{name} = value\n",
        namespace,
    )
    with pytest.raises(InvalidHandler, match=f"view View has an attribute '{name}', did you mean "):
        registered(namespace["View"])


def test_what_an_instance_sets_on_others_or_only_reads_is_not() -> None:
    class View(Plain):
        def __init__(self) -> None:
            other: Any = type("Other", (), {})()
            other.permissions = ["read"]
            self.rights = other.permissions

    registered(View)


@pytest.mark.parametrize("name", ["_auth_required", "_permission_classes"])
def test_a_guard_with_an_underscore_is_refused(name: str) -> None:
    with pytest.raises(InvalidHandler, match=f"has an attribute '{name}', did you mean '{name[1:]}'"):
        registered(type("View", (Plain,), {name: True}))


def test_other_private_attributes_are_the_views_own() -> None:
    registered(type("View", (Plain,), {"_permissions": 1, "_middlewares": 2, "__doc__": "x"}))


CALLS: dict[str, Any] = {
    "SimpleRouter": (SimpleRouter, ()),
    "SimpleRouter.register": (SimpleRouter().register, ("/", Plain)),
    "SimpleRouter.include": (SimpleRouter().include, (SimpleRouter(),)),
    "SimpleRouter.add_converter": (SimpleRouter().add_converter, ("hex", str)),
}


@pytest.mark.parametrize(
    ("where", "wrong", "cure"),
    [
        ("SimpleRouter", "middelwares", "did you mean 'middlewares'?"),
        ("SimpleRouter", "middleware", "did you mean 'middlewares'?"),
        ("SimpleRouter", "auth_required", "expected one of "),
        ("SimpleRouter", "tags", "expected one of "),
        ("SimpleRouter", "prefix", "include(…, prefix=…) has it"),
        ("SimpleRouter", "url_prefix", "include(…, prefix=…) has it"),
        ("SimpleRouter.include", "url_prefix", "did you mean 'prefix'?"),
        ("SimpleRouter.register", "method", "did you mean 'methods'?"),
        ("SimpleRouter.register", "auth_required", "expected one of handler, methods, name, path"),
        ("SimpleRouter.include", "prefx", "did you mean 'prefix'?"),
        ("SimpleRouter.include", "names", "did you mean 'name'?"),
        ("SimpleRouter.include", "permission_classes", "expected one of "),
        ("SimpleRouter.add_converter", "totext", "did you mean 'to_text'?"),
    ],
)
def test_an_unknown_keyword_names_the_nearest_or_lists_them(where: str, wrong: str, cure: str) -> None:
    function, args = CALLS[where]
    with pytest.raises(TypeError) as caught:
        function(*args, **{wrong: [1]})
    assert str(caught.value).startswith(f"unknown keyword '{wrong}' of {where}, {cure}")


def test_a_router_takes_nothing_by_position() -> None:
    """Middlewares that are given so were swallowed."""
    router: Any = SimpleRouter
    with pytest.raises(TypeError, match="positional"):
        router([object()])


@pytest.mark.parametrize("wrong", ["processes", "permission_classes", "anything", "x"])
def test_an_option_that_is_like_none_lists_them(wrong: str) -> None:
    options: Any = {wrong: 4}
    for function in (Application, Application().run):
        with pytest.raises(
            TypeError, match=f"unknown option '{wrong}', expected one of accept_function, access_log, .*port"
        ):
            function(**options)


# The measure


@given(st.sampled_from(ATTRIBUTES), st.data())
def test_one_slip_anywhere_is_seen(option: str, data: Any) -> None:
    at = data.draw(st.integers(0, len(option) - 1))
    letter = data.draw(st.sampled_from(LETTERS))
    slip = data.draw(st.sampled_from(["insert", "leave out", "replace", "swap"]))
    head, tail = option[:at], option[at:]
    wrong = {
        "insert": head + letter + tail,
        "leave out": head + tail[1:],
        "replace": head + letter + tail[1:],
        "swap": head + tail[1:2] + tail[:1] + tail[2:],
    }[slip]
    assert meant(wrong, ATTRIBUTES) == (None if wrong == option else option)


@given(st.text(max_size=40), st.sampled_from([ATTRIBUTES, ("port", "host", "path")]))
def test_a_name_means_one_of_those_that_are_known_or_none(name: str, known: tuple[str, ...]) -> None:
    assert meant(name, known) in {*known, None}
    assert meant(known[0], known) is None


def test_a_short_name_is_near_only_by_one() -> None:
    assert [meant(name, ("port", "host")) for name in ("prot", "ports", "Port", "pot", "sport", "past")] == [
        *("port",) * 5,
        None,
    ]


def test_the_text_is_bounded() -> None:
    assert len(unknown("x" * 10_000, ("a", "b"))) < 200


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("permissions", "permission_classes"),
        ("auth_requierd", "auth_required"),
        ("middlewares", "middlewares"),
        ("dependencies", "dependencies"),
        ("login_required", "auth_required"),
    ],
)
@pytest.mark.parametrize("is_method", [False, True], ids=["function", "method"])
def test_what_is_set_on_a_function_is_refused(name: str, near: str, is_method: bool) -> None:
    """A decorator that only leaves a note guards nothing, if nobody reads it."""

    def marked(function: Any) -> Any:
        setattr(function, name, ["admin"])
        return function

    def register() -> None:
        if is_method:
            registered(type("View", (MethodBasedView,), {"get": marked(lambda self, request: None)}))
        else:
            SimpleRouter().get("/a")(marked(lambda request: None))

    with pytest.raises(InvalidHandler, match=f"'{name}' is set on .*, where nobody looks at it: '{near}' is given to"):
        register()


def test_other_notes_on_a_function_are_the_programs_own() -> None:
    def function(request: Any) -> None: ...

    function.roles = ["admin"]  # type: ignore[attr-defined]
    SimpleRouter().get("/a")(function)


ELSEWHERE = {
    "response_model is a class with just what is to be sent": (
        *("response_model_exclude", "response_model_include", "response_model_exclude_none"),
        *("response_model_exclude_unset", "response_model_by_alias", "return_dto", "dto"),
    ),
    "middlewares stand around a handler": ("before_request", "after_request"),
}


@pytest.mark.parametrize(("cure", "name"), [(cure, name) for cure, names in ELSEWHERE.items() for name in names])
def test_what_is_done_otherwise_here_is_refused_with_its_cure(cure: str, name: str) -> None:
    """Swallowed, `response_model_exclude={"password"}` would send the password."""
    keywords: Any = {name: {"password"}}
    with pytest.raises(TypeError) as caught:
        SimpleRouter().get("/a", **keywords)
    assert str(caught.value) == f"unknown keyword {name!r} of endpoint /a: {cure}"
    with pytest.raises(InvalidHandler, match=f"has an attribute '{name}': {cure}"):
        registered(type("View", (Plain,), keywords))


def test_a_status_is_said_by_a_response() -> None:
    keywords: Any = {"status_code": 201}
    with pytest.raises(
        TypeError, match=r"unknown keyword 'status_code' of endpoint /a: it is called status, and a handler"
    ):
        SimpleRouter().post("/a", **keywords)
    registered(type("View", (Plain,), keywords))  # a view may have one of its own
