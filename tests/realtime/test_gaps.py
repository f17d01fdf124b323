"""A broker that does not tell of everything: what is missing is got, or is the end; nothing comes behind a gap."""

from __future__ import annotations

from typing import Any

import pytest

from aiorest_ws import Application, Live, Request, SimpleRouter
from aiorest_ws.realtime.brokers import Item, Node
from aiorest_ws.realtime.brokers.memory import MemoryBroker
from aiorest_ws.realtime.versions import Mark, new_epoch
from aiorest_ws.testing import AsyncTestClient
from tests.serving import asynchronous

LOG = "/log"


class Lossy(MemoryBroker):
    """Has its nodes told of what a test lets through, and may have begun anew."""

    def __init__(self) -> None:
        super().__init__()
        self.loses = False
        self.repeats = False
        self.begins_anew = False

    def subscribe(self, url: str, node: Node) -> Mark:
        self.node = node
        return super().subscribe(url, _Behind(self, node))


class _Behind:
    """Stands before a node."""

    def __init__(self, broker: Lossy, node: Node) -> None:
        self.broker = broker
        self.node = node

    def on_item(self, url: str, mark: Mark, item: Item) -> None:
        if self.broker.begins_anew:
            mark = Mark(new_epoch(), 1)
        for _ in range(0 if self.broker.loses else 2 if self.broker.repeats else 1):
            self.node.on_item(url, mark, item)

    def on_changed(self, url: str, mark: Mark, value: Item | None) -> None:
        self.node.on_changed(url, mark, value)

    def on_recheck(self, url: str | None) -> None:
        self.node.on_recheck(url)

    def on_return(self, url: str, mark: Mark) -> None:
        self.node.on_return(url, mark)


def application(**live: Any) -> tuple[Application, Lossy]:
    router = SimpleRouter()

    @router.get(LOG, live=Live(mode="log", shared=True, interval=0.0, **live))
    def log(request: Request) -> list[Any]:
        return []

    app = Application(router)
    broker = app.live._broker = Lossy()
    return app, broker


def data(subscription: Any) -> list[Any]:
    return [push.data for push in subscription.pushes()]


@asynchronous
async def test_items_that_were_not_told_are_got_with_the_next_one() -> None:
    app, broker = application()
    async with AsyncTestClient(app) as client, client.connect() as slow:
        logs = [await each.subscribe(LOG) for each in (client, slow)]
        slow.connection.pause_writing()
        for number in range(9):
            broker.loses = number % 3 > 0
            app.live.publish(LOG, number)
            await client.advance()
        broker.loses = False
        app.live.publish(LOG, 9)
        slow.connection.resume_writing()
        await client.advance()
        assert [data(log) for log in logs] == [list(range(10))] * 2


@asynchronous
async def test_items_that_cannot_be_got_any_more_end_it() -> None:
    app, broker = application(history=2)
    async with AsyncTestClient(app) as client:
        log = await client.subscribe(LOG)
        app.live.publish(LOG, 0)
        await client.advance()
        broker.loses = True
        for number in range(1, 4):
            app.live.publish(LOG, number)
        broker.loses = False
        app.live.publish(LOG, 4)
        end = await log.wait_ended()
        assert (end.status, "lost" in str(end.detail), data(log)) == (409, True, [0])
        again = await client.subscribe(LOG, since=log.version)
        app.live.publish(LOG, 5)
        assert again.reply.status == 200
        assert (await again.receive()).data == 5


@asynchronous
async def test_an_item_that_is_told_twice_comes_once() -> None:
    app, broker = application()
    async with AsyncTestClient(app) as client:
        log = await client.subscribe(LOG)
        broker.repeats = True
        for number in range(3):
            app.live.publish(LOG, number)
        await client.advance()
        assert data(log) == [0, 1, 2]


@pytest.mark.parametrize("count", [1, 3])
@asynchronous
async def test_a_log_that_has_begun_anew_ends_what_was_of_the_old_one(count: int) -> None:
    app, broker = application()
    async with AsyncTestClient(app) as client:
        log = await client.subscribe(LOG)
        for number in range(count):
            app.live.publish(LOG, number)
        await client.advance()
        assert data(log) == list(range(count))
        broker.begins_anew = True
        app.live.publish(LOG, "of another epoch")
        assert (await log.wait_ended()).status == 409
        assert data(log) == []
