"""An accepted connection of a proxy that speaks the PROXY protocol → the door behind it, told who the client is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from autobahn.asyncio.util import peer2str

from aiorest_ws.http.proxy_protocol import read_announcement

if TYPE_CHECKING:
    from aiorest_ws.server.factory import RequestHandlerFactory

__all__ = ("ProxyDoor",)

_LONGEST_WAIT = 60.0  # seconds, where the option handshake_timeout is off


class ProxyDoor(asyncio.Protocol):
    """Reads the header of the PROXY protocol, which comes before anything else, TLS included.

    behind    gives what the connection is handed to: a protocol of the factory, or the door to TLS
    """

    def __init__(self, factory: RequestHandlerFactory, behind: Callable[[], Any]) -> None:
        self.transport: Any = None
        self._factory = factory
        self._behind = behind
        self._data = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._factory.arrive(self, None)
        loop = asyncio.get_running_loop()
        self._since = loop.time()
        self._timer = loop.call_later(self._factory.openHandshakeTimeout or _LONGEST_WAIT, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._data += data
        try:
            read = read_announcement(self._data)
        except ValueError as exc:
            self._drop(str(exc))
            return
        if read is not None:
            announced, end = read
            self._hand_over(announced, bytes(self._data[end:]))

    def eof_received(self) -> bool:
        if self._data:
            self._drop("the connection ended within the header of the PROXY protocol")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def _drop(self, why: str) -> None:
        peer = peer2str(self.transport)
        self._factory.refusals.write(logging.WARNING, f"{peer}: {why}, dropping the connection (option proxy_protocol)")
        self._leave()
        self.transport.abort()

    def _leave(self) -> None:
        self._timer.cancel()
        self._factory.admissions.release(self)

    def _hand_over(self, announced: Any, rest: bytes) -> None:
        self._leave()
        if self.transport.is_closing():
            return  # it was this one's turn to go
        behind = self._behind()
        behind._announced = announced
        behind._silent_since = self._since
        self.transport.set_protocol(behind)
        behind.connection_made(self.transport)
        behind._silent_since = self._since  # its protocol takes the time of now
        if rest and not self.transport.is_closing():
            behind.begin_with(rest)
