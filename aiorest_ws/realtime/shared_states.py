"""The value of a topic that is one for all → what each of its subscribers is told."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, NamedTuple

from aiorest_ws._speedups import Fan, fan_out_state, forms_of
from aiorest_ws.exceptions import HTTPError
from aiorest_ws.realtime.brokers import Item
from aiorest_ws.realtime.messages import MSGPACK, family_of, fitting, push
from aiorest_ws.realtime.reruns import Outcome, Rerun, begin
from aiorest_ws.realtime.sharing import impersonal
from aiorest_ws.realtime.topics import NEVER, Topic
from aiorest_ws.realtime.versions import digest_of, version_of

if TYPE_CHECKING:
    from aiorest_ws.realtime.places import Place
    from aiorest_ws.realtime.subscriptions import Subscription

__all__ = ("Known", "SharedState")


class Known(NamedTuple):
    """A value, in one encoding, as it was after one run."""

    data: bytes
    number: int
    digest: str
    seen: int


class SharedState(Topic):
    """A topic that is the same for all: one run of the handler, by nobody, and one encoding of each form.

    subscribers    who is told
    values         family → the value as it is encoded; kept as long as it is new
    digests        family → what says which value it is
    number         of the value
    seen           counts the values that differed
    """

    __slots__ = (
        *("_as_of", "_news", "_said", "_same", "_waiting"),
        *("attempts", "digests", "number", "seen", "subscribers", "values"),
    )

    def __init__(self, place: Place, name: str, message: Any, plan: Any, params: tuple[Any, ...]) -> None:
        super().__init__(place, name, message, plan, params)
        self.subscribers: list[Any] = []
        self.attempts = 0
        self.values: dict[int, bytes] = {}
        self.digests: dict[int, str] = {}
        self.number = -1
        self.seen = 0
        self._as_of = NEVER  # time from which the value is
        self._said = -1  # number of the last change: whoever was sent less is told, of the same value, too
        self._waiting: list[tuple[int, asyncio.Future[Known | None]]] = []
        self._news: Fan | None = None  # tells the value, made once for all
        self._same: Fan | None = None  # tells that it is what it was

    @property
    def is_threaded(self) -> bool:
        return bool(self.plan.live.value.threaded)

    # Who subscribes

    def _let_in(self, subscription: Subscription) -> None:
        subscription.at = len(self.subscribers)
        self.subscribers.append(subscription)

    def add(self, subscription: Subscription) -> None:
        self._let_in(subscription)
        self.refresh()
        if self.number < self.place.number and not self.is_stale:
            self.changed()  # while nobody was there to be told
        if subscription.seen != self.seen or subscription.position < self.place.number:
            self.catch_up_soon(subscription)

    def remove(self, subscription: Subscription) -> None:
        last = self.subscribers.pop()
        if last is not subscription:
            self.subscribers[subscription.at] = last
            last.at = subscription.at
        self.drop_if_unused()

    def drop_if_unused(self) -> None:
        if not self.subscribers and not self.attempts:
            self.stop()
            self.place.remove(self)

    def stop(self) -> None:
        super().stop()
        self.values = {}

    # Its value

    def is_fresh(self, family: int) -> bool:
        """Tell whether the value can be had without a run."""
        return not self.is_stale and self._is_young(family)

    def _is_young(self, family: int) -> bool:
        """Tell whether the value is there, is younger than `interval`, and nobody has said that it changed since."""
        is_young = self.node.timers.now() - self._as_of < self.live.interval
        return family in self.values and is_young and not self.is_changed

    def known(self, family: int) -> Known:
        """Give the value, which is there."""
        return Known(self.values[family], self.number, self.digests.get(family, ""), self.seen)

    def latest(self, known: Known, family: int) -> Known:
        """Give the value of now in the place of one that was had before, if it is there, or is the same."""
        if self.number <= known.number:
            return known
        if family in self.values:
            return self.known(family)
        is_same = self.digests.get(family) == known.digest
        return known._replace(number=self.number, seen=self.seen) if is_same else known

    def wanted(self, family: int) -> asyncio.Future[Known | None]:
        """Give a future of the value in `family` when it is there; it raises HTTPError if there is none."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((family, future))
        self.ask()
        return future

    def begin_anew(self) -> None:
        super().begin_anew()
        self.number = self._said = -1
        self._news = self._same = None
        for subscription in self.subscribers:
            subscription.position = -1

    def _may_run(self) -> bool:
        self._waiting = [(family, future) for family, future in self._waiting if not future.done()]
        return bool(self.subscribers or self._waiting)

    def _run(self, number: int) -> tuple[Coroutine[Any, Any, None], Context] | None:
        waiting, self._waiting = self._waiting, []
        self._is_void = False
        is_changed, self.is_changed = self.is_changed, False
        request = impersonal(self.message, self.node.app)
        families = {family for family, _ in waiting} | self._families()
        request._live = rerun = Rerun(families)
        request._pipeline = self.node.pipeline

        def done(_: Any, outcome: Outcome | None) -> None:
            self._rerun = None
            if self._is_void:
                self._waiting = waiting + self._waiting
                self.is_changed = self.is_changed or is_changed
                self.ask()
                self._ended()
                return
            if outcome is None:
                self._is_late = False
                values = {family: fitting(data) for family, data in rerun.values.items()}
                self._set(values, number, is_changed)
                waiting.extend(self._joined())
            self._serve(waiting, outcome)
            if outcome is not None:
                self.is_changed = self.is_changed or is_changed
                self._failed(outcome)
            self._ended()

        self._rerun = rerun
        value = self.plan.live.value
        context = self.node.context()
        return begin(
            self.node.pipeline, request, value, self.params, context=context, done=done, seconds=self.node.run_seconds
        )

    def _joined(self) -> list[tuple[int, asyncio.Future[Known | None]]]:
        """Give those who have come since the run began, for whom its value is as good as for who comes now."""
        joined = [(family, future) for family, future in self._waiting if self._is_young(family)]
        self._waiting = [(family, future) for family, future in self._waiting if not self._is_young(family)]
        return joined

    def _serve(self, waiting: list[tuple[int, asyncio.Future[Known | None]]], outcome: Outcome | None) -> None:
        """Give those who are `waiting` the value, or what went wrong; who wants it in another form waits on."""
        for family, future in waiting:
            if future.done():
                continue
            if outcome is not None:
                future.set_exception(HTTPError(outcome.status, outcome.detail))
            elif family in self.values:
                future.set_result(self.known(family))
            else:
                self._waiting.append((family, future))
                self.ask()

    def _set(self, values: dict[int, bytes], number: int, is_changed: bool) -> None:
        """Take note of a value, and tell who has another one; and of the same, who waits to hear so."""
        if number < self.number:
            # One was published since the run began: who is behind, and waited for what would come of it, is told that.
            self._tell(is_changed=False)
            return
        digests = {family: digest_of(data) for family, data in values.items()}
        known = digests.keys() & self.digests.keys()
        if known and all(digests[family] == self.digests[family] for family in known):
            self.digests = self.digests | digests  # the same, in one more form maybe
        else:
            self.digests = digests
            self.seen += 1
        self.values = values
        self._news = self._same = None
        is_said = is_changed and self.number != number
        self.number = number
        if is_said:
            self._said = number
        self._as_of = self._began
        self._tell(is_said)
        self.node.timers.after(self.live.interval, self._let_go)

    def _let_go(self) -> None:
        """Keep a value no longer that is not new."""
        if self.node.timers.now() - self._as_of >= self.live.interval:
            self.values = {}
            self._news = None

    def published(self, value: Item, number: int) -> None:
        """Take a value that is known: the handler would find the same."""
        values = {0: value.json}
        if value.msgpack is not None:
            values[MSGPACK] = value.msgpack
        self._began = self.node.timers.now()
        if not self._families() <= values.keys():
            self.changed()
            return
        self._set(values, number, True)

    def _families(self) -> set[int]:
        """Give the ways in which those who subscribe want values encoded."""
        return {family_of(form) for form in forms_of(self.subscribers)}

    def _tell(self, is_changed: bool) -> None:
        told, left = fan_out_state(
            *(self.subscribers, self._fan(is_new=True), self._fan(is_new=False) if is_changed else None),
            *(self.number, self.seen),
        )
        self.node.meter.deliveries += told
        for subscription in left:
            self._is_not_told(subscription)

    def _send(self, subscription: Subscription) -> None:
        """Send the value, or that it is still the same."""
        fan = self._fan(is_new=subscription.seen != self.seen)
        if fan.send(subscription, self.number, self.seen):
            self.node.meter.deliveries += 1
        else:
            self._is_not_told(subscription)

    def _is_not_told(self, subscription: Subscription) -> None:
        """Have it told once it can be."""
        if subscription.is_over:
            return  # somebody's own code, called meanwhile, has ended it
        is_new = subscription.seen != self.seen
        if family_of(subscription.form) not in (self.values if is_new else self.digests):
            self.ask()
        else:
            self.node.meter.skipped += 1
            subscription.lag()

    def _fan(self, *, is_new: bool) -> Fan:
        """Give what tells the value, or that it is still the same, made once for all."""
        fan = self._news if is_new else self._same
        if fan is None:
            number, values, digests = self.number, self.values, self.digests

            def render(form: int) -> list[bytes] | None:
                family = family_of(form)
                if family not in (values if is_new else digests):
                    return None
                self.node.meter.encodings += 1
                version = version_of(self.place.epoch, number, digests[family])
                return [push(self.name, version, values[family] if is_new else None, form)]

            fan = Fan(self.node.outbox, render)
            if is_new:
                self._news = fan
            else:
                self._same = fan
        return fan

    def catch_up(self, subscription: Subscription) -> None:
        if subscription.seen != self.seen:
            if not self.is_stale:  # else what comes of that is told to all
                self._send(subscription)
        elif subscription.position < self._said:
            self._send(subscription)

    def _end(self, outcome: Outcome) -> None:
        self.node.end_all(self.subscribers, outcome.status, outcome.detail, outcome.seconds)
