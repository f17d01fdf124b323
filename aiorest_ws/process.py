"""Options of `run` → what only a program of its own sets up, once in its process: the event loop, signals, logging."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable

from aiorest_ws.access_log import set_up_json
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.options import LOG_LEVELS

__all__ = ("loop_factory", "on_signals", "set_up_logging")


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


def on_signals(stop: Callable[[], None]) -> None:
    """Have `stop` called at SIGINT and SIGTERM."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop)
        except (NotImplementedError, RuntimeError, ValueError):
            return  # Windows, or not the main thread: asyncio's own handling stays


def set_up_logging(level: str, *, as_json: bool) -> None:
    """Let a program that set up no logging see ours; Autobahn's own messages follow `level` too."""
    from txaio import aio

    aio.set_global_log_level(level)
    if not logging.getLogger().handlers:
        logging.basicConfig(level=LOG_LEVELS[level], format="[%(asctime)s] [%(levelname)s] %(message)s")
        if as_json:
            set_up_json()
