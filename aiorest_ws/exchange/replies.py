"""A rendered reply, or what is wrong → status, headers and body of an HTTP response."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from json import JSONDecoder
from typing import Any, NamedTuple

from aiorest_ws._speedups import BINARY_MSGPACK, decode, write
from aiorest_ws.exceptions import ConnectionRefused, InvalidMessage
from aiorest_ws.http.refusals import on_a_line, phrase

__all__ = (
    "Headers",
    "Reply",
    "alone",
    "error",
    "made",
    "not_modified",
    "of_router",
    "refused",
    "rendered_reply",
    "unmarked",
)

Headers = list[tuple[bytes, bytes]]

_JSON = b"application/json"
_PACKED = b"application/msgpack"
_BARE = (204, 205, 304)  # which have no body
_NO_STORE = (b"cache-control", b"no-store")
_NO_SNIFF = (b"x-content-type-options", b"nosniff")
_MOST = 2000  # characters of a header that an application gives
_BLANKS = (" ", "\n", "\r", "\t")
_read = JSONDecoder(parse_int=str, parse_float=str).raw_decode
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
    """Give the `data` of a reply that we have rendered, or an object with its `detail`: it has one of them alone."""
    data, detail = _heads(status, form)
    if rendered.startswith(data):
        return rendered[len(data) :] if form == BINARY_MSGPACK else rendered[len(data) : -1]
    if rendered.startswith(detail):
        if form == BINARY_MSGPACK:
            return b"\x81" + write("detail", form) + rendered[len(detail) :]
        return b'{"detail":' + rendered[len(detail) :]
    return of_router(rendered, form)


def unmarked(rendered: bytes, form: int) -> bytes:
    """Give a reply that was given before without the mark that says so, its last member."""
    if form == BINARY_MSGPACK:
        mark = write("replayed", form) + b"\xc3"
        return b"\x83" + rendered[1 : -len(mark)] if rendered.endswith(mark) else rendered
    mark = b',"replayed":true}'
    return rendered[: -len(mark)] + b"}" if rendered.endswith(mark) else rendered


def of_router(rendered: bytes, form: int) -> bytes:
    """Give the same as `alone` of what a router of the application's own has written, digit for digit."""
    try:
        if form == BINARY_MSGPACK:
            body = decode(rendered, form)
            name = next((name for name in ("data", "detail") if name in body), None)
            content = body if name is None else body["data"] if name == "data" else {name: body[name]}
            return rendered if name is None else write(content, form)
        members = _members(rendered.decode())
    except (InvalidMessage, ValueError, TypeError, RecursionError):
        return rendered
    if "data" in members:
        return members["data"].encode()
    return f'{{"detail":{members["detail"]}}}'.encode() if "detail" in members else rendered


def _members(text: str) -> dict[str, str]:
    """Give the members of an object in JSON, each value as it is written. Raises ValueError."""
    members: dict[str, str] = {}
    at = _blank(text, 0)
    opening = "{"
    while text[at : at + 1] == opening:
        name, at = _read(text, _blank(text, at + 1))
        at = _blank(text, at)
        if type(name) is not str or text[at : at + 1] != ":":
            break
        begin = _blank(text, at + 1)
        _, end = _read(text, begin)
        members[name] = text[begin:end]
        at = _blank(text, end)
        opening = ","
    if text[at : at + 1] != "}" or _blank(text, at + 1) != len(text):
        raise ValueError("malformed object")
    return members


def _blank(text: str, at: int) -> int:
    """Give where in `text` the next token begins, from `at` on."""
    while text[at : at + 1] in _BLANKS:
        at += 1
    return at


def made(
    status: int, body: bytes, media_type: bytes, *, caching: Iterable[tuple[bytes, bytes]] = (_NO_STORE,)
) -> Reply:
    """Give the response that has `body`."""
    if status in _BARE:
        return Reply(status, [*caching], b"")
    size = b"%d" % len(body)
    return Reply(status, [(b"content-type", media_type), (b"content-length", size), *caching, _NO_SNIFF], body)


def rendered_reply(rendered: bytes, status: int, form: int, media_type: str, *, is_ours: bool = True) -> Reply:
    """Give the response for what a request of ours was answered with.

    media_type    of what is rendered alone already, "" where it is in a whole reply
    is_ours       no router of the application's own has written it
    """
    if status < 200:
        status = 500  # no response ends with it
    if media_type and status < 300:
        return made(status, rendered, media_type.encode("latin-1"))
    body = alone(rendered, status, form) if is_ours else of_router(rendered, form)
    return made(status, body, _PACKED if form == BINARY_MSGPACK else _JSON)


def error(status: int, detail: Any, form: int, headers: Iterable[tuple[str, str]] = ()) -> Reply:
    """Give the response that says what is wrong."""
    body = write({"detail": detail}, form)
    reply = made(status, body, _PACKED if form == BINARY_MSGPACK else _JSON)
    closes = False
    for name, value in headers:
        if name.lower() == "connection":
            closes = closes or "close" in value.lower()
        if name.lower() not in _OF_THE_CARRIER:
            reply.headers.append((on_a_line(name).lower().encode(), on_a_line(value, _MOST).encode()))
    return reply._replace(closes=closes)


def refused(exc: ConnectionRefused, form: int) -> Reply:
    """Give the response for who may not connect, or asks in a way that nobody can answer."""
    return error(exc.status, phrase(exc.status) if exc.reason is None else exc.reason, form, exc.headers)


def not_modified(reply: Reply) -> Reply:
    """Give the response that says that the client has that one."""
    left = [pair for pair in reply.headers if pair[0] not in (b"content-type", b"content-length")]
    return Reply(304, left, b"")
