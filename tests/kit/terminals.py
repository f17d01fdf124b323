"""A terminal of a program that can be closed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ("HEARS_HANGUPS", "closable_terminal")

# Source of a program that does not ignore SIGHUP, although the tests may be run by nohup.
HEARS_HANGUPS = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\n"


@contextmanager
def closable_terminal() -> Iterator[tuple[str, Callable[[], None]]]:
    """Give source by which who leads a session has a terminal, and what closes that.

    It has to stay open until the program has run the source; what the program starts later goes without it.
    """
    import pty  # there is none on Windows

    controller, terminal = pty.openpty()
    ends = {controller, terminal}

    def close() -> None:
        while ends:
            os.close(ends.pop())

    try:
        name = os.ttyname(terminal)  # opened by who leads a session it becomes its terminal
        source = f"import os\nif os.path.exists({name!r}):\n    os.close(os.open({name!r}, os.O_RDWR))\n"
        yield HEARS_HANGUPS + source, close
    finally:
        close()
