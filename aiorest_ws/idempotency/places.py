"""What carries publications → the ledger that is at the same place: here, at the hub of a supervisor, at a Redis."""

from __future__ import annotations

from typing import Any

from aiorest_ws.idempotency import Idempotency
from aiorest_ws.idempotency.exceptions import IdempotencyUnavailable
from aiorest_ws.idempotency.ledgers import Ledger
from aiorest_ws.idempotency.memory import MemoryLedger
from aiorest_ws.realtime.brokers.hub import HubBroker
from aiorest_ws.realtime.brokers.redis import RedisBroker

__all__ = ("ledger_for",)


def ledger_for(broker: Any, settings: Idempotency) -> Ledger:
    """Give the ledger of all processes that `broker` joins. Raises IdempotencyUnavailable if there is none."""
    if broker.is_local:
        return MemoryLedger(settings)
    if isinstance(broker, HubBroker):
        from aiorest_ws.idempotency.hub import HubLedger

        return HubLedger(broker.channel, settings)
    if isinstance(broker, RedisBroker):
        from aiorest_ws.idempotency.redis import RedisLedger

        return RedisLedger(broker, settings)
    raise IdempotencyUnavailable("`idempotency_key`s cannot be looked up: nobody here knows those of other processes")
