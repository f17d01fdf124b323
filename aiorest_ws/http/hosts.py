"""What a client calls the server (header Host) → whether it may.

A page can have the name of its own host lead to 127.0.0.1 (DNS rebinding). Its handshake is then of the same origin as
the server's pages, for all that a browser knows; only the name in Host tells that it is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

__all__ = ("Hosts", "check_hosts", "is_loopback")

_NAME = re.compile(r"(\*\.)?[0-9a-z._~-]+|\*|\[[0-9a-f:.]+\]")


class Hosts:
    """Which names of the server clients may use.

    allowed    "example.com", "*.example.com" (any below, not the host itself), "[::1]", "*" (any); None: any for
               programs, and for pages of a server that is reached from its own machine only the names of that
    is_local   the server is reached from its own machine only
    """

    def __init__(self, allowed: Iterable[str] | None = None, *, is_local: bool = False) -> None:
        self._names = None if allowed is None else frozenset(_canonical(name.lower()) for name in allowed)
        self._is_local = is_local

    def allow(self, host: str, *, of_page: bool) -> bool:
        """Tell whether the server may be called `host`, in lower case and without a port; `of_page`: by a browser."""
        if self._names is None:
            return not (self._is_local and of_page) or is_loopback(host)
        host = _canonical(host)
        return "*" in self._names or host in self._names or self._is_below(host)

    def _is_below(self, host: str) -> bool:
        below = host
        while "." in below:
            below = below.partition(".")[2]
            if f"*.{below}" in (self._names or ()):
                return True
        return False


def _canonical(host: str) -> str:
    """Give the one form of names that are the same: without the dot of the root, IPv6 as RFC 5952 writes it."""
    if not host.startswith("["):
        return host.removesuffix(".")
    try:
        return f"[{ip_address(host[1:-1])}]"
    except ValueError:
        return host


@lru_cache(maxsize=64)  # PERF: asked of every HTTP request; reading an address takes a twelfth of one
def is_loopback(host: str) -> bool:
    """Tell whether `host`, a name or an address, in brackets or not, is that of the machine itself (RFC 6761 §6.3)."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        name = host.removesuffix(".")
        return name == "localhost" or name.endswith(".localhost")


def check_hosts(name: str, value: Any) -> None:
    """Raise TypeError or ValueError for what the option `name` cannot be."""
    if value is None:
        return
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(isinstance(text, str) for text in value):
        raise TypeError(f"{name} must be None or a list of hosts, got {value!r}")
    for text in value:
        if not _NAME.fullmatch(text.lower()):
            raise ValueError(f"{name} must be names of hosts, without scheme and port, got {text!r}")
