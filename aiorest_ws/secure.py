"""An accepted connection and a TLS context → the protocol of the factory, once the TLS handshake is done.

asyncio and uvloop would make the handshake before anybody hears of the connection: it could not be counted, dropped
when the server stops, or told from one that is silent behind its end.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import Begun

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from ssl import SSLContext

    from aiorest_ws.factory import RequestHandlerFactory

__all__ = ("SecureDoor",)

logger = logging.getLogger("aiorest_ws")

_LONGEST_HANDSHAKE = 60.0  # seconds, where the option handshake_timeout is off
_LONGEST_END = 3600.0  # seconds; whether the client still takes what it is sent, the watch knows better


class SecureDoor(asyncio.Protocol):
    """Does the TLS handshake of one connection, and keeps what arrives until its protocol can take it."""

    def __init__(self, factory: RequestHandlerFactory, context: SSLContext) -> None:
        self.transport: Any = None
        self._factory = factory
        self._context = context
        self._early: list[bytes] = []
        self._at_end = False

    def connection_made(self, transport: Any) -> None:
        if self.transport is not None:
            return  # the encrypted one: some loops tell
        self.transport = transport
        self._factory.arrive(self, transport)
        if transport.is_closing():
            return  # it is one too many
        loop = asyncio.get_running_loop()
        upgrade = loop.start_tls(
            transport,
            self,
            self._context,
            server_side=True,
            ssl_handshake_timeout=self._factory.openHandshakeTimeout or _LONGEST_HANDSHAKE,
            ssl_shutdown_timeout=_LONGEST_END,
        )
        # Its first step is made here: uvloop reads as soon as this returns, paused or not, and TLS has to get it all.
        begun = Begun(upgrade, upgrade.send(None))
        self._factory.hooks.keep(self._open(begun, loop.time()))

    def data_received(self, data: bytes) -> None:
        self._early.append(data)

    def eof_received(self) -> bool:
        self._at_end = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._factory.admissions.release(self)

    async def _open(self, upgrade: Awaitable[Any], began: float) -> None:
        raw = self.transport
        try:
            transport = await upgrade
        except (OSError, asyncio.CancelledError) as exc:  # ssl.SSLError, a reset, a time-out: nobody to tell
            logger.debug("%s: no TLS handshake: %s", raw.get_extra_info("peername"), exc)
            self._factory.admissions.release(self)
            raw.abort()
            return
        if transport is None or transport.is_closing() or self._factory.stopping:
            self._factory.admissions.release(self)
            raw.abort()
            return
        self._hand_over(transport, raw, began)

    def _hand_over(self, transport: Any, raw: Any, began: float) -> None:
        protocol: Any = self._factory()
        protocol._raw = raw
        self._factory.admissions.hand_over(self, protocol)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol._silent_since = began
        for data in self._early:
            protocol.data_received(data)
        if self._at_end and not protocol.eof_received():
            transport.close()
