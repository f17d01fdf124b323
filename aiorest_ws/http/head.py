"""Bytes of an opening request → a `Handshake`, or ConnectionRefused with the HTTP answer.

Sans-IO, and stricter than HTTP asks for (RFC 9112, RFC 6455 §4.2.1): what two programs might read in two ways, one of
them a proxy, is refused. Lines end with CRLF and nothing else; whatever is said of a fault is a fixed text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address

from aiorest_ws.exceptions import ConnectionRefused

__all__ = (
    "C1",
    "Handshake",
    "authority",
    "bearer",
    "check_plain",
    "check_upgrade",
    "client_address",
    "client_scheme",
    "decoded",
    "end_of_head",
    "is_of_host",
    "is_probe",
    "is_token",
    "is_upgrade",
    "read",
    "request_line",
    "start_of_head",
    "target_parts",
)

_END = b"\r\n\r\n"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([!-~]+) HTTP/([0-9]\.[0-9])".encode())
_HEADER = re.compile(rf"({_TOKEN}):([\t -~\x80-\xff]*)".encode("latin-1"))
_TARGET = re.compile(r"(?:(ws|wss|http|https)://([^/?#]+))?(/[^?#]*)?(?:\?([^#]*))?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~%-]+)(?::([0-9]{0,5}))?")
_KEY = re.compile(r"[0-9A-Za-z+/]{22}==")  # 16 bytes in base64
_NAME = re.compile(_TOKEN)
_UPGRADES = re.compile(rb"\r\nupgrade:[^\r\n]*websocket", re.IGNORECASE)
_EMPTY_LINES = re.compile(rb"(?:\r\n){0,4}")  # some clients end what they sent before with one too many (RFC 9112 §2.2)
_DEFAULT_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}

# ISO-8859-1 has control characters from 0x80 to 0x9f, line ends among them. The same bytes are part of characters in
# UTF-8, which headers may hold too: behind another byte from 0x80, but not behind 0xc2, where it has them as well.
C1 = re.compile(rb"(?:(?<![\x80-\xff])|\xc2)[\x80-\x9f]")
# What no head may have, so that it need not arrive whole to be refused.
_FAULT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])|" + C1.pattern)

_ONCE = frozenset(("host", "origin", "sec-websocket-key", "sec-websocket-version"))
_VERSION = (("Sec-WebSocket-Version", "13"),)
_UPGRADE = (("Upgrade", "websocket"),)


@dataclass(frozen=True, slots=True)
class Handshake:
    """An opening request.

    target      as it was sent: "/api?token=1"
    path        of the target, nothing decoded: "/api"
    query       behind the `?`: "token=1"
    host, port  of the header Host, in lower case; None for a port that is not named
    headers     names in lower case; those that came several times joined by commas
    """

    target: str = ""
    path: str = ""
    query: str = ""
    host: str = ""
    port: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """Give a header, "" if it did not come."""
        return self.headers.get(name, "")

    @property
    def origin(self) -> str | None:
        return self.headers.get("origin")

    @property
    def protocols(self) -> list[str]:
        """The subprotocols that the client offers, in its order."""
        return _list(self.header("sec-websocket-protocol"))

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies (RFC 6265 §5.4); of several with one name the first. What is none is left out."""
        cookies: dict[str, str] = {}
        for name, value in self._cookies():
            cookies.setdefault(name, value)
        return cookies

    def cookies_named(self, name: str) -> list[str]:
        """Give every cookie of one name, in the order in which they came: those of different paths."""
        return [value for other, value in self._cookies() if other == name]

    def _cookies(self) -> Iterator[tuple[str, str]]:
        for pair in self.header("cookie").split(";"):
            name, equals, value = pair.strip().partition("=")
            if equals and is_token(name):
                yield name, value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def end_of_head(data: bytes, seen: int, limit: int | None) -> int:
    """Tell how long the head at the start of `data` is, 0 while it is incomplete; `seen` bytes were looked at before.

    Raises ConnectionRefused for what can no longer become a head of at most `limit` bytes.
    """
    found = data.find(_END, max(start_of_head(data), seen - len(_END) + 1))
    end = found + len(_END) if found >= 0 else 0
    if end and (limit is None or end <= limit):
        return end
    size = len(data)
    if _FAULT.search(data, max(0, seen - 1), size if limit is None else min(size, limit)):
        raise ConnectionRefused(400, "malformed request")
    if limit is not None and size > limit:
        raise ConnectionRefused(431, "request header fields too large")
    return 0


def start_of_head(data: bytes) -> int:
    """Tell how long the empty lines are that may come before it."""
    empty = _EMPTY_LINES.match(data)
    return empty.end() if empty else 0


def read(head: bytes, max_headers: int | None = None) -> Handshake:
    """Read a whole head, with its empty line. Raises ConnectionRefused unless it is a GET with one Host."""
    (method, raw, version), headers, repeated = _parts(head, max_headers)
    target = raw.decode()
    if version != b"1.1":
        raise ConnectionRefused(505)
    if method == b"HEAD":
        raise ConnectionRefused(426, headers=_UPGRADE)  # what a GET that asks for no upgrade gets
    if method != b"GET":
        raise ConnectionRefused(405, headers=(("Allow", "GET"),))
    if repeated:
        raise ConnectionRefused(400, "a header that must come once came more than once")
    parts = None if target == "*" else target_parts(target)
    if parts is None:
        raise ConnectionRefused(400, "malformed request target")
    asked = authority(headers.get("host", ""))
    if asked is None:
        raise ConnectionRefused(400, "malformed or missing header Host")
    if not target.startswith("/") and not is_of_host(target, asked):
        raise ConnectionRefused(400, "malformed request target, or one of another host than header Host")
    return Handshake(target, *parts, *asked, headers)


def is_probe(head: bytes, path: str) -> bool:
    """Tell whether a whole head asks how the server is: a plain GET or HEAD of `path`, HTTP/1.0 and without Host, too.

    Raises ConnectionRefused for one that does in a malformed way.
    """
    first, *lines = head[start_of_head(head) : -len(_END)].split(b"\r\n")
    asks = _REQUEST_LINE.fullmatch(first)
    if asks is None or asks[1] not in (b"GET", b"HEAD") or asks[3] not in (b"1.0", b"1.1"):
        return False
    target = _TARGET.fullmatch(asks[2].decode())
    if target is None or target[3] != path:
        return False
    headers, _ = _headers(lines)
    return not any(name in headers for name in ("upgrade", "transfer-encoding")) and (
        headers.get("content-length", "0") == "0"
    )


def is_upgrade(head: bytes) -> bool:
    """Tell whether a whole head asks for a WebSocket, right or wrong."""
    return _UPGRADES.search(head) is not None


def check_plain(head: bytes, max_headers: int | None = None) -> Handshake:
    """Read a whole head that asks for no WebSocket, of any method. Raises ConnectionRefused unless it is plain HTTP/1.

    What is in it is for who answers it to read: of the `Handshake` only headers are set.
    """
    (_, _, version), headers, repeated = _parts(head, max_headers)
    if version not in (b"1.0", b"1.1"):
        raise ConnectionRefused(505)
    if repeated:
        raise ConnectionRefused(400, "a header that must come once came more than once")
    return Handshake(headers=headers)


def _parts(head: bytes, max_headers: int | None) -> tuple[tuple[bytes, bytes, bytes], dict[str, str], bool]:
    """Give method, target and version; the headers; and whether one came twice that must not."""
    first, *lines = head[start_of_head(head) : -len(_END)].split(b"\r\n")
    parts = request_line(first)
    headers, repeated = _headers(lines)
    if not head.isascii() and C1.search(head):
        raise ConnectionRefused(400, "malformed request")
    if max_headers is not None and len(lines) > max_headers:
        raise ConnectionRefused(431, "too many request header fields")
    return parts, headers, repeated


def request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Give method, target and version. Raises ConnectionRefused."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise ConnectionRefused(400, "malformed request line")
    return match[1], match[2], match[3]


def target_parts(target: str) -> tuple[str, str] | None:
    """Give path and query of the target of a request, nothing decoded; None for what is none."""
    if target == "*":
        return "*", ""
    parts = _TARGET.fullmatch(target)
    return None if parts is None or not (parts[2] or parts[3]) else (parts[3] or "/", parts[4] or "")


def authority(text: str) -> tuple[str, int | None] | None:
    """Give host, in lower case, and port of "host:port" (RFC 3986 §3.2), None if it is none."""
    match = _AUTHORITY.fullmatch(text)
    return None if match is None else (match[1].lower(), int(match[2]) if match[2] else None)


def is_of_host(target: str, asked: tuple[str, int | None]) -> bool:
    """Tell whether an absolute target is of the host that the header Host names: it must be (RFC 9112 §3.2.2)."""
    parts = _TARGET.fullmatch(target)
    return (
        parts is not None and bool(parts[1]) and _is_same(authority(parts[2]), asked, _DEFAULT_PORTS[parts[1].lower()])
    )


def _is_same(one: tuple[str, int | None] | None, other: tuple[str, int | None], port: int) -> bool:
    """Tell whether two authorities are the same where `port` is the default: they must be (RFC 9112 §3.2.2)."""
    return one is not None and (one[0], one[1] or port) == (other[0], other[1] or port)


def _headers(lines: list[bytes]) -> tuple[dict[str, str], bool]:
    """Give the headers, and whether one came twice that must not."""
    headers: dict[str, str] = {}
    repeated = False
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise ConnectionRefused(400, "malformed header")
        name = match[1].decode().lower()
        value = decoded(match[2].strip(b" \t"))
        if name in headers:
            repeated = repeated or name in _ONCE
            value = f"{headers[name]}{'; ' if name == 'cookie' else ', '}{value}"
        headers[name] = value
    return headers, repeated


def decoded(value: bytes) -> str:
    """Give the text of a header: UTF-8 where it is that, else ISO-8859-1, which any bytes are (RFC 9110 §5.5)."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def bearer(header: str) -> str | None:
    """Give the token of a header Authorization (RFC 6750 §2.1), None for another scheme."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def check_upgrade(handshake: Handshake) -> None:
    """Raise ConnectionRefused unless the request asks for WebSocket, version 13 (RFC 6455 §4.2.1)."""
    header = handshake.header
    if "websocket" not in _list(header("upgrade").lower()):
        raise ConnectionRefused(426, headers=_UPGRADE)
    if "upgrade" not in _list(header("connection").lower()):
        raise ConnectionRefused(400, "header Connection does not name Upgrade")
    if header("transfer-encoding") or header("content-length") not in ("", "0"):
        raise ConnectionRefused(400, "a handshake has no body")
    if not header("sec-websocket-version"):
        raise ConnectionRefused(400, "header Sec-WebSocket-Version missing")
    if header("sec-websocket-version") != "13":
        raise ConnectionRefused(426, "WebSocket version not supported", headers=_UPGRADE + _VERSION)
    if not _KEY.fullmatch(header("sec-websocket-key")):
        raise ConnectionRefused(400, "malformed or missing header Sec-WebSocket-Key")
    protocols = handshake.protocols
    if protocols and (len(set(protocols)) < len(protocols) or not all(map(is_token, protocols))):
        raise ConnectionRefused(400, "malformed header Sec-WebSocket-Protocol")


def _list(value: str) -> list[str]:
    """Give the members of a header that is a list (RFC 9110 §5.6.1)."""
    return [member for part in value.split(",") if (member := part.strip(" \t"))] if value else []


def is_token(text: str) -> bool:
    """Tell whether `text` is a token (RFC 9110 §5.6.2), as names of subprotocols are."""
    return _NAME.fullmatch(text) is not None


# What proxies say


def client_address(handshake: Handshake, proxies: int) -> str | None:
    """Give the address that the outermost of `proxies` trusted proxies saw, None if the header does not tell.

    Each of them adds what it saw at the right of X-Forwarded-For: what is farther left, the client may have made up.
    """
    if not proxies:
        return None
    entries = _list(handshake.header("x-forwarded-for"))
    if not 0 < proxies <= len(entries):
        return None
    entry = entries[-proxies]
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    try:
        address = ip_address(entry)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        address = address.ipv4_mapped or address
    return str(address)


def client_scheme(handshake: Handshake, proxies: int) -> str | None:
    """Give the scheme, "http" or "https", in which the client speaks to the outermost of `proxies` trusted proxies.

    None if they do not tell. A single X-Forwarded-Proto holds for all of them.
    """
    entries = _list(handshake.header("x-forwarded-proto").lower()) if proxies else ()
    if not entries or 1 < len(entries) < proxies:
        return None
    scheme = entries[-proxies] if len(entries) > 1 else entries[0]
    return {"http": "http", "https": "https", "ws": "http", "wss": "https"}.get(scheme)
