"""Names of routes → urls, and back: under the names of aiorest-ws 1.1.1, on top of `router.url_for`."""

from __future__ import annotations

from aiorest_ws.urls.base import get_urlconf, set_urlconf
from aiorest_ws.urls.exceptions import NoMatch, NoReverseMatch
from aiorest_ws.urls.utils import RouteMatch, resolve, reverse

__all__ = ("NoMatch", "NoReverseMatch", "RouteMatch", "get_urlconf", "resolve", "reverse", "set_urlconf")
