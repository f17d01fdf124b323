"""The value of a topic that is one subscription's alone → what that is told."""

from __future__ import annotations

from collections.abc import Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import again
from aiorest_ws.realtime.messages import family_of, push
from aiorest_ws.realtime.reruns import Outcome, Rerun, begin
from aiorest_ws.realtime.sharing import connection_context
from aiorest_ws.realtime.topics import Topic
from aiorest_ws.realtime.versions import digest_of, version_of

if TYPE_CHECKING:
    from aiorest_ws.realtime.places import Place
    from aiorest_ws.realtime.subscriptions import Subscription

__all__ = ("PrivateState",)


class PrivateState(Topic):
    """A topic of one subscription: a run is the same GET, asked again, guards and all."""

    asks_guards = True

    __slots__ = ("digest", "subscription")

    def __init__(self, place: Place, name: str, message: Any, plan: Any, params: tuple[Any, ...]) -> None:
        super().__init__(place, name, message, plan, params)
        self.digest = ""
        self.subscription: Any = None

    @property
    def owner(self) -> Any:
        return self.subscription.connection

    @property
    def is_threaded(self) -> bool:
        return bool(self.plan.threaded)

    def add(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.refresh()
        if subscription.position < self.place.number:
            self.changed()

    def renew(self, digest: str) -> None:
        """Let the message of the subscription be asked from now on."""
        subscription = self.subscription
        self.digest = digest
        self.message, self.plan, self.params = subscription.message, subscription.plan, subscription.params
        self._is_void = self._is_running  # that is of the message before

    def begin_anew(self) -> None:
        super().begin_anew()
        self.subscription.position = -1

    def remove(self, subscription: Subscription) -> None:
        self.stop()
        self.place.remove(self)
        subscription.topic = None  # which has this one

    def hold(self) -> None:
        """Let nothing come of a run under way: guards are asked, which is another, before anything more is sent."""
        self._is_void = self._is_running

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

    def _end(self, outcome: Outcome) -> None:
        self.subscription.end(outcome.status, outcome.detail, outcome.retry)
