"""The items of a log, one after another → every subscriber, each item once and in order, or the end."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import fan_out, sent
from aiorest_ws.realtime.brokers import Item
from aiorest_ws.realtime.messages import family_of, push
from aiorest_ws.realtime.topics import SharedState
from aiorest_ws.realtime.versions import version_of

if TYPE_CHECKING:
    from aiorest_ws.realtime.node import Place
    from aiorest_ws.realtime.subscriptions import Subscription

__all__ = ("Log",)

_TOO_FAR = "too far behind: items were put out that have not been sent"
_AT_ONCE = 16 * 1024  # bytes of items that are sent to one client before it is asked whether it reads


class Log(SharedState):
    """A topic of which every item is sent, in order.

    Who is behind has a place in the items that are kept here as long as somebody needs them, up to `history_bytes`.
    """

    __slots__ = ("_items", "_size", "_tells", "_told")

    def __init__(self, place: Place, name: str, message: Any, plan: Any, params: tuple[Any, ...]) -> None:
        super().__init__(place, name, message, plan, params)
        self._items: deque[Item] = deque()
        self._size = 0
        self._tells = False
        self._told = place.number  # what all have been sent who are not behind

    def is_fresh(self, family: int) -> bool:
        return super().is_fresh(family) and self._reaches(self.number)

    def _set(self, values: dict[int, bytes], number: int, is_changed: bool) -> None:
        self.values, self.number = values, number
        self.node.timers.after(self.live.interval, self._let_go)

    def _reaches(self, position: int) -> bool:
        """Tell whether all behind `position` is here, or kept by the broker."""
        if position >= self.place.number or (self._items and self._items[0].number <= position + 1):
            return True
        items = self.node.history(self.place, position)
        if items is None:
            return False
        self._items = deque(items)
        self._size = sum(item.size for item in items)
        return True

    def add(self, subscription: Subscription) -> None:
        self.subscribers.append(subscription)
        if subscription.position < self.place.number:
            self._reaches(subscription.position)
            self.tell_soon()

    def on_item(self, item: Item) -> None:
        """Take the next item, for all."""
        self._items.append(item)
        self._size += item.size
        if self._size > self.live.history_bytes:
            self._tell_all()  # what can be sent is sent, before what somebody needs is put out
            self._put_out()
        else:
            self.tell_soon()

    def tell_soon(self) -> None:
        """Tell all in this turn of the loop: what is published in it leaves together."""
        if not self._tells:
            self._tells = True
            self.node.loop.call_soon(self._tell_now)

    def _tell_now(self) -> None:
        self._tells = False
        self._tell_all()

    def _tell_all(self) -> None:
        number, since = self.place.number, self._told
        self._told = number
        left: list[Any] = self.subscribers
        if number > since:
            told, left = fan_out(list(left), since, number, self.seen, lambda form: self._pushes_behind(since, form))
            self.node.meter.deliveries += told * (number - since)
        is_needed = False
        for subscription in left:
            if subscription.position < number and not subscription.is_over:
                if not subscription.is_behind:
                    self.catch_up(subscription)
                is_needed = is_needed or subscription.position < number
        if not is_needed and self.place.number == number:
            self._items.clear()
            self._size = 0

    def _pushes_behind(self, position: int, form: int) -> list[bytes]:
        """Give the pushes of all items behind `position`."""
        family = family_of(form)
        first = len(self._items) - (self.place.number - position)
        return [self._push(self._items[at], form, family) for at in range(first, len(self._items))]

    def _push(self, item: Item, form: int, family: int) -> bytes:
        data = item.encoded(family)
        if data is None:
            data = item.msgpack = self.node.in_msgpack(item.json)
        self.node.meter.encodings += 1
        return push(self.name, version_of(self.place.epoch, item.number), data, form)

    def catch_up(self, subscription: Subscription) -> None:
        if subscription.position >= self.place.number:
            return
        if not self._reaches(subscription.position):
            subscription.end(409, _TOO_FAR, 0)
            return
        form = subscription.form
        family = family_of(form)
        payloads: list[bytes] = []
        size = 0
        first = len(self._items) - (self.place.number - subscription.position)
        for at in range(first, len(self._items)):
            if not payloads and not subscription.takes_pushes():
                break
            payloads.append(self._push(self._items[at], form, family))
            size += len(payloads[-1])
            if size >= _AT_ONCE or at == len(self._items) - 1:
                self._send_items(subscription, payloads)
                payloads, size = [], 0
        if subscription.position < self.place.number:
            self.node.meter.skipped += 1
            subscription.lag()

    def _send_items(self, subscription: Subscription, payloads: list[bytes]) -> None:
        if sent(subscription, payloads):
            subscription.position += len(payloads)
            self.node.meter.deliveries += len(payloads)

    def _put_out(self) -> None:
        """Put out the oldest items, beyond what is kept for those who are behind; who needs them is ended."""
        while len(self._items) > 1 and self._size > self.live.history_bytes:
            self._size -= self._items.popleft().size
        first = self._items[0].number if self._items else self.place.number + 1
        for subscription in list(self.subscribers):
            if subscription.position + 1 < first:
                subscription.end(409, _TOO_FAR, 0)

    def changed(self) -> None:
        """A log has items, and no state that changes."""
