"""A socket that other processes accept from, too → connections: not many more than the others have.

Whoever is awake first would take all that wait, and asyncio takes them at once. Here a process takes one in each turn
of its loop, and when it has clearly more than another, that one gets a moment to be quicker.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ("EXHAUSTED", "Acceptor", "Ahead")

logger = logging.getLogger("aiorest_ws")

_MOMENT = 0.001  # seconds for the others; who is stuck costs so much for each connection
_RETRY = 1.0  # seconds until there may be descriptors again
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # no descriptors are left


class Ahead(Protocol):
    """Who knows how many connections each process has."""

    def is_ahead(self) -> bool:
        """Tell whether this process has clearly more than another that accepts."""

    def leave(self) -> None:
        """Take note that this one accepts no more."""


class Acceptor:
    """Does for such a socket what an `asyncio.Server` does.

    sock       that is bound; it is closed in the end
    made       gives the protocol of a connection
    """

    def __init__(self, sock: socket.socket, made: Callable[[], Any], others: Ahead, backlog: int) -> None:
        self.sockets = (sock,)
        self._loop = asyncio.get_running_loop()
        self._made = made
        self._others = others
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._has_waited = False
        self._is_closed = False
        sock.setblocking(False)
        sock.listen(backlog)
        self._resume()

    def is_serving(self) -> bool:
        return not self._is_closed

    def close(self) -> None:
        """Accept nothing more."""
        if not self._is_closed:
            self.pause()
            self._is_closed = True
            self._others.leave()
            self.sockets[0].close()

    async def wait_closed(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)

    def pause(self) -> None:
        """Accept nothing, until it is closed."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_closed:
            self._loop.remove_reader(self.sockets[0])

    def _resume(self) -> None:
        self._timer = None
        self._loop.add_reader(self.sockets[0], self._accept)

    def _later(self, seconds: float) -> None:
        self._loop.remove_reader(self.sockets[0])
        self._timer = self._loop.call_later(seconds, self._resume)

    def _accept(self) -> None:
        if not self._has_waited and self._others.is_ahead():
            self._has_waited = True
            self._later(_MOMENT)
            return
        self._has_waited = False
        try:
            connection, _ = self.sockets[0].accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another was quicker, or the client has left
        except OSError as exc:
            if exc.errno not in EXHAUSTED:
                raise
            logger.error("cannot accept a connection, the next try is in %g s: %s", _RETRY, exc)
            self._later(_RETRY)
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._connect(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._made, connection)
        except OSError as exc:
            logger.debug("a connection was lost as it was accepted: %s", exc)
            connection.close()
