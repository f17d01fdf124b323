"""The garbage collector, kept out while one large message is decoded, checked or encoded.

Each of those makes many objects at once, none of which is garbage yet: the collector would go through all of them,
again and again, which takes as long as the work itself, or four times that.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

__all__ = ("LARGE", "undisturbed")

LARGE = 64 * 1024  # bytes; of a smaller message the collector has little to go through

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
