"""The plain HTTP of our own port: which connections it takes, and who answers on them."""

from __future__ import annotations

import asyncio
import logging
import time
from email.utils import formatdate
from typing import Any

from uvicorn.config import Config

from aiorest_ws.callables.failures import PASSED_ON
from aiorest_ws.exchange.door import Exchange
from aiorest_ws.exchange.line import Line
from aiorest_ws.http.head import check_plain, client_address
from aiorest_ws.http.proxy_protocol import other_end

__all__ = ("Port",)


class Port:
    """Takes over what asks for no WebSocket.

    exchange    answers requests with our routes
    """

    def __init__(self, factory: Any, exchange: Exchange) -> None:
        self.factory = factory
        self.exchange = exchange
        self.state: Any = _State()
        self.config = Config(
            _nobody, ws="none", interface="asgi3", lifespan="off", proxy_headers=False, log_config=None
        )
        self.config.load()

    def take_over(self, protocol: Any, head: bytes) -> None:
        """Let a connection that speaks HTTP have the transport of `protocol`. Raises ConnectionRefused."""
        factory, transport = self.factory, protocol.transport
        handshake = check_plain(head, factory.limits.max_headers)
        address = client_address(handshake, protocol.trustXForwardedFor) or other_end(transport, protocol._announced)
        line = Line(self, protocol)
        factory.admissions.hand_over(protocol, line)
        try:
            factory.admissions.admit(line, address, factory.limits)
        except BaseException:  # raised again
            factory.admissions.hand_over(line, protocol)
            raise
        rest, protocol.data = protocol.data, b""
        transport.set_protocol(line)
        line.connection_made(transport)
        protocol.given_away()
        line.data_received(head + rest)

    def cancels(self, cycle: Any) -> bool:
        """Tell whether what answers is to end with its client."""
        return True

    async def answer(self, cycle: Any, line: Line) -> None:
        """Answer one request."""
        try:
            await self.exchange.serve(cycle.scope, cycle.receive, cycle.send, line)
        except PASSED_ON:
            raise
        except Exception as exc:
            self.factory.failures.write(logging.ERROR, f"{line.peer}: cannot answer over HTTP", exc)
            line.close()


class _State:
    """What uvicorn has of a server."""

    def __init__(self) -> None:
        self.total_requests = 0
        self.connections: set[Any] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._at = 0
        self._headers: list[tuple[bytes, bytes]] = []

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        now = int(time.time())
        if now != self._at:
            self._at = now
            self._headers = [(b"server", b"aiorest-ws"), (b"date", formatdate(now, usegmt=True).encode())]
        return self._headers


async def _nobody(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("nobody is asked here")
