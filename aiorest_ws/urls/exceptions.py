"""What `reverse` and `resolve` raise, under the path of aiorest-ws 1.1.1."""

from __future__ import annotations

from aiorest_ws.exceptions import NoMatch, NoReverseMatch

__all__ = ("NoMatch", "NoReverseMatch")
