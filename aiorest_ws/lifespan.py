"""What an application does before it listens and after its last connection → one task that lives between the two."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from aiorest_ws.calls import call
from aiorest_ws.exceptions import ImproperlyConfigured

__all__ = ("Lifespan",)

logger = logging.getLogger("aiorest_ws")

_LEAVE = 2.0  # seconds that a task gets to end once it is cancelled


class Lifespan:
    """The life of an application, from `start` to `end`; all of it in one task, as cancel scopes and task groups ask.

    manager    gives an async context manager, whose body is the life; None for none
    startup    called in order inside of it, before anybody connects; each may be `async def`
    shutdown   called in order before it is left, if all of `startup` went well
    """

    def __init__(
        self,
        app: Any,
        manager: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None,
        startup: Iterable[Callable[[Any], Any]] = (),
        shutdown: Iterable[Callable[[Any], Any]] = (),
    ) -> None:
        self._app = app
        self._manager = manager
        self._startup = tuple(startup)
        self._shutdown = tuple(shutdown)
        self._task: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._ready: asyncio.Future[None]

    async def start(self) -> None:
        """Run until the application may listen. Raises ImproperlyConfigured from what went wrong."""
        if self._manager is None and not self._startup and not self._shutdown:
            return
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        self._task = loop.create_task(self._live())
        try:
            await asyncio.wait([self._task, self._ready], return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await self._cancel(self._task)
            raise
        if not self._ready.done():
            task, self._task = self._task, None
            if not task.cancelled():
                task.result()  # raises what went wrong
            raise ImproperlyConfigured(f"{_named(self._manager)} ended before the application started")

    async def end(self, hurry: asyncio.Event) -> None:
        """Run to the end, or only until there is a hurry. What goes wrong is logged."""
        task, self._task = self._task, None
        if task is None:
            return
        self._over.set()
        hurried = asyncio.ensure_future(hurry.wait())
        try:
            await asyncio.wait([task, hurried], return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurried.cancel()
            await self._cancel(task)
        if task.done() and not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("%s failed at the end", _named(self._manager), exc_info=exc)

    async def _live(self) -> None:
        current: Any = self._manager
        try:
            async with nullcontext() if self._manager is None else _entered(self._manager(self._app)):
                for current in self._startup:
                    await call(current, self._app)
                self._ready.set_result(None)
                await self._over.wait()
                await self._shut_down()
        except Exception as exc:
            if self._ready.done():
                raise
            raise ImproperlyConfigured(f"{_named(current)} failed at the start: {_described(exc)}") from exc

    async def _shut_down(self) -> None:
        for hook in self._shutdown:
            try:
                await call(hook, self._app)
            except Exception as exc:
                logger.error("%s failed at the end", _named(hook), exc_info=exc)

    async def _cancel(self, task: asyncio.Task[None]) -> None:
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_LEAVE)


def _entered(manager: Any) -> Any:
    """Give `manager`, which is to be entered. Raises TypeError for what cannot be."""
    if hasattr(manager, "__aenter__"):
        return manager
    if hasattr(manager, "close"):
        manager.close()  # a coroutine that is never awaited would be complained about, too
    raise TypeError(
        f"expected an asynchronous context manager, got {type(manager).__qualname__}: "
        "lifespan is a function with one `yield`, under @asynccontextmanager"
    )


def _named(hook: Any) -> str:
    return f"lifespan {hook.__qualname__}" if hasattr(hook, "__qualname__") else f"lifespan {hook!r}"


def _described(exc: Exception) -> str:
    """Give `exc` in one line."""
    return " ".join(f"{type(exc).__name__}: {exc}".split()).removesuffix(":")
