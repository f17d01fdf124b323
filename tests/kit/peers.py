"""A WebSocket server that says what a test tells it to: no server of ours would."""

from __future__ import annotations

import asyncio
import http
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

__all__ = ("Peer", "Script", "peer")


class Peer:
    """One connection of a client, as the server sees it."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection

    @property
    def authorization(self) -> str | None:
        assert self.connection.request is not None
        return self.connection.request.headers.get("Authorization")

    async def take(self) -> dict[str, Any]:
        """Give the next message."""
        message: dict[str, Any] = json.loads(await self.connection.recv())
        return message

    async def say(self, *messages: Any) -> None:
        """Send messages: text as it is, else as JSON."""
        for message in messages:
            await self.connection.send(message if isinstance(message, (str, bytes)) else json.dumps(message))

    async def answer(self, data: Any = None, **more: Any) -> dict[str, Any]:
        """Answer the next message, and give it."""
        message = await self.take()
        await self.say({"id": message["id"], "status": 200} | ({} if "detail" in more else {"data": data}) | more)
        return message

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.connection.close(code, reason)

    def abort(self) -> None:
        self.connection.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has gone; what it says is dropped."""
        try:
            while True:
                await self.connection.recv()
        except ConnectionClosed:
            pass


Talk = Callable[[Peer], Awaitable[None]]


class Script:
    """What is done with each connection, in their order; the last is done with all that come behind it.

    A number in the place of a function is the HTTP status that refuses the handshake.
    """

    def __init__(self, talks: tuple[Talk | int, ...]) -> None:
        self._talks = list(talks)
        self.url = ""
        self.tokens: list[str | None] = []
        self.failures: list[BaseException] = []

    def _next(self) -> Talk | int:
        return self._talks.pop(0) if len(self._talks) > 1 else self._talks[0]

    async def judge(self, connection: ServerConnection, request: Any) -> Any:
        self.tokens.append(request.headers.get("Authorization"))
        talk = self._next()
        if isinstance(talk, int):
            return connection.respond(http.HTTPStatus(talk), f"refused with {talk}\n")
        connection.talk = talk  # type: ignore[attr-defined]
        return None

    async def serve(self, connection: ServerConnection) -> None:
        peer = Peer(connection)
        try:
            await connection.talk(peer)  # type: ignore[attr-defined]
            await peer.gone()
        except ConnectionClosed:
            pass
        except BaseException as exc:  # what `pytest.fail` raises is no Exception
            self.failures.append(exc)
            raise


@asynccontextmanager
async def peer(*talks: Talk | int) -> AsyncIterator[Script]:
    """Serve a script; what a talk fails with, the test fails with."""
    script = Script(talks)
    async with serve(script.serve, "127.0.0.1", 0, process_request=script.judge, ping_interval=None) as server:
        script.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield script
        server.close(close_connections=True)
        await server.wait_closed()
        await asyncio.sleep(0)
    failures = [exc for exc in script.failures if not isinstance(exc, asyncio.CancelledError)]
    assert failures == []
