"""REST over WebSockets: one connection, many requests, each answered once, in the form it came in."""

from __future__ import annotations

__version__ = "2.0.0"

import sys
from typing import Any

from aiorest_ws._speedups import COMPILED
from aiorest_ws.app import Application
from aiorest_ws.callables.arguments import Arg
from aiorest_ws.decorators import endpoint
from aiorest_ws.dependencies.depends import Depends
from aiorest_ws.exceptions import HTTPError
from aiorest_ws.gone import Finder, missing
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

if Finder not in sys.meta_path:
    sys.meta_path.append(Finder)


def __getattr__(name: str) -> Any:
    raise missing(__name__, name)
