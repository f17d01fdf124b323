"""The first bytes of a connection → who a proxy says is behind it: the PROXY protocol, versions 1 and 2.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt. Sans-IO, and strict: what is no header raises ValueError
with a fixed text, as soon as it can be none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

__all__ = ("UNKNOWN", "Announced", "other_end", "read_announcement")

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"  # of version 2
_HEAD = len(_SIGNATURE) + 4
_BEGIN = b"PROXY "
_LONGEST_LINE = 107  # of version 1, with its CRLF
_LINE = re.compile(
    rb"PROXY (?:(TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) ([0-9]{1,5}) ([0-9]{1,5})|UNKNOWN(?: .*)?)\r\n"
)
_INET, _INET6, _UNIX = 1, 2, 3
_STREAM, _DATAGRAM = 1, 2
_LOCAL, _PROXY = 0x20, 0x21  # version 2, and who speaks
_SIZES = {0: 0, _INET: 12, _INET6: 36, _UNIX: 216}  # of both addresses, and their ports
_LARGEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Announced:
    """What a proxy said of a connection.

    address   of the client; None where it is none of IP: the proxy speaks for itself, or does not know
    peer      how the client is called in `connection.peer`; None as well
    """

    address: str | None = None
    peer: str | None = None


UNKNOWN = Announced()


def read_announcement(data: bytes | bytearray) -> tuple[Announced, int] | None:
    """Give what a proxy said at the start of `data`, and its length there; None while it is incomplete.

    Raises ValueError for what is no header.
    """
    if data[:1] == _BEGIN[:1]:
        return _read_line(data)
    return _read_binary(data)


def other_end(transport: Any, announced: Announced | None) -> str | None:
    """Give the address of the client, or of a proxy that says nothing of it; None where it is none of IP."""
    if announced is not None and announced.peer is not None:
        return announced.address
    peer = transport.get_extra_info("peername")
    return peer[0] if isinstance(peer, tuple) else None


def _read_line(data: bytes | bytearray) -> tuple[Announced, int] | None:
    if not _BEGIN.startswith(data[: len(_BEGIN)]):
        raise ValueError("no PROXY protocol header")
    end = data.find(b"\n", 0, _LONGEST_LINE) + 1
    if not end:
        if len(data) >= _LONGEST_LINE:
            raise ValueError("the line of the PROXY protocol is too long")
        return None
    line = _LINE.fullmatch(data[:end])
    if line is None:
        raise ValueError("malformed line of the PROXY protocol")
    if line[1] is None:
        return UNKNOWN, end
    kind = IPv4Address if line[1] == b"TCP4" else IPv6Address
    try:
        source, _ = kind(line[2].decode()), kind(line[3].decode())
    except ValueError:
        raise ValueError("malformed address in the line of the PROXY protocol") from None
    ports = int(line[4]), int(line[5])
    if max(ports) > _LARGEST_PORT:
        raise ValueError("malformed port in the line of the PROXY protocol")
    return _announced(source, ports[0]), end


def _read_binary(data: bytes | bytearray) -> tuple[Announced, int] | None:
    if not _SIGNATURE.startswith(data[: len(_SIGNATURE)]):
        raise ValueError("no PROXY protocol header")
    if len(data) < _HEAD:
        return None
    command, family, transport = data[12], data[13] >> 4, data[13] & 0x0F
    # What a proxy asks for itself (LOCAL) is taken whatever family it names (§2.2): probes come with anything there.
    if command != _LOCAL and (command != _PROXY or family not in _SIZES or transport > _DATAGRAM):
        raise ValueError("malformed header of the PROXY protocol, or of another version than 1 and 2")
    size = int.from_bytes(data[14:_HEAD], "big")
    is_told = command == _PROXY and transport == _STREAM
    if is_told and size < _SIZES[family]:
        raise ValueError("the header of the PROXY protocol is too short for its addresses")
    end = _HEAD + size
    if len(data) < end:
        return None
    return (_source(family, bytes(data[_HEAD:end])) if is_told else UNKNOWN), end


def _source(family: int, block: bytes) -> Announced:
    """Read addresses; what is behind them (TLVs) is not for us."""
    if family == _INET:
        return _announced(IPv4Address(block[:4]), int.from_bytes(block[8:10], "big"))
    if family == _INET6:
        return _announced(IPv6Address(block[:16]), int.from_bytes(block[32:34], "big"))
    if family == _UNIX:
        path = block[:108].rstrip(b"\0").replace(b"\0", b"@", 1).decode("ascii", "backslashreplace")
        return Announced(peer="unix:" + "".join(mark if mark.isprintable() else "?" for mark in path))
    return UNKNOWN


def _announced(source: IPv4Address | IPv6Address, port: int) -> Announced:
    source = getattr(source, "ipv4_mapped", None) or source
    return Announced(str(source), f"tcp{source.version}:{source}:{port}")
