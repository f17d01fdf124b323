"""A handshake → the tokens that came with it, and the subprotocol to agree on."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

__all__ = ("SUBPROTOCOL", "agreed_on", "offered")

SUBPROTOCOL = "bearer"
_MOST_COOKIES = 4  # of one name, that are looked at


def offered(connection: Any, cookie: str | None) -> list[str]:
    """Give the tokens of a handshake. Several are cookies of one name: an old one may be left beside a new one.

    What names a token explicitly wins, first the header, then the subprotocol: a browser sends cookies by itself.
    """
    token = _bearer(connection.headers.get("authorization", ""))
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


def _bearer(header: str) -> str | None:
    """Give the token of a header Authorization (RFC 6750 §2.1), None for another scheme."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _after(names: list[str], name: str) -> str | None:
    """Give what comes directly behind `name`."""
    return dict(pairwise(names)).get(name)
