"""A key that a client gives a request → that request done once, however often it is sent.

`Idempotency` says who asks, and how much is kept for whom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ("Idempotency", "token_holder")

_KIB = 1024


def token_holder(request: Any) -> str | None:
    """Give whom the verified token of `request` is of: its `iss` and its `sub`; None without a token, or a `sub`."""
    claims = request.token_payload
    if not isinstance(claims, dict) or claims.get("sub") is None:
        return None
    issuer, subject = str(claims.get("iss") or ""), str(claims["sub"])
    return f"{len(issuer)}:{issuer}{subject}"  # no two pairs are the same text


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """How requests with a key are done once.

    who               request → who asks, a text of its own for each; None or "": nobody whom we know, who may have no
                      key. Called behind the guards
    seconds           that an outcome is kept
    max_reply         bytes of an outcome that is kept; of a larger one it is known that there was one
    max_bytes         of all outcomes
    max_bytes_each    of those of one who asks; the oldest of them make room
    max_keys          that are known at a time, of all; a key is known as long as it runs, and `seconds` longer
    max_keys_each     of one who asks
    max_running_each  handlers of one who asks, in one process, that go on although their client has left

    Raises TypeError and ValueError for what cannot be.
    """

    who: Callable[[Any], str | None] = token_holder
    seconds: float = 300.0
    max_reply: int = 64 * _KIB
    max_bytes: int = 16 * _KIB * _KIB
    max_bytes_each: int = _KIB * _KIB
    max_keys: int = 100_000
    max_keys_each: int = 10_000
    max_running_each: int = 64

    @classmethod
    def of(cls, given: Any) -> Idempotency:
        """Give what the option `idempotency` says, which may be the function, and None."""
        if isinstance(given, cls):
            return given
        return cls() if given is None else cls(who=given)

    def __post_init__(self) -> None:
        if not callable(self.who):
            raise TypeError(f"who must be a function from a request to a text or None, got {self.who!r:.200}")
        if type(self.seconds) not in (int, float) or not 0 < self.seconds <= 86_400:
            raise ValueError(f"seconds must be a number greater than 0, up to a day, got {self.seconds!r:.200}")
        for name in _NUMBERS:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a whole number from 1, got {value!r:.200}")


_NUMBERS = ("max_reply", "max_bytes", "max_bytes_each", "max_keys", "max_keys_each", "max_running_each")
