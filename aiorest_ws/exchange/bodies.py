"""What comes behind the head of a request → its `data`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any

from orjson import JSONDecodeError, loads

from aiorest_ws._speedups import BINARY_MSGPACK, decode, is_installed
from aiorest_ws.exceptions import ConnectionRefused, InvalidMessage
from aiorest_ws.exchange.accepting import PACKED

__all__ = ("JSON", "MSGPACK", "Gone", "data_of", "kind_of", "read_body", "waits_to_send")

JSON, MSGPACK = 1, 2
_UTF8 = frozenset(("utf-8", "utf8", "us-ascii"))
_charset = re.compile(r""";[ \t]*charset=["']?([^"';, \t]*)""", re.IGNORECASE).search
_EXPECTED = "expected a body of application/json or application/msgpack"


class Gone(Exception):
    """The client left before its request was complete."""


async def read_body(
    scope: Mapping[str, Any], headers: Mapping[str, str], receive: Callable[[], Awaitable[Any]], limit: int | None
) -> bytes:
    """Give the whole body. Raises ConnectionRefused with 413 as soon as it is known to be too long, and Gone."""
    declared = headers.get("content-length", "")
    if declared and not declared.isdecimal():
        raise ConnectionRefused(400, "malformed header Content-Length")
    if not _may_come(scope, headers):
        return b""
    if limit is not None and declared and (len(declared) > 18 or int(declared) > limit):
        raise _too_long(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Gone
        part = message.get("body", b"")
        size += len(part)
        if limit is not None and size > limit:
            raise _too_long(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts) if len(parts) > 1 else part


def waits_to_send(scope: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Tell whether the client sends its body only once it is told to. Raises ConnectionRefused with 417."""
    expected = headers.get("expect")
    if expected is None or scope.get("http_version") == "1.0":
        return False
    if any(member.strip(" \t").lower() != "100-continue" for member in expected.split(",")):
        raise ConnectionRefused(417, "what may be expected here is 100-continue")
    return _may_come(scope, headers)


def _may_come(scope: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    if "transfer-encoding" in headers:
        return True
    if "content-length" in headers:
        return headers["content-length"] != "0"
    if "expect" in headers and scope.get("http_version", "1.1").startswith("1"):
        return False  # it would have said how long the body is
    return scope["method"] not in ("GET", "HEAD")


def _too_long(limit: int) -> ConnectionRefused:
    return ConnectionRefused(413, f"a body has at most {limit} bytes", headers=(("Connection", "close"),))


@lru_cache(maxsize=256)
def kind_of(content_type: str, coding: str = "") -> int:
    """Give what a body of this type is, `JSON` or `MSGPACK`. Raises ConnectionRefused with 415.

    coding    of it, which has to be none
    """
    if coding.strip().lower() not in ("", "identity"):
        raise ConnectionRefused(
            415, f"a body is not compressed here, got Content-Encoding {coding:.40}", headers=(("Accept-Encoding", ""),)
        )
    media = content_type.partition(";")[0].strip(" \t").lower()
    if media in PACKED:
        if not is_installed():
            raise ConnectionRefused(415, "no MessagePack here: expected a body of application/json")
        return MSGPACK
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise ConnectionRefused(415, f"{_EXPECTED}, got {media or 'no Content-Type'!s:.100}")
    charset = _charset(content_type)
    if charset is not None and charset[1].lower() not in _UTF8:
        raise ConnectionRefused(415, f"JSON is UTF-8, got charset {charset[1]:.40}")
    return JSON


def data_of(body: bytes, kind: int) -> Any:
    """Give the value that a body has. Raises InvalidMessage."""
    if kind == MSGPACK:
        return decode(b"\x81\xa4data" + body, BINARY_MSGPACK)["data"]  # in a message it is read, and checked, so
    try:
        return loads(body)
    except JSONDecodeError as exc:
        raise InvalidMessage(f"body is not valid JSON: {exc}") from None
