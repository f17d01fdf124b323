"""The opening handshake over real sockets: refusals, limits, origins, proxies, subprotocols, and the accept hook."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from autobahn.websocket.types import ConnectionDeny

from aiorest_ws import Application, RequestHandlerProtocol, SimpleRouter
from aiorest_ws.exceptions import (
    ConnectionRefused,
    HTTPError,
    NotAuthenticated,
    PermissionDeniedException,
    TooManyRequests,
)
from tests.serving import (
    CLOSE,
    LOOPS,
    TIMEOUT,
    Certificate,
    Client,
    HandshakeRefused,
    asynchronous,
    client_context,
    connection_of,
    dump,
    factory_of,
    frame,
    make_router,
    serving,
    turn_over,
    until,
)

on_each_loop = pytest.mark.parametrize("loop", LOOPS)

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
HELLO = dump({"method": "GET", "url": "/hello"})


def about(what: Callable[[Any], Any]) -> SimpleRouter:
    """Give a router whose /about answers what is asked of the connection."""
    return make_router(about=lambda request: what(request.connection))


async def dial(app: Application, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*app.addresses[0][:2])
    writer.write(data)
    return reader, writer


async def answer_to(app: Application, data: bytes) -> bytes:
    """Give all that the server answers, up to its end of the connection, without closing ours before."""
    reader, writer = await dial(app, data)
    async with asyncio.timeout(TIMEOUT):
        answer = await reader.read()
    writer.close()
    return answer


async def greeted(app: Application) -> None:
    async with await Client.connect(app) as client:
        assert (await client.ask())["data"] == "Hello, world!"
        await client.leave()


# Refusals


@on_each_loop
@pytest.mark.parametrize(
    ("data", "first"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"426 Upgrade Required"),
        (b"GET /?<script> HTTP/1.1\r\nHost: localhost\r\n\r\n", b"426 Upgrade Required"),
        (b"GET /?redirect=http://evil.com HTTP/1.1\r\nHost: localhost\r\n\r\n", b"426 Upgrade Required"),
        (b"GET /<script> HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404 Not Found"),
        (b"POST /secret HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nsecret", b"405 Method Not Allowed"),
        (b"secret\r\n\r\n", b"400 malformed request line"),
        (REQUEST.replace(b"\r\n", b"\n"), b"400 malformed request"),
        (REQUEST.replace(b"Version: 13", b"Version: 99"), b"426 WebSocket version not supported"),
    ],
)
@asynchronous
async def test_refusal_is_a_short_fixed_text_and_the_end(loop: str, data: bytes, first: bytes) -> None:
    async with serving(make_router()) as app:
        head, _, body = (await answer_to(app, data)).partition(b"\r\n\r\n")
        line, *headers = head.split(b"\r\n")
        assert line == b"HTTP/1.1 " + first
        assert (b"WebSocket" in body) == (line.split()[-1] in (b"Required", b"Found"))
        assert b"Content-Length: %d" % len(body) in headers
        assert not re.search(rb"secret|script|evil", body.lower())
        assert any(header.startswith(b"Connection: close") for header in headers)
        assert not re.search(rb"secret|script|evil|server:|python|[0-9]+\.[0-9]+\.[0-9]+", head.lower())
        await until(lambda: not factory_of(app).connections)
        await greeted(app)


@on_each_loop
@asynchronous
async def test_head_gets_what_get_gets_without_the_text(loop: str) -> None:
    plain = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with serving(make_router()) as app:
        head, _, _ = (await answer_to(app, plain)).partition(b"\r\n\r\n")
        assert await answer_to(app, plain.replace(b"GET", b"HEAD")) == head + b"\r\n\r\n"


@asynchronous
async def test_plain_http_at_another_path_is_a_line_that_names_the_option(caplog: pytest.LogCaptureFixture) -> None:
    """`curl localhost:8080/board`, as of a server that was started without --http."""
    caplog.set_level(logging.INFO, "aiorest_ws")
    async with serving(make_router()) as app:
        assert (await answer_to(app, b"GET /board HTTP/1.1\r\nHost: localhost\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        said = await answer_to(app, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 426 ")
    assert b"plain HTTP only where the server's option `http` is on" in said
    (line,) = (record.getMessage() for record in caplog.records if "path" in record.getMessage())
    assert line.endswith("the path that is served is '/', for WebSockets; plain HTTP wants the option http (--http)")


@pytest.mark.parametrize("path", ["/hello", "/hello?token=secret", "/" + "x" * 4000, "/<script>"])
@asynchronous
async def test_path_that_is_not_served_is_a_line_that_names_the_one_that_is(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aiorest_ws")
    async with serving(make_router(), path="/api") as app:
        with pytest.raises(HandshakeRefused, match="404"):
            await Client.connect(app, path)
    (line,) = (record.getMessage() for record in caplog.records if "path" in record.getMessage())
    assert line.endswith("the path that is served is '/api'")
    assert "secret" not in line
    assert len(line) < 400


@asynchronous
async def test_scanners_do_not_use_up_the_lines_of_failures(caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: Any) -> None:
        raise ZeroDivisionError

    async with serving(make_router(fail=fail), path="/api") as app:
        for _ in range(150):
            with pytest.raises(HandshakeRefused, match="404"):
                await Client.connect(app, "/wp-login.php")
        async with await Client.connect(app, "/api") as client:
            await client.ask("GET", "/fail")
            await client.leave()
    assert "'GET' '/fail' failed: ZeroDivisionError" in [record.getMessage() for record in caplog.records]


@asynchronous
async def test_refusal_says_what_would_be_right() -> None:
    async with serving(make_router()) as app:
        assert b"\r\nAllow: GET\r\n" in await answer_to(app, REQUEST.replace(b"GET", b"PUT"))
        assert b"\r\nUpgrade: websocket\r\n" in await answer_to(app, REQUEST.replace(b"Upgrade: w", b"X-A: w"))
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in await answer_to(app, REQUEST.replace(b": 13", b": 8"))


@on_each_loop
@asynchronous
async def test_head_that_is_too_long_is_refused_and_the_client_can_read_so(loop: str) -> None:
    """A server that closed with bytes unread would reset the connection, and the answer would be lost."""
    async with serving(make_router()) as app:
        reader, writer = await dial(app, b"GET / HTTP/1.1\r\n")
        line = b"X-A: " + b"a" * 8000 + b"\r\n"
        async with asyncio.timeout(TIMEOUT):
            for _ in range(500):
                writer.write(line)
                await writer.drain()
            assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        (connection,) = factory_of(app).connections
        assert connection.data == b""
        writer.close()
        await until(lambda: not factory_of(app).connections)
        await greeted(app)


@on_each_loop
@asynchronous
async def test_refused_client_that_does_not_close_is_dropped(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(make_router()) as app:
        for data in (
            b"GET / HTTP/1.1\r\nX-A: " + b"a" * 20_000,
            b"\x00",
            b"\r\n" * 6 + b"more",
            b"GET / HTTP/1.1\r\n\r\n",
        ):
            reader, writer = await dial(app, data)
            assert (await reader.readline()).startswith(b"HTTP/1.1 4")
            await until(lambda: not factory_of(app).connections)
            writer.close()


@on_each_loop
@asynchronous
async def test_limits_of_a_handshake_are_options(loop: str) -> None:
    async with serving(make_router(), max_handshake_size=300, max_headers=6) as app:
        for headers, status in (
            ([("X-A", "a")], 101),
            ([("X-A", "a"), ("X-B", "b")], 431),
            ([("X-A", "a" * 200)], 431),
        ):
            if status == 101:
                async with await Client.connect(app, headers=headers) as client:
                    await client.leave()
            else:
                with pytest.raises(HandshakeRefused, match=str(status)):
                    await Client.connect(app, headers=headers)


@on_each_loop
@asynchronous
async def test_byte_after_byte_does_not_put_the_end_of_a_handshake_off(loop: str) -> None:
    async with serving(make_router(), handshake_timeout=0.2) as app:
        reader, writer = await dial(app, b"G")
        async with asyncio.timeout(TIMEOUT):
            while not (reader.at_eof() or writer.is_closing()):
                writer.write(b"E")
                await asyncio.sleep(0.01)  # not to wait for something: this is how slow the client is
        await until(lambda: not factory_of(app).connections)
        writer.close()
        await greeted(app)


@on_each_loop
@asynchronous
async def test_many_slow_handshakes_are_dropped_and_nobody_else_notices(loop: str) -> None:
    async with serving(make_router(), handshake_timeout=0.5) as app, await Client.connect(app) as client:
        slow = [await dial(app, REQUEST[: n % 100]) for n in range(200)]
        await until(lambda: len(factory_of(app).connections) == 201)
        assert (await client.ask())["data"] == "Hello, world!"
        for n, (reader, writer) in enumerate(slow):
            try:
                answer = await asyncio.wait_for(reader.read(), TIMEOUT)
                assert answer.startswith(b"HTTP/1.1 408 ") if n % 100 else answer == b""
            except ConnectionError:
                assert not n % 100  # nothing came of it
            writer.close()
        assert (await client.ask())["data"] == "Hello, world!"
        await client.leave()


@asynchronous
async def test_handshake_timeout_may_be_off_and_a_factory_may_set_its_own() -> None:
    for options, expected in (({}, 5), ({"handshake_timeout": None}, 0), ({"handshake_timeout": 2.5}, 2.5)):
        async with serving(make_router(), **options) as app:
            assert factory_of(app).openHandshakeTimeout == expected


# How many


@on_each_loop
@asynchronous
async def test_more_connections_than_allowed_get_503_until_one_leaves(loop: str) -> None:
    async with serving(make_router(), max_connections=2) as app:
        first, second = await Client.connect(app), await Client.connect(app)
        for _ in range(20):
            with pytest.raises(HandshakeRefused, match="503"):
                await Client.connect(app)
        await until(lambda: len(factory_of(app).connections) == 2)
        await first.leave()
        await until(lambda: len(factory_of(app).admissions) == 1)
        await greeted(app)
        second.abort()
        await until(lambda: not factory_of(app).connections)
        assert len(factory_of(app).admissions) == 0


@on_each_loop
@asynchronous
async def test_connections_in_their_handshake_take_nobodys_place_but_have_a_bound_too(loop: str) -> None:
    async with serving(make_router(), max_connections=2) as app:
        slow = [await dial(app, b"G") for _ in range(3)]
        await until(lambda: len(factory_of(app).connections) == 2)
        async with await Client.connect(app) as client:
            reader, _ = slow[0]  # the oldest
            try:
                assert await asyncio.wait_for(reader.read(), TIMEOUT) == b""
            except ConnectionError:
                pass
            assert (await client.ask())["data"] == "Hello, world!"
            await client.leave()
        for _, each in slow:
            each.close()


@asynchronous
async def test_tls_begins_only_for_those_who_stay_of_many_that_come_at_once(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio takes them all in one turn, 300 KiB each, and what a thousand took the process does not give back.

    uvloop takes them one after another, and little for each.
    """
    running = asyncio.get_running_loop()
    begun: list[Any] = []
    start_tls = running.start_tls

    def counting(transport: Any, *args: Any, **options: Any) -> Any:
        begun.append(transport)
        return start_tls(transport, *args, **options)

    monkeypatch.setattr(running, "start_tls", counting)
    tls = certificate.options
    async with serving(make_router(), max_connections=3, **tls) as app:
        crowd = [socket.create_connection(app.addresses[0]) for _ in range(50)]  # the loop stands still meanwhile
        for each in crowd:
            each.sendall(b"\x16\x03\x01")
        await until(lambda: len(begun) == 3)
        async with await Client.connect(app, tls=client_context(certificate)) as client:
            assert (await client.ask())["data"] == "Hello, world!"
            assert len(begun) == 4
            await client.leave()
        for each in crowd:
            each.close()


@on_each_loop
@asynchronous
async def test_connections_from_one_address_are_bounded(loop: str) -> None:
    options = {"max_connections_per_address": 1, "trusted_proxies": 1}
    async with serving(make_router(), **options) as app:

        async def connect(*addresses: str) -> Client:
            return await Client.connect(app, headers=[("X-Forwarded-For", ", ".join(addresses))] if addresses else ())

        own, ada, bob = await connect(), await connect("made up", "203.0.113.7"), await connect("203.0.113.8")
        for addresses in ((), ("garbage",), ("203.0.113.7",), ("1.2.3.4", "203.0.113.8"), ("::ffff:203.0.113.8",)):
            with pytest.raises(HandshakeRefused, match="503"):
                await connect(*addresses)
        await ada.leave()
        await until(lambda: len(factory_of(app).admissions) == 2)
        ada = await connect("203.0.113.7")
        for client in (own, ada, bob):
            await client.leave()
        await until(lambda: not factory_of(app).connections)
        assert not factory_of(app).admissions._counts


@asynchronous
async def test_refused_by_the_hook_gives_its_place_back() -> None:
    def refuse(connection: Any) -> bool:
        return "x-ok" in connection.headers

    async with serving(make_router(), max_connections=1, on_connect=refuse) as app:
        for _ in range(3):
            with pytest.raises(HandshakeRefused, match="403"):
                await Client.connect(app)
            await until(lambda: not factory_of(app).connections)
        async with await Client.connect(app, headers=[("X-OK", "1")]) as client:
            await client.leave()


# Origins and proxies


def origin_of(app: Application) -> str:
    return f"http://{app.addresses[0][0]}:{app.addresses[0][1]}"


@on_each_loop
@asynchronous
async def test_only_the_servers_own_pages_may_connect_by_default(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(make_router()) as app:
        async with await Client.connect(app, headers=[("Origin", origin_of(app))]) as client:
            assert (await client.ask())["data"] == "Hello, world!"
            await client.leave()
        assert caplog.records == []
        for origin in ("http://evil.com", "null", "file://", "http://localhost:1", "", "x\u00e9" * 400, "\"'%s{}"):
            caplog.clear()
            with pytest.raises(HandshakeRefused, match="403 Forbidden"):
                await Client.connect(app, headers=[("Origin", origin)])
            (record,) = (record for record in caplog.records if record.levelno >= logging.INFO)
            assert record.name == "aiorest_ws"
            assert "allowed_origins" in record.getMessage()
            assert ascii(origin)[1:-1][:150] in record.getMessage()
            assert record.getMessage().isascii()
            assert len(record.getMessage()) < 400


@pytest.mark.parametrize(
    ("options", "origin", "status"),
    [
        ({"allowed_origins": ["*"]}, "http://evil.com", 101),
        ({"allowed_origins": ["*"]}, "null", 101),
        ({"allowed_origins": ["https://app.example.com"]}, "https://app.example.com", 101),
        ({"allowed_origins": ["https://app.example.com"]}, "https://evil.com", 403),
        ({"allowed_origins": ["https://*.example.com"]}, "https://app.example.com", 101),
        ({"debug": True}, "null", 101),
        ({"debug": True}, "file://", 101),
        ({"debug": True}, "http://localhost:3000", 101),
        ({"debug": True}, "https://evil.com", 403),
    ],
)
@asynchronous
async def test_option_says_whose_pages_may_connect(options: dict[str, Any], origin: str, status: int) -> None:
    async with serving(make_router(), **options) as app:
        if status == 101:
            async with await Client.connect(app, headers=[("Origin", origin)]) as client:
                await client.leave()
        else:
            with pytest.raises(HandshakeRefused, match=str(status)):
                await Client.connect(app, headers=[("Origin", origin)])


@pytest.mark.parametrize(
    ("proxies", "headers", "peer"),
    [
        (0, {"X-Forwarded-For": "203.0.113.7"}, r"tcp4:127\.0\.0\.1:\d+"),
        (1, {"X-Forwarded-For": "1.2.3.4, 203.0.113.7"}, r"203\.0\.113\.7"),
        (2, {"X-Forwarded-For": "1.2.3.4, 203.0.113.7"}, r"1\.2\.3\.4"),
        (1, {}, r"tcp4:127\.0\.0\.1:\d+"),
        (1, {"X-Forwarded-For": "garbage"}, r"tcp4:127\.0\.0\.1:\d+"),
        (3, {"X-Forwarded-For": "1.2.3.4, 203.0.113.7"}, r"tcp4:127\.0\.0\.1:\d+"),
    ],
)
@asynchronous
async def test_peer_is_the_client_behind_trusted_proxies(proxies: int, headers: dict[str, str], peer: str) -> None:
    async with (
        serving(about(lambda connection: connection.peer), trusted_proxies=proxies) as app,
        await Client.connect(app, headers=headers.items()) as client,
    ):
        assert re.fullmatch(peer, (await client.ask(url="/about"))["data"])
        await client.leave()


@pytest.mark.parametrize(
    ("proxies", "host", "origin", "proto", "status"),
    [
        (0, b"example.com", b"https://example.com", b"", 101),
        (1, b"example.com", b"https://example.com", b"https", 101),
        (1, b"example.com", b"http://example.com", b"https", 403),
        (0, b"example.com", b"http://example.com", b"https", 101),
        (1, b"example.com:8443", b"https://example.com:8443", b"https", 101),
        (1, b"example.com", b"https://example.com:8443", b"https", 403),
        (1, b"example.com", b"https://example.com", b"\xff,;", 101),
    ],
)
@asynchronous
async def test_host_and_port_are_those_that_the_client_uses(
    proxies: int, host: bytes, origin: bytes, proto: bytes, status: int
) -> None:
    async with serving(make_router(), trusted_proxies=proxies, allowed_hosts=["example.com"]) as app:
        request = REQUEST.replace(b"localhost\r\n", host + b"\r\nOrigin: " + origin + b"\r\n")
        if proto:
            request = request.replace(b"Upgrade: w", b"X-Forwarded-Proto: " + proto + b"\r\nUpgrade: w")
        reader, writer = await dial(app, request)
        assert (await reader.readline()).startswith(b"HTTP/1.1 %d " % status)
        writer.close()
        await until(lambda: not factory_of(app).connections)


# Subprotocols, and what the application reads


@pytest.mark.parametrize(
    ("offered", "chosen"), [("b, a", "a"), ("b", "b"), ("c", None), (None, None), ("c, b", "b"), ("A", None)]
)
@asynchronous
async def test_subprotocol_is_the_first_of_the_servers_that_the_client_offers(offered: Any, chosen: Any) -> None:
    async with serving(about(lambda connection: connection.subprotocol), subprotocols=["a", "b"]) as app:
        headers = [("Sec-WebSocket-Protocol", offered)] if offered else []
        async with await Client.connect(app, headers=headers) as client:
            assert client.headers.get("sec-websocket-protocol") == chosen
            assert (await client.ask(url="/about"))["data"] == chosen
            await client.leave()


@asynchronous
async def test_on_connect_of_the_protocol_wins_over_the_option() -> None:
    class Choosing(RequestHandlerProtocol):
        def onConnect(self, request: Any) -> Any:
            return "b" if "b" in request.protocols else super().onConnect(request)

    async with serving(make_router(), protocol=Choosing, subprotocols=["a", "b"]) as app:
        for offered, chosen in (("a, b", "b"), ("c, a", "a")):
            async with await Client.connect(app, headers=[("Sec-WebSocket-Protocol", offered)]) as client:
                assert client.headers["sec-websocket-protocol"] == chosen
                await client.leave()


@asynchronous
async def test_handlers_read_path_query_headers_and_cookies() -> None:
    router = about(lambda c: [c.path, c.query, c.headers["x-a"], c.headers.get("x-b"), c.cookies, c.subprotocol])
    async with serving(router, path="/api") as app:
        headers = [("X-A", "b"), ("x-a", "c"), ("Cookie", 'session="abc"; bad name=1; =; theme=dark')]
        async with await Client.connect(app, "/api/?token=a%20b&x=1&x=2&y=&%ff", headers=headers) as client:
            for _ in range(2):
                path, query, x_a, x_b, cookies, subprotocol = (await client.ask(url="/about"))["data"]
                assert (path, query) == ("/api/", {"token": "a b", "x": "2", "y": "", "\ufffd": ""})
                assert (x_a, x_b, subprotocol) == ("b, c", None, None)
                assert cookies == {"session": "abc", "theme": "dark"}
            await client.leave()


@asynchronous
async def test_query_and_cookies_are_read_once_however_often_a_handler_looks() -> None:
    router = about(lambda c: [c.query is c.query, c.cookies is c.cookies, len(c.query), len(c.cookies)])
    seen: list[Any] = []
    options = {"on_connect": lambda c: seen.append(c.cookies is c.cookies)}
    cookies = ";".join(f"a{n}=b" for n in range(900))
    async with serving(router, max_handshake_size=64 * 1024, **options) as app:
        query = "&".join(f"b{n}=c" for n in range(900))
        async with await Client.connect(app, f"/?{query}", headers=[("Cookie", cookies)]) as client:
            assert (await client.ask(url="/about"))["data"] == [True, True, 900, 900]
            await client.leave()
    assert seen == [True]


@asynchronous
async def test_header_in_utf_8_arrives_as_it_was_sent() -> None:
    router = about(lambda c: [c.headers["x-a"], c.headers["x-b"]])
    async with serving(router) as app:
        headers = [("X-A", "Ångström … 語"), ("X-B", "plain")]
        async with await Client.connect(app, headers=headers) as client:
            assert (await client.ask(url="/about"))["data"] == ["Ångström … 語", "plain"]
            await client.leave()


@asynchronous
async def test_nothing_of_the_handshake_is_kept_but_its_bytes() -> None:
    async with serving(make_router()) as app, await Client.connect(app, "/?a=b") as client:
        (connection,) = factory_of(app).connections
        held = {name: value for name, value in vars(connection).items() if isinstance(value, (bytes, str, list, dict))}
        assert set(held) == {"peer", "http_request_data"}
        await client.leave()


@asynchronous
async def test_what_an_idle_connection_keeps_fits_into_a_small_dict() -> None:
    """One of 22 entries has room for 42 and takes 832 bytes, one of 21 takes 464: a connection holds 3 KiB in all."""
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]
    async with (
        serving(make_router(), compress=True) as app,
        await Client.connect(app, headers=offer) as client,
    ):
        assert len(vars(connection_of(app))) <= 21
        await client.leave()


@asynchronous
async def test_subclass_may_have_attributes_of_these_names() -> None:
    class Own(RequestHandlerProtocol):
        def onOpen(self) -> None:
            self.path, self.cookies, self.session = "mine", {"a": 1}, ["s"]

    async with (
        serving(about(lambda c: [c.path, c.cookies, c.session]), protocol=Own) as app,
        await Client.connect(app) as client,
    ):
        assert (await client.ask(url="/about"))["data"] == ["mine", {"a": 1}, ["s"]]
        await client.leave()


@pytest.mark.parametrize("offer", ["permessage-deflate; x=\x7e", "permessage-deflate; client_max_window_bits=99"])
@asynchronous
async def test_malformed_offer_of_compression_is_declined(offer: str) -> None:
    agreement = "permessage-deflate; server_no_context_takeover"
    async with serving(make_router(), compress=True) as app:
        for headers, agreed in (([offer], None), ([offer, "permessage-deflate"], agreement)):
            sent = [("Sec-WebSocket-Extensions", header) for header in headers]
            async with await Client.connect(app, headers=sent) as client:
                assert client.headers.get("sec-websocket-extensions") == agreed
                await client.leave()


# The accept hook


class Ended(BaseException):
    """What is no Exception, as pytest's own outcomes and trio's Cancelled."""


async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    if isinstance(value, BaseException):
        raise value
    return value


def at_once(value: Any) -> Any:
    if isinstance(value, BaseException):
        raise value
    return value


in_both_ways = pytest.mark.parametrize("give", [at_once, later], ids=["sync", "async"])


@on_each_loop
@in_both_ways
@pytest.mark.parametrize(
    ("outcome", "first"),
    [
        (ConnectionRefused(), b"403 Forbidden"),
        (ConnectionRefused(401, "no token"), b"401 no token"),
        (ConnectionRefused(429), b"429 Too Many Requests"),
        (ConnectionRefused(403, "a\r\nSet-Cookie: b"), b"403 a??Set-Cookie: b"),
        (ConnectionDeny(402, "pay"), b"402 pay"),
        (ConnectionDeny(403), b"403 Forbidden"),
        (False, b"403 Forbidden"),
        (HTTPError(401), b"401 Unauthorized"),
        (HTTPError(418, "tea only"), b"418 tea only"),
        (HTTPError(409, {"taken": "name"}), b"409 Conflict"),
        (HTTPError(503, "a\r\nb"), b"503 a??b"),
        (NotAuthenticated(), b"401 Authentication is required."),
        (PermissionDeniedException("no"), b"403 no"),
        (TooManyRequests(), b"429 Too many requests."),
        (ExceptionGroup("of one", [HTTPError(402)]), b"402 Payment Required"),
        (ExceptionGroup("of one", [ExceptionGroup("of one", [ConnectionRefused(451)])]), b"451 "),
    ],
)
@asynchronous
async def test_hook_may_refuse(loop: str, give: Any, outcome: Any, first: bytes) -> None:
    gone: list[Any] = []
    options = {"on_connect": lambda connection: give(outcome), "on_disconnect": lambda *args: gone.append(args)}
    async with serving(make_router(call=lambda request: gone.append("call")), **options) as app:
        answer = await answer_to(app, REQUEST + frame(dump({"method": "GET", "url": "/call"})))
        assert answer.split(b"\r\n")[0].startswith(b"HTTP/1.1 " + first)
        await until(lambda: not factory_of(app).connections)
    assert gone == []


@on_each_loop
@in_both_ways
@pytest.mark.parametrize(
    "error",
    [
        *(OSError("secret"), ZeroDivisionError(), asyncio.CancelledError(), SystemExit(3), Ended("secret")),
        *(BaseExceptionGroup("of one", [SystemExit()]), ExceptionGroup("", [HTTPError(400), HTTPError(401)])),
    ],
    ids=repr,
)
@asynchronous
async def test_hook_that_fails_is_a_500_and_one_line(
    loop: str, give: Any, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(make_router(), on_connect=lambda connection: give(error)) as app:
        answer = await answer_to(app, REQUEST)
        assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        assert b"secret" not in answer
        (record,) = (record for record in caplog.records if record.levelno >= logging.INFO)
        assert record.exc_info is not None
        assert record.exc_info[0] is type(error)


@on_each_loop
@in_both_ways
@pytest.mark.parametrize("given", [0, 1, "", "no", 401, [], (False,), {"ok": False}, object(), lambda: True], ids=repr)
@asynchronous
async def test_hook_that_gives_neither_yes_nor_no_lets_nobody_in(
    loop: str, give: Any, given: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(make_router(), on_connect=lambda connection: give(given)) as app:
        assert (await answer_to(app, REQUEST)).startswith(b"HTTP/1.1 500 ")
        (record,) = (record for record in caplog.records if record.levelno >= logging.INFO)
        assert "on_connect must give None, True or False, got" in str(record.exc_info)


@pytest.mark.parametrize("given", [False, True, 0, ["bearer"], b"bearer"], ids=repr)
@asynchronous
async def test_middleware_at_the_handshake_gives_a_subprotocol_or_nothing(
    given: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Gate:
        def at_handshake(self, connection: Any) -> Any:
            return given

        def process_request(self, request: Any, handler: Any) -> None:
            pass

    async with serving(make_router(), middlewares=[Gate()]) as app:
        assert (await answer_to(app, REQUEST)).startswith(b"HTTP/1.1 500 ")
    assert "must give a subprotocol or None" in caplog.text


class Closing:
    """Closes connections before they are open, as `on_connect` in one of several ways, or as a middleware."""

    def __init__(self, way: str) -> None:
        self.options: dict[str, Any] = (
            {"middlewares": [self]} if way == "middleware" else {"on_connect": getattr(self, way)}
        )

    def sync(self, connection: Any) -> None:
        connection.close(4401, "log in first")

    async def coroutine(self, connection: Any) -> None:
        await asyncio.sleep(0)
        connection.close(4401, "log in first")
        connection.close(4000, "too late")
        connection.send_event("too late")

    async def task(self, connection: Any) -> None:
        await asyncio.create_task(self.coroutine(connection))

    async def call_soon(self, connection: Any) -> bool:
        closed = asyncio.Event()
        asyncio.get_running_loop().call_soon(self.sync, connection)
        asyncio.get_running_loop().call_soon(closed.set)
        await closed.wait()
        return True

    def at_handshake(self, connection: Any) -> None:
        self.sync(connection)

    def process_request(self, request: Any, handler: Any) -> None:
        raise AssertionError("nothing of the client is run")


@on_each_loop
@pytest.mark.parametrize("way", ["sync", "coroutine", "task", "call_soon", "middleware"])
@asynchronous
async def test_connection_that_is_closed_before_it_is_open_runs_nothing(loop: str, way: str) -> None:
    told: list[Any] = []
    router = make_router(call=lambda request: told.append("call"))
    options = {"on_disconnect": lambda connection, code, reason: told.append(code)} | Closing(way).options
    async with serving(router, **options) as app:
        call = frame(dump({"method": "GET", "url": "/call"}))
        answer = await answer_to(app, REQUEST + call + call + close_frame(4401))
        head, _, frames = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert frames == b"\x88\x0e" + (4401).to_bytes(2, "big") + b"log in first"
        await until(lambda: bool(told))
    assert told == [4401]


@on_each_loop
@in_both_ways
@asynchronous
async def test_events_of_the_hook_arrive_right_behind_the_handshake(loop: str, give: Any) -> None:
    def greet(connection: Any) -> Any:
        connection.send_event("hello", {"n": 1})
        connection.send_event("hello", {"n": 2})
        return give(None)

    async with serving(make_router(), on_connect=greet) as app, await Client.connect(app) as client:
        for n in (1, 2):
            assert json.loads((await client.receive()).payload) == {"event_name": "hello", "data": {"n": n}}
        assert (await client.ask())["data"] == "Hello, world!"
        await client.leave()


@on_each_loop
@asynchronous
async def test_events_for_who_is_refused_are_dropped_and_counted(loop: str) -> None:
    def greet(connection: Any) -> bool:
        connection.send_event("secret")
        return False

    async with serving(make_router(), on_connect=greet) as app:
        assert b"secret" not in await answer_to(app, REQUEST)
        await until(lambda: factory_of(app).unsent == 1)


@asynchronous
async def test_refusal_may_have_headers() -> None:
    def refuse(connection: Any) -> None:
        raise ConnectionRefused(401, headers=[("WWW-Authenticate", 'Basic realm="a"')])

    async with serving(make_router(), on_connect=refuse) as app:
        assert b'\r\nWWW-Authenticate: Basic realm="a"\r\n' in await answer_to(app, REQUEST)


@on_each_loop
@in_both_ways
@asynchronous
async def test_hook_sees_the_request_and_may_set_the_session(loop: str, give: Any) -> None:
    def greet(connection: Any) -> Any:
        connection.session["user"] = connection.query["user"]
        connection.session["theme"] = connection.cookies["theme"]
        return give(None)

    async with (
        serving(about(lambda connection: connection.session), on_connect=greet) as app,
        await Client.connect(app, "/?user=ada", headers=[("Cookie", "theme=dark")]) as client,
    ):
        assert (await client.ask(url="/about"))["data"] == {"user": "ada", "theme": "dark"}
        await client.leave()


@asynchronous
async def test_session_may_be_something_else() -> None:
    def greet(connection: Any) -> None:
        connection.session = {"user": "ada"}

    async with (
        serving(about(lambda connection: connection.session), on_connect=greet) as app,
        await Client.connect(app) as client,
    ):
        assert (await client.ask(url="/about"))["data"] == {"user": "ada"}
        await client.leave()


@asynchronous
async def test_hook_and_on_connect_of_the_protocol_both_decide() -> None:
    asked = []

    class Choosing(RequestHandlerProtocol):
        def onConnect(self, request: Any) -> Any:
            asked.append("protocol")
            if "x-no" in request.headers:
                raise ConnectionDeny(403)
            return "b", {"X-Hello": "there"}

    async with serving(make_router(), protocol=Choosing, on_connect=lambda c: asked.append("hook")) as app:
        async with await Client.connect(app, headers=[("Sec-WebSocket-Protocol", "a, b")]) as client:
            assert (client.headers["sec-websocket-protocol"], client.headers["x-hello"]) == ("b", "there")
            await client.leave()
        with pytest.raises(HandshakeRefused, match="403"):
            await Client.connect(app, headers=[("X-No", "1")])
    assert asked == ["hook", "protocol"] * 2


@asynchronous
async def test_subprotocol_that_the_client_does_not_offer_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    class Choosing(RequestHandlerProtocol):
        def onConnect(self, request: Any) -> Any:
            return "b"

    async with serving(make_router(), protocol=Choosing) as app:
        assert (await answer_to(app, REQUEST)).startswith(b"HTTP/1.1 500 ")
        (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
        assert record.exc_info is not None


@asynchronous
async def test_on_open_that_fails_closes_1011_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(RequestHandlerProtocol):
        def onOpen(self) -> None:
            raise OSError("in onOpen")

    async with serving(make_router(), protocol=Broken) as app, await Client.connect(app) as client:
        assert (await client.left()).close_code == 1011
        (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
        assert record.exc_info is not None


class Deciding:
    """A hook that decides when the test says so."""

    def __init__(self) -> None:
        self.decision: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.connection: Any = None
        self.cancelled = False

    async def __call__(self, connection: Any) -> Any:
        self.connection = connection
        try:
            return await self.decision
        except asyncio.CancelledError:
            self.cancelled = True
            raise


@on_each_loop
@asynchronous
async def test_what_comes_before_the_decision_is_held_and_then_parsed_as_frames(loop: str) -> None:
    hook = Deciding()
    async with serving(make_router(), on_connect=hook) as app:
        reader, writer = await dial(app, REQUEST + frame(HELLO))
        await until(lambda: hook.connection is not None)
        packet = frame(HELLO)
        for piece in (packet, packet, packet[:7], packet[7:]):
            writer.write(piece)
            size = len(hook.connection.data) + len(piece)
            await until(lambda: len(hook.connection.data) == size)  # noqa: B023
        hook.decision.set_result(None)
        async with Client(reader, writer, {}) as client:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            for _ in range(4):
                assert (await client.reply())["data"] == "Hello, world!"
            await client.leave()


@on_each_loop
@asynchronous
async def test_what_is_held_is_bounded_and_nothing_is_lost(loop: str) -> None:
    hook = Deciding()
    async with serving(make_router(), on_connect=hook, max_handshake_size=1000) as app:
        reader, writer = await dial(app, REQUEST)
        writer.write(frame(HELLO.ljust(10_000)) * 1000)
        await until(lambda: hook.connection is not None and len(hook.connection.data) > 1000)
        await turn_over(50)
        assert len(hook.connection.data) < 600_000
        hook.decision.set_result(None)
        async with Client(reader, writer, {}) as client:
            await reader.readuntil(b"\r\n\r\n")
            for _ in range(1000):
                assert (await client.reply())["data"] == "Hello, world!"
            await client.leave()


@on_each_loop
@asynchronous
async def test_hook_is_cancelled_when_the_client_leaves(loop: str) -> None:
    hook, gone = Deciding(), []
    async with serving(make_router(), on_connect=hook, on_disconnect=lambda *args: gone.append(args)) as app:
        _, writer = await dial(app, REQUEST)
        await until(lambda: hook.connection is not None)
        writer.close()
        await until(lambda: hook.cancelled)
        await until(lambda: not factory_of(app).connections and not factory_of(app).hooks._tasks)
        assert len(factory_of(app).admissions) == 0
    assert gone == []


@on_each_loop
@pytest.mark.parametrize("decision", [False, None], ids=["refused", "accepted"])
@asynchronous
async def test_who_leaves_while_nothing_is_read_takes_no_place_once_it_is_decided(loop: str, decision: Any) -> None:
    hook = Deciding()
    async with serving(make_router(), on_connect=hook, max_handshake_size=1000) as app:
        _, writer = await dial(app, REQUEST + b"x" * 2000)
        await until(lambda: hook.connection is not None and len(hook.connection.data) >= 2000)
        writer.transport.abort()
        await turn_over()
        hook.decision.set_result(decision)
        await until(lambda: not factory_of(app).connections)
        assert len(factory_of(app).admissions) == 0


@on_each_loop
@asynchronous
async def test_hook_that_takes_too_long_is_cancelled(loop: str) -> None:
    hook = Deciding()
    async with serving(make_router(), on_connect=hook, handshake_timeout=0.1, max_handshake_size=1000) as app:
        reader, writer = await dial(app, REQUEST + b"x" * 100_000)
        try:
            assert await asyncio.wait_for(reader.read(), TIMEOUT) == b""
        except ConnectionError:
            pass
        await until(lambda: hook.cancelled)
        writer.close()


@on_each_loop
@asynchronous
async def test_hook_is_cancelled_and_awaited_when_the_server_stops(loop: str) -> None:
    ended = []

    async def decide(connection: Any) -> None:
        ended.append("started")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("ended")

    async with serving(make_router(), on_connect=decide) as app:
        _, writer = await dial(app, REQUEST)
        await until(lambda: bool(ended))
    assert ended == ["started", "ended"]
    writer.close()


# The end


class Farewells:
    """An `on_disconnect` that notes whom it was called with."""

    def __init__(self, give: Any = at_once) -> None:
        self.give = give
        self.noted: list[Any] = []

    def __call__(self, connection: Any, code: Any, reason: Any) -> Any:
        self.noted.append((connection.session.get("n"), code))
        assert (connection.close_code, connection.close_reason) == (code, reason)
        return self.give(None)


def close_frame(code: int) -> bytes:
    return frame(code.to_bytes(2, "big"), CLOSE)


@on_each_loop
@in_both_ways
@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda client, connection: client.writer.write(close_frame(1000)), 1000),
        (lambda client, connection: client.writer.write(close_frame(4321)), 4321),
        (lambda client, connection: client.writer.write(frame(b"", CLOSE)), 1005),
        (lambda client, connection: client.writer.close(), 1006),
        (lambda client, connection: client.reset(), 1006),
        (lambda client, connection: connection.dropConnection(abort=True), 1006),
        (lambda client, connection: connection.onAutoPingTimeout(), 1006),
        (lambda client, connection: connection.transport.abort(), 1006),
    ],
    ids=["closed", "own-code", "no-code", "lost", "reset", "dropped", "ping", "aborted"],
)
@asynchronous
async def test_end_of_a_connection_is_told_once(loop: str, give: Any, end: Any, code: int) -> None:
    farewells = Farewells(give)

    def number(connection: Any) -> None:
        connection.session["n"] = 7

    async with serving(make_router(), on_connect=number, on_disconnect=farewells) as app:
        client = await Client.connect(app)
        await client.ask()
        (connection,) = factory_of(app).connections
        end(client, connection)
        await until(lambda: not factory_of(app).connections)
        assert farewells.noted == [(7, code)]
        client.abort()
    assert farewells.noted == [(7, code)]


@on_each_loop
@in_both_ways
@asynchronous
async def test_stop_tells_the_end_of_every_connection(loop: str, give: Any) -> None:
    farewells = Farewells(give)
    async with serving(make_router(), on_disconnect=farewells) as app:
        clients = [await Client.connect(app) for _ in range(3)]
        stopping = asyncio.create_task(app.stop())
        for client in clients[:2]:
            assert (await client.left()).close_code == 1001
        clients[2].abort()
        await stopping
        assert sorted(code for _, code in farewells.noted) == [1001, 1001, 1006]


@on_each_loop
@asynchronous
async def test_stop_waits_for_what_the_application_does_at_the_end(loop: str) -> None:
    ended = []

    async def farewell(connection: Any, code: Any, reason: Any) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        ended.append(code)

    async with serving(make_router(), on_disconnect=farewell) as app:
        client = await Client.connect(app)
        await client.leave()
    assert ended == [1000]


@on_each_loop
@in_both_ways
@asynchronous
async def test_hook_of_the_end_that_fails_is_logged_once(
    loop: str, give: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(make_router(), on_disconnect=lambda *args: give(OSError("at the end"))) as app:
        await greeted(app)
        await until(lambda: not factory_of(app).connections and not factory_of(app).hooks._tasks)
        (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == "at the end"


@on_each_loop
@pytest.mark.parametrize("error", [SystemExit(3), Ended()], ids=repr)
@pytest.mark.parametrize("hook", ["on_disconnect", "onOpen", "onOpen later", "onMessage", "onClose", "_decode_message"])
@asynchronous
async def test_hook_that_ends_the_program_does_not(
    loop: str, hook: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    name, is_async = hook.removesuffix(" later"), hook.endswith("later")

    def end(*args: Any) -> Any:
        return later(error) if is_async else at_once(error)

    own = {} if name == "on_disconnect" else {name: end}
    protocol = type("Ending", (RequestHandlerProtocol,), own)
    options = {"on_disconnect": end} if name == "on_disconnect" else {}
    async with serving(make_router(), protocol=protocol, **options) as app:
        client = await Client.connect(app)
        client.request()
        client.send(b"\x03\xe8", CLOSE)
        async with asyncio.timeout(TIMEOUT):
            with suppress(ConnectionError):
                await client.reader.read()
        await client.drop()
        await until(lambda: not factory_of(app).connections)
        assert any(type(error).__name__ in record.exc_text for record in caplog.records if record.exc_text)


@asynchronous
async def test_end_is_told_though_on_close_fails() -> None:
    class Broken(RequestHandlerProtocol):
        def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
            raise OSError("in onClose")

    farewells = Farewells()
    async with serving(make_router(), protocol=Broken, on_disconnect=farewells) as app:
        troubles: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context["exception"]))
        await greeted(app)
        await until(lambda: not factory_of(app).connections)
    assert farewells.noted == [(None, 1000)]
    assert [str(trouble) for trouble in troubles] == ["in onClose"]


@asynchronous
async def test_hooks_may_be_of_the_factory_class() -> None:
    from aiorest_ws import RequestHandlerFactory

    class Own(RequestHandlerFactory):
        allowed_origins = ("http://a.com",)
        subprotocols = ("a",)

        def on_connect(self, connection: Any) -> None:
            connection.session["n"] = len(self.connections)

    async with serving(about(lambda connection: connection.session), factory=Own) as app:
        headers = [("Origin", "http://a.com"), ("Sec-WebSocket-Protocol", "a")]
        async with await Client.connect(app, headers=headers) as client:
            assert client.headers["sec-websocket-protocol"] == "a"
            assert (await client.ask(url="/about"))["data"] == {"n": 1}
            await client.leave()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"allowed_origins": "*"}, TypeError, "allowed_origins must be None or a list of origins, got '\\*'"),
        ({"allowed_origins": ["a.com"]}, ValueError, "allowed_origins must be of the form scheme://host"),
        ({"trusted_proxies": True}, TypeError, "trusted_proxies must be an integer, got True"),
        ({"trusted_proxies": -1}, ValueError, "trusted_proxies must be from 0 to 100, got -1"),
        ({"subprotocols": "a"}, TypeError, "subprotocols must be a list of strings, got 'a'"),
        ({"subprotocols": ["a b"]}, ValueError, "subprotocols must be names without spaces .*, got 'a b'"),
        ({"on_connect": 5}, TypeError, "on_connect must be a function, got 5"),
        ({"on_disconnect": "f"}, TypeError, "on_disconnect must be a function, got 'f'"),
    ],
)
def test_wrong_option_says_what_is_expected(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Application(**options)


# TLS


@on_each_loop
@asynchronous
async def test_slow_tls_handshake_is_dropped_as_well(loop: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    async with serving(make_router(), ssl_context=context, handshake_timeout=0.2) as app:
        reader, writer = await dial(app, b"\x16\x03\x01")
        try:
            assert await asyncio.wait_for(reader.read(), TIMEOUT) == b""
        except ConnectionError:
            pass
        writer.close()


@on_each_loop
@asynchronous
async def test_refused_tls_client_that_does_not_close_is_dropped(
    loop: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = certificate.options
    async with serving(make_router(), **options) as app:
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nX-A: " + b"a" * 200_000):
            connecting = asyncio.open_connection(*app.addresses[0], ssl=client_context(certificate))
            _, writer = await connecting
            transport: Any = writer.transport
            transport.pause_reading()  # so that nobody answers the end of TLS
            writer.write(data)
            await until(lambda: bool(factory_of(app).connections))
            await until(lambda: not factory_of(app).connections)
            transport.abort()
