"""SIGHUP, and the terminal of a process → whether it is asked to begin anew, or has lost its terminal."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Any

__all__ = ("Hangups",)

logger = logging.getLogger("aiorest_ws")


class Hangups:
    """SIGHUP while a program serves. Only the main thread has signals.

    anew        called in the loop when somebody has sent it
    gone        called in the loop when it came because the terminal has gone; never where it was ignored (nohup)
    is_polite   leave it to whoever has a handler of it already, or ignores it
    """

    def __init__(self, anew: Callable[[], None], gone: Callable[[], None], *, is_polite: bool = False) -> None:
        self._anew = anew
        self._gone = gone
        self._is_polite = is_polite
        self._before: Any = None
        self._has_terminal = False
        self._is_set = False

    def __enter__(self) -> None:
        number = getattr(signal, "SIGHUP", None)  # Windows has none
        if number is None or (self._is_polite and signal.getsignal(number) is not signal.SIG_DFL):
            return
        self._has_terminal = _has_terminal()
        loop = asyncio.get_running_loop()
        try:
            self._before = signal.signal(number, lambda number, frame: loop.call_soon_threadsafe(self._take))
            self._is_set = True
        except ValueError:  # another thread
            pass

    def __exit__(self, *exc_info: object) -> None:
        if self._is_set:
            signal.signal(signal.SIGHUP, signal.SIG_DFL if self._before is None else self._before)

    def _take(self) -> None:
        had_terminal, self._has_terminal = self._has_terminal, self._has_terminal and _has_terminal()
        if had_terminal == self._has_terminal:
            self._anew()
        elif self._before is signal.SIG_IGN:
            logger.info("the terminal has gone, and SIGHUP was ignored at the start (nohup): going on")
        else:
            self._gone()


def _has_terminal() -> bool:
    """Tell whether a terminal controls this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
