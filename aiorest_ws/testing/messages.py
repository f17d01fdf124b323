"""A request's parts → the payload of a frame; the payload of a frame → a reply or an event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orjson import JSONDecodeError, loads
from pybase64 import b64decode

from aiorest_ws._speedups import (
    BINARY_BASE64,
    BINARY_JSON,
    BINARY_MSGPACK,
    TEXT_BASE64,
    TEXT_JSON,
    decode,
    encode,
    recognise,
    write,
)
from aiorest_ws.exceptions import InvalidMessage
from aiorest_ws.portable import Portable

__all__ = (
    "FORMS",
    "ConnectionClosed",
    "End",
    "Event",
    "HandshakeRefused",
    "Reply",
    "SubscriptionEnded",
    "SubscriptionRefused",
    "event_of",
    "form_of",
    "pack",
    "reply_of",
    "unpack",
)

# How a request may be sent. A reply comes in the same form.
FORMS = {
    "text": TEXT_JSON,
    "text-base64": TEXT_BASE64,
    "binary": BINARY_JSON,
    "binary-base64": BINARY_BASE64,
    "msgpack": BINARY_MSGPACK,
}
_OBJECT = b" \t\n\r{"  # with what a JSON object begins, and base64 of one does not


class HandshakeRefused(Portable, ConnectionError):
    """The server answered the opening handshake with an HTTP error: `status`, `reason`, `headers`."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str]) -> None:
        super().__init__(f"handshake refused: {status} {reason}")
        self.status = status
        self.reason = reason
        self.headers = headers


class ConnectionClosed(Portable, ConnectionError):
    """The connection ended while something was expected of it: `code` (1006 without a close frame) and `reason`."""

    def __init__(self, waited_for: str, code: int | None, reason: str) -> None:
        because = f" ({reason})" if reason else ""
        super().__init__(f"connection closed with {code}{because}, expected {waited_for}")
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answered.

    status        None for a request that was sent without an id
    data, detail  one of them; `detail` says what went wrong
    event_name    that of the request, if it had one
    id            that of the request
    ok            whether the request succeeded
    raw           the reply as it was rendered, not in base64
    topic         of a SUBSCRIBE: the name that the pushes have
    version       of a SUBSCRIBE: what `data` is, or with 206 how far the missed items go
    key           of a SUBSCRIBE of a log that has one: the name of each item's key
    changed       url → version, for what the request has changed and this connection subscribes to
    replayed      it was done before, under its `idempotency_key`, and this is what came of it then
    """

    status: int | None
    data: Any
    detail: Any
    event_name: Any
    id: Any
    ok: bool
    raw: bytes = field(repr=False)
    topic: str | None = field(default=None, repr=False)
    version: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    changed: Mapping[str, str] | None = field(default=None, repr=False)
    replayed: bool = field(default=False, repr=False)


@dataclass(frozen=True, slots=True)
class Event:
    """What the server pushed.

    version       of a push to a subscription, whose topic is `name`; None: an ordinary event
    is_unchanged  such a push came without `data`: the value is what it was
    """

    name: Any
    data: Any = None
    version: str | None = None
    is_unchanged: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """Why a subscription has ended; `retry` in milliseconds if it makes sense to come back."""

    topic: str
    status: int
    detail: Any = None
    retry: int | None = None


class SubscriptionRefused(Portable):
    """The server refused a SUBSCRIBE: `reply`, with its `status` and `detail`."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"subscription refused: {reply.status} {reply.detail}")
        self.reply = reply
        self.status = reply.status
        self.detail = reply.detail


class SubscriptionEnded(Portable):
    """The subscription ended while a push was expected of it: `end`, with its `status`, `detail` and `retry`."""

    def __init__(self, end: End) -> None:
        super().__init__(f"subscription of {end.topic} ended: {end.status} {end.detail}")
        self.end = end
        self.status = end.status
        self.detail = end.detail
        self.retry = end.retry


def form_of(name: str) -> int:
    """Give the form that `name` names. Raises ValueError."""
    if name not in FORMS:
        raise ValueError(f"form must be one of {', '.join(map(repr, FORMS))}, got {name!r}")
    return FORMS[name]


def pack(message: Mapping[str, Any], form: int) -> tuple[bytes, bool]:
    """Give the payload of a request, and whether its frame is a binary one. MessagePack needs msgspec."""
    return encode(write(message, form), form), form >= BINARY_JSON


def unpack(payload: bytes) -> tuple[Any, bytes]:
    """Give the object in a message of the server, None if it has none (XML), and the message without base64."""
    raw = payload
    if recognise(payload, True) == BINARY_MSGPACK:
        return _unpacked(payload), payload
    if payload[:1] not in (b"<", b"") and payload[0] not in _OBJECT:
        try:
            raw = b64decode(payload, None, True)
        except ValueError:
            return None, payload
    try:
        message = loads(raw)
    except JSONDecodeError:
        return None, raw
    return (message if isinstance(message, dict) else None), raw


def _unpacked(payload: bytes) -> Any:
    try:
        message = decode(payload, BINARY_MSGPACK)
    except InvalidMessage:
        message = None  # something that a renderer made
    return message


def reply_of(message: dict[str, Any] | None, raw: bytes) -> Reply:
    """Give the reply that a message is. One that is no JSON object has its text as `data`."""
    if message is None:
        return Reply(None, raw.decode("utf-8", "replace"), None, None, None, True, raw)
    status = message.get("status")
    ok = "detail" not in message if status is None else 200 <= status < 300
    topic = message.get("topic")
    return Reply(
        *(status, message.get("data"), message.get("detail"), message.get("event_name"), message.get("id")),
        ok or (status == 304 and topic is not None),
        *(raw, topic, message.get("version"), message.get("key"), message.get("changed")),
        replayed=message.get("replayed", False),
    )


def event_of(message: Any) -> Event | End | None:
    """Give the event, the push or the end of a subscription that a message is; None if it is none of them."""
    if message is None or "event_name" not in message or "id" in message:
        return None
    name = message["event_name"]
    if "status" in message:
        return End(name, message["status"], message.get("detail"), message.get("retry"))
    if "detail" in message:
        return None  # an error, in reply to a request without an id
    version = message.get("version")
    return Event(name, message.get("data"), version, version is not None and "data" not in message)
