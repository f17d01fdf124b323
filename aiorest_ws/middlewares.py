"""A request and what answers it → the answer, with whatever stands around it: the onion, and two layers for it."""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar
from inspect import signature
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from aiorest_ws._speedups.onion import CallNext
from aiorest_ws.dependencies.depends import check_needless

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiorest_ws.wrappers import Request

__all__ = (
    "Around",
    "Before",
    "CallNext",
    "Middleware",
    "RequestId",
    "Timing",
    "middleware_of",
    "middlewares_of",
    "request_id",
)

logger = logging.getLogger("aiorest_ws.timing")

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class Before(Protocol):
    """A middleware that sees each request before its handler, as `AbstractMiddleware` does."""

    def process_request(self, request: Any, handler: Any, /) -> object: ...


class Around(Protocol):
    """A middleware that is around what answers: it gives what `await call_next(request)` gave, or its own answer."""

    def __call__(self, request: Any, call_next: Any, /) -> Any: ...


# Of both, classes are instantiated without arguments.
Middleware = Before | Around | type[Before] | type[Around]


def middleware_of(middleware: Any) -> Any:
    """Give an instance (1.1.1 took classes) of either kind, or raise TypeError."""
    if isinstance(middleware, type):
        middleware = middleware()
    before = callable(getattr(middleware, "process_request", None))
    if before and callable(middleware):
        raise TypeError(f"middleware {middleware!r} has both 'process_request' and '__call__', expected one of them")
    if not before and not callable(middleware):
        cure = ", did you mean `__call__` by `dispatch`?" if hasattr(middleware, "dispatch") else ""
        raise TypeError(
            f"middleware {middleware!r} has no method 'process_request', and is not called with request and call_next"
            f"{cure}"
        )
    if not before and not _takes_two(middleware):
        raise TypeError(f"middleware {middleware!r} must take request and call_next")
    for method in (middleware.process_request if before else middleware, getattr(middleware, "at_handshake", None)):
        if callable(method):
            check_needless(method, f"middleware {middleware!r}")
    return middleware


def _takes_two(middleware: Any) -> bool:
    try:
        signature(middleware).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # nobody knows what it takes
        pass
    return True


def middlewares_of(middlewares: Sequence[Middleware]) -> tuple[Before | Around, ...]:
    """Give instances of what may be classes, or raise TypeError."""
    if not isinstance(middlewares, (list, tuple)):
        raise TypeError(f"middlewares must be a list, got {middlewares!r}")
    return tuple(middleware_of(middleware) for middleware in middlewares)


class Timing:
    """Logs to "aiorest_ws.timing" how long each request took from here on inwards, and keeps it in `request.state`.

    slow    log only what takes as many seconds or more
    """

    def __init__(self, slow: float = 0.0) -> None:
        self.slow = slow

    async def __call__(self, request: Request, call_next: CallNext) -> Any:
        start = time.perf_counter()
        try:
            return await call_next(request)
        finally:
            request.state.seconds = seconds = time.perf_counter() - start
            if seconds >= self.slow:
                logger.info("%.20r %.200r took %.1f ms", request.method, request.route.path, seconds * 1000)


class RequestId:
    """Names each request: `request.state.request_id`, and the context variable `request_id` for whoever logs.

    The name is what the client sent as `request_id`, if that is printable ASCII of at most 128, or a new one.
    """

    async def __call__(self, request: Request, call_next: CallNext) -> Any:
        sent = request.extra.get("request_id")
        usable = isinstance(sent, str) and 0 < len(sent) <= 128 and sent.isascii() and sent.isprintable()
        request.state.request_id = name = sent if usable else uuid4().hex
        token = request_id.set(name)
        try:
            return await call_next(request)
        finally:
            request_id.reset(token)
