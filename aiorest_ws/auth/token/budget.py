"""Tokens that were not valid, and who sent them → whether one more is looked at: a forged one costs a signature."""

from __future__ import annotations

import time
from ipaddress import IPv6Address, ip_address, ip_network

from aiorest_ws.exceptions import TooManyRequests

__all__ = ("Budget", "Budgets", "TooManyBadTokens", "address_of")


class TooManyBadTokens(TooManyRequests):
    """Too many tokens of this client were not valid: no more are looked at for now."""

    default_detail = "Too many tokens that are not valid. Try again in 10 seconds."
    retry_after = 10
    leaves = 5


class Budget:
    """So many failures at once, and so many a second in the long run. Successes cost nothing."""

    __slots__ = ("_left", "_most", "_per_second", "_seen_at")

    def __init__(self, most: float, per_second: float) -> None:
        self._most = self._left = most
        self._per_second = per_second
        self._seen_at = time.monotonic()

    def spend(self) -> None:
        self._left = max(0.0, self._left_now() - 1)

    @property
    def is_spent(self) -> bool:
        return self._left_now() < 1

    def _left_now(self) -> float:
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._seen_at) * self._per_second)
        self._seen_at = now
        return self._left


class Budgets:
    """A budget for each address, of as many as have failed last."""

    def __init__(self, most: float, per_second: float, addresses: int = 4096) -> None:
        self._each = (most, per_second)
        self._addresses = addresses
        self._budgets: dict[str, Budget] = {}

    def spend(self, address: str) -> None:
        budget = self._budgets.pop(address, None) or Budget(*self._each)
        self._budgets[address] = budget  # behind the others
        budget.spend()
        if len(self._budgets) > self._addresses:
            del self._budgets[next(iter(self._budgets))]

    def is_spent(self, address: str) -> bool:
        budget = self._budgets.get(address)
        return budget is not None and budget.is_spent


def address_of(peer: str) -> str | None:
    """Give the address in a connection's `peer`, of IPv6 the network of a site (/64); None if there is none."""
    kind, _, rest = peer.partition(":")
    host = rest.rpartition(":")[0] if kind in ("tcp", "tcp4", "tcp6") else peer
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(ip_network((address, 64), strict=False))
        address = address.ipv4_mapped
    return str(address)
