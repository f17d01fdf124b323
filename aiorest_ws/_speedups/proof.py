"""A request, and what its connection has proved with a token → its user, without a second look at the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .wrappers import Request

if TYPE_CHECKING or not __name__.endswith("_c"):
    from . import wrappers
else:
    from . import wrappers_c as wrappers

__all__ = ("Proof",)


class Proof:
    """A token that was verified, and whose it is.

    owner     the middleware that verified it
    payload   its claims; `claims` copies them
    lasting   it holds for messages without a token, too: it came with the handshake, or in the place of one that did
    ends      when it stops to be valid, seconds since 1970
    """

    __slots__ = ("_is_flat", "ends", "lasting", "owner", "payload", "token", "user")

    def __init__(self, owner: Any, token: Any, payload: dict[str, Any], user: Any, ends: float) -> None:
        self.owner = owner
        self.token = token
        self.payload: dict[str, Any] = _copied(payload)
        self._is_flat = not any(isinstance(value, (dict, list)) for value in payload.values())
        self.user = user
        self.ends = ends
        self.lasting = False

    def claims(self) -> dict[str, Any]:
        """Give the claims, for whoever asks to keep, and to change: the proof has its own."""
        return self._claims()

    def covers(self, request: Request, owner: Any, now: float) -> bool:
        """Tell whether `request`, of which `owner` asks at the time `now`, needs no other proof."""
        return self._covers(request, owner, now)

    def fill(self, request: Request) -> None:
        """Say whose `request` is."""
        self._fill(request)

    def recall(self, request: Request, owner: Any, now: float) -> bool:
        """Fill `request` if it is covered, and tell whether."""
        if not self._covers(request, owner, now):
            return False
        self._fill(request)
        return True

    def _covers(self, request: Request, owner: Any, now: float) -> bool:
        if owner is not self.owner or now >= self.ends:
            return False
        token = wrappers.extra_of(request, "token")
        if token is None or token == "":
            return self.lasting
        return bool(token == self.token)

    def _fill(self, request: Request) -> None:
        request.user = self.user
        request.token_payload = self._claims()  # they are this request's

    def _claims(self) -> dict[str, Any]:
        # PERF: most tokens have nothing inside of a claim.
        return self.payload.copy() if self._is_flat else _copied(self.payload)


def _copied(value: Any) -> Any:
    """Copy a value of JSON, all the way down."""
    if isinstance(value, dict):
        return {name: _copied(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return value
