"""What a request may be for subscriptions, and what the core asks of it on its way: `request._live`."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ("Counted", "Role", "Said")


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
    counted        as what, if not as its plan says
    raised         what went wrong, as far as it has become the reply
    """

    takes_value = False
    raises = False
    is_rerun = False
    subscribes = False
    counted: Counted | None = None
    raised: BaseException | None = None

    def called(self) -> None:
        """Take note that the handler is being called: all guards have let the request pass."""

    def watched(self, threads: Any) -> Any:
        """Give what calls in a thread for it."""
        return threads

    def late(self, request: Any) -> None:
        """Take note that it will be answered now, in the place of a handler that takes too long and goes on."""

    def settle(self, connection: Any, request: Any, rendered: bytes) -> bytes:
        """Do what is to be done when it is answered; give what is to be sent."""
        return rendered

    def end(self, request: Any) -> None:
        """Take note that nobody is to be answered any more."""


class Said(Role):
    """A request that is answered at once: UNSUBSCRIBE, PING."""

    def __init__(self, counted: Counted) -> None:
        self.counted = counted
