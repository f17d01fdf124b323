"""An error of somebody's program → its traceback, without the frames that are not the program's, and its one line."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException

from aiorest_ws.callables.spelling import meant

__all__ = ("print_traceback",)

_OURS = (f"{Path(__file__).parents[1]}{os.sep}", "aiorest_ws/")  # the package, and what is compiled of it
_IMPORTING = ("<frozen importlib", importlib.__file__)


def print_traceback(exc: BaseException, loader: str) -> str:
    """Print where the program failed, and give what the error is, in one line.

    loader    the file of ours that has called the program
    """
    told = TracebackException.from_exception(exc)
    _shorten(told, loader)
    print("".join(told.format()), end="", file=sys.stderr)
    first = str(exc).partition("\n")[0]
    return f"{type(exc).__name__}{first and f': {first}'}{_meant(exc)}"


def _meant(exc: BaseException) -> str:
    """Say which attribute is meant by one that is not there, as Python does behind a traceback of its own."""
    if not isinstance(exc, AttributeError) or exc.name is None or not str(exc).endswith(repr(exc.name)):
        return ""
    near = meant(exc.name, [name for name in dir(exc.obj) if not name.startswith("_")])
    return "" if near is None else f", did you mean {near!r}?"


def _shorten(told: TracebackException, loader: str) -> None:
    """Leave out what imports, what is before the program, and ours behind it where we have refused what it says."""
    frames = list(told.stack)
    start = max((place + 1 for place, frame in enumerate(frames) if frame.filename == loader), default=0)
    frames = [frame for frame in frames[start:] if not frame.filename.startswith(_IMPORTING)]
    if frames and _refuses(frames[-1]) and any(not _is_ours(frame) for frame in frames):
        while _is_ours(frames[-1]):
            del frames[-1]
        told.__cause__ = told.__context__ = None  # how we found out
    told.stack = StackSummary.from_list(frames)
    for inner in (told.__cause__, told.__context__):
        if inner is not None:
            _shorten(inner, loader)


def _is_ours(frame: FrameSummary) -> bool:
    return frame.filename.startswith(_OURS)


def _refuses(frame: FrameSummary) -> bool:
    """Tell whether this line of ours says what is wrong with the program, and does not itself fail."""
    return _is_ours(frame) and (frame.line or "").startswith("raise")
