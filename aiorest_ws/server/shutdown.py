"""Connections of a listener → none: what is in flight is answered, everybody is told, who does not leave is dropped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiorest_ws.server.patience import Patience
from aiorest_ws.status import WS_GOING_AWAY, WS_SERVICE_RESTART

if TYPE_CHECKING:
    from aiorest_ws.request import RequestHandlerFactory, RequestHandlerProtocol

__all__ = ("RESTARTING", "SHUTTING_DOWN", "Goodbye", "say_goodbye", "shut_down")

logger = logging.getLogger("aiorest_ws")

_BATCH = 100  # connections that are closed at once: their clients will not all come back in the same instant
_PAUSE = 0.01  # seconds between two batches
_LOOK = 0.1  # seconds between two looks at who still takes what it is sent
_COME_BACK = 2.0  # seconds, about, after which subscribers are told to come back
_LEAVE = 2.0  # seconds that clients get to answer our close frame


@dataclass(frozen=True, slots=True)
class Goodbye:
    """What clients are told at the end.

    code           of the close frame
    reason         for a person
    others_serve   another process listens on the same sockets: whoever has begun to connect here still may
    """

    code: int
    reason: str
    others_serve: bool = False


SHUTTING_DOWN = Goodbye(WS_GOING_AWAY, "server is shutting down")
RESTARTING = Goodbye(WS_SERVICE_RESTART, "server is restarting", others_serve=True)


async def shut_down(
    factory: RequestHandlerFactory,
    *,
    grace: float,
    patience: Patience,
    goodbye: Goodbye = SHUTTING_DOWN,
    stop_listening: Callable[[], None] = lambda: None,
) -> None:
    """Refuse new requests with 503, give those in flight `grace` seconds, then close every connection, with `goodbye`.

    `stop_listening` is called when nothing is in flight any more. Nothing of them is left in the end, but for handlers
    that do not end when they are cancelled; these are logged.
    """
    factory.stopping = True
    _drop_half_open(factory)
    for connection in factory.connections:
        connection._stopping = True
    deadline = asyncio.get_running_loop().time() + grace
    await _finish(factory, grace, patience)
    factory.accepts = False
    stop_listening()
    _drop_half_open(factory)
    empty = factory.when_empty()
    await _close(list(factory.connections), patience, goodbye)
    await _leave(factory.connections, empty, patience, deadline)
    for connection in list(factory.connections):
        if connection.transport is not None:
            connection.transport.abort()
    await patience.insist([empty])
    for task in list(factory.surviving):
        task.cancel()
    late = await patience.insist(factory.running)
    if late:
        logger.warning("%d handlers go on although they were cancelled: they are left to themselves", len(late))
    await factory.release(patience)


def _drop_half_open(factory: RequestHandlerFactory) -> None:
    """Drop what is no connection yet."""
    for each in factory.admissions.half_open:
        each.transport.abort()


async def _finish(factory: RequestHandlerFactory, grace: float, patience: Patience) -> None:
    """Wait until nothing is in flight; what waits in a lane becomes a task when its turn comes."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace
    while (tasks := factory.unfinished) and not patience.is_lost and (left := deadline - loop.time()) > 0:
        await patience.wait(tasks, left)


async def _leave(
    connections: Iterable[RequestHandlerProtocol], empty: asyncio.Future[None], patience: Patience, deadline: float
) -> None:
    """Wait for the answers to our close frames, up to `deadline` for clients that still take what was sent before."""
    loop = asyncio.get_running_loop()
    await patience.wait([empty], _LEAVE)
    while not empty.done() and not patience.is_lost and loop.time() < deadline:
        if not any(connection._waiting() for connection in connections if connection.transport is not None):
            break
        await patience.wait([empty], _LOOK)


async def _close(connections: list[RequestHandlerProtocol], patience: Patience, goodbye: Goodbye) -> None:
    for at in range(0, len(connections), _BATCH):
        if at:
            await patience.wait([asyncio.get_running_loop().create_future()], _PAUSE)
        for connection in connections[at : at + _BATCH]:
            say_goodbye(connection, goodbye)


def say_goodbye(connection: RequestHandlerProtocol, goodbye: Goodbye = SHUTTING_DOWN) -> None:
    """Tell a client that this is the end, and when to come back."""
    try:
        if connection.state == connection.STATE_OPEN:
            if connection._live is not None:
                connection._live.end_all(503, goodbye.reason, _COME_BACK)
            connection.close(goodbye.code, goodbye.reason)
        elif connection.state != connection.STATE_CLOSING and connection.transport is not None:
            connection.transport.abort()
    except Exception:  # of an override: the others are still to be told
        logger.exception("cannot close %s, dropping the connection", connection.peer)
        connection.transport.abort()
