"""A request, or a handshake, with a token → `request.user` and `request.token_payload`, or status 401."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from itertools import pairwise
from typing import Any

from aiorest_ws.abstract import AbstractMiddleware
from aiorest_ws.auth.token.credentials import Credentials
from aiorest_ws.auth.token.exceptions import (
    BaseTokenException,
    TokenNotProvidedException,
    TokenRevokedException,
)
from aiorest_ws.auth.token.managers import JSONWebTokenManager
from aiorest_ws.auth.user.models import User
from aiorest_ws.calls import finished, is_awaitable
from aiorest_ws.exceptions import BaseAPIException, ConnectionRefused
from aiorest_ws.handshake import is_token

__all__ = ("BaseTokenMiddleware", "JSONWebTokenMiddleware")

_EXPIRED = 4401  # close code: 4000 and the status
_SUBPROTOCOL = "bearer"
_REFUSED = (("WWW-Authenticate", 'Bearer error="invalid_token"'),)  # RFC 6750 §3


class BaseTokenMiddleware(AbstractMiddleware):
    """Base of middlewares that know users by tokens."""

    authenticates = True

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
      cookie that `cookie` names. They are good for every message until they expire; then a message may bring a new one,
      which takes their place. Without, the connection is closed with 4401 after `grace` seconds.

    A token is verified once a connection, and remembered until it expires.

    manager      a JSONWebTokenManager, or a class of them
    cookie       name of the cookie, None to look at none
    grace        seconds
    user_model   what makes a user who is anonymous, and one who is not: see `get_user`
    """

    manager: Any = JSONWebTokenManager
    user_model: Any = User
    cookie: str | None = None
    grace: float = 30.0

    def __init__(self, manager: Any = None, *, cookie: str | None = None, grace: float | None = None) -> None:
        manager = self.manager if manager is None else manager
        self.manager = manager() if isinstance(manager, type) else manager
        if cookie is not None:
            self.cookie = cookie
        if grace is not None:
            self.grace = grace
        if self.cookie is not None and not is_token(self.cookie):
            raise ValueError(f"cookie must be the name of one, got {self.cookie!r}")
        self._clock = self.manager.clock  # PERF: looked at for every message; `manager.now` would be a call more
        # Known from the start, so that a message costs nothing for a hook that is not there.
        self._may_revoke = type(self).is_revoked is not JSONWebTokenMiddleware.is_revoked

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
                self.init_credentials(request)
                again: Awaitable[None] | None = _run(self._look_again(request, known))
                return again
        return self.authenticate(request, handler)

    def authenticate(self, request: Any, handler: Any) -> Awaitable[None] | None:
        token = request.get_extra("token")
        if token is None or token == "":
            self.init_credentials(request)
            self._refuse_unless_public(request.connection, handler)
            return None
        pending: Awaitable[None] | None = _run(self._authenticate(request, token))
        return pending

    def _authenticate(self, request: Any, token: Any) -> Generator[Any, Any, None]:
        try:
            credentials = yield from self._prove(token)
        except BaseException:  # raised again, also when it is a cancellation
            self.init_credentials(request)
            raise
        if request.connection is not None:
            self._remember(request.connection, credentials)
        credentials.fill(request)

    def _look_again(self, request: Any, credentials: Credentials) -> Generator[Any, Any, None]:
        """Take what the connection is remembered for, unless it was revoked since."""
        try:
            yield from self._check_revoked(credentials.claims())
        except TokenRevokedException:
            self._forget(request.connection, credentials)
            raise
        credentials.fill(request)

    def _refuse_unless_public(self, connection: Any, handler: Any) -> None:
        """Let a request without a token pass as anonymous, where nothing asks who it is."""
        required = getattr(handler, "auth_required", False)
        if required or getattr(handler, "permission_classes", ()):
            credentials = self._of(connection)
            if credentials is not None and credentials.lasting:
                raise credentials.fault()
            if required:
                raise TokenNotProvidedException()

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

    def _check_revoked(self, payload: dict[str, Any]) -> Generator[Any, Any, None]:
        revoked = self.is_revoked(payload)
        if is_awaitable(revoked):
            revoked = yield finished(revoked)
        if revoked:
            raise TokenRevokedException()

    # What a connection is remembered for

    def _of(self, connection: Any) -> Credentials | None:
        credentials: Credentials | None = None if connection is None else connection._credentials
        return credentials if credentials is not None and credentials.owner is self else None

    def _remember(self, connection: Any, credentials: Credentials, *, lasting: bool = False) -> None:
        old = connection._credentials
        if connection.state == connection.STATE_CLOSED or (old is not None and old.lasting and old.owner is not self):
            return
        credentials.lasting = lasting or (old is not None and old.lasting)
        if old is not None:
            old.drop()
        connection._credentials = credentials
        if credentials.lasting:
            self._watch(connection, credentials)

    def _forget(self, connection: Any, credentials: Credentials) -> None:
        """Let credentials end before their time."""
        credentials.drop()
        credentials.fault = TokenRevokedException
        credentials.ends = min(credentials.ends, self.manager.now())
        if credentials.lasting and connection._credentials is credentials:
            self._watch(connection, credentials)

    def _watch(self, connection: Any, credentials: Credentials) -> None:
        credentials.watch(self.manager.now, self.grace, lambda: _end(connection, credentials.fault.default_detail))

    # The handshake

    def at_handshake(self, connection: Any) -> Any:
        """Verify the token that comes with the handshake of `connection`; give the subprotocol to agree on, or None.

        Raises ConnectionRefused, HTTP 401, for a token that is not valid.
        """
        return _run(self._welcome(connection))

    def _welcome(self, connection: Any) -> Generator[Any, Any, str | None]:
        offered = connection.websocket_protocols
        as_subprotocol = _after(offered, _SUBPROTOCOL)
        token = _bearer(connection.headers.get("authorization", ""))
        if token is None:
            token = as_subprotocol
        if token is None and self.cookie is not None:
            token = connection.cookies.get(self.cookie) or None  # empty is how it is taken back
        if token is None:
            return None
        try:
            credentials = yield from self._prove(token)
        except BaseAPIException as exc:
            raise _refusal(exc) from exc
        self._remember(connection, credentials, lasting=True)
        return None if as_subprotocol is None else _SUBPROTOCOL


def _end(connection: Any, why: str) -> None:
    if connection.state == connection.STATE_CONNECTING:
        connection.failHandshake(why, 401, _REFUSED)
    else:
        connection.close(_EXPIRED, why)


def _refusal(exc: BaseAPIException) -> ConnectionRefused:
    """Give what answers a handshake where `exc` would answer a message."""
    headers = _REFUSED if isinstance(exc, BaseTokenException) else ()
    retry_after = getattr(exc, "retry_after", None)
    if retry_after is not None:
        headers = (*headers, ("Retry-After", str(retry_after)))
    status = exc.status if isinstance(exc.status, int) and 400 <= exc.status <= 599 else 500
    return ConnectionRefused(int(status), str(exc.detail), headers=headers)


def _bearer(header: str) -> str | None:
    """Give the token of a header Authorization (RFC 6750 §2.1), None for another scheme."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _after(names: list[str], name: str) -> str | None:
    """Give what comes directly behind `name`."""
    return dict(pairwise(names)).get(name)


def _run(steps: Generator[Any, Any, Any]) -> Any:
    """Give what `steps` return, or an awaitable of it as soon as there is something to wait for."""
    try:
        pending = next(steps)
    except StopIteration as stop:
        return stop.value
    return _finish(steps, pending)


async def _finish(steps: Generator[Any, Any, Any], pending: Any) -> Any:
    try:
        while True:
            try:
                outcome = await pending
            except Exception as exc:
                pending = steps.throw(exc)
            else:
                pending = steps.send(outcome)
    except StopIteration as stop:
        return stop.value
