"""A blocking WebSocket client that may do what no client should."""

from __future__ import annotations

import socket
import ssl
import struct
import time
import zlib
from types import TracebackType

from tests.serving import CLOSE, TEXT, Frame, frame

__all__ = ("Gone", "Wire", "deflated", "finished")

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Gone(ConnectionError):
    """The server ended the connection."""


def deflated(data: bytes) -> bytes:
    """Give the payload of a compressed message (RFC 7692 §7.2.1)."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def finished(data: bytes) -> bytes:
    """Give the payload of a compressed message whose last block says that it is the last (RFC 7692 §7.2.3.4)."""
    deflater = zlib.compressobj(1, zlib.DEFLATED, -12)
    return deflater.compress(data) + deflater.flush(zlib.Z_FINISH) + b"\x00"


def _connected(address: tuple[str, int], receive_buffer: int | None, source: str | None) -> socket.socket:
    made = socket.socket()
    made.settimeout(10)
    try:
        if receive_buffer is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)  # before the window is agreed on
        if source is not None:
            made.bind((source, 0))
        made.connect(address)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:  # raised again: an interrupt, too, leaves no socket behind
        made.close()
        raise
    return made


class Wire:
    """One connection. What it reads is buffered; what it sends is sent, frames or not.

    receive_buffer    bytes that the system takes before we read; None: what it likes, which is megabytes
    source            our own address, one of 127.0.0.0/8; None: what the system takes
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        extensions: str | None = None,
        handshake: bool = True,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
        source: str | None = None,
    ) -> None:
        self.socket = _connected(address, receive_buffer, source)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=address[0])
        self._read = bytearray()
        self.headers = b""
        if handshake:
            self._shake_hands(address, extensions)

    def _shake_hands(self, address: tuple[str, int], extensions: str | None) -> None:
        lines = [
            "GET / HTTP/1.1",
            f"Host: {address[0]}:{address[1]}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {KEY}",
            "Sec-WebSocket-Version: 13",
        ]
        if extensions is not None:
            lines.append(f"Sec-WebSocket-Extensions: {extensions}")
        self.send("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, rest = bytes(self._read).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise Gone(head.partition(b"\r\n")[0].decode())
        self.headers = head
        self._read = bytearray(rest)

    # Out

    def send(self, data: bytes | memoryview, timeout: float = 30) -> None:
        """Send all of `data`. Raises Gone, or TimeoutError when the server takes no more."""
        self.socket.settimeout(timeout)
        try:
            self.socket.sendall(data)
        except ConnectionError as exc:
            raise Gone("it was closed while sending") from exc

    def try_to_send(self, data: memoryview, timeout: float) -> int:
        """Send what the server takes within `timeout` seconds; give how much. Raises Gone."""
        self.socket.settimeout(timeout)
        try:
            return self.socket.send(data)
        except TimeoutError:
            return 0
        except ConnectionError as exc:
            raise Gone("it was closed while sending") from exc

    def frame(self, payload: bytes, opcode: int = TEXT, *, fin: bool = True, compressed: bool = False) -> None:
        self.send(frame(payload, opcode, fin=fin, compressed=compressed))

    # In

    def receive(self, timeout: float = 10) -> Frame:
        """Give the next frame. Raises Gone, or TimeoutError."""
        self.socket.settimeout(timeout)
        self._have(2)
        first, second = self._read[:2]
        header, length = 2, second & 0x7F
        if length >= 126:
            header = 4 if length == 126 else 10
            self._have(header)
            length = int.from_bytes(self._read[2:header], "big")
        self._have(header + length)
        payload = bytes(self._read[header : header + length])
        del self._read[: header + length]
        return Frame(first & 0x0F, payload, bool(first & 0x40))

    def read(self, size: int) -> bytes:
        """Give up to `size` bytes as they come, b"" at the end."""
        if self._read:
            piece = bytes(self._read[:size])
            del self._read[:size]
            return piece
        try:
            return self.socket.recv(size)
        except ConnectionError:
            return b""

    def close_code(self, timeout: float = 10) -> int | None:
        """Read up to the close frame; give its code, None when there is none in time."""
        end = time.monotonic() + timeout
        try:
            while True:
                got = self.receive(max(end - time.monotonic(), 0.001))
                if got.opcode == CLOSE:
                    return got.close_code
        except (Gone, TimeoutError):
            return None

    def _have(self, size: int) -> None:
        while len(self._read) < size:
            self._more()

    def _more(self) -> None:
        try:
            piece = self.socket.recv(1 << 18)
        except ConnectionError as exc:
            raise Gone("it was reset") from exc
        if not piece:
            raise Gone("it was closed")
        self._read += piece

    # The end

    def reset(self) -> None:
        """End the connection with RST."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.socket.close()
