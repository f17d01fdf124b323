"""What a test's client sends in, frames to the server out; frames of the server in, its messages and the end out."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiorest_ws.status import WS_CLOSED_ABNORMALLY, WS_NO_STATUS_CODE, WS_NORMAL
from aiorest_ws.testing.messages import ConnectionClosed
from aiorest_ws.testing.transport import MemoryTransport
from aiorest_ws.testing.wire import BINARY, CLOSE, PING, PONG, TEXT, Frame, Wire, frame

__all__ = ("Link",)


class Link:
    """The client's end of one connection.

    received                   called with each message: payload, and whether its frame is a binary one
    ended                      whether the connection is gone
    close_code, close_reason   why it ended; None while it is up
    """

    def __init__(self, received: Callable[[bytes, bool], None]) -> None:
        self.ended = False
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self._received = received
        self._transport: MemoryTransport | None = None
        self._wire = Wire()
        self._changed = asyncio.Event()
        self._fault: Exception | None = None  # why the wire cannot be read any more
        self._left = False  # a close frame was sent

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the answer to the handshake."""
        return self._wire.headers or {}

    @property
    def is_begun(self) -> bool:
        """Tell whether the connection was made, open or not."""
        return self._transport is not None

    @property
    def is_open(self) -> bool:
        return self._wire.headers is not None and self._fault is None and not self.ended

    async def open(
        self, protocol: Any, target: str, headers: Iterable[tuple[str, str]], *, peer: Any, timeout: float
    ) -> None:
        """Do the opening handshake. Raises HandshakeRefused."""
        self._transport = MemoryTransport(protocol, self._on_bytes, self._on_end, peer=peer)
        self._transport.deliver(self._wire.opening(target, headers))
        await self.until(lambda: self._wire.headers is not None, "an answer to the handshake", timeout)

    async def close(self, code: int, reason: str, timeout: float) -> None:
        """Do the closing handshake (RFC 6455 §7.1.2). Does nothing when the connection is closed."""
        if not self.ended:
            self._send_close(struct.pack("!H", code) + reason.encode())
            await self.wait_closed(timeout)

    async def wait_closed(self, timeout: float) -> None:
        await self.until(lambda: self.ended, "the end of the connection", timeout)

    def abort(self) -> None:
        """Leave without a close frame."""
        self._connected().deliver_eof()

    async def leave(self, timeout: float) -> None:
        """End the connection, by a closing handshake if the server takes part in it."""
        try:
            if self.is_open:
                await self.close(WS_NORMAL, "", timeout)
        except TimeoutError:
            pass  # the server reads nothing, as it has enough to do
        finally:
            self._connected().abort()
            self._fault = None
            await self.wait_closed(timeout)

    async def until(self, ready: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait until `ready`, which what arrives may change. Raises TimeoutError and ConnectionClosed."""
        self._connected()
        try:
            async with asyncio.timeout(timeout):
                while not ready() and not self.ended and self._fault is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"expected {what}, got none within {timeout:g} s") from None
        if ready():
            return
        if self._fault is not None:
            raise self._fault
        raise ConnectionClosed(what, self.close_code, self.close_reason or "")

    def send(self, payload: bytes, is_binary: bool) -> None:
        """Send a message."""
        self._send(payload, BINARY if is_binary else TEXT)

    def _connected(self) -> MemoryTransport:
        if self._transport is None:
            raise RuntimeError("client is not connected, use it in a `with` block")
        return self._transport

    def _send(self, payload: bytes, opcode: int) -> None:
        transport = self._connected()
        if self.ended or self._left:
            raise ConnectionClosed("an open one", self.close_code, self.close_reason or "")
        transport.deliver(frame(payload, opcode))

    def _send_close(self, payload: bytes) -> None:
        if not self._left:
            self._send(payload, CLOSE)
            self._left = True

    def _on_bytes(self, data: bytes) -> None:
        try:
            for one in self._wire.feed(data):
                self._on_frame(one)
        except Exception as exc:
            self._fault = exc  # for who waits: here it would be raised in the server
        self._changed.set()

    def _on_frame(self, one: Frame) -> None:
        if one.opcode == PING:
            if not self._left:
                self._send(one.payload, PONG)
        elif one.opcode == CLOSE:
            (self.close_code,) = struct.unpack("!H", one.payload[:2]) if one.payload else (WS_NO_STATUS_CODE,)
            self.close_reason = one.payload[2:].decode()
            self._send_close(one.payload[:2])
        elif one.opcode in (TEXT, BINARY):
            self._received(one.payload, one.opcode == BINARY)

    def _on_end(self) -> None:
        self.ended = True
        if self.close_code is None:
            self.close_code, self.close_reason = WS_CLOSED_ABNORMALLY, ""
        self._changed.set()
