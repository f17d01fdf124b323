"""A response that may be kept → with its ETag; or 304, if the client has it (RFC 9110 §13.1.2)."""

from __future__ import annotations

import re
from typing import Any

from aiorest_ws.exchange.replies import Reply, not_modified
from aiorest_ws.realtime.versions import digest_of

__all__ = ("conditional",)

_CACHING = (b"cache-control", b"private, no-cache")
_tags = re.compile(r'(?:W/)?("[^"]*")').findall


def conditional(reply: Reply, connection: Any) -> Reply:
    """Give `reply` with an ETag, of its value and its form, unless it has one; or 304."""
    tag = next((value for name, value in reply.headers if name == b"etag"), None)
    if tag is None:
        media = next(value for name, value in reply.headers if name == b"content-type")
        tag = f'W/"{digest_of(media + b" " + reply.body)}"'.encode()
        headers = [pair for pair in reply.headers if pair[0] != b"cache-control"]
        vary = b"Accept, Authorization, Cookie"
        reply = reply._replace(headers=[*headers, (b"etag", tag), _CACHING, (b"vary", vary)])
    else:
        reply = reply._replace(headers=[*reply.headers])  # it is one for all who ask
    asked = connection.headers.get("if-none-match")
    if asked is None:
        return reply
    own = tag.decode().removeprefix("W/")
    return not_modified(reply) if asked.strip() == "*" or own in _tags(asked) else reply
