"""A broker that is elsewhere, for tests: what it gives comes later; it can be down, deaf, or have begun anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiorest_ws.exceptions import BrokerUnavailable
from aiorest_ws.realtime.brokers import Item, Node, Retention
from aiorest_ws.realtime.brokers.memory import MemoryBroker
from aiorest_ws.realtime.versions import Mark

__all__ = ("FarBroker",)


class _Desk:
    """A node, as the far broker sees it: it is told of things in order, some turns of the loop later."""

    def __init__(self, broker: FarBroker, node: Node) -> None:
        self._broker = broker
        self._node = node

    def _tell(self, function: Callable[..., None], *args: Any) -> None:
        if not self._broker.is_deaf:
            asyncio.get_running_loop().call_soon(function, *args)

    def on_item(self, url: str, mark: Mark, item: Item) -> None:
        self._tell(self._node.on_item, url, mark, item)

    def on_changed(self, url: str, mark: Mark, value: Item | None) -> None:
        self._tell(self._node.on_changed, url, mark, value)

    def on_recheck(self, url: str | None) -> None:
        self._tell(self._node.on_recheck, url)

    def on_return(self, url: str, mark: Mark) -> None:
        self._tell(self._node.on_return, url, mark)


class FarBroker:
    """Keeps what it carries in a MemoryBroker.

    is_down     it cannot be asked for anything
    is_deaf     nothing reaches the nodes
    holds       what is asked of it waits until `let_go`
    answers_late    it has looked at its history, and gives that at `let_go`
    calls       how often each method was asked
    """

    is_local = False

    def __init__(self, most: int | None = None, clock: Callable[[], float] | None = None) -> None:
        self.memory = MemoryBroker(most) if clock is None else MemoryBroker(most, clock)
        self.is_down = self.is_deaf = self.holds = self.answers_late = self.runs = False
        self.calls: dict[str, int] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._desks: dict[Node, _Desk] = {}
        self._urls: dict[str, Node] = {}

    async def start(self) -> None:
        self.runs = True

    async def stop(self) -> None:
        self.runs = False

    def let_go(self) -> None:
        """Answer what was held."""
        self.holds = self.answers_late = False
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def come_back(self, *, anew: bool = False) -> None:
        """Be there again: with what it had, or with nothing of that; nodes are told."""
        self.is_down = self.is_deaf = False
        if anew:
            self.memory = MemoryBroker()
        for url, node in self._urls.items():
            desk = self._desk(node)
            desk.on_return(url, self.memory.subscribe(url, desk))

    def _desk(self, node: Node) -> _Desk:
        return self._desks.setdefault(node, _Desk(self, node))

    async def _asked(self, name: str, *args: Any) -> Any:
        self.calls[name] = self.calls.get(name, 0) + 1
        assert self.runs
        if self.holds:
            await self._wait()
        await asyncio.sleep(0)
        if self.is_down:
            raise BrokerUnavailable()
        return getattr(self.memory, name)(*args)

    async def _wait(self) -> None:
        self._waiting.append(asyncio.get_running_loop().create_future())
        await self._waiting[-1]

    async def publish(self, url: str, item: Item, retention: Retention) -> Any:
        return await self._asked("publish", url, item, retention)

    async def changed(self, url: str, value: Item | None = None) -> Any:
        return await self._asked("changed", url, value)

    async def recheck(self, url: str | None) -> None:
        await self._asked("recheck", url)

    async def subscribe(self, url: str, node: Node) -> Any:
        mark = await self._asked("subscribe", url, self._desk(node))
        self._urls[url] = node
        return mark

    async def unsubscribe(self, url: str, node: Node) -> None:
        self._urls.pop(url, None)
        await self._asked("unsubscribe", url, self._desk(node))

    async def history(self, url: str, since: Mark) -> Any:
        items = await self._asked("history", url, since)
        if self.answers_late:
            await self._wait()
        return items

    async def members(self, url: str, node: Node | None = None, own: Mapping[Any, Any] | None = None) -> Any:
        return await self._asked("members", url, None if node is None else self._desk(node), own)
