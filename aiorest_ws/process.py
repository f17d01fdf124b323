"""Options of `run` → what only a program of its own sets up, once in its process: the event loop, signals, logging."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable

from aiorest_ws.access_log import set_up_handler
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.options import LOG_LEVELS

__all__ = ("loop_factory", "notify", "on_signals", "set_up_logging")

logger = logging.getLogger("aiorest_ws")


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Give what makes the loop; None is asyncio's own."""
    if name == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        if name == "uvloop":
            raise ImproperlyConfigured(
                "loop='uvloop', but uvloop is not installed: pip install 'aiorest-ws[uvloop]>=2'"
            ) from None
        return None
    return uvloop.new_event_loop


def on_signals(stop: Callable[[signal.Signals], None]) -> None:
    """Have `stop` called with SIGINT and SIGTERM."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop, number)
        except (NotImplementedError, RuntimeError, ValueError):
            return  # Windows, or not the main thread: asyncio's own handling stays


def set_up_logging(level: str, *, as_json: bool) -> None:
    """Let a program that set up no logging see ours; Autobahn's own messages follow `level` too."""
    from txaio import aio

    aio.set_global_log_level("warn" if level == "warning" else level)
    if not logging.getLogger().handlers:
        set_up_handler(LOG_LEVELS[level], as_json=as_json)


def notify(state: str) -> None:
    """Tell systemd, or who else started this process with NOTIFY_SOCKET, what its state is (sd_notify(3)).

    Does nothing without one. A path that begins with `@` is an abstract socket.
    """
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
            notifying.settimeout(1.0)
            notifying.sendto(state.encode(), where.replace("@", "\0", 1) if where.startswith("@") else where)
    except OSError as exc:
        logger.warning("cannot tell NOTIFY_SOCKET %r: %s: %s", where, state, exc)
