"""Very many that something is to be done for at once → some now, the others a few at a time between requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from aiorest_ws.realtime.runs import Runs

__all__ = ("Crowd",)

_AT_ONCE = 64  # fewer than a millisecond is enough for


class Crowd:
    """Does one thing for each, in the order in which they came, and once for who comes again while it waits.

    Whoever comes in small numbers does not wait: what many wait for is done beside it. See `runs.Run`.
    """

    is_threaded = False

    def __init__(self, runs: Runs, do: Callable[[Any], None]) -> None:
        self._runs = runs
        self._do = do
        self._waiting: dict[Any, None] = {}
        self._is_in_line = False

    @property
    def owner(self) -> Any:
        return self

    def add(self, those: Iterable[Any]) -> None:
        """Do it for the first of them now, for the others soon."""
        these = iter(those)
        some = list(islice(these, _AT_ONCE))
        self._waiting.update(dict.fromkeys(these))
        self._line_up()
        for each in some:
            self.forget(each)
            self._do(each)

    def forget(self, one: Any) -> None:
        """Leave out one, for whom nothing is to be done any more."""
        self._waiting.pop(one, None)

    def _line_up(self) -> None:
        if self._waiting and not self._is_in_line:
            self._is_in_line = True
            self._runs.add(self)

    def begin(self) -> None:
        """Do it for the next of them."""
        self._is_in_line = False
        for each in list(islice(self._waiting, _AT_ONCE)):
            if each in self._waiting:  # else it was forgotten, or its turn has come otherwise
                del self._waiting[each]
                self._do(each)
        self._line_up()
