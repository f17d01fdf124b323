"""Connections of a listener → none: what is in flight is answered, everybody is told, who does not leave is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from aiorest_ws.status import WS_GOING_AWAY

if TYPE_CHECKING:
    from aiorest_ws.request import RequestHandlerFactory, RequestHandlerProtocol

__all__ = ("shut_down",)

_BATCH = 100  # connections that are closed at once: their clients will not all come back in the same instant
_PAUSE = 0.01  # seconds between two batches
_LOOK = 0.1  # seconds between two looks at who still takes what it is sent
_LEAVE = 2.0  # seconds that clients get to answer our close frame


async def shut_down(
    factory: RequestHandlerFactory,
    *,
    grace: float,
    hurry: asyncio.Event,
    stop_listening: Callable[[], None] = lambda: None,
) -> None:
    """Refuse new requests with 503, give those in flight `grace` seconds, then close every connection with 1001.

    Once `hurry` is set nobody is waited for. `stop_listening` is called when nothing is in flight any more.
    """
    factory.stopping = True
    _drop_half_open(factory)
    for connection in factory.connections:
        connection._stopping = True
    deadline = asyncio.get_running_loop().time() + grace
    try:
        await _finish(factory.connections, grace, hurry)
    finally:
        stop_listening()
        _drop_half_open(factory)
    tasks = _running(factory.connections)
    empty = factory.when_empty()
    await _close(list(factory.connections), hurry)
    await _leave(factory.connections, empty, hurry, deadline)
    for connection in list(factory.connections):
        if connection.transport is not None:
            connection.transport.abort()
    await asyncio.wait([empty], timeout=_LEAVE)
    if tasks:
        await asyncio.wait(tasks, timeout=_LEAVE)
    await factory.release(_LEAVE)


def _drop_half_open(factory: RequestHandlerFactory) -> None:
    """Drop what is no connection yet."""
    for each in factory.admissions.half_open:
        each.transport.abort()


async def _finish(connections: Iterable[RequestHandlerProtocol], grace: float, hurry: asyncio.Event) -> None:
    """Wait until nothing is in flight; what waits in a lane becomes a task when its turn comes."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace
    while (tasks := _running(connections)) and not hurry.is_set() and (left := deadline - loop.time()) > 0:
        await _first(asyncio.wait(tasks), hurry, left)


async def _leave(
    connections: Iterable[RequestHandlerProtocol], empty: asyncio.Future[None], hurry: asyncio.Event, deadline: float
) -> None:
    """Wait for the answers to our close frames, up to `deadline` for clients that still take what was sent before."""
    loop = asyncio.get_running_loop()
    await _first(empty, hurry, _LEAVE)
    while not empty.done() and not hurry.is_set() and loop.time() < deadline:
        if not any(connection._waiting() for connection in connections if connection.transport is not None):
            break
        await _first(empty, hurry, _LOOK)


async def _close(connections: list[RequestHandlerProtocol], hurry: asyncio.Event) -> None:
    for at in range(0, len(connections), _BATCH):
        if at:
            await _first(asyncio.sleep(_PAUSE), hurry, _PAUSE)
        for connection in connections[at : at + _BATCH]:
            if connection.state == connection.STATE_OPEN:
                connection.close(WS_GOING_AWAY, "server is shutting down")
            elif connection.state != connection.STATE_CLOSING and connection.transport is not None:
                connection.transport.abort()


def _running(connections: Iterable[RequestHandlerProtocol]) -> list[asyncio.Task[None]]:
    return [task for connection in connections for task in connection.tasks]


async def _first(awaitable: Awaitable[Any], hurry: asyncio.Event, timeout: float) -> None:
    """Wait for `awaitable`, but no longer than `timeout`, and not once there is a hurry."""
    wanted = asyncio.ensure_future(awaitable)
    hurried = asyncio.ensure_future(hurry.wait())
    await asyncio.wait([wanted, hurried], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if not isinstance(awaitable, asyncio.Future):
        wanted.cancel()
