"""A user → the connections that are theirs, in this process, and their end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiorest_ws.request import RequestHandlerFactory, RequestHandlerProtocol

__all__ = ("close_all", "connections_of")


def connections_of(factories: Iterable[RequestHandlerFactory], user: Any) -> list[RequestHandlerProtocol]:
    """See `Application.connections_of`."""
    return [
        connection
        for factory in factories
        for connection in list(factory.connections)
        if connection.state == connection.STATE_OPEN and connection.is_of(user)
    ]


def close_all(connections: list[RequestHandlerProtocol], code: int, reason: str | None) -> int:
    """Close them, each in its loop, and tell how many there are; from any thread."""
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    for connection in connections:
        if connection._loop is here:
            connection.close(code, reason)
        else:
            connection._loop.call_soon_threadsafe(connection.close, code, reason)
    return len(connections)
