"""The head of an opening request → may its client connect: path, host, origin, limits, middlewares, `on_connect`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from aiorest_ws.callables.calls import call
from aiorest_ws.connection.autobahn import AutobahnConnection
from aiorest_ws.exceptions import BaseAPIException, ConnectionRefused
from aiorest_ws.http.head import Handshake, client_address, client_scheme
from aiorest_ws.http.proxy_protocol import other_end
from aiorest_ws.logs.throttled import path_of, printable

if TYPE_CHECKING:
    from aiorest_ws.connection.listener import Listener

__all__ = ("Gate",)


class Gate(AutobahnConnection):
    """The part of a connection that decides whether it comes to be."""

    factory: Listener
    _credentials: Any = None  # what a middleware knows of the client: it has a method `drop`
    _agreed: str | None = None  # a subprotocol that a middleware asks for

    def _check_handshake(self, handshake: Handshake) -> None:
        """Refuse a path that is not served before anything else, then other people's pages, then what is too much."""
        factory = self.factory
        if not factory.serves(handshake.path):
            served = f"the path that is served is {printable(factory.served_path)!r}"
            factory.misses.write(logging.INFO, f"{self.peer}: no path {path_of(handshake.path)!r}, {served}")
            raise ConnectionRefused(404)
        super()._check_handshake(handshake)
        origin = handshake.origin
        proxies = self.trustXForwardedFor
        if not factory.hosts.allow(handshake.host, of_page=origin is not None):
            self._refuse_page(f"who calls this server '{path_of(handshake.host)}'", "allowed_hosts")
        if origin is not None and not factory.origins.allow(
            origin, handshake.host, handshake.port, client_scheme(handshake, proxies)
        ):
            self._refuse_page(f"a page of origin '{path_of(origin)}'", "allowed_origins")
        address = client_address(handshake, proxies) or other_end(self.transport, self._announced)
        factory.admissions.admit(self, address, factory.limits)

    def _refuse_page(self, who: str, option: str) -> NoReturn:
        self._complained = True
        text = f"{self.peer}: {who} may not connect, unless the option {option} names it"
        self.factory.refusals.write(logging.WARNING, text)
        raise ConnectionRefused(403)

    def _subprotocol(self) -> str | None:
        if not self.factory.subprotocols:
            return self._agreed
        offered = self.websocket_protocols
        return next((name for name in self.factory.subprotocols if name in offered), self._agreed)

    def _asks(self) -> bool:
        return self.factory.on_connect is not None or bool(self.factory.gatekeepers) or super()._asks()

    async def _ask(self) -> Any:
        refused: ConnectionRefused | None = None
        for middleware in self.factory.gatekeepers:
            if self._credentials is not None and getattr(middleware, "authenticates", False):
                continue  # it is known who it is
            try:
                agreed = await _answer_of(middleware.at_handshake, self)
            except ConnectionRefused as exc:
                if not _leaves(exc):
                    raise _blamed(exc) from exc.__cause__
                refused = max(refused or exc, exc, key=_leaves)
                continue
            if agreed is not None and not isinstance(agreed, str):
                raise TypeError(f"at_handshake of {middleware!r} must give a subprotocol or None, got {agreed!r:.200}")
            self._agreed = self._agreed or agreed
            if self._early_close is not None:
                return self._subprotocol()
        if refused is not None and self._credentials is None:
            raise _blamed(refused) from refused.__cause__  # by all that could have known
        hook = self.factory.on_connect
        if hook is not None:
            answer = await _answer_of(hook, self)
            if answer is False:
                raise ConnectionRefused(403)
            if answer is not None and answer is not True:
                raise TypeError(
                    f"on_connect must give None, True or False, got {answer!r:.200}: raise ConnectionRefused to refuse"
                )
            if self._early_close is not None:
                return self._subprotocol()
        return await super()._ask()


def _leaves(refused: ConnectionRefused) -> int:
    """Tell whether the next who may know a client is asked, and how telling the refusal is otherwise."""
    return refused.__cause__.leaves if isinstance(refused.__cause__, BaseAPIException) else 0


def _blamed(refused: ConnectionRefused) -> ConnectionRefused:
    blame = getattr(refused.__cause__, "blame", None)
    if blame is not None:
        blame()
    return refused


async def _answer_of(hook: Callable[[Any], Any], connection: Gate) -> Any:
    """Give what a hook says of a connection, or raise the error that it gives."""
    answer = await call(hook, connection)
    if isinstance(answer, BaseException):
        raise answer
    return answer
