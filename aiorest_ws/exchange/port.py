"""The plain HTTP of our own port: which connections it takes, and who answers on them."""

from __future__ import annotations

import asyncio
import logging
import time
from email.utils import formatdate
from typing import Any

from uvicorn.config import Config

from aiorest_ws.callables.failures import PASSED_ON
from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.exchange.beside import STATE
from aiorest_ws.exchange.connection import handshake_below
from aiorest_ws.exchange.door import Exchange
from aiorest_ws.exchange.line import Line
from aiorest_ws.exchange.replies import refused
from aiorest_ws.http.head import check_plain, client_address, client_scheme
from aiorest_ws.http.proxy_protocol import other_end
from aiorest_ws.http.scopes import is_below

__all__ = ("Port",)


class Port:
    """Takes over what asks for no WebSocket.

    exchange    answers requests with our routes
    beside      an ASGI app that answers all others, or None
    prefix      where it is not asked: below this path, if any
    """

    def __init__(self, factory: Any, exchange: Exchange, beside: Any = None, prefix: str = "") -> None:
        self.factory = factory
        self.exchange = exchange
        self.beside = beside
        self.prefix = prefix
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

    @property
    def app_state(self) -> dict[str, Any]:
        """What the lifespan of the app beside us has put into its state."""
        return getattr(self.factory.app, STATE, None) or {}

    def is_ours(self, scope: Any) -> bool:
        """Tell whether a request is for our routes."""
        return self.beside is None or self._is_health(scope) or self._is_below(scope)

    def _is_health(self, scope: Any) -> bool:
        path = self.factory.health_path
        return path is not None and scope["raw_path"] == path.encode()

    def _is_below(self, scope: Any) -> bool:
        return bool(self.prefix) and is_below(scope["raw_path"], self.prefix)

    async def answer(self, cycle: Any, line: Line) -> None:
        """Answer one request."""
        scope = cycle.scope
        if not cycle.is_ours:
            await self._answer_beside(cycle, line)
            return
        if self.prefix and not self._is_health(scope):
            scope["root_path"] = self.prefix
            cycle.handshake = handshake_below(cycle.handshake, self.prefix)
        try:
            await self.exchange.serve(scope, cycle.receive, cycle.send, line)
        except PASSED_ON:
            raise
        except Exception as exc:  # nothing that can be told to the client any more
            self.factory.failures.write(logging.ERROR, f"{line.peer}: cannot answer over HTTP", exc)
            line.close()

    async def _answer_beside(self, cycle: Any, line: Line) -> None:
        """Let the other app answer, told who asks as trusted proxies say."""
        scope, handshake, proxies = cycle.scope, cycle.handshake, self.factory.trustXForwardedFor
        if not self.factory.hosts.allow(handshake.host, of_page=bool(handshake.host)):
            await self.exchange.say(refused(ConnectionRefused(403), 0), scope, cycle.receive, cycle.send, line)
            return
        if proxies:
            address = client_address(handshake, proxies)
            scope["client"] = scope["client"] if address is None else (address, 0)
            scope["scheme"] = client_scheme(handshake, proxies) or scope["scheme"]
        await cycle.run_asgi(self.beside)


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
