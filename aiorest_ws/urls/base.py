"""Where urls begin and which router knows them: one setting for each application, not one for the process.

An application that starts sets it for its own context: its handlers see it, and so does who started it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

__all__ = ("get_urlconf", "set_urlconf")

_urlconf: ContextVar[Any] = ContextVar("aiorest_ws_urlconf", default=None)


def set_urlconf(urlconf: Any) -> None:
    """Set what `reverse` and `resolve` use: {"path": "ws://127.0.0.1:8080", "router": router}, or None."""
    _urlconf.set(urlconf)


def get_urlconf(default: Any = None) -> Any:
    """Give what was set, or `default`."""
    urlconf = _urlconf.get()
    return default if urlconf is None else urlconf
