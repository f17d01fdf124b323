"""One url that somebody in this process subscribes to, and what a broker says of it → its topics."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aiorest_ws.callables.calls import is_awaitable
from aiorest_ws.realtime.brokers import Item
from aiorest_ws.realtime.logs import Log
from aiorest_ws.realtime.pending import complain
from aiorest_ws.realtime.private_states import PrivateState
from aiorest_ws.realtime.shared_states import SharedState
from aiorest_ws.realtime.versions import Mark, new_epoch

if TYPE_CHECKING:
    from aiorest_ws.realtime.attempts import Attempt
    from aiorest_ws.realtime.node import LocalNode
    from aiorest_ws.realtime.timers import Timer

__all__ = ("Place",)

_GAP = "items were lost on the way here: subscribe again"
_AGAIN = 1.0  # seconds until a broker is asked again that could not say what is missing
_NOWHERE = Mark("", 0)


class Place:
    """One url: how far it has come, and who in this process is told of it.

    coming      a future that is done when the broker has said that; None: it has
    topics      name → topic, of a route that is shared
    private     topics of one subscription each
    attempts    SUBSCRIBEs that are being answered
    families    ways in which values of it are encoded: those that somebody has wanted since it is here
    """

    __slots__ = (
        *("_goal", "_is_alone", "_later", "_later_size", "_live", "_recheck"),
        *("attempts", "coming", "epoch", "families", "node", "number", "private", "topics", "url"),
    )

    def __init__(self, node: LocalNode, url: str, live: Any) -> None:
        self.node = node
        self.url = url
        self.epoch, self.number = _NOWHERE
        self.coming: asyncio.Future[None] | None = None
        self.topics: dict[str, SharedState] = {}
        self.private: dict[PrivateState, None] = {}
        self.attempts: dict[Attempt, None] = {}
        self.families = {0}
        self._live = live
        self._is_alone = False  # the broker cannot be reached, and changes here are told here
        self._later: deque[tuple[Mark, Item]] | None = None  # items behind those that are being got
        self._later_size = 0
        self._goal = _NOWHERE  # how far they go, at least
        self._recheck: Timer | None = None

    # How far it has come

    def begin(self, given: Any) -> None:
        """Begin with the mark that the broker has given for it, or will."""
        if is_awaitable(given):
            self.coming = self.node.loop.create_future()
        self.node.pending.then(given, self._known, self._unknown)

    def _known(self, mark: Mark) -> None:
        coming, self.coming = self.coming, None
        if not self.epoch or (mark.epoch == self.epoch and mark.number > self.number):
            self.epoch, self.number = mark  # else more has been told meanwhile
        for topic in self.topics.values():
            topic.on_known()
        for attempt in self.attempts:
            attempt.on_known()
        if self._live.recheck and self.node.places.get(self.url) is self:
            self._recheck_in(self._live.recheck)
        if coming is not None:
            coming.set_result(None)

    def _unknown(self, exc: Exception) -> None:
        """Come to nothing: who waits is refused, with what went wrong; who comes asks anew."""
        assert self.coming is not None
        self.node.forget(self)
        self.coming.set_exception(exc)
        self.coming.exception()  # looked at: there may be nobody who waits any more

    def _begin_anew(self, mark: Mark) -> None:
        """Count from `mark` on: what was before is of another epoch, and its numbers say nothing."""
        self.epoch, self.number = mark
        for topic in self._all():
            topic.begin_anew()
        for attempt in self.attempts:
            attempt.begin_anew()

    def _all(self) -> Iterator[SharedState | PrivateState]:
        yield from list(self.topics.values())
        yield from list(self.private)

    # Who is told

    def shared(self, name: str, message: Any, plan: Any, params: tuple[Any, ...]) -> SharedState:
        """Give the topic called `name`, made when it is first asked for."""
        topic = self.topics.get(name)
        if topic is None:
            kind = Log if plan.live.live.mode == "log" else SharedState
            topic = self.topics[name] = kind(self, name, message, plan, params)
        return topic

    def remove(self, topic: Any) -> None:
        if isinstance(topic, PrivateState):
            self.private.pop(topic, None)
        else:
            self.topics.pop(topic.name, None)
        self.node.changing.forget(topic)
        self.drop_if_unused()

    def drop_if_unused(self) -> None:
        if not self.topics and not self.private and not self.attempts:
            if self._recheck is not None:
                self._recheck.cancel()
                self._recheck = None
            self._later = None
            self.node.leave(self)

    # What the broker says

    def on_item(self, mark: Mark, item: Item) -> None:
        """Take the next item of the log; where some are missing, those behind."""
        if self.coming is not None:
            self.epoch, self.number = mark
        elif self._later is not None:
            self._put_off(mark, item)
        elif mark.epoch != self.epoch:
            self._lose(mark)
        elif item.number == self.number + 1:
            self._take(item)
        elif item.number > self.number:  # else it was told before
            self._fill(mark)

    def _take(self, item: Item) -> None:
        self.number = item.number
        topic = self.topics.get(self.url)
        if isinstance(topic, Log):
            topic.on_item(item)

    def _lose(self, mark: Mark) -> None:
        """End: nothing is sent behind a gap."""
        self._begin_anew(mark)
        topic = self.topics.get(self.url)
        if isinstance(topic, Log):
            topic.lose(_GAP)

    def _fill(self, mark: Mark) -> None:
        """Get the items that were not told, up to `mark` at least; what is told meanwhile comes behind them."""
        self._later, self._later_size, self._goal = deque(), 0, mark
        self.node.pending.then(self.node.history(self, self.number), self._filled, self._cannot_fill)

    def _filled(self, items: list[Item] | None) -> None:
        later, self._later = self._later, None
        if later is None:
            return  # nobody is here any more
        number = self.number
        for item in items or ():
            if item.number == self.number + 1:
                self._take(item)
        if items is None or (self.number == number and number < self._goal.number):
            self._lose(later[-1][0] if later else self._goal)
            return
        for mark, item in later:
            self.on_item(mark, item)
        if self._later is None and self.number < self._goal.number and self._goal.epoch == self.epoch:
            self._fill(self._goal)

    def _cannot_fill(self, exc: Exception) -> None:
        later, self._later = self._later, None
        if later is None:
            return
        if later:
            self._goal = later[-1][0]
        complain(f"cannot get the items of {self.url} that were not told, trying again", exc)
        self.node.timers.after(_AGAIN, self._fill_again)

    def _fill_again(self) -> None:
        is_missing = self._goal.epoch == self.epoch and self.number < self._goal.number  # else they have come since
        if is_missing and self._later is None and self.node.places.get(self.url) is self:
            self._fill(self._goal)

    def _put_off(self, mark: Mark, item: Item) -> None:
        """Keep an item until those before it are there; of too many the next that comes will find a gap, once more."""
        assert self._later is not None
        if self._later_size + item.size > self._live.history_bytes:
            self._later.clear()
            self._later_size = 0
        self._later.append((mark, item))
        self._later_size += item.size

    def on_changed(self, mark: Mark, value: Item | None) -> None:
        if self.coming is not None:
            self.epoch, self.number = mark
            return
        if mark.epoch != self.epoch:
            self._is_alone = False
            self._begin_anew(mark)
        elif mark.number < self.number:
            return  # it was told before
        self.number = mark.number
        self._have_changed(value)

    def on_return(self, mark: Mark) -> None:
        """Find out what was missed, while nothing was told."""
        if self.coming is not None:
            self.epoch, self.number = mark
        elif self._live.mode == "log":
            if mark.epoch != self.epoch or mark.number < self.number:
                self._lose(mark)
            elif self._later is not None:
                self._goal = mark
            elif mark.number > self.number:
                self._fill(mark)
        else:
            self._is_alone = False
            if mark.epoch != self.epoch or mark.number < self.number:
                self._begin_anew(mark)
            self.number = mark.number
            self._have_changed(None)

    def changed_here(self) -> None:
        """Tell of a change that nobody else can be told of; it is of an epoch of its own."""
        if self.coming is not None:
            return
        if not self._is_alone:
            self._is_alone = True
            self._begin_anew(Mark(new_epoch(), 0))
        self.number += 1
        self._have_changed(None)

    def _have_changed(self, value: Item | None) -> None:
        told = None if value is None else self.topics.get(value.topic)
        others = [topic for topic in self._all() if topic is not told]
        for topic in others:
            topic.is_changed = True
        self.node.changing.add(others)
        if told is not None and value is not None:
            told.published(value, self.number)

    # Guards

    def _recheck_in(self, seconds: float) -> None:
        def due() -> None:
            self._recheck_in(seconds)
            self.recheck()

        self._recheck = self.node.timers.after(seconds, due)

    def recheck(self) -> None:
        """Have all guards asked, before anything more is sent."""
        subscriptions = [private.subscription for private in self.private]
        for topic in self.topics.values():
            subscriptions += topic.subscribers
        self.node.guards.ask_all(subscriptions)
        for attempt in self.attempts:
            attempt.recheck()
