"""Brokers for tests: each with a clock, in one loop; and a node that remembers what it was told."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable
from typing import Any, Self

from aiorest_ws.realtime.brokers import Item, Retention
from aiorest_ws.realtime.brokers.hub import HubBroker
from aiorest_ws.realtime.brokers.hub_server import Hub
from aiorest_ws.realtime.brokers.memory import MemoryBroker
from aiorest_ws.realtime.versions import Mark
from aiorest_ws.workers.channel import Channel, open_channel
from tests.serving import turn_over

__all__ = ("KEPT", "Clock", "HubKit", "Kit", "MemoryKit", "Told")

KEPT = Retention(items=100, seconds=300.0, size=1024 * 1024)


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Told:
    """A node that remembers what it was told."""

    def __init__(self) -> None:
        self.items: list[tuple[str, Mark, bytes]] = []
        self.changes: list[tuple[str, Mark, Any]] = []
        self.rechecks: list[str | None] = []
        self.returns: list[tuple[str, Mark]] = []
        self.then: Callable[[], Any] = lambda: None

    def on_item(self, url: str, mark: Mark, item: Item) -> None:
        assert item.number == mark.number
        self.items.append((url, mark, item.json))
        self.then()

    def on_changed(self, url: str, mark: Mark, value: Item | None) -> None:
        self.changes.append((url, mark, value))
        self.then()

    def on_recheck(self, url: str | None) -> None:
        self.rechecks.append(url)

    def on_return(self, url: str, mark: Mark) -> None:
        self.returns.append((url, mark))

    @property
    def said(self) -> list[bytes]:
        return [json for _, _, json in self.items]


class Kit:
    """A broker, and its clock."""

    broker: Any

    def __init__(self, most: int | None = 1024 * 1024) -> None:
        self.most = most
        self.clock = Clock()

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(self, *exc_info: object) -> None:
        await self.broker.stop()

    async def settle(self) -> None:
        """Wait until nodes have been told of all that was said so far."""

    async def count(self) -> int:
        """Give the number of urls of which anything is known."""
        raise NotImplementedError

    async def do(self, name: str, *args: Any) -> Any:
        given = getattr(self.broker, name)(*args)
        return await given if inspect.isawaitable(given) else given

    async def publish(self, url: str, *values: bytes, kept: Retention = KEPT) -> Mark:
        mark = Mark("", 0)
        for value in values:
            mark = await self.do("publish", url, Item(0, value), kept)
        return mark

    async def history(self, url: str, since: Mark) -> list[bytes] | None:
        items = await self.do("history", url, since)
        return None if items is None else [item.json for item in items]


class MemoryKit(Kit):
    async def __aenter__(self) -> Self:
        self.broker = MemoryBroker(self.most, self.clock)
        return self

    async def count(self) -> int:
        return len(self.broker)


class Line:
    """Carries what one process says to another, and may be held: then the other reads nothing."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self._source, self._sink = source, sink
        self._is_open = asyncio.Event()
        self._is_open.set()
        self.task = asyncio.get_running_loop().create_task(self._carry())

    def hold(self) -> None:
        self._is_open.clear()

    def let_go(self) -> None:
        self._is_open.set()

    async def _carry(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(self._source, 65536):
                await self._is_open.wait()
                await loop.sock_sendall(self._sink, data)
            self._sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._source.close()  # whoever says more sees that nobody is there


class HubKit(Kit):
    """A hub and the broker of a worker, over a real pair of sockets."""

    def __init__(self, most: int | None = 1024 * 1024) -> None:
        super().__init__(most)
        self.hub = Hub(most, clock=self.clock)
        self.channels: dict[int, Channel] = {}  # of each worker, the hub's end
        self._all: list[Channel] = []
        self._brokers: list[HubBroker] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._sockets: list[socket.socket] = []

    async def worker(self, number: int) -> HubBroker:
        """Give the broker of one more worker, or of one in the place of another."""
        return await self.started(await self.bare(number))

    async def far_worker(self, number: int) -> tuple[HubBroker, Line]:
        """Give the broker of a worker, not started, and the line over which the hub speaks to it."""
        (near, far), sock = self.pair(), await self.bare(number)
        line, back = Line(sock, near), Line(near, sock)
        self._tasks += line.task, back.task
        self._all.append(await open_channel(far, to="the supervisor"))
        self._brokers.append(HubBroker(self._all[-1]))
        return self._brokers[-1], line

    async def started(self, sock: socket.socket) -> HubBroker:
        """Give a broker that asks whatever is at the other end of `sock`."""
        channel = await open_channel(sock, to="the supervisor")
        self._all.append(channel)
        self._brokers.append(HubBroker(channel))
        await self._brokers[-1].start()
        return self._brokers[-1]

    async def bare(self, number: int) -> socket.socket:
        """Give the bare socket of one more worker."""
        ours, theirs = self.pair()
        self.channels[number] = await open_channel(ours, to=f"worker {number}")
        self._all.append(self.channels[number])
        self.hub.add(self.channels[number], number)
        return theirs

    def pair(self) -> tuple[socket.socket, socket.socket]:
        pair = socket.socketpair()
        for sock in pair:
            sock.setblocking(False)
        self._sockets += pair
        return pair

    async def __aenter__(self) -> Self:
        self.broker = await self.worker(1)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for broker in self._brokers:
            await broker.stop()
        self.hub.stop()
        for channel in self._all:
            channel.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await turn_over()
        for sock in self._sockets:
            sock.close()

    async def settle(self, *brokers: HubBroker) -> None:
        for broker in brokers or (self.broker,):
            await broker.history("/nobody", Mark("", 0))

    async def count(self) -> int:
        await self.settle()
        return len(self.hub)
