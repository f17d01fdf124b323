"""Test clients: requests in, replies out, in process, through everything that a server runs but its sockets.

`TestClient` is for plain tests, `AsyncTestClient` for coroutine tests, in whose own loop it stays. The bytes are those
of a real connection: an opening handshake, masked frames, base64 where it is asked for. `import aiorest_ws` imports
nothing of this.
"""

from __future__ import annotations

from aiorest_ws.testing.asynchronous import AsyncTestClient
from aiorest_ws.testing.messages import (
    ConnectionClosed,
    End,
    Event,
    HandshakeRefused,
    Reply,
    SubscriptionEnded,
    SubscriptionRefused,
)
from aiorest_ws.testing.subscribing import AsyncSubscription, Subscription
from aiorest_ws.testing.synchronous import TestClient

__all__ = (
    "AsyncSubscription",
    "AsyncTestClient",
    "ConnectionClosed",
    "End",
    "Event",
    "HandshakeRefused",
    "Reply",
    "Subscription",
    "SubscriptionEnded",
    "SubscriptionRefused",
    "TestClient",
)
