"""A transport, as it is given to those who answer on it: counts what is sent, and leaves in a way that is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ("Outlet",)


class Outlet:
    """What writes to a transport.

    sent     bytes that were written
    leave    called in place of `close`
    """

    __slots__ = ("_leave", "_write", "sent", "transport")

    def __init__(self, transport: Any, leave: Callable[[], None]) -> None:
        self.transport = transport
        self._write = transport.write
        self._leave = leave
        self.sent = 0

    def write(self, data: bytes) -> None:
        self.sent += len(data)
        self._write(data)

    def close(self) -> None:
        self._leave()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)
