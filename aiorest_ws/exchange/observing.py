"""A request over HTTP, and its response → a line of the access log, and numbers for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiorest_ws.exchange.replies import Reply
from aiorest_ws.realtime.roles import Counted

__all__ = ("observe", "observe_unasked")


@dataclass(frozen=True, slots=True)
class _Unasked:
    """What a log wants to know of a request that no route was asked for."""

    method: str
    url: str
    status: int
    route: Any = None
    _live: Any = None


def observe(connection: Any, request: Any, size: int, seconds: float) -> None:
    """Take note of a request of ours that is answered with so many bytes."""
    connection.is_observed = True
    factory, role = connection.factory, request._live
    if factory.metrics is not None:
        counted = None if role is None else role.counted
        factory.metrics.meters.add(counted or Counted(request.route, request.method), request.status, seconds)
    if factory.access_log:
        factory.access.write(connection.peer, request, size, seconds, request._ended_in)


def observe_unasked(connection: Any, method: str, reply: Reply, seconds: float) -> None:
    """Take note of a request that was answered before it could be one of ours: refused, or for a page."""
    factory = connection.factory
    if factory.metrics is not None:
        factory.metrics.meters.add(None, reply.status, seconds)
    if factory.access_log:
        unasked = _Unasked(method, connection.path, reply.status)
        factory.access.write(connection.peer, unasked, len(reply.body), seconds)
