"""A function that blocks → an awaitable of its result, which a thread of a bounded pool makes."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from aiorest_ws.calls import is_awaitable
from aiorest_ws.patience import Patience

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ("Threads",)

logger = logging.getLogger("aiorest_ws")


class Threads:
    """The threads of one application. They are made when there is work for them, and kept.

    most    how many there may be; what comes then waits. None: four more than processors, 32 at most
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = min(32, (os.cpu_count() or 1) + 4) if most is None else most
        self._executor: ThreadPoolExecutor | None = None
        self._jobs: set[Future[Any]] = set()
        self._closed = False

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Give what `function` gives, or raise what it raises; it sees the context variables of the caller.

        When the caller is cancelled, what has not begun never does, and what has goes on, its result not wanted.
        """
        if self._executor is None:
            from concurrent.futures import ThreadPoolExecutor

            self._executor = ThreadPoolExecutor(self.most, "aiorest-ws")
        if self._closed:
            outcome = _outcome(function, *args)  # the clean-up behind a call that was late: better here than nowhere
        else:
            job = self._executor.submit(_in_thread, asyncio.get_running_loop(), copy_context().run, function, *args)
            self._jobs.add(job)
            job.add_done_callback(self._jobs.discard)
            outcome = await asyncio.wrap_future(job)
        result, exc = outcome
        outcome.clear()  # the traceback of `exc` leads to a frame of the thread, and that to `job`
        if exc is not None:
            try:
                raise exc
            finally:
                del exc  # it would hold this call, and so the request, until the garbage collector comes
        # A handler may give an awaitable all the same: that belongs in the loop.
        return await result if is_awaitable(result) else result

    async def close(self, patience: Patience) -> None:
        """Take nothing more, and wait for what runs; what still does then cannot be stopped."""
        if self._executor is None:
            return
        self._closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)
        late = await patience.insist(asyncio.wrap_future(job) for job in list(self._jobs))
        for job in late:
            job.cancel()
        if late:
            logger.warning("%d threaded handlers still run: the program cannot end before they do", len(late))


def _in_thread(
    loop: asyncio.AbstractEventLoop, run: Callable[..., Any], function: Callable[..., Any], *args: Any
) -> Any:
    """Give the outcome of `function`, run in its context, in a thread that libraries know as one of `loop`."""
    with _anyio_thread(loop):
        return run(_outcome, function, *args)


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
