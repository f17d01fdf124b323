"""The head of an opening request → may its client connect: path, host, origin, limits, middlewares, `on_connect`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aiorest_ws.connection.asking import Asking
from aiorest_ws.connection.autobahn import AutobahnConnection
from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.http.head import Handshake, client_address
from aiorest_ws.http.proxy_protocol import other_end
from aiorest_ws.logs.throttled import path_of, printable

if TYPE_CHECKING:
    from aiorest_ws.connection.listener import Listener

__all__ = ("Gate",)


class Gate(Asking, AutobahnConnection):
    """The part of a connection that decides whether it comes to be."""

    factory: Listener
    served_path: str | None = None  # to this connection, None for that of the factory

    def _check_handshake(self, handshake: Handshake) -> None:
        """Refuse a path that is not served before anything else, then other people's pages, then what is too much."""
        factory = self.factory
        if not factory.serves(handshake.path, self.served_path):
            served = f"the path that is served is {printable(self.served_path or factory.served_path)!r}"
            if not handshake.header("upgrade"):
                served += ", for WebSockets; plain HTTP wants the option http (--http)"
            elif getattr(factory.http, "beside", None) is not None:
                served += "; WebSockets of the app that is `http` want it as the host: mount app.asgi() in it"
            factory.misses.write(logging.INFO, f"{self.peer}: no path {path_of(handshake.path)!r}, {served}")
            raise ConnectionRefused(404)
        super()._check_handshake(handshake)
        proxies = self.trustXForwardedFor
        self._check_page(handshake, proxies)
        address = client_address(handshake, proxies) or other_end(self.transport, self._announced)
        factory.admissions.admit(self, address, factory.limits)

    def _subprotocol(self) -> str | None:
        if not self.factory.subprotocols:
            return self._agreed
        offered = self.websocket_protocols
        return next((name for name in self.factory.subprotocols if name in offered), self._agreed)

    def _asks(self) -> bool:
        return self.factory.on_connect is not None or bool(self.factory.gatekeepers) or super()._asks()

    async def _ask(self) -> Any:
        await self._ask_application()
        return self._subprotocol() if self._early_close is not None else await super()._ask()
