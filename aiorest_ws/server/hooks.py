"""What an application wants to be told of → calls of its functions, each as a task if it takes time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from aiorest_ws.callables.calls import finished, is_awaitable
from aiorest_ws.callables.failures import PASSED_ON
from aiorest_ws.logs.throttled import Complaints
from aiorest_ws.server.patience import Patience

__all__ = ("Hooks",)


class Hooks:
    """Runs hooks of the application, and holds those that have not come to their end."""

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints
        self._tasks: set[asyncio.Task[Any]] = set()

    def keep(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `coroutine`, which sees to its own exceptions, as a task."""
        task = asyncio.get_running_loop().create_task(coroutine)
        if not task.done():  # a task factory may have started it at once
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return task

    def tell(self, name: str, hook: Callable[..., Any], *args: Any) -> None:
        """Call `hook`, and log what it raises, now or later."""
        try:
            pending = hook(*args)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            self._complaints.write(logging.ERROR, f"{name} failed", exc)
        else:
            if is_awaitable(pending):
                self.keep(self.told(name, pending))

    async def told(self, name: str, pending: Any) -> None:
        """Wait for `pending`, and log what it raises."""
        try:
            await finished(pending)
        except PASSED_ON:
            raise
        except BaseException as exc:
            self._complaints.write(logging.ERROR, f"{name} failed", exc)

    async def end(self, patience: Patience) -> None:
        """Wait for what runs; what takes too long is cancelled."""
        await patience.cancel_late(set(self._tasks))
