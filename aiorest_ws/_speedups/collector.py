"""What one large message makes: the garbage collector kept out, and others served before it is all freed.

To decode, check or encode a large message makes many objects at once, none of which is garbage yet: the collector would
go through all of them, again and again. Even the one time that it does so in the first moment after it is let in takes
longer than to make them. To free them takes half as long: they are kept until others have had their turn.
"""

from __future__ import annotations

from asyncio import _get_running_loop
from collections.abc import Callable
from threading import Lock
from typing import Any
from weakref import ref

__all__ = ("LARGE", "undisturbed", "undisturbed_in_turn")

LARGE = 64 * 1024  # bytes; of a smaller message the collector has little to go through

_MOST_KEPT = 2  # what came in one message, and what answers it; more would be memory that nobody counts

_ours = Lock()  # held while the collector is off because of us


def undisturbed(function: Callable[..., Any], *args: Any) -> Any:
    """Give what `function` gives, without the collector, unless it is off already: then it stays so.

    Whoever comes while another call, in this thread or another, keeps it out, adds nothing: so it is on again after
    each of them, and calls that overlap for ever do not keep it out for ever.
    """
    import gc  # nobody who imports the package needs it

    if not gc.isenabled() or not _ours.acquire(blocking=False):
        return function(*args)
    gc.disable()
    try:
        return function(*args)
    finally:
        gc.enable()
        _ours.release()


def undisturbed_in_turn(function: Callable[..., Any], *args: Any) -> Any:
    """Do the same; in a loop the collector stays out, and the arguments and what they gave are kept, for two turns.

    Two: what is called soon comes before what has arrived, in the next turn as in the one after it. Whoever comes
    within them adds no turn, and what is kept no more than one message and its answer.
    """
    global _pause  # noqa: PLW0603 (there is one collector)
    loop = _get_running_loop()
    if loop is None:
        return undisturbed(function, *args)
    pause = None if _pause is None else _pause()
    if pause is None:
        pause = _Pause()
        _pause = ref(pause)
        loop.call_soon(loop.call_soon, pause.end)
    given = function(*args)
    if len(pause.kept) < _MOST_KEPT:
        pause.kept.append((args, given))
    return given


class _Pause:
    """Keeps the collector out, and what it is given, until it ends; at the latest with its loop, whose call it is."""

    __slots__ = ("__weakref__", "_is_ours", "kept")

    def __init__(self) -> None:
        import gc

        self.kept: list[Any] = []
        self._is_ours = gc.isenabled() and _ours.acquire(blocking=False)
        if self._is_ours:
            gc.disable()

    def end(self) -> None:
        import gc

        self.kept.clear()
        if self._is_ours:
            self._is_ours = False
            gc.enable()
            _ours.release()

    __del__ = end


_pause: ref[_Pause] | None = None  # the one that has not ended
