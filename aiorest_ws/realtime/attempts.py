"""A SUBSCRIBE on its way → its one reply, and the subscription, or nothing that is left of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import Response, Resumed, again, kept, set_method, set_status
from aiorest_ws.exceptions import HTTPError
from aiorest_ws.realtime.logs import Log
from aiorest_ws.realtime.messages import family_of, reply
from aiorest_ws.realtime.presence import entry_of
from aiorest_ws.realtime.private_states import PrivateState
from aiorest_ws.realtime.reruns import Outcome, Recheck, begin
from aiorest_ws.realtime.roles import Counted, Role
from aiorest_ws.realtime.shared_states import Known, SharedState
from aiorest_ws.realtime.sharing import check_empty, connection_context
from aiorest_ws.realtime.subscriptions import Subscription
from aiorest_ws.realtime.versions import Version, digest_of, version_of

if TYPE_CHECKING:
    from aiorest_ws.realtime.places import Place
    from aiorest_ws.realtime.subscriptions import Subscriptions

__all__ = ("Attempt",)

_CONFLICT = 409
_NOT_MODIFIED, _PARTIAL = 304, 206


class Attempt(Role):
    """One SUBSCRIBE, which goes the way of a GET.

    number, digest, seen    of the value in its reply
    turn                    of its connection: of two of one topic, the later counts
    is_called               its guards have let it pass
    """

    takes_value = True
    subscribes = True

    # Of most it stays as it is here: nothing is set that need not be.
    digest: str | None = None
    seen = 0
    entry: dict[str, Any] | None = None  # of who subscribes, as it is listed
    topic: SharedState | None = None  # of a shared route
    is_called = False
    _value: Known | None = None  # of a shared route, as it is when it is asked for
    _data = b""  # of another
    _is_there = False
    _is_lost = False  # items of the log have been, on their way here
    _is_resumed = False
    _is_to_be_asked = False  # something changed since its guards let it pass
    _is_over = False
    _renews = False
    _awaits: asyncio.Future[Known | None] | None = None

    def __init__(
        self,
        table: Subscriptions,
        place: Place,
        name: str,
        request: Any,
        *,
        plan: Any,
        params: tuple[Any, ...],
        since: Version | None,
    ) -> None:
        self.table = table
        self.place = place
        self.name = name
        self.plan = plan
        self.params = params
        self.form = request.form
        self.message = kept(request, plan.exact)
        self.number = place.number
        table.turns += 1
        self.turn = table.turns
        self._since = since
        self._request = request
        table.attempts.setdefault(name, []).append(self)
        place.attempts[self] = None
        place.families.add(family_of(self.form))
        if plan.live.live.shared:
            self.topic = place.shared(name, self.message, plan, params)
            self.topic.attempts += 1
            self.name, self.params = self.topic.name, self.topic.params  # the same: one is kept for all

    @property
    def counted(self) -> Counted:  # type: ignore[override]
        """As what it is counted, for who counts."""
        return Counted(self.plan.route, "SUBSCRIBE")

    @property
    def is_log(self) -> bool:
        return isinstance(self.topic, Log)

    # On its way

    def called(self) -> None:
        self.is_called = True

    def on_known(self) -> None:
        """Begin at the number of its place, which is known now."""
        self.number = self.place.number

    def begin_anew(self) -> None:
        """Take note that numbers are of another epoch from now on: what it has is under none of them."""
        self.number = -1
        self._is_lost = self._is_resumed or self._value is not None
        if self._value is not None:
            self._value = self._value._replace(number=-1)

    def recheck(self) -> None:
        """Have its guards asked again, once it is a subscription."""
        self._is_to_be_asked = True

    def enter(self, request: Any) -> Any:
        """Be in the place of the handler of a shared route: give an empty Response once there is a value, or later."""
        topic = self.topic
        assert topic is not None
        if isinstance(topic, Log) and self._is_of(topic.place):
            assert self._since is not None
            if topic.has_all_behind(self._since.number, family_of(self.form)):
                self._is_resumed = True
                return Response()
            if not topic.node.broker.is_local:
                return self._resumed(topic)
        return self._value_of(topic)

    def _value_of(self, topic: SharedState) -> Any:
        family = family_of(self.form)
        if not topic.is_fresh(family) or self._is_to_be_asked:
            return self._wanted(topic, family)
        self._value = topic.known(family)
        return Response()

    async def _resumed(self, topic: Log) -> Response:
        """Get the missed items from where they are kept, else its first `data`."""
        assert self._since is not None
        await topic.fetch(self._since.number)
        if self._is_of(topic.place) and topic.has_all_behind(self._since.number, family_of(self.form)):
            self._is_resumed = True
            return Response()
        given = self._value_of(topic)
        return given if isinstance(given, Response) else await given

    async def _wanted(self, topic: SharedState, family: int) -> Response:
        """Wait for a value; who must not see it any more by then, does not."""
        if self._is_over:
            return Response()  # it was answered before it came to this: nobody asks
        awaits: asyncio.Future[Known | None] = topic.wanted(family)
        self._awaits = awaits
        self._value = await awaits
        while self._is_to_be_asked and not self._is_over:
            self._is_to_be_asked = False
            await self._ask_guards()
        return Response()

    async def _ask_guards(self) -> None:
        """Ask the guards again; raises what they refuse with."""
        outcomes: list[Outcome | None] = []
        node, connection = self.table.node, self.table.connection
        request = again(self.message)
        request._live = Recheck()
        left = begin(
            *(connection._pipeline, request, self.plan, self.params),
            context=connection_context(connection),
            done=lambda _, outcome: outcomes.append(outcome),
            seconds=node.run_seconds,
        )
        if left is not None:
            await Resumed(*left, None, False)
        if outcomes[0] is not None:
            raise HTTPError(outcomes[0].status, outcomes[0].detail)

    def _is_of(self, place: Place) -> bool:
        """Tell whether what the client has is a version of the log as it is now."""
        since = self._since
        return (
            since is not None and since.digest is None and since.epoch == place.epoch and since.number <= place.number
        )

    def take(self, replies: Any, request: Any, plan: Any, view: Any, result: Any) -> bytes:
        """Take what the handler gave: `settle` says it, once what the handler needed is cleaned up."""
        if self.topic is None:
            if self.is_called:
                self._data = replies.value(request, result, family_of(self.form))
                self._has_value(request)
        elif self._is_resumed or self._value is not None:
            check_empty(result, self.plan.live)
            self._has_value(request)
        return b""

    def recovered(self, replies: Any, request: Any, result: Any) -> bytes:
        """As `take`; but the value of what is shared is none that an exception handler gives to one who asks."""
        return b"" if self.topic is not None else self.take(replies, request, None, None, result)

    def _has_value(self, request: Any) -> None:
        presence = self.plan.live.live.presence
        if presence is not None:
            self.entry = entry_of(presence, request)
        self._is_there = True

    def _rendered(self, request: Any) -> bytes:
        """Give the reply that carries the value, or says that the client has it."""
        if isinstance(self.topic, Log):
            return self._log(request)
        data = self._data
        if self.topic is None:
            self.digest = digest_of(data)
        else:
            assert self._value is not None
            value = self._value  # what came since may be none of its business
            value = value if self._is_to_be_asked else self.topic.latest(value, family_of(self.form))
            data, self.number, self.digest, self.seen = value
        version = version_of(self.place.epoch, max(0, self.number), self.digest)
        if self._since is not None and self._since.digest == self.digest:
            set_status(request, _NOT_MODIFIED)
            return reply(request, self.name, version)
        set_status(request, 200)
        return reply(request, self.name, version, data)

    def _log(self, request: Any) -> bytes:
        key = self.plan.live.live.key
        if self._is_resumed:
            assert self._since is not None
            self.number, number = self._since.number, self.place.number
            set_status(request, _NOT_MODIFIED if self.number == number else _PARTIAL)
            return reply(request, self.name, version_of(self.place.epoch, number), key=key)
        assert self._value is not None
        data, self.number, _, _ = self._value
        set_status(request, 200)
        return reply(request, self.name, version_of(self.place.epoch, self.number), data, key)

    # Its end

    def late(self, request: Any) -> None:
        self.release()

    def settle(self, connection: Any, request: Any, rendered: bytes) -> bytes:
        """Subscribe, if that is the reply of one who may; give what is to be sent."""
        set_method(request, "SUBSCRIBE")
        if self._is_over:
            return rendered
        try:
            if request.status < 400:
                rendered = self._admitted(connection, request)
        except Exception as exc:  # of what looks at tokens, or carries publications: an application may have its own
            rendered = self._refuse(connection, request, exc)
            self._undo(request.status)
        finally:
            self.release()
        return rendered

    def _admitted(self, connection: Any, request: Any) -> bytes:
        """Subscribe, unless nothing came of its handler or a later one has; give the reply."""
        if not self._is_there:
            self.table.node.report(request, _unanswered(self.plan))
            return self._refuse(connection, request, _unanswered(self.plan))
        if self._is_lost and self.is_log:
            return self._refuse(connection, request, HTTPError(_CONFLICT, "items were lost meanwhile: subscribe again"))
        existing = self.table.by_topic.get(self.name)
        if existing is not None and existing.turn > self.turn:
            return self._refuse(connection, request, HTTPError(_CONFLICT, "subscribed to again since"))
        rendered = self._rendered(request)
        if connection.state == connection.STATE_OPEN:
            self._renews = existing is not None
            self._subscribe(existing)
        return rendered

    def _undo(self, status: int) -> None:
        """Let go of what could not be subscribed to, or renewed, to its end; its client knows of what it had before."""
        subscription = self.table.by_topic.get(self.name)
        if subscription is None or subscription.turn != self.turn:
            return
        if self._renews:
            subscription.end(status, "it could not be renewed")
        else:
            self.table.drop(subscription)

    def _refuse(self, connection: Any, request: Any, exc: Exception) -> bytes:
        return connection._pipeline.refuse(request, exc)  # type: ignore[no-any-return]

    def _subscribe(self, existing: Subscription | None) -> None:
        topic: Any = self.topic
        if existing is not None:
            self._renew(existing)
            subscription = existing
        else:
            if topic is None:
                topic = PrivateState(self.place, self.name, self.message, self.plan, self.params)
                topic.digest = self.digest
                self.place.private[topic] = None
            subscription = Subscription(self.table, topic, self)
            self.table.by_topic[self.name] = subscription
            topic.add(subscription)
            self.table.node.meter.began()
        self.table.node.guards.watch(subscription, self._request)
        if self._is_to_be_asked:
            self.table.node.guards.ask(subscription)

    def _renew(self, existing: Subscription) -> None:
        position = max(existing.position, self.number) if self._is_resumed else self.number
        existing.renew(self)
        existing.position = position
        existing.is_held = False
        existing.guards_run = None
        topic = existing.topic
        if isinstance(topic, PrivateState):
            topic.renew(self.digest or "")
            if position < self.place.number:
                topic.changed()
        else:
            topic.catch_up_soon(existing)

    def cancel(self) -> None:
        """Answer it in the place of what it waits for: the client wants it no longer. Nothing of it takes effect."""
        self.table.connection._answer_with(self._request, HTTPError(_CONFLICT, "unsubscribed meanwhile"))

    def end(self, request: Any) -> None:
        """Nobody is to be answered any more."""
        self.release()

    def release(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._request = None  # which has this: the two would be left to the garbage collector
        if self._awaits is not None and not self._awaits.done():
            self._awaits.set_result(None)  # nobody may ask for the value any more: what waits for it goes on to its end
        table, place, topic = self.table, self.place, self.topic
        attempts = table.attempts[self.name]
        attempts.remove(self)
        if not attempts:
            del table.attempts[self.name]
        del place.attempts[self]
        existing = table.by_topic.get(self.name)
        if existing is not None:
            existing.topic.go_on()
        if topic is not None:
            topic.attempts -= 1
        if existing is None or existing.topic.place is not place:  # else it keeps both
            if topic is not None:
                topic.drop_if_unused()
            place.drop_if_unused()


def _unanswered(plan: Any) -> Exception:
    return HTTPError(503, f"GET {plan.route.path} was answered by what is around its handler: nobody is subscribed")
