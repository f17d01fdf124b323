"""The origin of a page → whether it may connect (RFC 6454, RFC 6455 §10.2).

Browsers let any page open a WebSocket to any server, with the cookies of that server: the header Origin, which a page
cannot change, is all that keeps other people's pages out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiorest_ws.http.hosts import is_loopback

__all__ = ("Origins", "check_origins")

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^\s/:@?#,*\[\]\\]+)(?::([0-9]{1,5}))?")
_PATTERN = re.compile(r"([a-z][a-z0-9+.-]*://)\*\.(.+)")
_PORTS = {"http": 80, "https": 443}
_FILES = ("null", "file://")  # what browsers say of a page that was opened as a file


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int | None


def _parsed(text: str) -> _Origin | None:
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        return None
    port = int(match[3]) if match[3] else _PORTS.get(match[1])
    return _Origin(match[1], match[2], port)


class Origins:
    """Which origins may connect.

    allowed     None: the server's own; else those of the list: "https://example.com:8443" (without a port, that of the
                scheme), "https://*.example.com" (any host below, not the host itself), "null", "file://", "*" (any)
    debug       also pages of this machine, and those that were opened as files
    """

    def __init__(self, allowed: Iterable[str] | None = None, *, debug: bool = False) -> None:
        self._debug = debug
        self._own = allowed is None
        self._texts: set[str] = {text.lower() for text in allowed or ()}
        self._exact = {origin for text in self._texts if (origin := _parsed(text)) is not None}
        below = [_PATTERN.fullmatch(text) for text in self._texts]
        self._below = {origin for match in below if match and (origin := _parsed(match[1] + match[2])) is not None}

    def allow(self, text: str, host: str, port: int | None = None, scheme: str | None = None) -> bool:
        """Tell whether a page of origin `text` may connect to the server that it calls `host`, `port`.

        scheme      in which it speaks to the server, "http" or "https", where that is known
        """
        return self.takes_any or self.names(text, host, port, scheme)

    @property
    def takes_any(self) -> bool:
        """Tell whether pages of every origin may connect."""
        return "*" in self._texts

    def names(self, text: str, host: str, port: int | None = None, scheme: str | None = None) -> bool:
        """As `allow`, without "*": whether the page is known, or the server's own."""
        if text in _FILES:
            return self._debug or text in self._texts
        origin = _parsed(text)
        if origin is None:
            return False
        if self._debug and is_loopback(origin.host):
            return True
        if origin in self._exact or self._is_below(origin):
            return True
        if not self._own and not self.takes_any:
            return False
        default = _PORTS.get(scheme or origin.scheme)
        return origin.scheme in _PORTS and (origin.host, origin.port) == (host.lower(), port or default)

    def _is_below(self, origin: _Origin) -> bool:
        return any(
            (origin.scheme, origin.port) == (base.scheme, base.port) and origin.host.endswith(f".{base.host}")
            for base in self._below
        )


def check_origins(name: str, value: Any) -> None:
    """Raise TypeError or ValueError for what the option `name` cannot be."""
    if value is None:
        return
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(isinstance(text, str) for text in value):
        raise TypeError(f"{name} must be None or a list of origins, got {value!r}")
    for text in value:
        lower = text.lower()
        pattern = _PATTERN.fullmatch(lower)
        if text not in ("*", *_FILES) and _parsed(pattern[1] + pattern[2] if pattern else lower) is None:
            raise ValueError(f"{name} must be of the form scheme://host or scheme://host:port, got {text!r}")
