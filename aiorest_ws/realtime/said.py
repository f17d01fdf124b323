"""What was said to a broker → the version that came of it: now, once it is awaited, or in a thread that waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any

from aiorest_ws.realtime.versions import Mark, version_of

__all__ = ("Said",)

_LOOK = 0.5  # seconds between two looks at whether the loop that serves is there


class Said:
    """What has been said: `await` it for the version, which is None of a `recheck`; in a thread, ask for `result()`.

    It is on its way whether or not anybody waits.
    """

    __slots__ = ("_future", "_loop", "_mark", "_task")

    def __init__(
        self,
        mark: Mark | None,
        future: Future[Mark | None] | None = None,
        loop: Any = None,
        task: asyncio.Future[Mark | None] | None = None,
    ) -> None:
        self._mark = mark
        self._future = future
        self._loop = loop
        self._task = task  # of this loop: a broker elsewhere has not answered yet

    def __await__(self) -> Generator[Any, Any, str | None]:
        mark = self._mark
        if self._task is not None:
            mark = yield from asyncio.shield(self._task).__await__()
        elif self._future is not None:
            mark = yield from asyncio.wrap_future(self._future).__await__()
        return _version(mark)

    def result(self, timeout: float | None = None) -> str | None:
        """Give the version; waits up to `timeout` seconds, then raises TimeoutError. For threads.

        Raises RuntimeError if the loop that serves was closed before it was said, and in that loop itself, where it
        would wait for ever: `await` it there.
        """
        if self._task is not None:
            if not self._task.done():
                raise RuntimeError("the broker has not answered yet, and nothing can be waited for here: await it")
            return _version(self._task.result())
        if self._future is None:
            return _version(self._mark)
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _LOOK if end is None else max(0.0, min(_LOOK, end - time.monotonic()))
            try:
                return _version(self._future.result(left))
            except TimeoutError:
                if self._future.done() or (end is not None and time.monotonic() >= end):
                    raise
            if self._loop.is_closed() and self._future.cancel():
                raise RuntimeError("the loop that serves was closed, nobody was told: publish before it ends")


def _version(mark: Mark | None) -> str | None:
    return None if mark is None else version_of(*mark)
