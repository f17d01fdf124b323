"""A connection without a socket: a transport that keeps what is written, protocols on one, and a loop without waits."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol

from aiorest_ws import RequestHandlerFactory, SimpleRouter
from aiorest_ws.limits import Limits
from tests.serving import (
    turn_over,
)

__all__ = (
    "REQUEST",
    "Skipping",
    "Transport",
    "made",
    "opened",
    "our_factory",
    "plain_factory",
)


REQUEST = (
    b"GET /?b=c HTTP/1.1\r\nHost: 127.0.0.1:80\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-A: b\r\n\r\n"
)


class Skipping(asyncio.SelectorEventLoop):
    """A loop whose clock counts what is waited for: where nothing is ready, it goes on to the next timer."""

    now = 0.0

    def __init__(self) -> None:
        class Selector(selectors.SelectSelector):
            def select(self, timeout: float | None = None) -> Any:
                loop.now += timeout or 0.0
                return super().select(0)

        loop = self
        super().__init__(Selector())

    def time(self) -> float:
        return self.now


class Transport(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1234)})
        self.written: list[bytes] = []
        self.calls: list[str] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return "close" in self.calls or "abort" in self.calls

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")


def plain_factory(protocol: type = WebSocketServerProtocol, **options: Any) -> Any:
    factory = WebSocketServerFactory("ws://127.0.0.1:80")
    factory.protocol = protocol  # type: ignore[assignment]
    factory.setProtocolOptions(**{"failByDrop": False} | options)
    return factory


def our_factory() -> Any:
    factory = RequestHandlerFactory("ws://127.0.0.1:80", server=plain_factory().server, router=SimpleRouter())
    factory.limits = Limits(max_message_size=None)
    return factory


def made(factory: Any) -> Any:
    """Give a protocol that has a connection."""
    protocol = factory()
    protocol.connection_made(Transport())
    return protocol


async def opened(factory: Any, behind: bytes = b"") -> Any:
    """Give a protocol that has done its handshake."""
    protocol = made(factory)
    protocol.data_received(REQUEST + behind)
    await turn_over()
    assert protocol.state == protocol.STATE_OPEN
    return protocol
