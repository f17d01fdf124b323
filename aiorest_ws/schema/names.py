"""Verbs and the names, or paths, of routes → ids that no other operation has."""

from __future__ import annotations

import re

__all__ = ("Names",)

_between = re.compile(r"[^a-zA-Z0-9]+")


class Names:
    """Gives ids: the same for the same route, whatever comes behind it."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, verb: str, name: str) -> str:
        """Give an id for `verb` of what is called `name`: `get_todos_number` for get and `/todos/{number}`."""
        words = _between.sub("_", name).strip("_")
        free = plain = f"{verb}_{words}" if words else verb
        number = 1
        while free in self._taken:
            number += 1
            free = f"{plain}_{number}"
        self._taken.add(free)
        return free
