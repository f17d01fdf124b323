"""An accepted connection and a TLS context → the protocol of the factory, once the TLS handshake is done.

asyncio and uvloop would make the handshake before anybody hears of the connection: it could not be counted, dropped
when the server stops, or told from one that is silent behind its end.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import Begun
from aiorest_ws.http.proxy_protocol import Announced, other_end

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from ssl import SSLContext

    from aiorest_ws.server.factory import RequestHandlerFactory

__all__ = ("SecureDoor",)

logger = logging.getLogger("aiorest_ws")

_LONGEST_HANDSHAKE = 60.0  # seconds, where the option handshake_timeout is off
_SHORTEST = 0.001  # seconds: the loops take no 0
_LONGEST_END = 3600.0  # seconds; whether the client still takes what it is sent, the watch knows better


class SecureDoor(asyncio.Protocol):
    """Does the TLS handshake of one connection, and keeps what arrives until its protocol can take it.

    It begins a turn of the loop later: asyncio accepts as many connections as wait in one turn, and has 300 KiB of
    buffers for the TLS of each, also of those that are dropped in that very turn because others came behind them.
    """

    _announced: Announced | None = None  # what a proxy said by the PROXY protocol
    _silent_since: float | None = None

    def __init__(self, factory: RequestHandlerFactory, context: SSLContext) -> None:
        self.transport: Any = None
        self._factory = factory
        self._context = context
        self._begun = False
        self._early: list[bytes] = []  # of TLS until that has begun, then what was in it
        self._at_end = False

    def connection_made(self, transport: Any) -> None:
        if self.transport is not None:
            return  # the encrypted one: some loops tell
        self.transport = transport
        self._peer = transport.get_extra_info("peername")  # uvloop raises once it is closed
        self._factory.arrive(self, other_end(transport, self._announced))
        if transport.is_closing():
            return  # it is one too many
        loop = asyncio.get_running_loop()
        if self._silent_since is None:
            self._silent_since = loop.time()
        loop.call_soon(self._begin, self._silent_since)

    def _begin(self, silent_since: float) -> None:
        if self.transport.is_closing():
            return
        loop = asyncio.get_running_loop()
        patience = self._factory.openHandshakeTimeout or _LONGEST_HANDSHAKE
        upgrade = loop.start_tls(
            self.transport,
            self,
            self._context,
            server_side=True,
            ssl_handshake_timeout=max(_SHORTEST, patience - (loop.time() - silent_since)),
            ssl_shutdown_timeout=_LONGEST_END,
        )
        # Its first step is made here: uvloop reads as soon as this returns, paused or not, and TLS has to get it all.
        begun = Begun(upgrade, upgrade.send(None))
        self._begun = True
        early, self._early = self._early, []
        self.begin_with(b"".join(early))
        self._factory.hooks.keep(self._open(begun))

    def begin_with(self, data: bytes) -> None:
        """Let TLS have bytes that somebody else has read."""
        if self.transport.is_closing():
            return
        if not self._begun:
            self._early.append(data)
            return
        below = self.transport.get_protocol()  # TLS's own
        while data:
            buffer = below.get_buffer(len(data))
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            below.buffer_updated(size)
            data = data[size:]

    def data_received(self, data: bytes) -> None:
        self._early.append(data)

    def eof_received(self) -> bool:
        self._at_end = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._factory.admissions.release(self)

    async def _open(self, upgrade: Awaitable[Any]) -> None:
        raw = self.transport
        try:
            transport = await upgrade
        except (OSError, asyncio.CancelledError) as exc:  # ssl.SSLError, a reset, a time-out: nobody to tell
            peer = self._announced and self._announced.peer
            logger.debug("%s: no TLS handshake: %s", peer or self._peer, exc)
            self._factory.admissions.release(self)
            raw.abort()
            return
        if transport is None or transport.is_closing() or not self._factory.accepts:
            self._factory.admissions.release(self)
            raw.abort()
            return
        self._hand_over(transport, raw)

    def _hand_over(self, transport: Any, raw: Any) -> None:
        protocol: Any = self._factory()
        protocol._raw = raw
        protocol._announced = self._announced
        self._factory.admissions.hand_over(self, protocol)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol._silent_since = self._silent_since
        for data in self._early:
            transport.get_protocol().data_received(data)  # the first may have another protocol take over
        if self._at_end and not transport.get_protocol().eof_received():
            transport.close()
