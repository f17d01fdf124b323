"""Connections of a listener → those that are silent, idle, stuck or do not leave, found by two timers for all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from typing import Any

from aiorest_ws.limits import Limits
from aiorest_ws.status import WS_GOING_AWAY, WS_MESSAGE_VIOLATE_POLICY

__all__ = ("Watch", "standstill")

logger = logging.getLogger("aiorest_ws")

_AT_ONCE = 500  # connections that are looked at before others get their turn
_RARELY, _OFTEN = 1.0, 0.01  # seconds between two looks
_SOON = 0.2  # seconds between two looks at those that are leaving, and whose handshake is nearly over its time
_LATE = 0.1  # seconds by which a timer is late when something stood in the way of the loop
_AFTER_READING = 0.001  # seconds: uvloop calls its timers before it reads, and reads before the next ones
_PROGRESS = 32 * 1024  # bytes that a client has to take in the time that it has
_LINGER = 0.7  # seconds for the end of a connection on which all was sent


class Watch:
    """Looks at every connection, from its first byte to `connection_lost`, and does what is due.

    One timer for all: an idle connection costs no timer of its own, and a busy one does not move one with each message.
    Another looks oftener at those that are leaving, as long as there are any.
    """

    def __init__(self, limits: Limits, connections: Collection[Any]) -> None:
        self._limits = limits
        self._all = _Round(lambda: connections, self._look_at, _how_often(limits))
        self._leaving: set[Any] = set()
        self._ends = _Round(lambda: self._leaving, self._look_at_end, _SOON)

    def start(self) -> None:
        """Begin, unless it has."""
        self._all.start()

    def leaves(self, connection: Any) -> None:
        """Take note that `connection` is on its way out."""
        if connection not in self._leaving:
            connection._left_at = 0.0  # its time begins now, however long it took nothing before
            self._leaving.add(connection)
        self._ends.start()

    def forget(self, connection: Any) -> None:
        """Take note that `connection` is gone."""
        self._leaving.discard(connection)

    def stop(self) -> None:
        self._all.stop()
        self._ends.stop()

    def _look_at(self, connection: Any, now: float) -> None:
        if connection in self._leaving:
            return  # its time is running, and is looked at oftener
        look = getattr(connection, "_look", None)
        if look is not None:  # it speaks another protocol, and knows what is due there
            look(now, self._limits)
            return
        if connection.state == connection.STATE_OPEN:
            waiting = connection._waiting()
            patience = self._limits.send_timeout
            if not waiting:
                connection._left_at = 0.0
            elif standstill(connection, waiting, now) >= (patience or float("inf")):
                connection._give_up("the client does not read what it is sent", WS_MESSAGE_VIOLATE_POLICY)
                return
            self._look_for_silence(connection, now, waiting)
            if self._limits.idle_timeout:
                self._look_for_idleness(connection, now, self._limits.idle_timeout)
        elif connection.state == connection.STATE_CONNECTING:
            patience = connection.openHandshakeTimeout
            left = connection._silent_since + patience - now
            if patience and left <= 0:
                connection.onOpenHandshakeTimeout()
            elif patience:
                self._all.hasten(left)

    def _look_at_end(self, connection: Any, now: float) -> None:
        """Drop a connection that does not end: nothing that is to be sent leaves, or all has left long ago."""
        waiting = connection._waiting()
        still = standstill(connection, waiting, now)
        patience = connection.closeHandshakeTimeout or self._limits.close_timeout
        if connection.state == connection.STATE_CLOSING:
            if still >= patience:
                connection.onCloseHandshakeTimeout()
        elif still >= (patience if waiting else _LINGER):
            connection.transport.abort()

    def _look_for_silence(self, connection: Any, now: float, waiting: int) -> None:
        has_gone = False
        if connection._heard or not connection._silent_since:
            connection._heard, connection._pinged, connection._silent_since = False, False, now
        elif connection._held and not (has_gone := connection._pinged and connection._has_hung_up()):
            connection._pinged = False  # its answer would not be read
        silent = now - connection._silent_since
        interval, patience = self._limits.ping_interval, self._limits.ping_timeout
        if connection._pinged:
            if patience and silent >= patience:
                if has_gone:
                    connection._give_up("the client has hung up")
                else:
                    self._judge_silence(connection, now, waiting)
        elif interval and silent >= interval and not waiting:
            connection._pinged, connection._silent_since, connection._acked = True, now, connection._taken()
            connection._ping()

    def _judge_silence(self, connection: Any, now: float, waiting: int) -> None:
        """Drop a client that does not answer a ping, unless the ping may be behind data that the client still takes."""
        taken = connection._taken()
        if taken > connection._acked or (waiting and self._limits.send_timeout):
            connection._acked, connection._silent_since = taken, now
        else:
            connection._give_up("the client does not answer a ping")

    def _look_for_idleness(self, connection: Any, now: float, patience: float) -> None:
        is_watching = connection._live is not None and len(connection._live) > 0
        busy = is_watching or connection._in_flight
        if connection._messages != connection._asked or busy or not connection._idle_since:
            connection._asked, connection._idle_since = connection._messages, now
        elif now - connection._idle_since >= patience:
            connection.close(WS_GOING_AWAY, "no request for too long")


class _Round:
    """Looks at some connections, again and again, as long as there are any.

    connections    gives them
    look           called with each, and the time
    every          seconds between two rounds, 0 for none
    """

    def __init__(
        self, connections: Callable[[], Collection[Any]], look: Callable[[Any, float], None], every: float
    ) -> None:
        self._connections = connections
        self._look = look
        self._every = every
        self._timer: asyncio.Handle | None = None
        self._due = every

    def hasten(self, seconds: float) -> None:
        """Look again in so many seconds, not in all of `every`; but not at once."""
        self._due = min(self._due, max(_SOON, seconds))

    def start(self) -> None:
        if self._timer is None and self._every:
            self._wait(asyncio.get_running_loop())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        seconds, self._due = self._due, self._every
        self._timer = loop.call_later(seconds, self._wake, loop, loop.time() + seconds)

    def _wake(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if loop.time() - due > _LATE:
            # What has arrived meanwhile is read first: nobody is blamed for our own delay.
            self._timer = loop.call_later(_AFTER_READING, self._begin, loop)
        else:
            self._begin(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look_at_some(loop, list(self._connections()))

    def _look_at_some(self, loop: asyncio.AbstractEventLoop, left: list[Any]) -> None:
        now = loop.time()
        self._look_at_each(left[-_AT_ONCE:], now)
        del left[-_AT_ONCE:]
        if left:
            self._timer = loop.call_soon(self._look_at_some, loop, left)
        elif self._connections():
            self._wait(loop)
        else:
            self._timer = None

    def _look_at_each(self, connections: Iterable[Any], now: float) -> None:
        for connection in connections:
            if connection not in self._connections():
                continue  # it went while others were looked at
            try:
                self._look(connection, now)
            except Exception:  # a hook of the user's failed: the others must still be looked at
                logger.exception("cannot watch %s, dropping the connection", connection.peer)
                connection.transport.abort()


def standstill(connection: Any, waiting: int, now: float) -> float:
    """Give the seconds since the client took enough of what it is sent, or all; `waiting` bytes have not left."""
    left = connection._traffic()[1] - waiting
    moved = left - connection._left
    if not connection._left_at or moved >= _PROGRESS or (moved and not waiting):
        connection._left, connection._left_at = left, now
    return float(now - connection._left_at)


def _how_often(limits: Limits) -> float:
    """Give the seconds between two looks: a quarter of the shortest time that is watched; 0 for never."""
    times = (
        *(limits.ping_interval, limits.ping_timeout, limits.idle_timeout, limits.send_timeout),
        limits.handshake_timeout,
    )
    watched = [seconds for seconds in times if seconds is not None]
    return min(_RARELY, max(_OFTEN, min(watched) / 4)) if watched else 0.0
