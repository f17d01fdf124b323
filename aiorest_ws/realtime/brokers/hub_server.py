"""The hub, in the supervisor: what workers publish → numbers, logs, and what each of the others is told."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson

from aiorest_ws.realtime.brokers import Item, Retention
from aiorest_ws.realtime.brokers.hub_messages import MOST_OF_MEMBER, Channel, body_of, checked, in_parts, item_of
from aiorest_ws.realtime.brokers.memory import MOST_HISTORY, MemoryBroker
from aiorest_ws.realtime.presence import PATH
from aiorest_ws.realtime.timers import Timers
from aiorest_ws.realtime.versions import Mark

__all__ = ("Hub",)

_GRACE = 5.0  # seconds in which who was in a process that died may come back elsewhere, and has never been away
_MOST_ANSWERS = 4 * 1024 * 1024  # bytes of answers to one that asks and does not read, beyond what fills its channel
_MOST_LATER = 10_000  # large answers that wait for room
_LONGEST_URL = 1024  # characters
_LONGEST_TOPIC = 1024
_MOST_SECONDS = 1e10

# What a worker says → the types in its head.
_TYPES: dict[str, tuple[type, ...]] = {
    "subscribe": (int, str),
    "unsubscribe": (int,),
    "publish": (int, str, int, float, int, int),
    "change": (int, str, str, int),
    "history": (int, str, str, int),
    "members": (int, str),
    "present": (str, bool, list),
    "leave": (),
}


class Hub:
    """Joins the workers of one supervisor; all in the loop that its channels are in.

    most_history    bytes of the items of all logs; None: any number
    clock           gives seconds
    """

    def __init__(self, most_history: int | None = MOST_HISTORY, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.broker = MemoryBroker(most_history, clock)
        self._workers: dict[int, _Worker] = {}
        self._timers: Timers | None = None

    @property
    def timers(self) -> Timers:
        """What is to be done later."""
        if self._timers is None:
            self._timers = Timers(asyncio.get_running_loop())
        return self._timers

    def __len__(self) -> int:
        """Give the number of urls of which anything is known."""
        return len(self.broker)

    def add(self, channel: Channel, number: int) -> None:
        """Serve the worker `number`, on its channel, until that is lost; in the place of one that had this number."""
        self.remove(number)
        self._workers[number] = _Worker(self, channel)

    def remove(self, number: int) -> None:
        """Serve the worker `number` no longer, if it is here. Who is in it has a while to come back, in another."""
        worker = self._workers.pop(number, None)
        if worker is not None:
            worker.leave()

    def stop(self) -> None:
        """Serve nobody, wait for nothing."""
        for number in list(self._workers):
            self.remove(number)
        if self._timers is not None:
            self._timers.stop()


class _Worker:
    """One worker, a node of the hub's broker.

    What it says is checked: one that is confused is closed, and takes nobody along.

    While it does not take what it is told, its channel full, it is told nothing more: `_behind` has the urls of which
    something has been left out, once each. When there is room it is told how far they have come.
    """

    def __init__(self, hub: Hub, channel: Channel) -> None:
        self._hub = hub
        self._broker = hub.broker
        self._channel = channel
        self._numbers: dict[str, int] = {}  # url → number of its subscription, as the worker knows it
        self._urls: dict[int, str] = {}
        self._behind: dict[str, None] = {}
        self._rechecks: dict[str | None, None] = {}  # that it has not been told
        self._later: deque[Callable[[], None]] = deque()  # large answers, for when there is room
        self._answers = 0  # bytes of them that were sent while there was none
        self._present: dict[str, dict[bytes, bytes]] = {}  # who is there, by url and id, as JSON
        self._asks = False  # what it says is being done: it is told of that by the answer
        self._told = 0  # the subscription that is told by the answer
        self._has_left = False
        for kind, handler in (
            ("subscribe", self._subscribe),
            ("unsubscribe", self._unsubscribe),
            ("publish", self._publish),
            ("change", self._change),
            ("history", self._history),
            ("members", self._members),
            ("present", self._set_present),
            ("leave", self.leave),
        ):
            takes_body = kind in ("publish", "change", "present")
            channel.take(kind, self._while_here(checked(_TYPES[kind], handler, takes_body=takes_body)))
        channel.take("recheck", self._while_here(self._recheck))
        channel.on_lost(self.leave)
        channel.on_room(self._on_room)

    def _while_here(self, handler: Callable[[list[Any], bytes], None]) -> Callable[[list[Any], bytes], None]:
        """Give what calls `handler`, unless it has left."""

        def take(head: list[Any], body: bytes) -> None:
            if self._has_left:
                raise ValueError("it has left")
            handler(head, body)

        return take

    def leave(self) -> None:
        """Have it subscribe to nothing, and who is there leave, if they are not back by then."""
        if self._has_left:
            return
        self._has_left = True
        for url in self._numbers:
            self._broker.unsubscribe(url, self)
        for kept in (self._numbers, self._urls, self._behind, self._rechecks, self._later):
            kept.clear()
        if self._present:
            self._hub.timers.after(_GRACE, self._let_go)

    def _let_go(self) -> None:
        """Have those leave who were in it and did not come back elsewhere."""
        for url in self._present:
            before = self._broker.members(url)
            self._broker.members(url, self)
            if self._broker.members(url) != before:
                self._say_present(url)

    def _say_present(self, url: str) -> None:
        self._broker.changed(f"{url.rstrip('/')}{PATH}")

    # What it says

    def _subscribe(self, number: int, url: str) -> None:
        _check_url(url)
        if number < 1 or number in self._urls or url in self._numbers:
            raise ValueError("it is subscribed to already")
        self._numbers[url], self._urls[number] = number, url
        self._answer(number, self._broker.subscribe(url, self))

    def _unsubscribe(self, number: int) -> None:
        url = self._urls.pop(number, None)
        if url is None:
            raise ValueError("it is not subscribed to")
        del self._numbers[url]
        self._behind.pop(url, None)
        self._broker.unsubscribe(url, self)

    def _publish(self, number: int, url: str, items: int, seconds: float, size: int, of_json: int, body: bytes) -> None:
        _check_url(url)
        if items < 1 or size < 1 or not 0 < seconds < _MOST_SECONDS:
            raise ValueError("expected items, seconds and bytes to be kept")
        item, kept = item_of(body, of_json), _retention(items, seconds, size)
        self._asks, self._told = True, 0
        try:
            mark = self._broker.publish(url, item, kept)
        finally:
            self._asks = False
        self._answer(number, mark, self._told)

    def _change(self, number: int, url: str, topic: str, of_json: int, body: bytes) -> None:
        _check_url(url)
        if len(topic) > _LONGEST_TOPIC or bool(of_json) != bool(body):
            raise ValueError("expected a topic and a value, or none")
        value = item_of(body, of_json, topic=topic) if of_json else None
        self._asks, self._told = True, 0
        try:
            mark = self._broker.changed(url, value)
        finally:
            self._asks = False
        self._answer(number, mark, self._told)

    def _recheck(self, head: list[Any], body: bytes) -> None:
        if len(head) != 1 or type(head[0]) not in (str, type(None)) or body:
            raise ValueError("expected a url or null")
        self._asks = True
        try:
            self._broker.recheck(head[0])
        finally:
            self._asks = False

    def _history(self, number: int, url: str, epoch: str, since: int) -> None:
        self._when_room(lambda: self._answer_history(number, self._broker.history(url, Mark(epoch, since)), since))

    def _members(self, number: int, url: str) -> None:
        self._when_room(lambda: self._answer_members(number, self._broker.members(url)))

    def _set_present(self, url: str, says_so: bool, sizes: list[Any], body: bytes) -> None:
        _check_url(url)
        changed = _members(sizes, body)
        here = self._present.setdefault(url, {})
        for name, entry in changed:
            if entry:
                here[name] = entry
            else:
                here.pop(name, None)
        if not here:
            del self._present[url]
        self._broker.members(url, self, here)
        if says_so:
            self._say_present(url)

    # What it is told

    def _answer(self, number: int, mark: Mark, told: int = 0) -> None:
        self._channel.send("answer", number, told, *mark)
        if self._channel.is_full:
            self._answers += _ANSWER
            if self._answers > _MOST_ANSWERS:
                raise ValueError("it asks, and does not read")

    def on_item(self, url: str, mark: Mark, item: Item) -> None:
        if self._is_behind(url):
            return
        if self._asks:
            self._told = self._numbers[url]
        else:
            self._channel.send("item", self._numbers[url], mark.number, len(item.json), body=body_of(item))

    def on_changed(self, url: str, mark: Mark, value: Item | None) -> None:
        if self._is_behind(url):
            return
        if self._asks:
            self._told = self._numbers[url]
        elif value is None:
            self._channel.send("changed", self._numbers[url], mark.number, "", 0)
        else:
            size, body = len(value.json), body_of(value)
            self._channel.send("changed", self._numbers[url], mark.number, value.topic, size, body=body)

    def on_recheck(self, url: str | None) -> None:
        if self._asks:
            return  # it has seen to its own
        if self._channel.is_full:
            self._rechecks[url] = None
        else:
            self._channel.send("rechecked", url)

    def on_return(self, url: str, mark: Mark) -> None:
        """Be told of breaks: there are none between the hub and its own broker."""

    def _is_behind(self, url: str) -> bool:
        """Tell whether it is told nothing of `url` now; then it will be told how far that has come.

        There is room only once all that was left out has been told.
        """
        if self._channel.is_full:
            self._behind[url] = None
        return self._channel.is_full

    def _when_room(self, answer: Callable[[], None]) -> None:
        """Answer now, or when there is room for what may be large."""
        if not self._channel.is_full and not self._later:
            answer()
        elif len(self._later) < _MOST_LATER:
            self._later.append(answer)
        else:
            raise ValueError("it asks, and does not read")

    def _on_room(self) -> None:
        """Tell what was left out: first what must not be seen any more, then how far all has come."""
        self._answers = 0
        while self._rechecks and not self._channel.is_full:
            self._channel.send("rechecked", self._rechecks.popitem()[0])
        while self._behind and not self._channel.is_full:
            url = next(iter(self._behind))
            del self._behind[url]
            self._channel.send("returned", self._numbers[url], self._broker.subscribe(url, self).number)
        while self._later and not self._channel.is_full:
            self._later.popleft()()

    def _answer_history(self, number: int, items: list[Item] | None, since: int) -> None:
        if items is None:
            self._channel.send("items", number, True, 0, None)
            return
        pieces = (((len(item.json), len(item.msgpack or b"")), body_of(item)) for item in items)
        for is_last, sizes, data in in_parts(pieces):
            self._channel.send("items", number, is_last, since + 1, sizes, body=b"".join(data))
            since += len(sizes)

    def _answer_members(self, number: int, members: dict[bytes, bytes]) -> None:
        pieces = ((None, b"[%b,%b]" % pair) for pair in members.items())
        for is_last, _, data in in_parts(pieces):
            self._channel.send("listed", number, is_last, body=b"[%b]" % b",".join(data))


_ANSWER = 64  # bytes of an answer, about


# PERF: there are as many as routes of logs, and one is made in 1 µs.
_retention = lru_cache(256)(Retention)


def _check_url(url: str) -> None:
    if not 0 < len(url) <= _LONGEST_URL:
        raise ValueError(f"expected a url of at most {_LONGEST_URL} characters, got {len(url)}")


def _members(sizes: list[Any], body: bytes) -> list[tuple[bytes, bytes]]:
    """Give id and entry of each, as JSON. Raises ValueError if that is not what there is.

    They are looked at so that nobody gets what cannot be read, and kept as they are, large integers too.
    """
    members = []
    at = 0
    for each in sizes:
        if type(each) is not list or len(each) != 2 or type(each[0]) is not int or type(each[1]) is not int:
            raise ValueError("expected the sizes of ids and entries")
        between = at + each[0]
        end = between + each[1]
        if not at < between <= end <= min(len(body), at + MOST_OF_MEMBER):
            raise ValueError("expected ids and entries of the sizes that were said")
        name, entry = body[at:between], body[between:end]
        if type(orjson.loads(name)) not in (int, float, str) or (entry and type(orjson.loads(entry)) is not dict):
            raise ValueError("expected ids that are integers or strings, and entries that are objects")
        members.append((name, entry))
        at = end
    if at != len(body):
        raise ValueError("expected ids and entries, and nothing behind them")
    return members
