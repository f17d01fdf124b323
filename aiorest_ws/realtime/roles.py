"""What a request may be for subscriptions, and what the core asks of it on its way: `request._live`."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ("Answered", "Counted", "Role")


class Counted(NamedTuple):
    """As what a request is counted: the route that it is about, None for none, and its verb."""

    route: Any
    method: str


class Role:
    """What most requests are that mean something to subscriptions.

    takes_value    `take` makes the reply of what the handler gives
    raises         what goes wrong is raised; else it becomes a reply
    is_rerun       nobody has sent it now
    subscribes     it is asked for a subscription
    is_once        it came with a key, under which it is done once
    is_replayed    its reply carries what came of it when it was asked before
    survives       it goes on although its client has left
    is_announced   it is a SUBSCRIBE that a router's own `process_request` sees first
    counted        as what, if not as its plan says
    """

    takes_value = False
    raises = False
    is_rerun = False
    subscribes = False
    is_once = False
    is_replayed = False
    survives = False
    is_announced = False
    counted: Counted | None = None

    def called(self) -> None:
        """Take note that all guards have let it pass: what its handler depends on comes next."""

    def entered(self) -> None:
        """Take note that the handler is being called, maybe in a thread."""

    def returned(self) -> None:
        """Take note that the handler has given its result."""

    def failed(self, exc: BaseException) -> None:
        """Take note of what went wrong, in the handler or elsewhere; more than once if it goes up."""

    def in_thread(self) -> None:
        """Take note that something of it begins in a thread."""

    def out_of_thread(self) -> None:
        """Take note that something of it has ended in a thread."""

    def enter(self, request: Any) -> Any:
        """Be in the place of the handler of a shared route: give an empty Response, or an awaitable of one."""
        raise NotImplementedError

    def take(self, replies: Any, request: Any, plan: Any, view: Any, result: Any) -> bytes:
        """Give the rendered reply to what the handler gave."""
        raise NotImplementedError

    def recovered(self, replies: Any, request: Any, result: Any) -> bytes | None:
        """As `take`, for what an exception handler gave; None: that is the reply."""
        return None

    def late(self, request: Any) -> None:
        """Take note that it will be answered now, in the place of a handler that goes on; `end` is to come."""

    def leave(self) -> bool:
        """Take note that its client has left; tell whether it goes on."""
        return False

    def settle(self, connection: Any, request: Any, rendered: bytes) -> bytes | None:
        """Do what is to be done when it is answered, or was by somebody `late`; give what is to be sent.

        None: nothing yet, as `connection.put_off` was called; then it is asked once more.
        """
        return rendered

    def end(self, request: Any) -> None:
        """Take note that it has ended, and that nobody is to be answered any more."""


class Answered(Role):
    """A request that is answered at once: UNSUBSCRIBE, PING."""

    def __init__(self, counted: Counted) -> None:
        self.counted = counted
