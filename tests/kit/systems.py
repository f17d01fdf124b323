"""What a system must have for a test: the marks of those that are skipped without it. And what it has."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

import pytest

__all__ = ("MSGSPEC", "needs_linux", "needs_posix")

MSGSPEC = tuple(map(int, version("msgspec").split(".")[:2]))  # (0, 23): it says some things otherwise than before

# Windows has neither what these tests are about; each of them runs on Linux, which is where CI is, and on macOS.
needs_posix = pytest.mark.skipif(
    os.name != "posix",
    reason="Signals to another process, its limits, Unix sockets in asyncio, sending past a transport, shared ports "
    "and with them workers are missing on Windows.",
)
# In CI all of these run.
needs_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="Abstract names of sockets and descriptors in /proc are missing outside Linux."
)
