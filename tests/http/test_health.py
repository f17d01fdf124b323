"""Probes: who asks how the server is gets an answer, whatever else is going on, and takes nobody's place."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any

import pytest

from aiorest_ws import Application
from aiorest_ws.http.head import is_probe
from tests.serving import (
    LOOPS,
    Certificate,
    Client,
    Gates,
    HandshakeRefused,
    asynchronous,
    client_context,
    factory_of,
    make_router,
    serving,
)

on_each_loop = pytest.mark.parametrize("loop", LOOPS)

OK = ("HTTP/1.1 200 OK", b"ok\n")
STOPPING = ("HTTP/1.1 503 Service Unavailable", b"stopping\n")


async def probe(
    where: Any, request: str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", tls: ssl.SSLContext | None = None
) -> tuple[str, bytes]:
    """Give status line and body of the answer; the server has to close behind it."""
    address = where.addresses[0] if isinstance(where, Application) else where
    if isinstance(address, str):
        reader, writer = await asyncio.open_unix_connection(address)
    else:
        reader, writer = await asyncio.open_connection(*address, ssl=tls)
    writer.write(request.encode("latin-1"))
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head.decode().partition("\r\n")[0], body


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /healthz HTTP/1.1\r\nHost: 10.0.0.7:8080\r\nUser-Agent: kube-probe/1.30\r\nAccept: */*\r\n\r\n",
        "GET /healthz HTTP/1.0\r\n\r\n",  # HAProxy's `option httpchk GET /healthz`
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz?verbose HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "\r\nGET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n",
    ],
)
@on_each_loop
@asynchronous
async def test_probe_gets_200(loop: str, request_text: str) -> None:
    options: dict[str, Any] = {"health_path": "/healthz", "path": "api", "allowed_hosts": ["shop.example"]}
    async with serving(make_router(), **options) as app:
        assert await probe(app, request_text) == OK
        assert await probe(app, request_text.replace("GET", "HEAD")) == (OK[0], b"")


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("GET /health HTTP/1.0\r\n\r\n", 505),
        ("GET /healthz/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("GET /%68ealthz HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("POST /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("OPTIONS /healthz HTTP/1.0\r\n\r\n", 505),
        ("GET /healthz HTTP/2.0\r\n\r\n", 505),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n", 404),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 404),
        ("GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", 404),
        ("GET /healthz\r\n\r\n", 400),
    ],
)
@asynchronous
async def test_what_is_no_probe_is_answered_as_ever(request_text: str, status: int) -> None:
    async with serving(make_router(), health_path="/healthz") as app:
        line, _ = await probe(app, request_text)
        assert line.split(" ")[1] == str(status)


@asynchronous
async def test_path_may_be_that_of_the_handshake() -> None:
    async with serving(make_router(), health_path="/") as app, await Client.connect(app) as client:
        assert await probe(app, "GET / HTTP/1.1\r\n\r\n") == OK
        assert (await client.ask())["data"] == "Hello, world!"


@asynchronous
async def test_without_the_option_there_is_no_answer() -> None:
    async with serving(make_router()) as app:
        line, _ = await probe(app)
        assert line.split(" ")[1] == "404"


@on_each_loop
@asynchronous
async def test_probe_over_tls_and_a_unix_socket(loop: str, certificate: Certificate, tmp_path: Path) -> None:
    files = certificate.options
    async with serving(make_router(), health_path="/healthz", **files) as app:
        assert await probe(app, tls=client_context(certificate)) == OK
    async with serving(make_router(), health_path="/healthz", unix_path=tmp_path / "s") as app:
        assert await probe(app) == OK


@on_each_loop
@asynchronous
async def test_probe_is_answered_where_there_is_no_place_left_and_takes_none(loop: str) -> None:
    options: dict[str, Any] = {"max_connections": 1, "max_connections_per_address": 1}
    async with serving(make_router(), health_path="/healthz", **options) as app, await Client.connect(app) as client:
        factory = factory_of(app)
        for _ in range(3):
            reader, writer = await asyncio.open_connection(*app.addresses[0])
            writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
            assert factory.admissions.half_open == []  # though it has not left
            writer.close()
        with pytest.raises(HandshakeRefused, match="503"):
            await Client.connect(app)
        assert (await client.ask())["data"] == "Hello, world!"


@on_each_loop
@asynchronous
async def test_probe_is_told_that_the_server_stops_as_long_as_something_is_in_flight(loop: str) -> None:
    gates = Gates()
    router = make_router(slow=lambda request: gates.wait("slow"))
    options: dict[str, Any] = {"health_path": "/healthz", "shutdown_timeout": 5}
    async with serving(router, **options) as app, await Client.connect(app) as client:
        address = app.addresses[0]
        client.request("GET", "/slow")
        await gates.until_started("slow")
        stopping = asyncio.ensure_future(app.stop())
        await asyncio.sleep(0)
        assert await probe(address) == STOPPING
        with pytest.raises(HandshakeRefused, match="503"):
            await Client.connect(address)
        gates.open("slow")
        assert (await client.reply())["data"] == "slow"
        assert (await client.left()).close_code == 1001
        await stopping
        with pytest.raises(ConnectionError):
            await probe(address)


@asynchronous
async def test_port_that_others_share_is_left_to_them_at_once() -> None:
    gates = Gates()
    router = make_router(slow=lambda request: gates.wait("slow"))
    options: dict[str, Any] = {"health_path": "/healthz", "shutdown_timeout": 5, "reuse_port": True}
    async with serving(router, **options) as old, await Client.connect(old) as client:
        address = old.addresses[0]
        client.request("GET", "/slow")
        await gates.until_started("slow")
        stopping = asyncio.ensure_future(old.stop())
        await asyncio.sleep(0)
        async with serving(make_router(), **options | {"port": address[1]}):
            for _ in range(10):
                assert await probe(address) == OK
        gates.open("slow")
        await client.reply()
        await client.left()
        await stopping


@asynchronous
async def test_probe_leaves_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    told: list[Any] = []
    hooks = {"on_connect": told.append, "on_disconnect": lambda *args: told.append(args)}
    async with serving(make_router(), health_path="/healthz", path="api", **hooks) as app:
        assert await probe(app) == OK
    assert (caplog.messages, told) == ([], [])


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ("healthz", ValueError, "health_path must be None or a path that begins with a slash, such as '/healthz'"),
        ("", ValueError, "begins with a slash"),
        ("/health z", ValueError, "percent-encoded and without a query"),
        ("/healthz?x", ValueError, "percent-encoded and without a query"),
        (True, TypeError, "health_path must be a string, got True"),
        (["/healthz"], TypeError, "health_path must be a string"),
    ],
)
def test_wrong_option_is_one_line(value: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Application(router=make_router(), health_path=value)


def test_path_of_a_probe_is_compared_as_it_is_sent() -> None:
    assert is_probe(b"GET /healthz HTTP/1.0\r\n\r\n", "/healthz")
    assert not is_probe(b"GET /healthz HTTP/1.0\r\n\r\n", "/health")
