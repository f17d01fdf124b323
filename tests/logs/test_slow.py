"""With `debug`, a handler that blocks the event loop is logged with its route, once for each time that it does."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import pytest

from aiorest_ws import Application, Live, MethodBasedView, SimpleRouter, endpoint
from aiorest_ws.logs import slow as stopwatch
from aiorest_ws.testing import AsyncTestClient
from aiorest_ws.wrappers import Request
from tests.serving import LOOPS, Client, asynchronous, serving


@dataclass
class Clock:
    """Stands still but for what handlers take."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stopwatch, "perf_counter", clock)
    return clock


def make_router(clock: Clock) -> SimpleRouter:
    class Blocks(MethodBasedView):
        def get(self, request: Request, name: str) -> str:
            clock.now += 1.0
            return name

    @endpoint("/awaits/{name}", "GET")
    async def awaits(request: Request, name: str) -> str:
        clock.now += 2.0
        await asyncio.sleep(0)
        clock.now += 0.05
        await asyncio.sleep(0)
        clock.now += 3.0
        return name

    @endpoint("/waits", "GET")
    async def waits(request: Request) -> str:
        for _ in range(100):
            clock.now += 0.09
            await asyncio.sleep(0)
        return "done"

    @endpoint("/fails", "GET")
    async def fails(request: Request) -> None:
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.001)
        except TimeoutError:
            clock.now += 4.0
            raise KeyError("secret") from None

    @endpoint("/cancels", "GET")
    async def cancels(request: Request) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    router = SimpleRouter()
    router.register("/blocks/{name}", Blocks, "GET")
    for handler in (awaits, waits, fails, cancels):
        router.register_endpoint(handler)
    return router


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


on_each_loop = pytest.mark.parametrize("loop", LOOPS)


@pytest.mark.parametrize("rest", [{}, {"id": 1}], ids=["in-order", "with-id"])
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/blocks/ada", ["'GET' '/blocks/{name}/' blocked the event loop for 1.00 s"]),
        (
            "/awaits/ada",
            [
                "'GET' '/awaits/{name}/' blocked the event loop for 2.00 s",
                "'GET' '/awaits/{name}/' blocked the event loop for 3.00 s",
            ],
        ),
        ("/waits", []),
        ("/fails", ["'GET' '/fails/' blocked the event loop for 4.00 s"]),
    ],
)
@on_each_loop
def test_handler_that_blocks_is_logged_with_its_route(
    loop: str, url: str, expected: list[str], rest: dict[str, Any], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    @asynchronous
    async def test(*, loop: str) -> None:
        async with serving(make_router(clock), debug=True) as app, await Client.connect(app) as client:
            reply = await client.ask("GET", url, **rest)
            assert ("KeyError" in reply["detail"]) if url == "/fails" else (reply["data"] in ("ada", "done"))
            await client.leave()

    test(loop=loop)
    assert warnings(caplog) == expected


@on_each_loop
def test_handler_that_cancels_itself_is_answered_while_watched(
    loop: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    @asynchronous
    async def test(*, loop: str) -> None:
        async with serving(make_router(clock), debug=True) as app, await Client.connect(app) as client:
            assert (await client.ask("GET", "/cancels"))["detail"] == "A server error occurred."
            assert (await client.ask("GET", "/waits"))["data"] == "done"
            await client.leave()

    test(loop=loop)
    assert warnings(caplog) == []


def test_nothing_is_watched_without_debug(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    @asynchronous
    async def test() -> None:
        async with serving(make_router(clock)) as app, await Client.connect(app) as client:
            assert (await client.ask("GET", "/blocks/ada"))["data"] == "ada"
            await client.leave()

    test()
    assert warnings(caplog) == []


def test_client_that_leaves_cancels_a_watched_handler(clock: Clock) -> None:
    @asynchronous
    async def test() -> None:
        began, ended = asyncio.Event(), asyncio.Event()

        @endpoint("/forever", "GET")
        async def forever(request: Request) -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        router = SimpleRouter()
        router.register_endpoint(forever)
        async with serving(router, debug=True) as app, await Client.connect(app) as client:
            client.request("GET", "/forever")
            await began.wait()
            client.abort()
            await ended.wait()

    test()


@pytest.mark.parametrize("shared", [False, True])
@asynchronous
async def test_runs_for_subscriptions_are_watched_too(
    shared: bool, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    router = SimpleRouter()

    @router.get("/blocks", live=Live(shared=shared, interval=0))
    def blocks(request: Request) -> float:
        clock.now += 1.0
        return clock.now

    @router.get("/awaits", live=Live(shared=shared, interval=0))
    async def awaits(request: Request) -> float:
        await asyncio.sleep(0)
        clock.now += 2.0
        return clock.now

    app = Application(router=router, debug=True)
    async with AsyncTestClient(app) as client:
        for url, seconds in (("/blocks", 1), ("/awaits", 2)):
            assert (await client.get(url)).ok
            told = f"'GET' '{url}/' blocked the event loop for {seconds}.00 s"
            assert warnings(caplog) == [told]
            async with client.subscribe(url) as subscription:
                app.live.changed(url)
                await subscription.receive()
            assert warnings(caplog) == [told] * 3
            caplog.clear()
