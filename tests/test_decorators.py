"""`@endpoint`: a function becomes what `register` takes, and stays itself."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest

from aiorest_ws.decorators import Endpoint, endpoint
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.renderers import XMLRenderer
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.views import MethodBasedView
from aiorest_ws.wrappers import Request


@endpoint("/sum/{a}/{b}", ["GET", "put"], name="sum", RENDERERS=(XMLRenderer,), Auth_Level=5)
def add(request: Any, a: str, b: str, *args: Any, **kwargs: Any) -> int:
    """Add two numbers."""
    return int(a) + int(b)


def ask(decorated: Endpoint, url: str, **envelope: Any) -> Any:
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
    assert (add.__name__, add.__doc__, add.__module__) == ("add", "Add two numbers.", __name__)  # type: ignore[attr-defined]
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
    ],
)
def test_a_misspelt_keyword_is_refused(wrong: str, near: str) -> None:
    """As an attribute of the view it would do nothing: what was to be closed would be open."""
    with pytest.raises(TypeError, match=f"unknown keyword '{wrong.lower()}' of endpoint /a, did you mean '{near}'\\?"):
        endpoint("/a", "GET", None, **{wrong: True})


def test_keywords_of_ones_own_become_attributes() -> None:
    decorated = endpoint("/a", "GET", cost=3, audit="all")(lambda request: None)
    _, view, _, _ = decorated()
    assert (view.cost, view.audit) == (3, "all")  # type: ignore[attr-defined]


def test_a_verb_in_place_of_the_name_is_refused() -> None:
    with pytest.raises(TypeError, match="the name of endpoint /a is the verb 'POST': several verbs are a list"):
        endpoint("/a", "GET", "POST")
    assert endpoint("/a", "GET", "trace")(lambda request: None).name == "trace"


def test_a_dispatch_given_as_attribute_wraps_the_function() -> None:
    def dispatch(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        return ["dispatched", MethodBasedView.dispatch(self, request, *args, **kwargs)]

    decorated = endpoint("/{x}", "GET", dispatch=dispatch)(lambda request, x, a=1: [x, a])
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
