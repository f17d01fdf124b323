"""The paths that applications name with `app.asgi(path=…)` → who serves them on the transport of a server."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from aiorest_ws.asgi.application import AsgiApplication

__all__ = ("DOORS", "is_used", "name", "say", "say_through")

# A server that takes a class of protocols tells it of no application but the outermost: the paths are the only link.
DOORS: WeakValueDictionary[str, AsgiApplication] = WeakValueDictionary()

logger = logging.getLogger("aiorest_ws")
_of_server = logging.getLogger("uvicorn.error")  # all that it says comes from there


def is_used() -> bool:
    """Tell whether WebSockets come to these doors: whether the class that brings them was asked for."""
    return "aiorest_ws.asgi.on_uvicorn" in sys.modules


def name(path: str, door: AsgiApplication) -> None:
    """Have `door` serve `path`. Of two applications that name one, the later does."""
    other = DOORS.get(path)
    if other is not None and other.app is not door.app and is_used():
        logger.warning("two applications name the path %r: its WebSockets come to the later one", path)
    DOORS[path] = door


def say(path: str) -> bool:
    """Say at the start who is not asked about the WebSockets of `path`; tell whether anybody hears it."""
    if not _is_heard():
        return False
    _of_server.info("WebSockets at %s are served by aiorest-ws itself: no middleware of the host sees them", path)
    return True


def say_through(path: str | None) -> bool:
    """Say why a connection has come through the host, whatever `path` is named; tell whether anybody hears it."""
    if not _is_heard():
        return False
    _of_server.info(
        "a WebSocket has come to aiorest-ws through the host, at less than full speed: app.asgi(path=%s) is to name "
        "the whole path that clients ask for, with that of the mount",
        "…" if path is None else repr(path),
    )
    return True


def _is_heard() -> bool:
    return is_used() and _of_server.isEnabledFor(logging.INFO) and _of_server.hasHandlers()
