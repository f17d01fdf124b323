"""What `subscribe`, `events` and `statuses` give: something to iterate, that ends when nobody wants it any more."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from aiorest_ws.client.inbox import Change, Event, Feed, Listener, State
from aiorest_ws.client.shapes import fitted, item_of
from aiorest_ws.client.topics import Topic

__all__ = ("AsyncEvents", "AsyncStatuses", "AsyncSubscription")

T = TypeVar("T")
_STATES, _EVENTS = 64, 1024  # that wait to be read


class _Iterated(AsyncIterator[T]):
    """An iterator that is left by `close()`, by the end of its block, or by being forgotten."""

    _leave: weakref.finalize[Any, Any]

    def __aiter__(self) -> Self:
        return self

    def close(self) -> None:
        """End it. May be called again."""
        self._leave()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _leave_soon(loop: asyncio.AbstractEventLoop, leave: Any, *args: Any) -> None:
    """Leave in the loop, wherever it is that something is forgotten."""
    if loop.is_closed():
        return
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is loop:
        leave(*args)
    else:
        loop.call_soon_threadsafe(leave, *args)


class AsyncSubscription(_Iterated[Change[T]], Generic[T]):
    """The changes of a url: the value now, then each change, or each item of a log, through lost connections.

    It ends when it is closed, or with what the server refuses: RequestFailed. A `data` that does not fit `type` is
    raised as UnexpectedReply, and the next change can be asked for all the same.
    """

    def __init__(self, topic: Topic, listener: Listener, hint: Any, item: Any) -> None:
        self._topic, self._listener = topic, listener
        self._hint = hint
        self._item = item_of(hint) if item is None else item
        self._leave = weakref.finalize(self, _leave_soon, asyncio.get_running_loop(), _left, topic, listener)
        self._leave.atexit = False

    @property
    def status(self) -> str:
        """Give "live", "stale" (what is known may be old), or "ended"."""
        return "ended" if self._listener.is_over else self._topic.status

    async def __anext__(self) -> Change[T]:
        change = await self._listener.next()
        hint = self._item if change.is_item else self._hint
        if hint is None:
            return change
        return Change(fitted(change.data, hint), change.is_item, change.lost, change.version)

    def statuses(self) -> AsyncStatuses:
        """Give how it stands, now and whenever that changes."""
        return AsyncStatuses(self._topic.watchers, self._topic.state)


def _left(topic: Topic, listener: Listener) -> None:
    topic.remove(listener)
    listener.end(None)


class _Fed(_Iterated[T]):
    def __init__(self, feeds: list[Feed[T]], most: int) -> None:
        self._feed: Feed[T] = Feed(most)
        feeds.append(self._feed)
        self._leave = weakref.finalize(self, _leave_soon, asyncio.get_running_loop(), _unfed, feeds, self._feed)
        self._leave.atexit = False

    async def __anext__(self) -> T:
        return await self._feed.next()


def _unfed(feeds: list[Any], feed: Feed[Any]) -> None:
    if feed in feeds:
        feeds.remove(feed)
    feed.end()


class AsyncStatuses(_Fed[State]):
    """How a client, or a subscription, stands: now, and whenever that changes, until it is closed."""

    def __init__(self, feeds: list[Feed[State]], now: State) -> None:
        super().__init__(feeds, _STATES)
        self._feed.put(now)
        if now.status in ("closed", "ended"):
            self.close()


class AsyncEvents(_Fed[Event]):
    """What the server sends by `send_event`. Of those that nobody reads the last 1,024 wait."""

    def __init__(self, feeds: list[Feed[Event]]) -> None:
        super().__init__(feeds, _EVENTS)

    async def __anext__(self) -> Event:
        event = await self._feed.next()
        missed, self._feed.missed = self._feed.missed, 0
        return Event(event.name, event.data, missed) if missed else event
