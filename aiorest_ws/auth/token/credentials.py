"""What a connection has proved with a token, until the token expires."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiorest_ws._speedups import Proof
from aiorest_ws.auth.token.exceptions import BaseTokenException, TokenExpiredException

__all__ = ("Credentials",)

_LONGEST = 3600.0  # seconds until a timer looks again: clocks are set, and timers have bounds
_SHORTEST = 0.005


class Credentials(Proof):
    """A proof that is watched until it ends.

    fault     what is wrong with it from then on
    until     when this may be looked at anew, in seconds of the loop's kind
    turn      which request it was that brought it
    """

    __slots__ = ("fault", "timer", "turn", "until")

    def __init__(self, owner: Any, token: str, payload: dict[str, Any], user: Any, ends: float) -> None:
        super().__init__(owner, token, payload, user, ends)
        self.fault: type[BaseTokenException] = TokenExpiredException
        self.timer: asyncio.TimerHandle | None = None
        self.until = float("inf")
        self.turn = 0

    @classmethod
    def void(cls, owner: Any, token: str, fault: type[BaseTokenException]) -> Credentials:
        """Give those of a token that proves nothing, so that it need not be looked at again."""
        nothing = cls(owner, token, {}, None, float("-inf"))
        nothing.fault = fault
        return nothing

    def renews(self, old: Credentials) -> bool:
        """Tell whether these are of the same subject as `old`, and hold as long."""
        same = all(self.payload.get(name) == old.payload.get(name) for name in ("iss", "sub"))
        return same and self.payload.get("sub") is not None and self.ends >= old.ends

    def watch(self, now: Callable[[], float], grace: float, end: Callable[[], Any]) -> None:
        """Call `end` when `grace` seconds have passed since these credentials ended."""
        left = self.ends + grace - now()
        if left <= 0:
            self.timer = None
            end()
        elif left != float("inf"):
            delay = min(max(left, _SHORTEST), _LONGEST)
            self.timer = asyncio.get_running_loop().call_later(delay, self.watch, now, grace, end)

    def drop(self) -> None:
        """Watch no longer: the connection is gone, or has newer ones."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
