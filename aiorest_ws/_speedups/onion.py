"""Middlewares, and what they stand around → the answer of the outermost: the onion."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

from aiorest_ws.callables.calls import call

__all__ = ("CallNext", "Layer")

CallNext = Callable[[Any], Awaitable[Any]]


class Layer:
    """What a middleware gets as `call_next`: all that is inside of it.

    answer    makes a Response of what a middleware gives
    core      the innermost: request → Response
    logs      the context in which a request ends is wanted, also if it ends well
    """

    __slots__ = ("_answer", "_at", "_core", "_logs", "_middlewares", "_view")

    def __init__(
        self,
        middlewares: tuple[Any, ...],
        view: Any,
        core: CallNext,
        answer: Callable[[Any], Any],
        logs: bool = False,
        at: int = 0,
    ) -> None:
        self._middlewares = middlewares
        self._view = view
        self._core = core
        self._answer = answer
        self._logs = logs
        self._at = at

    async def __call__(self, request: Any) -> Any:
        """Give the Response to `request`, or raise what goes wrong inside."""
        try:
            if self._at == len(self._middlewares):
                given = await self._core(request)
            else:
                middleware = self._middlewares[self._at]
                inside = Layer(self._middlewares, self._view, self._core, self._answer, self._logs, self._at + 1)
                if hasattr(middleware, "process_request"):
                    await call(middleware.process_request, request, self._view)
                    given = await inside(request)
                else:
                    given = self._answered(middleware, await call(middleware, request, inside))
        except BaseException:  # raised again, also when it is a cancellation
            if request._ended_in is None:
                request._ended_in = copy_context()  # before those outside take back what they set
            raise
        if self._logs and request._ended_in is None:
            request._ended_in = copy_context()
        return given

    def _answered(self, middleware: Any, given: Any) -> Any:
        if given is None:
            raise TypeError(f"middleware {middleware!r} gave None, expected what call_next gives, or a Response")
        return self._answer(given)
