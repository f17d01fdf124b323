"""What takes what a handler, or its guards, say when they are asked again; and the way there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, NamedTuple

from aiorest_ws._speedups import Response, decode
from aiorest_ws.exceptions import HandlerFailed
from aiorest_ws.realtime.roles import Role

__all__ = ("Outcome", "Recheck", "Rerun", "begin", "jittered")

_TOO_LONG = 504
_COME_BACK = 5.0  # seconds, about, after which a client is told to try again
_LONGEST = 10.0  # seconds, where requests may take any time


class Outcome(NamedTuple):
    """What a run ended with that gave no value."""

    status: int
    detail: Any

    @property
    def seconds(self) -> float | None:
        """Seconds, about, after which it makes sense to come back; None if it does not."""
        return _COME_BACK if self.status >= 500 or self.status == 429 else None

    @property
    def retry(self) -> int | None:
        """Milliseconds of them, for one of many."""
        return None if self.seconds is None else jittered(self.seconds)


class Rerun(Role):
    """Takes a value, encoded in each of some families, in the place of a reply.

    values          family → data as it is encoded; empty until the handler has given one
    is_cancelled    nobody wants to know any more
    """

    takes_value = True
    is_rerun = True
    subscribes = True

    def __init__(self, families: set[int]) -> None:
        self._families = families
        self._is_called = False
        self._task: asyncio.Task[Any] | None = None
        self.is_cancelled = False
        self.values: dict[int, bytes] = {}

    def called(self) -> None:
        self._is_called = True

    def take(self, replies: Any, request: Any, plan: Any, view: Any, result: Any) -> bytes:
        if not self._is_called:
            raise RuntimeError(f"a middleware around GET {request.route.path} has answered in the place of its handler")
        self.values = {family: replies.value(request, result, family) for family in self._families}
        return b""

    def recovered(self, replies: Any, request: Any, result: Any) -> bytes:
        return self.take(replies, request, None, None, result)

    def goes_on(self) -> None:
        """Take note of the task in which it goes on: one step more, if it was cancelled before.

        A coroutine that has not begun would drop what it is to await.
        """
        self._task = asyncio.current_task()
        if self.is_cancelled and self._task is not None:
            self._task.cancel()

    def cancel(self) -> None:
        """Let what is left of it come to nothing: nobody wants to know any more."""
        self.is_cancelled = True
        if self._task is not None:
            self._task.cancel()


class Recheck(Role):
    """Is in the place of the value of a shared route, where only its guards are asked."""

    takes_value = True
    is_rerun = True
    subscribes = True

    def enter(self, request: Any) -> Response:
        return Response()

    def take(self, replies: Any, request: Any, plan: Any, view: Any, result: Any) -> bytes:
        return b""


def begin(
    pipeline: Any,
    request: Any,
    plan: Any,
    params: tuple[Any, ...],
    *,
    context: Context,
    done: Callable[[Any, Outcome | None], None],
    seconds: float | None,
) -> tuple[Coroutine[Any, Any, None], Context] | None:
    """Run `request`, and call `done` with it and what went wrong; give what is left of that, if it has to wait.

    `done` is called however it ends, unless that is a `Rerun` that was cancelled.
    """
    given = context.run(pipeline.run, request, plan, params)
    if type(given) is bytes:
        done(request, _outcome(request, given))
        return None
    return _wait(given, request, done, seconds or _LONGEST), context


async def _wait(given: Any, request: Any, done: Callable[[Any, Outcome | None], None], seconds: float) -> None:
    rerun = request._live if isinstance(request._live, Rerun) else None
    if rerun is not None:
        rerun.goes_on()
    try:
        async with asyncio.timeout(seconds):
            rendered = await given
    except TimeoutError:
        outcome: Outcome | None = Outcome(_TOO_LONG, "the handler takes too long")
    except asyncio.CancelledError:
        if rerun is None or not rerun.is_cancelled:
            # The handler cancelled itself, or its task was: whoever waits for what it gives would wait for ever.
            done(request, Outcome(HandlerFailed.status, HandlerFailed.default_detail))
        raise
    else:
        outcome = _outcome(request, rendered)
    done(request, outcome)


def _outcome(request: Any, rendered: bytes) -> Outcome | None:
    """Give what went wrong, if anything did: then `rendered` is the reply that says so."""
    if request.status < 400:
        if isinstance(request._live, Rerun) and not request._live.values:
            return Outcome(503, "the router has answered in the place of the handler")
        return None
    return Outcome(request.status, decode(rendered, request.form & 4).get("detail"))


def jittered(seconds: float) -> int:
    """Give milliseconds after which to come back, not all at once."""
    return int(seconds * 1000 * random.uniform(0.5, 1.5))
