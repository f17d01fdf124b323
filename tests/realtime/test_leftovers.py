"""What a message of subscriptions leaves to the garbage collector: nothing, so that it need not come."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest

from aiorest_ws import Application, Depends, Live, Request, SimpleRouter
from aiorest_ws.testing import AsyncTestClient
from tests.kit.live import nothing_more, pushed, rest
from tests.serving import asynchronous

TIMES = 5


def make_app() -> Application:
    router = SimpleRouter()
    values = [0]

    @router.get("/log", live=Live(mode="log", shared=True, interval=0.0))
    def log(request: Request) -> list[int]:
        return values

    @router.get("/state", live=Live(shared=True, interval=0.0))
    def state(request: Request) -> int:
        return values[0]

    @router.get("/slow", live=Live(shared=True, interval=0.0))
    async def slow(request: Request) -> int:
        await asyncio.sleep(0)
        return values[0]

    @router.get("/stuck", live=Live(shared=True))
    async def stuck(request: Request) -> None:
        await asyncio.Event().wait()

    @router.get("/own", live=Live(interval=0.0))
    def own(request: Request) -> int:
        return values[0]

    @router.put("/own", changes=["/own", "/state"])
    def write(request: Request) -> None:
        values[0] += 1

    def in_thread() -> int:
        return 1

    @router.put("/slow", changes=["/slow"])
    async def write_slowly(request: Request, one: Annotated[int, Depends(in_thread)]) -> None:
        await asyncio.sleep(0)
        values[0] += one

    @router.post("/own")
    def name(request: Request) -> None:
        request.changed("/own")

    return Application(router)


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Fail if the block leaves anything of ours that only the collector would find."""
    gc.collect()
    gc.disable()
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        kinds = [f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage]
        gc.garbage.clear()
    finally:
        gc.set_debug(0)
        gc.enable()
    assert [kind for kind in kinds if kind.startswith("aiorest_ws.") and ".testing." not in kind] == []


async def again_and_again(client: AsyncTestClient, url: str, *verbs: str) -> None:
    """Ask again and again; the first time counts for nothing: what is kept is made then."""
    for verb in verbs:
        await client.request(verb, url)
    async with nothing_left():
        for _ in range(TIMES):
            for verb in verbs:
                await client.request(verb, url)
            await rest(client)
            client.events()


@pytest.mark.parametrize("url", ["/log", "/state", "/slow", "/own"])
@pytest.mark.parametrize("verbs", [("GET",), ("SUBSCRIBE", "UNSUBSCRIBE"), ("SUBSCRIBE",), ("UNSUBSCRIBE",), ("PING",)])
@asynchronous
async def test_what_clients_ask_leaves_nothing(url: str, verbs: tuple[str, ...]) -> None:
    async with AsyncTestClient(make_app()) as client:
        await again_and_again(client, url, *verbs)


@pytest.mark.parametrize(("verb", "url"), [("PUT", "/own"), ("PUT", "/slow"), ("POST", "/own")])
@asynchronous
async def test_what_a_write_and_its_runs_leave_is_nothing(verb: str, url: str) -> None:
    async with AsyncTestClient(make_app()) as client:
        for each in ("/state", "/slow", "/own"):
            await client.request("SUBSCRIBE", each)
        await again_and_again(client, url, verb)


@asynchronous
async def test_what_is_cancelled_leaves_nothing() -> None:
    async with AsyncTestClient(make_app()) as client:
        both = '{"method":"SUBSCRIBE","url":"/stuck","id":"in"}', '{"method":"UNSUBSCRIBE","url":"/stuck","id":"out"}'
        async with nothing_left():
            for _ in range(TIMES):
                for message in both:
                    await client.send(message)
            await rest(client)
            replies: list[Any] = [await client.receive() for _ in range(2 * TIMES)]
            assert sum('"status":409' in reply for reply in replies) == TIMES, replies


@asynchronous
async def test_what_is_published_leaves_nothing() -> None:
    async with AsyncTestClient(make_app()) as client:
        await client.request("SUBSCRIBE", "/log")
        client.app.live.publish("/log", 0)
        assert (await pushed(client))[1] == 0
        async with nothing_left():
            for number in range(TIMES):
                client.app.live.publish("/log", number)
                assert (await pushed(client))[1] == number
        await nothing_more(client)
