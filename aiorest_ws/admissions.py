"""Connections and where they come from → whether there is room for one more."""

from __future__ import annotations

from collections import Counter
from typing import Any

from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.limits import Limits

__all__ = ("Admissions",)


class Admissions:
    """The connections of one listener that have been let in. Those in their handshake are none, nor are the refused."""

    def __init__(self) -> None:
        self._addresses: dict[Any, str | None] = {}  # of each connection; None where it does not matter
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._addresses)

    def admit(self, connection: Any, address: str | None, limits: Limits) -> None:
        """Let a connection of the client at `address` in. Raises ConnectionRefused for one too many."""
        if limits.max_connections is not None and len(self._addresses) >= limits.max_connections:
            raise ConnectionRefused(503)
        most = limits.max_connections_per_address
        if most is None or not address:
            address = None
        elif self._counts[address] >= most:
            raise ConnectionRefused(503)
        else:
            self._counts[address] += 1
        self._addresses[connection] = address

    def release(self, connection: Any) -> None:
        """Take note that a connection is gone, whether it had been let in or not."""
        address = self._addresses.pop(connection, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]
