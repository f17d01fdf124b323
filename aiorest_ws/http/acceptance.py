"""The key of an opening request, and what was agreed on → the bytes of the HTTP response that opens the WebSocket."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha1
from typing import Any

__all__ = ("acceptance",)

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_SERVER, _PROTOCOL = "Server: %s\r\n", "Sec-WebSocket-Protocol: %s\r\n"
_EXTENSIONS = "Sec-WebSocket-Extensions: %s\r\n"


def acceptance(
    key: str, server: str | None, headers: Iterable[tuple[str, Any]], protocol: str | None, extensions: str
) -> bytes:
    """Give the HTTP response that opens a WebSocket (RFC 6455 §4.2.2).

    key           what the client sent to have it come back, with what only who speaks WebSocket adds
    headers       more of them; for a value that is no string, but several, one each
    extensions    as they were agreed on, "" for none
    """
    more = "".join(f"{name}: {value}\r\n" for name, values in headers for value in _each(values))
    echo = b64encode(sha1(key.encode() + _MAGIC, usedforsecurity=False).digest()).decode()
    lines = (
        f"HTTP/1.1 101 Switching Protocols\r\n{_SERVER % server if server else ''}Upgrade: WebSocket\r\n"
        f"Connection: Upgrade\r\n{more}{_PROTOCOL % protocol if protocol is not None else ''}"
        f"Sec-WebSocket-Accept: {echo}\r\n{_EXTENSIONS % extensions if extensions else ''}\r\n"
    )
    return lines.encode()


def _each(values: Any) -> Iterable[Any]:
    return values if isinstance(values, Iterable) and not isinstance(values, str) else (values,)
