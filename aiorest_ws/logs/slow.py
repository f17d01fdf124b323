"""Requests in, replies out, as in `Pipeline`, and a warning for each handler that keeps the loop from everything else.

Debug only: an application without `debug` has the plain `Pipeline`, and pays nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Generator
from time import perf_counter
from typing import Any

from aiorest_ws._speedups import Pipeline, Request
from aiorest_ws.logs.throttled import path_of

__all__ = ("TimedPipeline",)

logger = logging.getLogger("aiorest_ws")

_SLOW = 0.1  # seconds between two turns of the loop; asyncio's own `slow_callback_duration`


class TimedPipeline(Pipeline):
    """A pipeline that takes the time of every step of every handler."""

    def start(self, request: Request) -> bytes | Coroutine[Any, Any, Any]:
        start = perf_counter()
        rendered = super().start(request)
        _note(request, perf_counter() - start)
        return rendered if type(rendered) is bytes else _finish(request, rendered)

    def run(self, request: Request, plan: Any, params: Any) -> bytes | Coroutine[Any, Any, Any]:
        start = perf_counter()
        rendered = super().run(request, plan, params)
        if request._live is None or not request._live.is_rerun:
            return rendered  # its steps are those of who asks for it
        _note(request, perf_counter() - start)
        return rendered if type(rendered) is bytes else _finish(request, rendered)


async def _finish(request: Request, pending: Any) -> Any:
    return await _Steps(request, pending)


class _Steps:
    """Makes the steps of a coroutine, and takes the time of each."""

    def __init__(self, request: Request, pending: Any) -> None:
        self._request = request
        self._pending = pending

    def __await__(self) -> Generator[Any, Any, Any]:
        value, raised = None, None
        while True:
            start = perf_counter()
            try:
                waits_for = self._pending.send(value) if raised is None else self._pending.throw(raised)
            except StopIteration as stop:
                return stop.value
            finally:
                _note(self._request, perf_counter() - start)
            value, raised = None, None
            try:
                value = yield waits_for
            except BaseException as exc:
                raised = exc


def _note(request: Request, seconds: float) -> None:
    if seconds >= _SLOW:
        where = path_of(request.url) if request.route is None else request.route.path
        logger.warning("%.20r %.200r blocked the event loop for %.2f s", request.method, where, seconds)
