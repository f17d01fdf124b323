"""A server's urls → values and changes of them: `AsyncClient` for asyncio, `Client` without it. The extra `client`."""

from __future__ import annotations

from aiorest_ws.client.asynchronous import AsyncClient
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
from aiorest_ws.client.options import CallOptions, ClientOptions, SubscribeOptions
from aiorest_ws.client.replies import Reply
from aiorest_ws.client.subscriptions import AsyncEvents, AsyncStatuses, AsyncSubscription
from aiorest_ws.client.synchronous import Client, Events, Statuses, Subscription

__all__ = (
    "AsyncClient",
    "AsyncEvents",
    "AsyncStatuses",
    "AsyncSubscription",
    "BadRequest",
    "CallOptions",
    "Change",
    "Client",
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
    "SubscribeOptions",
    "Subscription",
    "TimedOut",
    "TooManyRequests",
    "Unauthorized",
    "UnexpectedReply",
    "Unprocessable",
)
