"""Guards, and what they stand around → the answer of the outermost: the onion."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

from aiorest_ws._speedups.turns import authenticates
from aiorest_ws.callables.calls import call

__all__ = ("CallNext", "Onion")

CallNext = Callable[[Any], Awaitable[Any]]


class Onion:
    """The guards of one request, some of which are called with (request, call_next).

    guards    in order; `checks` are among them
    report    what `checks` call with (request, exception), as of `Replies`
    core      the innermost: request → what the handler gives
    response    the class of what comes from inside, if need be made of it
    logs      the context in which a request ends is wanted, also if it ends well
    asked     the checks were come to
    """

    __slots__ = ("asked", "checks", "core", "guards", "logs", "report", "response", "view")

    def __init__(
        self,
        guards: tuple[Any, ...],
        checks: tuple[Any, ...],
        view: Any,
        report: Callable[[Any, BaseException], None] | None,
        core: CallNext,
        *,
        response: type,
        logs: bool = False,
    ) -> None:
        self.guards = guards
        self.checks = checks
        self.view = view
        self.report = report
        self.core = core
        self.response = response
        self.logs = logs
        self.asked = not checks

    async def peel(self, request: Any) -> Any:
        """Give the Response to `request`, which nobody gets who may not pass."""
        given = await Layer(self)(request)
        if self.asked:
            return given

        # One of them has answered by itself, before the user was known.
        async def answered(request: Any) -> Any:
            return given

        asking = tuple(guard for guard in self.guards if authenticates(guard) or self.is_check(guard))
        again = Onion(asking, self.checks, self.view, self.report, answered, response=self.response)
        given = await Layer(again)(request)
        if not again.asked:  # by one that authenticates
            for check in self.checks:
                await call(check.ask, request, self.view, self.report)
        return given

    def answer(self, given: Any) -> Any:
        return given if isinstance(given, self.response) else self.response(given)

    def is_check(self, guard: Any) -> bool:
        return any(guard is check for check in self.checks)


class Layer:
    """What a middleware gets as `call_next`: all that is inside of it."""

    __slots__ = ("_at", "_onion")

    def __init__(self, onion: Onion, at: int = 0) -> None:
        self._onion = onion
        self._at = at

    async def __call__(self, request: Any) -> Any:
        """Give the Response to `request`, or raise what goes wrong inside."""
        onion = self._onion
        try:
            if self._at == len(onion.guards):
                given = onion.answer(await onion.core(request))
            else:
                guard = onion.guards[self._at]
                inside = Layer(onion, self._at + 1)
                if hasattr(guard, "process_request"):
                    await call(guard.process_request, request, onion.view)
                    given = await inside(request)
                elif onion.is_check(guard):
                    onion.asked = True
                    await call(guard.ask, request, onion.view, onion.report)
                    given = await inside(request)
                else:
                    given = onion.answer(_given(guard, await call(guard, request, inside)))
        except BaseException:  # raised again, also when it is a cancellation
            if request._ended_in is None:
                request._ended_in = copy_context()  # before those outside take back what they set
            raise
        if onion.logs and request._ended_in is None:
            request._ended_in = copy_context()
        return given


def _given(middleware: Any, given: Any) -> Any:
    if given is None:
        raise TypeError(f"middleware {middleware!r} gave None, expected what call_next gives, or a Response")
    return given
