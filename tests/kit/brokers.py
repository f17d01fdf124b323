"""Brokers for tests: each with a clock, in one loop; and a node that remembers what it was told."""

from __future__ import annotations

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


class HubKit(Kit):
    """A hub and the broker of a worker, over a real pair of sockets."""

    def __init__(self, most: int | None = 1024 * 1024) -> None:
        super().__init__(most)
        self.hub = Hub(most, clock=self.clock)
        self.channels: list[Channel] = []

    async def worker(self, number: int) -> HubBroker:
        """Give the broker of one more worker, or of one in the place of another."""
        ours, theirs = socket.socketpair()
        self.channels += (await open_channel(ours, to=f"worker {number}"), await open_channel(theirs))
        self.hub.add(self.channels[-2], number)
        broker = HubBroker(self.channels[-1])
        await broker.start()
        return broker

    async def __aenter__(self) -> Self:
        self.broker = await self.worker(1)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await super().__aexit__(*exc_info)
        self.hub.stop()
        for channel in self.channels:
            channel.abort()
        await turn_over()

    async def settle(self, *brokers: HubBroker) -> None:
        for broker in brokers or (self.broker,):
            await broker.history("/nobody", Mark("", 0))

    async def count(self) -> int:
        await self.settle()
        return len(self.hub)
