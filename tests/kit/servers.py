"""A pipeline of one implementation that is asked in memory: payload in, payload out, and what the replies look like."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiorest_ws.decorators import Endpoint, endpoint
from aiorest_ws.routers import SimpleRouter
from tests.swapping import Impl, using

__all__ = ("NO_HANDLER", "Server", "at_once", "data", "detail", "get", "hello", "waited")

NO_HANDLER = "For URL, typed in request, handler not specified."


class Server:
    """A router of `routes` (endpoints, or arguments of `register`) behind the pipeline of `impl`."""

    def __init__(self, impl: Impl, *routes: Any, **options: Any) -> None:
        self.impl = impl
        self.reports: list[tuple[Any, BaseException]] = []
        with using(impl):
            self.router = SimpleRouter()
            for route in routes:
                if isinstance(route, Endpoint):
                    self.router.register_endpoint(route)
                else:
                    self.router.register(*route)
        options = {"report": lambda request, exc: self.reports.append((request, exc))} | options
        self.pipeline = impl.pipeline.Pipeline(self.router._trie, **options)

    def send(self, payload: bytes, is_binary: bool = False) -> bytes:
        """Give the payload that answers `payload`, waiting for it in a loop of its own if need be."""
        with using(self.impl):
            reply = self.pipeline.handle(payload, is_binary)
            if not isinstance(reply, bytes):
                reply = asyncio.run(waited(reply))
        assert type(reply) is bytes
        return reply

    def ask(self, url: Any = "/", args: Any = ..., **envelope: Any) -> dict[str, Any]:
        """Give the reply to a GET of `url`, of the shape with id and status."""
        envelope = {"id": 1, "method": "GET", "url": url} | envelope
        if args is not ...:
            envelope["args"] = args
        reply = json.loads(self.send(json.dumps(envelope).encode()))
        assert isinstance(reply, dict)
        assert reply.pop("id") == envelope["id"]
        return reply

    def reported(self) -> list[type[BaseException]]:
        """Give the types of what was reported since the last call."""
        types = [type(exc) for _, exc in self.reports]
        self.reports.clear()
        return types


async def waited(awaitable: Awaitable[bytes]) -> bytes:
    """Await a reply in a coroutine, which is what tasks and runners take."""
    return await awaitable


def at_once(reply: Any) -> Any:
    """Run a coroutine that waits for nothing."""
    if isinstance(reply, bytes):
        return reply
    try:
        reply.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


def data(value: Any, status: int = 200) -> dict[str, Any]:
    return {"status": status, "data": value}


def detail(status: int, text: Any) -> dict[str, Any]:
    return {"status": status, "detail": text}


def get(function: Callable[..., Any], path: str = "/", **attrs: Any) -> Endpoint[..., Any]:
    """Make `function` the GET endpoint of `path`."""
    return endpoint(path, "GET", **attrs)(function)


@endpoint("/hello", "GET")
def hello(request: Any) -> str:
    return "Hello, world!"
