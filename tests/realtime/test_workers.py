"""Applications in several workers, joined by a hub: subscribers see what they would see in one."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import pytest

from aiorest_ws import Application, Live, Request, SimpleRouter
from aiorest_ws.exceptions import BrokerUnavailable
from aiorest_ws.realtime.brokers.hub import HubBroker
from aiorest_ws.testing import AsyncTestClient, SubscriptionEnded
from tests.kit.brokers import HubKit, Line
from tests.kit.live import message, rest
from tests.serving import asynchronous

LOG, SHARED, OWN = "/log", "/shared", "/own"


class Data:
    """What the handlers of all workers look at."""

    def __init__(self) -> None:
        self.value = 0
        self.log: list[Any] = []


class Worker:
    """One worker, with a client."""

    def __init__(self, broker: HubBroker, line: Line, data: Data, history: int) -> None:
        self.broker, self.line = broker, line
        self.runs = 0
        router = SimpleRouter()
        live = Live(mode="log", shared=True, interval=0.0, history=history, presence=self.member)

        @router.get(LOG, live=live)
        def log(request: Request) -> list[Any]:
            self.runs += 1
            return data.log

        @router.get(SHARED, live=Live(shared=True, interval=0.0))
        def shared(request: Request) -> int:
            self.runs += 1
            return data.value

        @router.get(OWN, live=Live(interval=0.0))
        def own(request: Request) -> int:
            return data.value

        @router.put(SHARED, changes=[SHARED, OWN])
        def put(request: Request) -> None:
            data.value = request.data

        self.app = Application(router, broker=broker)
        self.client = AsyncTestClient(self.app)

    @staticmethod
    def member(request: Request) -> dict[str, Any]:
        return {"id": request.args["name"] if request.args else "anybody"}

    async def publish(self, *values: Any) -> None:
        for value in values:
            await self.app.live.publish(LOG, value)


class Workers(HubKit):
    """A hub, and workers that are made when they are asked for."""

    def __init__(self, history: int = 5) -> None:
        super().__init__()
        self.data = Data()
        self.history_items = history
        self.workers: list[Worker] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for worker in self.workers:
            worker.line.let_go()
            await worker.client.__aexit__(None, None, None)
        await super().__aexit__(*exc_info)

    async def new(self) -> Worker:
        broker, line = await self.far_worker(len(self.workers))
        self.workers.append(Worker(broker, line, self.data, self.history_items))
        await self.workers[-1].client.__aenter__()
        return self.workers[-1]

    async def end(self, worker: Worker) -> None:
        self.workers.remove(worker)
        await worker.client.__aexit__(None, None, None)

    async def rest(self, seconds: float = 0.0) -> None:
        for _ in range(2):
            for worker in self.workers:
                await self.settle(worker.broker)
                await rest(worker.client)
                await worker.client.advance(seconds)


def data(subscription: Any) -> list[Any]:
    return [push.data for push in subscription.pushes()]


@asynchronous
async def test_what_one_worker_says_the_subscribers_of_all_see_under_the_same_version() -> None:
    async with Workers() as kit:
        one, two = await kit.new(), await kit.new()
        seen = [await worker.client.subscribe(url) for url in (LOG, SHARED, OWN) for worker in (one, two)]
        await one.publish(1, 2)
        await two.publish(3)
        kit.data.value = 7
        version = await two.app.live.changed(SHARED)
        await one.app.live.changed(OWN)
        await kit.rest()
        pushes = [each.pushes() for each in seen]
        assert [[push.data for push in each] for each in pushes] == [[1, 2, 3]] * 2 + [[7]] * 4
        assert [push.version for push in pushes[0]] == [push.version for push in pushes[1]]
        assert pushes[2][0].version == pushes[3][0].version
        assert version is not None
        assert (pushes[2][0].version or "").startswith(version)


@asynchronous
async def test_a_write_on_one_worker_says_what_was_changed_by_it_and_comes_back_under_that() -> None:
    async with Workers() as kit:
        one, two = await kit.new(), await kit.new()
        mine, theirs = await one.client.subscribe(SHARED), await two.client.subscribe(SHARED)
        reply = await one.client.put(SHARED, data=5)
        await kit.rest()
        (own,), (other,) = mine.pushes(), theirs.pushes()
        assert own.data == other.data == 5
        assert (own.version or "").startswith(message(reply)["changed"][SHARED])
        assert own.version == other.version


@asynchronous
async def test_who_loses_its_worker_goes_on_at_another_from_where_it_was() -> None:
    async with Workers() as kit:
        one, two = await kit.new(), await kit.new()
        log, shared = await one.client.subscribe(LOG), await one.client.subscribe(SHARED)
        await two.publish(1, 2)
        await kit.rest()
        since, version = log.pushes()[-1].version, shared.version
        await kit.end(one)
        await two.publish(3, 4)
        runs = two.runs
        again = await two.client.subscribe(LOG, since=since)
        assert again.reply.status == 206
        await two.publish(5)
        await kit.rest()
        assert data(again) == [3, 4, 5]
        assert two.runs == runs  # no handler was asked
        assert (await two.client.subscribe(SHARED, since=version)).reply.status == 304
        three = await kit.new()
        assert (await three.client.subscribe(LOG, since=since)).reply.status == 206


@asynchronous
async def test_a_log_goes_on_though_all_workers_were_replaced() -> None:
    async with Workers() as kit:
        one = await kit.new()
        log = await one.client.subscribe(LOG)
        await one.publish(1, 2)
        await kit.rest()
        since = log.pushes()[0].version
        await kit.end(one)
        two = await kit.new()
        again = await two.client.subscribe(LOG, since=since)
        assert again.reply.status == 206
        await two.publish(3)
        await kit.rest()
        assert data(again) == [2, 3]


async def members(worker: Worker) -> list[Any]:
    return [each["id"] for each in (await worker.client.get(f"{LOG}/presence")).data["members"]]


@asynchronous
async def test_who_is_there_is_known_in_all_workers() -> None:
    async with Workers() as kit:
        one, two = await kit.new(), await kit.new()
        watching = await two.client.subscribe(f"{LOG}/presence")
        assert watching.reply.data == {"count": 0, "members": []}
        first = await one.client.subscribe(LOG)
        await kit.rest(1.0)
        assert await members(one) == await members(two) == ["anybody"]
        assert data(watching)[-1]["count"] == 1
        await first.unsubscribe()
        await kit.rest()
        assert await members(one) == await members(two) == []


@asynchronous
async def test_who_was_in_a_worker_that_ends_is_there_for_a_while() -> None:
    async with Workers() as kit:
        one, two = await kit.new(), await kit.new()
        await one.client.subscribe(LOG)
        await kit.rest()
        await kit.end(one)
        assert await members(two) == ["anybody"]
        kit.hub.timers.advance(6)
        assert await members(two) == []


async def all_of(subscription: Any) -> None:
    while True:
        await subscription.receive()


async def held(kit: Workers, missed: int) -> tuple[Worker, Worker, Any, Any]:
    """Give two workers, of which the second reads nothing, was not told of `missed` items, and its log and state."""
    one, two = await kit.new(), await kit.new()
    seen, state = await two.client.subscribe(LOG), await two.client.subscribe(SHARED)
    await one.publish(0)
    await kit.rest()
    two.line.hold()
    kit.data.value = 8
    while not kit.channels[1].is_full:
        await one.publish("x" * 100_000)
    await one.publish(*range(1, missed + 1))
    for _ in range(3):
        await one.app.live.changed(SHARED)
    return one, two, seen, state


@asynchronous
async def test_a_log_of_a_stuck_worker_ends_and_can_be_gone_on_with_from_the_history() -> None:
    async with Workers(history=5) as kit:
        _, two, seen, state = await held(kit, 6)
        two.line.let_go()
        with pytest.raises(SubscriptionEnded) as ended:
            await all_of(seen)
        await kit.rest()
        assert ended.value.status == 409
        assert ended.value.retry is not None
        assert data(state)[-1] == 8
        assert (await two.client.subscribe(LOG)).reply.status == 200


@asynchronous
async def test_nothing_is_lost_that_the_hub_still_has_when_a_stuck_worker_reads_again() -> None:
    async with Workers(history=100) as kit:
        one, two, seen, _ = await held(kit, 2)
        two.line.let_go()
        received: list[Any] = []
        while not received or received[-1] != 2:
            received.append((await seen.receive()).data)
        assert [value for value in received if value is not None and type(value) is int] == [0, 1, 2]
        large = len(received) - 3
        await one.publish(3)
        assert (await seen.receive()).data == 3
        assert large > 4_000_000 / 100_000


@asynchronous
async def test_without_the_supervisor_what_is_changed_here_is_told_here() -> None:
    async with Workers() as kit:
        one = await kit.new()
        shared = await one.client.subscribe(SHARED)
        kit.channels[0].abort()
        kit.data.value = 3
        with pytest.raises(BrokerUnavailable):
            await one.publish(1)
        with pytest.raises(BrokerUnavailable):
            await one.app.live.changed(SHARED)
        await rest(one.client)
        await one.client.advance()
        assert data(shared) == [3]
        assert (await one.client.get(SHARED)).data == 3


@asynchronous
async def test_from_threads_of_two_workers_each_item_comes_once_and_in_one_order() -> None:
    async with Workers(history=1000) as kit:
        workers = [await kit.new(), await kit.new()]
        seen = [await worker.client.subscribe(LOG) for worker in workers]

        def publish(worker: Worker, name: str) -> None:
            for number in range(50):
                worker.app.live.publish(LOG, f"{name}{number}")

        await asyncio.gather(*[asyncio.to_thread(publish, worker, f"{at}/") for at, worker in enumerate(workers)])
        await kit.rest()
        one, other = [data(each) for each in seen]
        assert one == other
        assert sorted(one) == sorted(f"{at}/{number}" for at in (0, 1) for number in range(50))
        for at in (0, 1):
            mine = [value for value in one if value.startswith(f"{at}/")]
            assert mine == [f"{at}/{number}" for number in range(50)]
