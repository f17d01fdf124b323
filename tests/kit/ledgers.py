"""Ledgers for tests: each with a clock, and seen from two processes."""

from __future__ import annotations

from typing import Any, Self

from aiorest_ws.idempotency import Idempotency
from aiorest_ws.idempotency.digests import digest
from aiorest_ws.idempotency.ledgers import Asked, Outcome
from aiorest_ws.idempotency.memory import MemoryLedger
from tests.kit.brokers import Clock

__all__ = ("LedgerKit", "MemoryLedgerKit", "asked", "outcome")


def asked(key: str = "a", who: str = "ada", said: str = "") -> Asked:
    """Give what is asked under `key`."""
    return Asked(digest((who.encode(), key.encode())), digest((who.encode(),), 16), digest((said.encode(),)))


def outcome(value: bytes = b"1", status: int = 200) -> Outcome:
    return Outcome(status, "data", 0, value)


class LedgerKit:
    """Two ledgers that know the same, as two processes have them, and their clock."""

    def __init__(self, **settings: Any) -> None:
        self.settings = Idempotency(**settings)
        self.clock = Clock()
        self.ledger: Any = None
        self.other: Any = None

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(self, *exc_info: object) -> None:
        for ledger in {self.ledger, self.other}:
            ledger.stop()

    async def keep(self, ledger: Any, ticket: Any, outcome: Outcome | None) -> None:
        pending = ledger.keep(ticket, outcome)
        if pending is not None:
            await pending

    async def done(self, what: Asked, came: Outcome | None) -> None:
        """Do `what`, of which `came` is to come."""
        await self.keep(self.ledger, await self.ledger.reserve(what), came)


class MemoryLedgerKit(LedgerKit):
    async def __aenter__(self) -> Self:
        self.ledger = self.other = MemoryLedger(self.settings, self.clock)
        return self
