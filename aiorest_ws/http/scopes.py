"""A scope of ASGI, for HTTP or a WebSocket → the path and the headers that the client sent, and from where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

__all__ = ("address_of", "headers_of", "is_below", "path_below", "root_of", "sent_path")

_DEEPEST = 16  # segments that a host takes of a path, at most: each try costs as much as the path is long
_SAFE = "/:@!$&'()*+,;=~"  # in a path, beside what always is (RFC 3986 §3.3)


def sent_path(scope: Mapping[str, Any]) -> bytes:
    """Give the path as the client wrote it, where the server tells; what is left of it, if a host has taken a part."""
    path, raw = scope["path"], scope.get("raw_path")
    if raw is not None:
        raw = bytes(raw).partition(b"?")[0]  # some have the query in it
        if _is_same(raw, path):
            return raw
        left = _left_of(raw, path)
        if left is not None:
            return left
    return quote(path or "/", safe=_SAFE, errors="surrogateescape").encode()


def _left_of(raw: bytes, path: str) -> bytes | None:
    """Give the end of `raw` that is `path` encoded, but for a slash that a host has put behind it; None if none is."""
    parts = raw.split(b"/")
    for at in range(2, min(len(parts), _DEEPEST)):
        end = b"/" + b"/".join(parts[at:])
        if _is_same(end, path) or (path.endswith("/") and _is_same(end, path[:-1])):
            return end
    return None


def _is_same(raw: bytes, path: str) -> bool:
    """Tell whether `raw` is `path` encoded; most servers put U+FFFD where it is not UTF-8."""
    if unquote_to_bytes(raw) == path.encode("utf-8", "surrogateescape"):
        return True
    return raw.isascii() and unquote(raw.decode("ascii")) == path


def root_of(scope: Mapping[str, Any], path: bytes) -> str:
    """Give where the application is mounted, without what is not in `path`: the root of a proxy that has taken it out.

    Starlette says what that is, of whoever sets it where the path is without it (`FastAPI(root_path=…)`).
    """
    root, outer = scope.get("root_path") or "", scope.get("app_root_path") or ""
    return root if is_below(path, root) else root.removeprefix(outer)


def is_below(path: bytes, root: str) -> bool:
    """Tell whether an encoded path is `root`, which is decoded, or below it: each segment is decoded by itself."""
    steps = root.rstrip("/").encode("utf-8", "surrogateescape").split(b"/")
    return [unquote_to_bytes(part) for part in path.split(b"/")[: len(steps)]] == steps


def path_below(path: bytes, root: str) -> bytes:
    """Give what of `path` is below `root`, as `is_below` tells; all of it where it is not below."""
    if not is_below(path, root):
        return path
    left = b"/" + b"/".join(path.split(b"/")[root.rstrip("/").count("/") + 1 :])
    return left[1:] if root.endswith("/") and left.startswith(b"//") else left  # uvicorn puts one before the other


def headers_of(scope: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """Give the headers of the client, with the Host that a server may have left out: its own address."""
    headers = [(bytes(name), bytes(value).strip(b" \t")) for name, value in scope["headers"]]  # RFC 9110 §5.5
    if all(name.lower() != b"host" for name, _ in headers):
        host, _ = scope.get("server") or ("localhost", 80)
        host = "localhost" if "/" in host else host  # a Unix socket
        headers.append((b"host", (f"[{host}]" if ":" in host else host).encode()))
    return headers


def address_of(end: Sequence[Any] | None) -> Any:
    """Give `client` or `server` of a scope as sockets do, "" for that of a Unix socket."""
    if not end or not end[0] or "/" in end[0]:
        return ""
    host, port = end
    return (host, port, 0, 0) if ":" in host else (host, port)
