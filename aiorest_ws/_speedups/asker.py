"""Who asks for a thread: a number for each connection. Threads are shared between those who ask, not between jobs."""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ("asker",)

asker: ContextVar[int] = ContextVar("asker", default=0)
