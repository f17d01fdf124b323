"""Payload → `Request`, of whichever form, also when it is malformed; data → a reply, not yet base64.

The specification of `envelope_c.pyx`, its compiled twin, which neither builds a dict for small plain envelopes nor asks
orjson for plain replies.
"""

from __future__ import annotations

from typing import Any

from aiorest_ws._speedups.collector import LARGE, undisturbed_in_turn
from aiorest_ws.exceptions import InvalidMessage

from . import msgpack
from .codec import EMPTY, decode, decode_base64, dumps, recognise, write
from .wrappers import Request, body, check_id, failed, wrap

__all__ = ("holds_of", "read", "render", "render_detail", "write_for")


def read(payload: bytes, is_binary: bool, connection: Any) -> Request:
    """Give the request in `payload`. For one that is malformed `Pipeline.respond` gives the error that it deserves."""
    form = recognise(payload, is_binary)
    if not payload:
        return failed(EMPTY, form, connection)  # the cheapest message to send must not be the dearest to answer
    if len(payload) > LARGE:
        request: Request = undisturbed_in_turn(_read, payload, form, connection)
        return request
    return _read(payload, form, connection)


def _read(payload: bytes, form: int, connection: Any) -> Request:
    try:
        text = decode_base64(payload) if form & 1 else payload
        if form & 4:
            holds = msgpack.check(text)
            request = wrap(msgpack.made(text), form, connection)
        else:
            request = wrap(decode(text, form & 4), form, connection)
            request._text = text
            holds = _containers_in(text)
    except InvalidMessage as exc:
        return failed(exc, form, connection)
    request._size = len(payload)
    request._holds = holds
    if request._id is not None:
        check_id(request)
    return request


def holds_of(payload: bytes, form: int) -> int:
    """Give how many arrays and objects there are in a message that somebody else has read."""
    try:
        if form & 4:
            return msgpack.check(payload)
        text = decode_base64(payload) if form & 1 else payload
    except InvalidMessage:
        text = payload  # in a form of the application's own
    return _containers_in(text)


def _containers_in(text: bytes) -> int:
    """Give how many arrays and objects there may be in JSON: brackets in strings are counted, too."""
    return text.count(b"{") + text.count(b"[")


def render(request: Request, data: Any) -> bytes:
    """Give the reply that carries `data`, with the status of `request` when that had an id."""
    return write_for(request, body(request, {"data": data}))


def write_for(request: Request, whole: Any) -> bytes:
    """Give `whole` in the form of `request`; what answers a large message may be as large."""
    if request._size > LARGE:
        written: bytes = undisturbed_in_turn(write, whole, request._form)
        return written
    return write(whole, request._form)


def render_detail(request: Request, detail: Any) -> bytes | None:
    """Give the reply that carries a plain `detail`, or None when it takes more care to write it."""
    if request._form & 4:
        return None
    for text in (detail, request._event_name or "", request._id if type(request._id) is str else ""):
        if type(text) is not str or not text.isascii():
            return None
    return dumps(body(request, {"detail": detail}))
