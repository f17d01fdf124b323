"""What waits for a reply: calls on their way, those that wait for their turn, those that nobody waits for any more."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aiorest_ws.client.errors import ClientError, TimedOut

if TYPE_CHECKING:
    from aiorest_ws.client.topics import Topic

__all__ = ("Asking", "Call", "Calls", "Request", "Telling", "late")


class Call:
    """A message that has one reply. What happens to it is told by `take` or `fail`, once, and not in user code.

    number      its `id`
    payload     the message as it is sent
    stays       it waits here while there is no connection: nothing is done twice by sending it later
    repeats     it may be sent again, though it may have run: the server knows it by its key
    is_sent     it may have run
    is_over     it has its outcome, or nobody wants it any more
    """

    __slots__ = ("is_over", "is_sent", "number", "payload", "repeats", "stays", "timer", "was_sent")

    def __init__(self, number: int, payload: bytes, *, stays: bool = False, repeats: bool = False) -> None:
        self.number = number
        self.payload = payload
        self.stays = stays
        self.repeats = repeats
        self.is_sent = self.was_sent = self.is_over = False
        self.timer: asyncio.TimerHandle | None = None

    @property
    def may_have_run(self) -> bool:
        return self.is_sent or self.was_sent

    def finish(self) -> bool:
        """Take note that it is over; False if it was before."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        was_over, self.is_over = self.is_over, True
        return not was_over

    def take(self, message: dict[str, Any]) -> None:
        raise NotImplementedError

    def fail(self, exc: ClientError) -> None:
        raise NotImplementedError


class Request(Call):
    """A call that somebody waits for."""

    __slots__ = ("future",)

    def __init__(self, number: int, payload: bytes, *, stays: bool, repeats: bool) -> None:
        super().__init__(number, payload, stays=stays, repeats=repeats)
        self.future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def take(self, message: dict[str, Any]) -> None:
        if not self.future.done():
            self.future.set_result(message)

    def fail(self, exc: ClientError) -> None:
        if not self.future.done():
            self.future.set_exception(exc)


class Asking(Call):
    """A SUBSCRIBE. Its reply is taken while it is read: pushes may stand right behind it.

    left    names that an UNSUBSCRIBE went out for meanwhile, None if nobody knew it; was one its own, it is over again
    """

    __slots__ = ("left", "since", "topic")

    def __init__(self, topic: Topic, number: int, payload: bytes, since: str | None) -> None:
        super().__init__(number, payload)
        self.topic = topic
        self.since = since
        self.left: list[str | None] = []

    def take(self, message: dict[str, Any]) -> None:
        self.topic.answered(self, message)

    def fail(self, exc: ClientError) -> None:
        self.topic.unanswered(self, exc)


class Telling(Call):
    """What nobody waits for a reply to."""

    __slots__ = ()

    def take(self, message: dict[str, Any]) -> None: ...
    def fail(self, exc: ClientError) -> None: ...


class Calls:
    """All of a client.

    flying      id → those that the server is about to answer, given up or not: each holds one of its places
    waiting     those that wait for a place, or for a connection
    outbox      what is to be sent now
    most        so many at a time are the server's
    """

    __slots__ = ("flying", "given_up", "most", "outbox", "waiting")

    def __init__(self, most: int) -> None:
        self.most = most
        self.flying: dict[int, Call] = {}
        self.waiting: deque[Call] = deque()
        self.outbox: deque[Call] = deque()
        self.given_up = 0

    @property
    def is_full(self) -> bool:
        return len(self.flying) >= self.most

    def launch(self, call: Call) -> None:
        self.flying[call.number] = call
        self.outbox.append(call)

    def fill(self) -> bool:
        """Launch what waits, as far as there is room; True if there is something to be sent."""
        while self.waiting and not self.is_full:
            call = self.waiting.popleft()
            if not call.is_over:
                self.launch(call)
        return bool(self.outbox)

    def landed(self, number: Any) -> Call | None:
        """Give the call that a reply is for, None if it is for nobody."""
        call = self.flying.pop(number, None) if type(number) is int else None
        if call is not None and call.is_over:
            self.given_up -= 1
            return None
        return call

    def give_up(self, call: Call) -> None:
        """Let go of a call. The server goes on with what was sent: its place stays taken until it has answered."""
        if not call.finish():
            return
        if call.number in self.flying:
            if call.is_sent:
                self.given_up += 1
            else:
                del self.flying[call.number]
                self.outbox.remove(call)
        elif call in self.waiting:
            self.waiting.remove(call)

    def is_stuck(self) -> bool:
        """Tell whether all places are taken by calls that nobody waits for."""
        return self.given_up >= self.most

    def drop(self, *, keeps: int) -> Iterator[Call]:
        """Take note that the connection is gone; give those that fail. At most `keeps` stay here for the next one."""
        flying = [call for call in self.flying.values() if not call.is_over]
        waiting = [call for call in self.waiting if not call.is_over]
        self.flying.clear()
        self.waiting.clear()
        self.outbox.clear()
        self.given_up = 0
        for call in [*flying, *waiting]:
            call.was_sent, call.is_sent = call.may_have_run, False
            if (call.repeats or (call.stays and not call.was_sent)) and len(self.waiting) < keeps:
                self.waiting.append(call)
            elif call.finish():
                yield call


def late(seconds: float, reason: ClientError | None, *, may_have_run: bool) -> TimedOut:
    """Give the error of a call that got no reply in time; `reason`: why there is no connection."""
    said = "it may have run" if may_have_run else "it was not sent"
    why = "" if reason is None else f", {reason}"
    return TimedOut(f"no reply within {seconds:g} s: {said}{why}", may_have_run=may_have_run)
