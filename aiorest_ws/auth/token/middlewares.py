"""A request, or a handshake, with a token → `request.user` and `request.token_payload`, or status 401."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Generator
from functools import partial
from typing import Any

from autobahn.websocket.types import ConnectionDeny

from aiorest_ws._speedups.trampoline import begin, drive
from aiorest_ws.abstract import AbstractMiddleware
from aiorest_ws.auth.token.budget import Budgets, TooManyBadTokens, address_of
from aiorest_ws.auth.token.credentials import Credentials
from aiorest_ws.auth.token.exceptions import (
    BaseTokenException,
    ParsingTokenException,
    TokenExpiredException,
    TokenNotProvidedException,
    TokenRevokedException,
)
from aiorest_ws.auth.token.managers import JSONWebTokenManager
from aiorest_ws.auth.token.offers import agreed_on, end, offered, refusal
from aiorest_ws.auth.token.wallet import Wallet, wallet_of
from aiorest_ws.auth.user.models import User
from aiorest_ws.callables.calls import finished, is_awaitable
from aiorest_ws.callables.spelling import check_names
from aiorest_ws.exceptions import BaseAPIException, ConnectionRefused, HandlerFailed, HTTPError
from aiorest_ws.http.head import is_token
from aiorest_ws.logs.throttled import Complaints
from aiorest_ws.status import WS_MESSAGE_VIOLATE_POLICY

__all__ = ("BaseTokenMiddleware", "JSONWebTokenMiddleware")

logger = logging.getLogger("aiorest_ws.auth")

_FAILURES, _FAILURES_PER_SECOND = 200, 20.0  # of one address
_ABUSE = 100  # tokens that nobody looks at any more, until the connection is closed
_HOOKS = ("authenticate", "get_user", "init_credentials", "is_revoked")
_FOREIGN_FOR = 10.0  # seconds that a token which was another's is not looked at again


class BaseTokenMiddleware(AbstractMiddleware):
    """Base of middlewares that know users by tokens.

    Several are asked in order. What is not for this one it leaves to the next, by raising an exception of
    `auth.token.exceptions` that says so, or by leaving `request.user` anonymous.
    """

    authenticates = True
    reads_tokens = True

    def init_credentials(self, request: Any) -> None:
        """Make `request` anonymous."""
        request.user = User()
        request.token_payload = None

    def authenticate(self, request: Any, handler: Any) -> Awaitable[None] | None:
        """Find out who asks, or raise one of `auth.token.exceptions`."""
        raise NotImplementedError

    def process_request(self, request: Any, handler: Any) -> Awaitable[None] | None:
        self.init_credentials(request)
        return self.authenticate(request, handler)


class JSONWebTokenMiddleware(BaseTokenMiddleware):
    """Knows users by JSON Web Tokens. They come

    - with a message, as its key `token`, and are good for that message;
    - with the handshake: as header `Authorization: Bearer TOKEN`, as `Sec-WebSocket-Protocol: bearer, TOKEN`, or as the
      cookie that `cookie` names. They are good for every message until they expire. A message may bring a new one,
      which takes their place if it is for the same subject, or if they have expired. Without, the connection is closed
      with 4401 after `grace` seconds.

    A token is verified once a connection, and remembered until it expires, with seven others. Those that are not valid
    are counted, by connection and by address: beyond 10 (200) at once, and 1 (20) a second, none is looked at, status
    429, and who goes on is closed with 1008.

    manager      a JSONWebTokenManager, or a class of them
    cookie       name of the cookie, None to look at none
    grace        seconds
    refuse       what a handshake with a token that is not valid gets: "http" the HTTP status, or "close", for browsers,
                 which see no status: it is accepted, and closed with 4000 and the status, and the reason
    user_model   what makes a user who is anonymous, and one who is not: see `get_user`
    """

    manager: Any = JSONWebTokenManager
    user_model: Any = User
    cookie: str | None = None
    grace: float = 30.0
    refuse: str = "http"
    _may_revoke = False

    def __init__(
        self,
        manager: Any = None,
        *,
        cookie: str | None = None,
        grace: float | None = None,
        refuse: str | None = None,
    ) -> None:
        manager = self.manager if manager is None else manager
        if isinstance(manager, (str, bytes)):
            raise TypeError("manager must be a JSONWebTokenManager(secret_key=…), got a text")  # it may be the secret
        self.manager = manager() if isinstance(manager, type) else manager
        if cookie is not None:
            self.cookie = cookie
        if grace is not None:
            self.grace = grace
        if refuse is not None:
            self.refuse = refuse
        if self.refuse not in ("http", "close"):
            raise ValueError(f"refuse must be 'http' or 'close', got {self.refuse!r}")
        if self.cookie is not None and not is_token(self.cookie):
            raise ValueError(f"cookie must be the name of one, got {self.cookie!r}")
        self._clock = self.manager.clock  # PERF: looked at for every message; `manager.now` would be a call more
        self._failures = Budgets(_FAILURES, _FAILURES_PER_SECOND)
        self._complaints = Complaints(logger)
        # Known from the start, so that a message costs nothing for a hook that is not there.
        self._may_revoke = self._may_revoke or type(self).is_revoked is not JSONWebTokenMiddleware.is_revoked
        check_names(type(self), JSONWebTokenMiddleware, _HOOKS, callable)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "is_revoked":  # of one instance, as tests have it
            self._may_revoke = True

    # What an application may replace

    def get_user(self, payload: dict[str, Any]) -> Any:
        """Give the user whom a verified token names, once for a token and connection. Sync or async.

        None is nobody: TokenRevokedException.
        """
        return self.user_model(id=payload.get("sub"), username=payload.get("username", ""), is_user=True)

    def is_revoked(self, payload: dict[str, Any]) -> Any:
        """Tell whether a token that is valid was taken back. Sync or async; an override is asked for every message."""
        return False

    # Messages

    def init_credentials(self, request: Any) -> None:
        request.user = self.user_model()
        request.token_payload = None

    def process_request(self, request: Any, handler: Any) -> Awaitable[None] | None:
        # PERF: one call; the usual message needs neither an anonymous user nor a generator.
        connection = request.connection
        known: Credentials | None = None if connection is None else connection._credentials
        if known is not None:
            now = self._clock.time()
            if not self._may_revoke:
                if known.recall(request, self, now):
                    return None
            elif known.covers(request, self, now):
                steps = self._filled(request, handler, self._look_again(connection, known))
                again: Awaitable[None] | None = begin(steps)
                return again
        return self.authenticate(request, handler)

    def authenticate(self, request: Any, handler: Any) -> Awaitable[None] | None:
        token = request.get_extra("token")
        if token is None or token == "":
            self.init_credentials(request)
            self._refuse_unless_public(request.connection, handler)
            return None
        pending: Awaitable[None] | None = begin(self._filled(request, handler, self._credentials_of(request, token)))
        return pending

    def _filled(self, request: Any, handler: Any, steps: Generator[Any, Any, Credentials]) -> Generator[Any, Any, None]:
        """Say whose `request` is, or raise what it is answered with. An old token is as good as none, where none is."""
        try:
            credentials = yield from steps
        except TokenExpiredException:
            self.init_credentials(request)
            if _asks_for_user(handler):
                raise
        except (ConnectionRefused, ConnectionDeny) as exc:  # as it would be at the handshake
            self.init_credentials(request)
            raise HTTPError(exc.status if isinstance(exc, ConnectionRefused) else exc.code, exc.reason) from exc
        except BaseException:  # raised again, also when it is a cancellation
            self.init_credentials(request)
            raise
        else:
            credentials.fill(request)

    def _refuse_unless_public(self, connection: Any, handler: Any) -> None:
        """Let a request without a token pass as anonymous, where nothing asks who it is."""
        if _asks_for_user(handler):
            credentials = self._of(connection)
            if credentials is not None and credentials.lasting:
                raise credentials.fault()
            if getattr(handler, "auth_required", False):
                raise TokenNotProvidedException()

    # Tokens

    def _credentials_of(self, request: Any, token: Any) -> Generator[Any, Any, Credentials]:
        """Give what the token of a message proves, or raise; as `_prove`."""
        connection = request.connection
        if connection is None:
            return (yield from self._prove(token))
        wallet = wallet_of(connection)
        turn = wallet.turn()
        try:
            credentials = yield from self._looked_at(connection, wallet, token)
        except BaseTokenException as exc:
            if getattr(request, "_in_turn", False) and exc.leaves:  # it may be another's: whether it was is seen later
                exc.blame = partial(self._blame, connection, exc)
                self._leave(wallet, token, exc)
            else:
                self._blame(connection, exc)
            raise
        if request._live is None or not request._live.is_rerun:  # nobody has sent it now
            self._remember(connection, credentials, turn)
        return credentials

    def _looked_at(self, connection: Any, wallet: Wallet, token: Any) -> Generator[Any, Any, Credentials]:
        """Give what is known of `token`, or find out."""
        if type(token) is not str:
            raise ParsingTokenException()
        found = wallet.find(self, token)
        if found is not None and found.until > time.monotonic():
            if self.manager.now() >= found.ends:
                fault = found.fault()
                fault.was_known = found.fault is TokenExpiredException
                raise fault
            return (yield from self._look_again(connection, found)) if self._may_revoke else found
        self._check_budget(connection, wallet)
        try:
            credentials = yield from self._prove_once(wallet, token)
        except TokenExpiredException:
            wallet.keep(Credentials.void(self, token, TokenExpiredException))
            raise
        wallet.keep(credentials)
        return credentials

    def _prove_once(self, wallet: Wallet, token: str) -> Generator[Any, Any, Credentials]:
        """As `_prove`; those who come while it is found out wait for the first."""
        while (flight := wallet.flight(self, token)) is not None:
            credentials = yield flight.join()
            if credentials is not None:
                return credentials  # type: ignore[no-any-return]
        steps = self._prove(token)
        try:
            pending = next(steps)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        credentials = yield wallet.begin(self, token, drive(steps, pending)).join()
        if credentials is None:
            raise HandlerFailed()  # it was cancelled, and not by who asked
        return credentials  # type: ignore[no-any-return]

    def _prove(self, token: Any) -> Generator[Any, Any, Credentials]:
        """Give what `token` proves, or raise; yields each awaitable and takes its outcome back."""
        manager = self.manager
        payload = (yield manager.verify_later(token)) if manager.waits else manager.verify(token)
        ends = payload["exp"] + manager.leeway if "exp" in payload else float("inf")
        credentials = Credentials(self, token, payload, None, ends)
        if self._may_revoke:
            yield from self._check_revoked(credentials.claims())
        user = self.get_user(credentials.claims())
        if is_awaitable(user):
            user = yield finished(user)
        if user is None:
            raise TokenRevokedException()
        credentials.user = user
        return credentials

    def _look_again(self, connection: Any, credentials: Credentials) -> Generator[Any, Any, Credentials]:
        """Give what the connection is remembered for, unless it was revoked since."""
        try:
            yield from self._check_revoked(credentials.claims())
        except TokenRevokedException:
            self._forget(connection, credentials)
            raise
        return credentials

    def _check_revoked(self, payload: dict[str, Any]) -> Generator[Any, Any, None]:
        revoked = self.is_revoked(payload)
        if is_awaitable(revoked):
            revoked = yield finished(revoked)
        if revoked:
            raise TokenRevokedException()

    # Those that are not valid

    def _check_budget(self, connection: Any, wallet: Wallet) -> None:
        """Look at no more tokens of a client that has sent too many."""
        address = address_of(str(connection.peer))
        if not wallet.failures.is_spent and (address is None or not self._failures.is_spent(address)):
            wallet.refused = 0
            return
        wallet.refused += 1
        if wallet.refused > _ABUSE:
            connection.close(WS_MESSAGE_VIOLATE_POLICY, "too many tokens that are not valid")
        raise TooManyBadTokens()

    def _blame(self, connection: Any, exc: BaseTokenException) -> None:
        """Take note of a token that is refused: who sent it pays, and one who looks at the log sees why."""
        self._complaints.write(logging.INFO, f"{connection.peer}: token refused: {type(exc).__name__}, {exc}")
        wallet = wallet_of(connection)
        if exc.was_known or isinstance(exc, TokenRevokedException):
            return
        wallet.failures.spend()
        address = address_of(str(connection.peer))
        if address is not None:
            self._failures.spend(address)

    def _leave(self, wallet: Wallet, token: Any, exc: BaseTokenException) -> None:
        """Remember for a while that `token` is not for us, so that another's is not looked at for each message."""
        if type(token) is str and wallet.find(self, token) is None:
            nothing = Credentials.void(self, token, type(exc))
            nothing.until = time.monotonic() + _FOREIGN_FOR
            wallet.keep(nothing)

    # What a connection is remembered for

    def _of(self, connection: Any) -> Credentials | None:
        credentials: Credentials | None = None if connection is None else connection._credentials
        return credentials if credentials is not None and credentials.owner is self else None

    def _remember(self, connection: Any, credentials: Credentials, turn: int, *, lasting: bool = False) -> None:
        """Let `credentials` count for messages without a token, too, if they came so, or take the place of such ones.

        The newest request wins, however long it took to find out whose it is.
        """
        old = connection._credentials
        if connection.state == connection.STATE_CLOSED:
            return
        if old is not None and old.lasting:
            if old.owner is not self or old.turn > turn:
                return
            if self.manager.now() < old.ends and not credentials.renews(old):
                return
            lasting = True
            old.drop()
            old.lasting = False
            wallet_of(connection).keep(old)
        credentials.turn = turn
        credentials.lasting = lasting
        connection._credentials = credentials
        if lasting:
            self._watch(connection, credentials)
        if connection._live is not None:
            connection._live.renewed()

    def _forget(self, connection: Any, credentials: Credentials) -> None:
        """Let credentials end before their time."""
        credentials.drop()
        credentials.fault = TokenRevokedException
        credentials.ends = min(credentials.ends, self.manager.now())
        wallet_of(connection).forget(credentials)
        if credentials.lasting and connection._credentials is credentials:
            self._watch(connection, credentials)

    def _watch(self, connection: Any, credentials: Credentials) -> None:
        credentials.watch(self.manager.now, self.grace, lambda: end(connection, credentials.fault.default_detail))

    # The handshake

    def at_handshake(self, connection: Any) -> Any:
        """Verify the token that comes with the handshake of `connection`; give the subprotocol to agree on, or None.

        Raises ConnectionRefused, HTTP 401, for a token that is not valid.
        """
        return begin(self._welcome(connection))

    def _welcome(self, connection: Any) -> Generator[Any, Any, str | None]:
        tokens = offered(connection, self.cookie)
        if not tokens:
            return None
        try:
            credentials = yield from self._first_of(connection, tokens)
        except (BaseAPIException, ConnectionRefused) as exc:
            connection._agreed = connection._agreed or agreed_on(connection)  # it may be closed, not refused
            raise refusal(exc, self.refuse) from exc
        self._remember(connection, credentials, 0, lasting=True)
        return agreed_on(connection)

    def _first_of(self, connection: Any, tokens: list[str]) -> Generator[Any, Any, Credentials]:
        """Give what the first token that is valid proves, or raise what is wrong with the first."""
        first: BaseTokenException | None = None
        for token in tokens:
            try:
                self._check_budget(connection, wallet_of(connection))
                return (yield from self._prove(token))
            except BaseTokenException as exc:
                exc.blame = partial(self._blame, connection, exc)
                first = first or exc
        assert first is not None
        raise first


def _asks_for_user(handler: Any) -> bool:
    return bool(getattr(handler, "auth_required", False) or getattr(handler, "permission_classes", ()))
