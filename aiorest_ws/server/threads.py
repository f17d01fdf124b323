"""A function that blocks → an awaitable of its result, which a thread of a bounded pool makes."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from contextlib import nullcontext
from contextvars import copy_context
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups.asker import asker
from aiorest_ws.callables.calls import finished, is_awaitable
from aiorest_ws.server.patience import Patience

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ("Threads",)

logger = logging.getLogger("aiorest_ws")


class Threads:
    """The threads of one application. They are made when there is work for them, and kept.

    What waits for one waits here, its asker's own after each other; whoever has no thread comes before those who have.

    most    how many there may be; what comes then waits. None: four more than processors, 32 at most
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = min(32, (os.cpu_count() or 1) + 4) if most is None else most
        self._executor: ThreadPoolExecutor | None = None  # of `_serve`, of which each takes one job after another
        self._lock = Lock()  # for all of the next three
        self._jobs = _Jobs()
        self._serving = 0
        self._tell: Callable[[], Any] | None = None  # that nothing runs any more
        self._closed = False

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Give what `function` gives, or raise what it raises; it sees the context variables of the caller.

        When the caller is cancelled, what has not begun never does, and what has goes on, its result not wanted.
        """
        if self._closed:
            outcome = _outcome(function, *args)  # the clean-up behind a call that was late: better here than nowhere
        else:
            job = _Job(asker.get(), asyncio.get_running_loop(), partial(copy_context().run, _outcome, function, *args))
            self._put(job)
            try:
                outcome = await job.outcome
            except asyncio.CancelledError:
                with self._lock:
                    self._jobs.forget(job)
                raise
            finally:
                del job
        result, exc = outcome
        outcome.clear()  # the traceback of `exc` leads to a frame of the thread, and that to the job
        if exc is not None:
            try:
                raise exc
            finally:
                del exc  # it would hold this call, and so the request, until the garbage collector comes
        # A handler may give an awaitable all the same: that belongs in the loop.
        return await finished(result) if is_awaitable(result) else result

    async def close(self, patience: Patience) -> None:
        """Take nothing more, and wait for what runs; what still does then cannot be stopped."""
        if self._executor is None:
            return
        self._closed = True
        over = asyncio.get_running_loop().create_future()
        with self._lock:
            waiting = self._jobs.drain()
            if self._jobs.running:
                self._tell = partial(_settle, asyncio.get_running_loop(), over, None)
            else:
                over.set_result(None)
        for job in waiting:
            job.outcome.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)
        await patience.insist([over])
        late = self._jobs.running
        if not over.done() and late:
            logger.warning("%d threaded handlers still run: the program cannot end before they do", late)

    def _put(self, job: _Job) -> None:
        if self._executor is None:
            from concurrent.futures import ThreadPoolExecutor

            self._executor = ThreadPoolExecutor(self.most, "aiorest-ws")
        with self._lock:
            self._jobs.put(job)
            needed = self._serving < self.most
            self._serving += needed
        if needed:
            self._executor.submit(self._serve)

    def _serve(self) -> None:
        """Run jobs, in a thread, until none is left."""
        while True:
            with self._lock:
                job = self._jobs.take()
                if job is None:
                    self._serving -= 1
                    return
            with _anyio_thread(job.loop):
                outcome = job.run()
            with self._lock:
                self._jobs.done(job)
                tell = None if self._jobs.running else self._tell
            _settle(job.loop, job.outcome, outcome)
            del job, outcome  # the next may be long in coming
            if tell is not None:
                tell()


class _Job:
    """A call that waits for a thread, and then runs in one.

    owner      who asks
    outcome    future of what `run` gives
    """

    __slots__ = ("loop", "outcome", "owner", "run")

    def __init__(self, owner: int, loop: asyncio.AbstractEventLoop, run: Callable[[], list[Any]]) -> None:
        self.owner = owner
        self.loop = loop
        self.run = run
        self.outcome: asyncio.Future[Any] = loop.create_future()


class _Jobs:
    """Jobs that wait, by owner: first of those for whom none runs, in turn, then of the others, in turn.

    running    how many were taken and are not done
    """

    def __init__(self) -> None:
        self.running = 0
        self._of: dict[int, deque[_Job]] = {}
        self._runs: Counter[int] = Counter()
        self._idle: OrderedDict[int, None] = OrderedDict()  # owners who wait, and have none that runs
        self._busy: OrderedDict[int, None] = OrderedDict()  # the other owners who wait

    def put(self, job: _Job) -> None:
        """Let `job` wait, behind those of its owner."""
        jobs = self._of.get(job.owner)
        if jobs is None:
            jobs = self._of[job.owner] = deque()
            self._turns_of(job.owner)[job.owner] = None
        jobs.append(job)

    def take(self) -> _Job | None:
        """Give the job whose turn it is, if one waits."""
        turns = self._idle or self._busy
        if not turns:
            return None
        owner, _ = turns.popitem(last=False)
        jobs = self._of[owner]
        job = jobs.popleft()
        self.running += 1
        self._runs[owner] += 1
        if jobs:
            self._busy[owner] = None
        else:
            del self._of[owner]
        return job

    def done(self, job: _Job) -> None:
        """Take note that `job`, which was taken, has run."""
        self.running -= 1
        self._runs[job.owner] -= 1
        if not self._runs[job.owner]:
            del self._runs[job.owner]
            if job.owner in self._of:
                del self._busy[job.owner]
                self._idle[job.owner] = None

    def forget(self, job: _Job) -> None:
        """Let `job` wait no longer, if it does."""
        jobs = self._of.get(job.owner, ())
        if job in jobs:
            jobs.remove(job)  # type: ignore[union-attr]
            if not jobs:
                del self._of[job.owner]
                del self._turns_of(job.owner)[job.owner]

    def drain(self) -> list[_Job]:
        """Give all that wait, which then do no longer."""
        waiting = [job for jobs in self._of.values() for job in jobs]
        self._of.clear()
        self._idle.clear()
        self._busy.clear()
        return waiting

    def _turns_of(self, owner: int) -> OrderedDict[int, None]:
        return self._busy if owner in self._runs else self._idle


def _settle(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], value: Any) -> None:
    """Give `value` to `future`, from a thread, unless nobody waits any more."""
    try:
        loop.call_soon_threadsafe(lambda: None if future.done() else future.set_result(value))
    except RuntimeError:
        if not loop.is_closed():
            raise


def _anyio_thread(loop: asyncio.AbstractEventLoop) -> Any:
    """Let what anyio has for its own threads work in this one (`from_thread.run`), if the program uses anyio."""
    eventloop: Any = sys.modules.get("anyio._core._eventloop")
    if not hasattr(eventloop, "claim_worker_thread"):
        return nullcontext()
    eventloop.threadlocals.current_cancel_scope = None
    return eventloop.claim_worker_thread(eventloop.get_async_backend("asyncio"), loop)


def _outcome(function: Callable[..., Any], *args: Any) -> list[Any]:
    """Give result and exception: a future would not take every exception (StopIteration), nor every thread."""
    try:
        return [function(*args), None]
    except BaseException as exc:
        return [None, exc]
