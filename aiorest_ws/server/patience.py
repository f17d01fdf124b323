"""Futures, and some seconds → a wait for them, which is no longer than the patience of who wants the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any

__all__ = ("Patience",)

_LEAVE = 2.0  # seconds for who has been told to go
_MOMENT = 0.5  # and once patience is lost, for all of them together


class Patience:
    """How long the end of a server waits for others. Once it is lost, only a moment, and for who has been told to go.

    The task that waits here cannot be cancelled out of it: who tries has lost patience, and the end goes on.
    """

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None
        self._until = 0.0  # when the moment is over
        self.is_lost = False

    def lose(self) -> None:
        """Have nobody waited for any more."""
        if not self.is_lost:
            self.is_lost = True
            self.renew()
            _resolve(self._waiter)

    def renew(self) -> None:
        """Let the moment begin now: those whose turn it is have nothing to do with who took it."""
        self._until = asyncio.get_running_loop().time() + _MOMENT

    async def wait(self, futures: Iterable[asyncio.Future[Any]], seconds: float | None = None) -> None:
        """Wait until all of `futures` are done, up to `seconds`, or until patience is lost."""
        if not self.is_lost:
            await self._wait(futures, seconds)

    async def insist(self, futures: Iterable[asyncio.Future[Any]], seconds: float = _LEAVE) -> list[Any]:
        """Wait even when it is lost, for what is left of the moment. Gives those that are not done."""
        futures = [future for future in futures if not future.done()]
        await self.wait(futures, seconds)
        loop = asyncio.get_running_loop()
        while self.is_lost and (left := self._until - loop.time()) > 0 and not all(f.done() for f in futures):
            await self._wait(futures, left)
        return [future for future in futures if not future.done()]

    async def cancel(self, tasks: Iterable[asyncio.Future[Any]]) -> list[Any]:
        """Cancel `tasks`, and see to it that they end. Gives those that do not."""
        tasks = list(tasks)
        for task in tasks:
            task.cancel()
        return await self.insist(tasks)

    async def cancel_late(self, futures: Iterable[asyncio.Future[Any]], seconds: float = _LEAVE) -> None:
        """Wait for `futures` up to `seconds`, then see to it that they are cancelled."""
        futures = list(futures)
        await self.wait(futures, seconds)
        await self.cancel(future for future in futures if not future.done())

    async def see_through(self, task: asyncio.Task[Any]) -> None:
        """Wait for `task`, which waits with this patience. Who is cancelled here makes it hurry, and waits on."""
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as exc:
                cancelled = exc
                self.lose()
        if cancelled is not None:
            raise cancelled

    async def _wait(self, futures: Iterable[asyncio.Future[Any]], seconds: float | None) -> None:
        pending = {future for future in futures if not future.done()}
        if not pending:
            return
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(max(0.0, seconds), _resolve, waiter)
        callback = partial(_on_done, pending, waiter)
        for future in list(pending):
            future.add_done_callback(callback)
        try:
            await waiter
        except asyncio.CancelledError:
            self.lose()
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
            for future in pending:
                future.remove_done_callback(callback)


def _on_done(pending: set[Any], waiter: asyncio.Future[None], future: asyncio.Future[Any]) -> None:
    pending.discard(future)
    if not pending:
        _resolve(waiter)


def _resolve(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
