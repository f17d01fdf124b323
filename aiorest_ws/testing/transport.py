"""Bytes of a client in, calls of a server's protocol out, and back: a connection that is no more than memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

__all__ = ("MemoryTransport",)

_AT_ONCE = 256 * 1024  # bytes that the protocol gets in one call; asyncio's own transports read as many


class MemoryTransport(asyncio.Transport):
    """The server's transport. As with a socket, the protocol is called by the loop, never by who sends.

    written    called with what the protocol writes
    ended      called when the connection is gone
    """

    def __init__(
        self,
        protocol: Any,
        written: Callable[[bytes], None],
        ended: Callable[[], None],
        *,
        peer: Any,
    ) -> None:
        super().__init__({"peername": peer, "sockname": ("127.0.0.1", 80)})
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # one for all calls, as a socket's reader has it
        self._protocol = protocol
        self._written = written
        self._ended = ended
        self._arrived = bytearray()
        self._at_end = False
        self._paused = False
        self._half_closed = False
        self._closing = False
        self._soon(protocol.connection_made, self)

    # The client's end

    def deliver(self, data: bytes) -> None:
        """Let `data` arrive at the server."""
        self._arrived += data
        self._soon(self._read)

    def deliver_eof(self) -> None:
        """Let the server see that the client is gone, behind what has arrived."""
        self._at_end = True
        self._soon(self._read)

    def _soon(self, function: Callable[..., Any], *args: Any) -> None:
        self._loop.call_soon(function, *args, context=self._context)

    def _read(self) -> None:
        if self._paused or self._closing or not (self._arrived or self._at_end):
            return
        data = bytes(self._arrived[:_AT_ONCE])
        del self._arrived[:_AT_ONCE]
        try:
            if data:
                self._protocol.data_received(data)
            elif not self._protocol.eof_received():
                self.close()
        except Exception as exc:
            self._loop.call_exception_handler(
                {"message": "protocol failed", "exception": exc, "protocol": self._protocol}
            )
            self.abort()
        if data:
            self._soon(self._read)

    # The server's end

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._half_closed:
            raise RuntimeError("cannot write after write_eof")
        if data and not self._closing:
            self._written(bytes(data))

    def write_eof(self) -> None:
        """Say that nothing more will come: the client leaves."""
        if not self._half_closed:
            self._half_closed = True
            self.deliver_eof()

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass  # the client takes everything at once

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._soon(self._read)

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol  # type: ignore[no-any-return]

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._arrived.clear()
            self._soon(self._lose)

    def abort(self) -> None:
        self.close()  # there is no buffer to flush

    def _lose(self) -> None:
        try:
            self._protocol.connection_lost(None)
        finally:
            self._ended()
