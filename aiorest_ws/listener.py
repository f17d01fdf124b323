"""The socket that connections come from."""

from __future__ import annotations

import errno
import socket

__all__ = ("Listener",)

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener(socket.socket):
    """A socket that says once that there are no descriptors left, then that nobody is waiting.

    asyncio accepts up to `backlog` connections at a time, and up to CPython 3.14 does not end that when there are no
    descriptors left (python/cpython#151615): 1,024 tracebacks a second, half of the processor, and no service.
    """

    _exhausted = False

    def accept(self) -> tuple[socket.socket, object]:
        if self._exhausted:
            self._exhausted = False
            raise BlockingIOError(errno.EAGAIN, "no descriptors left, as was said")
        try:
            return super().accept()
        except OSError as exc:
            self._exhausted = exc.errno in _EXHAUSTED
            raise
