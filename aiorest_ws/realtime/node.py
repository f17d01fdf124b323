"""The urls that somebody in this process subscribes to, and what a broker says of them → their topics."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any

from orjson import loads

from aiorest_ws._speedups import Outbox, write
from aiorest_ws.realtime.brokers import Broker, Item
from aiorest_ws.realtime.guards import Guards
from aiorest_ws.realtime.logs import Log
from aiorest_ws.realtime.messages import MSGPACK
from aiorest_ws.realtime.presence import Presence
from aiorest_ws.realtime.private_states import PrivateState
from aiorest_ws.realtime.runs import Runs
from aiorest_ws.realtime.shared_states import SharedState
from aiorest_ws.realtime.subscriptions import Subscriptions
from aiorest_ws.realtime.timers import Timers
from aiorest_ws.realtime.versions import Mark

if TYPE_CHECKING:
    from aiorest_ws.realtime.attempts import Attempt
    from aiorest_ws.realtime.meter import Meter
    from aiorest_ws.realtime.timers import Timer

__all__ = ("LocalNode", "Place")

_GAP = "items were lost on the way here: subscribe again"


class Place:
    """One url: how far it has come, and who in this process is told of it.

    topics      name → topic, of a route that is shared
    private     topics of one subscription each
    attempts    SUBSCRIBEs that are being answered
    families    ways in which values of it are encoded: those that somebody has wanted since it is here
    """

    __slots__ = ("_recheck", "attempts", "epoch", "families", "node", "number", "private", "topics", "url")

    def __init__(self, node: LocalNode, url: str, mark: Mark, recheck: float | None) -> None:
        self.node = node
        self.url = url
        self.epoch, self.number = mark
        self.topics: dict[str, SharedState] = {}
        self.private: dict[PrivateState, None] = {}
        self.attempts: dict[Attempt, None] = {}
        self.families = {0}
        self._recheck: Timer | None = None
        if recheck:
            self._recheck_in(recheck)

    def _recheck_in(self, seconds: float) -> None:
        def due() -> None:
            self._recheck_in(seconds)
            self.recheck()

        self._recheck = self.node.timers.after(seconds, due)

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
        self.drop_if_unused()

    def drop_if_unused(self) -> None:
        if not self.topics and not self.private and not self.attempts:
            if self._recheck is not None:
                self._recheck.cancel()
                self._recheck = None
            self.node.leave(self)

    def on_item(self, mark: Mark, item: Item) -> None:
        """Take the next item of the log; where some are missing, those behind."""
        if mark.epoch != self.epoch or item.number != self.number + 1:
            self._on_gap(mark, item)
            return
        self.number = item.number
        topic = self.topics.get(self.url)
        if isinstance(topic, Log):
            topic.on_item(item)

    def _on_gap(self, mark: Mark, item: Item) -> None:
        """Take items that the broker has not told of, or end: nothing is sent behind a gap."""
        missed: list[Item] | None = None
        if mark.epoch == self.epoch:
            if item.number <= self.number:
                return  # it was told before
            missed = self.node.history(self, self.number)
        if missed is None:
            self.epoch, self.number = mark.epoch, item.number
            topic = self.topics.get(self.url)
            if isinstance(topic, Log):
                topic.lose(_GAP)
            return
        for each in missed:
            if each.number == self.number + 1:
                self.on_item(mark, each)

    def on_changed(self, mark: Mark, value: Item | None) -> None:
        self.epoch, number = mark
        self.number = number
        for topic in list(self.topics.values()):
            if value is not None and value.topic == topic.name:
                topic.published(value, number)
            else:
                topic.changed()
        for private in list(self.private):
            private.changed()

    def recheck(self) -> None:
        """Have all guards asked, before anything more is sent."""
        for topic in list(self.topics.values()):
            for subscription in list(topic.subscribers):
                self.node.guards.ask(subscription)
        for private in list(self.private):
            self.node.guards.ask(private.subscription)
        for attempt in self.attempts:
            attempt.recheck()


class LocalNode:
    """All subscriptions of one process, in the loop that serves them."""

    def __init__(self, broker: Broker, meter: Meter, factory: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.factories = [factory]
        self.timers = Timers(self.loop)
        self.outbox = Outbox(self.loop, self.context)
        limits = factory.limits
        self.runs = Runs(self.loop, self.timers, limits.max_live_runs, factory.threads // 2)
        self.guards = Guards(self)
        self.meter = meter
        self.broker = broker
        self.presence = Presence(self)
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
            mark = self.broker.subscribe(url, self)
            place = self.places[url] = Place(self, url, mark, live.recheck)
        return place

    def leave(self, place: Place) -> None:
        if self.places.get(place.url) is place:
            del self.places[place.url]
            self.broker.unsubscribe(place.url, self)

    def history(self, place: Place, position: int) -> list[Item] | None:
        """Give the items behind `position`, None if there is one that is kept no longer."""
        return self.broker.history(place.url, Mark(place.epoch, position))  # type: ignore[no-any-return]

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

    def on_recheck(self, url: str | None) -> None:
        if url is None:
            for place in list(self.places.values()):
                place.recheck()
        elif url in self.places:
            self.places[url].recheck()

    def stop(self) -> list[asyncio.Task[None]]:
        """Begin nothing more: there is nobody left."""
        for place in list(self.places.values()):
            self.leave(place)
        self.presence.stop()
        self.timers.stop()
        return self.runs.stop()
