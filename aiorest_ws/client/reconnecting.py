"""How often in a row it went wrong → how long to wait; what a server said → whether to come back at all."""

from __future__ import annotations

import random
from collections.abc import Callable

from aiorest_ws.client.errors import ConnectionLost, HandshakeRefused

__all__ = ("LONG_LIFE", "Backoff", "is_final", "is_refused_token")

LONG_LIFE = 30.0  # seconds after which a connection, or a subscription, was a good one
_MOST_DOUBLINGS = 16
_LONGEST = 600.0  # seconds that a server may have to be waited for besides
_TOKEN_EXPIRED = 4401
_POLICY = 1008
_FOR_LATER = (408, 425, 429)


class Backoff:
    """Full jitter: a part of a bound that doubles, all of it equally likely.

    least, most    seconds of the first bound, and of the last
    """

    __slots__ = ("_jitter", "_least", "_most", "failures")

    def __init__(self, least: float, most: float, jitter: Callable[[float, float], float] = random.uniform) -> None:
        self._least, self._most, self._jitter = least, most, jitter
        self.failures = 0  # in a row

    def after(self, life: float, retry: float | None = None) -> float:
        """Give the seconds to wait after one that lived so long; `retry` is what the server asks for besides."""
        if life >= LONG_LIFE:
            self.failures = 0
        bound = min(self._most, self._least * 2.0 ** min(self.failures, _MOST_DOUBLINGS))
        self.failures += 1
        return self._jitter(0.0, bound) + min(retry or 0.0, _LONGEST)


def is_refused_token(exc: ConnectionLost) -> bool:
    """Tell whether a connection ended for its token, so that another one may help."""
    return exc.code == _TOKEN_EXPIRED or (isinstance(exc, HandshakeRefused) and exc.status == 401)


def is_final(exc: ConnectionLost, *, was_open: bool) -> bool:
    """Tell whether to come back would end likewise.

    A 404 and the like is for good at first only: what stands before a server says so, too, while that is replaced.
    """
    if isinstance(exc, HandshakeRefused):
        if exc.status in (401, 403):
            return True
        return not was_open and exc.status < 500 and exc.status not in _FOR_LATER
    if exc.code is not None and 4400 <= exc.code <= 4499:
        return exc.code - 4000 not in _FOR_LATER
    return exc.code == _POLICY
