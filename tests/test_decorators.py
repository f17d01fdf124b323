"""`@endpoint`: a function becomes what `register` takes, and stays itself."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle
from typing import Any

import pytest

from aiorest_ws import Application
from aiorest_ws.decorators import Endpoint, endpoint
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.renderers import XMLRenderer
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.testing import TestClient
from aiorest_ws.views import MethodBasedView
from aiorest_ws.wrappers import Request

FREE: Any = {"RENDERERS": (XMLRenderer,), "Auth_Level": 5}  # type checkers know only the keywords that we have


@endpoint("/sum/{a}/{b}", ["GET", "put"], name="sum", **FREE)
def add(request: Any, a: str, b: str, *args: Any, **kwargs: Any) -> int:
    """Add two numbers."""
    return int(a) + int(b)


def ask(decorated: Endpoint[..., Any], url: str, **envelope: Any) -> Any:
    router = SimpleRouter()
    router.register_endpoint(decorated)
    return router.process_request(Request(**{"method": "GET", "url": url} | envelope))


def test_calling_it_gives_what_register_takes() -> None:
    path, view, methods, name = add()
    assert (path, methods, name) == ("/sum/{a}/{b}", ["GET", "put"], "sum")
    assert issubclass(view, MethodBasedView)
    router = SimpleRouter()
    router.register(*add())
    assert router.match("PUT", "/sum/1/2")[1] == ("1", "2")


def test_it_keeps_name_and_docstring_of_the_function() -> None:
    assert (add.__name__, add.__doc__, add.__module__) == ("add", "Add two numbers.", __name__)
    assert add.function(None, "1", "2") == 3


def test_further_keywords_become_lower_case_attributes_of_the_view() -> None:
    _, view, _, _ = add()
    assert view.renderers == (XMLRenderer,)
    assert view.auth_level == 5  # type: ignore[attr-defined]
    assert view.auth_required is False
    assert not hasattr(view, "Auth_Level")


def test_each_call_gives_a_view_of_its_own() -> None:
    assert add()[1] is not add()[1]
    assert add()[1].methods == ["GET", "PUT"]


@pytest.mark.parametrize("methods", ["GET", ["GET"], " get ", ["Get", "PUT"]])
def test_methods_are_a_string_or_a_list_in_any_case(methods: Any) -> None:
    decorated = endpoint("/", methods)(lambda request: "ok")
    assert ask(decorated, "/") == b'{"data":"ok","event_name":null}'


def test_a_function_is_called_with_request_and_strings() -> None:
    assert ask(add, "/sum/29/70") == (
        b'<?xml version="1.0" encoding="utf-8"?>\n<root><data>99</data><event_name></event_name></root>'
    )


async def later(request: Any, number: int = 1) -> int:
    """Wait."""
    return number + 1


later_endpoint = endpoint("/later", "GET")(later)


@endpoint("/pickled", "GET")
async def pickled(request: Any) -> str:
    return "ok"


def test_called_with_arguments_it_is_the_function() -> None:
    assert add(None, "1", "2") == 3
    assert add(request=None, a="1", b="2") == 3
    assert asyncio.run(later_endpoint(None, 2)) == 3
    with pytest.raises(TypeError, match=r"add\(\) missing 1 required positional argument: 'b'"):
        add(None, "1")  # type: ignore[call-overload]


def test_tools_see_the_function() -> None:
    assert inspect.iscoroutinefunction(later_endpoint)
    assert not inspect.iscoroutinefunction(add)
    assert inspect.signature(later_endpoint) == inspect.signature(later)
    assert inspect.getdoc(later_endpoint) == "Wait."
    assert inspect.unwrap(later_endpoint) is later
    assert later_endpoint.__code__ is later.__code__
    with pytest.raises(AttributeError, match="'function' object has no attribute 'nothing'"):
        later_endpoint.nothing  # noqa: B018


def test_it_is_pickled_and_copied_as_a_function_is() -> None:
    assert pickle.loads(pickle.dumps(pickled)) is pickled
    assert copy.deepcopy(pickled) is copy.copy(pickled) is pickled


def test_an_endpoint_of_an_endpoint_is_refused() -> None:
    """What the inner one says, perhaps that a user is needed, would be lost."""
    router = SimpleRouter()
    for decorate in (endpoint("/b", "GET"), router.get("/b")):
        with pytest.raises(InvalidHandler, match=r"add is an endpoint of /sum/{a}/{b} already, it cannot be one of /b"):
            decorate(add)
    with pytest.raises(InvalidHandler, match="add is decorated with @endpoint, which has its path"):
        router.register("/b", add, "GET")
    assert router.routes == ()


@pytest.mark.parametrize("other", [MethodBasedView, int, None, "add"], ids=str)
def test_only_a_function_is_decorated(other: Any) -> None:
    with pytest.raises(InvalidHandler, match="expected a function for /a, got"):
        endpoint("/a", "GET")(other)


def test_an_async_function_stays_one() -> None:
    @endpoint("/", "GET")
    async def later(request: Any) -> str:
        return "later"

    assert inspect.iscoroutinefunction(later.function)
    reply = ask(later, "/")
    assert inspect.isawaitable(reply)
    with pytest.raises(StopIteration) as stopped:
        reply.__await__().send(None)
    assert stopped.value.value == b'{"data":"later","event_name":null}'


def test_callables_of_other_kinds_serve_too() -> None:
    class Callable:
        def __call__(self, request: Any, x: str, a: int = 0) -> Any:
            return ["called", x, a]

        def method(self, request: Any, x: str, a: int = 0) -> Any:
            return ["method", x, a]

    def partial(kind: str, request: Any, x: str, a: int = 0) -> Any:
        return [kind, x, a]

    for function, kind in (
        (Callable(), "called"),
        (Callable().method, "method"),
        (functools.partial(partial, "partial"), "partial"),
    ):
        decorated = endpoint("/{x}", "GET")(function)
        assert ask(decorated, "/1", args={"a": 2}) == f'{{"data":["{kind}","1",2],"event_name":null}}'.encode()
        with pytest.raises(Exception, match="unexpected argument `b`"):
            ask(decorated, "/1", args={"b": 2})


def test_a_function_that_takes_no_request_is_refused_at_registration() -> None:
    decorated = endpoint("/", "GET")(lambda: 1)
    with pytest.raises(InvalidHandler, match="<lambda> must take `request` first"):
        SimpleRouter().register_endpoint(decorated)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("auth_requierd", "auth_required"),
        ("AUTH_REQUIRE", "auth_required"),
        ("permissions", "permission_classes"),
        ("permission_class", "permission_classes"),
        ("middleware", "middlewares"),
        ("reponse_model", "response_model"),
        ("thread", "threaded"),
        ("guards", "permission_classes"),
        ("permission", "permission_classes"),
        ("login_required", "auth_required"),
        ("depends", "dependencies"),
        ("dependency", "dependencies"),
        ("dependancies", "dependencies"),
        ("authentication_classes", "middlewares"),
        ("throttle_classes", "middlewares"),
        ("decorators", "middlewares"),
        ("authRequired", "auth_required"),
        ("method", "methods"),
    ],
)
def test_a_misspelt_keyword_is_refused(wrong: str, near: str) -> None:
    """As an attribute of the view it would do nothing: what was to be closed would be open."""
    attrs: Any = {wrong: True}
    with pytest.raises(TypeError, match=f"unknown keyword '{wrong.lower()}' of endpoint /a, did you mean '{near}'\\?"):
        endpoint("/a", "GET", None, **attrs)


def test_keywords_of_ones_own_become_attributes() -> None:
    attrs: Any = {"cost": 3, "audit": "all", "roles": ["admin"], "tags": [], "summary": "", "threshold": 1}
    decorated = endpoint("/a", "GET", **attrs)(lambda request: None)
    _, view, _, _ = decorated()
    assert (view.cost, view.audit) == (3, "all")  # type: ignore[attr-defined]


def test_a_verb_in_place_of_the_name_is_refused() -> None:
    with pytest.raises(TypeError, match="the name of endpoint /a is the verb 'POST': several verbs are a list"):
        endpoint("/a", "GET", "POST")
    assert endpoint("/a", "GET", "trace")(lambda request: None).name == "trace"


def test_a_dispatch_given_as_attribute_wraps_the_function() -> None:
    def dispatch(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        return ["dispatched", MethodBasedView.dispatch(self, request, *args, **kwargs)]

    attrs: Any = {"dispatch": dispatch}
    decorated = endpoint("/{x}", "GET", **attrs)(lambda request, x, a=1: [x, a])
    assert ask(decorated, "/1") == b'{"data":["dispatched",["1",1]],"event_name":null}'
    assert ask(decorated, "/1", args={"a": 2}) == b'{"data":["dispatched",["1",2]],"event_name":null}'


def test_one_function_may_be_decorated_twice() -> None:
    def function(request: Any) -> str:
        return "ok"

    router = SimpleRouter()
    for path in ("/a", "/b"):
        router.register_endpoint(endpoint(path, "GET")(function))
    assert [route.path for route in router.routes] == ["/a/", "/b/"]
    assert ask(endpoint("/c", "GET")(function), "/c") == b'{"data":"ok","event_name":null}'


def test_a_decorated_method_is_bound_as_a_method_is() -> None:
    class Shop:
        name = "pens"

        @endpoint("/name", "GET")
        def show(self, request: Any, more: str = "") -> str:
            return self.name + more

        @endpoint("/late", "GET")
        async def late(self, request: Any) -> str:
            return self.name

    shop = Shop()
    assert shop.show(None, more="!") == "pens!"
    assert asyncio.run(shop.late(None)) == "pens"
    router = SimpleRouter()
    router.register_endpoint(shop.show)
    router.register_endpoint(shop.late)
    with TestClient(Application(router=router)) as client:
        assert [client.get("/name").data, client.get("/late").data] == ["pens", "pens"]
