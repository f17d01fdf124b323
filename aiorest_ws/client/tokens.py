"""A token, or a function that gives one → the token to send now, asked for anew before it expires."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ("Token", "TokenSource", "Tokens")

Token = str | None
TokenSource = Token | Callable[[], "Token | Awaitable[Token]"]

logger = logging.getLogger("aiorest_ws.client")

_LAST = 253402300800  # the beginning of the year 10000: no token has a later one, and NaN is not before it
_LONGEST = 86400.0  # seconds after which any token is asked for anew
_MARGIN = 30.0  # seconds before it expires, of a token that lives longer than twice as long


class Tokens:
    """The token of a client.

    value       what there is now
    subject     who that is of, as it says itself, unverified; None if it does not say so
    """

    def __init__(self, source: TokenSource, timeout: float) -> None:
        if source is not None and not isinstance(source, str) and not callable(source):
            raise TypeError(f"token must be a str, a function that gives one, or None, got {type(source).__name__}")
        self._source = source
        self._timeout = timeout
        self._asking: asyncio.Task[Token] | None = None
        self.value: Token = None
        self.subject: tuple[Any, Any] | None = None
        self.due: float | None = None  # time of the loop at which to ask for another
        if isinstance(source, str):
            self._take(source, 0.0)
            self.due = None

    @property
    def can_renew(self) -> bool:
        return callable(self._source)

    async def current(self) -> Token:
        """Give a token that is not about to expire. Raises what the function raises."""
        if not callable(self._source):
            return self.value
        if self.value is None or self.is_due():
            return await self.renewed()
        return self.value

    def is_due(self, at: float | None = None) -> bool:
        """Tell whether another one is to be asked for, now or `at` a time of the loop."""
        return self.due is not None and (asyncio.get_running_loop().time() if at is None else at) >= self.due

    async def renewed(self) -> Token:
        """Ask the function, once for all who want to know at the same time. Raises what it raises.

        One that is not `async` has its answer in this turn of the loop.
        """
        if self._asking is None:
            assert callable(self._source)
            try:
                token = self._source()
                if not inspect.isawaitable(token):
                    return self._taken(token)
            except Exception as exc:
                self._complain(exc)
                raise
            self._asking = asyncio.get_running_loop().create_task(self._ask(token))
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)

    async def _ask(self, token: Awaitable[Token]) -> Token:
        async with asyncio.timeout(self._timeout):
            return self._taken(await token)

    def _taken(self, token: Any) -> Token:
        if token is not None and not isinstance(token, str):
            raise TypeError(f"the function of token= must give a str or None, got {type(token).__name__}")
        self._take(token, asyncio.get_running_loop().time())
        return token

    def _asked(self, task: asyncio.Task[Token]) -> None:
        self._asking = None
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._complain(exc)

    def _complain(self, exc: BaseException) -> None:
        logger.warning("the function of token= raised %r", exc)

    def postpone(self, seconds: float) -> None:
        """Ask no sooner than after so many seconds: it has just failed."""
        self.due = asyncio.get_running_loop().time() + seconds

    def _take(self, token: Token, now: float) -> None:
        if token is not None and not (token.isascii() and token.isprintable()):
            raise ValueError("the token has characters that no token has")
        claims = claims_of(token)
        self.value = token
        subject = claims.get("iss"), claims.get("sub")
        self.subject = None if subject == (None, None) else subject
        life = _life_of(claims)
        # One that is over already, or seems so by a clock that is wrong, is used until the server refuses it.
        self.due = None if life is None or life <= 0 else now + (life - _MARGIN if life > 2 * _MARGIN else life / 2)

    def cancel(self) -> None:
        if self._asking is not None:
            self._asking.cancel()


def claims_of(token: Token) -> dict[str, Any]:
    """Give what a JSON Web Token says, unverified; nothing for what is none."""
    parts = (token or "").split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _life_of(claims: dict[str, Any]) -> float | None:
    expires = claims.get("exp")
    if isinstance(expires, bool) or not isinstance(expires, (int, float)) or not 0 <= expires < _LAST:
        return None
    return min(expires - time.time(), _LONGEST)
