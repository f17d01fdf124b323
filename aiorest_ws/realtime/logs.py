"""The items of a log, one after another → every subscriber, each item once and in order, or the end."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import Fan, fan_out
from aiorest_ws.realtime.brokers import Item
from aiorest_ws.realtime.messages import family_of, push
from aiorest_ws.realtime.reruns import Outcome, jittered
from aiorest_ws.realtime.shared_states import SharedState
from aiorest_ws.realtime.versions import version_of

if TYPE_CHECKING:
    from aiorest_ws.realtime.places import Place
    from aiorest_ws.realtime.subscriptions import Subscription

__all__ = ("Log",)

_TOO_FAR = "too far behind: items were put out that have not been sent"
_COME_BACK = 1.0  # seconds, about, after which who was too far behind may begin anew
_AT_ONCE = 16 * 1024  # bytes of pushes to one client before it is asked whether it reads
_UNTOLD = 64 * 1024  # bytes of items that wait for the end of a turn
_MANY = 200  # subscribers: to tell so many takes about a millisecond
_GATHER = 0.001  # seconds that items wait for those right behind them, where telling all takes as long


class Log(SharedState):
    """A topic of which every item is sent, in order.

    Who is behind has a place in the items that are kept here as long as somebody needs them, up to `history_bytes`; so
    has a SUBSCRIBE on its way.

    _items     up to the newest; none while everybody has all
    _size      bytes of them
    _lowest    of subscribers' positions; there is none below
    _told      number up to which all have been told, but for those who are behind
    _untold    bytes of items beyond
    _together  items of which all were told the last time, if they are many; else 1
    _waits     items may wait for those right behind them
    _made      family and number → an item as it is sent, for as long as one turn of the loop
    _fetching  items behind which position are being got, from a broker elsewhere
    """

    __slots__ = (
        *("_fetching", "_is_telling", "_items", "_lowest", "_made", "_size", "_tells", "_together", "_told"),
        *("_untold", "_waits"),
    )

    def __init__(self, place: Place, name: str, message: Any, plan: Any, params: tuple[Any, ...]) -> None:
        super().__init__(place, name, message, plan, params)
        self._items: deque[Item] = deque()
        self._size = 0
        self._untold = 0
        self._made: dict[tuple[int, int], bytes] = {}
        self._tells = self._is_telling = self._waits = False
        self._together = 1
        self._fetching: tuple[int, asyncio.Future[Any]] | None = None
        self.on_known()

    def on_known(self) -> None:
        self._lowest = self._told = self.place.number

    # Its first `data`

    def _is_young(self, family: int) -> bool:
        return super()._is_young(family) and self.has_all_behind(self.number, family)

    def _may_run(self) -> bool:
        return super()._may_run() and bool(self._waiting)

    def _set(self, values: dict[int, bytes], number: int, is_changed: bool) -> None:
        self.values, self.number, self._as_of = values, number, self._began
        self.node.timers.after(self.live.interval, self._let_go)

    def _failed(self, outcome: Outcome) -> None:
        """Leave it: who subscribes has items, and nothing that the handler gives."""

    def changed(self) -> None:
        """A log has items, and no state that changes."""

    # Its items

    def has_all_behind(self, position: int, family: int) -> bool:
        """Tell whether all items behind `position` are there, as they are encoded for `family`."""
        if not self._reaches(position):
            return False
        if position >= self.place.number:
            return True
        return all(self._item(at).encoded(family) is not None for at in range(position + 1, self.place.number + 1))

    def add(self, subscription: Subscription) -> None:
        self._let_in(subscription)
        if subscription.position < self.place.number:
            self._reaches(subscription.position)  # what is kept now may not be later
            self.catch_up_soon(subscription)

    def on_item(self, item: Item) -> None:
        """Take the next item, for all."""
        self._items.append(item)
        self._size += item.size
        self._untold += item.size
        if self._untold < _UNTOLD or self._is_telling:
            self.tell_soon()
        else:
            self.node.context().run(self._tell_all)
        self._put_out()

    def begin_anew(self) -> None:
        super().begin_anew()
        self.values = {}

    def lose(self, why: str) -> None:
        """End all: items are missing."""
        self.values = {}
        self._items.clear()
        self._size = self._untold = 0
        self._told = self.place.number
        self.node.end_all(self.subscribers, 409, why, _COME_BACK)

    def tell_soon(self) -> None:
        """Tell all in this turn of the loop: what is published in it leaves together.

        Where many are told, and fewer items are here than came together before, those wait for others right behind
        them: each time costs a call of the system for each subscriber, however much there is to tell.
        """
        if self.place.number - self._told >= self._together:
            self._tell_in_turn()
        elif not self._waits:
            self._waits = True
            self.node.timers.after(_GATHER, self._tell_at_last)

    def _tell_at_last(self) -> None:
        self._waits = False
        self._tell_in_turn()

    def _tell_in_turn(self) -> None:
        if not self._tells:
            self._tells = True
            self.node.outbox.soon(self._tell_now)

    def _tell_now(self) -> None:
        self._tells = False
        self._tell_all()

    def _tell_all(self) -> None:
        """Tell all what is new; whatever is published meanwhile, by somebody's own `sendMessage`, comes behind it."""
        number, since = self.place.number, self._told
        self._told, self._untold = number, 0
        if number <= since:
            return  # so much came at once that all were told before this turn of the loop was over
        self._is_telling = True
        try:
            fan = Fan(self.node.outbox, lambda form: self._between(since, number, form))
            told, left = fan_out(self.subscribers, fan, since, number, self.seen)
            self.node.meter.deliveries += told * (number - since)
            self._together = number - since if told >= _MANY else 1
            for subscription in left:
                if subscription.position < number and not subscription.is_behind:
                    subscription.catch_up()
        finally:
            self._is_telling = False
        self._put_out()
        is_needed = self.attempts or self.place.number > number
        if not is_needed and not any(0 <= each.position < number for each in left):  # who is over is at no position
            self._items.clear()
            self._size = 0
            self._lowest = number  # or the next item would look at everybody

    def catch_up(self, subscription: Subscription) -> None:
        while subscription.position < self.place.number and not subscription.is_over:
            if not self._reaches(subscription.position):
                subscription.end(409, _TOO_FAR, jittered(_COME_BACK))
                return
            pushes = self._some_behind(subscription.position, subscription.form) if subscription.takes_pushes() else []
            number = subscription.position + len(pushes)
            if not pushes or not self._fan_of(pushes).send(subscription, number, self.seen):
                self.node.meter.skipped += 1
                subscription.lag()
                return
            self.node.meter.deliveries += len(pushes)

    def _put_out(self) -> None:
        """Put out the oldest items beyond what is kept for those who are behind; who needs them is ended.

        What all have been told of is put out: what they can be sent of it, they were sent.
        """
        items = self._items
        while len(items) > 1 and self._size > self.live.history_bytes:
            if self._is_telling or items[0].number > self._told:
                return
            self._size -= items.popleft().size
        if not items or self._lowest >= items[0].number - 1:
            return
        first = items[0].number - 1
        lost = [each for each in self.subscribers if 0 <= each.position < first]
        self.node.end_all(lost, 409, _TOO_FAR, _COME_BACK)
        left = (each.position for each in self.subscribers if each.position >= 0)
        self._lowest = min(left, default=self.place.number)

    def _reaches(self, position: int) -> bool:
        """Tell whether all behind `position` is here; it is got from what the broker of this process keeps."""
        if position < self._lowest:
            self._lowest = position
        if position >= self.place.number or (self._items and self._items[0].number <= position + 1):
            return True
        if not self.node.broker.is_local:
            return False
        return self._put_in(self.node.history(self.place, position))

    async def fetch(self, position: int) -> None:
        """Have all behind `position` here, if a broker that is elsewhere keeps it: asked once for many who come."""
        while not self._reaches(position):
            if self._fetching is None:
                epoch, given = self.place.epoch, self.node.history(self.place, position)
                task = self.node.pending.add(self._fetched(epoch, given))
                self._fetching = position, task
            first, task = self._fetching
            await asyncio.shield(task)
            if first <= position:
                return

    async def _fetched(self, epoch: str, given: Any) -> None:
        try:
            items = await given
        finally:
            self._fetching = None
        if epoch == self.place.epoch:
            self._put_in(items)

    def _put_in(self, items: list[Item] | None) -> bool:
        """Take items in the place of those that are here, but for newer ones; tell whether there are any."""
        if items is None:
            return False
        number = self.place.number
        known = deque(item for item in items if item.number <= number)  # the others are to be told
        here = self._items
        while here and known and here[0].number <= known[-1].number:
            here.popleft()
        known.extend(here)
        if known and known[-1].number != number:
            return False  # more have come, and are here no longer
        self._items = known
        self._size = sum(item.size for item in known)
        return True

    def _item(self, number: int) -> Item:
        return self._items[number - self._items[0].number]

    # Its pushes

    def _between(self, since: int, number: int, form: int) -> list[bytes]:
        """Give the pushes of the items behind `since`, up to `number`."""
        return [self._push_of(at, family_of(form)) for at in range(since + 1, number + 1)]

    def _some_behind(self, position: int, form: int) -> list[bytes]:
        """Give the pushes of some items behind `position`."""
        pushes: list[bytes] = []
        size = 0
        while size < _AT_ONCE and position < self.place.number:
            position += 1
            pushes.append(self._push_of(position, family_of(form)))
            size += len(pushes[-1])
        return pushes

    def _push_of(self, number: int, family: int) -> bytes:
        """Give the push of one item, made once for all who are told of it in this turn."""
        push_of = self._made.get((family, number))
        if push_of is None:
            item = self._item(number)
            data = item.encoded(family)
            if data is None:  # nobody has wanted that when it was published
                data = self.node.in_msgpack(item.json)
            if not self._made:
                self.node.loop.call_soon(self._made.clear)
            push_of = self._made[family, number] = push(self.name, version_of(self.place.epoch, number), data, family)
            self.node.meter.encodings += 1
        return push_of
