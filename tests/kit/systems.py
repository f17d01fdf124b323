"""What a system must have for a test: the marks of those that are skipped without it. And what it has."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

import pytest

__all__ = ("MSGSPEC", "needs_linux", "needs_posix")

MSGSPEC = tuple(map(int, version("msgspec").split(".")[:2]))  # (0, 23): it says some things otherwise than before

# Of both, all run in CI, which is on Linux; the first ones on macOS, too.
needs_posix = pytest.mark.skipif(
    os.name != "posix",
    reason="Signals to another process, `resource`, Unix sockets in asyncio, sending past a transport, shared ports, "
    "and with them workers are missing on Windows.",
)
needs_linux = pytest.mark.skipif(
    sys.platform != "linux",
    reason="Abstract names of sockets, descriptors in /proc, epoll and CPU clocks of others are missing outside Linux.",
)
