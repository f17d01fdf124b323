"""What a subscription is told → events of a stream, as browsers read them (HTML, server-sent events)."""

from __future__ import annotations

from typing import Any

from orjson import loads

from aiorest_ws._speedups import dumps

__all__ = ("HEARTBEAT", "end_by", "end_of", "event_of", "is_end")

HEARTBEAT = b":\n\n"


def event_of(message: bytes) -> bytes:
    """Give the event for the reply to a SUBSCRIBE, or for a push: its id is the version, its data that of the message.

    One without data has an id alone: browsers keep it, and tell nobody.
    """
    known = loads(message)
    lines = [b"id: " + known["version"].encode()]
    if "data" in known:
        lines += [b"data: " + line for line in _raw(message, known).split(b"\n")]
    return b"\n".join((*lines, b"", b""))


def _raw(message: bytes, known: dict[str, Any]) -> bytes:
    """Give the data of a message as it was encoded: digits and all."""
    head = b"".join((dumps({name: value for name, value in known.items() if name != "data"})[:-1], b',"data":'))
    return message[len(head) : -1] if message.startswith(head) else dumps(known["data"])


def is_end(message: bytes) -> bool:
    """Tell whether a push is the end of the subscription."""
    return b'"status":' in message and "status" in loads(message)


def end_of(message: bytes) -> bytes:
    """Give the last event, `end`: status, detail, and when to come back, in ms, if that makes sense."""
    known = loads(message)
    said = {name: known[name] for name in ("status", "detail", "retry") if name in known}
    retry = b"retry: %d\n" % known["retry"] if "retry" in known else b""
    return retry + b"event: end\ndata: " + dumps(said) + b"\n\n"


def end_by(status: int, detail: str) -> bytes:
    """Give the last event where the connection is closed with a status: it makes no sense to come back."""
    return b"event: end\ndata: " + dumps({"status": status, "detail": detail}) + b"\n\n"
