"""What comes for a reader that may be slow → what it is given: nothing piles up, and what is left out is said."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aiorest_ws.client.errors import ClientError

__all__ = ("Change", "Event", "Feed", "Listener", "Position", "State")

T = TypeVar("T")
Position = tuple[str, int]  # epoch and number

_MOST = 1024  # items that wait to be read
_MOST_BYTES = 16 * 1024 * 1024  # of the messages that brought them


@dataclass(frozen=True, slots=True)
class State:
    """How a client, or a subscription, stands.

    status      of a client: "connecting" for the first time, "open", "offline" until it is back, or "closed" for good;
                of a subscription: "live", "stale" (what is known may be old), or "ended"
    reason      why it is not as it should be
    retry_in    seconds until it tries again, if it waits for that
    """

    status: str
    reason: ClientError | None = None
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What a server has sent that answers nothing, and belongs to no subscription.

    missed    so many before it were left out, as nobody has read them
    """

    name: Any
    data: Any = None
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """What a subscription tells.

    data       the value now, or an item of a log
    is_item    it is the next item of a log; else it takes the place of all that came before
    lost       items of a log are missing before it: more than the server keeps, or a reader that was too slow
    version    which value or item it is
    """

    data: T
    is_item: bool = False
    lost: bool = False
    version: str = ""


class _Inbox(Generic[T]):
    """Things for one reader, who waits for them."""

    __slots__ = ("_error", "_there", "_things", "is_over")

    def __init__(self, most: int | None = None) -> None:
        self._things: deque[T] = deque(maxlen=most)
        self._there = asyncio.Event()
        self.is_over = False
        self._error: ClientError | None = None

    def _put(self, thing: T) -> None:
        self._things.append(thing)
        self._there.set()

    def forget(self) -> None:
        """Drop what was not read: it is another user's."""
        self._things.clear()

    def end(self, error: ClientError | None = None) -> None:
        if not self.is_over:
            self.is_over, self._error = True, error
            self._there.set()

    async def _next(self) -> T:
        """Give the next; raises StopAsyncIteration behind the last, or what it ended with, once."""
        while not self._things:
            if self.is_over:
                error, self._error = self._error, None
                raise StopAsyncIteration if error is None else error.to_raise()
            self._there.clear()
            await self._there.wait()
        return self._things.popleft()


class Feed(_Inbox[T]):
    """Things for one reader, of which the oldest are left out when it does not read.

    missed    how many were, since it was last asked
    """

    __slots__ = ("missed",)

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.missed = 0

    def put(self, thing: T) -> None:
        if len(self._things) == self._things.maxlen:
            self.missed += 1
        self._put(thing)

    async def next(self) -> T:
        """Give the next; raises StopAsyncIteration behind the last."""
        return await self._next()


class Listener(_Inbox[tuple[Change[Any], int]]):
    """Changes of one topic for one reader: of values the last, of items as many as fit, and then none.

    position     of a log: the last item that it was given, None before the first value
    is_behind    items were left out; once it has read what is here, `catch_up` is called
    """

    __slots__ = ("_catch_up", "_key", "_known", "_size", "is_behind", "position")

    def __init__(self, catch_up: Callable[[Listener], None]) -> None:
        super().__init__()
        self._size = 0
        self._catch_up = catch_up
        self._key: str | None = None
        self._known: set[Any] = set()
        self.is_behind = False
        self.position: Position | None = None

    def forget(self) -> None:
        super().forget()
        self.position, self._size, self.is_behind = None, 0, False

    def put_value(self, change: Change[Any], size: int) -> None:
        """Take a value: it stands for all that was not read."""
        if any(other.is_item or other.lost for other, _ in self._things):
            change = Change(change.data, lost=True, version=change.version)
        self._things.clear()
        self._size, self.is_behind = size, False
        self._put((change, size))

    def begin(self, position: Position, data: Any, key: str | None) -> None:
        """Stand at the beginning of a log; what its first value has need not come once more."""
        self.position, self._key = position, key
        items = data if key is not None and isinstance(data, list) else ()
        self._known = {_key_of(item, key) for item in items}

    def put_item(self, change: Change[Any], size: int, position: Position) -> None:
        if len(self._things) >= _MOST or self._size + size > _MOST_BYTES:
            self.is_behind = True
            return
        self.position = position
        if self._known:
            key = _key_of(change.data, self._key)
            if key in self._known:
                self._known.discard(key)
                return
        self._size += size
        self._put((change, size))

    async def next(self) -> Change[Any]:
        """Give the next change; raises StopAsyncIteration behind the last, or what it ended with, once."""
        change, size = await self._next()
        self._size -= size
        if self.is_behind and not self._things:
            self.is_behind = False
            self._catch_up(self)
        return change


def _key_of(item: Any, key: str | None) -> Any:
    value = item.get(key) if isinstance(item, dict) else None
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value
