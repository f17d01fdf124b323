"""The ASGI application, driven by hand: what the server says in, what it is told out."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from functools import wraps

import pytest

from aiorest_ws import Application, SimpleRouter


def in_loop(test):
    """Run a test that is a coroutine function."""

    @wraps(test)
    def run(*args, **kwargs):
        asyncio.run(test(*args, **kwargs))

    return run


async def hello(request):
    return "hello"


def app_of(**options):
    router = SimpleRouter()
    router.register("/hello", hello, "GET")
    return Application(router, **options)


class Server:
    """An ASGI server of one connection."""

    def __init__(self, path="/", headers=((b"host", b"testserver"),), **scope):
        self.scope = {"type": "websocket", "path": path, "query_string": b"", "headers": list(headers)} | scope
        self.scope.setdefault("client", ("203.0.113.7", 50000))
        self.to_app, self.from_app = asyncio.Queue(), asyncio.Queue()
        self.say("websocket.connect")

    def say(self, kind, **parts):
        self.to_app.put_nowait({"type": kind} | parts)

    async def told(self):
        async with asyncio.timeout(5):
            return await self.from_app.get()

    @asynccontextmanager
    async def serving(self, app):
        asgi = app.asgi()
        task = asyncio.ensure_future(asgi(self.scope, self.to_app.get, self.from_app.put))
        try:
            yield self
        finally:
            self.say("websocket.disconnect", code=1000)
            async with asyncio.timeout(5):
                await task
            await asgi.stop()


@pytest.mark.parametrize("kind", ["text", "bytes"])
@in_loop
async def test_request_is_answered(kind):
    async with Server().serving(app_of()) as server:
        assert await server.told() == {"type": "websocket.accept", "subprotocol": None, "headers": []}
        request = json.dumps({"method": "GET", "url": "/hello", "id": 1})
        server.say("websocket.receive", **{kind: request if kind == "text" else request.encode()})
        said = await server.told()
        assert json.loads(said[kind])["data"] == "hello"


@in_loop
async def test_below_a_root_path():
    async with Server("/v1/ws", root_path="/v1").serving(app_of(path="/ws")) as server:
        assert (await server.told())["type"] == "websocket.accept"


@pytest.mark.parametrize("can_refuse", [True, False])
@in_loop
async def test_page_of_another_origin_is_refused(can_refuse):
    headers = [(b"host", b"testserver"), (b"origin", b"https://evil.example")]
    extensions = {"websocket.http.response": {}} if can_refuse else {}
    async with Server(headers=headers, extensions=extensions).serving(app_of()) as server:
        said = await server.told()
        if can_refuse:
            assert (said["type"], said["status"]) == ("websocket.http.response.start", 403)
        else:
            assert said["type"] == "websocket.close"


@in_loop
async def test_header_of_two_lines_is_refused():
    headers = [(b"host", b"testserver"), (b"x-a", b"1\r\nOrigin: http://testserver")]
    async with Server(headers=headers).serving(app_of()) as server:
        assert (await server.told())["type"] == "websocket.close"


@in_loop
async def test_message_too_big_closes_with_1009():
    async with Server().serving(app_of(max_message_size=100)) as server:
        await server.told()
        server.say("websocket.receive", text="x" * 101)
        said = await server.told()
        assert (said["type"], said["code"]) == ("websocket.close", 1009)


@in_loop
async def test_half_a_surrogate_closes_with_1007():
    async with Server().serving(app_of()) as server:
        await server.told()
        server.say("websocket.receive", text="\ud800")
        assert (await server.told())["code"] == 1007


@in_loop
async def test_subprotocol_is_agreed_on():
    headers = [(b"host", b"testserver"), (b"sec-websocket-protocol", b"a, b")]
    async with Server(headers=headers).serving(app_of(subprotocols=["b"])) as server:
        assert (await server.told())["subprotocol"] == "b"


@in_loop
async def test_disconnect_cancels_and_tells():
    ended = asyncio.get_running_loop().create_future()
    app = app_of(on_disconnect=lambda connection, code, reason: ended.set_result((connection.peer, code)))
    async with Server().serving(app) as server:
        await server.told()
        server.say("websocket.disconnect", code=1001)
        async with asyncio.timeout(5):
            assert (await ended)[1] == 1001


@in_loop
async def test_lifespan():
    said = []
    app = app_of(on_startup=[lambda _: said.append("up")], on_shutdown=[lambda _: said.append("down")])
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive():
        return next(messages)

    async def send(message):
        said.append(message["type"])

    await app.asgi()({"type": "lifespan"}, receive, send)
    assert said == ["up", "lifespan.startup.complete", "down", "lifespan.shutdown.complete"]


@in_loop
async def test_http_is_answered_501():
    said = asyncio.Queue()
    await app_of().asgi()({"type": "http"}, None, said.put)
    assert said.get_nowait()["status"] == 501
