"""Clients that do not read: nothing is kept for them but where they are, nobody waits, they learn what they missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aiorest_ws import Application, Live, Request, SimpleRouter
from aiorest_ws.testing import AsyncTestClient
from tests.serving import LOOPS, Client, asynchronous, connection_of, serving, turn_over, until

LOG, SHARED, OWN = "/log", "/shared", "/own"


class Board:
    """A log, and two states; how often their handlers were called."""

    def __init__(self, **live: Any) -> None:
        self.router = SimpleRouter()
        self.value = 0
        self.runs = {SHARED: 0, OWN: 0}

        @self.router.get(LOG, live=Live(mode="log", shared=True, **live))
        def log(request: Request) -> list[Any]:
            return []

        @self.router.get(SHARED, live=Live(shared=True, interval=0.0))
        def shared(request: Request) -> int:
            self.runs[SHARED] += 1
            return self.value

        @self.router.get(OWN, live=Live(interval=0.0))
        def own(request: Request) -> int:
            self.runs[OWN] += 1
            return self.value

        self.app = Application(self.router)

    def publish(self, *values: Any) -> None:
        for value in values:
            self.app.live.publish(LOG, value)

    async def write(self, client: AsyncTestClient, *values: int) -> None:
        for self.value in values:
            self.app.live.changed(SHARED)
            self.app.live.changed(OWN)
            await client.advance()


@asynccontextmanager
async def two(board: Board) -> AsyncIterator[tuple[AsyncTestClient, AsyncTestClient]]:
    """Give a client that reads, and one that is to read no more."""
    async with AsyncTestClient(board.app) as reads, reads.connect() as slow:
        yield reads, slow


def data(subscription: Any) -> list[Any]:
    return [push.data for push in subscription.pushes()]


def held_for(client: AsyncTestClient) -> int:
    """Give the bytes that the server holds for `client`."""
    return client.connection._gathered()


@asynchronous
async def test_nothing_is_written_for_who_does_not_read_and_all_of_it_comes_later() -> None:
    board = Board()
    async with two(board) as (reads, slow):
        logs = [await client.subscribe(LOG) for client in (reads, slow)]
        board.publish(0)
        await reads.advance()
        slow.connection.pause_writing()
        held = held_for(slow)
        for number in range(1, 50):
            board.publish(number)
            await turn_over()
        await reads.advance()
        assert held_for(slow) == held
        assert [data(log) for log in logs] == [list(range(50)), [0]]
        slow.connection.resume_writing()
        board.publish(50)
        await reads.advance()
        assert [data(log) for log in logs] == [[50], list(range(1, 51))]


@asynchronous
async def test_who_falls_out_of_what_is_kept_is_ended_and_sent_no_more_of_it() -> None:
    board = Board(history=2, history_bytes=4000)
    async with two(board) as (reads, slow):
        logs = [await client.subscribe(LOG) for client in (reads, slow)]
        slow.connection.pause_writing()
        items = ["x" * 500, *range(40)]
        board.publish(*items)
        await reads.advance()
        slow.connection.resume_writing()
        end = await logs[1].wait_ended()
        assert (end.status, "too far behind" in str(end.detail)) == (409, True)
        assert end.retry is not None
        assert end.retry > 0
        board.publish("last")
        await reads.advance()
        assert data(logs[1]) == []
        assert data(logs[0]) == [*items, "last"]
        assert slow.connection.subscriptions == ()
        again = await slow.subscribe(LOG, since=logs[1].version)
        assert again.reply.status == 200


@asynchronous
async def test_how_far_a_resume_reaches_bounds_nobody_who_is_there() -> None:
    board = Board(history=1, history_seconds=1.0)
    async with two(board) as (reads, slow):
        log = await slow.subscribe(LOG)
        slow.connection.pause_writing()
        board.publish(*range(9))
        await reads.advance(60)
        board.publish(9)
        slow.connection.resume_writing()
        await reads.advance()
        assert data(log) == list(range(10))


@asynchronous
async def test_what_was_told_before_its_turn_is_kept_for_who_is_behind() -> None:
    """So much at once is told as it comes, and at the end of the turn there is nothing left to tell."""
    board = Board(history=1)
    async with two(board) as (reads, slow):
        logs = [await client.subscribe(LOG) for client in (reads, slow)]
        slow.connection.pause_writing()
        items = [number * "x" for number in range(40_000, 40_004)]
        board.publish(*items)
        await reads.advance()
        slow.connection.resume_writing()
        await slow.advance()
        assert [data(log) for log in logs] == [items, items]


@asynchronous
async def test_the_newest_item_stays_however_large_it_is() -> None:
    board = Board(history_bytes=1000)
    async with two(board) as (reads, slow):
        log = await slow.subscribe(LOG)
        slow.connection.pause_writing()
        board.publish("x" * 5000)
        await reads.advance()
        slow.connection.resume_writing()
        await reads.advance()
        assert data(log) == ["x" * 5000]


@pytest.mark.parametrize("size", [10, 3000, 70_000])
@asynchronous
async def test_whoever_reads_is_sent_a_burst_before_any_of_it_is_put_out(size: int) -> None:
    board = Board(history_bytes=2000)
    async with two(board) as (reads, slow):
        logs = [await client.subscribe(LOG) for client in (reads, slow)]
        slow.connection.pause_writing()
        items = [f"{number}:{'x' * size}" for number in range(60)]
        board.publish(*items)  # in one turn of the loop
        await reads.advance()
        assert data(logs[0]) == items
        slow.connection.resume_writing()
        assert (await logs[1].wait_ended()).status == 409


@asynchronous
async def test_of_a_state_the_last_value_counts() -> None:
    board = Board()
    async with two(board) as (reads, slow):
        states = [await client.subscribe(url) for client in (reads, slow) for url in (SHARED, OWN)]
        slow.connection.pause_writing()
        held, own_runs = held_for(slow), board.runs[OWN]
        await board.write(reads, 1, 2, 3)
        assert held_for(slow) == held
        assert board.runs[OWN] == own_runs + 3  # those of the other one
        assert [data(state) for state in states] == [[1, 2, 3], [1, 2, 3], [], []]
        slow.connection.resume_writing()
        await reads.advance(1)
        assert [data(state) for state in states] == [[], [], [3], [3]]
        assert board.runs[OWN] == own_runs + 4


@asynchronous
async def test_what_was_not_sent_is_taken_back_with_the_subscription() -> None:
    board = Board()
    async with two(board) as (reads, slow):
        for url in (LOG, SHARED, OWN):
            await slow.subscribe(url)
        slow.connection.pause_writing()
        board.publish(1)
        await board.write(reads, 1)
        slow.connection.dropConnection(abort=True)
        await slow.wait_closed()
        board.publish(2)
        await board.write(reads, 2)
        assert board.app.live.topics() == []


@asynchronous
async def test_one_that_lags_by_turns_gets_each_item_once() -> None:
    board = Board(history_bytes=3000)
    async with two(board) as (reads, slow):
        logs = [await client.subscribe(LOG) for client in (reads, slow)]
        for number in range(0, 90, 3):
            slow.connection.pause_writing()
            board.publish(number, number + 1)
            await turn_over(number % 4)
            slow.connection.resume_writing()
            board.publish(number + 2)
            await turn_over(number % 3)
        await reads.advance()
        assert [data(log) for log in logs] == [list(range(90))] * 2


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_over_a_socket_no_more_waits_than_the_transport_takes(loop: str) -> None:
    board = Board(history_bytes=100_000)
    async with serving(board.router, send_timeout=None) as app, await Client.connect(app) as slow:
        await slow.ask("SUBSCRIBE", LOG, id=1)
        connection = connection_of(app)
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with await Client.connect(app) as reads:
            await reads.ask("SUBSCRIBE", LOG, id=1)
            for number in range(4000):
                app.live.publish(LOG, [number, "x" * 4000])
                assert (await reads.reply())["data"][0] == number
                if not connection.subscriptions:
                    break
            assert connection._waiting() + connection._gathered() < 400_000
            assert number > 20
            slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
            got = []
            while "status" not in (message := await slow.reply()):
                got.append(message["data"][0])
            assert got == list(range(len(got)))
            assert (message["status"], len(got) <= number) == (409, True)
            app.live.publish(LOG, "behind the end")
            assert (await reads.reply())["data"] == "behind the end"
            assert await slow.ask("PING", "/", id=2) == {"id": 2, "status": 200, "data": None}


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_who_takes_nothing_at_all_falls_to_send_timeout(loop: str) -> None:
    closed = asyncio.get_running_loop().create_future()

    async def on_disconnect(connection: Any, code: int, reason: str) -> None:
        closed.set_result((code, connection.subscriptions))

    board = Board()
    options = {"send_timeout": 0.05, "on_disconnect": on_disconnect}
    async with serving(board.router, **options) as app, await Client.connect(app) as slow:
        await slow.ask("SUBSCRIBE", LOG, id=1)
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]

        def publish() -> bool:
            app.live.publish(LOG, "x" * 100_000)
            return closed.done()

        await until(publish)
        assert await closed == (1008, ())
        slow.abort()


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_who_subscribes_is_not_idle(loop: str) -> None:
    board = Board()
    async with (
        serving(board.router, idle_timeout=0.15) as app,
        await Client.connect(app) as waits,
        await Client.connect(app) as idle,
    ):
        await waits.ask("SUBSCRIBE", SHARED, id=1)
        assert (await idle.left()).close_code == 1001
        assert (await waits.ask("UNSUBSCRIBE", SHARED, id=2))["status"] == 200
        assert (await waits.left()).close_code == 1001
