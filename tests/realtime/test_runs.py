"""Runs by themselves: how many at once, whose turn it is, and that requests have theirs."""

import asyncio
import json
import threading
from typing import Any

import pytest

from aiorest_ws import Application, Live, Request, SimpleRouter
from aiorest_ws.testing import AsyncTestClient
from tests.kit.live import message, pushed, rest, subscribed
from tests.serving import asynchronous


class Gated:
    """States of many urls; once `is_closed`, each run waits until it is let go on."""

    def __init__(self, **options: Any) -> None:
        self.is_closed = False
        self.entered: list[int] = []
        self.doors: dict[int, asyncio.Future[None]] = {}
        router = SimpleRouter()

        @router.get("/own/{id:int}", live=Live(interval=0.0))
        async def own(request: Request, id: int) -> int:  # noqa: A002
            if self.is_closed:
                self.entered.append(id)
                self.doors[id] = asyncio.get_running_loop().create_future()
                await self.doors[id]
            return len(self.entered)

        self.app = Application(router, **options)

    def change(self, *numbers: int) -> None:
        for number in numbers:
            self.app.live.changed(f"/own/{number}")


@asynchronous
async def test_so_many_run_at_once_and_connections_have_turns() -> None:
    gated = Gated(max_live_runs=2)
    async with AsyncTestClient(gated.app) as one, one.connect() as two:
        for number in (1, 2, 3, 4):
            await subscribed(one, f"/own/{number}")
        for number in (11, 12):
            await subscribed(two, f"/own/{number}")
        gated.is_closed = True
        gated.change(1, 2, 3, 4, 11, 12)
        for number, entered in ((1, [1, 11]), (2, [1, 11, 2]), (11, [1, 11, 2, 12])):
            await rest(one)
            assert gated.entered[: len(entered)] == entered
            gated.doors[number if number in gated.doors else entered[-1]].set_result(None)
        while gated.doors:
            for number in list(gated.doors):
                door = gated.doors.pop(number)
                if not door.done():
                    door.set_result(None)
            await rest(one)
        assert sorted(gated.entered) == [1, 2, 3, 4, 11, 12]
        assert gated.entered[:4] == [1, 11, 2, 12]


@asynchronous
async def test_requests_have_their_turn_between_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    ahead = 0.0
    router = SimpleRouter()

    @router.get("/own/{id:int}", live=Live(interval=0.0))
    def dear(request: Request, id: int) -> int:  # noqa: A002
        nonlocal ahead
        order.append("run")
        ahead += 0.003  # seconds that it takes
        return len(order)

    @router.get("/other")
    def other(request: Request) -> None:
        order.append("request")

    app = Application(router)
    async with AsyncTestClient(app) as client, client.connect() as busy:
        loop = asyncio.get_running_loop()
        now = loop.time
        monkeypatch.setattr(loop, "time", lambda: now() + ahead)
        for number in range(8):
            await subscribed(busy, f"/own/{number}")
        order.clear()
        for number in range(8):
            app.live.changed(f"/own/{number}")
        for _ in range(8):
            await client.get("/other")
        assert order.count("run") == 8
        assert "run run run" not in " ".join(order)  # two fill a slice


@pytest.mark.parametrize("shared", [False, True], ids=["private", "shared"])
@asynchronous
async def test_runs_take_half_of_the_threads_and_none_is_forgotten(shared: bool) -> None:
    """One that was unsubscribed while it waited for a thread lets the next have it."""
    is_in: asyncio.Queue[int] = asyncio.Queue()
    may_go = threading.Semaphore(0)
    router = SimpleRouter()
    is_closed = False

    @router.get("/own/{id:int}", live=Live(interval=0.0, shared=shared), threaded=True)
    def blocking(request: Request, id: int) -> int:  # noqa: A002
        if is_closed:
            loop.call_soon_threadsafe(is_in.put_nowait, id)
            assert may_go.acquire(timeout=5)
        return int(is_closed)

    @router.get("/other", threaded=True)
    def other(request: Request) -> str:
        return "at once"

    app = Application(router, threads=2)
    loop = asyncio.get_running_loop()
    async with AsyncTestClient(app) as client:
        for number in range(4):
            await subscribed(client, f"/own/{number}")
        is_closed = True
        for number in range(4):
            app.live.changed(f"/own/{number}")
        assert await is_in.get() == 0
        assert (await client.get("/other")).data == "at once"
        await client.request("UNSUBSCRIBE", "/own/1")
        may_go.release()
        assert message(await client.receive())["event_name"] == "/own/0"
        assert await is_in.get() == 2
        may_go.release(2)
        assert {message(await client.receive())["event_name"] for _ in range(2)} == {"/own/2", "/own/3"}


@asynchronous
async def test_a_run_is_none_of_the_rate_and_none_of_the_lane() -> None:
    router = SimpleRouter()
    may_go = asyncio.Event()

    @router.get("/x", live=Live(interval=0.0))
    def x(request: Request) -> list[int]:
        runs.append(1)
        return list(runs)

    @router.get("/slow")
    async def slow(request: Request) -> None:
        await may_go.wait()

    runs: list[int] = []
    app = Application(router, requests_per_second=1, burst=2)
    async with AsyncTestClient(app) as client:
        await subscribed(client, "/x")
        await client.send(json.dumps({"method": "GET", "url": "/slow"}))  # the lane is taken
        for number in range(1, 6):
            app.live.changed("/x")
            assert await pushed(client) == (number, [1] * (number + 1))
        may_go.set()
        assert message(await client.receive()) == {"data": None, "event_name": None}
