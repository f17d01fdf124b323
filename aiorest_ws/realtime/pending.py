"""What a broker was asked for → what is done with it: now, or once it is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import Context
from typing import Any

from aiorest_ws.callables.calls import is_awaitable
from aiorest_ws.exceptions import BrokerUnavailable
from aiorest_ws.logs.throttled import Complaints
from aiorest_ws.realtime.versions import Mark, version_of

__all__ = ("Pending", "complain", "hand_over", "log_failure", "or_reported")

_complaints = Complaints(logging.getLogger("aiorest_ws"))


class Pending:
    """What brokers have been asked for, and have not given yet."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[Any]] = set()

    @property
    def tasks(self) -> list[asyncio.Future[Any]]:
        return list(self._tasks)

    def then(self, given: Any, take: Callable[[Any], Any], failed: Callable[[Exception], Any]) -> None:
        """Have `take` called with what a broker gave: at once, or when it is there; or `failed` with what it raises."""
        if is_awaitable(given):
            self.add(_then(given, take, failed))
        else:
            take(given)

    def left(self, given: Any, what: str) -> None:
        """Leave to itself what a broker gave: nobody waits for it; it is logged if it fails, as `what`."""
        if is_awaitable(given):
            self.add(_then(given, _take_nothing, lambda exc: complain(what, exc)))

    def add(self, awaitable: Awaitable[Any]) -> asyncio.Future[Any]:
        """Give the task in which `awaitable` goes on, in nobody's context; a future needs none."""
        task = awaitable
        if not asyncio.isfuture(task):
            task = asyncio.get_running_loop().create_task(_awaited(awaitable), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def stop(self) -> list[asyncio.Future[Any]]:
        """Wait for nothing more; gives what is cancelled."""
        tasks = self.tasks
        for task in tasks:
            task.get_loop().call_soon(task.cancel)  # not at once: one that has not begun would drop what it is to await
        return tasks


def complain(what: str, exc: BaseException) -> None:
    """Log that a broker could not do `what`: a few lines of it, not one for each of a million."""
    _complaints.write(logging.ERROR, f"{what}: {type(exc).__name__}: {exc}")


async def or_reported(said: Any, report: Callable[[Exception], None]) -> str | None:
    """Give the version in the end; None if nobody was told, which is reported."""
    try:
        return version_of(*(await said))
    except BrokerUnavailable as exc:
        report(exc)
        return None


def hand_over(future: Future[Mark | None], task: asyncio.Future[Any]) -> None:
    """Tell the thread that waits what came of it, also where the server has stopped before anything did."""
    if task.cancelled():
        future.set_exception(BrokerUnavailable("the server has stopped: nobody was told"))
    elif (exc := task.exception()) is not None:
        future.set_exception(exc)
    else:
        future.set_result(task.result())


def log_failure(task: asyncio.Future[Any]) -> None:
    """Log what went wrong: nobody may ever ask."""
    if not task.cancelled() and (exc := task.exception()) is not None:
        complain("cannot publish", exc)


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def _then(given: Any, take: Callable[[Any], Any], failed: Callable[[Exception], Any]) -> None:
    try:
        got = await given
    except Exception as exc:
        failed(exc)
    else:
        take(got)


def _take_nothing(_: Any) -> None:
    """Nobody has asked for anything."""
