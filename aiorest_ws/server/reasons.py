"""Why an address cannot be listened on → the one line that says so, and what to do about it."""

from __future__ import annotations

import errno
import socket
from typing import Final

__all__ = ("reason_of",)

_CURES: Final = {
    errno.EADDRINUSE: "stop what listens there, or choose another `port` (0 takes a free one)",
    errno.EADDRNOTAVAIL: "`host` is an address of this machine, None stands for all of them",
    errno.EACCES: "below 1024 they are not for everybody, choose another `port`",
}


def reason_of(exc: OSError | UnicodeError, *, of_port: bool) -> str:
    """Give what the system says, and where host and port were asked for (`of_port`) what cures it."""
    said = (getattr(exc, "strerror", None) or str(exc)).lower()
    if not of_port:
        return said
    is_name = isinstance(exc, (socket.gaierror, UnicodeError))
    cure = _CURES[errno.EADDRNOTAVAIL] if is_name else _CURES.get(getattr(exc, "errno", None) or 0)
    return said if cure is None else f"{said}: {cure}"
