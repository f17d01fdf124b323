"""What a server of ASGI says of a request over HTTP: which path that is, below which mount, and of which host."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from aiorest_ws import Application, Live, SimpleRouter
from aiorest_ws.exchange import Exchange
from tests.kit.asgi import ByHand
from tests.serving import TIMEOUT, asynchronous

HOST = (b"host", b"testserver")


def router_of() -> SimpleRouter:
    router = SimpleRouter()
    for path in ("/who", "/admin/x", "/public/x", "/api/secret", "/healthz"):
        router.get(path)(lambda request: request.url)
    router.get("/host")(lambda request: request.connection.headers["host"])
    router.get("/one/{name}")(lambda request, name: name)
    router.get("/live", live=Live(interval=0))(lambda request: request.connection.headers["host"])
    router.get("/peer", live=Live(interval=0))(lambda request: request.connection.peer)
    return router


async def asked(path: str, headers: Any = (HOST,), **scope: Any) -> tuple[int, Any]:
    """Give status and data of the answer of an ASGI app of the routes."""
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""} if not said else {"type": "http.disconnect"}

    whole = {"type": "http", "method": "GET", "path": path, "http_version": "1.1", "headers": list(headers)} | scope
    await Exchange(Application(router_of()).prepare())(whole, receive, send)
    return said[0]["status"], json.loads(said[1]["body"])


@pytest.mark.parametrize(
    ("path", "scope", "url"),
    [
        ("/public/x", {"raw_path": b"/admin/x"}, "/public/x"),  # somebody has changed it
        ("/who", {"raw_path": b"/v1/who"}, "/who"),
        ("/who", {"raw_path": b"/who?x=1"}, "/who"),
        ("/who", {"raw_path": b"/%77ho"}, "/who"),
        ("/one/a/b", {"raw_path": b"/one/a%2Fb"}, "a/b"),
        ("/one/a/b", {"raw_path": b"/m/one/a%2Fb"}, "a/b"),  # a host that takes its part of the path
        ("/one/a/b/", {"raw_path": b"/m/one/a%2Fb"}, "a/b"),  # and puts a slash behind the rest, as Litestar does
        ("/one/a/b", {"root_path": "/m", "raw_path": b"/m/one/a%2Fb"}, "a/b"),
        ("/one/é", {"raw_path": "/one/é".encode("latin-1")}, "é"),  # none of the client's: it is no path
        ("/café/who", {"root_path": "/café", "raw_path": b"/caf%C3%A9/who"}, "/who"),
        ("/a b/who", {"root_path": "/a b", "raw_path": b"/a%20b/who"}, "/who"),
        ("/a b/who", {"root_path": "/a b"}, "/who"),
        ("/live/who", {"root_path": "/live", "raw_path": b"/%6cive/who"}, "/who"),
        ("/live/who", {"root_path": "/live/", "raw_path": b"/live/who"}, "/who"),
        ("/live//who", {"root_path": "/live/", "raw_path": b"/live//who"}, "/who"),
        ("//who", {"root_path": "/", "raw_path": b"//who"}, "/who"),
        ("/who", {"root_path": "/", "raw_path": b"/who"}, "/who"),
    ],
)
@asynchronous
async def test_path(path: str, scope: dict[str, Any], url: str) -> None:
    assert await asked(path, **scope) == (200, url)


@asynchronous
async def test_a_page_is_there_where_a_host_puts_a_slash_behind_its_path() -> None:
    status, document = await asked("/openapi.json/", raw_path=b"/m/openapi.json")
    assert (status, document["openapi"]) == (200, "3.1.0")


@pytest.mark.parametrize(
    ("path", "scope", "status"),
    [
        ("/v1/who", {"root_path": "/v", "raw_path": b"/v1/who"}, 404),
        ("/one/a/b", {"raw_path": b"/m" * 15 + b"/one/a%2Fb"}, 404),  # no host is that deep: it is not looked for
        ("/v/who", {"root_path": "", "raw_path": b"/v%2Fwho"}, 404),  # one step, not two
        ("/a/b/who", {"root_path": "/a/b", "raw_path": b"/a%2Fb/who"}, 404),
        ("/one/\ufffd", {"raw_path": b"/one/%ff"}, 400),
        ("/one/é", {"raw_path": "/one/é".encode()}, 400),
    ],
)
@asynchronous
async def test_path_that_is_not_served(path: str, scope: dict[str, Any], status: int) -> None:
    assert (await asked(path, **scope))[0] == status


@asynchronous
async def test_mounted_where_the_name_is_encoded() -> None:
    host = Starlette(routes=[Mount("/café", Application(router_of()).asgi())])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(host), base_url="http://testserver") as client:
        assert (await client.get("/café/who")).json() == "/who"
        assert (await client.get("/c%61f%C3%A9/who")).json() == "/who"


@asynchronous
async def test_a_prefix_is_the_same_however_it_is_encoded() -> None:
    async def beside(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'"beside"'})

    app = Application(router_of(), http=beside, http_prefix="/api", health_path="/healthz", port=0)
    await app.start()
    try:
        address = "http://{}:{}".format(*app.addresses[0])
        async with httpx.AsyncClient(base_url=address, timeout=TIMEOUT) as client:
            for path, data in (
                ("/%61pi/who", "/who"),
                ("/api/secret", None),
                ("/%61pi/secret", None),
                ("/%61pi/api/secret", "/api/secret"),
                ("/api%2Fsecret", "beside"),
                ("/%68ealthz", "beside"),
            ):
                response = await client.get(path)
                assert (response.json() if response.status_code == 200 else None) == data, path
            assert (await client.get("/healthz")).text == "ok\n"
    finally:
        await app.stop()


@pytest.mark.parametrize(
    ("server", "host"),
    [
        (None, "localhost"),
        (("127.0.0.1", 80), "127.0.0.1"),
        (("::1", 80), "[::1]"),
        (["/run/x.sock", None], "localhost"),
        (("/run/x.sock", "0"), "localhost"),
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1", "2"])
@asynchronous
async def test_server_that_gives_no_host(server: Any, host: str, version: str) -> None:
    assert await asked("/host", headers=[], server=server, http_version=version) == (200, host)


async def streamed(path: str, headers: Any = (HOST,), **scope: Any) -> list[Any]:
    """Give what an ASGI app of the routes says to one who listens until the value has come."""
    said: list[Any] = []
    has_come = asyncio.Event()

    async def send(message: Any) -> None:
        said.append(message)
        if message.get("body"):
            has_come.set()

    async def receive() -> Any:
        await has_come.wait()
        return {"type": "http.disconnect"}

    whole = {"type": "http", "method": "GET", "path": path, "http_version": "1.1", **scope}
    headers = [*headers, (b"accept", b"text/event-stream")]
    async with asyncio.timeout(TIMEOUT):
        await Exchange(Application(router_of()).prepare())({**whole, "headers": headers}, receive, send)
    return said


@asynchronous
async def test_a_stream_where_the_server_gives_no_host() -> None:
    start, *_ = await streamed("/live", headers=())
    assert start["status"] == 200


@pytest.mark.parametrize(
    ("client", "peer"),
    [
        (None, "unix:"),
        (("", "0"), "unix:"),  # so says granian of a Unix socket
        (("/run/x.sock", None), "unix:"),
        (("203.0.113.7", 7), "tcp4:203.0.113.7:7"),
        (("::1", 7), "tcp6:::1:7"),
    ],
)
@asynchronous
async def test_the_peer_is_the_same_on_each_way(client: Any, peer: str) -> None:
    assert await asked("/peer", client=client) == (200, peer)
    assert f'data: "{peer}"'.encode() in b"".join(
        said.get("body", b"") for said in await streamed("/peer", client=client)
    )
    async with ByHand(client=client).serving(Application(router_of()).asgi()) as server:
        server.ask("/peer")
        assert (await server.reply())["data"] == peer
