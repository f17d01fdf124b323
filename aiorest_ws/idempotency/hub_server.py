"""The hub of keys, in the supervisor: one ledger in memory for all workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiorest_ws.idempotency import Idempotency
from aiorest_ws.idempotency.exceptions import BaseIdempotencyException
from aiorest_ws.idempotency.ledgers import Asked, Outcome
from aiorest_ws.idempotency.memory import MemoryLedger, Record
from aiorest_ws.realtime.brokers.hub_messages import Channel, checked

__all__ = ("KeyHub",)

_MOST_WAITING = 100_000  # requests of one worker that wait for others

# What a worker says → the types in its head.
_TYPES: dict[str, tuple[type, ...]] = {
    "key": (int, str, str, str),
    "key kept": (int, bool, int, str, int),
    "key released": (int,),
    "key lost": (int,),
    "key left": (int,),
}


class KeyHub:
    """Knows what the workers of one supervisor do, and have done; all in the loop that its channels are in."""

    def __init__(self, settings: Idempotency, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.ledger = MemoryLedger(settings, clock)
        self._workers: set[_Worker] = set()

    def add(self, channel: Channel) -> None:
        """Serve a worker, on its channel, until that is lost: then nobody knows what came of what it was doing."""
        worker = _Worker(self.ledger, channel)
        self._workers.add(worker)
        channel.on_lost(lambda: self._remove(worker))

    def _remove(self, worker: _Worker) -> None:
        self._workers.discard(worker)
        worker.leave()

    def stop(self) -> None:
        """Serve nobody, wait for nothing."""
        for worker in list(self._workers):
            self._remove(worker)
        self.ledger.stop()


class _Worker:
    """One worker. What it says is checked: one that is confused is closed, and takes nobody along."""

    def __init__(self, ledger: MemoryLedger, channel: Channel) -> None:
        self._ledger = ledger
        self._channel = channel
        self._tickets: dict[int, Record] = {}
        self._waiting: dict[int, asyncio.Task[None]] = {}
        for kind, handler in (
            ("key", self._ask),
            ("key kept", self._keep),
            ("key released", self._release),
            ("key lost", self._lose),
            ("key left", self._leave),
        ):
            channel.take(kind, checked(_TYPES[kind], handler, takes_body=kind == "key kept"))

    def leave(self) -> None:
        """Take note that it is gone."""
        for task in self._waiting.values():
            task.cancel()
        self._waiting.clear()
        tickets, self._tickets = self._tickets, {}
        for ticket in tickets.values():
            self._ledger.lose(ticket)

    # What it says

    def _ask(self, number: int, key: str, who: str, said: str) -> None:
        asked = Asked(*map(bytes.fromhex, (key, who, said)))
        if tuple(map(len, asked)) != (32, 16, 32) or number in self._tickets or number in self._waiting:
            raise ValueError("expected three digests, under a number of their own")
        try:
            given = self._ledger.attempt(asked)
        except BaseIdempotencyException as exc:
            self._refuse(number, exc)
            return
        if given is None:
            self._wait(number, asked)
        else:
            self._say(number, given)

    def _wait(self, number: int, asked: Asked) -> None:
        """Answer when the request with this key has ended."""
        if len(self._waiting) >= _MOST_WAITING:
            raise ValueError("too many of its requests wait")
        self._channel.send("key waits", number)
        self._waiting[number] = asyncio.get_running_loop().create_task(self._answer_late(number, asked))

    async def _answer_late(self, number: int, asked: Asked) -> None:
        try:
            given = await self._ledger.reserve(asked)
        except BaseIdempotencyException as exc:
            self._refuse(number, exc)
        else:
            self._say(number, given)
        del self._waiting[number]

    def _refuse(self, number: int, exc: BaseIdempotencyException) -> None:
        self._channel.send("key refused", number, type(exc).__name__, exc.detail)

    def _say(self, number: int, given: Outcome | Record) -> None:
        if isinstance(given, Outcome):
            self._channel.send("key done", number, *given[:3], body=given.value)
        else:
            self._tickets[number] = given
            self._channel.send("key yours", number)

    def _keep(self, number: int, is_kept: bool, status: int, name: str, form: int, body: bytes) -> None:
        if is_kept and (name not in ("data", "detail") or form not in (0, 4) or not 100 <= status <= 599):
            raise ValueError("expected an outcome")
        self._ledger.keep(self._ticket(number), Outcome(status, name, form, body) if is_kept else None)

    def _release(self, number: int) -> None:
        self._ledger.release(self._ticket(number))

    def _lose(self, number: int) -> None:
        self._ledger.lose(self._ticket(number))

    def _leave(self, number: int) -> None:
        """Have nobody wait under this number; it may have been answered meanwhile, and nothing was begun."""
        task = self._waiting.pop(number, None)
        if task is not None:
            task.cancel()
        elif number in self._tickets:
            self._ledger.release(self._tickets.pop(number))

    def _ticket(self, number: int) -> Record:
        ticket = self._tickets.pop(number, None)
        if ticket is None:
            raise ValueError("expected the number of what it does")
        return ticket
