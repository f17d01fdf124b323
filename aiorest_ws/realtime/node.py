"""The urls that somebody in this process subscribes to, and what a broker says of them → their topics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from orjson import loads

from aiorest_ws._speedups import Outbox, write
from aiorest_ws.realtime.brokers import Broker, Item
from aiorest_ws.realtime.crowds import Crowd
from aiorest_ws.realtime.guards import Guards
from aiorest_ws.realtime.messages import MSGPACK
from aiorest_ws.realtime.pending import Pending
from aiorest_ws.realtime.places import Place
from aiorest_ws.realtime.presence import Presence
from aiorest_ws.realtime.runs import Runs
from aiorest_ws.realtime.subscriptions import Subscription, Subscriptions
from aiorest_ws.realtime.timers import Timers
from aiorest_ws.realtime.topics import Topic
from aiorest_ws.realtime.versions import Mark

if TYPE_CHECKING:
    from aiorest_ws.realtime.meter import Meter

__all__ = ("LocalNode",)


class LocalNode:
    """All subscriptions of one process, in the loop that serves them."""

    def __init__(self, broker: Broker, meter: Meter, factory: Any, pending: Pending) -> None:
        self.loop = asyncio.get_running_loop()
        self.factories = [factory]
        self.timers = Timers(self.loop)
        self.outbox = Outbox(self.loop, self.context)
        limits = factory.limits
        self.runs = Runs(self.loop, self.timers, limits.max_live_runs, factory.threads // 2)
        self.changing = Crowd(self.runs, Topic.look_again)
        self._ending = Crowd(self.runs, Subscription.end_as_said)
        self.guards = Guards(self)
        self.meter = meter
        self.broker = broker
        self.presence = Presence(self)
        self.pending = pending
        self.places: dict[str, Place] = {}

    @property
    def factory(self) -> Any:
        """What runs what is the same for all: that of a listener."""
        return self.factories[-1]

    @property
    def app(self) -> Any:
        return self.factory.app

    @property
    def pipeline(self) -> Any:
        return self.factory.pipeline

    @property
    def middlewares(self) -> tuple[Any, ...]:
        return tuple(self.factory.middlewares)

    @property
    def run_seconds(self) -> float | None:
        """Seconds that a run may take."""
        return self.factory.limits.request_timeout  # type: ignore[no-any-return]

    def context(self) -> Context:
        """Give the context in which what is the same for all runs: the application's, nobody's."""
        context = self.factory.context
        return Context() if context is None else context.copy()

    def report(self, request: Any, exc: BaseException) -> None:
        report = self.pipeline.report
        if report is not None:
            report(request, exc)

    def table(self, connection: Any) -> Subscriptions:
        """Give the subscriptions of `connection`."""
        if connection._live is None:
            connection._live = Subscriptions(self, connection)
        return connection._live  # type: ignore[no-any-return]

    def place(self, url: str, live: Any) -> Place:
        """Give the place of a canonical url; from now on we are told of it."""
        place = self.places.get(url)
        if place is None:
            given = self.broker.subscribe(url, self)
            place = self.places[url] = Place(self, url, live)
            place.begin(given)
        return place

    def end_all(
        self, subscriptions: Iterable[Subscription], status: int, detail: Any, seconds: float | None = None
    ) -> None:
        """End many: nothing is sent to them any more, and they are told so a few at a time.

        seconds    after which they may come back, about; None: it makes no sense
        """
        those = list(subscriptions)
        for each in those:
            each.is_held = True
            each.position = -1
            each.last_words = status, detail, seconds
        self._ending.add(those)

    def leave(self, place: Place) -> None:
        if self.forget(place):
            self.pending.left(self.broker.unsubscribe(place.url, self), f"cannot leave {place.url}")

    def forget(self, place: Place) -> bool:
        """Have nobody come to `place` any more; tells whether anybody could."""
        if self.places.get(place.url) is not place:
            return False
        del self.places[place.url]
        return True

    def history(self, place: Place, position: int) -> Any:
        """Give the items behind `position`, None if there is one that is kept no longer; or an awaitable of that."""
        return self.broker.history(place.url, Mark(place.epoch, position))

    def in_msgpack(self, json: bytes) -> bytes:
        """Give as MessagePack what was published when nobody wanted that."""
        return write(loads(json), MSGPACK)

    # What the broker says

    def on_item(self, url: str, mark: Mark, item: Item) -> None:
        place = self.places.get(url)
        if place is not None:
            place.on_item(mark, item)

    def on_changed(self, url: str, mark: Mark, value: Item | None) -> None:
        place = self.places.get(url)
        if place is not None:
            place.on_changed(mark, value)

    def on_return(self, url: str, mark: Mark) -> None:
        place = self.places.get(url)
        if place is not None:
            place.on_return(mark)

    def on_recheck(self, url: str | None) -> None:
        if url is None:
            for place in list(self.places.values()):
                place.recheck()
        elif url in self.places:
            self.places[url].recheck()

    def changed_here(self, url: str) -> None:
        """Tell those in this process of a change that the broker cannot be told of."""
        place = self.places.get(url)
        if place is not None:
            place.changed_here()

    def stop(self) -> list[asyncio.Task[Any]]:
        """Begin nothing more: there is nobody left."""
        for place in list(self.places.values()):
            self.leave(place)
        self.presence.stop()
        self.timers.stop()
        return self.runs.stop()
