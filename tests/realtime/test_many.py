"""Very many: a write that changes them all, guards of them all, all coming back at once; counted, not timed."""

import asyncio
import json
import sys
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest

from aiorest_ws import Application, HTTPError, Live, Request, SimpleRouter
from aiorest_ws.realtime.brokers.memory import MemoryBroker
from aiorest_ws.realtime.crowds import Crowd
from aiorest_ws.realtime.runs import Runs
from aiorest_ws.testing import AsyncTestClient
from tests.kit.far import FarBroker
from tests.kit.live import message, nothing_more, pushed, rest, subscribed
from tests.serving import asynchronous, turn_over

MANY = 300  # a few times as many as are seen to at once


class Own:
    """A state of which everybody has one of their own, for each `n`."""

    def __init__(self) -> None:
        self.value = 0
        self.refused: set[int] = set()
        self.runs: Counter[int] = Counter()
        self.router = SimpleRouter()

        @self.router.get("/own", live=Live(interval=0.0))
        def own(request: Request, n: int) -> list[int]:
            if n in self.refused:
                raise HTTPError(403, "not you")
            self.runs[n] += 1
            return [n, self.value]

        self.app = Application(self.router, max_subscriptions=None)

    async def subscribed(self, client: AsyncTestClient) -> None:
        for n in range(MANY):
            await subscribed(client, "/own", args={"n": n})
        self.runs.clear()


class Told:
    """What a crowd was asked to do."""

    def __init__(self) -> None:
        self.order: list[int] = []
        loop = asyncio.get_running_loop()
        self.runs = Runs(loop, None, 64, 1)  # type: ignore[arg-type]  # nothing comes later here
        self.crowd = Crowd(self.runs, self.order.append)

    async def all(self) -> list[int]:
        while not self.runs.is_quiet:
            await turn_over(1)
        return self.order


@asynchronous
async def test_a_few_are_seen_to_at_once_and_the_others_in_their_order() -> None:
    told = Told()
    told.crowd.add(range(MANY))
    at_once = len(told.order)
    assert 0 < at_once < MANY / 2
    told.crowd.add([MANY])
    assert told.order == [*range(at_once), MANY]
    assert await told.all() == [*range(at_once), MANY, *range(at_once, MANY)]


@asynchronous
async def test_who_comes_again_while_it_waits_is_seen_to_once_and_loses_no_place() -> None:
    told = Told()
    for _ in range(3):
        told.crowd.add(range(MANY))
    at_once = len(told.order) // 3
    assert await told.all() == [*range(at_once)] * 3 + [*range(at_once, MANY)]


@asynchronous
async def test_who_is_forgotten_is_seen_to_no_more() -> None:
    told = Told()
    told.crowd.add(range(MANY))
    told.crowd.forget(MANY - 1)
    told.crowd.forget(MANY - 1)
    assert await told.all() == [*range(MANY - 1)]


@asynchronous
async def test_whoever_is_forgotten_while_others_are_seen_to_is_not_seen_to() -> None:
    told = Told()

    def see_to(each: int) -> None:
        told.order.append(each)
        crowd.forget(each + 1)

    crowd = Crowd(told.runs, see_to)
    crowd.add(range(MANY))
    at_once = len(told.order)
    assert await told.all() == [*range(at_once), *range(at_once + 1, MANY, 2)]


@asynchronous
async def test_a_write_that_changes_very_many_puts_few_of_them_in_line_in_its_own_turn() -> None:
    own = Own()
    async with AsyncTestClient(own.app) as client:
        await own.subscribed(client)
        node = own.app.live._node
        assert node is not None
        own.value = 1
        own.app.live.changed("/own")
        in_line = sum(map(len, node.runs._queues.values()))
        assert 0 < in_line < MANY / 2
        own.value = 2
        own.app.live.changed("/own")  # while most of them wait
        told = [message(await client.receive()) for _ in range(MANY)]
        assert sorted(push["data"] for push in told) == [[n, 2] for n in range(MANY)]
        assert set(own.runs.values()) == {1}
        await nothing_more(client)


@asynchronous
async def test_who_leaves_before_it_is_seen_to_runs_no_more() -> None:
    own = Own()
    async with AsyncTestClient(own.app) as client, client.connect() as other:
        await own.subscribed(other)
        await subscribed(client, "/own", args={"n": -1})
        own.runs.clear()
        node = own.app.live._node
        assert node is not None
        own.app.live.changed("/own")
        for private in [each for each in node.places["/own"].private if each.name != '/own?{"n":-1}']:
            private.subscription.end(409, "gone")
        assert await pushed(client) == (1, ...)
        await rest(client, 20)
        assert own.runs == {-1: 1}
        assert node.runs.is_quiet


@asynchronous
async def test_nobody_of_very_many_is_sent_anything_before_its_guards_were_asked() -> None:
    own = Own()
    async with AsyncTestClient(own.app) as client:
        await own.subscribed(client)
        own.refused = set(range(0, MANY, 2))
        own.value = 1
        own.app.live.changed("/own")
        own.app.live.recheck("/own")
        got = [message(await client.receive()) for _ in range(MANY)]
        refused = [int(end["event_name"].split(":")[1].rstrip("}")) for end in got if "status" in end]
        assert {end["status"] for end in got if "status" in end} == {403}
        assert sorted(refused) == sorted(own.refused)
        assert sorted(push["data"] for push in got if "data" in push) == [[n, 1] for n in range(1, MANY, 2)]


class Behind:
    """A log and a shared state behind a door that counts, and may refuse."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.refused: set[int] = set()
        self.router = SimpleRouter()
        shared: dict[str, Any] = {"shared": True, "interval": 3600.0}

        @self.router.get("/log", live=Live(mode="log", history=10, **shared), middlewares=[self])
        def log(request: Request) -> list[int]:
            self.calls["log"] += 1
            return []

        @self.router.get("/state", live=Live(**shared), middlewares=[self])
        async def state(request: Request) -> int:
            self.calls["state"] += 1
            await asyncio.sleep(0)
            return 1

        self.app = Application(self.router)

    def process_request(self, request: Any, handler: Any) -> None:
        self.calls["guards"] += 1
        if request.get_extra("who") in self.refused:
            raise HTTPError(403, "not you")


@asynchronous
async def test_guards_of_very_many_who_share_a_topic_are_asked_before_it_is_told() -> None:
    behind = Behind()
    async with AsyncTestClient(behind.app) as client, AsyncExitStack() as stack:
        others = [await stack.enter_async_context(client.connect()) for _ in range(MANY)]
        for number, other in enumerate(others):
            await subscribed(other, "/log", who=number)
        behind.refused = set(range(1, MANY, 2))
        behind.app.live.recheck("/log")
        behind.app.live.publish("/log", "new")
        for number, other in enumerate(others):
            got = message(await other.receive())
            assert got.get("status" if number % 2 else "data") == (403 if number % 2 else "new")
            assert ("status" in got) == (number in behind.refused)


@pytest.mark.parametrize("path", ["/log", "/state"])
@asynchronous
async def test_all_who_come_back_at_once_cost_no_call_of_a_log_and_one_run_of_a_state(path: str) -> None:
    behind = Behind()
    name = path[1:]
    async with AsyncTestClient(behind.app) as client, AsyncExitStack() as stack:
        others = [await stack.enter_async_context(client.connect()) for _ in range(MANY)]
        if name == "log":
            await subscribed(client, path)
            await behind.app.live.publish(path, 1)
            since = await behind.app.live.publish(path, 2)
            await behind.app.live.publish(path, 3)
        else:
            since = (await subscribed(client, path))["version"]
            await client.request("UNSUBSCRIBE", path)  # nobody has it now
        behind.calls.clear()
        ask = json.dumps({"method": "SUBSCRIBE", "url": path, "since": since, "id": 1})
        for other in others:
            await other.send(ask)
        replies = [message(await other.receive()) for other in others]
        assert {reply["status"] for reply in replies} == ({206} if name == "log" else {304})
        assert behind.calls == {"guards": MANY} | ({} if name == "log" else {"state": 1})


async def _calls_of_one_change(topics: int, shared: bool) -> Counter[str]:
    """Give the calls that one `changed` makes, up to its push, while `topics` urls are subscribed to."""
    router = SimpleRouter()
    value = 0

    @router.get("/orders/{id:int}", live=Live(shared=shared, interval=0.0))
    def order(request: Request, id: int) -> int:  # noqa: A002
        return value

    app = Application(router, max_subscriptions=None)
    async with AsyncTestClient(app) as client:
        for number in range(topics):
            await subscribed(client, f"/orders/{number}")

        async def one_change() -> None:
            nonlocal value
            value += 1
            app.live.changed("/orders/7")
            assert (await pushed(client))[1] == value

        calls: Counter[str] = Counter()

        def count(frame: Any, event: str, _: Any) -> None:
            if event == "call" and "realtime" in frame.f_code.co_filename:
                calls[frame.f_code.co_qualname] += 1

        await one_change()  # what is done once
        profiled = sys.getprofile()
        sys.setprofile(count)
        try:
            await one_change()
        finally:
            sys.setprofile(profiled)
        return calls


@pytest.mark.parametrize("shared", [False, True])
@asynchronous
async def test_a_change_costs_the_same_however_many_other_topics_there_are(shared: bool) -> None:
    few, many = [await _calls_of_one_change(topics, shared) for topics in (10, 1000)]
    assert few["Place.on_changed"] == 1
    assert many == few


@asynchronous
async def test_very_many_that_lose_a_log_end_a_few_at_a_time_and_none_gets_what_is_behind_the_gap() -> None:
    router = SimpleRouter()

    @router.get("/log", live=Live(mode="log", shared=True, interval=0.0))
    def log(request: Request) -> list[int]:
        return []

    far = FarBroker()
    app = Application(router, broker=far)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncTestClient(app))
        clients = [first, *[await stack.enter_async_context(first.connect()) for _ in range(MANY - 1)]]
        for client in clients:
            await subscribed(client, "/log")
        node = app.live._node
        assert node is not None
        topic = node.places["/log"].topics["/log"]
        far.memory = MemoryBroker()  # all of it is lost
        node.on_return("/log", far.memory.subscribe("/log", far._desk(node)))
        assert MANY / 2 < len(topic.subscribers) < MANY
        await app.live.publish("/log", 1)
        for client in clients:
            assert message(await client.receive())["status"] == 409
        await nothing_more(first)
        assert app.live.topics() == []
