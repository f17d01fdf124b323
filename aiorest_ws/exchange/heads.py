"""The head of a request on our own port → what it asks for, unless it can be read in two ways, or is too much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.http.head import C1, authority, is_of_host, target_parts

__all__ = ("checked",)

_EACH = 4  # bytes of a header beside its name and its value


def checked(
    url: bytes, headers: Sequence[tuple[bytes, bytes]], version: str, method: bytes, limits: Any
) -> tuple[str, str]:
    """Give path and query. Raises ConnectionRefused."""
    _check_size(url, headers, limits)
    if version not in ("1.0", "1.1"):
        raise ConnectionRefused(505)
    if method == b"CONNECT":
        raise ConnectionRefused(405, "this is no proxy")
    for name, value in headers:
        if name == b"transfer-encoding" and (value.strip().lower() != b"chunked" or version == "1.0"):
            raise ConnectionRefused(400, "Transfer-Encoding is chunked, and of HTTP/1.1, or nothing")
        if not value.isascii() and C1.search(value):
            raise ConnectionRefused(400, "malformed header")
    return _parts(url.decode("latin-1"), headers, version)


def _check_size(url: bytes, headers: Sequence[tuple[bytes, bytes]], limits: Any) -> None:
    if limits.max_headers is not None and len(headers) > limits.max_headers:
        raise ConnectionRefused(431, "too many request header fields")
    size = len(url) + sum(len(name) + len(value) + _EACH for name, value in headers)
    if limits.max_handshake_size is not None and size > limits.max_handshake_size:
        raise ConnectionRefused(431, "request header fields too large")


def _parts(target: str, headers: Sequence[tuple[bytes, bytes]], version: str) -> tuple[str, str]:
    """Give path and query. Raises ConnectionRefused unless they are of the one host that is named."""
    parts = target_parts(target)
    if parts is None:
        raise ConnectionRefused(400, "malformed request target")
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if not hosts and version == "1.0":
        return parts
    asked = authority(hosts[0]) if len(hosts) == 1 else None
    if asked is None:
        raise ConnectionRefused(400, "malformed, missing or repeated header Host")
    if not target.startswith(("/", "*")) and not is_of_host(target, asked):
        raise ConnectionRefused(400, "request target of another host than header Host")
    return parts
