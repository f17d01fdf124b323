"""SIGHUP, and the terminal of a process → whether it is asked to begin anew, or has lost its terminal."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

__all__ = ("Hangups", "has_terminal")


class Hangups:
    """SIGHUP while a program serves: calls `function` in the loop. Only the main thread has signals.

    is_polite   leave it to whoever has a handler of it already, or ignores it (nohup)
    """

    def __init__(self, function: Any, *, is_polite: bool = False) -> None:
        self._function = function
        self._is_polite = is_polite
        self._before: Any = None
        self._is_set = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        number = getattr(signal, "SIGHUP", None)  # Windows has none
        if number is None or (self._is_polite and signal.getsignal(number) is not signal.SIG_DFL):
            return
        try:
            self._before = signal.signal(signal.SIGHUP, lambda number, frame: loop.call_soon_threadsafe(self._function))
            self._is_set = True
        except ValueError:  # another thread
            pass

    def __exit__(self, *exc_info: object) -> None:
        if self._is_set:
            signal.signal(signal.SIGHUP, signal.SIG_DFL if self._before is None else self._before)


def has_terminal() -> bool:
    """Tell whether a terminal controls this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | getattr(os, "O_NOCTTY", 0)))
    except OSError:
        return False
    return True
