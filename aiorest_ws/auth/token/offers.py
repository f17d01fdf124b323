"""A handshake → the tokens that came with it, and what answers it: a subprotocol to agree on, or a refusal."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from aiorest_ws.auth.token.exceptions import BaseTokenException
from aiorest_ws.exceptions import BaseAPIException, ConnectionRefused
from aiorest_ws.http.head import bearer

__all__ = ("INVALID_TOKEN", "SUBPROTOCOL", "agreed_on", "end", "offered", "refusal")

SUBPROTOCOL = "bearer"
INVALID_TOKEN = (("WWW-Authenticate", 'Bearer error="invalid_token"'),)  # RFC 6750 §3
_EXPIRED = 4401  # close code: 4000 and the status
_MOST_COOKIES = 4  # of one name, that are looked at


def offered(connection: Any, cookie: str | None) -> list[str]:
    """Give the tokens of a handshake. Several are cookies of one name: an old one may be left beside a new one.

    What names a token explicitly wins, first the header, then the subprotocol: a browser sends cookies by itself.
    """
    token = bearer(connection.headers.get("authorization", ""))
    if token is None:
        token = _after(connection.websocket_protocols, SUBPROTOCOL)
    if token is not None:
        return [token]
    if cookie is None:
        return []
    values = connection._handshake.cookies_named(cookie)
    return [value for value in dict.fromkeys(values) if value][:_MOST_COOKIES]  # empty is how it is taken back


def agreed_on(connection: Any) -> str | None:
    """Give the subprotocol that a client which offers a token as one has to hear."""
    return None if _after(connection.websocket_protocols, SUBPROTOCOL) is None else SUBPROTOCOL


def refusal(exc: BaseAPIException | ConnectionRefused, refuse: str) -> ConnectionRefused:
    """Give what answers a handshake where `exc` would answer a message."""
    if isinstance(exc, ConnectionRefused):
        close = 4000 + exc.status if refuse == "close" and exc.close is None else exc.close
        return ConnectionRefused(exc.status, exc.reason, headers=exc.headers, close=close)
    headers = INVALID_TOKEN if isinstance(exc, BaseTokenException) else ()
    retry_after = getattr(exc, "retry_after", None)
    if retry_after is not None:
        headers = (*headers, ("Retry-After", str(retry_after)))
    status = exc.status if isinstance(exc.status, int) and 400 <= exc.status <= 599 else 500
    close = 4000 + status if refuse == "close" else None
    return ConnectionRefused(int(status), str(exc.detail), headers=headers, close=close)


def _after(names: list[str], name: str) -> str | None:
    """Give what comes directly behind `name`."""
    return dict(pairwise(names)).get(name)


def end(connection: Any, why: str) -> None:
    """End a connection whose token has ended, for the reason `why`."""
    if connection.state == connection.STATE_CONNECTING:
        connection.failHandshake(why, 401, INVALID_TOKEN)
    else:
        connection.close(_EXPIRED, why)
