"""The server that `hold` attacks and `soak` uses: `python -m hold.server '{"loop": "uvloop", "compress": true}'`.

/state tells what is in the process, /ended which connections ended and when; `Expected` is the one error that is not
logged.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections import deque
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from aiorest_ws import Application, Live, MethodBasedView, Request, SimpleRouter, endpoint
from aiorest_ws.exceptions import BaseAPIException
from aiorest_ws.renderers import XMLRenderer

_ended: deque[tuple[str, float]] = deque(maxlen=100)  # peers and when, by the clock that all processes share
_subscribers: set[Any] = set()
_begun = count()
_feed = [0]  # how many items there are
_writes = [0]


class Expected(Exception):
    """What a handler raises here on purpose: the client gets a 500, the log nothing."""


class Teapot(BaseAPIException):
    status = 418
    default_detail = "I'm a teapot."


class Echo(MethodBasedView):
    def post(self, request: Request) -> Any:
        return request.data


class Xml(MethodBasedView):
    renderers = (XMLRenderer,)

    def post(self, request: Request) -> Any:
        return request.data


class Model(BaseModel):
    ids: set[UUID] = set()


class Required(BaseModel):
    a: int
    b: int
    c: int
    d: int


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


@endpoint("/keep", "POST")
async def keep(request: Request, seconds: float) -> Any:
    """Take time with the data in hand."""
    await asyncio.sleep(seconds)
    return len(request.data)


@endpoint("/reply", "POST")
def reply(request: Request, size: int) -> Any:
    return "x" * size


@endpoint("/block", "POST", threaded=True)
def block(request: Request, seconds: float) -> Any:
    """Keep a thread, and tell how many of these calls began before."""
    number = next(_begun)
    time.sleep(seconds)
    return number


@endpoint("/subscribe", "POST")
def subscribe(request: Request) -> None:
    _subscribers.add(request.connection)


@endpoint("/publish", "POST")
async def publish(request: Request, times: int, size: int) -> Any:
    """Push `times` events to whoever has subscribed; give how many were taken."""
    taken = 0
    for number in range(times):
        event = {"number": number, "filling": "x" * size}
        taken += sum(connection.send_event("news", event) for connection in _subscribers)
        await asyncio.sleep(0.001)
    return taken


@endpoint("/feed", "GET", live=Live(mode="log", shared=True))
def feed(request: Request) -> int:
    """Tell how many items there are: 0, 1, 2, …"""
    return _feed[0]


@endpoint("/feed", "POST")
async def feed_more(request: Request, times: int) -> int:
    """Publish so many items more; give how many there are."""
    for _ in range(times):
        _feed[0] += 1
        request.app.live.publish("/feed", _feed[0] - 1)
    return _feed[0]


@endpoint("/items", "GET", live=Live(mode="log", shared=True))
def items(request: Request) -> None:
    """Tell nothing: what counts comes later."""


@endpoint("/items", "POST")
def add_item(request: Request) -> None:
    request.app.live.publish("/items", request.data)


@endpoint("/room/{name}", "GET", live=Live(shared=True))
def room(request: Request, name: str) -> str:
    return name


@endpoint("/own", "GET", live=True)
def own(request: Request, n: int) -> list[int]:
    """Tell each what differs with every write."""
    return [n, _writes[0]]


@endpoint("/own", "PUT", changes=["/own"])
def write_own(request: Request) -> None:
    _writes[0] += 1


@endpoint("/leave", "POST")
def leave(request: Request) -> None:
    """Let the server close the connection."""
    request.connection.close(1000)


@endpoint("/waiting", "GET")
def waiting(request: Request) -> dict[str, int]:
    """Tell how much has not left each connection, by peer."""
    return {connection.peer: connection._waiting() for connection in request.connection.factory.connections}


@endpoint("/ended", "GET")
def ended(request: Request) -> dict[str, float]:
    return dict(_ended)


@endpoint("/state", "GET")
def state(request: Request) -> dict[str, int]:
    connections = request.connection.factory.connections
    return {
        "tasks": len(asyncio.all_tasks()),
        "connections": len(connections),
        "admitted": len(request.connection.factory.admissions),
        "handlers": sum(len(connection.tasks) for connection in connections),
        "subscriptions": request.app.live.meter.subscriptions,
    }


_LIVE = (feed, feed_more, items, add_item, room, own, write_own)
_FOR_ATTACKS = (keep, reply, block, subscribe, publish, leave, waiting, ended)


def make_router() -> SimpleRouter:
    router = SimpleRouter()
    for handler in (hello, hello_async, sleep, fail, push, state, *_LIVE, *_FOR_ATTACKS):
        router.register_endpoint(handler)
    router.register("/echo", Echo, "POST")
    router.register("/xml", Xml, "POST")
    for name, hint in _TYPES.items():
        router.post(f"/typed/{name}")(_taking(hint))
    router.register("/echo-async", AsyncEcho, "POST")
    router.register("/shelves/{shelf}/items/{item}", Item, "GET")
    return router


_TYPES: dict[str, Any] = {
    "uuids": set[UUID],
    "decimals": set[Decimal],
    "prices": list[Decimal],
    "counts": dict[int, int],
    "models": list[Model],
    "required": list[Required],
}


def _taking(hint: Any) -> Any:
    def take(request: Request, data: Any) -> int:
        return len(data)

    take.__annotations__["data"] = hint
    return take


def _is_news(record: logging.LogRecord) -> bool:
    return record.exc_info is None or not isinstance(record.exc_info[1], Expected)


def _on_disconnect(connection: Any, code: int, reason: str | None) -> None:
    _subscribers.discard(connection)
    _ended.append((connection.peer, time.monotonic()))


def main() -> None:
    logging.getLogger("aiorest_ws").addFilter(_is_news)
    app = Application(router=make_router(), on_disconnect=_on_disconnect)
    app.run(**{"port": 0, "log_level": "warn", **json.loads(sys.argv[1])})


if __name__ == "__main__":
    main()
