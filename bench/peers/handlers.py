"""What every peer here has in common: two handlers, found by method and url, and the loop that was asked for.

Each server is run as `python X_server.py PORT uvloop|asyncio`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ("HANDLERS", "PORT", "UVLOOP", "run")

PORT = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 0
UVLOOP = sys.argv[2:] == ["uvloop"]


def hello(request: dict[str, Any]) -> Any:
    return "Hello, world!"


def echo(request: dict[str, Any]) -> Any:
    return request["data"]


HANDLERS: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
    ("GET", "/hello"): hello,
    ("POST", "/echo"): echo,
}


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    if UVLOOP:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
