"""A name that is subscribed to, and a change → the next run of its handler, and what becomes of one that fails."""

from __future__ import annotations

from collections.abc import Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import Fan
from aiorest_ws.realtime.reruns import Outcome, Rerun

if TYPE_CHECKING:
    from aiorest_ws.realtime.node import LocalNode
    from aiorest_ws.realtime.places import Place
    from aiorest_ws.realtime.subscriptions import Subscription
    from aiorest_ws.realtime.timers import Timer

__all__ = ("NEVER", "Topic")

NEVER = float("-inf")  # a time of the loop
_RETRY = 1.0  # seconds after which a run that failed is tried again


class Topic:
    """One name, and the runs of its handler: one is under way, and one waits, at most.

    place     its url
    name      url and `args`
    asks_guards    a run does: who may be sent nothing before they are asked, may have one
    """

    asks_guards = False

    __slots__ = (
        *("_began", "_is_due", "_is_late", "_is_running", "_is_void", "_refresh", "_rerun", "_rests_until", "_timer"),
        *("is_changed", "message", "name", "params", "place", "plan"),
    )

    def __init__(self, place: Place, name: str, message: Any, plan: Any, params: tuple[Any, ...]) -> None:
        self.place = place
        self.name = name
        self.message = message
        self.plan = plan
        self.params = params
        self.is_changed = False  # somebody said so, and waits to be told
        self._began = NEVER
        self._is_due = False
        self._is_running = False
        self._is_void = False  # what the run under way gives counts for nothing: it is asked again
        self._is_late = False  # the last run failed
        self._rests_until = NEVER  # after that
        self._rerun: Rerun | None = None  # that is under way
        self._timer: Timer | None = None
        self._refresh: Timer | None = None

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

    def look_again(self) -> None:
        """Have what `is_changed` looked at, unless a run that began since does so."""
        if self.is_changed:
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

    def hold(self) -> None:
        """Take note that guards are to be asked: where a run does so, nothing comes of one that began before."""

    def go_on(self) -> None:
        """Take note that what kept a run from beginning may be over."""
        if self._is_due and not self._is_running and self._timer is None:
            self._line_up()

    def _line_up(self) -> None:
        self._timer = None
        self.node.runs.add(self)

    def refresh(self) -> None:
        """Have the handler run again and again, where others write what it reads."""
        if self.live.refresh and self._refresh is None:
            self._refresh = self.node.timers.after(self.live.refresh, self._on_refresh)

    def _on_refresh(self) -> None:
        self._refresh = None
        self.refresh()
        self.ask()

    def on_known(self) -> None:
        """Begin at the number of its place, which is known now."""

    def begin_anew(self) -> None:
        """Take note that numbers are of another epoch from now on: what a run under way gives is under none of them."""
        self._is_void = self._is_running

    def stop(self) -> None:
        """Nothing more is to be done for it: what is under way is cancelled."""
        self._is_due = False
        if self._refresh is not None:
            self._refresh.cancel()
            self._refresh = None
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
            self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        """End the subscriptions: that is how the last run ended."""

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
