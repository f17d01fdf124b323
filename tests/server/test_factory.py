"""The factory that people subclass, and routers of one's own, over a real socket."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest

from aiorest_ws import RequestHandlerFactory, SimpleRouter, endpoint
from aiorest_ws.abstract import AbstractRouter
from aiorest_ws.exceptions import BaseAPIException, RouterNotDefined
from tests.serving import BINARY, TEXT, Client, asynchronous, dump, factory_of, make_router, serving

HELLO = {"method": "GET", "url": "/hello"}
FAILED = {"detail": "A server error occurred.", "event_name": None}


class CustomHandlerFactory(RequestHandlerFactory):
    """The example of the original's documentation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cookies = kwargs.get("cookies_dump", {})

    @property
    def cookies(self) -> Any:
        return self._cookies


@asynchronous
async def test_views_reach_what_a_custom_factory_was_given() -> None:
    """R9."""
    router = make_router(cookies=lambda request: request.connection.factory.cookies)
    options = {"factory": CustomHandlerFactory, "factory_options": {"cookies_dump": {"session": "abc"}}}
    async with serving(router, **options) as app, await Client.connect(app) as client:
        assert (await client.ask(url="/cookies"))["data"] == {"session": "abc"}


@asynchronous
async def test_factory_takes_any_keyword() -> None:
    router = make_router()
    factory = CustomHandlerFactory("ws://127.0.0.1:8080/", cookies_dump={"a": "b"}, router=router, other=object())
    assert factory.cookies == {"a": "b"}
    assert factory.router is router
    assert CustomHandlerFactory().cookies == {}


@asynchronous
async def test_factory_hands_autobahn_its_own_keywords() -> None:
    factory = RequestHandlerFactory(
        url="ws://127.0.0.1:8080/",
        protocols=["a"],
        server="mine",
        headers={"X-A": "b"},
        externalPort=81,
        loop=asyncio.get_running_loop(),
    )
    assert (factory.url, factory.protocols, factory.server) == ("ws://127.0.0.1:8080/", ["a"], "mine")
    assert (factory.headers, factory.externalPort) == ({"X-A": "b"}, 81)
    assert RequestHandlerFactory("ws://127.0.0.1:8080/", ["b"], "positional").server == "positional"


@asynchronous
async def test_factory_works_with_create_server_alone() -> None:
    factory = RequestHandlerFactory(router=make_router())
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    async with server, await Client.connect(server.sockets[0].getsockname()[:2]) as client:
        assert (await client.ask())["data"] == "Hello, world!"
        await client.leave()


@asynchronous
async def test_router_class_is_refused() -> None:
    """R10."""
    with pytest.raises(TypeError, match=r"router must be an instance of AbstractRouter, got .*pass an instance of it"):
        RequestHandlerFactory(router=SimpleRouter)
    factory = RequestHandlerFactory()
    with pytest.raises(TypeError, match="router must be an instance of AbstractRouter"):
        factory.router = object()  # type: ignore[assignment]
    assert factory.router is None


@asynchronous
async def test_false_router_changes_nothing() -> None:
    router = make_router()
    factory = RequestHandlerFactory(router=router)
    factory.router = None
    assert factory.router is router


@asynchronous
async def test_pipeline_without_a_router_says_so() -> None:
    with pytest.raises(RouterNotDefined, match="Argument `router` must be defined"):
        RequestHandlerFactory().pipeline  # noqa: B018


@asynchronous
async def test_new_router_takes_over() -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client:
        assert (await client.ask(url="/later", id=1))["status"] == 404
        factory_of(app).router = make_router(later=lambda request: "later")
        async with await Client.connect(app) as other:
            assert (await other.ask(url="/later", id=1))["data"] == "later"


# Routers of one's own


class Broken(Exception):
    pass


class OwnRouter(AbstractRouter):
    """Not a SimpleRouter: it gives what it was made with."""

    def __init__(self, outcome: Callable[[Any], Any]) -> None:
        super().__init__()
        self.outcome = outcome

    def process_request(self, request: Any) -> Any:
        return self.outcome(request)


async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    if isinstance(value, Exception):
        raise value
    return value


def fail(exc: BaseException) -> Any:
    raise exc


@pytest.mark.parametrize("payload", [dump(HELLO), base64.b64encode(dump(HELLO))], ids=["json", "base64"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize(
    ("outcome", "rendered"),
    [
        (lambda request: b'{"own":1}', b'{"own":1}'),
        (lambda request: later(b'{"own":1}'), b'{"own":1}'),
        (lambda request: bytearray(b'{"own":1}'), b'{"own":1}'),
        (lambda request: asyncio.ensure_future(later(b'{"own":1}')), b'{"own":1}'),
        (lambda request: None, dump(FAILED)),
        (lambda request: "text", dump(FAILED)),
        (lambda request: {"a": 1}, dump(FAILED)),
        (lambda request: later(None), dump(FAILED)),
        (lambda request: fail(Broken("secret")), dump(FAILED)),
        (lambda request: later(Broken("secret")), dump(FAILED)),
        (lambda request: fail(StopIteration()), dump(FAILED)),
        (lambda request: fail(asyncio.CancelledError()), dump(FAILED)),
        (lambda request: fail(BaseAPIException("no")), dump({"detail": "no", "event_name": None})),
        (lambda request: later(BaseAPIException("no")), dump({"detail": "no", "event_name": None})),
    ],
    ids=[
        *("bytes", "coroutine", "bytearray", "future", "None", "text", "dict", "coroutine-of-None"),
        *("raises", "raises-later", "StopIteration", "CancelledError", "refuses", "refuses-later"),
    ],
)
@asynchronous
async def test_own_router_gives_the_rendered_reply(outcome: Any, rendered: bytes, opcode: int, payload: bytes) -> None:
    async with serving(OwnRouter(outcome)) as app, await Client.connect(app) as client:
        for _ in range(2):
            client.send(payload, opcode)
            reply = await client.receive()
            assert reply.opcode == opcode
            assert reply.payload == (rendered if payload[:1] == b"{" else base64.b64encode(rendered))
        assert (await client.leave()).close_code == 1000


@asynchronous
async def test_own_router_answers_with_id_and_status_when_it_fails() -> None:
    async with serving(OwnRouter(lambda request: fail(Broken()))) as app, await Client.connect(app) as client:
        assert await client.ask(id=1) == {"id": 1, "status": 500, "detail": "A server error occurred."}


@asynchronous
async def test_own_router_is_not_asked_for_malformed_messages() -> None:
    async with serving(OwnRouter(lambda request: b"{}")) as app, await Client.connect(app) as client:
        client.send(b"[]")
        assert "must be a JSON object" in (await client.reply())["detail"]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@asynchronous
async def test_router_subclass_that_calls_super_keeps_the_middlewares(is_async: bool) -> None:
    class Stamp:
        def process_request(self, request: Any, handler: Any) -> None:
            request.stamp = type(handler).__name__

    class Router(SimpleRouter):
        def process_request(self, request: Any) -> Any:
            rendered = super().process_request(request)
            return later(rendered) if is_async else rendered

    router = Router()
    router.register_endpoint(endpoint("/stamp", "GET")(lambda request: request.stamp))

    @endpoint("/slow", "GET")
    async def slow(request: Any) -> Any:
        await asyncio.sleep(0)
        return request.stamp

    if not is_async:
        router.register_endpoint(slow)
    async with serving(router, middlewares=[Stamp]) as app, await Client.connect(app) as client:
        assert (await client.ask(url="/stamp"))["data"] == "FunctionView"
        assert (await client.ask(url="/nowhere", id=1))["status"] == 404
        if not is_async:
            assert (await client.ask(url="/slow", id=1))["data"] == "FunctionView"


@asynchronous
async def test_router_subclass_may_await_super() -> None:
    class Router(SimpleRouter):
        async def process_request(self, request: Any) -> bytes:
            rendered = super().process_request(request)
            return (rendered if isinstance(rendered, bytes) else await rendered).upper()

    router = Router()

    @endpoint("/slow", "GET")
    async def slow(request: Any) -> Any:
        await asyncio.sleep(0)
        return "slow"

    router.register_endpoint(slow)
    async with serving(router) as app, await Client.connect(app) as client:
        client.request(url="/slow", id=1)
        assert (await client.receive()).payload == b'{"ID":1,"STATUS":200,"DATA":"SLOW"}'
