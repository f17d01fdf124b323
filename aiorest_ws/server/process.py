"""Options of `run` → what only a program of its own sets up, once in its process: the event loop, signals, logging."""

from __future__ import annotations

import _thread
import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.logs.access import set_up_handler

__all__ = ("STARTED_IN", "TOLD", "Signals", "loop_factory", "notify", "set_up_logging")

LOG_LEVELS = {"critical": 50, "error": 40, "warn": 30, "warning": 30, "info": 20, "debug": 10, "trace": 10}

logger = logging.getLogger("aiorest_ws")

# What a supervisor tells this process, if it is one of its workers. It is taken as soon as this is imported: what the
# program starts itself is none.
TOLD = os.environ.pop("AIOREST_WS_WORKER", None)


def _here() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return None


STARTED_IN = _here()  # where the command line of this program means what it says, wherever the program goes

_AT_ONCE = 2.5  # seconds between the second signal and the end of the process, whatever it does


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


class Signals:
    """SIGINT and SIGTERM while a program serves; behind the block, what they did before is as it was.

    The first asks for the end. The second has no patience with it any more: if it is not over very soon, whatever it
    hangs in, the process ends as one that takes no signals; and with a third at once. These are Python's own handlers:
    unlike those of a loop they are called while it is blocked. Only the main thread has them.

    numbers    which ask for the end
    """

    def __init__(self, numbers: Iterable[signal.Signals] = (signal.SIGINT, signal.SIGTERM)) -> None:
        self._numbers = tuple(numbers)
        self._before: dict[signal.Signals, Any] = {}
        self._threads: set[threading.Thread] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._first: Callable[[signal.Signals], None]
        self._second: Callable[[], None]
        self._taken: signal.Signals | None = None
        self._is_forced = False
        self._is_over = False

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._threads.update(threading.enumerate())
            for number in self._numbers:
                self._before[number] = signal.signal(number, self._take)

    def __exit__(self, *exc_info: object) -> None:
        self._is_over = not self._is_forced or not self._left()
        if self._is_over:
            for number, handler in self._before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def lead_to(self, first: Callable[[signal.Signals], None], second: Callable[[], None]) -> None:
        """Have these called in the loop that runs: `first` with the first signal, `second` with the next."""
        self._loop, self._first, self._second = asyncio.get_running_loop(), first, second
        if self._taken is not None:
            first(self._taken)

    def take_first(self, number: signal.Signals) -> None:
        """Ask for the end as the first signal does, if none has come."""
        if self._taken is None:
            self._take(number, None)

    def _take(self, number: int, frame: object) -> None:
        if self._taken is None:
            self._taken = signal.Signals(number)
            self._call_soon("_first", self._taken)
        elif not self._is_forced:
            self._is_forced = True
            signal.signal(number, signal.SIG_DFL)
            self._call_soon("_second")
            _thread.start_new_thread(self._force, (number,))  # `threading` takes locks, which this may have interrupted

    def _call_soon(self, name: str, *args: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(getattr(self, name), *args)

    def _force(self, number: int) -> None:
        time.sleep(_AT_ONCE)
        if not self._is_over and (self._left() or self._loop is None or not self._loop.is_closed()):
            os.write(2, b"aiorest-ws: not everything has ended, ending it\n")
            os.kill(os.getpid(), number)

    def _left(self) -> list[threading.Thread]:
        """Give the threads of the time that the interpreter would wait for at its end."""
        return [t for t in threading.enumerate() if not t.daemon and t not in self._threads]


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
