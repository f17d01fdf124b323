"""A scope `websocket` → a guest, whose messages are carried to and from the server of ASGI until one end closes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Any

from aiorest_ws.connection.guest import Answer, Carrier, Close, Guest, answer_in, guest_of, head_of
from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.http.refusals import refusal
from aiorest_ws.http.scopes import address_of, headers_of, path_below, root_of, sent_path
from aiorest_ws.status import WS_CLOSED_ABNORMALLY, WS_NO_STATUS_CODE, WS_NORMAL

if TYPE_CHECKING:
    from aiorest_ws.asgi.application import AsgiApplication
    from aiorest_ws.asgi.life import Life

__all__ = ("Receive", "Scope", "Send", "serve")

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_MOMENT = 0.5  # seconds that a server has to say that a client is gone
_OF_THE_SERVER = frozenset((b"upgrade", b"connection", b"content-length", b"server", b"date"))
_OF_ACCEPT = _OF_THE_SERVER | {b"sec-websocket-accept", b"sec-websocket-protocol", b"sec-websocket-extensions"}


async def serve(door: AsgiApplication, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one connection. Raises RuntimeError for what no server may say, and what `receive` and `send` raise."""
    kind = (await receive())["type"]
    if kind == "websocket.disconnect":
        return
    if kind != "websocket.connect":
        raise RuntimeError(f"the server must send websocket.connect first, got {kind!r:.100}")
    life = await door.start(Context())  # what is set in that of this connection is nobody else's
    can_answer = "websocket.http.response" in (scope.get("extensions") or ())
    try:
        if life.is_ending:
            raise ConnectionRefused(503)
        head = head_of(_target(scope, life, door.served_path), _headers(scope))
    except ConnectionRefused as exc:
        await _say_answer(send, answer_in(refusal(exc.status, exc.reason, exc.headers)), can_answer)
        return
    life.say_came_through(door.served_path)
    guest = life.made(guest_of(life.protocol))
    guest.scope = scope
    guest.served_path = door.served_path
    carrier = Carrier(guest, address_of(scope.get("client")), address_of(scope.get("server")))
    guest.begin(carrier, head, life.context())
    await _carry(guest, carrier, receive, send, can_answer)


def _headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Give the headers of the client, with those that a server may have left out."""
    headers = headers_of(scope)
    offered = scope.get("subprotocols")
    if offered and all(name.lower() != b"sec-websocket-protocol" for name, _ in headers):
        headers.append((b"sec-websocket-protocol", ", ".join(offered).encode()))
    return headers


# The path


def _target(scope: Scope, life: Life, served_path: str | None) -> bytes:
    """Give path and query of the request: the whole path if that is served, else what is left below the mount."""
    whole = path = sent_path(scope)
    if not life.factory.serves(whole.decode("latin-1"), served_path):
        path = path_below(whole, root_of(scope, whole))
        if not life.factory.serves(path.decode("latin-1"), served_path):
            life.say_missed(whole.decode("latin-1"), served_path)
    query = scope.get("query_string", b"")
    return path + (b"?" + query if query else b"")


# Messages


async def _carry(guest: Guest, carrier: Carrier, receive: Receive, send: Send, can_answer: bool) -> None:
    """Carry messages both ways until one end closes. What goes wrong with the server is raised, once all is over."""
    writer = carrier.taker = asyncio.ensure_future(_write(guest, carrier, send, can_answer))
    reader = asyncio.ensure_future(_read(guest, receive))
    try:
        await asyncio.wait((writer, reader), return_when=asyncio.FIRST_COMPLETED)
        if _failure(writer) is not None:
            # Some servers raise for a client that is gone what they raise for a mistake: it is none if they say so now.
            await asyncio.wait((reader,), timeout=_MOMENT)
    finally:
        carrier.abort()
        writer.cancel()
        reader.cancel()
        try:
            await asyncio.wait((writer, reader))
        finally:
            guest.connection_lost(None)
    failure = _failure(reader) or (None if guest.has_left else _failure(writer))
    if failure is not None:
        raise failure


def _failure(task: asyncio.Future[None]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None


async def _read(guest: Guest, receive: Receive) -> None:
    event = await guest._hear(receive)
    if event["type"] != "websocket.disconnect":
        kind = event["type"]
        raise RuntimeError(f"the server must send websocket.receive or websocket.disconnect, got {kind!r:.100}")
    await guest.caught_up()
    code = event.get("code")
    guest.leave(WS_NO_STATUS_CODE if code is None else code, event.get("reason"))


async def _write(guest: Guest, carrier: Carrier, send: Send, can_answer: bool) -> None:
    """Say what is to be said, in order. Who cannot be told any more is gone."""
    is_open = False
    try:
        while (said := await carrier.outgoing.tell(send, carrier.breathe)) is not None:
            if isinstance(said, Close):
                await send({"type": "websocket.close", "code": said.code, "reason": said.reason})
                return
            is_open = await _say_answer(send, said, can_answer)
            if not is_open:
                return
        if not is_open and not guest.has_left:
            await send({"type": "websocket.close", "code": WS_NORMAL})
    except OSError:
        guest.leave(WS_CLOSED_ABNORMALLY, None)


async def _say_answer(send: Send, answer: Answer, can_answer: bool) -> bool:
    """Tell the client whether it may connect, and give that."""
    if answer.status == 101:
        agreed = dict(answer.headers).get(b"sec-websocket-protocol")
        headers = [pair for pair in answer.headers if pair[0] not in _OF_ACCEPT]
        protocol = None if agreed is None else agreed.decode()
        await send({"type": "websocket.accept", "subprotocol": protocol, "headers": headers})
        return True
    if can_answer:
        headers = [pair for pair in answer.headers if pair[0] not in _OF_THE_SERVER]
        await send({"type": "websocket.http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": answer.body})
    else:
        await send({"type": "websocket.close", "code": WS_NORMAL})
    return False
