"""A server's address → one connection to it that is opened again whenever it is lost."""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import Context
from typing import Any

from redis.exceptions import RedisError

from aiorest_ws.realtime.timers import Timer, Timers

__all__ = ("ERRORS", "Link", "jitter", "reason_of")

ERRORS = (RedisError, OSError, EOFError, TimeoutError)  # of a connection: those that are no mistake of ours

_FIRST, _LONGEST = 0.05, 5.0  # seconds, at most, before it is tried again: after the first failure, after many

logger = logging.getLogger("aiorest_ws")


def jitter(failures: int) -> float:
    """Give the seconds to wait after so many failures: any number, up to a limit that grows; not all come at once."""
    return random.random() * min(_LONGEST, _FIRST * (1 << min(failures, 16)))


class Link(ABC):
    """One connection, kept open from `open` to `close`.

    name       of the server, for people: without the password
    timeout    seconds that opening it may take
    is_up      it is open
    is_down    it was lost, and could not be opened since
    """

    def __init__(
        self, name: str, dial: Callable[[], Any], timers: Timers, timeout: float, wait: Callable[[int], float]
    ) -> None:
        self.name = name
        self.timers = timers
        self.timeout = timeout
        self.is_up = False
        self.is_down = False
        self.on_up: Callable[[], None] = lambda: None
        self.on_lost: Callable[[], None] = lambda: None
        self._dial = dial
        self._seconds_after = wait
        self._connection: Any = None
        self._keeping: asyncio.Task[None] | None = None
        self._serving: list[asyncio.Task[None]] = []  # the tasks that read and write
        self._why = ""
        self._rest: tuple[Timer, asyncio.Future[None]] | None = None

    # For those who have it

    async def open(self) -> None:
        """Open it, and keep it open from now on. Raises one of ERRORS if that does not succeed at the first try."""
        await self._connect()
        self._keeping = asyncio.get_running_loop().create_task(self._keep(), context=Context())

    def keep(self) -> None:
        """Open it as soon as it can be, and keep it open."""
        self._keeping = asyncio.get_running_loop().create_task(self._keep(), context=Context())

    async def close(self) -> None:
        tasks = [*self._serving, *([] if self._keeping is None else [self._keeping])]
        self._keeping = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        connection, self._connection = self._connection, None
        if connection is not None:
            await _let_go(connection)  # it had not begun to be of use
        self.is_down = True
        self._lose("it was closed")
        self._give_up("it was closed")

    def drop(self, why: str) -> None:
        """Let go of the connection, which is of no use any more; another one is opened."""
        if not self._why:
            self._why = why
        for task in self._serving:
            task.cancel()

    def hurry(self) -> None:
        """Try again now, if it waits to do so."""
        if self._rest is not None:
            timer, future = self._rest
            timer.cancel()
            if not future.done():
                future.set_result(None)

    # For those that are made of it

    @abstractmethod
    async def _greet(self, connection: Any) -> None:
        """Ask what is to be known, before anything else, and make ready."""

    @abstractmethod
    def _begin(self) -> None:
        """Have sent what is to be sent first."""

    @abstractmethod
    async def _write(self, connection: Any) -> None:
        """Send what is to be sent, until the connection is lost: raises one of ERRORS."""

    @abstractmethod
    async def _read(self, connection: Any) -> None:
        """Take what comes, likewise."""

    @abstractmethod
    def _lose(self, why: str) -> None:
        """Take note that what was on its way may not have come."""

    @abstractmethod
    def _give_up(self, why: str) -> None:
        """Let nobody wait any longer: it cannot be opened again now."""

    # Its life

    async def _connect(self) -> None:
        connection = self._dial()
        try:
            async with asyncio.timeout(self.timeout):
                await connection.connect()
                await self._greet(connection)
        except BaseException:  # raised again: it is opened whole, or not at all
            await _let_go(connection)
            raise
        self._connection = connection

    async def _keep(self) -> None:
        failures = 0
        while True:
            if self._connection is None:
                try:
                    await self._connect()
                except Exception as exc:  # whatever it is: who does not try again is deaf for ever
                    failures += 1
                    self._cannot(exc, failures)
                    await self._wait(self._seconds_after(failures))
                    continue
            failures = 0
            await self._use(self._connection)
            await self._wait(self._seconds_after(0))

    def _cannot(self, exc: BaseException, failures: int) -> None:
        if failures == 1:
            trace = None if isinstance(exc, ERRORS) else exc
            logger.error("redis at %s cannot be reached, trying again: %s", self.name, reason_of(exc), exc_info=trace)
        self.is_down = True
        self._give_up(reason_of(exc))

    async def _use(self, connection: Any) -> None:
        if self.is_down:
            logger.info("redis at %s is back", self.name)
        self.is_up, self.is_down, self._why = True, False, ""
        loop = asyncio.get_running_loop()
        self._begin()
        tasks = self._serving = [loop.create_task(self._read(connection)), loop.create_task(self._write(connection))]
        try:
            self._call(self.on_up)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            self._connection, self._serving = None, []
            self.is_up = False
            await _let_go(connection)
        await asyncio.wait(tasks)
        self._was_lost([task.exception() for task in tasks if not task.cancelled()])

    def _was_lost(self, excs: list[BaseException | None]) -> None:
        exc = excs[0] if excs else None
        if exc is not None and not isinstance(exc, ERRORS):
            logger.error("the connection to redis at %s failed, opening another", self.name, exc_info=exc)
        why = self._why or ("it was closed" if exc is None else reason_of(exc))
        logger.warning("the connection to redis at %s is lost: %s", self.name, why)
        self._lose(why)
        self._call(self.on_lost)

    def _call(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # the connection must still be kept
            logger.exception("cannot do what is due at the connection to redis at %s", self.name)

    async def _wait(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def due() -> None:
            if not future.done():
                future.set_result(None)

        self._rest = self.timers.after(seconds, due), future
        try:
            await future
        finally:
            self._rest = None


def reason_of(exc: BaseException) -> str:
    """Give what went wrong, in one line."""
    text = " ".join(str(exc).split())
    return (text or type(exc).__name__).removesuffix(".")


async def _let_go(connection: Any) -> None:
    """Close it at once: a peer that does not read would have it kept for what it is to be sent."""
    writer = connection._writer  # there is no other way to its transport
    if writer is not None:
        writer.transport.abort()
    await connection.disconnect(nowait=True)
