"""The option `broker`, and the channel to a supervisor → what carries publications to other processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiorest_ws.realtime.brokers import Broker

__all__ = ("broker_for",)


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
