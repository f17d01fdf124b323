"""Ledgers for tests: each with a clock, and seen from two processes."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Self

from aiorest_ws.idempotency import Idempotency
from aiorest_ws.idempotency.digests import digest
from aiorest_ws.idempotency.hub import HubLedger
from aiorest_ws.idempotency.hub_server import KeyHub
from aiorest_ws.idempotency.ledgers import Asked, Outcome
from aiorest_ws.idempotency.memory import MemoryLedger
from aiorest_ws.idempotency.redis import RedisLedger
from aiorest_ws.realtime.brokers.redis import RedisBroker
from aiorest_ws.workers.channel import Channel, open_channel
from tests.kit.brokers import Clock
from tests.kit.valkeys import RedisKit, Valkey
from tests.serving import turn_over

__all__ = ("HubLedgerKit", "LedgerKit", "MemoryLedgerKit", "RedisLedgerKit", "asked", "outcome")


def asked(key: str = "a", who: str = "ada", said: str = "") -> Asked:
    """Give what is asked under `key`."""
    return Asked(digest((who.encode(), key.encode())), digest((who.encode(),), 16), digest((said.encode(),)))


def outcome(value: bytes = b"1", status: int = 200) -> Outcome:
    return Outcome(status, "data", 0, value)


class LedgerKit:
    """Two ledgers that know the same, as two processes have them, and their clock."""

    async def settle(self) -> None:
        """Wait until what was said last is known to all."""
        await turn_over(20)

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
        await self.settle()


class RedisLedgerKit(LedgerKit):
    """The ledgers of two processes at one server, which are dead after 0.2 s."""

    def __init__(self, valkey: Valkey, url: str | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.brokers = RedisKit(valkey, url)
        self.clock = self.brokers.clock
        self.ledgers: list[RedisLedger] = []

    async def __aenter__(self) -> Self:
        await self.brokers.__aenter__()
        self.ledger = await self.at(self.brokers.broker)
        self.other = await self.at(await self.brokers.another())
        return self

    async def at(self, broker: RedisBroker) -> RedisLedger:
        ledger = RedisLedger(broker, self.settings)
        self.ledgers.append(ledger)
        return ledger

    async def settle(self) -> None:
        while any(ledger._settling for ledger in self.ledgers):
            await asyncio.wait([task for ledger in self.ledgers for task in ledger._settling])
        await turn_over()

    async def __aexit__(self, *exc_info: object) -> None:
        for ledger in self.ledgers:
            ledger._held.clear()  # what a test has left
            ledger.stop()
        await self.brokers.__aexit__(*exc_info)


class HubLedgerKit(LedgerKit):
    """A hub of keys and the ledgers of two workers, over real pairs of sockets."""

    async def __aenter__(self) -> Self:
        self.hub = KeyHub(self.settings, clock=self.clock)
        self.channels: list[Channel] = []
        self.ledger, self.other = [await self.worker() for _ in range(2)]
        return self

    async def worker(self) -> HubLedger:
        ours, theirs = socket.socketpair()
        near, far = await open_channel(ours), await open_channel(theirs, to="the supervisor")
        self.hub.add(near)
        self.channels += near, far
        return HubLedger(far, self.settings)

    async def __aexit__(self, *exc_info: object) -> None:
        self.hub.stop()
        for channel in self.channels:
            channel.abort()
        await turn_over()


class MemoryLedgerKit(LedgerKit):
    async def __aenter__(self) -> Self:
        self.ledger = self.other = MemoryLedger(self.settings, self.clock)
        return self
