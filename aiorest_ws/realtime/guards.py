"""Subscriptions whose guards are to be asked again → those that go on, and those that end.

Until its guards have let it pass, nothing is sent to a subscription: it counts as behind. A token that has expired
holds it, too; another one of the same subject lets it go on, and without one it ends after a while.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import again
from aiorest_ws.realtime.crowds import Crowd
from aiorest_ws.realtime.reruns import Outcome, Recheck, begin
from aiorest_ws.realtime.sharing import connection_context

if TYPE_CHECKING:
    from aiorest_ws.realtime.node import LocalNode
    from aiorest_ws.realtime.subscriptions import Subscription
    from aiorest_ws.realtime.timers import Timer

__all__ = ("Guards",)

_SOON = 0.05  # seconds, at least, from one look at a token to the next
_AGAIN = 1.0  # seconds until guards are asked again that have failed
_NOBODY = 401


class _Asking:
    """The guards of one subscription of a shared topic, to be asked: see `runs.Run`."""

    __slots__ = ("_node", "subscription")

    is_threaded = False

    def __init__(self, node: LocalNode, subscription: Subscription) -> None:
        self._node = node
        self.subscription = subscription

    @property
    def owner(self) -> Any:
        return self.subscription.connection

    def begin(self) -> tuple[Coroutine[Any, Any, None], Context] | None:
        subscription = self.subscription
        if subscription.is_over or subscription.guards_run is not self:
            return None
        request = again(subscription.message)
        request._live = Recheck()
        context = connection_context(subscription.connection)
        return begin(
            *(subscription.connection._pipeline, request, subscription.plan, subscription.params),
            context=context,
            done=self._done,
            seconds=self._node.run_seconds,
        )

    def _done(self, request: Any, outcome: Outcome | None) -> None:
        subscription = self.subscription
        if subscription.is_over or subscription.guards_run is not self:
            return  # asked anew meanwhile
        subscription.guards_run = None
        guards = self._node.guards
        if outcome is None:
            guards.passed(subscription, request)
        elif not guards.waits(subscription, outcome):
            if outcome.status >= 500:
                self._node.timers.after(_AGAIN, lambda: guards.ask(subscription))
            else:
                subscription.end(outcome.status, outcome.detail, outcome.retry)


class _Lease:
    """The token that the guards of a subscription saw.

    subject    whose it is
    timer      of its expiry, then of the end
    is_over    it has expired: another one of the same subject may come
    """

    __slots__ = ("is_over", "subject", "timer")

    def __init__(self, subject: Any) -> None:
        self.subject = subject
        self.timer: Timer | None = None
        self.is_over = False

    def cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class Guards:
    """Asks guards again, and watches what they have seen."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node
        self._asking = Crowd(node.runs, self._ask)

    def ask(self, subscription: Subscription) -> None:
        """Have the guards of `subscription` asked; nothing is sent to it until they have let it pass."""
        if subscription.is_over:
            return
        self._hold(subscription)
        self._ask(subscription)

    def ask_all(self, subscriptions: list[Subscription]) -> None:
        """Have the guards of each asked, of very many by and by; nothing is sent to any of them from now on."""
        for subscription in subscriptions:
            self._hold(subscription)
        self._asking.add(subscriptions)

    def _hold(self, subscription: Subscription) -> None:
        subscription.is_held = True
        subscription.guards_run = None  # what is under way was asked before
        subscription.topic.hold()

    def _ask(self, subscription: Subscription) -> None:
        if subscription.is_over:
            return
        if subscription.plan.live.live.shared:
            asking = subscription.guards_run = _Asking(self._node, subscription)
            self._node.runs.add(asking)
        else:
            subscription.topic.ask()

    def passed(self, subscription: Subscription, request: Any) -> bool:
        """Let it go on, if its guards have let `request` pass as the same one; tell whether it does."""
        lease = subscription.lease
        if lease is not None and lease.subject != _subject_of(request):
            if not (lease.is_over and request.token_payload is None):
                subscription.end(_NOBODY, "the token is another's: subscribe again")
            return False  # or held: nobody is whom a route lets pass that asks for no user
        was_held, subscription.is_held = subscription.is_held, False
        self.watch(subscription, request)
        if was_held and subscription.plan.live.live.shared:
            subscription.catch_up()  # of others, what has let it pass is the value
        return True

    def watch(self, subscription: Subscription, request: Any) -> None:
        """Hold it once the token of `request` has expired."""
        if subscription.lease is not None:
            subscription.lease.cancel()
            subscription.lease = None
        payload = request.token_payload
        if not isinstance(payload, dict):
            return
        lease = subscription.lease = _Lease(_subject_of(request))
        ends = payload.get("exp")
        believer = self._believer(subscription)
        if believer is not None and isinstance(ends, (int, float)):
            left = ends + getattr(believer.manager, "leeway", 0) - believer.manager.now()
            # Some are taken for longer than they say; and by another clock than ours it may not be over when we look.
            seconds = max(left, _SOON) if left > 0 else _AGAIN
            lease.timer = self._node.timers.after(seconds, lambda: self._expired(subscription, lease, believer.grace))

    def _expired(self, subscription: Subscription, lease: _Lease, grace: float) -> None:
        lease.is_over = True
        lease.timer = self._node.timers.after(grace, lambda: subscription.end(_NOBODY, "the token has expired"))
        self.ask(subscription)

    def _believer(self, subscription: Subscription) -> Any:
        """Give the middleware that looks at tokens, None if there is none that knows how late it is."""
        asked = (*self._node.middlewares, *subscription.plan.middlewares)
        return next((each for each in asked if hasattr(each, "grace") and hasattr(each, "manager")), None)

    def waits(self, subscription: Subscription, outcome: Outcome) -> bool:
        """Tell whether it is held, not ended: its token has expired, and another may come."""
        return outcome.status == _NOBODY and subscription.lease is not None and subscription.lease.is_over


def _subject_of(request: Any) -> Any:
    """Give whose token the guards have seen; None if they saw none."""
    payload = request.token_payload
    return (payload.get("sub"),) if isinstance(payload, dict) else None
