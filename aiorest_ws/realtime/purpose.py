"""What a request is for subscriptions, beside a request: what its way past the guards and through its handler tells it.

It is `Request._live`; None, as for nearly all requests, costs a look.
"""

from __future__ import annotations

from typing import Any

__all__ = ("Purpose",)


class Purpose:
    """Does nothing of itself.

    takes_value    `take` gets what the handler gave, and gives what is sent in its place
    raises         what no exception handler takes is raised; else it becomes a reply
    is_rerun       nobody has sent the request now: it is asked again
    subscribes     it is a SUBSCRIBE, or asked again for one
    """

    takes_value = False
    raises = False
    is_rerun = False
    subscribes = False

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

    def settle(self, connection: Any, request: Any, rendered: bytes) -> bytes:
        """Give what is sent for a rendered reply: it has ended."""
        return rendered

    def overtaken(self, request: Any) -> None:
        """Take note that it is answered with an error before it has ended; `end` is to come."""

    def end(self, request: Any) -> None:
        """Take note that it has ended, and that nobody is to be answered any more."""
