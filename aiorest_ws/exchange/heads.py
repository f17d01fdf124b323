"""The head of a request on our own port → its `Handshake`, unless it can be read in two ways, or is too much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.exchange.connection import handshake_of
from aiorest_ws.exchange.methods import METHODS
from aiorest_ws.http.head import C1, Handshake, is_of_host, target_parts

__all__ = ("checked", "complete", "written_head")


def checked(url: bytes, headers: Sequence[tuple[bytes, bytes]], version: str, method: bytes, limits: Any) -> Handshake:
    """Give what the request says before its body. Raises ConnectionRefused."""
    if limits.max_headers is not None and len(headers) > limits.max_headers:
        raise ConnectionRefused(431, "too many request header fields")
    if method == b"CONNECT":
        raise ConnectionRefused(405, "this is no proxy", headers=(("Allow", ", ".join(METHODS)),))
    for name, value in headers:
        if name == b"transfer-encoding" and (value.strip().lower() != b"chunked" or version == "1.0"):
            raise ConnectionRefused(400, "Transfer-Encoding is chunked, and of HTTP/1.1, or nothing")
        if not value.isascii() and C1.search(value):
            raise ConnectionRefused(400, "malformed header")
    return _read(url.decode("latin-1"), headers, version)


def complete(scope: Any, handshake: Handshake, version: str, method: bytes) -> None:
    """Say in `scope`, an ASGI server's, what the head says beside the headers."""
    path = handshake.path
    scope["method"] = method.decode("ascii")
    scope["http_version"] = version
    scope["path"] = unquote(path) if "%" in path else path
    scope["raw_path"] = path.encode("ascii")
    scope["query_string"] = handshake.query.encode("ascii")


def _read(target: str, headers: Sequence[tuple[bytes, bytes]], version: str) -> Handshake:
    """Give what the request says. Raises ConnectionRefused unless its target is of the one host that is named."""
    parts = target_parts(target)
    if parts is None:
        raise ConnectionRefused(400, "malformed request target")
    handshake = handshake_of(*parts, headers)
    if not handshake.host and ("host" in handshake.headers or version != "1.0"):
        raise ConnectionRefused(400, "malformed or missing header Host")
    if not target.startswith(("/", "*")) and not is_of_host(target, (handshake.host, handshake.port)):
        raise ConnectionRefused(400, "request target of another host than header Host")
    return handshake


def written_head(line: Any, without: Sequence[bytes] = ()) -> bytes:
    """Give the head that the parser of `line` has read, for who reads it anew, but for some headers."""
    parser = line.parser
    first = b"%b %b HTTP/%b\r\n" % (parser.get_method(), line.url, parser.get_http_version().encode())
    return b"".join((first, *[b"%b: %b\r\n" % pair for pair in line.headers if pair[0] not in without], b"\r\n"))
