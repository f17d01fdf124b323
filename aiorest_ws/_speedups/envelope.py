"""Payload → `Request`, of whichever form, also when it is malformed; data → the JSON of a reply.

The specification of `envelope_c.pyx`, its compiled twin, which neither builds a dict for small plain envelopes nor asks
orjson for plain replies.
"""

from __future__ import annotations

from typing import Any

from aiorest_ws.exceptions import InvalidMessage

from .codec import decode, dumps, recognise
from .wrappers import Request, check_id, failed, wrap

__all__ = ("read", "render")


def read(payload: bytes, is_binary: bool, connection: Any) -> Request:
    """Give the request in `payload`. For one that is malformed `Pipeline.respond` gives the error that it deserves."""
    form = recognise(payload, is_binary)
    try:
        request = wrap(decode(payload, form), form, connection)
    except InvalidMessage as exc:
        return failed(exc, form, connection)
    if request._id is not None:
        check_id(request)
    return request


def render(request: Request, data: Any) -> bytes:
    """Give the reply that carries `data`, with the status of `request` when that had an id."""
    if request._id is None:
        return dumps({"data": data, "event_name": request._event_name})
    body = {"id": request._id, "status": request._status, "data": data}
    if request._event_name is not None:
        body["event_name"] = request._event_name
    return dumps(body)
