"""What users of others complain of: each a test here, or in the module that it names.

Token expiry (supabase#16684, trpc#3955): `test_guards`. Sending on after a drop (uWebSockets#1338) and buffers without
a bound (litestar, socket.io's offline queue): `test_slow`. Presence: `test_presence`. Told before the commit:
`test_effects`.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from aiorest_ws import Application, HTTPError, Live, Request, SimpleRouter
from aiorest_ws.testing import AsyncTestClient
from aiorest_ws.testing.messages import pack
from aiorest_ws.testing.wire import frame
from tests.serving import asynchronous, turn_over

LOG, SHARED, OWN = "/log", "/shared", "/own"
URLS = [LOG, SHARED, OWN]


class Room:
    """A log whose items are numbers, and two states; how often the handlers were called."""

    def __init__(self, **live: Any) -> None:
        self.items: list[int] = []
        self.value = 0
        self.calls = dict.fromkeys(URLS, 0)
        self.gate: asyncio.Event | None = None
        self.refused = False
        self.router = SimpleRouter()
        behind: dict[str, Any] = {"middlewares": [self]}

        @self.router.get(LOG, live=Live(mode="log", shared=True, interval=0.0, **live), **behind)
        async def log(request: Request) -> Any:
            return await self.read(LOG, list(self.items))

        @self.router.get(SHARED, live=Live(shared=True, interval=0.0), **behind)
        async def shared(request: Request) -> Any:
            return await self.read(SHARED, self.value)

        @self.router.get(OWN, live=Live(interval=0.0), **behind)
        async def own(request: Request) -> Any:
            return await self.read(OWN, self.value)

        self.app = Application(self.router)

    def process_request(self, request: Any, handler: Any) -> None:
        if self.refused:
            raise HTTPError(403, "not any more")

    async def read(self, url: str, value: Any) -> Any:
        self.calls[url] += 1
        if self.gate is not None:
            await self.gate.wait()
        return value

    def publish(self, count: int = 1) -> None:
        for _ in range(count):
            self.items.append(len(self.items))
            self.app.live.publish(LOG, self.items[-1])

    def change(self) -> None:
        self.value += 1
        self.app.live.changed(SHARED)
        self.app.live.changed(OWN)


class Reader:
    """A client of the log that goes on where it was: what it has got, in order."""

    def __init__(self, root: AsyncTestClient) -> None:
        self.root = root
        self.got: list[int] = []
        self.version: str | None = None
        self.statuses: list[int | None] = []
        self.client: AsyncTestClient | None = None
        self.log: Any = None

    async def come(self) -> None:
        self.client = await self.root.connect().__aenter__()
        self.log = await self.client.subscribe(LOG, since=self.version)
        self.statuses.append(self.log.reply.status)
        if self.log.reply.status == 200:
            self.got = list(self.log.data)
            self.version = self.log.version

    def take(self) -> None:
        for push in self.log.pushes():
            self.version = push.version
            if push.data >= len(self.got):  # the key: what came with the first `data` is there
                self.got.append(push.data)

    async def go(self, *, abruptly: bool) -> None:
        assert self.client is not None
        if abruptly:
            self.client.abort()
            await self.client.wait_closed()
        else:
            await self.client.close()
        self.take()  # what had arrived
        self.client = None


@pytest.mark.parametrize("history", [1000, 8])
@asynchronous
async def test_nothing_is_lost_and_nothing_comes_twice_over_reconnects(history: int) -> None:
    """socket.io#5413, #4880; python-socketio#1258; trpc#4122."""
    chance = random.Random(history)
    room = Room(history=history)
    async with AsyncTestClient(room.app) as client:
        readers = [Reader(client) for _ in range(6)]
        for _ in range(150):
            reader = chance.choice(readers)
            if reader.client is None:
                await reader.come()
            elif chance.random() < 0.3:
                await reader.go(abruptly=chance.random() < 0.5)
            else:
                reader.take()
            room.publish(chance.randrange(4))
            await turn_over(chance.randrange(4))
        for reader in readers:
            if reader.client is None:
                await reader.come()
        await client.advance()
        for reader in readers:
            reader.take()
            assert reader.got == room.items
            await reader.go(abruptly=False)
        statuses = {status for reader in readers for status in reader.statuses}
        assert statuses <= {200, 206, 304}
        assert 206 in statuses


@pytest.mark.parametrize("turns", range(12))
@asynchronous
async def test_no_item_falls_between_what_was_and_what_comes(turns: int) -> None:
    """upstash realtime#23: whatever moment of a SUBSCRIBE an item is published at."""
    room = Room()
    async with AsyncTestClient(room.app) as client:
        room.publish(2)
        room.gate = gate = asyncio.Event()
        asking = asyncio.ensure_future(client.subscribe(LOG)._subscribe())
        for at in range(turns):
            await turn_over(1)
            if at % 2:
                room.publish()
            if at == 7:
                gate.set()
        gate.set()
        log = await asking
        room.publish()
        await client.advance()
        got = list(log.data)
        for push in log.pushes():
            if push.data >= len(got):
                got.append(push.data)
        assert got == room.items


@pytest.mark.parametrize("url", URLS)
@asynchronous
async def test_no_guard_is_skipped_by_who_comes_back(url: str) -> None:
    """Socket.IO's `skipMiddlewares`."""
    room = Room()
    async with AsyncTestClient(room.app) as client, client.connect() as other:
        room.publish()
        await other.subscribe(url)
        since = (await client.subscribe(url)).version
        room.refused = True
        async with client.connect() as again:
            assert (await again.request("SUBSCRIBE", url, since=since)).status == 403
            assert again.connection.subscriptions == ()


@pytest.mark.parametrize("url", URLS)
@asynchronous
async def test_a_second_subscription_renews_the_first(url: str) -> None:
    """graphql-ws, which closes the connection: 4409."""
    room = Room()
    async with AsyncTestClient(room.app) as client:
        first = await client.subscribe(url)
        second = await client.subscribe(url, since=first.version)
        assert second.reply.status == 304
        room.publish()
        room.change()
        assert (await second.receive()).data in (0, 1)
        await client.advance()
        assert second.pushes() == first.pushes() == []
        assert client.is_open
        room.refused = True
        assert (await client.request("SUBSCRIBE", url)).status == 403  # and leaves the first as it was
        assert client.connection.subscriptions == (url,)


@asynchronous
async def test_a_thousand_items_in_one_turn_come_all() -> None:
    """channels_redis: what is above a capacity of 100 is dropped in silence."""
    room = Room()
    async with AsyncTestClient(room.app) as client:
        log = await client.subscribe(LOG)
        room.publish(1000)
        await client.advance()
        assert [push.data for push in log.pushes()] == room.items


@asynchronous
async def test_hundreds_who_come_back_at_once_cost_one_run_or_none() -> None:
    """omi#5518: ten hours of reconnects that each asked for everything."""
    room = Room()
    many = 300
    async with AsyncTestClient(room.app) as client, client.connect() as stays:
        for url in (LOG, SHARED):
            await stays.subscribe(url)
        room.publish(3)
        clients = [await client.connect().__aenter__() for _ in range(many)]
        versions = {url: (await stays.subscribe(url)).version for url in (LOG, SHARED)}
        room.publish(2)
        await client.advance()
        calls = dict(room.calls)
        encodings = room.app.live.meter.encodings
        replies = await asyncio.gather(
            *(each.request("SUBSCRIBE", url, since=versions[url]) for each in clients for url in (LOG, SHARED))
        )
        await client.advance()
        assert {reply.status for reply in replies} == {206, 304}
        assert room.calls[LOG] == calls[LOG]
        assert room.calls[SHARED] <= calls[SHARED] + 2
        assert room.app.live.meter.encodings <= encodings + 6  # one of each missed item and turn of the loop
        assert [len(each.events()) for each in clients] == [2] * many
        for each in clients:
            await each.__aexit__(None, None, None)


def _messages(url: str) -> bytes:
    parts = [{"method": verb, "url": url, "id": number} for number, verb in enumerate(("SUBSCRIBE", "UNSUBSCRIBE"))]
    parts.insert(1, {"method": "SUBSCRIBE", "url": url, "id": 7})
    return b"".join(frame(pack(part, 0)[0], 1) for part in parts)


@pytest.mark.parametrize("url", URLS)
@asynchronous
async def test_a_client_that_vanishes_at_any_byte_of_its_messages_leaves_nothing(url: str) -> None:
    room = Room()
    async with AsyncTestClient(room.app) as client:
        wire = _messages(url)
        for cut in range(0, len(wire) + 1, 3):
            async with client.connect() as other:
                other._link._connected().deliver(wire[:cut])
                await turn_over(cut % 5)
                room.publish()
                room.change()
                await turn_over(cut % 4)
                other.abort()
                await other.wait_closed()
                await turn_over(3)
                assert room.app.live.topics() == []
        node = room.app.live._node
        assert node is None or node.places == {}
        assert room.app.live.meter.subscriptions == 0


@pytest.mark.parametrize("url", URLS)
@asynchronous
async def test_a_client_that_vanishes_while_it_is_answered_leaves_nothing(url: str) -> None:
    room = Room()
    async with AsyncTestClient(room.app) as client:
        for turns in range(10):
            room.gate = gate = asyncio.Event()
            async with client.connect() as other:
                await other.send(pack({"method": "SUBSCRIBE", "url": url, "id": 1}, 0)[0].decode())
                await turn_over(turns)
                other.abort()
                gate.set()
                await other.wait_closed()
            room.gate = None
            await client.advance(1)
            assert room.app.live.topics() == []
            node = room.app.live._node
            assert node is None or node.places == {}
