"""A loop → one whose clock goes on, whatever a test makes of `time`: what waits in a client has an end.

What freezes time (freezegun, a monkeypatch of `time.monotonic`) stops asyncio's clock, too, and with it every timeout
and every `sleep`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

__all__ = ("keep_going",)


def _uptime() -> Callable[[], float]:
    """Give the clock of `time.monotonic`, by a way that nobody patches where there is one."""
    if hasattr(time, "clock_gettime"):
        return partial(time.clock_gettime, getattr(time, "CLOCK_UPTIME_RAW", time.CLOCK_MONOTONIC))
    return partial(time.monotonic)


_CLOCK = _uptime()  # partial: who patches time replaces functions that modules have by themselves


def keep_going(loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """Let the clock of `loop` be the real one, and give what undoes it. A loop with a clock of its own keeps that."""
    own = getattr(type(loop), "time", None) is not asyncio.BaseEventLoop.time
    if own or "time" in vars(loop):
        return lambda: None
    loop.time = _CLOCK  # type: ignore[method-assign]
    return partial(vars(loop).pop, "time", None)
