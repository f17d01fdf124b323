"""Times of messages → which of them one client is still allowed: a token bucket."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ("Rate",)

_ABUSE = 10  # times the burst, refused within _WINDOW
_WINDOW = 10.0


class Rate:
    """Allows `per_second` in the long run and `burst` at once; calls `abused`, if given, for who does not slow down."""

    __slots__ = ("_abused", "_burst", "_clock", "_per_second", "_refused", "_refused_since", "_seen_at", "_tokens")

    def __init__(
        self,
        per_second: float,
        burst: float,
        *,
        clock: Callable[[], float],
        abused: Callable[[], None] | None = None,
    ) -> None:
        self._per_second = per_second
        self._burst = self._tokens = burst
        self._clock = clock
        self._abused = abused
        self._seen_at = clock()
        self._refused = 0
        self._refused_since = 0.0

    def allow(self) -> bool:
        """Tell whether one more is allowed now."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._seen_at) * self._per_second)
        self._seen_at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return True
        if self._abused is not None:
            self._count(now, self._abused)
        return False

    def _count(self, now: float, abused: Callable[[], None]) -> None:
        if now - self._refused_since > _WINDOW:
            self._refused_since, self._refused = now, 0
        self._refused += 1
        if self._refused >= _ABUSE * self._burst:
            abused()
