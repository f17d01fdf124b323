"""Every connection is watched, whatever its state, until it is gone; and who only takes long is not dropped."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import socket
import ssl
import time
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aiorest_ws import Application
from aiorest_ws.connection.protocol import RequestHandlerProtocol
from tests.kit.transports import Skipping, made, our_factory
from tests.serving import (
    CLOSE,
    LOOPS,
    PING,
    PONG,
    TEXT,
    Certificate,
    Client,
    Gates,
    asynchronous,
    client_context,
    connection_of,
    dump,
    factory_of,
    frame,
    make_router,
    serving,
    until,
)

on_each_loop = pytest.mark.parametrize("loop", LOOPS)
secure_or_not = pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])

LARGE = "x" * 600_000
SOME = "x" * 40_000  # more than the system buffers here, and less than stops the reading


def options_of(certificate: Certificate, secure: bool) -> dict[str, Any]:
    return certificate.options if secure else {}


@contextlib.asynccontextmanager
async def serving_narrowly(router: Any, **options: Any) -> AsyncIterator[Application]:
    """Serve where the system buffers next to nothing of what is sent."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        async with serving(router, sock=bound, **options) as app:
            yield app


@contextlib.asynccontextmanager
async def narrow(app: Application, certificate: Certificate, secure: bool) -> AsyncIterator[Client]:
    """Give a client with small buffers, which reads only when it is asked to."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, app.addresses[0])
    tls = client_context(certificate) if secure else None
    client = await Client.connect(app, sock=sock, tls=tls)
    transport: Any = client.writer.transport
    try:
        yield client
    finally:
        transport.abort()


def hold(client: Client) -> None:
    transport: Any = client.writer.transport
    transport.pause_reading()


def close_frame(code: int = 1000) -> bytes:
    return frame(code.to_bytes(2, "big"), CLOSE)


@on_each_loop
@secure_or_not
@asynchronous
async def test_closing_client_that_reads_nothing_is_gone_when_its_time_is_up(
    loop: str, secure: bool, certificate: Certificate
) -> None:
    ended: list[tuple[int, Any]] = []
    router = make_router(some=lambda request: SOME)
    options = {"on_disconnect": lambda connection, code, reason: ended.append((code, reason)), "close_timeout": 0.3}
    async with (
        serving_narrowly(router, **options, **options_of(certificate, secure)) as app,
        narrow(app, certificate, secure) as client,
    ):
        hold(client)
        client.request(url="/some", id=1)
        await until(lambda: connection_of(app)._waiting() > 0)
        client.writer.write(close_frame(4001))
        await until(lambda: not factory_of(app).connections)
        assert len(ended) == 1
        assert len(factory_of(app).admissions) == 0


@on_each_loop
@secure_or_not
@asynchronous
async def test_client_that_does_not_answer_our_close_frame_is_gone(
    loop: str, secure: bool, certificate: Certificate
) -> None:
    router = make_router(close=lambda request: request.connection.close(4000))
    async with (
        serving(router, close_timeout=0.3, **options_of(certificate, secure)) as app,
        narrow(app, certificate, secure) as client,
    ):
        client.request(url="/close")
        assert (await client.receive()).close_code == 4000
        await until(lambda: not factory_of(app).connections)


@on_each_loop
@secure_or_not
@asynchronous
async def test_what_was_sent_before_a_close_arrives_at_a_client_that_takes_its_time(
    loop: str, secure: bool, certificate: Certificate
) -> None:
    def leave(request: Any) -> None:
        request.connection.send_event("large", LARGE)
        request.connection.close(4000, "done")

    closed: list[int] = []
    options = {"on_disconnect": lambda connection, code, reason: closed.append(code), "close_timeout": 0.5}
    async with (
        serving_narrowly(make_router(leave=leave), **options, **options_of(certificate, secure)) as app,
        narrow(app, certificate, secure) as client,
    ):
        hold(client)
        client.request(url="/leave")
        await until(lambda: connection_of(app)._waiting() > 0)
        transport: Any = client.writer.transport
        taken = await slowly(transport, client, chunk=100_000, pause=0.02)
        assert len(taken) >= len(LARGE)
        client.writer.write(close_frame(4000))
        await until(lambda: bool(closed))
        assert closed == [4000]


@on_each_loop
@secure_or_not
@asynchronous
async def test_time_for_the_end_begins_with_the_end(loop: str, secure: bool, certificate: Certificate) -> None:
    """A client that has read nothing for longer than that reads again: all is there, and the close frame."""
    closed: list[int] = []
    options = {"on_disconnect": lambda connection, code, reason: closed.append(code), "close_timeout": 1.0}
    async with (
        serving_narrowly(
            make_router(large=lambda request: LARGE), send_timeout=60.0, **options, **options_of(certificate, secure)
        ) as app,
        narrow(app, certificate, secure) as client,
    ):
        hold(client)
        client.request(url="/large")
        await until(lambda: connection_of(app)._waiting() > 0 and connection_of(app)._left_at > 0)
        connection = connection_of(app)
        connection._left_at -= 5.0  # it has been so for that long
        connection.close(4000, "done")
        await asyncio.sleep(0.3)  # the watch looks at who leaves
        taken = await slowly(client.writer.transport, client, chunk=100_000, pause=0.0)
        assert len(taken) >= len(LARGE)
        client.writer.write(close_frame(4000))
        await until(lambda: bool(closed))
        assert closed == [4000]


async def slowly(transport: Any, client: Client, *, chunk: int, pause: float) -> bytes:
    """Read up to the close frame, never fast: longer in all than a client may take nothing."""
    taken = b""
    while not taken.endswith(b"done"):
        transport.resume_reading()
        taken += await client.reader.read(chunk)
        transport.pause_reading()
        await asyncio.sleep(pause)  # the slowness that is tested
    transport.resume_reading()
    return taken


@on_each_loop
@asynchronous
async def test_reply_that_is_on_its_way_when_the_server_stops_arrives(loop: str, certificate: Certificate) -> None:
    router = make_router(large=lambda request: LARGE)
    async with serving_narrowly(router, shutdown_timeout=20.0) as app, narrow(app, certificate, False) as client:
        hold(client)
        client.request(url="/large", id=1)
        await until(lambda: connection_of(app)._waiting() > 0)
        stopping = asyncio.ensure_future(app.stop())
        transport: Any = client.writer.transport
        taken = b""
        while b"shutting down" not in taken[-200:]:
            transport.resume_reading()
            taken += await client.reader.read(50_000)
            transport.pause_reading()
            await asyncio.sleep(0.05)  # longer in all than clients get to answer the close frame
        assert len(taken) > len(LARGE)
        client.writer.write(close_frame(1001))
        transport.resume_reading()
        await stopping


@on_each_loop
@asynchronous
async def test_slow_reader_gets_a_large_reply_whole(loop: str, certificate: Certificate) -> None:
    router = make_router(large=lambda request: LARGE + "done")
    limits = {"send_timeout": 0.5, "ping_interval": 0.1, "ping_timeout": 0.3}
    async with serving_narrowly(router, **limits) as app, narrow(app, certificate, False) as client:
        hold(client)
        client.writer.write(frame(b'{"method":"GET","url":"/large","id":1}'))
        await until(lambda: connection_of(app)._waiting() > 0)
        transport: Any = client.writer.transport
        began = time.monotonic()
        taken = b""
        while len(taken) < len(LARGE):
            transport.resume_reading()
            taken += await client.reader.read(100_000)
            transport.pause_reading()
            await asyncio.sleep(0.02)  # the slowness that is tested
        assert time.monotonic() - began > 0.5, "it was too quick to say anything"
        assert connection_of(app).state == connection_of(app).STATE_OPEN


@on_each_loop
@secure_or_not
@asynchronous
async def test_client_that_hangs_up_while_it_is_not_read_is_gone(
    loop: str, secure: bool, certificate: Certificate
) -> None:
    """Its slot and its handlers go with it, though nobody reads that it has, and TLS takes what is written for sent."""
    gates = Gates()
    limits = {"max_concurrency": 1, "ping_interval": 0.1, "ping_timeout": 0.1}
    async with (
        serving(make_router(wait=lambda request: gates.wait("it")), **limits, **options_of(certificate, secure)) as app,
        await Client.connect(app, tls=client_context(certificate) if secure else None) as client,
    ):
        client.request(url="/wait")
        await gates.until_started("it")
        hang_up(client)
        await until(lambda: not factory_of(app).connections)
        await gates.until(lambda: gates.cancelled == ["it"])
        client.abort()


@on_each_loop
@asynchronous
async def test_client_that_is_not_read_and_there_is_not_dropped(loop: str) -> None:
    gates = Gates()
    limits = {"max_concurrency": 1, "ping_interval": 0.05, "ping_timeout": 0.05}
    async with (
        serving(make_router(wait=lambda request: gates.wait("it")), **limits) as app,
        await Client.connect(app) as client,
    ):
        client.request(url="/wait")
        for _ in range(4):
            assert (await client.receive()).opcode == PING  # unanswered: the answer would not be read
        gates.open("it")
        while (frame := await client.receive()).opcode == PING:
            pass
        assert frame.opcode == TEXT


@on_each_loop
@asynchronous
async def test_who_is_watched_keeps_the_transport_to_itself(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once somebody has asked an open connection for it, it is asked with each push what it has to write."""
    asked: list[str] = []

    def transport(self: Any) -> Any:
        if self.state == self.STATE_OPEN:
            asked.append("".join(traceback.format_stack(limit=2)))
        return kept.__get__(self)

    kept: Any = inspect.getattr_static(RequestHandlerProtocol, "transport")
    monkeypatch.setattr(RequestHandlerProtocol, "transport", property(transport, kept.__set__), raising=False)
    gates = Gates()
    limits = {"max_concurrency": 1, "ping_interval": 0.02, "ping_timeout": 5}
    hello = frame(dump({"method": "GET", "url": "/hello"}))
    async with (
        serving(make_router(wait=lambda request: gates.wait("it")), **limits) as app,
        await Client.connect(app, behind=hello) as client,
    ):
        assert (await client.reply())["data"] == "Hello, world!"
        ping = await client.receive()
        client.send(ping.payload, PONG)
        client.request(url="/wait")
        for _ in range(3):  # of one that is not read it is asked whether it has hung up
            assert (await client.receive()).opcode == PING
        assert asked == []
        assert connection_of(app).transport is not None
        assert len(asked) == 1
        gates.open("it")


def hang_up(client: Client) -> None:
    """Close one direction, below TLS: nothing is said."""
    with socket.socket(fileno=os.dup(client.writer.get_extra_info("socket").fileno())) as below:
        below.shutdown(socket.SHUT_WR)


@on_each_loop
@asynchronous
async def test_client_that_speaks_no_tls_is_dropped_without_a_word(
    loop: str, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(make_router(), **certificate.options) as app:
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        await until(lambda: not factory_of(app).admissions.half_open)
        writer.transport.abort()
    assert caplog.text == ""


@on_each_loop
@asynchronous
async def test_tls_client_that_sends_no_close_notify_is_gone_soon(loop: str, certificate: Certificate) -> None:
    async with serving(make_router(), **certificate.options) as app:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context(certificate).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        reader, writer = await asyncio.open_connection(*app.addresses[0])

        async def step(function: Any, *args: Any) -> Any:
            while True:
                try:
                    result = function(*args)
                except ssl.SSLWantReadError:
                    writer.write(outgoing.read())
                    incoming.write(await reader.read(65536))
                else:
                    writer.write(outgoing.read())
                    return result

        await step(tls.do_handshake)
        host, port = app.addresses[0]
        head = f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        await step(tls.write, (head + key).encode())
        assert (await step(tls.read, 4096)).startswith(b"HTTP/1.1 101")
        await step(tls.write, close_frame())
        await until(lambda: not factory_of(app).connections)
        writer.transport.abort()


@on_each_loop
@asynchronous
async def test_timer_that_is_late_reads_what_has_arrived_first(loop: str) -> None:
    """A loop that was blocked for longer than a client may be silent: the client is not to blame."""
    limits = {"ping_interval": 0.1, "ping_timeout": 0.2, "handshake_timeout": 0.3}

    def block(request: Any) -> str:
        time.sleep(0.6)
        return "done"

    async with (
        serving(make_router(block=block), **limits) as app,
        await Client.connect(app) as client,
        await Client.connect(app) as other,
    ):
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        await until(lambda: len(factory_of(app).connections) == 3)
        host, port = app.addresses[0]
        writer.write(
            f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        other.writer.write(frame(b'{"method":"GET","url":"/block","id":1}'))
        client.writer.write(frame(b'{"method":"GET","url":"/hello","id":2}'))
        assert (await other.reply())["data"] == "done"
        assert (await client.reply())["data"] == "Hello, world!"
        assert (await reader.readline()).startswith(b"HTTP/1.1 101")
        writer.close()
        await other.leave()
        await client.leave()


@on_each_loop
@pytest.mark.parametrize("code", [1000, 1001, 3000, 4001, None])
@asynchronous
async def test_close_frame_is_answered_with_its_own_code(loop: str, code: int | None) -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client:
        client.writer.write(frame(b"" if code is None else code.to_bytes(2, "big"), CLOSE))
        answer = await client.receive()
        assert (answer.opcode, answer.payload[:2]) == (CLOSE, b"" if code is None else code.to_bytes(2, "big"))
        await client.eof()


@on_each_loop
@secure_or_not
@asynchronous
async def test_half_open_connections_are_bounded_and_the_newest_gets_in(
    loop: str, secure: bool, certificate: Certificate
) -> None:
    async with serving(make_router(), max_connections=5, **options_of(certificate, secure)) as app:
        half_open = [await asyncio.open_connection(*app.addresses[0]) for _ in range(30)]
        await until(lambda: len(factory_of(app).admissions.half_open) == 5)
        tls = client_context(certificate) if secure else None
        async with await Client.connect(app, tls=tls) as client:
            assert (await client.ask())["data"] == "Hello, world!"
            await client.leave()
        for reader, _ in half_open[:20]:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        for _, writer in half_open:
            writer.transport.abort()
        await until(lambda: not factory_of(app).admissions.half_open)


@on_each_loop
@asynchronous
async def test_stop_does_not_wait_for_a_tls_handshake(loop: str, certificate: Certificate) -> None:
    async with serving(make_router(), handshake_timeout=None, **certificate.options) as app:
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        await until(lambda: len(factory_of(app).admissions.half_open) == 1)
        async with asyncio.timeout(2):
            await app.stop()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.transport.abort()


@pytest.mark.parametrize("behind", [0.0, 0.01, 0.3, 0.99], ids="{} s behind another".format)
def test_half_a_handshake_ends_soon_after_its_time_wherever_the_watch_is(behind: float) -> None:
    """By the loop's own clock, which here counts nothing but what is waited for."""

    async def waited() -> float:
        loop, factory = asyncio.get_running_loop(), our_factory()
        made(factory).data_received(b"GET")
        await asyncio.sleep(behind)
        protocol, began = made(factory), loop.time()
        transport = protocol.transport
        protocol.data_received(b"GET")
        while not transport.written:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert b" 408 " in transport.written[0]
        return loop.time() - began

    with asyncio.Runner(loop_factory=Skipping) as runner:
        assert 5.0 <= runner.run(waited()) <= 5.25
