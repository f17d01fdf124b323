"""HTTP on our own port, with every byte as it is: what is taken, what is refused, and what ends when."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest

from aiorest_ws import Application, Response, SimpleRouter
from aiorest_ws.exceptions import ConnectionRefused
from tests.serving import LOOPS, TIMEOUT, Certificate, Client, Gates, asynchronous, factory_of, turn_over, until

OK = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"POST /data HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Plain:
    """A client that writes bytes, and reads responses."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self, *, to_head: bool = False) -> Answer:
        async with asyncio.timeout(TIMEOUT):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode().strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            size = 0 if to_head else int(headers.get("content-length", 0))
            return Answer(int(first.split(" ")[1]), headers, await self.reader.readexactly(size))

    async def ask(self, data: bytes) -> Answer:
        self.send(data)
        return await self.response()

    async def eof(self) -> None:
        async with asyncio.timeout(TIMEOUT):
            assert await self.reader.read(1) == b""


def router_of(gates: Gates | None = None) -> SimpleRouter:
    router = SimpleRouter()
    router.get("/hello")(lambda request: "hi")
    router.post("/data")(lambda request: request.data)
    router.get("/peer")(lambda request: [request.connection.peer, dict(request.connection.headers)])
    if gates is not None:

        @router.get("/wait/{name}")
        async def wait(request: Any, name: str) -> str:
            return await gates.wait(name)

    return router


@asynccontextmanager
async def serving(router: SimpleRouter | None = None, **options: Any) -> AsyncIterator[Application]:
    app = Application(router or router_of(), **{"http": True, "port": 0, "shutdown_timeout": 1.0} | options)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


@asynccontextmanager
async def plain(app: Application, tls: ssl.SSLContext | None = None) -> AsyncIterator[Plain]:
    reader, writer = await asyncio.open_connection(*app.addresses[0][:2], ssl=tls)
    try:
        yield Plain(reader, writer)
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_requests_of_one_connection_are_answered_in_order(loop: str) -> None:
    async with serving() as app, plain(app) as client:
        client.send(OK + HEAD + b'Content-Length: 7\r\n\r\n{"a":1}' + OK)
        replies = [await client.response() for _ in range(3)]
        assert [reply.body for reply in replies] == [b'"hi"', b'{"a":1}', b'"hi"']
        assert "connection" not in replies[0].headers
        assert {"date", "server"} <= set(replies[0].headers)
        assert len(factory_of(app).connections) == 1
        assert len(factory_of(app).admissions) == 1


@asynchronous
async def test_a_body_may_come_in_chunks_and_byte_by_byte() -> None:
    async with serving() as app, plain(app) as client:
        whole = HEAD + b'Transfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4;x=y\r\n":1}\r\n0\r\nX-T: trailer\r\n\r\n' + OK
        for at in range(len(whole)):
            client.send(whole[at : at + 1])
            await client.writer.drain()
        assert (await client.response()).body == b'{"a":1}'
        assert (await client.response()).body == b'"hi"'


@asynchronous
async def test_a_trailer_is_no_header() -> None:
    async with serving() as app, plain(app) as client:
        reply = await client.ask(
            b"GET /peer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\nAuthorization: Bearer x\r\n\r\n"
        )
        assert "authorization" not in json.loads(reply.body)[1]


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_a_websocket_is_served_as_ever_and_after_requests(loop: str) -> None:
    async with serving() as app:
        async with await Client.connect(app) as websocket:
            assert (await websocket.ask(id=1))["data"] == "hi"
        async with plain(app) as client:
            assert (await client.ask(OK)).status == 200
            sock = client.writer.get_extra_info("socket").dup()
            async with await Client.connect(app, sock=sock, behind=b"") as websocket:
                assert (await websocket.ask(id=1))["data"] == "hi"
                assert len(factory_of(app).connections) == 1
                assert len(factory_of(app).admissions) == 1
        await until(lambda: not factory_of(app).connections)
        assert factory_of(app).countConnections == 0


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
)


@asynchronous
async def test_an_upgrade_in_a_pipeline_waits_for_what_is_before_it() -> None:
    gates = Gates()
    async with serving(router_of(gates)) as app, plain(app) as client:
        wait = b"GET /wait/a HTTP/1.1\r\nHost: localhost\r\n\r\n"
        client.send(OK + wait + UPGRADE + b"\r\n" + b"\x89\x80aaaa")
        assert (await client.response()).body == b'"hi"'
        await gates.until_started("a")
        gates.open("a")
        assert (await client.response()).body == b'"a"'
        assert (await client.response()).status == 101
        assert await client.reader.readexactly(2) == b"\x8a\x00"  # the pong


@pytest.mark.parametrize("before", [b"", OK])
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (UPGRADE + b"Content-Length: 3\r\n\r\nabc", 400),
        (UPGRADE.replace(b"GET /", b"GET /other") + b"\r\n", 404),
        (UPGRADE.replace(b"Version: 13", b"Version: 8") + b"\r\n", 426),
        (UPGRADE.replace(b"GET", b"POST") + b"\r\n", 405),
        (UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n", 505),
        (UPGRADE.replace(b"Connection: Upgrade\r\n", b"") + b"\r\n", 400),
        (UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ],
)
@asynchronous
async def test_an_upgrade_that_is_wrong_is_refused_as_ever(before: bytes, request_: bytes, status: int) -> None:
    async with serving() as app, plain(app) as client:
        client.send(before + request_)
        if before:
            assert (await client.response()).status == 200
        assert (await client.response()).status == status
        await client.eof()


# What can be read in two ways, and what is too much: the first request of a connection, and a later one.
BAD = {
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n12", 400),
    "the same length twice": (HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n1", 400),
    "length and chunked": (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked and length": (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "chunked twice": (HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "another coding": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "identity": (HEAD + b"Transfer-Encoding: identity\r\n\r\n1", 400),
    "a coding in quotes": (HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', 400),
    "a coding behind a vertical tab": (HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "a coding that ends in a comma": (HEAD + b"Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", 400),
    "no coding": (HEAD + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n", 400),
    "a coding with a space before the colon": (HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked of 1.0": (b"POST /data HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a length with a sign": (HEAD + b"Content-Length: +1\r\n\r\n1", 400),
    "a length in hex": (HEAD + b"Content-Length: 0x1\r\n\r\n1", 400),
    "a length of nothing": (HEAD + b"Content-Length:\r\n\r\n", 400),
    "a negative length": (HEAD + b"Content-Length: -1\r\n\r\n1", 400),
    "a length with an underscore": (HEAD + b"Content-Length: 1_0\r\n\r\n1234567890", 400),
    "a length that overflows": (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n1", 400),
    "a list of lengths": (HEAD + b"Content-Length: 1, 1\r\n\r\n1", 400),
    "a chunk size with a space": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1 \r\n1\r\n0\r\n\r\n", 400),
    "a chunk size of nothing": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n\r\n1\r\n0\r\n\r\n", 400),
    "a chunk size with a prefix": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\n1\r\n0\r\n\r\n", 400),
    "a chunk size with a sign": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n+1\r\n1\r\n0\r\n\r\n", 400),
    "a chunk size with an underscore": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0_1\r\n1\r\n0\r\n\r\n", 400),
    "a chunk size that overflows": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n1", 400),
    "a chunk with a bare LF": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\n1\r\n0\r\n\r\n", 400),
    "a chunk extension with a bare LF": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;a\n1\r\n0\r\n\r\n", 400),
    "a chunk that goes on": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n12\r\n0\r\n\r\n", 400),
    "a chunk that ends in a bare LF": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1\n0\r\n\r\n", 400),
    "a trailer with a bare LF": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\nX: y\n\r\n", 400),
    "a trailer without a colon": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\nX y\r\n\r\n", 400),
    "a folded trailer": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\nX: y\r\n z\r\n\r\n", 400),
    "an end with a bare LF": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\n", 400),
    "a bare LF": (b"GET /hello HTTP/1.1\nHost: t\n\n", 400),
    "a header with a bare LF": (b"GET /hello HTTP/1.1\r\nHost: t\nX: y\r\n\r\n", 400),
    "HTTP/0.9 with a bare LF and a body": (b"POST /data\nHost: localhost\r\nContent-Length: 2\r\n\r\n12", 400),
    "a header behind a bare CR": (HEAD + b"X: \rxTransfer-Encoding: chunked\r\n\r\n1\r\nA\r\n0\r\n\r\n", 400),
    "a header with a bare CR": (b"GET /hello HTTP/1.1\r\nHost: localhost\rX: y\r\n\r\n", 400),
    "a folded header": (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: y\r\n z\r\n\r\n", 400),
    "a space before a colon": (b"GET /hello HTTP/1.1\r\nHost : t\r\n\r\n", 400),
    "a name that is no token": (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX(: y\r\n\r\n", 400),
    "a header without a name": (b"GET /hello HTTP/1.1\r\nHost: localhost\r\n: y\r\n\r\n", 400),
    "a header without a colon": (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n", 400),
    "a space before a name": (b"GET /hello HTTP/1.1\r\n Host: localhost\r\n\r\n", 400),
    "a NUL": (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", 400),
    "a C1 control": (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: \x85\r\n\r\n", 400),
    "no Host": (b"GET /hello HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nHost: u\r\n\r\n", 400),
    "a Host that is none": (b"GET /hello HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "another host in the target": (b"GET http://u/hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "an authority as target": (b"GET t:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a user in the target": (b"GET http://a@localhost/hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a target without a host": (b"GET http:///hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a fragment in the target": (b"GET /hello#x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a space in the target": (b"GET /hel lo HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "no target": (b"GET HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a target that is no ASCII": (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a tunnel": (b"CONNECT t:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    "two spaces": (b"GET  /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "two spaces before the version": (b"GET /hello  HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a space behind the version": (b"GET /hello HTTP/1.1 \r\nHost: localhost\r\n\r\n", 400),
    "RTSP": (b"GET /hello RTSP/1.0\r\nHost: localhost\r\n\r\n", 400),
    "ICE": (b"SOURCE /hello ICE/1.0\r\nHost: localhost\r\n\r\n", 400),
    "bare LF before it": (b"\n\nGET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "many empty lines before it": (b"\r\n" * 9 + b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a method that nobody knows": (b"FOO /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    "a method in lower case": (b"get /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    "a method that goes on": (b"GETS /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    "a long method": (b"G" * 5000 + b" /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    "a method that is no token": (b"G(T /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "no method": (b" /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.2": (b"GET /hello HTTP/1.2\r\nHost: localhost\r\n\r\n", 505),
    "HTTP/0.9": (b"GET /hello\r\n\r\n", 400),
    "too many headers": (b"GET /hello HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100 + b"\r\n", 431),
    "a long header": (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 17000 + b"\r\n\r\n", 431),
    "a header without an end": (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 400_000, 431),
    "a target without an end": (b"GET /" + b"y" * 400_000, 431),
    "a trailer without an end": (HEAD + CHUNKS + b"1\r\n1\r\n0\r\nX: " + b"y" * 400_000, 431),
    "trailers without an end": (HEAD + CHUNKS + b"1\r\n1\r\n0\r\n" + b"X: y\r\n" * 70_000, 431),
    "a chunk extension without an end": (HEAD + CHUNKS + b"1;x=" + b"y" * 400_000, 431),
    "a body of a gibibyte": (HEAD + b"Content-Length: 1073741824\r\n\r\n", 413),
    "chunks without an end": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"ffffff\r\n" + b"1" * 5000, 413),
}


@pytest.mark.parametrize("before", [b"", OK], ids=["first", "later"])
@pytest.mark.parametrize("name", BAD)
@asynchronous
async def test_what_is_bad_is_refused_and_nothing_behind_it_is_read(name: str, before: bytes) -> None:
    data, status = BAD[name]
    async with serving(max_message_size=1000) as app:
        async with plain(app) as client:
            client.send(before + data + OK)
            if before:
                assert (await client.response()).body == b'"hi"'
            reply = await client.response()
            assert (reply.status, reply.headers["content-type"]) == (status, "application/json")
            assert list(json.loads(reply.body)) == ["detail"]
            await client.eof()
        await until(lambda: not factory_of(app).connections)


@asynchronous
async def test_who_takes_it_for_a_proxy_is_told_what_it_does() -> None:
    async with serving() as app, plain(app) as client:
        reply = await client.ask(BAD["a tunnel"][0])
        assert reply.headers["allow"] == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


@pytest.mark.parametrize("line", [b"FOO /hello HTTP/1.1", b"GET /hello HTTP/1.1"])
@asynchronous
async def test_a_request_line_may_come_byte_by_byte(line: bytes) -> None:
    async with serving() as app, plain(app) as client:
        assert (await client.ask(OK)).status == 200
        for byte in line + b"\r\nHost: localhost\r\n\r\n":
            client.send(bytes([byte]))
            await turn_over()
        assert (await client.response()).status == (200 if line.startswith(b"GET") else 501)


@pytest.mark.parametrize("before", [b"", OK], ids=["first", "later"])
@asynchronous
async def test_a_line_that_can_be_none_any_more_is_refused_before_it_ends(before: bytes) -> None:
    async with serving() as app, plain(app) as client:
        client.send(before + b"GET /hello HTTP/1.1\nHost: localhost\n\n")
        assert [(await client.response()).status for _ in range(2 if before else 1)][-1] == 400
        await client.eof()


@pytest.mark.parametrize("before", [b"", OK], ids=["first", "later"])
@asynchronous
async def test_a_refusal_of_a_head_has_no_body(before: bytes) -> None:
    async with serving() as app, plain(app) as client:
        client.send(before + b"HEAD /hello HTTP/1.1\r\nHost: a b\r\n\r\n")
        if before:
            await client.response()
        assert (await client.response(to_head=True)).status == 400
        await client.eof()


@pytest.mark.parametrize(
    ("data", "status", "body"),
    [
        (b"GET http://localhost/hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, b'"hi"'),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 204, b""),
        (b"\r\n\r\n" + OK, 200, b'"hi"'),
        (OK.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"), 200, b'"hi"'),
        (HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n12", 200, b"12"),
    ],
)
@asynchronous
async def test_what_is_unusual_and_right_is_answered(data: bytes, status: int, body: bytes) -> None:
    async with serving() as app, plain(app) as client:
        for _ in range(2):
            reply = await client.ask(data)
            assert (reply.status, reply.body) == (status, body)
        assert (await client.ask(OK)).status == 200


@asynchronous
@pytest.mark.parametrize(
    ("host", "options", "status"),
    [
        ("evil.example", {}, 403),
        ("localhost.evil.example", {}, 403),
        ("LOCALHOST:80", {}, 200),
        ("a.localhost", {}, 200),
        ("[::1]", {}, 200),
        ("evil.example", {"trusted_proxies": 1}, 200),
        ("evil.example", {"allowed_hosts": ["*.example"]}, 200),
        ("localhost", {"allowed_hosts": ["*.example"]}, 403),
    ],
)
async def test_a_name_that_a_page_has_lead_here_is_refused(host: str, options: dict[str, Any], status: int) -> None:
    """A GET of the page's own host has no Origin: it is DNS rebinding, for all that a browser says."""
    async with serving(**options) as app, plain(app) as client:
        reply = await client.ask(f"GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert reply.status == status


@asynchronous
async def test_a_response_leaves_in_one_write_and_says_how_long_it_is() -> None:
    router = router_of()
    router.get("/none")(lambda request: Response(None, status=204))
    router.get("/reset")(lambda request: Response(None, status=205))
    async with serving(router) as app, plain(app) as client:
        assert (await client.ask(OK)).status == 200
        (line,) = factory_of(app).connections
        written: list[bytes] = []
        write = line.transport._write

        def noted(data: bytes) -> None:
            written.append(data)
            write(data)

        line.transport._write = noted
        for path, status, size in (("hello", 200, "4"), ("none", 204, None), ("reset", 205, "0"), ("no", 404, "25")):
            reply = await client.ask(OK.replace(b"hello", path.encode()))
            assert (reply.status, reply.headers.get("content-length"), len(written)) == (status, size, 1)
            assert "transfer-encoding" not in reply.headers
            written.clear()


@pytest.mark.parametrize("header", [(b"x", b"a\r\nb: c"), (b"x", b"a\0"), (b"x y", b"a"), (b"x:", b"a"), (b"\n", b"a")])
@asynchronous
async def test_a_header_that_none_may_be_is_never_sent(
    header: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiorest_ws.exchange.replies._NO_SNIFF", header)
    async with serving() as app, plain(app) as client:
        client.send(OK)
        await client.eof()


@asynchronous
async def test_http_1_0_is_answered_and_closed() -> None:
    async with serving() as app, plain(app) as client:
        reply = await client.ask(b"GET /hello HTTP/1.0\r\n\r\n")
        assert (reply.status, reply.body, reply.headers["connection"]) == (200, b'"hi"', "close")
        await client.eof()


@pytest.mark.parametrize("before", [b"", OK], ids=["first", "later"])
@asynchronous
async def test_nothing_is_read_behind_the_request_that_says_it_is_the_last(before: bytes) -> None:
    told: list[str] = []
    router = SimpleRouter()
    router.get("/hello")(lambda request: told.append(request.url))
    async with serving(router) as app, plain(app) as client:
        client.send(before + OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + OK)
        if before:
            assert (await client.response()).status == 200
        reply = await client.response()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        await client.eof()
        assert len(told) == (2 if before else 1)


@asynchronous
async def test_100_continue_is_said_to_who_may_go_on() -> None:
    async with serving() as app, plain(app) as client:
        client.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await client.response()).status == 100
        assert (await client.ask(b"12")).body == b"12"
        reply = await client.ask(HEAD + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
        assert (reply.status, reply.headers["connection"]) == (413, "close")
        await client.eof()


@pytest.mark.parametrize("before", [b"", OK], ids=["first", "later"])
@asynchronous
async def test_spaces_around_a_header_are_none_of_it(before: bytes) -> None:
    """RFC 9110 §5.5."""
    head = (
        b"POST /headers HTTP/1.1\r\nHost:localhost \t\r\nContent-Type: \t application/json \r\nX: \t \r\n"
        b"Origin: http://localhost \r\nExpect: 100-continue\t\r\nContent-Length: 2 \r\n\r\n"
    )
    router = router_of()
    router.post("/headers")(lambda request: dict(request.connection.headers))
    async with serving(router) as app, plain(app) as client:
        client.send(before + head)
        assert [(await client.response()).status for _ in range(2 if before else 1)][-1] == 100
        assert json.loads((await client.ask(b"12")).body) == {
            "host": "localhost",
            "content-type": "application/json",
            "x": "",
            "origin": "http://localhost",
            "expect": "100-continue",
            "content-length": "2",
        }


EXPECTS = HEAD + b"Expect: 100-continue\r\n"


@pytest.mark.parametrize("length", [b"Content-Length: 2", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize(
    ("head", "status", "allow"),
    [
        (EXPECTS.replace(b"/data", b"/none"), 404, None),
        (EXPECTS.replace(b"/data", b"/hello"), 405, "GET, HEAD, OPTIONS"),
        (EXPECTS.replace(b"POST", b"LINK"), 405, "OPTIONS, POST"),
        (EXPECTS.replace(b"POST", b"LIKE"), 501, None),
        (EXPECTS.replace(b"application/json", b"text/plain"), 415, None),
        (EXPECTS + b"Content-Encoding: gzip\r\n", 415, None),
        (EXPECTS + b"Origin: https://evil.example\r\n", 403, None),
        (EXPECTS + b"X-Who: nobody\r\n", 401, None),
        (HEAD + b"Expect: a miracle\r\n", 417, None),
        (HEAD + b"Expect: 100-continue, a miracle\r\n", 417, None),
        (EXPECTS + b"Expect: a miracle\r\n", 417, None),
    ],
)
@asynchronous
async def test_nobody_is_told_to_send_what_is_refused_anyway(
    head: bytes, length: bytes, status: int, allow: str | None
) -> None:
    """RFC 9110 §10.1.1: what can be said of the head alone is said at once."""

    def ask(connection: Any) -> None:
        if "x-who" in connection.headers:
            raise ConnectionRefused(401)

    async with serving(on_connect=ask) as app, plain(app) as client:
        reply = await client.ask(head + length + b"\r\n\r\n")
        assert (reply.status, reply.headers.get("allow")) == (status, allow)
        assert reply.headers["connection"] == "close"  # whether the body comes now is for the client to say
        await client.eof()


@pytest.mark.parametrize(
    "head",
    [
        EXPECTS + b"Content-Length: 0\r\n\r\n",
        EXPECTS + b"\r\n",
        HEAD + b"Expect: 100-Continue\r\n\r\n",
        HEAD.replace(b"1.1", b"1.0") + b"Expect: a miracle\r\n\r\n",
    ],
)
@asynchronous
async def test_without_a_body_to_come_nothing_is_said_before_the_response(head: bytes) -> None:
    async with serving() as app, plain(app) as client:
        assert (await client.ask(head)).status == 200


@pytest.mark.parametrize("before", [b"", OK], ids=["first", "later"])
@asynchronous
async def test_100_continue_is_never_said_to_http_1_0(before: bytes) -> None:
    """RFC 9110 §10.1.1: it would be the response, to who knows of no interim ones."""
    async with serving() as app, plain(app) as client:
        head = HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        client.send(before + head)
        if before:
            assert (await client.response()).status == 200
        await turn_over()
        reply = await client.ask(b"12")
        assert (reply.status, reply.body) == (200, b"12")
        await client.eof()


@asynchronous
async def test_a_reply_before_the_body_closes() -> None:
    """Nobody could tell the rest of a body that was not read from the next request."""
    async with serving(on_connect=lambda connection: False) as app, plain(app) as client:
        reply = await client.ask(HEAD + b"Content-Length: 100\r\n\r\nGET /hello")
        assert (reply.status, reply.headers["connection"]) == (403, "close")
        client.send(OK)
        await client.eof()


@asynchronous
async def test_a_fault_behind_a_request_that_is_answered_comes_behind_its_reply() -> None:
    gates = Gates()
    async with serving(router_of(gates)) as app, plain(app) as client:
        client.send(b"GET /wait/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await gates.until_started("a")
        client.send(b"nonsense\r\n\r\n")
        await until(lambda: bool(next(iter(factory_of(app).connections))._last_words))
        gates.open("a")
        assert (await client.response()).body == b'"a"'
        assert (await client.response()).status == 400
        await client.eof()


@pytest.mark.parametrize("data", [OK[:-2], OK + OK[:-2], HEAD + b"Content-Length: 2\r\n\r\n1"])
@asynchronous
async def test_a_slow_request_is_ended(data: bytes) -> None:
    async with serving(handshake_timeout=0.05, send_timeout=0.05, ping_interval=None) as app, plain(app) as client:
        client.send(data)
        if data.startswith(OK):
            assert (await client.response()).status == 200
        reply = await client.response()
        assert (reply.status, "took too long" in json.loads(reply.body)["detail"]) == (408, True)
        await client.eof()


@asynchronous
async def test_who_sends_nothing_is_told_nothing() -> None:
    async with serving(handshake_timeout=0.05) as app, plain(app) as client:
        await client.eof()


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_who_stays_behind_the_last_response_is_dropped_however_often_others_are_looked_at(loop: str) -> None:
    async with serving(send_timeout=0.05, ping_interval=None) as app, plain(app) as client:
        assert (await client.ask(HEAD + b"Content-Length: 2\r\n\r\n1")).status == 408
        await until(lambda: not factory_of(app).connections)


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_who_leaves_before_it_is_refused_takes_no_place(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    gates = Gates()

    async def refuse(connection: Any) -> bool:
        await gates.wait("a")
        return False

    async with serving(on_connect=refuse) as app:
        async with plain(app) as client:
            client.send(HEAD + b"Content-Length: 999999\r\n\r\n" + b"x" * 200_000)
            await gates.until_started("a")
            line: Any = next(iter(factory_of(app).connections))
            await until(lambda: line.flow.read_paused)
        gates.open("a")
        await until(lambda: not factory_of(app).connections)
    assert caplog.messages == []


@asynchronous
async def test_a_silent_connection_is_ended() -> None:
    async with serving(idle_timeout=0.05) as app, plain(app) as client:
        assert (await client.ask(OK)).status == 200
        await client.eof()


@asynchronous
async def test_whoever_tells_all_connections_something_tells_those_of_http_nothing() -> None:
    router = router_of()
    router.post("/tell")(lambda request: [each.send_event("x", 1) for each in request.connection.factory.connections])
    async with serving(router) as app, plain(app) as client:
        reply = await client.ask(b"POST /tell HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        assert (reply.status, reply.body) == (200, b"[false]")


@asynchronous
async def test_connections_count() -> None:
    async with serving(max_connections=1) as app, plain(app) as one:
        assert (await one.ask(OK)).status == 200
        async with plain(app) as two:
            assert (await two.ask(OK)).status == 503
            await two.eof()
        assert (await one.ask(OK)).status == 200


@asynchronous
async def test_requests_a_second_are_those_of_a_connection() -> None:
    async with serving(requests_per_second=0.001, burst=2) as app, plain(app) as client:
        assert [(await client.ask(OK)).status for _ in range(3)] == [200, 200, 429]


H2C = b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"


@pytest.mark.parametrize("request_", [OK, H2C, HEAD + b'Content-Length: 4\r\n\r\n"hi"'], ids=["GET", "h2c", "POST"])
@asynchronous
async def test_more_requests_than_may_wait_are_read_once_there_is_room(
    request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """All of them may come in one packet, with a handshake behind them."""
    gates = Gates()
    async with serving(router_of(gates), max_concurrency=2) as app, plain(app) as client:
        client.send(b"GET /wait/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await gates.until_started("a")
        (line,) = factory_of(app).connections
        client.send(request_ * 200 + OK + UPGRADE + b"\r\n\x89\x80aaaa")
        await until(lambda: line.flow.read_paused)
        assert len(line.pipeline) == 2
        gates.open("a")
        assert [(await client.response()).body for _ in range(202)] == [b'"a"', *[b'"hi"'] * 201]
        assert (await client.response()).status == 101
        assert await client.reader.readexactly(2) == b"\x8a\x00"  # the pong
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    "behind", [OK * 40, UPGRADE + b"\r\n" + b"\x89\x80aaaa" * 12_000], ids=["requests", "handshake"]
)
@asynchronous
async def test_who_looks_for_its_client_has_no_more_read_than_may_wait(behind: bytes) -> None:
    gates = Gates()
    async with serving(router_of(gates), max_concurrency=40) as app, plain(app) as client:
        client.send(b"GET /wait/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await gates.until_started("a")
        (line,) = factory_of(app).connections
        client.send(behind)
        await until(lambda: line.flow.read_paused)
        for _ in range(5):
            line.flow.resume_reading()  # as uvicorn does for an app that asks for more, or whether anybody is there
            client.send(behind)
            await turn_over()
        assert line.flow.read_paused
        assert len(line._unread) + len(line.pipeline) * len(OK) <= len(behind)


@asynchronous
async def test_what_is_wrong_behind_an_offer_of_another_protocol_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(max_headers=10) as app, plain(app) as client:
        client.send(H2C + OK.replace(b"\r\n\r\n", b"\r\nX: y" * 20 + b"\r\n\r\n"))
        assert [(await client.response()).status for _ in range(2)] == [200, 431]
        await client.eof()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("http", [True, False])
@asynchronous
async def test_who_is_refused_at_its_first_head_may_send_on(loop: str, http: bool) -> None:
    """A body, or another request, would else reset the connection, and many a client loses what it has not read yet."""
    async with serving(http=http) as app, plain(app) as client:
        client.send(HEAD + b"Host: another\r\nContent-Length: 20\r\n\r\n")
        await until(lambda: bool(client.reader._buffer))  # type: ignore[attr-defined]
        for _ in range(3):
            client.send(b"12345")
            await turn_over()
        assert (await client.response()).status == (400 if http else 405)
        await client.eof()


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_who_is_answered_for_the_last_time_may_send_on(loop: str) -> None:
    """As some do that end a body with an empty line (RFC 9112 §2.2)."""
    async with serving() as app, plain(app) as client:
        client.send(HEAD.replace(b"1.1", b"1.0") + b"Content-Length: 2\r\n\r\n12")
        await until(lambda: bool(client.reader._buffer))  # type: ignore[attr-defined]
        for byte in (b"\r", b"\n"):
            client.send(byte)
            await turn_over()
        assert (await client.response()).body == b"12"
        await client.eof()


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_who_sent_more_than_is_read_gets_the_last_response(loop: str) -> None:
    """What nobody has read would reset the connection, and take with it what was written."""
    gates = Gates()
    async with serving(router_of(gates), max_concurrency=1) as app, plain(app) as client:
        client.send(b"GET /wait/a HTTP/1.1\r\nHost: localhost\r\n\r\n" + OK)
        await gates.until_started("a")
        (line,) = factory_of(app).connections
        assert line.flow.read_paused
        client.send(OK * 100)
        factory = factory_of(app)
        stopping = asyncio.ensure_future(app.stop())
        await until(lambda: factory.stopping)
        gates.open("a")
        assert (await client.response()).body == b'"a"'
        await client.eof()
        await stopping


@asynchronous
async def test_who_leaves_has_its_handler_cancelled() -> None:
    gates = Gates()
    async with serving(router_of(gates)) as app:
        async with plain(app) as client:
            client.send(b"GET /wait/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await gates.until_started("a")
        await gates.until(lambda: gates.cancelled == ["a"])
        await until(lambda: not factory_of(app).connections)


@pytest.mark.parametrize("behind", [OK, OK * 3, b"GET / HTTP/1.1\r\n\r\n", HEAD], ids=["one", "more", "bad", "part"])
@asynchronous
async def test_who_leaves_with_more_behind_has_its_handler_cancelled(behind: bytes) -> None:
    gates = Gates()
    async with serving(router_of(gates)) as app:
        async with plain(app) as client:
            client.send(b"GET /wait/a HTTP/1.1\r\nHost: localhost\r\n\r\n" + behind)
            await gates.until_started("a")
        await gates.until(lambda: gates.cancelled == ["a"])
        await until(lambda: not factory_of(app).connections)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, [1, 20, 5, 4]),
        ({"ping_interval": 0.1, "ping_timeout": 60}, [1, 1, 15, 4]),
        ({"ping_interval": None}, [0]),
    ],
)
@asynchronous
async def test_the_system_asks_whether_a_silent_client_is_there(
    loop: str, options: dict[str, Any], asked: list[int]
) -> None:
    async with serving(**options) as app, plain(app) as client:
        assert (await client.ask(OK)).status == 200
        sock = next(iter(factory_of(app).connections)).transport.get_extra_info("socket")
        names = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE)]
        names += [(socket.IPPROTO_TCP, n) for n in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)]
        assert [sock.getsockopt(*name) for name in names[: len(asked)]] == asked


@asynchronous
async def test_who_leaves_with_a_handshake_behind_has_its_handler_cancelled() -> None:
    gates = Gates()
    async with serving(router_of(gates)) as app:
        async with plain(app) as client:
            client.send(b"GET /wait/a HTTP/1.1\r\nHost: localhost\r\n\r\n" + UPGRADE + b"\r\n")
            await gates.until_started("a")
        await gates.until(lambda: gates.cancelled == ["a"])
        await until(lambda: not factory_of(app).connections)


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_who_leaves_with_more_behind_than_is_read_has_its_handler_cancelled(loop: str) -> None:
    gates = Gates()
    async with serving(router_of(gates), max_concurrency=40, handshake_timeout=0.05) as app:
        async with plain(app) as client:
            client.send(b"GET /wait/a HTTP/1.1\r\nHost: localhost\r\n\r\n" + OK * 40)
            await gates.until_started("a")
            line: Any = next(iter(factory_of(app).connections))
            await until(lambda: line.flow.read_paused)
        await gates.until(lambda: gates.cancelled == ["a"])
        await until(lambda: not factory_of(app).connections)


@pytest.mark.parametrize("more", [OK * 40, OK * 1700], ids=["as many as may wait", "as much as may wait"])
@asynchronous
async def test_no_more_is_read_than_may_wait(more: bytes) -> None:
    gates = Gates()
    count = more.count(OK)
    async with serving(router_of(gates), max_concurrency=40 if count == 40 else 2000) as app, plain(app) as client:
        client.send(b"GET /wait/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await gates.until_started("a")
        client.send(more)
        line: Any = next(iter(factory_of(app).connections))
        await until(lambda: line.flow.read_paused)
        client.send(OK)
        gates.open("a")
        assert [(await client.response()).status for _ in range(count + 2)] == [200] * (count + 2)


@asynchronous
async def test_the_end_answers_what_is_asked_and_closes_the_others() -> None:
    gates = Gates()
    async with serving(router_of(gates)) as app, plain(app) as busy, plain(app) as idle:
        assert (await idle.ask(OK)).status == 200
        busy.send(b"GET /wait/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await gates.until_started("a")
        stopping = asyncio.ensure_future(app.stop())
        await idle.eof()
        gates.open("a")
        reply = await busy.response()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        await busy.eof()
        await stopping


@asynchronous
async def test_probes_are_answered_on_a_kept_connection() -> None:
    async with serving(health_path="/healthz") as app, plain(app) as client:
        assert (await client.ask(OK)).status == 200
        assert (await client.ask(OK.replace(b"/hello", b"/healthz"))).body == b"ok\n"
        assert (await client.ask(OK)).status == 200


@asynchronous
async def test_trusted_proxies_say_who_it_is() -> None:
    said = b"GET /peer HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.7\r\n\r\n"
    async with serving(trusted_proxies=1) as app, plain(app) as client:
        assert json.loads((await client.ask(said)).body)[0] == "203.0.113.7"
        assert json.loads((await client.ask(said.replace(b"113.7", b"113.8"))).body)[0] == "203.0.113.8"
    async with serving() as app, plain(app) as client:
        assert json.loads((await client.ask(said)).body)[0].startswith("tcp4:127.0.0.1:")


@asynchronous
async def test_the_proxy_protocol_says_who_it_is() -> None:
    said = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n" + OK.replace(b"/hello", b"/peer")
    async with serving(trusted_proxies=1, proxy_protocol=True) as app, plain(app) as client:
        assert json.loads((await client.ask(said)).body)[0] == "tcp4:203.0.113.7:4711"


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_tls(certificate: Certificate, loop: str) -> None:
    context = ssl.create_default_context(cafile=certificate.path)
    async with serving(**certificate.options) as app, plain(app, context) as client:
        client.send(OK + OK)
        assert [(await client.response()).body for _ in range(2)] == [b'"hi"'] * 2
        client.send(UPGRADE + b"\r\n")
        assert (await client.response()).status == 101


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_one_who_does_not_read_is_dropped_over_tls(certificate: Certificate, loop: str) -> None:
    """Also while what waits is encrypted already, and all below TLS."""
    context = ssl.create_default_context(cafile=certificate.path)
    router = router_of()
    router.get("/large")(lambda request: "x" * 100_000)
    options = {"send_timeout": 0.1, "ping_interval": None, **certificate.options}
    async with serving(router, **options) as app, plain(app, context) as client:
        assert (await client.ask(OK)).status == 200
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        (line,) = factory_of(app).connections
        while factory_of(app).connections:
            if not line._raw.get_write_buffer_size():
                client.send(OK.replace(b"/hello", b"/large"))
            await turn_over()
            assert line.transport is None or line.transport.get_write_buffer_size() == 0


@asynchronous
async def test_httpx_over_a_socket() -> None:
    async with serving() as app, httpx.AsyncClient(base_url="http://{}:{}".format(*app.addresses[0])) as client:
        for _ in range(3):
            assert (await client.get("/hello")).json() == "hi"
        assert (await client.post("/data", json=[1])).json() == [1]
        assert (await client.head("/hello")).headers["content-length"] == "4"
        assert len(factory_of(app).connections) == 1


@asynchronous
async def test_without_the_option_nothing_changes() -> None:
    async with serving(http=False) as app, plain(app) as client:
        assert (await client.ask(OK.replace(b"/hello", b"/"))).status == 426
