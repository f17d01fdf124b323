"""Times of the loop → calls when they have come, by one timer for all; a test may let the time pass."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

__all__ = ("Timer", "Timers")

logger = logging.getLogger("aiorest_ws")

_MANY = 64  # timers that were cancelled: when they are more than the others, too, they are put out
_TICK = 0.001  # seconds: uvloop rounds to so many, and what is less is called at once, again and again until it is time
_ROUNDING = 1e-6  # seconds by which sums of times may be off


class Timer:
    """One call that is to be made; `cancel` takes it back."""

    __slots__ = ("call", "of", "when")

    def __init__(self, of: Timers, when: float, call: Callable[[], Any]) -> None:
        self.of = of
        self.when = when
        self.call: Callable[[], Any] | None = call

    def cancel(self) -> None:
        if self.call is not None:
            self.call = None
            self.of.left_out()


class Timers:
    """Calls functions when their time has come."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._context = Context()  # not that of who asks for a call: it would be kept, and seen by the others
        self._ahead = 0.0
        self._order = count()
        self._heap: list[tuple[float, int, Timer]] = []
        self._cancelled = 0
        self._handle: asyncio.TimerHandle | None = None
        self._handle_at = 0.0

    def now(self) -> float:
        return self._loop.time() + self._ahead

    def at(self, when: float, call: Callable[[], Any]) -> Timer:
        timer = Timer(self, when, call)
        heappush(self._heap, (when, next(self._order), timer))
        self._wait()
        return timer

    def after(self, seconds: float, call: Callable[[], Any]) -> Timer:
        return self.at(self.now() + seconds, call)

    def left_out(self) -> None:
        """Take note that one was cancelled."""
        self._cancelled += 1
        if self._cancelled > _MANY and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].call is not None]
            heapify(self._heap)
            self._cancelled = 0

    def next_at(self) -> float | None:
        """Give the time of the first one, None if there is none."""
        while self._heap and self._heap[0][2].call is None:
            heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0][0] if self._heap else None

    def advance(self, seconds: float) -> None:
        """Let so much time have passed, for a test; what is due is called at once."""
        self._ahead += seconds
        self._wake()

    def stop(self) -> None:
        self._heap.clear()
        self._cancelled = 0
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _wait(self) -> None:
        """See to it that the loop calls at the time of the first one."""
        if not self._heap:
            return
        now, when = self._loop.time(), self._heap[0][0] - self._ahead
        if now < when < now + _TICK:
            when = now + _TICK
        if self._handle is not None:
            if self._handle_at <= when:
                return
            self._handle.cancel()
        self._handle = self._loop.call_at(when, self._wake, context=self._context)
        self._handle_at = when

    def _wake(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        now = self.now() + _ROUNDING
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heappop(self._heap)[2])
        for timer in due:
            call, timer.call = timer.call, None
            if call is None:
                self._cancelled -= 1
                continue
            try:
                call()
            except Exception:  # the others must still be called
                logger.exception("cannot do what is due for subscriptions")
        self._wait()
