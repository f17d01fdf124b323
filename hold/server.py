"""The server that `hold` attacks and `soak` uses: `python -m hold.server '{"loop": "uvloop", "compress": true}'`.

/state tells what is in the process; `Expected` is the one error that is not logged.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

from aiorest_ws import Application, MethodBasedView, Request, SimpleRouter, endpoint
from aiorest_ws.exceptions import BaseAPIException


class Expected(Exception):
    """What a handler raises here on purpose: the client gets a 500, the log nothing."""


class Teapot(BaseAPIException):
    status = 418
    default_detail = "I'm a teapot."


class Echo(MethodBasedView):
    def post(self, request: Request) -> Any:
        return request.data


class AsyncEcho(MethodBasedView):
    async def post(self, request: Request) -> Any:
        await asyncio.sleep(0)
        return request.data


class Item(MethodBasedView):
    async def get(self, request: Request, shelf: str, item: str, note: str = "") -> Any:
        return {"shelf": shelf, "item": item, "note": note}


@endpoint("/hello", "GET")
def hello(request: Request) -> str:
    return "Hello, world!"


@endpoint("/hello-async", "GET")
async def hello_async(request: Request) -> str:
    return "Hello, world!"


@endpoint("/sleep", "POST")
async def sleep(request: Request, seconds: float) -> Any:
    await asyncio.sleep(seconds)
    return request.data


@endpoint("/raise", "POST")
async def fail(request: Request, when: str = "now") -> Any:
    if when == "later":
        await asyncio.sleep(0.001)
    if when == "teapot":
        raise Teapot()
    raise Expected(request.data)


@endpoint("/push", "POST")
async def push(request: Request, times: int) -> Any:
    """Push `times` events to whoever asks, one after another."""
    for number in range(times):
        request.connection.send_event("pushed", {"nonce": request.data, "number": number})
        await asyncio.sleep(0)
    return request.data


@endpoint("/state", "GET")
def state(request: Request) -> dict[str, int]:
    connections = request.connection.factory.connections
    return {
        "tasks": len(asyncio.all_tasks()),
        "connections": len(connections),
        "handlers": sum(len(connection.tasks) for connection in connections),
    }


def make_router() -> SimpleRouter:
    router = SimpleRouter()
    for handler in (hello, hello_async, sleep, fail, push, state):
        router.register_endpoint(handler)
    router.register("/echo", Echo, "POST")
    router.register("/echo-async", AsyncEcho, "POST")
    router.register("/shelves/{shelf}/items/{item}", Item, "GET")
    return router


def _is_news(record: logging.LogRecord) -> bool:
    return record.exc_info is None or not isinstance(record.exc_info[1], Expected)


def main() -> None:
    logging.getLogger("aiorest_ws").addFilter(_is_news)
    Application(router=make_router()).run(**{"port": 0, "log_level": "warn", **json.loads(sys.argv[1])})


if __name__ == "__main__":
    main()
