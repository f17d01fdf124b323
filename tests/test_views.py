"""A view class and a verb → the plan of its requests, and what may be overridden."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from aiorest_ws.exceptions import IncorrectArgument, InvalidRenderer, MethodNotAllowed
from aiorest_ws.renderers import BaseRenderer, JSONRenderer, XMLRenderer
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.views import MethodBasedView, View, http_methods
from aiorest_ws.wrappers import Request


class Hello(MethodBasedView):
    def get(self, request: Any) -> str:
        return f"hello from {type(self).__name__}"

    def put(self, request: Any) -> str:
        return "put"


def ask(
    view: type[MethodBasedView], method: str = "GET", path: str = "/", url: str | None = None, **envelope: Any
) -> Any:
    """Give the rendered reply of a router that holds `view` alone."""
    router = SimpleRouter()
    router.register(path, view, method.strip())
    return router.process_request(Request(method=method, url=url or path, **envelope))


def test_http_methods_are_the_originals() -> None:
    assert http_methods == {"get", "post", "head", "options", "delete", "put", "trace", "patch"}


def test_methods_of_a_view_are_sorted_and_upper_case() -> None:
    class More(Hello):
        def delete(self, request: Any) -> None: ...

        def helper(self) -> None: ...

    assert Hello.methods == ["GET", "PUT"]
    assert More.methods == ["DELETE", "GET", "PUT"]
    assert MethodBasedView.methods == []
    assert issubclass(MethodBasedView, View)


def test_views_do_not_share_their_methods() -> None:
    class First(MethodBasedView):
        def get(self, request: Any) -> None: ...

    class Second(MethodBasedView):
        def put(self, request: Any) -> None: ...

    assert (First.methods, Second.methods) == (["GET"], ["PUT"])


def test_handlers_are_inherited() -> None:
    class Child(Hello):
        pass

    assert ask(Child) == b'{"data":"hello from Child","event_name":null}'


def test_an_instance_serves_one_request() -> None:
    instances: list[Any] = []

    class Keeping(MethodBasedView):
        def __init__(self) -> None:
            self.own: list[Any] = []

        def get(self, request: Any) -> Any:
            instances.append(self)
            self.own.append(1)
            return self.own

    router = SimpleRouter()
    router.register("/", Keeping, "GET")
    for _ in range(3):
        assert router.process_request(Request(method="GET", url="/")) == b'{"data":[1],"event_name":null}'
    assert len({id(instance) for instance in instances}) == 3


def test_attributes_of_the_class_are_shared_as_written() -> None:
    class Counting(MethodBasedView):
        counter: ClassVar[list[int]] = []

        def get(self, request: Any) -> int:
            self.counter.append(1)
            return len(self.counter)

    assert ask(Counting) == b'{"data":1,"event_name":null}'
    assert ask(Counting) == b'{"data":2,"event_name":null}'


# dispatch


def test_dispatch_calls_the_method_of_the_verb() -> None:
    view = Hello()
    for method in ("PUT", "put", " Put "):
        assert view.dispatch(Request(method=method)) == "put"


@pytest.mark.parametrize("method", ["POST", "dispatch", "__init__", "methods", "get_renderer", "GET\n", "", None, 5])
def test_dispatch_calls_nothing_else(method: Any) -> None:
    """S2: a client's string is never looked up on the view."""
    with pytest.raises(MethodNotAllowed):
        Hello().dispatch(Request(method=method))


def test_an_overridden_dispatch_wraps_every_verb() -> None:
    class Wrapping(Hello):
        def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            return {"wrapped": super().dispatch(request, *args, **kwargs)}

    assert ask(Wrapping) == b'{"data":{"wrapped":"hello from Wrapping"},"event_name":null}'
    assert ask(Wrapping, "PUT") == b'{"data":{"wrapped":"put"},"event_name":null}'


def test_a_dispatch_need_not_call_the_method() -> None:
    class Closed(Hello):
        def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            return "closed"

    assert ask(Closed) == b'{"data":"closed","event_name":null}'


# get_renderer


def test_get_renderer_takes_the_preferred_format_else_the_first_else_json() -> None:
    class Both(Hello):
        renderers = (XMLRenderer, JSONRenderer)

    assert isinstance(Both().get_renderer("json"), JSONRenderer)
    assert isinstance(Both().get_renderer("xml"), XMLRenderer)
    unknown: list[Any] = ["yaml", None, "", 5, [], {}]
    for preferred in unknown:
        assert isinstance(Both().get_renderer(preferred), XMLRenderer)
    assert isinstance(Hello().get_renderer("xml"), JSONRenderer)


@pytest.mark.parametrize(
    "renderers",
    [XMLRenderer, [XMLRenderer()], ["xml"], "xml", None, 5, (object,), {XMLRenderer}, (JSONRenderer, None)],
    ids=str,
)
def test_renderers_must_be_a_list_or_tuple_of_renderer_classes(renderers: Any) -> None:
    view = type("View", (Hello,), {"renderers": renderers})
    router = SimpleRouter()
    with pytest.raises(InvalidRenderer) as caught:
        router.register("/", view, "GET")
    assert caught.value.detail == (
        "Attribute `renderers` should be defined as list or tuple of inherited from BaseSerializer classes."
    )
    assert router.routes == ()


@pytest.mark.parametrize("renderers", [(), [], (JSONRenderer,), [JSONRenderer]], ids=str)
def test_json_is_the_same_however_it_is_asked_for(renderers: Any) -> None:
    view = type("View", (Hello,), {"renderers": renderers, "get": lambda self, request, **kwargs: {"é": (1, None)}})
    for args in ({}, {"format": "json"}, {"format": "xml"}):
        assert ask(view, args=args) == '{"data":{"é":[1,null]},"event_name":null}'.encode()


def test_a_subclass_of_the_json_renderer_is_used() -> None:
    class Pretty(JSONRenderer):
        compact = False

    view = type("View", (Hello,), {"renderers": (Pretty,)})
    assert ask(view) == b'{"data": "hello from View", "event_name": null}'


def test_a_renderer_class_may_have_a_format_of_its_own() -> None:
    class Text(BaseRenderer):
        format = "text"

        def render(self, data: Any) -> str:
            return f"<{data['data']}>"

    view = type("View", (Hello,), {"renderers": (JSONRenderer, Text)})
    assert ask(view, args={"format": "text"}) == b"<hello from View>"
    assert ask(view) == b'{"data":"hello from View","event_name":null}'


# Declared at registration


def test_the_table_of_a_view_is_made_at_registration() -> None:
    class Changing(MethodBasedView):
        def get(self, request: Any) -> str:
            return "first"

    router = SimpleRouter()
    router.register("/", Changing, "GET")
    Changing.post = lambda self, request: "never declared"  # type: ignore[attr-defined]
    with pytest.raises(MethodNotAllowed):
        router.process_request(Request(method="POST", url="/"))


def test_format_reaches_only_a_handler_that_takes_it() -> None:
    class Takes(MethodBasedView):
        def get(self, request: Any, format: str = "none") -> str:  # noqa: A002 (its name on the wire)
            return format

        def put(self, request: Any) -> str:
            return "fine"

        def post(self, request: Any, **kwargs: Any) -> Any:
            return kwargs

    args = {"format": "xml"}
    assert ask(Takes, args=args) == b'{"data":"xml","event_name":null}'
    assert ask(Takes, "PUT", args=args) == b'{"data":"fine","event_name":null}'
    assert ask(Takes, "POST", args=args) == b'{"data":{"format":"xml"},"event_name":null}'


def test_a_missing_and_an_unexpected_argument_are_named() -> None:
    class Strict(MethodBasedView):
        def get(self, request: Any, x: str, needed: Any) -> None: ...

    for args, text in (({}, "missing argument `needed`"), ({"needed": 1, "other": 2}, "unexpected argument `other`")):
        with pytest.raises(IncorrectArgument) as caught:
            ask(Strict, path="/{x}", url="/1", args=args)
        assert caught.value.detail == text


def test_def_and_async_def_are_alike() -> None:
    class Later(MethodBasedView):
        async def get(self, request: Any, x: str, a: int = 0) -> Any:
            await asyncio.sleep(0)
            return [x, a]

    async def main() -> Any:
        return await ask(Later, path="/{x}", url="/1", args={"a": 2})

    assert asyncio.run(main()) == b'{"data":["1",2],"event_name":null}'
