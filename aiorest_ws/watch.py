"""Connections of a listener → those that are silent, idle or stuck, found by one timer for all of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Any

from aiorest_ws.exceptions import PASSED_ON
from aiorest_ws.limits import Limits
from aiorest_ws.status import WS_GOING_AWAY, WS_MESSAGE_VIOLATE_POLICY

__all__ = ("Watch",)

logger = logging.getLogger("aiorest_ws")

_AT_ONCE = 500  # connections that are looked at before others get their turn
_RARELY, _OFTEN = 1.0, 0.01  # seconds between two looks


class Watch:
    """Looks at every connection, again and again, as long as there are any, and does what is due.

    One timer for all: an idle connection costs no timer of its own, and a busy one does not move one with each message.
    """

    def __init__(self, limits: Limits, connections: Collection[Any]) -> None:
        self._limits = limits
        self._connections = connections
        self._every = _how_often(limits)
        self._timer: asyncio.Handle | None = None

    def start(self) -> None:
        """Begin, unless it has."""
        if self._timer is None and self._every:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._every, self._begin, loop)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look_at_some(loop, list(self._connections))

    def _look_at_some(self, loop: asyncio.AbstractEventLoop, left: list[Any]) -> None:
        now = loop.time()
        for connection in left[-_AT_ONCE:]:
            try:
                self._look_at(connection, now)
            except PASSED_ON:
                raise
            except BaseException:
                # A hook of the user's failed. The others must still be looked at.
                logger.exception("cannot watch %s, dropping the connection", connection.peer)
                connection.dropConnection(abort=True)
        del left[-_AT_ONCE:]
        if left:
            self._timer = loop.call_soon(self._look_at_some, loop, left)
        elif self._connections:
            self._timer = loop.call_later(self._every, self._begin, loop)
        else:
            self._timer = None

    def _look_at(self, connection: Any, now: float) -> None:
        patience = self._limits.send_timeout
        if patience and connection._choked_at and now - connection._choked_at >= patience:
            connection._give_up("the client does not read what it is sent", WS_MESSAGE_VIOLATE_POLICY)
        elif connection.state == connection.STATE_OPEN:
            self._look_for_silence(connection, now)
            if self._limits.idle_timeout:
                self._look_for_idleness(connection, now, self._limits.idle_timeout)

    def _look_for_silence(self, connection: Any, now: float) -> None:
        if connection._heard or not connection._silent_since:
            connection._heard, connection._pinged, connection._silent_since = False, False, now
        elif connection._held:
            connection._pinged = False  # its answer would not be read
        silent = now - connection._silent_since
        interval, patience = self._limits.ping_interval, self._limits.ping_timeout
        if connection._pinged:
            if patience and silent >= patience:
                connection._give_up("the client does not answer a ping")
        elif interval and silent >= interval and not connection._choked_at:
            connection._pinged, connection._silent_since = True, now
            connection._ping()

    def _look_for_idleness(self, connection: Any, now: float, patience: float) -> None:
        if connection._messages != connection._asked or connection._in_flight or not connection._idle_since:
            connection._asked, connection._idle_since = connection._messages, now
        elif now - connection._idle_since >= patience:
            connection.close(WS_GOING_AWAY, "no request for too long")


def _how_often(limits: Limits) -> float:
    """Give the seconds between two looks: a quarter of the shortest time that is watched; 0 for never."""
    times = (limits.ping_interval, limits.ping_timeout, limits.idle_timeout, limits.send_timeout)
    watched = [seconds for seconds in times if seconds is not None]
    return min(_RARELY, max(_OFTEN, min(watched) / 4)) if watched else 0.0
