"""A rendered reply, or what is wrong → status, headers and body of an HTTP response."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from orjson import JSONDecodeError, loads

from aiorest_ws._speedups import BINARY_MSGPACK, dumps, write
from aiorest_ws.exceptions import ConnectionRefused

__all__ = ("Headers", "Reply", "alone", "error", "made", "not_modified", "refused", "rendered_reply", "unmarked")

Headers = list[tuple[bytes, bytes]]

_JSON = b"application/json"
_PACKED = b"application/msgpack"
_BARE = (204, 205, 304)  # which have no body
_NO_STORE = (b"cache-control", b"no-store")
_NO_SNIFF = (b"x-content-type-options", b"nosniff")
_OF_THE_CARRIER = frozenset(("upgrade", "connection", "content-length", "content-type", "transfer-encoding"))


class Reply(NamedTuple):
    """An HTTP response.

    closes    what carries it is to be closed behind it
    stream    what says the rest of it, a `stream.Stream`
    """

    status: int
    headers: Headers
    body: bytes
    closes: bool = False
    stream: Any = None


@lru_cache(maxsize=256)
def _heads(status: int, form: int) -> tuple[bytes, bytes]:
    """Give what a rendered reply to a request with the id 0 begins with: one that has `data`, and one with `detail`."""
    if form == BINARY_MSGPACK:
        head = b"\x83" + write({"id": 0, "status": status}, form)[1:]
        return head + write("data", form), head + write("detail", form)
    head = b'{"id":0,"status":%d,' % status
    return head + b'"data":', head + b'"detail":'


def alone(rendered: bytes, status: int, form: int) -> bytes:
    """Give the `data` of a rendered reply alone, or an object with its `detail`."""
    data, detail = _heads(status, form)
    if rendered.startswith(data):
        if form == BINARY_MSGPACK:
            return rendered[len(data) :]
        if b',"detail":' not in rendered:  # which a Response may have beside it
            return rendered[len(data) : -1]
    elif rendered.startswith(detail):
        if form == BINARY_MSGPACK:
            return b"\x81" + write("detail", form) + rendered[len(detail) :]
        return b'{"detail":' + rendered[len(detail) :]
    return _looked_for(rendered)


def unmarked(rendered: bytes, form: int) -> tuple[bytes, bool]:
    """Give a reply to a request with a key without the mark of one that was given before, and whether it had that."""
    if form == BINARY_MSGPACK:
        mark = write("replayed", form) + b"\xc3"
        return (b"\x83" + rendered[1 : -len(mark)], True) if rendered.endswith(mark) else (rendered, False)
    mark = b',"replayed":true}'
    return (rendered[: -len(mark)] + b"}", True) if rendered.endswith(mark) else (rendered, False)


def _looked_for(rendered: bytes) -> bytes:
    """Give the same of what was written by a router of the application's own, or has both."""
    try:
        body = loads(rendered)
    except JSONDecodeError:
        return rendered
    if not isinstance(body, dict):
        return rendered
    if "data" in body:
        return dumps(body["data"])
    return dumps({"detail": body["detail"]}) if "detail" in body else rendered


def made(
    status: int, body: bytes, media_type: bytes, *, caching: Iterable[tuple[bytes, bytes]] = (_NO_STORE,)
) -> Reply:
    """Give the response that has `body`."""
    if status in _BARE:
        return Reply(status, [*caching], b"")
    size = b"%d" % len(body)
    return Reply(status, [(b"content-type", media_type), (b"content-length", size), *caching, _NO_SNIFF], body)


def rendered_reply(rendered: bytes, status: int, form: int, media_type: str) -> Reply:
    """Give the response for what a request of ours was answered with.

    media_type    of what is rendered alone already, "" where it is in a whole reply
    """
    if status < 200:
        status = 500  # no response ends with it
    if media_type and status < 300:
        return made(status, rendered, media_type.encode("latin-1"))
    return made(status, alone(rendered, status, form), _PACKED if form == BINARY_MSGPACK else _JSON)


def error(status: int, detail: Any, form: int, headers: Iterable[tuple[str, str]] = ()) -> Reply:
    """Give the response that says what is wrong."""
    body = write({"detail": detail}, form)
    reply = made(status, body, _PACKED if form == BINARY_MSGPACK else _JSON)
    closes = False
    for name, value in headers:
        if name.lower() == "connection":
            closes = closes or "close" in value.lower()
        if name.lower() not in _OF_THE_CARRIER:
            reply.headers.append((_printable(name).lower().encode(), _printable(value).encode()))
    return reply._replace(closes=closes)


def refused(exc: ConnectionRefused, form: int) -> Reply:
    """Give the response for who may not connect, or asks in a way that nobody can answer."""
    from http import HTTPStatus

    reason = exc.reason
    if reason is None:
        reason = HTTPStatus(exc.status).phrase if exc.status in set(HTTPStatus) else "refused"
    return error(exc.status, reason, form, exc.headers)


def not_modified(reply: Reply) -> Reply:
    """Give the response that says that the client has that one."""
    left = [pair for pair in reply.headers if pair[0] not in (b"content-type", b"content-length")]
    return Reply(304, left, b"")


def _printable(text: str) -> str:
    """Give `text` as a line of a response can have it: what an application says may come from a client."""
    return "".join(mark if " " <= mark <= "~" else "?" for mark in str(text)[:2000])
