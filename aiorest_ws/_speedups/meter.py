"""Replies in, counts out: how many there were of each route and status, and how long they took."""

from __future__ import annotations

from typing import Any

__all__ = ("BOUNDS", "Meter", "Meters")

# Upper bounds of the histogram, in seconds; what takes longer than the last is counted behind it. The `.pxd` knows the
# sizes.
BOUNDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0),
)
_LAST = len(BOUNDS)


class Meter:
    """Counts the replies of one route and method."""

    def __init__(self) -> None:
        self._done = 0  # those with status 200, apart because they are the most
        self._others: dict[int, int] = {}
        self._buckets = [0] * 17
        self._seconds = 0.0

    @property
    def statuses(self) -> dict[int, int]:
        """How many replies had each status."""
        done = {200: self._done} if self._done else {}
        return done | self._others

    @property
    def buckets(self) -> list[int]:
        """How many replies took as long as each bound of `BOUNDS` and longer than the one before; then the rest."""
        return [self._buckets[at] for at in range(_LAST + 1)]

    @property
    def seconds(self) -> float:
        """How long all of them took."""
        return self._seconds

    def add(self, status: int, seconds: float) -> None:
        """Count a reply."""
        at = 0
        if status == 200:
            self._done += 1
        else:
            self._others[status] = self._others.get(status, 0) + 1
        while at < _LAST and seconds > BOUNDS[at]:
            at += 1
        self._buckets[at] += 1
        self._seconds += seconds


class Meters:
    """Counts the replies of one application, by plan; what has none (no route, refused, malformed) goes together.

    Requests for subscriptions have a route and a verb instead. So there are no more of them than routes, whatever
    clients send.
    """

    def __init__(self) -> None:
        self._of: dict[Any, Meter] = {}

    def add(self, plan: Any, status: int, seconds: float) -> None:
        """Count a reply."""
        meter = self._of.get(plan)
        if meter is None:
            meter = self._of[plan] = Meter()
        meter.add(status, seconds)

    def items(self) -> list[tuple[Any, Meter]]:
        """Give each plan that has answered, with its meter. May be called in another thread."""
        return list(self._of.items())
