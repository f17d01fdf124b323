"""What a topic was last known to be → what its subscribers are told: states that are the same for all, or one's own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, NamedTuple

from aiorest_ws._speedups import Fan, again, fan_out_state, forms_of
from aiorest_ws.exceptions import HTTPError
from aiorest_ws.realtime.brokers import Item
from aiorest_ws.realtime.messages import family_of, push
from aiorest_ws.realtime.reruns import Outcome, Rerun, begin, jittered
from aiorest_ws.realtime.sharing import connection_context, impersonal
from aiorest_ws.realtime.versions import digest_of, version_of

if TYPE_CHECKING:
    from aiorest_ws.realtime.node import LocalNode, Place
    from aiorest_ws.realtime.subscriptions import Subscription
    from aiorest_ws.realtime.timers import Timer

__all__ = ("Known", "PrivateState", "SharedState", "Topic")

_NEVER = float("-inf")
_RETRY = 1.0  # seconds after which a run that failed is tried again
_COME_BACK = 5.0  # seconds, about, after which a client is told to try again


class Topic:
    """One name, and the runs of its handler: one is under way, and one waits, at most.

    place     its url
    name      url and `args`
    asks_guards    a run does: who may be sent nothing before they are asked, may have one
    """

    asks_guards = False

    __slots__ = (
        *("_began", "_is_due", "_is_late", "_is_running", "_rerun", "_rests_until", "_timer"),
        *("is_changed", "message", "name", "params", "place", "plan"),
    )

    def __init__(self, place: Place, name: str, message: Any, plan: Any, params: tuple[Any, ...]) -> None:
        self.place = place
        self.name = name
        self.message = message
        self.plan = plan
        self.params = params
        self.is_changed = False  # somebody said so, and waits to be told
        self._began = _NEVER
        self._is_due = False
        self._is_running = False
        self._is_late = False  # the last run failed
        self._rests_until = _NEVER  # after that
        self._rerun: Rerun | None = None  # that is under way
        self._timer: Timer | None = None

    @property
    def node(self) -> LocalNode:
        return self.place.node

    @property
    def live(self) -> Any:
        return self.plan.live.live

    @property
    def is_stale(self) -> bool:
        """Tell whether a run is due, or under way."""
        return self._is_due or self._is_running

    def changed(self) -> None:
        """Have the value looked at again, and whoever waits for that told."""
        self.is_changed = True
        self.ask()

    def ask(self) -> None:
        """Have the handler run again, as soon as its interval allows."""
        if self._is_due:
            return
        self._is_due = True
        if not self._is_running:
            self._put_in_line()

    def _put_in_line(self) -> None:
        timers = self.node.timers
        at = max(self._began + self.live.interval, self._rests_until)
        if at > timers.now():
            self._timer = timers.at(at, self._line_up)
        else:
            self._line_up()

    def go_on(self) -> None:
        """Take note that what kept a run from beginning may be over."""
        if self._is_due and not self._is_running and self._timer is None:
            self._line_up()

    def _line_up(self) -> None:
        self._timer = None
        self.node.runs.add(self)

    def stop(self) -> None:
        """Nothing more is to be done for it: what is under way is cancelled."""
        self._is_due = False
        if self._rerun is not None:
            self._rerun.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def owner(self) -> Any:
        return self

    @property
    def is_threaded(self) -> bool:
        return False

    def begin(self) -> tuple[Coroutine[Any, Any, None], Context] | None:
        """Run it: see `runs.Run`."""
        if not self._is_due or self._is_running or self._has_to_wait():
            return None
        self._is_due = False
        if not self._may_run():
            return None
        self._is_running = True
        self._began = self.node.timers.now()
        self.node.meter.runs += 1
        return self._run(self.place.number)

    def _has_to_wait(self) -> bool:
        """Tell whether it cannot be run yet: `go_on` is called when it may be."""
        return False

    def _may_run(self) -> bool:
        """Tell whether anybody wants to know."""
        return True

    def _run(self, number: int) -> tuple[Coroutine[Any, Any, None], Context] | None:
        raise NotImplementedError

    def _ended(self) -> None:
        self._is_running = False
        if self._is_due:
            self._put_in_line()

    def _failed(self, outcome: Outcome) -> None:
        """Try again, or end: the server's fault may be over soon, the client's is not."""
        if outcome.status >= 500 and not self._is_late:
            self._is_late = True
            self._rests_until = self.node.timers.now() + _RETRY
            self.ask()
        else:
            self._is_late = False
            comes_back = outcome.status >= 500 or outcome.status == 429
            self._end(outcome.status, outcome.detail, jittered(_COME_BACK) if comes_back else None)

    def _end(self, status: int, detail: Any, retry: int | None) -> None:
        """End the subscriptions."""

    def remove(self, subscription: Subscription) -> None:
        """Forget one who subscribed."""

    def catch_up(self, subscription: Subscription) -> None:
        """Send what one who was behind has not been sent."""

    def catch_up_soon(self, subscription: Subscription) -> None:
        """Do so behind the reply to its SUBSCRIBE, which comes before all that is pushed."""
        self.node.outbox.soon(subscription.catch_up)

    def _fan_of(self, pushes: list[bytes]) -> Fan:
        """Give what tells one subscriber."""
        return Fan(self.node.outbox, lambda _: pushes)


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
        *("_as_of", "_news", "_refresh", "_said", "_same", "_waiting"),
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
        self._as_of = _NEVER  # time from which the value is
        self._said = -1  # number of the last change: whoever was sent less is told, of the same value, too
        self._waiting: list[tuple[int, asyncio.Future[Known | None]]] = []
        self._news: Fan | None = None  # tells the value, made once for all
        self._same: Fan | None = None  # tells that it is what it was
        self._refresh: Timer | None = None

    @property
    def is_threaded(self) -> bool:
        return bool(self.plan.live.value.threaded)

    # Who subscribes

    def _let_in(self, subscription: Subscription) -> None:
        subscription.at = len(self.subscribers)
        self.subscribers.append(subscription)

    def add(self, subscription: Subscription) -> None:
        self._let_in(subscription)
        if self.live.refresh and self._refresh is None:
            self._refresh = self.node.timers.after(self.live.refresh, self._on_refresh)
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
        if self._refresh is not None:
            self._refresh.cancel()
            self._refresh = None

    def _on_refresh(self) -> None:
        self._refresh = self.node.timers.after(self.live.refresh, self._on_refresh)
        self.ask()

    # Its value

    def is_fresh(self, family: int) -> bool:
        """Tell whether the value can be had without a run."""
        is_young = self.node.timers.now() - self._as_of < self.live.interval
        return family in self.values and is_young and not self.is_stale and not self.is_changed

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

    def _may_run(self) -> bool:
        self._waiting = [(family, future) for family, future in self._waiting if not future.done()]
        return bool(self.subscribers or self._waiting)

    def _run(self, number: int) -> tuple[Coroutine[Any, Any, None], Context] | None:
        waiting, self._waiting = self._waiting, []
        is_changed, self.is_changed = self.is_changed, False
        request = impersonal(self.message, self.node.app)
        families = {family for family, _ in waiting} | self._families()
        request._live = rerun = Rerun(families)
        request._pipeline = self.node.pipeline

        def done(_: Any, outcome: Outcome | None) -> None:
            self._rerun = None
            if outcome is None:
                self._is_late = False
                self._set(rerun.values, number, is_changed)
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
            return  # one that was published since the run began
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
            values[4] = value.msgpack
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

    def _end(self, status: int, detail: Any, retry: int | None) -> None:
        for subscription in list(self.subscribers):
            subscription.end(status, detail, retry)


class PrivateState(Topic):
    """A topic of one subscription: a run is the same GET, asked again, guards and all."""

    asks_guards = True

    __slots__ = ("_is_void", "_refresh", "digest", "subscription")

    def __init__(self, place: Place, name: str, message: Any, plan: Any, params: tuple[Any, ...]) -> None:
        super().__init__(place, name, message, plan, params)
        self.digest = ""
        self.subscription: Any = None
        self._is_void = False  # guards are to be asked before anything is sent: what the run under way gives is not
        self._refresh: Timer | None = None

    @property
    def owner(self) -> Any:
        return self.subscription.connection

    @property
    def is_threaded(self) -> bool:
        return bool(self.plan.threaded)

    def add(self, subscription: Subscription) -> None:
        self.subscription = subscription
        if self.live.refresh:
            self._refresh = self.node.timers.after(self.live.refresh, self._on_refresh)
        if subscription.position < self.place.number:
            self.changed()

    def renew(self, digest: str) -> None:
        """Let the message of the subscription be asked from now on."""
        subscription = self.subscription
        self.digest = digest
        self.message, self.plan, self.params = subscription.message, subscription.plan, subscription.params
        self._is_void = self._is_running  # that is of the message before

    def remove(self, subscription: Subscription) -> None:
        self.stop()
        if self._refresh is not None:
            self._refresh.cancel()
            self._refresh = None
        self.place.remove(self)

    def _on_refresh(self) -> None:
        self._refresh = self.node.timers.after(self.live.refresh, self._on_refresh)
        self.ask()

    def recheck(self) -> None:
        """Have the guards asked, which is a run, before anything more is sent."""
        self._is_void = self._is_running
        self.ask()

    def _has_to_wait(self) -> bool:
        attempts = self.subscription.table.attempts.get(self.name, ())
        # One that may take its place has the handler's ear: its number must not be lower then.
        return not self.subscription.is_over and any(attempt.is_called for attempt in attempts)

    def _may_run(self) -> bool:
        subscription = self.subscription
        if subscription.is_over:
            return False
        if not subscription.connection._takes_pushes():
            subscription.lag()
            return False
        return True

    def catch_up(self, subscription: Subscription) -> None:
        self.ask()

    def _run(self, number: int) -> tuple[Coroutine[Any, Any, None], Context] | None:
        subscription = self.subscription
        self._is_void = False
        is_changed, self.is_changed = self.is_changed, False
        family = family_of(subscription.form)
        request = again(self.message)
        request._live = rerun = Rerun({family})

        def done(request: Any, outcome: Outcome | None) -> None:
            self._rerun = None
            if not subscription.is_over:
                self._take(request, outcome, rerun.values.get(family), number, is_changed)
            self._ended()

        self._rerun = rerun
        context = connection_context(subscription.connection)
        pipeline, seconds = subscription.connection._pipeline, self.node.run_seconds
        return begin(pipeline, request, self.plan, self.params, context=context, done=done, seconds=seconds)

    def _take(self, request: Any, outcome: Outcome | None, data: bytes | None, number: int, is_changed: bool) -> None:
        """Take what a run gave, unless guards are to be asked anew since it began."""
        guards = self.node.guards
        if self._is_void:
            self.is_changed = self.is_changed or is_changed
            self.ask()
        elif outcome is None:
            assert data is not None
            self._is_late = False
            if guards.passed(self.subscription, request):
                self._tell(data, number, is_changed)
            else:
                self.is_changed = self.is_changed or is_changed
        else:
            self.is_changed = self.is_changed or is_changed
            if not guards.waits(self.subscription, outcome):
                self._failed(outcome)

    def _tell(self, data: bytes, number: int, is_changed: bool) -> None:
        subscription = self.subscription
        digest = digest_of(data)
        is_same = digest == self.digest
        if is_same and not is_changed:
            return
        version = version_of(self.place.epoch, number, digest)
        self.node.meter.encodings += 1
        payloads = [push(self.name, version, None if is_same else data, subscription.form)]
        if self._fan_of(payloads).send(subscription, number, 0):
            self.digest = digest
            self.node.meter.deliveries += 1
        else:
            self.is_changed = self.is_changed or is_changed
            self.node.meter.skipped += 1
            subscription.lag()

    def _end(self, status: int, detail: Any, retry: int | None) -> None:
        self.subscription.end(status, detail, retry)
