"""Coroutines of a thread of its own → what they give, to whoever waits in another thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from aiorest_ws.client.errors import ClientClosed

__all__ = ("LoopThread", "in_a_thread")

T = TypeVar("T")
_CLOSED = "the client is closed: make another one"
_FAREWELL = 5.0  # seconds that a thread may take to end


class LoopThread:
    """A thread with an event loop. It ends with `stop`, or with the process.

    last    what is done in the loop before it ends
    """

    def __init__(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._last = last
        self._loop = asyncio.new_event_loop()
        self._process = os.getpid()
        self._lock = threading.Lock()  # nothing is begun behind the end
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="aiorest_ws.client", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._end())
        finally:
            self._loop.close()

    async def _end(self) -> None:
        await asyncio.sleep(0)  # what was asked for last has begun
        try:
            await self._last()
        finally:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()  # whoever waits for it is told
            if others:
                await asyncio.wait(others, timeout=_FAREWELL)

    def is_here(self) -> bool:
        """Tell whether it runs: not in another process, and not once it was stopped."""
        return self._process == os.getpid() and not self._is_over

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Give what a coroutine gives, or raise what it raises. Who is interrupted cancels it."""
        try:
            future = self._begin(work)
        except (ClientClosed, RuntimeError):
            work.close()  # else Python complains that nobody has awaited it
            raise
        try:
            return future.result()
        except CancelledError:
            raise ClientClosed(_CLOSED) from None
        finally:
            future.cancel()  # of who is interrupted; what is over stays as it is

    def _begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._process != os.getpid():
            raise RuntimeError("this client was made in another process: make one after the fork")
        if threading.current_thread() is self._thread:
            raise RuntimeError("this client would wait for itself: call it from another thread")
        with self._lock:
            if self._is_over:
                raise ClientClosed(_CLOSED)
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self) -> None:
        """End it. May be called again, wherever something is forgotten: in itself, too, and in another process."""
        if self._process != os.getpid():
            return
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(_FAREWELL)


async def in_a_thread(function: Callable[[], T]) -> T:
    """Give what a function gives that may block; nobody waits for it at the end of the process."""
    given: Future[T] = Future()
    given.set_running_or_notify_cancel()  # who waits may be cancelled, what runs cannot

    def run() -> None:
        try:
            given.set_result(function())
        except BaseException as exc:  # who waits is told, of SystemExit too
            given.set_exception(_raisable(exc))

    threading.Thread(target=run, name="aiorest_ws.client token", daemon=True).start()
    return await asyncio.wrap_future(given)


def _raisable(exc: BaseException) -> Exception:
    """Give what a future takes and a loop survives: neither is so of StopIteration, SystemExit and their like."""
    if isinstance(exc, Exception) and not isinstance(exc, StopIteration):
        return exc
    error = RuntimeError(f"the function raised {exc!r}")
    error.__cause__ = exc
    return error
