"""One connection under load: handlers that reach into it, cuts, backpressure, few writes; over real sockets."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from aiorest_ws import RequestHandlerFactory, SimpleRouter, endpoint
from aiorest_ws.server.patience import Patience
from tests.kit.transports import REQUEST, Transport
from tests.serving import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LOOPS,
    PING,
    PONG,
    TEXT,
    Certificate,
    Client,
    Frame,
    asynchronous,
    client_context,
    connection_of,
    dump,
    factory_of,
    frame,
    serving,
    turn_over,
    until,
)

on_each_loop = pytest.mark.parametrize("loop", LOOPS)

PIPELINED = 50
MEGABYTE = "x" * 1_000_000


class Calls:
    """What the handlers did."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.act: Callable[[Any], Any] = lambda connection: None

    def router(self) -> SimpleRouter:
        router = SimpleRouter()

        @endpoint("/n/{n}", "GET")
        def number(request: Any, n: str) -> int:
            self.numbers.append(int(n))
            return int(n)

        @endpoint("/later/{n}", "GET")
        async def later(request: Any, n: str) -> int:
            self.numbers.append(int(n))
            await asyncio.sleep(0)
            return int(n)

        @endpoint("/act/{n}", "GET")
        def act(request: Any, n: str) -> int:
            self.numbers.append(int(n))
            self.act(request.connection)
            return int(n)

        @endpoint("/act-later/{n}", "GET")
        async def act_later(request: Any, n: str) -> int:
            self.numbers.append(int(n))
            await asyncio.sleep(0)
            self.act(request.connection)
            return int(n)

        @endpoint("/size/{size}/{n}", "GET")
        def size(request: Any, size: str, n: str) -> str:
            self.numbers.append(int(n))
            return n.ljust(int(size), ".")

        @endpoint("/size-later/{size}/{n}", "GET")
        async def size_later(request: Any, size: str, n: str) -> str:
            self.numbers.append(int(n))
            await asyncio.sleep(0)
            return n.ljust(int(size), ".")

        for function in (number, later, act, act_later, size, size_later):
            router.register_endpoint(function)
        return router


def asked(url: str, **rest: Any) -> bytes:
    """Give a request as a frame."""
    return frame(dump({"method": "GET", "url": url, **rest}))


def pipelined(at: int, kind: str, with_ids: bool) -> bytes:
    """Give 50 requests, of which the one at `at` acts."""
    urls = [f"/{kind}/{n}" if n == at else f"/n/{n}" for n in range(PIPELINED)]
    return b"".join(asked(url, **({"id": n} if with_ids else {})) for n, url in enumerate(urls))


async def to_the_end(client: Client) -> list[Frame]:
    """Give all frames up to the end of the connection; a close frame of the server's is answered."""
    frames: list[Frame] = []
    try:
        while True:
            frames.append(await client.receive())
            if frames[-1].opcode == CLOSE:
                client.send(frames[-1].payload[:2], CLOSE)
    except (asyncio.IncompleteReadError, ConnectionError):
        return frames


def number_in(reply: Frame) -> int:
    data = json.loads(reply.payload)["data"]
    assert isinstance(data, int)
    return data


# A handler that reaches into its connection, at the first, a middle and the last of many pipelined frames


@pytest.fixture(params=[0, PIPELINED // 2, PIPELINED - 1], ids=["first", "middle", "last"])
def at(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=["act", "act-later"], ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["in-order", "with-ids"])
def with_ids(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


ENDINGS: dict[str, Callable[[Any], Any]] = {
    "close": lambda connection: connection.close(4000, "enough"),
    "sendClose": lambda connection: connection.sendClose(4000, "enough"),
    "sendCloseFrame": lambda connection: connection.sendCloseFrame(4000, b"enough"),
    "twice": lambda connection: (connection.close(4000, "enough"), connection.close(4001)),
    "close-then-send": lambda connection: (connection.close(4000, "enough"), connection.send_event("late")),
}


@on_each_loop
@pytest.mark.parametrize("how", ENDINGS)
@asynchronous
async def test_handler_that_closes_is_the_last_that_runs(
    loop: str, how: str, at: int, kind: str, with_ids: bool
) -> None:
    calls = Calls()
    calls.act = ENDINGS[how]
    async with serving(calls.router()) as app, await Client.connect(app) as client:
        client.writer.write(pipelined(at, kind, with_ids))
        *replies, closed = await to_the_end(client)
        assert (closed.close_code, closed.close_reason) == (4000, "enough")
        answered = [number_in(reply) for reply in replies]
        if kind == "act-later" and with_ids:
            assert answered == [n for n in range(PIPELINED) if n != at]  # those with an id did not wait for it
        else:
            assert answered == list(range(at))
            assert calls.numbers == list(range(at + 1))
        assert len(calls.numbers) == len(set(calls.numbers))


@on_each_loop
@pytest.mark.parametrize("abort", [False, True])
@asynchronous
async def test_handler_that_drops_the_connection_is_the_last_that_runs(
    loop: str, abort: bool, at: int, kind: str, with_ids: bool
) -> None:
    calls = Calls()
    calls.act = lambda connection: connection.dropConnection(abort=abort)
    async with serving(calls.router()) as app, await Client.connect(app) as client:
        client.writer.write(pipelined(at, kind, with_ids))
        answered = [number_in(reply) for reply in await to_the_end(client)]
        wanted = [n for n in range(PIPELINED) if n != at] if kind == "act-later" and with_ids else list(range(at))
        assert answered == (wanted[: len(answered)] if abort else wanted)
        assert len(calls.numbers) == len(set(calls.numbers))
        if kind == "act" or not with_ids:
            assert calls.numbers == list(range(at + 1))


@on_each_loop
@asynchronous
async def test_handler_that_aborts_the_transport_is_the_last_that_runs(
    loop: str, at: int, kind: str, with_ids: bool
) -> None:
    calls = Calls()
    calls.act = lambda connection: connection.transport.abort()
    async with serving(calls.router()) as app, await Client.connect(app) as client:
        client.writer.write(pipelined(at, kind, with_ids))
        answered = [number_in(reply) for reply in await to_the_end(client)]
        assert answered == [n for n in range(PIPELINED) if n != at][: len(answered)]
        if kind == "act" or not with_ids:
            assert calls.numbers == list(range(at + 1))


@on_each_loop
@asynchronous
async def test_handler_that_closes_the_transport_loses_no_reply_before_it(
    loop: str, at: int, kind: str, with_ids: bool
) -> None:
    calls = Calls()
    calls.act = lambda connection: connection.transport.close()
    async with serving(calls.router()) as app, await Client.connect(app) as client:
        client.writer.write(pipelined(at, kind, with_ids))
        answered = [number_in(reply) for reply in await to_the_end(client)]
        wanted = [n for n in range(PIPELINED) if n != at] if kind == "act-later" and with_ids else list(range(at))
        assert answered == wanted


WRITINGS: dict[str, tuple[Callable[[Any], Any], list[tuple[int, bytes]]]] = {
    "event": (lambda c: c.send_event("e"), [(TEXT, b'{"event_name":"e","data":null}')]),
    "message": (lambda c: c.sendMessage(b"\0\1", True), [(BINARY, b"\0\1")]),
    "ping": (lambda c: c.sendPing(b"p"), [(PING, b"p")]),
    "pong": (lambda c: c.sendPong(b"p"), [(PONG, b"p")]),
    "megabyte": (lambda c: c.sendMessage(MEGABYTE.encode()), [(TEXT, MEGABYTE.encode())]),
    "many": (
        lambda c: (c.send_event("a"), c.sendPing(b"1"), c.sendMessage(b"b" * 70_000), c.sendPing(b"2")),
        [(TEXT, b'{"event_name":"a","data":null}'), (PING, b"1"), (TEXT, b"b" * 70_000), (PING, b"2")],
    ),
    "through-autobahn": (lambda c: c.sendFrame(opcode=BINARY, payload=b"raw"), [(BINARY, b"raw")]),
}


@on_each_loop
@pytest.mark.parametrize("what", WRITINGS)
@asynchronous
async def test_what_a_handler_sends_comes_right_before_its_reply(
    loop: str, what: str, at: int, kind: str, with_ids: bool
) -> None:
    calls = Calls()
    calls.act, wanted = WRITINGS[what]
    async with serving(calls.router()) as app, await Client.connect(app) as client:
        client.writer.write(pipelined(at, kind, with_ids))
        frames = [await client.receive() for _ in range(PIPELINED + len(wanted))]
        first = frames.index(Frame(*wanted[0]))
        assert [(f.opcode, f.payload) for f in frames[first : first + len(wanted)]] == wanted
        assert number_in(frames[first + len(wanted)]) == at
        answered = [number_in(f) for f in frames[:first] + frames[first + len(wanted) :]]
        if kind == "act-later" and with_ids:
            assert answered == [*(n for n in range(PIPELINED) if n != at), at]
        else:
            assert answered == list(range(PIPELINED))
        assert len(calls.numbers) == PIPELINED
        await client.leave()


@on_each_loop
@asynchronous
async def test_handler_that_raises_spoils_no_other_reply(loop: str, at: int, kind: str, with_ids: bool) -> None:
    def act(connection: Any) -> None:
        raise ZeroDivisionError

    calls = Calls()
    calls.act = act
    async with serving(calls.router()) as app, await Client.connect(app) as client:
        client.writer.write(pipelined(at, kind, with_ids))
        replies = [await client.reply() for _ in range(PIPELINED)]
        failed = [n for n, reply in enumerate(replies) if "detail" in reply]
        assert failed == [PIPELINED - 1 if kind == "act-later" and with_ids else at]
        assert [r["data"] for r in replies if "data" in r] == [n for n in range(PIPELINED) if n != at]
        await client.leave()


@on_each_loop
@asynchronous
async def test_handler_may_feed_its_own_connection(loop: str, at: int, kind: str, with_ids: bool) -> None:
    """What a nested event brings is behind all that had come before it."""
    calls = Calls()
    calls.act = lambda connection: connection.data_received(asked("/n/50", id=50) + asked("/n/51", id=51))
    async with serving(calls.router()) as app, await Client.connect(app) as client:
        client.writer.write(pipelined(at, kind, with_ids))
        answered = [number_in(await client.receive()) for _ in range(PIPELINED + 2)]
        assert sorted(answered) == list(range(PIPELINED + 2))
        if kind == "act":
            assert answered == list(range(PIPELINED + 2))
        await client.leave()


@on_each_loop
@asynchronous
async def test_handler_may_pause_and_resume_its_own_connection(loop: str, at: int, kind: str, with_ids: bool) -> None:
    calls = Calls()
    calls.act = lambda connection: (connection.pause_writing(), connection.resume_writing())
    async with serving(calls.router()) as app, await Client.connect(app) as client:
        client.writer.write(pipelined(at, kind, with_ids))
        answered = [number_in(await client.receive()) for _ in range(PIPELINED)]
        assert sorted(answered) == list(range(PIPELINED))
        if kind == "act" or not with_ids:
            assert answered == list(range(PIPELINED))
        await client.leave()


@on_each_loop
@asynchronous
async def test_handler_may_run_a_request_of_another_connection_inside_its_own(
    loop: str, at: int, kind: str, with_ids: bool
) -> None:
    calls = Calls()
    async with (
        serving(calls.router()) as app,
        await Client.connect(app) as other,
    ):
        theirs = connection_of(app)
        calls.act = lambda connection: (theirs.send_event("e"), theirs.data_received(asked("/n/99") * 3))
        async with await Client.connect(app) as client:
            client.writer.write(pipelined(at, kind, with_ids))
            answered = [number_in(await client.receive()) for _ in range(PIPELINED)]
            assert sorted(answered) == list(range(PIPELINED))
            assert await other.reply() == {"event_name": "e", "data": None}
            assert [number_in(await other.receive()) for _ in range(3)] == [99, 99, 99]
            await client.leave()
        await other.leave()


@on_each_loop
@pytest.mark.parametrize("how", ["close", "abort"])
@asynchronous
async def test_handler_may_end_another_connection(loop: str, how: str, at: int, kind: str, with_ids: bool) -> None:
    calls = Calls()
    async with serving(calls.router()) as app, await Client.connect(app) as other:
        theirs = connection_of(app)
        calls.act = lambda connection: theirs.sendClose(4000) if how == "close" else theirs.transport.abort()
        async with await Client.connect(app) as client:
            client.writer.write(pipelined(at, kind, with_ids))
            answered = [number_in(await client.receive()) for _ in range(PIPELINED)]
            assert sorted(answered) == list(range(PIPELINED))
            if how == "close":
                assert (await other.left()).close_code == 4000
            else:
                await other.eof()
            await client.leave()


@on_each_loop
@asynchronous
async def test_two_connections_that_end_each_other_both_end(loop: str) -> None:
    calls = Calls()
    async with serving(calls.router()) as app:
        factory = factory_of(app)

        def act(connection: Any) -> None:
            for each in factory.connections:
                each.close(4000)

        calls.act = act
        async with await Client.connect(app) as one, await Client.connect(app) as two:
            one.writer.write(pipelined(25, "act", False))
            two.writer.write(pipelined(25, "act", False))
            for client in (one, two):
                *replies, closed = await to_the_end(client)
                assert closed.close_code == 4000
                assert [number_in(reply) for reply in replies] == list(range(len(replies)))


# Autobahn's own writes among gathered replies


@on_each_loop
@asynchronous
async def test_pongs_of_pings_keep_their_place_among_replies(loop: str) -> None:
    calls = Calls()
    async with serving(calls.router()) as app, await Client.connect(app) as client:
        client.writer.write(b"".join(asked(f"/n/{n}") + frame(b"%d" % n, PING) for n in range(20)))
        for n in range(20):
            assert number_in(await client.receive()) == n
            assert await client.receive() == Frame(PONG, b"%d" % n)


@on_each_loop
@pytest.mark.parametrize("whole", [True, False])
@asynchronous
async def test_close_frame_among_requests_ends_them(loop: str, whole: bool, at: int, with_ids: bool) -> None:
    """Everything before it is answered, nothing after."""
    calls = Calls()
    requests = [asked(f"/n/{n}", **({"id": n} if with_ids else {})) for n in range(PIPELINED)]
    sent = b"".join([*requests[:at], frame(b"\x03\xe8", CLOSE), *requests[at:]])
    async with serving(calls.router()) as app, await Client.connect(app) as client:
        if whole:
            client.writer.write(sent)
        else:
            begin = len(sent) - len(b"".join(requests[at:])) - 1  # the last byte of the close frame
            for start in range(0, begin, 97):
                client.writer.write(sent[start : min(start + 97, begin)])
                await turn_over(2)
            client.writer.write(sent[begin:])
        *replies, closed = await to_the_end(client)
        assert closed.close_code == 1000
        assert [number_in(reply) for reply in replies] == calls.numbers == list(range(at))


@on_each_loop
@pytest.mark.parametrize("fault", [b"\xf1\x80\0\0\0\0", frame(b"\xff"), frame(b"", 3), frame(b"", CONTINUATION)])
@asynchronous
async def test_fault_among_requests_ends_them(loop: str, fault: bytes, at: int) -> None:
    calls = Calls()
    requests = [asked(f"/n/{n}") for n in range(PIPELINED)]
    async with serving(calls.router()) as app, await Client.connect(app) as client:
        client.writer.write(b"".join([*requests[:at], fault, *requests[at:]]))
        *replies, closed = await to_the_end(client)
        assert closed.close_code in (1002, 1007)
        assert [number_in(reply) for reply in replies] == calls.numbers == list(range(at))


# Cuts


KINDS = {
    "text": asked("/n/1"),
    "binary": frame(dump({"method": "GET", "url": "/n/1"}), BINARY),
    "utf8": frame(dump({"method": "GET", "url": "/n/1", "é": "ü€𐍈"})),
    "medium": frame(dump({"method": "GET", "url": "/n/1"}).ljust(130)),
    "fragmented": frame(b'{"method":"GET",', fin=False) + frame(b'"url":"/n/1"}', CONTINUATION),
}


@on_each_loop
@pytest.mark.parametrize("how", ["drop", "reset"])
@pytest.mark.parametrize("what", [*KINDS, "ping", "close"])
@asynchronous
async def test_connection_cut_at_any_byte_of_a_frame_leaves_nothing(loop: str, how: str, what: str) -> None:
    calls = Calls()
    cut = (KINDS | {"ping": frame(b"p", PING), "close": frame(b"\x03\xe8", CLOSE)})[what]
    async with serving(calls.router()) as app:
        factory = factory_of(app)
        for size in range(len(cut)):
            client = await Client.connect(app, behind=asked("/n/0") + cut[:size])
            assert number_in(await client.receive()) == 0
            if how == "drop":
                await client.drop()
            else:
                client.reset()
        await until(lambda: not factory.connections)
    assert set(calls.numbers) == {0}


@pytest.mark.parametrize("what", KINDS)
@asynchronous
async def test_request_in_two_packets_is_answered_once_wherever_it_is_cut(what: str) -> None:
    calls = Calls()
    connection, transport = await opened(calls)
    for size in range(len(KINDS[what]) + 1):
        connection.data_received(asked("/n/0") + KINDS[what][:size])
        connection.data_received(KINDS[what][size:] + asked("/n/2"))
    got = [number_in(reply) for reply in frames_in(b"".join(transport.written[1:]))]
    assert got == calls.numbers == [0, 1, 2] * (len(KINDS[what]) + 1)
    await lost(connection)


@asynchronous
async def test_stream_in_single_bytes_is_answered_in_order() -> None:
    calls = Calls()
    connection, transport = await opened(calls)
    stream = b"".join(KINDS.values()) + frame(b"p", PING) + asked("/n/2")
    for n in range(len(stream)):
        connection.data_received(stream[n : n + 1])
    assert calls.numbers == [1] * len(KINDS) + [2]
    assert [f.opcode for f in frames_in(b"".join(transport.written[1:]))] == [
        TEXT,
        BINARY,
        TEXT,
        TEXT,
        TEXT,
        PONG,
        TEXT,
    ]
    await lost(connection)


async def opened(calls: Calls) -> tuple[Any, Transport]:
    """Give a connection that is open, on a transport that keeps what is written."""
    connection = RequestHandlerFactory("ws://127.0.0.1:80", router=calls.router())()
    transport = Transport()
    connection.connection_made(transport)
    connection.data_received(REQUEST)
    await turn_over()
    assert connection.state == connection.STATE_OPEN
    return connection, transport


async def lost(connection: Any) -> None:
    """Tell the connection that it is gone, and its factory that no other comes."""
    connection.connection_lost(None)
    await connection.factory.release(Patience())


def frames_in(data: bytes) -> list[Frame]:
    """Split what a server has written."""
    frames, at = [], 0
    while at < len(data):
        size, start = data[at + 1], at + 2
        if size >= 126:
            start = at + (4 if size == 126 else 10)
            size = int.from_bytes(data[at + 2 : start], "big")
        frames.append(Frame(data[at] & 0x0F, data[start : start + size]))
        at = start + size
    assert at == len(data)
    return frames


# Few writes


@pytest.mark.parametrize("with_ids", [False, True])
@asynchronous
async def test_replies_of_one_read_leave_in_one_write(with_ids: bool) -> None:
    calls = Calls()
    connection, transport = await opened(calls)
    connection.data_received(b"".join(asked(f"/n/{n}", **({"id": n} if with_ids else {})) for n in range(200)))
    assert len(transport.written) == 1 + 1
    assert [number_in(reply) for reply in frames_in(transport.written[1])] == list(range(200))
    await lost(connection)


@asynchronous
async def test_gathered_replies_leave_whenever_there_are_64_kib() -> None:
    calls = Calls()
    connection, transport = await opened(calls)
    connection.data_received(b"".join(asked(f"/size/3000/{n}") for n in range(200)))
    *full, last = transport.written[1:]
    assert all(64 * 1024 <= len(data) < 64 * 1024 + 3100 for data in full)
    assert len(last) < 64 * 1024
    replies = frames_in(b"".join([*full, last]))
    assert [json.loads(reply.payload)["data"].strip(".") for reply in replies] == [str(n) for n in range(200)]
    await lost(connection)


@asynchronous
async def test_nothing_is_written_behind_an_answer_that_is_out() -> None:
    calls = Calls()
    connection, transport = await opened(calls)
    for n in range(10):
        connection.data_received(asked(f"/n/{n}"))
        assert len(transport.written) == n + 2
    await lost(connection)


@pytest.mark.parametrize("with_ids", [False, True])
@asynchronous
async def test_replies_of_async_handlers_that_end_in_one_turn_leave_in_one_write(with_ids: bool) -> None:
    calls = Calls()
    connection, transport = await opened(calls)
    connection.data_received(b"".join(asked(f"/later/{n}", **({"id": n} if with_ids else {})) for n in range(16)))
    await until(lambda: len(frames_in(b"".join(transport.written[1:]))) == 16)
    assert [number_in(reply) for reply in frames_in(b"".join(transport.written[1:]))] == list(range(16))
    if with_ids:  # those without one run one after another, each in a turn of its own
        assert len(transport.written) == 1 + 1
    await lost(connection)


@asynchronous
async def test_reply_does_not_wait_for_the_next_turn() -> None:
    calls = Calls()
    connection, transport = await opened(calls)
    connection.data_received(asked("/later/1"))
    await turn_over(3)
    assert len(transport.written) == 2
    await lost(connection)


# Backpressure


class Choking(Transport):
    """Asks to pause as soon as anything is written."""

    connection: Any = None

    def write(self, data: Any) -> None:
        super().write(data)
        if self.connection is not None:
            self.connection.pause_writing()


@asynchronous
async def test_pause_stops_parsing_in_the_middle_of_a_read_and_resume_goes_on_there() -> None:
    calls = Calls()
    connection = RequestHandlerFactory("ws://127.0.0.1:80", router=calls.router())()
    transport = Choking()
    connection.connection_made(transport)
    connection.data_received(REQUEST)
    await turn_over()
    transport.connection = connection
    connection.data_received(b"".join(asked(f"/size/30000/{n}") for n in range(50)))
    for done in range(3, 50, 3):
        assert calls.numbers == list(range(done))
        assert transport.calls[-1] == "pause_reading"
        connection.resume_writing()
    assert calls.numbers == list(range(50))
    connection.resume_writing()
    assert transport.calls[-1] == "resume_reading"
    replies = frames_in(b"".join(transport.written[1:]))
    assert [json.loads(reply.payload)["data"].strip(".") for reply in replies] == [str(n) for n in range(50)]
    await lost(connection)


@on_each_loop
@pytest.mark.parametrize("url", ["/size", "/size-later"], ids=["sync", "async"])
@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
@asynchronous
async def test_client_that_does_not_read_is_not_served_on_and_then_gets_everything(
    loop: str, url: str, tls: bool, certificate: Certificate
) -> None:
    calls = Calls()
    size, count = 64_000, 320  # 20 MB of replies
    options, context = (certificate.options, client_context(certificate)) if tls else ({}, None)
    async with serving(calls.router(), **options) as app, await Client.connect(app, tls=context) as client:
        connection = connection_of(app)
        sent = b"".join(asked(f"{url}/{size}/{n}", **({"id": n} if "later" in url else {})) for n in range(count))
        client.writer.write(sent)
        await until(lambda: bool(connection._held & 2))
        async with await Client.connect(app, tls=context) as other:
            for n in range(50):
                assert (await other.ask(url=f"/n/{1000 + n}"))["data"] == 1000 + n
        # The kernel's buffers grow as they like, with a few MB as their end; ours do not.
        assert len(calls.numbers) - 50 < count
        assert connection.transport.get_write_buffer_size() < 80 * size
        replies = [(await client.reply())["data"] for _ in range(count)]
        assert [len(reply) for reply in replies] == [size] * count
        assert [reply.strip(".") for reply in replies] == [str(n) for n in range(count)]
        await client.leave()


@on_each_loop
@asynchronous
async def test_client_that_leaves_without_reading_is_forgotten(loop: str) -> None:
    calls = Calls()
    async with serving(calls.router()) as app:
        client = await Client.connect(app)
        connection = connection_of(app)
        client.writer.write(b"".join(asked(f"/size/64000/{n}") for n in range(320)))
        await until(lambda: bool(connection._held))
        client.reset()
        await until(lambda: connection.transport is None)
        assert not factory_of(app).connections


# TLS


@on_each_loop
@asynchronous
async def test_tls_goes_the_same_way(loop: str, certificate: Certificate) -> None:
    calls = Calls()
    calls.act = lambda connection: connection.send_event("e", MEGABYTE)
    async with (
        serving(calls.router(), **certificate.options) as app,
        await Client.connect(app, tls=client_context(certificate)) as client,
    ):
        assert connection_of(app)._fast
        for kind in ("act", "act-later"):
            client.writer.write(pipelined(25, kind, False))
            assert [number_in(await client.receive()) for _ in range(25)] == list(range(25))
            assert (await client.reply())["data"] == MEGABYTE
            assert [number_in(await client.receive()) for _ in range(25)] == list(range(25, 50))
        stream = b"".join(KINDS.values())
        for n in range(0, len(stream), 5):
            client.writer.write(stream[n : n + 5])
            await client.writer.drain()
        assert [number_in(await client.receive()) for _ in KINDS] == [1] * len(KINDS)
        client.send(b"p", PING)
        assert await client.receive() == Frame(PONG, b"p")
        client.writer.write(asked("/n/1") + frame(b"\x03\xe8", CLOSE) + asked("/n/2"))
        reply, closed = await to_the_end(client)
        assert number_in(reply) == 1
        assert closed.close_code == 1000
        assert calls.numbers[-1] == 1


@on_each_loop
@pytest.mark.parametrize("how", ENDINGS)
@asynchronous
async def test_handler_that_closes_over_tls_is_the_last_that_runs(
    loop: str, how: str, certificate: Certificate, at: int
) -> None:
    calls = Calls()
    calls.act = ENDINGS[how]
    async with (
        serving(calls.router(), **certificate.options) as app,
        await Client.connect(app, tls=client_context(certificate)) as client,
    ):
        client.writer.write(pipelined(at, "act", False))
        *replies, closed = await to_the_end(client)
        assert closed.close_code == 4000
        assert [number_in(reply) for reply in replies] == list(range(at))


# Memory


@pytest.mark.parametrize("what", ["sync", "async", "chopped", "fragmented", "ping"])
@asynchronous
async def test_cycles_of_idle_and_request_keep_nothing(what: str) -> None:
    calls = Calls()
    connection, transport = await opened(calls)
    request = {
        "sync": asked("/n/1"),
        "async": asked("/later/1"),
        "chopped": asked("/n/1"),
        "fragmented": KINDS["fragmented"],
        "ping": frame(b"p" * 20, PING),
    }[what]

    async def cycles(count: int) -> None:
        for _ in range(count):
            if what == "chopped":
                connection.data_received(request[:20])
                connection.data_received(request[20:])
            else:
                connection.data_received(request)
            while what == "fragmented" or not transport.written:
                await asyncio.sleep(0)
                if transport.written:
                    break  # Autobahn notifies listeners of a message in a turn of its own
            assert len(transport.written) == 1
            transport.written.clear()
            calls.numbers.clear()

    count = 20_000 if what == "sync" else 4_000
    transport.written.clear()
    await cycles(500)
    gc.collect()
    before = sys.getallocatedblocks()
    await cycles(count)
    gc.collect()
    assert sys.getallocatedblocks() - before < 100
    await lost(connection)
