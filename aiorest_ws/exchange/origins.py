"""The page from which a request comes → whether it may ask, and what its browser is told (CORS, Fetch §3.2)."""

from __future__ import annotations

from typing import Any

from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.exchange.replies import Reply
from aiorest_ws.http.head import client_scheme

__all__ = ("admit", "preflight", "with_cors")

_EXPOSED = b"Allow, ETag, Idempotent-Replayed, Retry-After"
_SAFE = ("GET", "HEAD", "OPTIONS")
_REMEMBERED = b"600"  # seconds


def admit(connection: Any, method: str) -> None:
    """Refuse who calls the server by another's name, and other people's pages. Raises ConnectionRefused, HTTP 403."""
    # A name that leads to this machine only now (DNS rebinding) is, to a browser, the page's own: there is no Origin.
    # Without a Host (HTTP/1.0) it is no browser.
    handshake = connection._handshake
    connection._check_page(handshake, connection.factory.trustXForwardedFor, may_be_page=bool(handshake.host))
    headers = connection.headers
    if method not in _SAFE and "origin" not in headers and headers.get("sec-fetch-site") == "cross-site":
        raise ConnectionRefused(403, "a page of another origin may not change anything here")
    origins = connection.factory.origins
    if origins.takes_any and handshake.origin is not None:
        scheme = client_scheme(handshake, connection.factory.trustXForwardedFor)
        if not origins.names(handshake.origin, handshake.host, handshake.port, scheme):
            headers.pop("cookie", None)  # a form sends them along without asking; that it is let in says nothing
            connection.may_have_cookies = False
    connection.may_be_read = True


def preflight(connection: Any, method: str, allowed: bytes) -> Reply | None:
    """Give the response to a browser that asks whether a page may ask, None for anything else."""
    headers = connection.headers
    if method != "OPTIONS" or "origin" not in headers or "access-control-request-method" not in headers:
        return None
    answer = [(b"access-control-allow-methods", allowed), (b"access-control-max-age", _REMEMBERED)]
    wanted = headers.get("access-control-request-headers", "")
    if wanted:
        answer.append((b"access-control-allow-headers", wanted.encode("latin-1", "replace")))
    vary = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    return Reply(204, [(b"allow", allowed), (b"vary", vary), *answer], b"")


def with_cors(reply: Reply, connection: Any) -> Reply:
    """Give a response that the page may read, if it may."""
    if connection is None:
        return reply
    factory = connection.factory
    headers = reply.headers
    if factory.allowed_origins is not None:
        _vary(headers)
    origin = connection.headers.get("origin")
    if origin is None or not connection.may_be_read or factory.allowed_origins is None:
        return reply
    if not connection.may_have_cookies:
        headers.append((b"access-control-allow-origin", b"*"))
    else:
        headers.append((b"access-control-allow-origin", origin.encode("latin-1", "replace")))
        headers.append((b"access-control-allow-credentials", b"true"))
    headers.append((b"access-control-expose-headers", _EXPOSED))
    return reply


def _vary(headers: list[tuple[bytes, bytes]]) -> None:
    for at, (name, value) in enumerate(headers):
        if name == b"vary":
            if b"Origin" not in value:
                headers[at] = (name, value + b", Origin")
            return
    headers.append((b"vary", b"Origin"))
