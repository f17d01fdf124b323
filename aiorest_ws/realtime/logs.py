"""The items of a log, one after another → every subscriber, each item once and in order, or the end."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import Fan, fan_out
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

    __slots__ = ("_items", "_late", "_size", "_tells", "_told")

    def __init__(self, place: Place, name: str, message: Any, plan: Any, params: tuple[Any, ...]) -> None:
        super().__init__(place, name, message, plan, params)
        self._items: deque[Item] = deque()
        self._size = 0
        self._late: dict[Any, None] = {}  # those that have not been sent what was told
        self._tells = False
        self._told = place.number  # what all have been sent who are not late

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
        self._let_in(subscription)
        if subscription.position < self.place.number:
            self._reaches(subscription.position)
            self._late[subscription] = None
            self.tell_soon()

    def remove(self, subscription: Subscription) -> None:
        self._late.pop(subscription, None)
        super().remove(subscription)

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
            self.node.outbox.soon(self._tell_now)

    def _tell_now(self) -> None:
        self._tells = False
        self._tell_all()

    def _tell_all(self) -> None:
        number, since = self.place.number, self._told
        self._told = number
        if number > since:
            fan = Fan(self.node.outbox, lambda form: self._pushes(since, number, form))
            told, left = fan_out(self.subscribers, fan, since, number, self.seen)
            self.node.meter.deliveries += told * (number - since)
            for subscription in left:
                if not subscription.is_over:  # somebody's own code, called meanwhile, has ended it
                    self._late[subscription] = None
        for subscription in list(self._late):
            if not subscription.is_behind:
                self.catch_up(subscription)
        self._tidy()

    def _tidy(self) -> None:
        """Keep no items that everybody has been sent."""
        if not self._late and self._told == self.place.number:
            self._items.clear()
            self._size = 0

    def _pushes(self, since: int, number: int, form: int) -> list[bytes] | None:
        """Give the pushes of the items behind `since` up to `number`; None if they are kept no longer."""
        items = self._items
        first = since + 1 - (items[0].number if items else number + 1)
        if first < 0 or first + number - since > len(items):
            return None
        family = family_of(form)
        return [self._push(item, form, family) for item in islice(items, first, first + number - since)]

    def _push(self, item: Item, form: int, family: int) -> bytes:
        data = item.encoded(family)
        if data is None:
            data = item.msgpack = self.node.in_msgpack(item.json)
        self.node.meter.encodings += 1
        return push(self.name, version_of(self.place.epoch, item.number), data, form)

    def catch_up(self, subscription: Subscription) -> None:
        # Somebody's own code, called by the client's connection, may publish, or end the subscription: look again.
        while not subscription.is_over and subscription.position < self.place.number:
            if not self._reaches(subscription.position):
                subscription.end(409, _TOO_FAR, 0)
            elif not subscription.takes_pushes() or not self._send_some(subscription):
                self.node.meter.skipped += 1
                self._late[subscription] = None
                subscription.lag()
                return
        self._late.pop(subscription, None)
        subscription.arrive()
        self._tidy()

    def _send_some(self, subscription: Subscription) -> bool:
        """Send the next items, so many that a client is asked again whether it reads before memory is spent on it."""
        position, family = subscription.position, family_of(subscription.form)
        payloads: list[bytes] = []
        size = 0
        for item in islice(self._items, position + 1 - self._items[0].number, None):
            payloads.append(self._push(item, subscription.form, family))
            size += len(payloads[-1])
            if size >= _AT_ONCE:
                break
        fan = Fan(self.node.outbox, lambda _: payloads)
        is_sent = fan.send(subscription, position + len(payloads), self.seen)
        self.node.meter.deliveries += len(payloads) if is_sent else 0
        return is_sent

    def _put_out(self) -> None:
        """Put out the oldest items, beyond what is kept for those who are behind; who needs them is ended."""
        while len(self._items) > 1 and self._size > self.live.history_bytes:
            self._size -= self._items.popleft().size
        first = self._items[0].number if self._items else self.place.number + 1
        for subscription in list(self._late):
            if subscription.position + 1 < first:
                subscription.end(409, _TOO_FAR, 0)

    def changed(self) -> None:
        """A log has items, and no state that changes."""
