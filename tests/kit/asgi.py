"""Servers of ASGI for tests: one of a single connection that is driven by hand, and real ones in the test's loop."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import granian.constants
import hypercorn
import hypercorn.asyncio
import uvicorn
from granian.server.embed import Server as GranianServer

from tests.serving import TIMEOUT, until

__all__ = ("SERVERS", "ByHand", "granian_of", "hypercorn_of", "uvicorn_of")

Address = tuple[str, int]


class ByHand:
    """A server of one connection: `say` says something to the application, `told` gives what it says."""

    def __init__(
        self,
        path: str = "/",
        headers: Iterable[tuple[bytes, bytes]] = ((b"host", b"testserver"),),
        *,
        begins: bool = True,
        **scope: Any,
    ) -> None:
        self.scope: dict[str, Any] = {"type": "websocket", "path": path, "query_string": b"", "headers": list(headers)}
        self.scope |= {"client": ("203.0.113.7", 50000), **scope}
        self.to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.send: Callable[[dict[str, Any]], Any] = self.from_app.put
        self.task: asyncio.Future[None]
        if begins:
            self.say("websocket.connect")

    def say(self, kind: str, **parts: Any) -> None:
        self.to_app.put_nowait({"type": kind} | parts)

    def ask(self, url: str = "/hello", method: str = "GET", **parts: Any) -> None:
        self.say("websocket.receive", text=json.dumps({"method": method, "url": url} | parts))

    async def told(self) -> dict[str, Any]:
        async with asyncio.timeout(TIMEOUT):
            return await self.from_app.get()

    async def reply(self) -> Any:
        said = await self.told()
        assert said["type"] == "websocket.send", said
        return json.loads(said["text"])

    def begin(self, asgi: Any) -> None:
        async def send(message: dict[str, Any]) -> None:
            await self.send(message)  # a test may change it

        self.task = asyncio.ensure_future(asgi(self.scope, self.to_app.get, send))

    async def over(self) -> None:
        """Wait for the application's end. Raises what it raised."""
        async with asyncio.timeout(TIMEOUT):
            await self.task

    @asynccontextmanager
    async def serving(self, asgi: Any, *, accepts: bool = True) -> AsyncIterator[ByHand]:
        """Serve until the block ends; then the client leaves, the application ends."""
        self.begin(asgi)
        try:
            if accepts:
                assert (await self.told())["type"] == "websocket.accept"
            yield self
        finally:
            self.say("websocket.disconnect", code=1000)
            await self.over()
            await asgi.stop()


# Real ones


def _bound() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


@asynccontextmanager
async def uvicorn_of(asgi: Any, **options: Any) -> AsyncIterator[Address]:
    config = uvicorn.Config(asgi, **{"log_config": None, "timeout_graceful_shutdown": 5} | options)
    server = uvicorn.Server(config)
    with _bound() as sock:
        task = asyncio.ensure_future(server._serve([sock]))  # `serve` would take the signals of the tests
        try:
            await until(lambda: server.started or task.done())
            yield sock.getsockname()
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def hypercorn_of(asgi: Any) -> AsyncIterator[Address]:
    over = asyncio.Event()
    config = hypercorn.Config()
    with _bound() as sock:
        address = sock.getsockname()
        config.bind = [f"fd://{sock.detach()}"]
        config.errorlog = None
        task = asyncio.ensure_future(hypercorn.asyncio.serve(asgi, config, shutdown_trigger=over.wait))
        try:
            await _listening(address, task)
            yield address
        finally:
            over.set()
            await task


@asynccontextmanager
async def granian_of(asgi: Any) -> AsyncIterator[Address]:
    with _bound() as sock:
        address = sock.getsockname()
    host, port = address
    interface = granian.constants.Interfaces.ASGI
    server = GranianServer(asgi, address=host, port=port, interface=interface, log_enabled=False)
    task = asyncio.ensure_future(server.serve())
    try:
        await _listening(address, task)
        yield address
    finally:
        server.stop()
        await task


async def _listening(address: Address, task: asyncio.Future[Any]) -> None:
    """Wait until somebody accepts at `address`."""
    async with asyncio.timeout(TIMEOUT):
        while not task.done():
            try:
                _, writer = await asyncio.open_connection(*address)
            except OSError:
                await asyncio.sleep(0)
                continue
            writer.close()
            await writer.wait_closed()
            return
    task.result()


SERVERS: dict[str, Callable[[Any], AbstractAsyncContextManager[Address]]] = {
    "uvicorn": uvicorn_of,
    "hypercorn": hypercorn_of,
    "granian": granian_of,
}
