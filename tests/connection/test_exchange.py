"""Order, concurrency, backpressure and departure, over a real socket on each loop."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aiorest_ws import SimpleRouter, endpoint
from tests.serving import (
    BINARY,
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


def make_router(gates: Gates) -> SimpleRouter:
    """Give a router with handlers that wait at `gates`, and some that do not."""
    router = gated_router(gates)

    @endpoint("/now/{name}", "GET")
    def now(request: Any, name: str) -> str:
        gates.started.append(name)
        return name

    @endpoint("/fail/{name}", "GET")
    async def fail(request: Any, name: str) -> None:
        await gates.wait(name)
        raise RuntimeError(name)

    @endpoint("/close-after/{name}", "GET")
    async def close_after(request: Any, name: str) -> str:
        await gates.wait(name)
        request.connection.close(4000, "enough")
        return name

    @endpoint("/close", "GET")
    def close(request: Any) -> str:
        gates.started.append("close")
        request.connection.close(4000, "enough")
        return "never sent"

    @endpoint("/abort", "GET")
    def abort(request: Any) -> str:
        gates.started.append("abort")
        request.connection.transport.abort()
        return "never sent"

    @endpoint("/stubborn/{name}", "GET")
    async def stubborn(request: Any, name: str) -> str:
        try:
            await gates.wait(name)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "in spite of all"

    for function in (now, fail, close_after, close, abort, stubborn):
        router.register_endpoint(function)
    return router


async def passes(client: Client, times: int = 5) -> None:
    """Let the server read all that has arrived: another connection is served some times over."""
    for _ in range(times):
        assert await client.ask(url="/now/barrier") == {"data": "barrier", "event_name": None}


@asynccontextmanager
async def exchange(gates: Gates) -> AsyncIterator[tuple[Client, Client]]:
    """Serve `make_router(gates)`; give two clients: one to try it with, and one for `passes`."""
    async with (
        serving(make_router(gates)) as app,
        await Client.connect(app) as client,
        await Client.connect(app) as other,
    ):
        yield client, other


def begun(gates: Gates) -> list[str]:
    """Give the names that came to a handler, without those of `passes`."""
    return [name for name in gates.started if name != "barrier"]


# Order


@on_each_loop
@asynchronous
async def test_requests_without_id_run_one_after_another(loop: str) -> None:
    gates = Gates()
    async with exchange(gates) as (client, other):
        for name in ("a", "b", "c"):
            client.request(url=f"/wait/{name}")
        await gates.until_started("a")
        gates.open("c", "b")
        await passes(other)
        assert begun(gates) == ["a"]
        gates.open("a")
        assert [(await client.reply())["data"] for _ in range(3)] == ["a", "b", "c"]
        assert begun(gates) == ["a", "b", "c"]


@on_each_loop
@asynchronous
async def test_waiting_handler_holds_sync_ones_behind_it(loop: str) -> None:
    gates = Gates()
    async with exchange(gates) as (client, other):
        client.request(url="/wait/a")
        client.request(url="/now/b")
        client.request(url="/now/c")
        client.request(url="/wait/d")
        client.request(url="/now/e")
        await passes(other)
        assert begun(gates) == ["a"]
        gates.open("d", "a")
        assert [(await client.reply())["data"] for _ in range(5)] == ["a", "b", "c", "d", "e"]


@on_each_loop
@asynchronous
async def test_malformed_messages_take_their_place(loop: str) -> None:
    gates = Gates()
    async with exchange(gates) as (client, other):
        client.request(url="/wait/a")
        client.send(b"{")
        client.send(b"?", BINARY)
        client.request(url="/nowhere")
        client.send(b'{"id":[],"method":"GET","url":"/now/x"}')
        client.request(url="/now/b")
        await passes(other)
        assert begun(gates) == ["a"]
        gates.open("a")
        frames = [await client.receive() for _ in range(6)]
        assert frames[0].payload == b'{"data":"a","event_name":null}'
        assert b"not valid JSON" in frames[1].payload
        assert frames[2].opcode == BINARY
        assert b"handler not specified" in frames[3].payload
        assert b"`id` must be" in frames[4].payload
        assert frames[5].payload == b'{"data":"b","event_name":null}'
        assert "x" not in gates.started


@on_each_loop
@asynchronous
async def test_failure_lets_the_next_one_run(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates)) as app, await Client.connect(app) as client:
        client.request(url="/fail/a")
        client.request(url="/wait/b")
        gates.open("a", "b")
        assert (await client.reply())["detail"] == "A server error occurred."
        assert (await client.reply())["data"] == "b"


@on_each_loop
@asynchronous
async def test_requests_with_id_run_together_and_are_answered_as_they_end(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates)) as app, await Client.connect(app) as client:
        for number, name in enumerate(("a", "b", "c")):
            client.request(url=f"/wait/{name}", id=number)
        await gates.until_started("a", "b", "c")
        for number, name in ((2, "c"), (0, "a"), (1, "b")):
            gates.open(name)
            assert await client.reply() == {"id": number, "status": 200, "data": name}


@on_each_loop
@asynchronous
async def test_requests_with_the_same_id_are_each_answered(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates)) as app, await Client.connect(app) as client:
        client.request(url="/wait/a", id=7)
        client.request(url="/wait/b", id=7)
        await gates.until_started("a", "b")
        gates.open("b")
        assert await client.reply() == {"id": 7, "status": 200, "data": "b"}
        gates.open("a")
        assert await client.reply() == {"id": 7, "status": 200, "data": "a"}


@on_each_loop
@asynchronous
async def test_waiting_handler_delays_no_request_with_an_id(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates)) as app, await Client.connect(app) as client:
        client.request(url="/wait/a")
        client.request(url="/now/b")
        client.request(url="/now/c", id="c")
        client.request(url="/nowhere", id="d")
        client.request(url="/wait/e", id="e")
        assert (await client.reply())["id"] == "c"
        assert (await client.reply())["status"] == 404
        gates.open("e")
        assert (await client.reply())["id"] == "e"
        gates.open("a")
        assert [(await client.reply())["data"] for _ in range(2)] == ["a", "b"]


@on_each_loop
@asynchronous
async def test_waiting_handler_delays_no_other_connection(loop: str) -> None:
    gates = Gates()
    async with exchange(gates) as (client, other):
        client.request(url="/wait/a")
        await gates.until_started("a")
        assert (await other.ask(url="/now/b"))["data"] == "b"
        other.request(url="/wait/c")
        gates.open("c")
        assert (await other.reply())["data"] == "c"
        gates.open("a")
        assert (await client.reply())["data"] == "a"


@on_each_loop
@asynchronous
async def test_ping_is_answered_while_a_handler_waits(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates)) as app, await Client.connect(app) as client:
        client.request(url="/wait/a")
        client.send(b"p", PING)
        assert (await client.receive()).opcode == PONG
        gates.open("a")
        assert (await client.reply())["data"] == "a"


@on_each_loop
@asynchronous
async def test_many_mixed_requests_are_each_answered_once(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates), max_concurrency=5) as app, await Client.connect(app) as client:
        expected_ids, expected_data = set(), []
        for number in range(300):
            kind = "wait" if number % 3 else "now"
            gates.open(str(number))
            if number % 2:
                client.request(url=f"/{kind}/{number}", id=number)
                expected_ids.add(number)
            else:
                client.request(url=f"/{kind}/{number}")
                expected_data.append(str(number))
        replies = [await client.reply() for _ in range(300)]
        assert [r["data"] for r in replies if "id" not in r] == expected_data
        assert sorted(r["id"] for r in replies if "id" in r) == sorted(expected_ids)
        assert all(r["data"] == str(r["id"]) for r in replies if "id" in r)
        assert sorted(map(int, gates.started)) == list(range(300))
        assert (await client.leave()).close_code == 1000


# The limit


@on_each_loop
@asynchronous
async def test_at_the_limit_the_connection_is_not_read(loop: str) -> None:
    gates = Gates()
    router = make_router(gates)
    async with serving(router, max_concurrency=4) as app, await Client.connect(app) as client:
        connection = connection_of(app)
        for number in range(20):
            client.request(url=f"/wait/{number}", id=number)
        await gates.until_started("0", "1", "2", "3")
        async with await Client.connect(app) as other:
            # More than the kernel's buffers and one read can take: the rest must stay with the client.
            padding = "x" * 60_000
            for number in range(20, 320):
                client.request(url=f"/now/{number}", id=number, data=padding)
            await passes(other, 50)
            assert begun(gates) == ["0", "1", "2", "3"]
            assert connection.transport is not None
            assert not connection.transport.is_reading()
            assert client.writer.transport.get_write_buffer_size() > 1_000_000
            assert len(connection.data) < 600_000  # what one read brought, and one message
        gates.open(*map(str, range(20)))
        replies = [await client.reply() for _ in range(320)]
        assert sorted(reply["id"] for reply in replies) == list(range(320))
        assert connection.transport.is_reading()
        names = begun(gates)
        assert sorted(map(int, names)) == list(range(320))
        assert (await client.ask(url="/now/after"))["data"] == "after"


@on_each_loop
@asynchronous
async def test_never_more_than_the_limit_run(loop: str) -> None:
    running = 0
    most = 0
    router = SimpleRouter()

    @endpoint("/", "GET")
    async def handler(request: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(3):
            await asyncio.sleep(0)
        running -= 1

    router.register_endpoint(handler)
    async with serving(router, max_concurrency=3) as app, await Client.connect(app) as client:
        client.writer.write(b"".join(frame(dump({"method": "GET", "url": "/", "id": n})) for n in range(100)))
        assert {(await client.reply())["id"] for _ in range(100)} == set(range(100))
    assert most == 3


@on_each_loop
@asynchronous
async def test_queued_requests_count_too(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates), max_concurrency=4) as app, await Client.connect(app) as client:
        connection = connection_of(app)
        client.request(url="/wait/a")
        for name in ("b", "c", "d"):
            client.request(url=f"/now/{name}")
        client.request(url="/now/e", id="e")  # would run at once, were it read
        async with await Client.connect(app) as other:
            await gates.until_started("a")
            await passes(other)
            assert connection.transport is not None
            assert not connection.transport.is_reading()
            assert "e" not in gates.started
        gates.open("a")
        assert [(await client.reply())["data"] for _ in range(5)] == ["a", "b", "c", "d", "e"]


@on_each_loop
@asynchronous
async def test_below_the_limit_the_connection_is_read(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates), max_concurrency=4) as app, await Client.connect(app) as client:
        client.request(url="/wait/a")
        client.request(url="/wait/b", id="b")
        client.request(url="/now/c")
        client.request(url="/now/d", id="d")
        assert (await client.reply())["id"] == "d"
        gates.open("a", "b")
        assert sorted([(await client.reply())["data"] for _ in range(3)]) == ["a", "b", "c"]


@on_each_loop
@asynchronous
async def test_limit_of_one_answers_everything(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates), max_concurrency=1) as app, await Client.connect(app) as client:
        for number in range(10):
            gates.open(str(number))
            client.request(url=f"/wait/{number}", **({"id": number} if number % 2 else {}))
            client.send(b"{")
        replies = [await client.reply() for _ in range(20)]
        assert [reply["data"] for reply in replies[::2]] == list(map(str, range(10)))
        assert all("detail" in reply for reply in replies[1::2])


@on_each_loop
@asynchronous
async def test_one_connection_at_its_limit_leaves_others_theirs(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates), max_concurrency=2) as app, await Client.connect(app) as client:
        for name in ("a", "b", "c"):
            client.request(url=f"/wait/{name}", id=name)
        await gates.until_started("a", "b")
        async with await Client.connect(app) as other:
            for name in ("d", "e"):
                other.request(url=f"/wait/{name}", id=name)
            await gates.until_started("d", "e")
        gates.open("a", "b", "c")
        assert {(await client.reply())["id"] for _ in range(3)} == {"a", "b", "c"}


@on_each_loop
@asynchronous
async def test_half_a_frame_behind_the_limit_is_kept(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates), max_concurrency=1) as app, await Client.connect(app) as client:
        last = frame(dump({"method": "GET", "url": "/now/b"}))
        client.request(url="/wait/a", id="a")
        client.writer.write(last[:9])
        await gates.until_started("a")
        gates.open("a")
        assert (await client.reply())["id"] == "a"
        client.writer.write(last[9:])
        assert (await client.reply())["data"] == "b"


@on_each_loop
@asynchronous
async def test_close_frame_behind_the_limit_is_seen_afterwards(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates), max_concurrency=1) as app, await Client.connect(app) as client:
        client.request(url="/wait/a", id="a")
        await gates.until_started("a")
        client.send(b"\x03\xe8", 8)
        gates.open("a")
        assert (await client.reply())["id"] == "a"
        assert (await client.receive()).close_code == 1000
        await client.eof()


# Departure


@on_each_loop
@pytest.mark.parametrize("how", ["abort", "drop", "leave"])
@asynchronous
async def test_client_that_leaves_cancels_what_runs_and_drops_what_waits(loop: str, how: str) -> None:
    gates = Gates()
    async with serving(make_router(gates)) as app:
        client = await Client.connect(app)
        client.request(url="/wait/lane")
        client.request(url="/wait/queued")
        client.request(url="/now/queued-too")
        client.request(url="/wait/a", id="a")
        client.request(url="/wait/b", id="b")
        await gates.until_started("lane", "a", "b")
        connection = connection_of(app)

        tasks = connection.tasks
        assert len(tasks) == 3
        if how == "leave":
            await client.leave()
        elif how == "drop":
            await client.drop()
        else:
            client.abort()
        await gates.until(lambda: len(gates.finished) == 3)
        assert sorted(gates.cancelled) == ["a", "b", "lane"]
        assert sorted(gates.started) == ["a", "b", "lane"]
        await asyncio.wait(tasks, timeout=5)
        assert all(task.cancelled() for task in tasks)
        async with await Client.connect(app) as other:
            assert (await other.ask(url="/now/x"))["data"] == "x"


@on_each_loop
@asynchronous
async def test_leaving_at_once_starts_nothing_that_was_never_awaited(loop: str) -> None:
    """The message and the end of the connection arrive together: the task has not begun when it is cancelled."""
    gates = Gates()
    async with serving(make_router(gates)) as app:
        for _ in range(10):
            client = await Client.connect(app)
            client.writer.write(
                b"".join(frame(dump({"method": "GET", "url": "/wait/x", "id": n})) for n in range(5))
                + frame(b"\x03\xe8", 8)
            )
            assert (await client.receive()).close_code == 1000
            await client.eof()
            await client.drop()
        await gates.until(lambda: gates.finished == gates.started)
        gc.collect()
        assert gates.cancelled == gates.started


@on_each_loop
@asynchronous
async def test_reset_during_a_pause_is_noticed_at_the_next_write(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates), max_concurrency=3) as app, await Client.connect(app) as other:
        client = await Client.connect(app)
        for name in ("a", "b", "c", "d"):
            client.request(url=f"/wait/{name}", id=name)
        await gates.until_started("a", "b", "c")
        client.reset()
        await passes(other)
        assert gates.finished == []
        gates.open("a")
        await gates.until(lambda: {"b", "c"} <= set(gates.finished))
        assert {"b", "c"} <= set(gates.cancelled)
        assert (await other.ask(url="/now/x"))["data"] == "x"


@on_each_loop
@asynchronous
async def test_departure_during_a_pause_is_noticed_when_reading_goes_on(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates), max_concurrency=3) as app, await Client.connect(app) as other:
        client = await Client.connect(app)
        for name in ("a", "b", "c"):
            client.request(url=f"/wait/{name}", id=name)
        await gates.until_started("a", "b", "c")
        await client.drop()
        await passes(other)
        assert gates.finished == []
        gates.open("a")
        await gates.until(lambda: len(gates.finished) == 3)
        assert sorted(gates.cancelled) == ["b", "c"]


@on_each_loop
@asynchronous
async def test_paused_connection_still_does_the_closing_handshake(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates), max_concurrency=2) as app:
        client = await Client.connect(app)
        client.request(url="/close-after/a", id="a")
        client.request(url="/wait/b", id="b")
        client.request(url="/wait/c", id="c")
        await gates.until_started("a", "b")
        gates.open("a")
        assert (await client.left()).close_code == 4000
        await gates.until(lambda: "b" in gates.finished)
        assert gates.cancelled == ["b"]
        assert "c" not in gates.started


@on_each_loop
@asynchronous
async def test_handler_that_ignores_its_cancellation_sends_nothing(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates)) as app, await Client.connect(app) as other:
        client = await Client.connect(app)
        client.request(url="/stubborn/a")
        client.request(url="/now/b")
        await gates.until_started("a")
        client.abort()
        await gates.until(lambda: "a" in gates.finished)
        await passes(other)
        assert "b" not in gates.started


@on_each_loop
@asynchronous
async def test_connection_is_forgotten_with_all_its_tasks(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates)) as app:
        client = await Client.connect(app)
        client.request(url="/wait/a")
        client.request(url="/wait/b", id=1)
        await gates.until_started("a", "b")
        connection = weakref.ref(connection_of(app))
        await client.leave()
        await gates.until(lambda: len(gates.finished) == 2)
        async with await Client.connect(app) as other:
            await passes(other)
            assert len(factory_of(app).connections) == 1
        await turn_over()
        gc.collect()
        assert connection() is None


# Closing from within


@on_each_loop
@asynchronous
async def test_handler_that_closes_ends_the_dispatch(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates)) as app, await Client.connect(app) as client:
        client.writer.write(
            b"".join(frame(dump({"method": "GET", "url": url})) for url in ("/now/a", "/close", "/now/b", "/wait/c"))
        )
        assert (await client.reply())["data"] == "a"
        close = await client.left()
        assert (close.close_code, close.close_reason) == (4000, "enough")
        assert gates.started == ["a", "close"]


@on_each_loop
@asynchronous
async def test_async_handler_that_closes_ends_what_is_queued(loop: str) -> None:
    gates = Gates()
    async with serving(make_router(gates)) as app, await Client.connect(app) as client:
        client.request(url="/close-after/a")
        client.request(url="/now/b")
        client.request(url="/wait/c")
        await gates.until_started("a")
        async with await Client.connect(app) as other:
            await passes(other)
        gates.open("a")
        assert (await client.left()).close_code == 4000
        assert begun(gates) == ["a"]


@on_each_loop
@asynchronous
async def test_handler_that_drops_the_connection_ends_the_dispatch(loop: str) -> None:
    gates = Gates()
    async with exchange(gates) as (client, other):
        client.writer.write(
            b"".join(frame(dump({"method": "GET", "url": url})) for url in ("/wait/w", "/now/a", "/now/b"))
        )
        client.writer.write(
            frame(dump({"method": "GET", "url": "/abort", "id": 1}))
            + frame(dump({"method": "GET", "url": "/now/c", "id": 2}))
        )
        await client.eof()
        await gates.until(lambda: "w" in gates.cancelled)
        await passes(other)
        assert set(gates.started) == {"w", "abort", "barrier"}


@on_each_loop
@asynchronous
async def test_push_and_replies_share_the_connection(loop: str) -> None:
    router = SimpleRouter()

    @endpoint("/push", "GET")
    async def push(request: Any) -> str:
        request.connection.send_event("topic", {"n": 1})
        await asyncio.sleep(0)
        request.connection.send_event(["any", "name"])
        return "done"

    router.register_endpoint(push)
    async with serving(router) as app, await Client.connect(app) as client:
        client.request(url="/push", id=1)
        frames = [await client.receive() for _ in range(3)]
        assert [f.payload for f in frames] == [
            b'{"event_name":"topic","data":{"n":1}}',
            b'{"event_name":["any","name"],"data":null}',
            b'{"id":1,"status":200,"data":"done"}',
        ]
        assert {f.opcode for f in frames} == {TEXT}
