"""What a system must have for a test: the marks of those that are skipped without it."""

from __future__ import annotations

import os
import sys

import pytest

__all__ = ("needs_linux", "needs_posix")

needs_posix = pytest.mark.skipif(
    os.name != "posix",
    reason="Signals to another process, its limits, Unix sockets in asyncio and shared ports are missing on Windows.",
)
needs_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="Abstract names of sockets and descriptors in /proc are missing outside Linux."
)
