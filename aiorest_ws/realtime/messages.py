"""What there is to tell a subscriber → the message, in the form of the subscription; not yet base64 (live.md §2).

`data` comes as it was encoded, once for all: nothing here encodes it again.
"""

from __future__ import annotations

from typing import Any

from aiorest_ws._speedups import write

__all__ = ("added", "ending", "family_of", "fitting", "push", "reply")

MSGPACK = 4  # the bit of a form that says so
_FEW = 15  # members of a MessagePack map whose size fits into its first byte


def family_of(form: int) -> int:
    """Give how the values of a form are encoded: 0 is JSON, 4 MessagePack."""
    return form & MSGPACK


def fitting(data: bytes) -> bytes:
    """Give `data`, which is to be kept, in memory of its own.

    An encoder may leave what it wrote at the beginning of its buffer: 4 KiB, and up to ten times the bytes.
    """
    return bytes(memoryview(data))


def reply(request: Any, topic: str, version: str, data: bytes | None = None, key: str | None = None) -> bytes:
    """Give the reply to a SUBSCRIBE, with the status of `request`."""
    members: dict[str, Any] = {"id": request.id, "status": request.status, "topic": topic, "version": version}
    if key is not None:
        members["key"] = key
    if request.event_name is not None:
        members["event_name"] = request.event_name
    return added(write(members, request.form), request.form, "data", data)


def push(topic: str, version: str, data: bytes | None, form: int) -> bytes:
    """Give a push; without `data` it says that the value is what it was."""
    return added(write({"event_name": topic, "version": version}, form), form, "data", data)


def ending(topic: str, status: int, detail: Any, retry: int | None, form: int) -> bytes:
    """Give the end of a subscription; `retry` in milliseconds if it makes sense to come back."""
    members = {"event_name": topic, "status": status, "detail": detail}
    if retry is not None:
        members["retry"] = retry
    return write(members, form)


def added(message: bytes, form: int, name: str, value: bytes | None) -> bytes:
    """Give `message`, an object of a few members, with one more, which is encoded already."""
    if value is None:
        return message
    if form & MSGPACK:
        count = message[0] & _FEW  # a fixmap: what is written here has a few members
        return b"".join((bytes((0x80 | (count + 1),)), message[1:], write(name, form), value))
    return b"".join((message[:-1], b',"', name.encode(), b'":', value, b"}"))
