"""The ledger of one process, or of a supervisor: keys and outcomes in memory."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from aiorest_ws.idempotency import Idempotency
from aiorest_ws.idempotency.exceptions import (
    IdempotencyKeyReused,
    IdempotencyUnavailable,
    OutcomeNotKept,
    OutcomeUnknown,
    TooManyIdempotencyKeys,
)
from aiorest_ws.idempotency.ledgers import Asked, Outcome

__all__ = ("MemoryLedger", "Record")

_RUNNING, _DONE, _LOST = range(3)
_LATE = 0.05  # seconds after it is due in which what is forgotten is forgotten together


class Record:
    """What is known of one key.

    ends       when it is forgotten, once it does not run any more
    outcome    None: none was kept
    over       done when it does not run any more; None: nobody waits for that
    """

    __slots__ = ("asked", "ends", "outcome", "over", "state")

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.state = _RUNNING
        self.outcome: Outcome | None = None
        self.ends = 0.0
        self.over: asyncio.Future[None] | None = None

    @property
    def size(self) -> int:
        return 0 if self.outcome is None else len(self.outcome.value)

    def found(self) -> Outcome:
        """Give its outcome, or raise why there is none."""
        if self.state == _LOST:
            raise OutcomeUnknown()
        if self.outcome is None:
            raise OutcomeNotKept()
        return self.outcome

    async def until_over(self) -> None:
        """Wait until it does not run any more."""
        if self.over is None:
            self.over = asyncio.get_running_loop().create_future()
        await asyncio.wait([self.over])  # who waits may be cancelled, and the others wait on

    def wake(self) -> None:
        """Let those go on who wait for its end."""
        if self.over is not None:
            self.over.set_result(None)
            self.over = None


class _Share:
    """What one who asks has: keys, and bytes of outcomes; the records that have one, the oldest first."""

    __slots__ = ("kept", "keys", "size")

    def __init__(self) -> None:
        self.keys = 0
        self.size = 0
        self.kept: deque[Record] = deque()


class MemoryLedger:
    """Keys of one process.

    All outcomes are kept for the same time: they end in the order in which they came, and one timer is enough.
    """

    def __init__(self, settings: Idempotency, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._settings = settings
        self._records: dict[bytes, Record] = {}
        self._shares: dict[bytes, _Share] = {}
        self._ending: deque[Record] = deque()  # that do not run, the oldest first
        self._size = 0  # bytes of outcomes
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Give the number of keys that are known."""
        return len(self._records)

    @property
    def size(self) -> int:
        """Give the bytes of all outcomes."""
        return self._size

    async def reserve(self, asked: Asked) -> Outcome | Record:
        while (given := self.attempt(asked)) is None:
            await self._records[asked.key].until_over()
        return given

    def attempt(self, asked: Asked) -> Outcome | Record | None:
        """As `reserve`, but give None where that waits."""
        self._forget()
        record = self._records.get(asked.key)
        if record is None:
            return self._begin(asked)
        if record.asked.said != asked.said:
            raise IdempotencyKeyReused()
        return None if record.state == _RUNNING else record.found()

    def _begin(self, asked: Asked) -> Record:
        share = self._shares.get(asked.who)
        if share is not None and share.keys >= self._settings.max_keys_each:
            raise TooManyIdempotencyKeys()
        if len(self._records) >= self._settings.max_keys:
            raise IdempotencyUnavailable("there are too many `idempotency_key`s now: come back in a minute")
        if share is None:
            share = self._shares[asked.who] = _Share()
        share.keys += 1
        record = self._records[asked.key] = Record(asked)
        return record

    def keep(self, ticket: Record, outcome: Outcome | None) -> None:
        ticket.state = _DONE
        if outcome is not None and len(outcome.value) <= self._settings.max_reply:
            self._make_room(ticket, outcome)
        self._end(ticket)

    def _make_room(self, record: Record, outcome: Outcome) -> None:
        """Keep `outcome` if there is room for it; only older ones of the same who asked make some."""
        share, size = self._shares[record.asked.who], len(outcome.value)
        while share.kept and share.size + size > self._settings.max_bytes_each:
            self._drop(share, share.kept[0])
        if share.size + size > self._settings.max_bytes_each or self._size + size > self._settings.max_bytes:
            return
        record.outcome = outcome
        share.kept.append(record)
        share.size += size
        self._size += size

    def _drop(self, share: _Share, record: Record) -> None:
        """Keep the outcome of `record`, the oldest of its share, no longer."""
        share.kept.popleft()
        share.size -= record.size
        self._size -= record.size
        record.outcome = None

    def release(self, ticket: Record) -> None:
        self._remove(ticket)
        ticket.wake()

    def lose(self, ticket: Record) -> None:
        ticket.state = _LOST
        self._end(ticket)

    def _end(self, record: Record) -> None:
        record.ends = self.clock() + self._settings.seconds
        self._ending.append(record)
        record.wake()
        self._set_timer()

    def _remove(self, record: Record) -> None:
        del self._records[record.asked.key]
        share = self._shares[record.asked.who]
        if record.outcome is not None:
            self._drop(share, record)
        share.keys -= 1
        if not share.keys:
            del self._shares[record.asked.who]

    # Time

    def _forget(self) -> None:
        """Forget what was kept for long enough."""
        now = self.clock()
        while self._ending and self._ending[0].ends <= now:
            self._remove(self._ending.popleft())

    def _set_timer(self) -> None:
        if self._timer is None and self._ending:
            seconds = max(self._ending[0].ends - self.clock(), 0.0) + _LATE
            self._timer = asyncio.get_running_loop().call_later(seconds, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._forget()
        self._set_timer()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
