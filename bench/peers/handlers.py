"""What every peer here has in common: handlers, found by method and url, and the loop that was asked for.

Each server is run as `python X_server.py PORT uvloop|asyncio`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ("HANDLERS", "NEWS", "PORT", "UVLOOP", "burn", "run", "serve")

PORT = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 0
UVLOOP = sys.argv[2:] == ["uvloop"]

# What somebody who was away asks for anew, where nothing can be resumed.
NEWS = [{"number": n, "name": "ada", "text": f"what ada had to say, for the {n}th time"} for n in range(1, 101)]


def hello(request: dict[str, Any]) -> Any:
    return "Hello, world!"


def echo(request: dict[str, Any]) -> Any:
    return request["data"]


def news(request: dict[str, Any]) -> Any:
    return NEWS


def burn(request: Any) -> str:
    end = time.thread_time() + 200e-6
    while time.thread_time() < end:
        pass
    return "Hello, world!"


HANDLERS: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
    ("GET", "/hello"): hello,
    ("POST", "/echo"): echo,
    ("GET", "/news"): news,
    ("GET", "/burn"): burn,
}


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    if UVLOOP:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())


def serve(app: Any, *, uvloop: bool = UVLOOP, **options: Any) -> None:
    """Serve an app of ASGI by uvicorn."""
    import uvicorn

    uvicorn.run(
        app,
        host="127.0.0.1",
        port=PORT,
        loop="uvloop" if uvloop else "asyncio",
        ws_per_message_deflate=False,
        log_level="error",
        access_log=False,
        **options,
    )
