"""What one client may take of the server, over a real socket: each limit, and that others notice nothing."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from aiorest_ws import Application, MethodBasedView, Request, RequestHandlerProtocol, SimpleRouter, endpoint
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.limits import Limits
from aiorest_ws.metrics import Metrics
from tests.serving import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LOOPS,
    PING,
    PONG,
    TEXT,
    Client,
    Gates,
    asynchronous,
    connection_of,
    dump,
    factory_of,
    frame,
    gated_router,
    serving,
    turn_over,
)

on_each_loop = pytest.mark.parametrize("loop", LOOPS)
HELLO = dump({"method": "GET", "url": "/hello"})


def make_router(gates: Gates | None = None) -> SimpleRouter:
    return gated_router(gates or Gates(), big=lambda request: "x" * 100_000)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"max_message_size": 0}, ValueError, "max_message_size must be from 1 to 2147483648, got 0"),
        ({"max_message_size": 1.5}, TypeError, "max_message_size must be an integer, got 1.5"),
        ({"max_fragments": True}, TypeError, "max_fragments must be an integer, got True"),
        ({"ping_interval": 0}, ValueError, "ping_interval must be greater than 0, got 0"),
        ({"ping_interval": "1"}, TypeError, "ping_interval must be a number, got '1'"),
        ({"request_timeout": float("nan")}, ValueError, "request_timeout must be greater than 0, got nan"),
        ({"max_concurrency": None}, TypeError, "max_concurrency must be an integer, got None"),
        ({"shutdown_timeout": None}, TypeError, "shutdown_timeout must be a number, got None"),
    ],
)
def test_limit_that_makes_no_sense_is_refused(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as by_limits:
        Limits(**options)
    with pytest.raises(error) as by_application:
        Application(**options)
    assert str(by_limits.value) == str(by_application.value) == text


@asynchronous
async def test_a_burst_of_no_rate_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="burst limits nothing by itself: give requests_per_second, too"):
        await Application(router=make_router(), port=0, burst=5).start()


def test_every_limit_that_may_be_off_can_be_switched_off() -> None:
    names = set(Limits.__slots__) - {"max_concurrency", "close_timeout", "shutdown_timeout", "max_live_runs"}
    off: dict[str, Any] = dict.fromkeys(names)
    Application(**off)


# Size and fragments


@on_each_loop
@asynchronous
async def test_message_of_the_limit_is_answered(loop: str) -> None:
    async with serving(make_router(), max_message_size=1000) as app, await Client.connect(app) as client:
        client.send(HELLO.ljust(1000))
        assert (await client.reply())["data"] == "Hello, world!"


@on_each_loop
@pytest.mark.parametrize("size", [1001, 2**30, 2**63 - 1])
@asynchronous
async def test_message_that_declares_more_is_refused_before_it_comes(loop: str, size: int) -> None:
    async with serving(make_router(), max_message_size=1000) as app, await Client.connect(app) as client:
        client.send(HELLO)
        declared = b"\xfe" + size.to_bytes(2, "big") if size < 65536 else b"\xff" + size.to_bytes(8, "big")
        client.writer.write(b"\x81" + declared + b"\0\0\0\0")
        assert (await client.reply())["data"] == "Hello, world!"
        closing = await client.receive()
        assert (closing.opcode, closing.close_code) == (CLOSE, 1009)


@on_each_loop
@asynchronous
async def test_fragments_that_are_too_much_together_are_refused(loop: str) -> None:
    async with serving(make_router(), max_message_size=1000) as app, await Client.connect(app) as client:
        client.send(b"x" * 600, fin=False)
        client.send(b"x" * 401, CONTINUATION, fin=False)
        closing = await client.receive()
        assert (closing.opcode, closing.close_code) == (CLOSE, 1009)


@on_each_loop
@pytest.mark.parametrize("fragments", [1, 40])
@asynchronous
async def test_deflate_bomb_is_refused(loop: str, fragments: int) -> None:
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate")]
    async with (
        serving(make_router(), compress=True, max_message_size=10_000) as app,
        await Client.connect(app, headers=offer) as client,
    ):
        squeezer = zlib.compressobj(9, wbits=-15)
        bomb = squeezer.compress(b" " * 10_000_000) + squeezer.flush(zlib.Z_SYNC_FLUSH)
        step = len(bomb) // fragments + 1
        for at in range(0, len(bomb), step):
            last = at + step >= len(bomb)
            client.send(bomb[at : at + step], CONTINUATION if at else TEXT, fin=last, compressed=not at)
        closing = await client.receive()
        assert (closing.opcode, closing.close_code) == (CLOSE, 1009)


@on_each_loop
@pytest.mark.parametrize("piece", [b"", b" "], ids=("empty", "one byte"))
@asynchronous
async def test_fragments_up_to_the_limit_are_one_message(loop: str, piece: bytes) -> None:
    async with serving(make_router(), max_fragments=50) as app, await Client.connect(app) as client:
        for _ in range(2):  # each message has fragments of its own
            client.send(piece, fin=False)
            for _ in range(48):
                client.send(piece, CONTINUATION, fin=False)
                client.send(b"", PONG)
            client.send(HELLO, CONTINUATION)
            assert (await client.reply())["data"] == "Hello, world!"


@on_each_loop
@pytest.mark.parametrize("piece", [b"", b" "], ids=("empty", "one byte"))
@pytest.mark.parametrize("together", [True, False], ids=("in one write", "one by one"))
@asynchronous
async def test_one_fragment_more_closes_with_1008(loop: str, piece: bytes, together: bool) -> None:
    async with (
        serving(make_router(), max_fragments=50) as app,
        await Client.connect(app) as client,
        await Client.connect(app) as other,
    ):
        frames = [frame(piece, fin=False), *(frame(piece, CONTINUATION, fin=False) for _ in range(50))]
        if together:
            client.writer.write(frame(HELLO) + b"".join(frames) + frame(HELLO, CONTINUATION) + frame(HELLO))
        else:
            client.send(HELLO)
            for one in frames:
                client.writer.write(one)
                await turn_over(1)
        assert (await client.reply())["data"] == "Hello, world!"
        closing = await client.left()
        assert (closing.close_code, closing.close_reason) == (1008, "too many fragments")
        assert (await other.ask())["data"] == "Hello, world!"


# Slices


@on_each_loop
@asynchronous
async def test_long_read_is_served_in_slices(loop: str) -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client, await Client.connect(app) as other:
        await client.ask()
        served: list[int] = []
        count = 3000

        def note() -> None:
            served.append(connection._messages)
            if connection._messages <= count:
                asyncio.get_running_loop().call_soon(note)

        (connection,) = (c for c in factory_of(app).connections if c._messages)
        before = connection._messages
        note()
        connection.data_received(frame(HELLO) * count)
        for _ in range(count):
            assert (await client.reply())["data"] == "Hello, world!"
        steps = {n - before for n in served}
        assert len(steps) > 10, "others had no turn in between"
        assert max(b - a for a, b in zip(sorted(steps), sorted(steps)[1:], strict=False)) <= 256
        assert (await other.ask())["data"] == "Hello, world!"


@on_each_loop
@asynchronous
async def test_flood_of_empty_frames_is_answered_in_order(loop: str) -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client:
        for _ in range(3):
            client.writer.write(frame(b"", PONG) * 5000 + frame(b"") * 700 + frame(HELLO))
        for _ in range(3):
            for _ in range(700):
                assert "detail" in await client.reply()
            assert (await client.reply())["data"] == "Hello, world!"


# Rate


@on_each_loop
@asynchronous
async def test_more_than_the_burst_is_refused_with_429(loop: str) -> None:
    async with (
        serving(make_router(), requests_per_second=0.001, burst=3) as app,
        await Client.connect(app) as client,
        await Client.connect(app) as other,
    ):
        replies = [await client.ask(id=n) for n in range(5)]
        assert [reply["status"] for reply in replies] == [200, 200, 200, 429, 429]
        assert replies[4] == {"id": 4, "status": 429, "detail": "Too many requests."}
        assert await client.ask(event_name="e") == {"detail": "Too many requests.", "event_name": "e"}
        client.send(b"no JSON")
        assert (await client.reply())["detail"] == "Too many requests."
        assert (await other.ask(id=1))["status"] == 200


@on_each_loop
@asynchronous
async def test_who_does_not_slow_down_is_closed_with_1008(loop: str) -> None:
    async with (
        serving(make_router(), requests_per_second=0.001, burst=2) as app,
        await Client.connect(app) as client,
    ):
        for n in range(2 + 10 * 2):
            client.request(id=n)
        statuses = [(await client.reply())["status"] for _ in range(2 + 10 * 2 - 1)]
        assert statuses == [200] * 2 + [429] * 19
        closing = await client.left()
        assert (closing.close_code, closing.close_reason) == (1008, "too many requests")


# Time of a handler


@on_each_loop
@pytest.mark.parametrize("with_id", [True, False], ids=("id", "lane"))
@asynchronous
async def test_handler_that_takes_too_long_is_cancelled_and_answered_with_504(loop: str, with_id: bool) -> None:
    gates = Gates()
    async with serving(make_router(gates), request_timeout=0.05) as app, await Client.connect(app) as client:
        client.request(url="/wait/a", **({"id": 1} if with_id else {}))
        client.request(url="/hello", **({"id": 2} if with_id else {}))
        replies = [await client.reply(), await client.reply()]
        if with_id:
            assert sorted(replies, key=lambda reply: reply["id"]) == [
                {"id": 1, "status": 504, "detail": "The request took too long."},
                {"id": 2, "status": 200, "data": "Hello, world!"},
            ]
        else:
            assert replies == [
                {"detail": "The request took too long.", "event_name": None},
                {"data": "Hello, world!", "event_name": None},
            ]
        await gates.until(lambda: gates.cancelled == ["a"])
        assert connection_of(app)._in_flight == 0


@on_each_loop
@asynchronous
async def test_handler_that_holds_on_is_answered_once_and_stays_in_flight(loop: str) -> None:
    gates = Gates()
    held: list[str] = []
    router = SimpleRouter()

    @endpoint("/stubborn", "GET")
    async def stubborn(request: Any) -> str:
        try:
            await gates.wait("first")
        except asyncio.CancelledError:
            held.append("cancelled")
            await gates.wait("second")
        return "too late"

    router.register_endpoint(stubborn)
    async with serving(router, request_timeout=0.05) as app, await Client.connect(app) as client:
        assert (await client.ask(url="/stubborn", id=1))["status"] == 504
        await gates.until_started("second")
        connection = connection_of(app)
        assert (held, connection._in_flight) == (["cancelled"], 1)
        gates.open("second")
        await gates.until(lambda: "second" in gates.finished)
        await turn_over()
        assert connection._in_flight == 0
        assert (await client.ask(url="/nowhere", id=2))["status"] == 404  # nothing came in between


@on_each_loop
@asynchronous
async def test_handler_that_is_quick_enough_is_not_disturbed(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates), request_timeout=5) as app, await Client.connect(app) as client:
        client.request(url="/wait/a", id=1)
        await gates.until_started("a")
        gates.open("a")
        assert await client.reply() == {"id": 1, "status": 200, "data": "a"}


# Silence, idleness, a client that does not read


def ended(connection: Any) -> asyncio.Future[tuple[bool, int, str]]:
    """Give a future of what `onClose` of a connection gets."""
    future: asyncio.Future[tuple[bool, int, str]] = asyncio.get_running_loop().create_future()

    def on_close(clean: bool, code: int, reason: str) -> None:
        future.set_result((clean, code, reason))

    connection.onClose = on_close
    return future


@on_each_loop
@asynchronous
async def test_silent_client_is_pinged_and_kept_while_it_answers(loop: str) -> None:
    async with (
        serving(make_router(), ping_interval=0.02, ping_timeout=5) as app,
        await Client.connect(app) as client,
    ):
        for _ in range(3):
            ping = await client.receive()
            assert ping.opcode == PING
            client.send(ping.payload, PONG)
        assert (await client.ask())["data"] == "Hello, world!"


@on_each_loop
@asynchronous
async def test_client_that_answers_no_ping_is_dropped(loop: str) -> None:
    async with (
        serving(make_router(), ping_interval=0.02, ping_timeout=0.2) as app,
        await Client.connect(app) as client,
    ):
        end = ended(connection_of(app))
        assert (await client.receive()).opcode == PING
        clean, code, reason = await end
        assert (clean, code) == (False, 1006)
        assert "does not answer a ping" in reason
        await client.eof()


@on_each_loop
@asynchronous
async def test_missing_pong_does_not_count_while_we_do_not_read(loop: str) -> None:
    gates = Gates()
    async with (
        serving(make_router(gates), max_concurrency=1, ping_interval=0.02, ping_timeout=0.04) as app,
        await Client.connect(app) as client,
    ):
        client.request(url="/wait/a")
        await gates.until_started("a")
        for _ in range(5):  # more than the timeout, without an answer
            assert (await client.receive()).opcode == PING
        gates.open("a")
        while (received := await client.receive()).opcode == PING:
            client.send(received.payload, PONG)
        assert json.loads(received.payload)["data"] == "a"


@on_each_loop
@asynchronous
async def test_idle_client_is_closed_with_1001_though_it_answers_pings(loop: str) -> None:
    async with (
        serving(make_router(), ping_interval=0.02, ping_timeout=5, idle_timeout=0.2) as app,
        await Client.connect(app) as client,
    ):
        await client.ask()
        while (received := await client.receive()).opcode == PING:
            client.send(received.payload, PONG)
        assert (received.close_code, received.close_reason) == (1001, "no request for too long")


@on_each_loop
@asynchronous
async def test_client_with_a_request_in_flight_is_not_idle(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates), idle_timeout=0.05) as app, await Client.connect(app) as client:
        client.request(url="/wait/a")
        await gates.until_started("a")
        await asyncio.sleep(0.15)  # three times the timeout: nothing can be waited for, nothing must come
        gates.open("a")
        assert (await client.reply())["data"] == "a"
        assert (await client.receive()).close_code == 1001


@on_each_loop
@asynchronous
async def test_client_that_does_not_read_is_dropped_without_a_close_frame(loop: str) -> None:
    async with (
        serving(make_router(), send_timeout=0.1) as app,
        await Client.connect(app) as client,
        await Client.connect(app) as other,
    ):
        await client.ask()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        (connection,) = (c for c in factory_of(app).connections if c._messages)
        end = ended(connection)
        for _ in range(300):
            client.request(url="/big")
        assert (await end)[:2] == (False, 1008)
        assert connection.close_code == 1008
        assert (await other.ask())["data"] == "Hello, world!"
        client.abort()


@on_each_loop
@asynchronous
async def test_pings_that_nobody_reads_the_answers_of_obey_the_same_bound(loop: str) -> None:
    async with serving(make_router(), send_timeout=0.1) as app, await Client.connect(app) as client:
        await client.ask()
        end = ended(connection_of(app))
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        pings = frame(b"x" * 125, PING) * 1000
        while not end.done():
            client.writer.write(pings)
            try:
                async with asyncio.timeout(0.5):
                    await client.writer.drain()
            except (TimeoutError, ConnectionError):
                break
        assert (await end)[:2] == (False, 1008)
        client.abort()


@asynchronous
async def test_view_class_is_served_under_every_limit_at_once() -> None:
    class View(MethodBasedView):
        async def get(self, request: Any) -> str:
            await asyncio.sleep(0)
            return "done"

    router = SimpleRouter()
    router.register("/view", View, "GET")
    options = {"requests_per_second": 1000.0, "request_timeout": 5.0, "idle_timeout": 5.0}
    async with serving(router, **options) as app, await Client.connect(app) as client:
        assert (await client.ask(url="/view"))["data"] == "done"
        client.send(dump({"method": "GET", "url": "/view"}), BINARY)
        assert json.loads((await client.receive()).payload)["data"] == "done"


# Memory of what is in flight


def waiting_router(gates: Gates) -> SimpleRouter:
    """Give a router with /hold, which waits, and /after, which does not."""
    router = SimpleRouter()

    @endpoint("/hold", "POST")
    async def hold(request: Any) -> str:
        return await gates.wait("hold")

    @endpoint("/after", "POST")
    def after(request: Any) -> str:
        return "after"

    router.register_endpoint(hold)
    router.register_endpoint(after)
    return router


def as_json(message: dict[str, Any]) -> tuple[bytes, int]:
    return dump(message), TEXT


def as_base64(message: dict[str, Any]) -> tuple[bytes, int]:
    return base64.b64encode(dump(message)), BINARY


def as_msgpack(message: dict[str, Any]) -> tuple[bytes, int]:
    return msgspec.msgpack.encode(message), BINARY


STRING = "x" * 3000
ARRAYS: list[Any] = [[]] * 1000
OBJECTS: list[Any] = [{}] * 1000
DEEP: list[Any] = [[[[[[[[]]]]]]]] * 125
SMALL: list[Any] = [[]] * 50


@on_each_loop
@pytest.mark.parametrize("with_id", [True, False], ids=("id", "lane"))
@pytest.mark.parametrize("form", [as_json, as_base64, as_msgpack])
@pytest.mark.parametrize(
    "data", [STRING, ARRAYS, OBJECTS, DEEP, SMALL], ids=("string", "arrays", "objects", "deep", "small")
)
@asynchronous
async def test_reading_pauses_at_so_many_bytes_in_flight(
    loop: str, data: Any, form: Callable[[dict[str, Any]], tuple[bytes, int]], with_id: bool
) -> None:
    def message(number: int) -> dict[str, Any]:
        return {"method": "POST", "url": "/hold", "data": data} | ({"id": number} if with_id else {})

    gates = Gates()
    size = len(form(message(10))[0])
    containers = len(re.findall(rb"[{[]", dump(message(10))))
    in_flight = min(math.ceil(10_000 / size), math.ceil(80_000 / (size + 64 * containers)))
    async with (
        serving(waiting_router(gates), max_in_flight_bytes=10_000) as app,
        await Client.connect(app) as client,
    ):
        for number in range(10, 50):
            client.send(*form(message(number)))
        connection = connection_of(app)
        async with asyncio.timeout(10):
            while connection._in_flight < in_flight:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0)
        await turn_over(20)
        assert connection._in_flight == in_flight
        assert not connection._transport.is_reading()
        gates.open("hold")
        for _ in range(40):
            assert (await client.receive()).opcode in (TEXT, BINARY)
        assert connection._in_flight == 0
        assert connection._transport.is_reading()


@on_each_loop
@pytest.mark.parametrize("with_id", [True, False], ids=("id", "lane"))
@asynchronous
async def test_single_request_is_taken_whatever_its_size(loop: str, with_id: bool) -> None:
    gates = Gates()
    gates.open("hold")
    rest = {"id": 1} if with_id else {}
    async with (
        serving(waiting_router(gates), max_in_flight_bytes=1) as app,
        await Client.connect(app) as client,
    ):
        for data in (STRING * 100, ARRAYS * 10):
            assert (await client.ask("POST", "/hold", data=data, **rest))["data"] == "hold"
            assert (await client.ask("POST", "/after", data=data, **rest))["data"] == "after"


@asynchronous
async def test_requests_of_an_application_that_decodes_itself_are_counted() -> None:
    class Own(RequestHandlerProtocol):
        def _decode_message(self, payload: bytes, isBinary: bool = False) -> Request:
            return Request(**json.loads(payload[::-1]))

    gates = Gates()
    async with (
        serving(waiting_router(gates), protocol=Own, max_in_flight_bytes=10_000) as app,
        await Client.connect(app) as client,
    ):
        for number in range(10):
            client.send(dump({"method": "POST", "url": "/hold", "id": number, "data": STRING})[::-1])
        await gates.until(lambda: len(gates.started) == 4)
        await turn_over(20)
        assert len(gates.started) == 4
        gates.open("hold")
        assert {(await client.reply())["status"] for _ in range(10)} == {200}


@on_each_loop
@asynchronous
async def test_nothing_begins_while_the_client_does_not_read(loop: str) -> None:
    gates = Gates()
    begun: list[int] = []
    router = waiting_router(gates)

    @endpoint("/big", "GET")
    def big(request: Any, n: int) -> str:
        begun.append(n)
        return "x" * 1_000_000

    router.register_endpoint(big)
    async with serving(router) as app, await Client.connect(app) as client:
        client.request("POST", "/hold")
        for n in range(60):
            client.request(url="/big", args={"n": n})
        connection = connection_of(app)
        async with asyncio.timeout(10):
            while connection._in_flight < 61:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0)
        gates.open("hold")
        async with asyncio.timeout(10):
            while not connection._choked_at:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0)
        await turn_over(20)
        assert len(begun) < 30
        assert connection._transport.get_write_buffer_size() < 3_000_000
        assert (await client.reply())["data"] == "hold"
        for _ in range(60):
            assert len((await client.reply())["data"]) == 1_000_000
        assert begun == list(range(60))
        assert (await client.ask("POST", "/after"))["data"] == "after"


# Pushes


@on_each_loop
@asynchronous
async def test_events_for_a_client_that_does_not_read_are_left_out_and_counted(loop: str) -> None:
    metrics = Metrics()
    async with (
        serving(make_router(), max_push_buffer=100_000, metrics=metrics) as app,
        await Client.connect(app) as client,
        await Client.connect(app) as other,
    ):
        assert (await other.ask())["data"] == "Hello, world!"
        slow = next(c for c in factory_of(app).connections if c._messages == 0)
        quick = next(c for c in factory_of(app).connections if c._messages)
        sent = 0
        while slow.send_event("news", f"{sent:09}" + "x" * 9000):
            sent += 1
            assert sent < 10_000
            await asyncio.sleep(0)
        assert slow._transport.get_write_buffer_size() + slow._gathered() <= 100_000
        assert slow.send_event("news", "x" * 9000) is False
        assert quick.send_event("news", "rain") is True
        assert (await other.reply()) == {"event_name": "news", "data": "rain"}
        assert factory_of(app).unpushed == 2
        assert metrics.registry.get_sample_value("aiorest_ws_unpushed_events_total") == 2
        for number in range(sent):
            assert int((await client.reply())["data"][:9]) == number  # whole, and in order
        assert slow.send_event("news", "back") is True
        assert (await client.reply())["data"] == "back"
        assert factory_of(app).unsent == 0


class Counted:
    """A transport that counts what it is given, and how often it is asked for the size of its buffer."""

    def __init__(self, transport: Any) -> None:
        self._below = transport
        self.asked = self.written = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    def get_write_buffer_size(self) -> int:
        self.asked += 1
        return int(self._below.get_write_buffer_size())

    def write(self, data: bytes) -> None:
        self.written += 1
        self._below.write(data)


@on_each_loop
@asynchronous
async def test_many_small_events_for_a_client_that_is_behind_are_few_writes_and_fewer_looks(loop: str) -> None:
    async with serving(make_router(), max_push_buffer=1_000_000) as app, await Client.connect(app) as client:
        connection = connection_of(app)
        sent = 0
        while not connection._choked_at:
            assert connection.send_event("news", f"{sent}," + "x" * 9000)
            sent += 1
            await asyncio.sleep(0)
        transport = connection.transport = connection._transport = Counted(connection.transport)
        for number in range(sent, sent + 5000):
            assert connection.send_event("news", f"{number},")
            await asyncio.sleep(0)
        assert transport.written <= 5, "bytes / 64 KiB, and what was gathered before"
        assert transport.asked <= 50, "by timers and before a write: not by each event"
        for number in range(sent + 5000):
            assert int((await client.reply())["data"].partition(",")[0]) == number
        assert (await client.ask())["data"] == "Hello, world!"


@on_each_loop
@pytest.mark.parametrize("size", [100, 5_000_000])
@asynchronous
async def test_event_that_nothing_is_before_is_sent_whatever_its_size(loop: str, size: int) -> None:
    async with serving(make_router(), max_push_buffer=10) as app, await Client.connect(app) as client:
        assert connection_of(app).send_event("news", "x" * size) is True
        assert len((await client.reply())["data"]) == size


@asynchronous
async def test_event_for_a_connection_that_is_gone_says_so() -> None:
    async with serving(make_router()) as app:
        async with await Client.connect(app) as client:
            connection = connection_of(app)
            await client.leave()
        assert connection.send_event("news") is False
        assert (factory_of(app).unsent, factory_of(app).unpushed) == (1, 0)


@asynchronous
async def test_events_before_the_connection_is_open_are_bounded_too() -> None:
    said: list[bool] = []

    def on_connect(connection: Any) -> None:
        said.extend(connection.send_event("news", "x" * 400) for _ in range(4))

    async with (
        serving(make_router(), max_push_buffer=1000, on_connect=on_connect) as app,
        await Client.connect(app) as client,
    ):
        assert said == [True, True, False, False]
        assert [len((await client.reply())["data"]) for _ in range(2)] == [400, 400]
        assert (await client.ask())["data"] == "Hello, world!"
        assert factory_of(app).unpushed == 2


# Names of events


def nested(levels: int, *, of: str = "list") -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value] if of == "list" else {"a": value}
    return value


SHORT = ["e", "x" * 4094, "é" * 2047, "\0" * 682, 1, -1.5, True, [1, {"a": None}], nested(32), nested(32, of="dict")]
LONG = ["x" * 4095, "é" * 2048, "\0" * 683, nested(33), nested(33, of="dict"), [{}] * 2000, {"k" * 4100: 1}]
LONG += [nested(500), [nested(20)] * 200, "x" * 900_000, [0] * 400_000]


@pytest.mark.parametrize("rest", [{}, {"id": 7}], ids=("plain", "id"))
@pytest.mark.parametrize("form", [as_json, as_base64, as_msgpack])
@pytest.mark.parametrize("url", ["/hello", "/nowhere", None])
@asynchronous
async def test_event_name_is_bounded(url: Any, form: Any, rest: dict[str, Any]) -> None:
    async with serving(make_router(), max_message_size=2_000_000) as app, await Client.connect(app) as client:

        async def ask(name: Any) -> Any:
            client.send(*form({"method": "GET", "url": url, "event_name": name, **rest}))
            answer = (await client.receive()).payload
            if form is as_msgpack:
                return msgspec.msgpack.decode(answer)
            return json.loads(answer if form is as_json else base64.b64decode(answer))

        for name in SHORT:
            assert (await ask(name))["event_name"] == name
        for name in LONG:
            reply = await ask(name)
            assert reply.pop("event_name", None) is None
            text = "`event_name` must be at most 4096 bytes of JSON in 32 levels"
            assert reply == ({"id": 7, "status": 400} if rest else {}) | {"detail": text}


@pytest.mark.parametrize("most", [10, None])
@asynchronous
async def test_event_name_may_be_as_long_as_the_option_says(most: int | None) -> None:
    async with serving(make_router(), max_event_name=most) as app, await Client.connect(app) as client:
        assert (await client.ask(event_name="x" * 8))["data"] == "Hello, world!"
        assert ("data" in await client.ask(event_name="x" * 9)) is (most is None)


@asynchronous
async def test_long_event_name_is_not_echoed_by_what_refuses_otherwise() -> None:
    class Own(RequestHandlerProtocol):
        def _decode_message(self, payload: bytes, isBinary: bool = False) -> Request:
            return Request(**json.loads(payload))

    for options in ({"requests_per_second": 0.001, "burst": 1}, {"protocol": Own}):
        async with serving(make_router(), **options) as app, await Client.connect(app) as client:
            await client.ask()
            reply = await client.ask(event_name="x" * 5000)
            assert reply["event_name"] is None
            assert "detail" in reply
