"""REST over WebSockets: one connection, many requests, each answered once, in the form it came in.

The server is imported with the first of its names that is asked for: a program that has only `aiorest_ws.client` does
without it.
"""

from __future__ import annotations

__version__ = "2.0.0"

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import COMPILED
from aiorest_ws.gone import PLACES, Finder, missing

if TYPE_CHECKING:
    from aiorest_ws.app import Application
    from aiorest_ws.callables.arguments import Arg
    from aiorest_ws.decorators import endpoint
    from aiorest_ws.dependencies.depends import Depends
    from aiorest_ws.exceptions import HTTPError
    from aiorest_ws.realtime.live import Live
    from aiorest_ws.request import RequestHandlerFactory, RequestHandlerProtocol
    from aiorest_ws.routers import SimpleRouter
    from aiorest_ws.views import MethodBasedView
    from aiorest_ws.wrappers import Request, Response

__all__ = (
    "COMPILED",
    "Application",
    "Arg",
    "Depends",
    "HTTPError",
    "Live",
    "MethodBasedView",
    "Request",
    "RequestHandlerFactory",
    "RequestHandlerProtocol",
    "Response",
    "SimpleRouter",
    "__version__",
    "endpoint",
)

_HOMES = {
    "Application": "app",
    "Arg": "callables.arguments",
    "Depends": "dependencies.depends",
    "HTTPError": "exceptions",
    "Live": "realtime.live",
    "MethodBasedView": "views",
    "Request": "wrappers",
    "RequestHandlerFactory": "request",
    "RequestHandlerProtocol": "request",
    "Response": "wrappers",
    "SimpleRouter": "routers",
    "endpoint": "decorators",
}

if Finder not in sys.meta_path:
    sys.meta_path.append(Finder)


if not TYPE_CHECKING:  # type checkers would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """Import what is asked for first: a name of `__all__`, or a module. Raises AttributeError, ImportError."""
        if name in _HOMES:
            found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
            if str(getattr(found, "__module__", "")).startswith(__name__):  # else a test has put it there, for a while
                globals()[name] = found
            return found
        own = f"{__name__}.{name}"
        if name not in PLACES and not name.startswith("__"):  # else it is gone; or tools ask every module for it
            try:
                return import_module(own)
            except ModuleNotFoundError as exc:
                if exc.name != own:
                    raise
        raise missing(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
