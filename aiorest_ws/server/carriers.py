"""The option `broker`, and the channel to a supervisor → what carries publications to other processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from aiorest_ws.realtime.brokers import Broker
    from aiorest_ws.realtime.feeds import Feeds

__all__ = ("broker_for", "reached")


def broker_for(given: str | Broker | None, channel: Any) -> Broker | None:
    """Give the broker, which is to be started; None if there are no other processes.

    given      the option: a url, or a broker
    channel    to the supervisor, in a worker: its hub, where no broker is given
    """
    if isinstance(given, str):
        from aiorest_ws.realtime.brokers.redis import RedisBroker

        return RedisBroker(given)
    if given is None and channel is not None:
        from aiorest_ws.realtime.brokers.hub import HubBroker

        return HubBroker(channel)
    return given


@asynccontextmanager
async def reached(live: Feeds, given: str | Broker | None) -> AsyncIterator[Feeds]:
    """Connect `live` to the broker that the option says, and give it; raises ImproperlyConfigured without one."""
    broker = broker_for(given, None)
    if broker is None:
        raise ImproperlyConfigured("there is no broker by which others could be reached: give broker=redis://…")
    await live.start(broker)
    try:
        yield live
    finally:
        await live.close()
