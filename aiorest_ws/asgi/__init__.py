"""The application as an ASGI 3 application: the scopes `websocket` and `lifespan`. HTTP is answered with 501."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote

from aiorest_ws.connection.guest import Carrier, Guest, guest_of, head_of
from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.server.patience import Patience
from aiorest_ws.server.shutdown import shut_down
from aiorest_ws.status import WS_NO_STATUS_CODE

__all__ = ("AsgiApplication",)

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_NO_HTTP = b"only WebSocket is served here\n"
_NAMED_BY_CARRIER = frozenset((b"upgrade", b"connection", b"content-length", b"server", b"date"))
_OF_ACCEPT = _NAMED_BY_CARRIER | {b"sec-websocket-accept", b"sec-websocket-protocol", b"sec-websocket-extensions"}


class AsgiApplication:
    """What `Application.asgi()` gives. It starts with the server's lifespan, else with the first connection.

    Who mounts it where no lifespan arrives ends it with `await it.stop()`.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lock = asyncio.Lock()
        self._factory: Any = None
        self._lifespan: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "websocket":
            await self._serve(scope, receive, send)
        elif kind == "lifespan":
            await self._live(receive, send)
        elif kind == "http":
            await _refuse_http(send)
        else:
            raise RuntimeError(f"scope must be websocket, http or lifespan, got {kind!r:.50}")

    async def start(self) -> Any:
        """Start the application unless it is, and give what it serves with. Raises ImproperlyConfigured."""
        async with self._lock:
            if self._factory is None:
                factory = self._app.prepare()
                factory.protocol = guest_of(factory.protocol)
                lifespan = self._app.new_lifespan()
                await lifespan.start()
                factory.context = lifespan.context
                self._factory, self._lifespan = factory, lifespan
            return self._factory

    async def stop(self) -> None:
        """Close every connection, and end what was started."""
        async with self._lock:
            factory, self._factory = self._factory, None
            if factory is None:
                return
            patience = Patience()
            try:
                await shut_down(factory, grace=0, patience=patience)
            finally:
                await self._lifespan.end(patience)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            kind = (await receive())["type"]
            stage = kind.removeprefix("lifespan.")
            try:
                await (self.start() if stage == "startup" else self.stop())
            except Exception as exc:  # told to the server, which logs it
                await send({"type": f"lifespan.{stage}.failed", "message": str(exc)})
                return
            await send({"type": f"lifespan.{stage}.complete"})
            if stage == "shutdown":
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        first = await receive()
        if first["type"] != "websocket.connect":
            return  # it left before
        factory = await self.start()
        try:
            head = head_of(_target(scope), scope["headers"])
        except ConnectionRefused:
            await send({"type": "websocket.close", "code": 1000})
            return
        guest = factory()
        client, server = scope.get("client"), scope.get("server")
        carrier = guest.transport = Carrier(tuple(client) if client else None, tuple(server) if server else None)
        carrier.guest = guest
        guest.connection_made(carrier)
        guest.begin(head)
        tasks = (
            asyncio.ensure_future(_write(carrier, send, "websocket.http.response" in (scope.get("extensions") or ()))),
            asyncio.ensure_future(_read(guest, carrier, receive)),
        )
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            guest.transport.abort()
            guest.connection_lost(None)


def _target(scope: Scope) -> bytes:
    """Give path and query below where it is mounted."""
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(root + "/")):
        path = path[len(root) :]
    query = scope.get("query_string", b"")
    return quote(path or "/", safe="/:@!$&'()*+,;=~").encode() + (b"?" + query if query else b"")


async def _read(guest: Guest, carrier: Carrier, receive: Receive) -> None:
    while True:
        await carrier.is_readable.wait()
        message = await receive()
        if message["type"] != "websocket.receive":
            code = message.get("code")
            guest.leave(WS_NO_STATUS_CODE if code is None else code, message.get("reason"))
            return
        text = message.get("text")
        guest.take(message["bytes"] if text is None else text)


async def _write(carrier: Carrier, send: Send, can_refuse: bool) -> None:
    is_open = False
    while (said := await carrier.next()) is not None:
        if isinstance(said, str):
            await send({"type": "websocket.send", "text": said})
        elif isinstance(said, bytes):
            await send({"type": "websocket.send", "bytes": said})
        elif len(said) == 3:
            is_open = await _answer(send, *said, can_refuse)
            if not is_open:
                return
        else:
            await send({"type": "websocket.close", "code": said[0], "reason": said[1]})
            return
        carrier.taken()
    await send({"type": "websocket.close", "code": 1006 if is_open else 1000})


async def _answer(send: Send, status: int, headers: Any, body: bytes, can_refuse: bool) -> bool:
    """Say whether the client may connect, and tell it."""
    if status == 101:
        agreed = dict(headers).get(b"sec-websocket-protocol")
        others = [pair for pair in headers if pair[0] not in _OF_ACCEPT]
        protocol = None if agreed is None else agreed.decode()
        await send({"type": "websocket.accept", "subprotocol": protocol, "headers": others})
    elif can_refuse:
        others = [pair for pair in headers if pair[0] not in _NAMED_BY_CARRIER]
        await send({"type": "websocket.http.response.start", "status": status, "headers": others})
        await send({"type": "websocket.http.response.body", "body": body})
    else:
        await send({"type": "websocket.close", "code": 1000})
    return status == 101


async def _refuse_http(send: Send) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(_NO_HTTP))]
    await send({"type": "http.response.start", "status": 501, "headers": [*headers, (b"cache-control", b"no-store")]})
    await send({"type": "http.response.body", "body": _NO_HTTP})
