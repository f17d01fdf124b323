"""Whoever wants to connect → what the application says of it: middlewares that look at tokens, and `on_connect`.

There is one such way, for a WebSocket as for a request that came over HTTP.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl

from aiorest_ws.callables.calls import call
from aiorest_ws.connection.handshake import Derived, Memoised
from aiorest_ws.exceptions import BaseAPIException, ConnectionRefused
from aiorest_ws.http.head import Handshake, client_scheme
from aiorest_ws.logs.throttled import path_of

if TYPE_CHECKING:
    from aiorest_ws.connection.listener import Listener

__all__ = ("Asking",)


class Asking:
    """A client of whom the application has its say; what handlers and hooks may know of who it is.

    session, path, query, headers, cookies, user, scope, close_code, close_reason, close_was_clean    as
    `RequestHandlerProtocol` says
    """

    factory: Listener
    scope: Mapping[str, Any] | None = None
    close_code: int | None = None
    close_reason: str | None = None
    close_was_clean: bool | None = None
    _credentials: Any = None  # what a middleware knows of the client: it has a method `drop`
    _wallet: Any = None  # and what it knows of other tokens of it
    _agreed: str | None = None  # a subprotocol that a middleware asks for
    _early_close: tuple[int, str | None] | None
    _session: Any = None
    _complained = False
    peer: Any

    path = Derived(lambda asking: asking._handshake.path)
    query = Memoised(lambda asking: dict(parse_qsl(asking._handshake.query, keep_blank_values=True)))
    headers = Derived(lambda asking: asking._handshake.headers)
    cookies = Memoised(lambda asking: asking._handshake.cookies)
    user = Derived(lambda asking: asking._user())

    @property
    def session(self) -> Any:
        if self._session is None:
            self._session = {}
        return self._session

    @session.setter
    def session(self, session: Any) -> None:
        self._session = session

    def _user(self) -> Any:
        credentials = self._credentials
        return credentials.user if credentials is not None and credentials.lasting else None

    def _drop_credentials(self) -> None:
        if self._credentials is not None:
            self._credentials.drop()
        self._credentials = self._wallet = None

    def is_of(self, user: Any) -> bool:
        """Tell whether this connection is that of `user`: see `Application.connections_of`."""
        wanted, own = getattr(user, "id", user), getattr(self.user, "id", self.user)
        if wanted is None:
            raise TypeError(f"user must be a user who has an id, or the id of one, got {user!r}")
        if own is not None and (own == wanted or str(own) == str(wanted)):
            return True
        credentials = self._credentials
        sub = None if credentials is None or not credentials.lasting else credentials.payload.get("sub")
        return sub is not None and str(sub) == str(wanted)

    def _check_page(self, handshake: Handshake, proxies: int, *, may_be_page: bool = False) -> None:
        """Refuse who calls the server by a name that is not its own, and other people's pages.

        may_be_page    a page may have sent this without saying Origin, as browsers do with a GET of the page's own host
        """
        factory, origin = self.factory, handshake.origin
        if not factory.hosts.allow(handshake.host, of_page=may_be_page or origin is not None):
            self._refuse_page(f"who calls this server '{path_of(handshake.host)}'", "allowed_hosts")
        if origin is not None and not factory.origins.allow(
            origin, handshake.host, handshake.port, client_scheme(handshake, proxies)
        ):
            self._refuse_page(f"a page of origin '{path_of(origin)}'", "allowed_origins")

    def _refuse_page(self, who: str, option: str) -> NoReturn:
        self._complained = True
        text = f"{self.peer}: {who} may not connect, unless the option {option} names it"
        self.factory.refusals.write(logging.WARNING, text)
        raise ConnectionRefused(403)

    async def _ask_application(self) -> None:
        """Raise what the application refuses the client with. It may close the connection meanwhile: `_early_close`."""
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
                return
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


def _leaves(refused: ConnectionRefused) -> int:
    """Tell whether the next who may know a client is asked, and how telling the refusal is otherwise."""
    return refused.__cause__.leaves if isinstance(refused.__cause__, BaseAPIException) else 0


def _blamed(refused: ConnectionRefused) -> ConnectionRefused:
    blame = getattr(refused.__cause__, "blame", None)
    if blame is not None:
        blame()
    return refused


async def _answer_of(hook: Callable[[Any], Any], connection: Asking) -> Any:
    """Give what a hook says of a connection, or raise the error that it gives."""
    answer = await call(hook, connection)
    if isinstance(answer, BaseException):
        raise answer
    return answer
