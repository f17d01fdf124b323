"""Connections and where they come from → whether there is room for one more, and who has to make it.

A connection has a half-open place from the moment it is accepted, through the TLS handshake too, until its opening
handshake is answered; then one of those that count. When the half-open places are full, the address that has most of
them loses its oldest: who fills them stands in nobody's way but its own.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, ip_address
from typing import Any, Protocol

from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.limits import Limits

__all__ = ("Admissions", "Elsewhere", "network_of")


class Elsewhere(Protocol):
    """The connections that other processes have let in, which count with ours."""

    def others(self) -> int:
        """How many they have."""

    def tell(self, count: int, opened: int) -> None:
        """Say how many we have let in, and how many there are with those that are half open."""


class Admissions:
    """The connections of one listener that have been let in, and those that are half open.

    elsewhere    the connections of other processes, where `max_connections` is for all together
    """

    def __init__(self) -> None:
        self.elsewhere: Elsewhere | None = None
        self._addresses: dict[Any, str | None] = {}  # of each connection that was let in; None where it does not matter
        self._counts: Counter[str] = Counter()
        self._half_open = _HalfOpen()

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def half_open(self) -> list[Any]:
        """Those whose handshake is not answered."""
        return list(self._half_open.addresses)

    def arrive(self, connection: Any, address: str | None, limits: Limits) -> Any:
        """Give a half-open place to a connection; gives the one that has to go for it, or None.

        address    of the client; None where it is not known, or that of a proxy
        """
        places = self._half_open
        if connection in places.addresses:
            return None  # it has been since its TLS handshake
        places.add(connection, network_of(address))
        self._tell()
        most = limits.max_connections_per_address
        if most is not None and address is not None and places.count(network_of(address)) > most:
            return places.oldest_of(network_of(address))
        if limits.max_connections is not None and len(places.addresses) > limits.max_connections:
            return places.oldest_of_the_most()
        return None

    def hand_over(self, connection: Any, other: Any) -> None:
        """Let `other` have the place of `connection`: its TLS handshake is done."""
        self._half_open.rename(connection, other)

    def admit(self, connection: Any, address: str | None, limits: Limits) -> None:
        """Let a connection of the client at `address` in. Raises ConnectionRefused for one too many."""
        others = 0 if self.elsewhere is None else self.elsewhere.others()
        if limits.max_connections is not None and len(self._addresses) + others >= limits.max_connections:
            raise ConnectionRefused(503)
        most = limits.max_connections_per_address
        network = None if most is None else network_of(address)
        if network is not None:
            if most is not None and self._counts[network] >= most:
                raise ConnectionRefused(503)
            self._counts[network] += 1
        self._half_open.discard(connection)
        self._addresses[connection] = network
        self._tell()

    def release(self, connection: Any) -> None:
        """Take note that a connection is gone, whether it had been let in or not."""
        self._half_open.discard(connection)
        network = self._addresses.pop(connection, None)
        if network is not None:
            self._counts[network] -= 1
            if not self._counts[network]:
                del self._counts[network]
        self._tell()

    def _tell(self) -> None:
        if self.elsewhere is not None:
            count = len(self._addresses)
            self.elsewhere.tell(count, count + len(self._half_open.addresses))


class _HalfOpen:
    """Half-open connections by address; which has most of them is known at any time, without a search."""

    def __init__(self) -> None:
        self.addresses: dict[Any, str | None] = {}
        self._of: dict[str | None, dict[Any, None]] = {}  # the oldest first
        self._by_count: dict[int, dict[str | None, None]] = {}
        self._most = 0  # the largest of those counts, 0 for none

    def count(self, address: str | None) -> int:
        return len(self._of.get(address, ()))

    def add(self, connection: Any, address: str | None) -> None:
        self.addresses[connection] = address
        self._of.setdefault(address, {})[connection] = None
        self._recount(address, self.count(address) - 1)

    def discard(self, connection: Any) -> None:
        if connection in self.addresses:
            address = self.addresses.pop(connection)
            del self._of[address][connection]
            self._recount(address, self.count(address) + 1)
            if not self._of[address]:
                del self._of[address]

    def rename(self, connection: Any, other: Any) -> None:
        if connection in self.addresses:
            address = self.addresses[connection]
            self.discard(connection)
            self.add(other, address)

    def oldest_of(self, address: str | None) -> Any:
        return next(iter(self._of[address]))

    def oldest_of_the_most(self) -> Any:
        return self.oldest_of(next(iter(self._by_count[self._most])))

    def _recount(self, address: str | None, before: int) -> None:
        now = self.count(address)
        if before:
            del self._by_count[before][address]
            if not self._by_count[before]:
                del self._by_count[before]
        if now:
            self._by_count.setdefault(now, {})[address] = None
        if now > self._most:
            self._most = now
        elif self._most not in self._by_count:
            self._most -= 1  # it was the only one with so many, and has one less


def network_of(address: str | None) -> str | None:
    """Give what counts as one client: an IPv4 address, the /64 of an IPv6 one, None for what is no address."""
    if not address or ":" not in address:
        return address or None
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
    return address
