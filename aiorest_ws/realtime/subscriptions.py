"""The subscriptions of one connection: what it is told of, what is being answered, and who is behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import Subscriber
from aiorest_ws.realtime.messages import ending
from aiorest_ws.realtime.reruns import jittered

if TYPE_CHECKING:
    from aiorest_ws.realtime.attempts import Attempt
    from aiorest_ws.realtime.node import LocalNode

__all__ = ("Subscription", "Subscriptions")

_OPEN = 3  # state of a connection, as in `_speedups.frames`
_NONE = 500, None, None
_COMES_BACK = (409, 429)  # and with what is the server's fault


class Subscription(Subscriber):
    """One topic of one connection.

    topic      what it is told of
    table      those of its connection
    message    the SUBSCRIBE, which is asked again
    turn       of that message: of two, the later counts
    plan, params    of the GET, with its guards
    entry      what is listed of who subscribes, where that is asked for
    lease      the token that its guards saw, if they saw one: see `guards`
    last_words what it will be told at its end: status, detail and seconds after which to come back
    """

    __slots__ = ("entry", "guards_run", "last_words", "lease", "message", "params", "plan", "table", "topic", "turn")

    def __init__(self, table: Subscriptions, topic: Any, attempt: Attempt) -> None:
        super().__init__(table.connection, attempt.form, attempt.number)
        self.table = table
        self.topic = topic
        self.guards_run: Any = None  # that is under way, or to come
        self.lease: Any = None
        self.last_words: tuple[int, Any, float | None] = _NONE
        self.entry: dict[str, Any] | None = None
        self.renew(attempt)

    def renew(self, attempt: Attempt) -> None:
        """Let the message of `attempt` take the place of the one before."""
        self.form = attempt.form
        self.message = attempt.message
        self.turn = attempt.turn
        self.plan = attempt.plan
        self.params = attempt.params
        self.seen = attempt.seen
        if self.entry != attempt.entry:
            self._leave(may_come_back=False)
            self.entry = attempt.entry
            if self.entry is not None:
                self.table.node.presence.join(self.topic.place.url, self.entry)

    def _leave(self, *, may_come_back: bool) -> None:
        entry, self.entry = self.entry, None
        if entry is not None:
            self.table.node.presence.leave(self.topic.place.url, entry["id"], may_come_back=may_come_back)

    @property
    def name(self) -> str:
        return self.topic.name  # type: ignore[no-any-return]

    @property
    def is_behind(self) -> bool:
        return self in self.table.behind

    def takes_pushes(self) -> bool:
        return not self.is_held and bool(self.connection._takes_pushes())

    def catch_up(self) -> None:
        """Send what it has not been sent, as far as the client takes it."""
        self.table.behind.pop(self, None)
        if not self.is_over and (self.topic.asks_guards or not self.is_held):
            self.topic.catch_up(self)

    def lag(self) -> None:
        """Take note that something is to be sent, once the client reads."""
        self.table.behind[self] = None

    def end(self, status: int, detail: Any, retry: int | None = None) -> None:
        """End it, and tell the client why. Does nothing if it is over."""
        if self.is_over:
            return
        name, form, connection, node = self.name, self.form, self.connection, self.table.node
        self.table.drop(self, may_come_back=status >= 500 or status in _COMES_BACK)
        node.meter.ended(status)
        if connection.state == _OPEN:
            node.outbox.push(connection, [ending(name, status, detail, retry, form)], form)

    def end_as_said(self) -> None:
        status, detail, seconds = self.last_words
        self.end(status, detail, None if seconds is None else jittered(seconds))

    def release(self, *, may_come_back: bool) -> None:
        """Let go of what watches it; nothing more is sent to it, by whoever is sending to many just now."""
        self.is_held = True
        self.position = -1
        self._leave(may_come_back=may_come_back)
        if self.lease is not None:
            self.lease.cancel()
            self.lease = None
        self.guards_run = None


class Subscriptions:
    """All of one connection.

    by_topic    name → subscription
    attempts    name → those SUBSCRIBEs that are being answered
    behind      subscriptions that wait for the client to read
    """

    __slots__ = ("attempts", "behind", "by_topic", "connection", "node", "turns")

    def __init__(self, node: LocalNode, connection: Any) -> None:
        self.node = node
        self.connection = connection
        self.by_topic: dict[str, Subscription] = {}
        self.attempts: dict[str, list[Attempt]] = {}
        self.behind: dict[Subscription, None] = {}
        self.turns = 0

    def __len__(self) -> int:
        return len(self.by_topic)

    def has_room(self, name: str, most: int) -> bool:
        """Tell whether there may be `name`, too, with at most so many, those included that may be soon."""
        if len(self.by_topic) + len(self.attempts) < most or name in self.by_topic or name in self.attempts:
            return True
        return len(self.by_topic) + sum(name not in self.by_topic for name in self.attempts) < most

    def drop(self, subscription: Subscription, *, may_come_back: bool = False) -> None:
        """Forget one; its client may come back for it, or wants it no longer. Does nothing if it is over."""
        if subscription.is_over:
            return
        subscription.is_over = True
        del self.by_topic[subscription.name]
        self.behind.pop(subscription, None)
        self.node.meter.left()
        subscription.release(may_come_back=may_come_back)
        subscription.topic.remove(subscription)

    def breathe(self) -> None:
        """Go on: the client reads."""
        behind, self.behind = self.behind, {}
        for subscription in behind:
            subscription.catch_up()

    def renewed(self) -> None:
        """Take note that the connection has another token."""
        for subscription in list(self.by_topic.values()):
            if subscription.is_held:
                self.node.guards.ask(subscription)

    def close(self) -> None:
        """Forget all: the connection is gone."""
        for subscription in list(self.by_topic.values()):
            self.drop(subscription, may_come_back=True)
        for attempts in list(self.attempts.values()):
            for attempt in list(attempts):
                attempt.release()

    def end_all(self, status: int, detail: Any, retry: float) -> None:
        """End all; their client may come back after `retry` seconds, about."""
        for subscription in list(self.by_topic.values()):
            subscription.end(status, detail, jittered(retry))
