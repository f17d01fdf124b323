"""The client's side of the wire (RFC 6455): an opening request and masked frames out; an answer and messages in.

Sans-IO. It asks for no extension, so no frame may be compressed.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from aiorest_ws.testing.messages import HandshakeRefused

__all__ = ("BINARY", "CLOSE", "PING", "PONG", "TEXT", "Frame", "Wire", "frame")

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


class Frame(NamedTuple):
    """A control frame, or a whole message, however many frames it came in."""

    opcode: int
    payload: bytes


@dataclass(slots=True)
class _Answer:
    status: int
    reason: str
    headers: dict[str, str]


class Wire:
    """What a client knows of its connection.

    headers    of the server's answer to the handshake, names in lower case; None before it has come
    """

    def __init__(self) -> None:
        self.headers: dict[str, str] | None = None
        self._key = base64.b64encode(os.urandom(16)).decode()
        self._data = bytearray()
        self._begun: tuple[int, bytes] | None = None  # a fragmented message

    def opening(self, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
        """Give the opening request (RFC 6455 §4.1). Of those here, `headers` may bring its own `Host`."""
        headers = list(headers)
        own = () if any(name.lower() == "host" for name, _ in headers) else (("Host", "testserver"),)
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in (*own, *headers))]
        lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        lines += [f"Sec-WebSocket-Key: {self._key}", "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes of the server, give what is complete now. Raises HandshakeRefused, ValueError."""
        self._data += data
        if self.headers is None and not self._read_answer():
            return []
        frames = []
        while (raw := self._raw_frame()) is not None:
            whole = self._assembled(*raw)
            if whole is not None:
                frames.append(whole)
        return frames

    def _read_answer(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return False
        answer = _answer(self._data[:end].decode("latin-1"))
        del self._data[: end + 4]
        if answer.status != 101:
            raise HandshakeRefused(answer.status, answer.reason, answer.headers)
        accept = base64.b64encode(hashlib.sha1(f"{self._key}{_GUID}".encode()).digest()).decode()
        if answer.headers.get("sec-websocket-accept") != accept:
            raise ValueError(f"expected the header Sec-WebSocket-Accept: {accept}, got {answer.headers}")
        self.headers = answer.headers
        return True

    def _raw_frame(self) -> tuple[bool, int, bytes] | None:
        data = self._data
        if len(data) < 2:
            return None
        first, length = data[0], data[1]
        at = 2
        if length in (126, 127):
            at, form = (4, "!H") if length == 126 else (10, "!Q")
            if len(data) < at:
                return None
            (length,) = struct.unpack_from(form, data, 2)
        if first & 0x70 or data[1] & 0x80:
            raise ValueError(f"expected a frame without compression and mask, got {bytes(data[:2])!r}")
        if len(data) < at + length:
            return None
        payload = bytes(data[at : at + length])
        del data[: at + length]
        return bool(first & 0x80), first & 0x0F, payload

    def _assembled(self, fin: bool, opcode: int, payload: bytes) -> Frame | None:
        if opcode == CONTINUATION and self._begun is not None:
            opcode, payload = self._begun[0], self._begun[1] + payload
        if fin:
            if opcode < CLOSE:
                self._begun = None
            return Frame(opcode, payload)
        self._begun = (opcode, payload)
        return None


def _answer(head: str) -> _Answer:
    first, *lines = head.split("\r\n")
    _, status, reason = first.split(" ", 2)
    fields = (line.partition(":") for line in lines)
    return _Answer(int(status), reason, {name.lower(): value.strip() for name, _, value in fields})


def frame(payload: bytes, opcode: int) -> bytes:
    """Give a masked frame (RFC 6455 §5.2)."""
    size = len(payload)
    head = bytes([0x80 | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += struct.pack("!BH", 0x80 | 126, size)
    else:
        head += struct.pack("!BQ", 0x80 | 127, size)
    mask = os.urandom(4)
    stream = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return head + mask + masked.to_bytes(size, "big")
