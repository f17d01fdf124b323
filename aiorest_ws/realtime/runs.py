"""Handlers that are to be run again → runs, one after another or side by side, while requests have their turns."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from contextvars import Context
from functools import partial
from typing import Any, Protocol

from aiorest_ws.realtime.timers import Timers

__all__ = ("Run", "Runs")

logger = logging.getLogger("aiorest_ws")

_SLICE = 0.005  # seconds of runs, then requests have their turn


class Run(Protocol):
    """What is to be run again.

    owner         whose turn it is: each owner has one after another
    is_threaded   it takes one of the threads
    """

    @property
    def owner(self) -> Any: ...
    @property
    def is_threaded(self) -> bool: ...
    def begin(self) -> tuple[Coroutine[Any, Any, None], Context] | None:
        """Run; gives what is left of it, and the context of that, None if that was all."""


class Runs:
    """Runs what is due, owner by owner, some of it at once.

    timers        of what comes later
    most          runs that wait for something, at once
    most_threaded    of these, those that take a thread
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timers: Timers, most: int, most_threaded: int) -> None:
        self._loop = loop
        self._context = Context()  # nobody's: each run has its own
        self.timers = timers
        self._most = most
        self._most_threaded = max(1, most_threaded)
        self._queues: dict[Any, deque[Run]] = {}  # by owner, whose turn it is first
        self._held: deque[Run] = deque()  # those that wait for a thread
        self._tasks: set[asyncio.Task[None]] = set()
        self._threaded = 0
        self._wakes = False

    def add(self, run: Run) -> None:
        """Have `run` begun when its owner's turn comes."""
        if run.is_threaded and self._threaded >= self._most_threaded:
            self._held.append(run)
            return
        self._queues.setdefault(run.owner, deque()).append(run)
        self._wake()

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Those that wait for something."""
        return list(self._tasks)

    @property
    def is_quiet(self) -> bool:
        """Tell whether nothing runs, and nothing is to be run now."""
        return not (self._tasks or self._queues or self._held or self._wakes)

    def stop(self) -> list[asyncio.Task[None]]:
        """Begin nothing more; gives what runs, which is cancelled."""
        self._queues.clear()
        self._held.clear()
        for task in self._tasks:
            self._loop.call_soon(task.cancel)  # not at once: one that has not begun would drop what it is to await
        return list(self._tasks)

    def _wake(self) -> None:
        if not self._wakes and len(self._tasks) < self._most:
            self._wakes = True
            self._loop.call_soon(self._turn, context=self._context)

    def _turn(self) -> None:
        end = self._loop.time() + _SLICE
        while self._queues and len(self._tasks) < self._most:
            owner = next(iter(self._queues))
            queue = self._queues.pop(owner)
            run = queue.popleft()
            if queue:
                self._queues[owner] = queue  # behind the others
            self._begin(run)
            if self._loop.time() >= end:
                break
        self._wakes = False
        if self._queues and len(self._tasks) < self._most:
            # What has arrived meanwhile is read first: a callback of the next turn would come before it.
            self._wakes = True
            soon = partial(self._loop.call_soon, self._turn, context=self._context)
            self._loop.call_soon(soon, context=self._context)

    def _begin(self, run: Run) -> None:
        if run.is_threaded and self._threaded >= self._most_threaded:
            self._held.append(run)
            return
        task = self._task_of(run)
        if task is None:
            self._free_held()  # it may have come for a thread that was free, and has not taken it
            return
        self._tasks.add(task)
        if run.is_threaded:
            self._threaded += 1
            task.add_done_callback(self._thread_is_free)
        task.add_done_callback(self._ended)

    def _task_of(self, run: Run) -> asyncio.Task[None] | None:
        """Begin `run`; give the task of what is left of it."""
        try:
            left = run.begin()
        except Exception:  # ours: that of a handler is an answer
            logger.exception("cannot run again what is subscribed to")
            return None
        if left is None:
            return None
        coroutine, context = left
        return self._loop.create_task(coroutine, context=context)

    def _thread_is_free(self, task: asyncio.Task[None]) -> None:
        self._threaded -= 1
        self._free_held()

    def _free_held(self) -> None:
        if self._held and self._threaded < self._most_threaded:
            self.add(self._held.popleft())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("cannot run again what is subscribed to", exc_info=task.exception())
        if self._queues:
            self._wake()
