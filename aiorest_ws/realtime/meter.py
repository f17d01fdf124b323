"""What happens to subscriptions, counted."""

from __future__ import annotations

from collections import Counter

__all__ = ("Meter",)


class Meter:
    """Counts.

    subscriptions    that there are
    publications     items and values that were published, and changes
    runs             of handlers, by themselves
    encodings        pushes that were made, of one form each
    deliveries       pushes that were sent
    skipped          pushes that found a client behind
    ends             subscriptions that ended, by status
    """

    __slots__ = ("deliveries", "encodings", "ends", "publications", "runs", "skipped", "subscriptions")

    def __init__(self) -> None:
        self.subscriptions = 0
        self.publications = 0
        self.runs = 0
        self.encodings = 0
        self.deliveries = 0
        self.skipped = 0
        self.ends: Counter[int] = Counter()

    def began(self) -> None:
        self.subscriptions += 1

    def left(self) -> None:
        self.subscriptions -= 1

    def ended(self, status: int) -> None:
        self.ends[status] += 1
