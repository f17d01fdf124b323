"""A server's urls → values and changes of them, in Python: `AsyncClient` for asyncio. The extra `client`."""

from __future__ import annotations

from aiorest_ws.client.asynchronous import AsyncClient, CallOptions, ClientOptions
from aiorest_ws.client.errors import (
    BadRequest,
    ClientClosed,
    ClientError,
    Conflict,
    ConnectionLost,
    Forbidden,
    HandshakeRefused,
    MethodNotAllowed,
    NotFound,
    RequestFailed,
    ServerFailed,
    TimedOut,
    TooManyRequests,
    Unauthorized,
    UnexpectedReply,
    Unprocessable,
)
from aiorest_ws.client.inbox import Change, Event, State
from aiorest_ws.client.replies import Reply
from aiorest_ws.client.subscriptions import Events, Statuses, Subscription

__all__ = (
    "AsyncClient",
    "BadRequest",
    "CallOptions",
    "Change",
    "ClientClosed",
    "ClientError",
    "ClientOptions",
    "Conflict",
    "ConnectionLost",
    "Event",
    "Events",
    "Forbidden",
    "HandshakeRefused",
    "MethodNotAllowed",
    "NotFound",
    "Reply",
    "RequestFailed",
    "ServerFailed",
    "State",
    "Statuses",
    "Subscription",
    "TimedOut",
    "TooManyRequests",
    "Unauthorized",
    "UnexpectedReply",
    "Unprocessable",
)
