"""How long a worker lived that has died → how long to wait before the next."""

from __future__ import annotations

__all__ = ("Backoff",)

_GOOD = 5.0  # seconds of a life behind which nothing is held against who comes next
_FIRST = 0.25  # seconds
_LONGEST = 30.0  # where nobody comes to serve
_LONGEST_SERVED = 2.0  # where they serve, and die of it: each start takes some CPU, and without it nobody serves


class Backoff:
    """The lives of one worker's processes. The first that dies young is followed at once, the next ones ever later."""

    def __init__(self) -> None:
        self._young = 0

    def after(self, life: float, *, served: bool) -> float:
        """Give the seconds to wait behind a process that lived for `life` seconds, and `served` or never came to it."""
        self._young = 0 if served and life >= _GOOD else self._young + 1
        if self._young <= 1 and served:
            return 0.0
        return min(_LONGEST_SERVED if served else _LONGEST, _FIRST * 2.0 ** min(self._young - 1, 16))
