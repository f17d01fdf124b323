"""Silence → a PING, and then the end of the connection: nobody is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiorest_ws.client.errors import ConnectionLost
from aiorest_ws.client.wire import Wire

__all__ = ("Pulse",)

_TICK = 0.001  # seconds: a loop may call as much too early (uvloop rounds to milliseconds)


class Pulse:
    """Looks whether a peer is alive: any byte is a sign of it.

    ping_after    seconds of silence after which it is asked
    dead_after    seconds of silence behind that after which it is gone
    is_busy       tells whether the server has as much to do as it takes: it reads nothing, and the clock stands still
    """

    __slots__ = ("_base", "_dead_after", "_handle", "_is_busy", "_loop", "_ping_after", "_pinged", "_task", "_wire")

    def __init__(self, wire: Wire, ping_after: float, dead_after: float, is_busy: Callable[[], bool]) -> None:
        self._wire = wire
        self._ping_after, self._dead_after, self._is_busy = ping_after, dead_after, is_busy
        self._loop = asyncio.get_running_loop()
        self._base = self._loop.time()
        self._pinged: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._handle = self._loop.call_later(ping_after, self._beat)

    def stop(self) -> None:
        self._handle.cancel()
        if self._task is not None:
            self._task.cancel()

    def _beat(self) -> None:
        now = self._loop.time()
        if self._is_busy():
            self._base, self._pinged = now, None
        heard = max(self._wire.heard, self._base)
        if self._pinged is not None and heard >= self._pinged:
            self._pinged = None
        if self._pinged is None:
            left = heard + self._ping_after - now
            if left < _TICK:
                self._pinged = now
                self._task = self._loop.create_task(self._wire.ping())
                left = self._dead_after
        else:
            left = self._pinged + self._dead_after - now
            if left < _TICK:
                silence = self._ping_after + self._dead_after
                self._wire.end(ConnectionLost(f"nothing was heard for {silence:g} s, a PING was not answered"))
                return
        self._handle = self._loop.call_later(left, self._beat)
