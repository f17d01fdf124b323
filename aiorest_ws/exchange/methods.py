"""The method of an HTTP request → that of a request of ours; and what is said of a path without a handler for it."""

from __future__ import annotations

from typing import Any

from aiorest_ws.exceptions import BaseAPIException, ConnectionRefused
from aiorest_ws.exchange.origins import preflight
from aiorest_ws.exchange.replies import Reply

__all__ = ("METHODS", "answers_itself", "is_routed", "method_for", "with_allowed")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def answers_itself(exchange: Any, connection: Any, method: str, url: str) -> Reply | None:
    """Give the response to what no handler is asked: OPTIONS that no route has, and methods that none may have."""
    is_page = url in exchange.pages
    if method in METHODS and method != "OPTIONS" and (not is_page or method in ("GET", "HEAD")):
        return None
    allowed = _allowed(exchange, url)
    asks = preflight(connection, method, allowed or b"OPTIONS")
    if asks is not None:
        return asks
    if method == "OPTIONS":
        if url in ("*", "/*"):
            return Reply(204, [(b"allow", ", ".join(METHODS).encode())], b"")
        if _takes(exchange, "OPTIONS", url) or not allowed:
            return None
        return Reply(204, [(b"allow", allowed), (b"cache-control", b"no-store")], b"")
    if not allowed:
        raise ConnectionRefused(404, "no route has this path")
    raise ConnectionRefused(
        405, f"no method {method:.20} here, expected {allowed.decode()}", headers=(("Allow", allowed.decode()),)
    )


def method_for(exchange: Any, method: str, url: str) -> str:
    """Give the method with which a request is routed: to guards and handlers, HEAD is a GET."""
    if method != "HEAD" or (_takes(exchange, "HEAD", url) and not _takes(exchange, "GET", url)):
        return method
    return "GET"


def is_routed(exchange: Any, method: str, url: str) -> bool:
    """Tell whether some handler takes a request, or a router of the application's own may."""
    pipeline = exchange.factory.pipeline
    own_way = pipeline.trie is None or pipeline.process is not None
    return own_way or _takes(exchange, method_for(exchange, method, url), url)


def with_allowed(reply: Reply, exchange: Any, url: str) -> Reply:
    """Give a response of 405 with the methods that there are."""
    allowed = _allowed(exchange, url)
    return reply._replace(headers=[*reply.headers, (b"allow", allowed)]) if allowed else reply


def _allowed(exchange: Any, url: str) -> bytes:
    """Give the methods that a path has, b"" if it has none."""
    methods = {"GET"} if url in exchange.pages else set()
    methods |= {verb for verb in METHODS if _takes(exchange, verb, url)}
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted({*methods, "OPTIONS"})).encode() if methods else b""


def _takes(exchange: Any, method: str, url: str) -> bool:
    trie = exchange.factory.pipeline.trie
    if trie is None:
        return False
    try:
        trie.match(method, url)
    except BaseAPIException:
        return False
    return True
