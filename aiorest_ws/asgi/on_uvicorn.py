"""An opening request that uvicorn has read → the connection that serves it, of ours or of the class that uvicorn has.

uvicorn hands a WebSocket over with its transport and the bytes of the head; ours reads and writes there from then on.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

from aiorest_ws.asgi.doors import DOORS
from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.http.head import read
from aiorest_ws.http.refusals import refusal

if TYPE_CHECKING:
    from aiorest_ws.asgi.application import AsgiApplication
    from aiorest_ws.asgi.life import Life
    from aiorest_ws.connection.protocol import RequestHandlerProtocol

    _Connection = RequestHandlerProtocol
else:
    _Connection = object

__all__ = ("Protocol",)

_opening: set[asyncio.Task[None]] = set()


class Protocol(asyncio.Protocol):
    """uvicorn's class for WebSockets: `uvicorn main:app --ws aiorest_ws.asgi:Protocol`.

    Those of the paths that `app.asgi(path="/ws")` names are served on uvicorn's transport as on a port of our own; what
    stands around the application does not see them. Others are served as if this class was not there.
    """

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        self._hosted_by: dict[str, Any] = {"config": config, "server_state": server_state, "app_state": app_state}
        self._loop: asyncio.AbstractEventLoop = _loop or asyncio.get_running_loop()
        self._transport: Any = None
        self._served_by: Any = None  # the protocol that has taken over
        self._is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand over what has come: first the head, then what comes until the transport knows who serves."""
        if self._served_by is not None:
            self._served_by.data_received(data)
            return
        door = _door_of(data)
        if door is None:
            self._leave_to_uvicorn(data)
        elif (life := door.life) is not None:
            self._serve(door, life, data)
        else:
            self._transport.pause_reading()
            task = self._loop.create_task(self._open(door, data))
            _opening.add(task)
            task.add_done_callback(_opening.discard)

    def eof_received(self) -> bool | None:
        return None if self._served_by is None else self._served_by.eof_received()

    def pause_writing(self) -> None:
        if self._served_by is not None:
            self._served_by.pause_writing()

    def resume_writing(self) -> None:
        if self._served_by is not None:
            self._served_by.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        if self._served_by is not None:
            self._served_by.connection_lost(exc)

    # Who serves

    async def _open(self, door: AsgiApplication, head: bytes) -> None:
        """Start the application first, as no lifespan has come to it."""
        try:
            life = await door.start()
        except BaseException:  # raised again
            self._refuse(500)
            raise
        if not self._is_lost:
            self._serve(door, life, head)
            self._transport.resume_reading()

    def _serve(self, door: AsgiApplication, life: Life, head: bytes) -> None:
        if life.is_ending:
            self._refuse(503)
            return
        door.say_who_is_not_asked()
        connection: Any = life.made(_hosted(life.protocol))
        connection.served_path = door.served_path
        connection.stay = Stay(door, self._hosted_by["server_state"].connections)
        connection.scope = {
            "type": "websocket",
            "path": door.served_path,
            "root_path": self._hosted_by["config"].root_path,
            "state": self._hosted_by["app_state"].copy(),
        }
        self._hand_over(connection)
        connection._context = life.context()
        if not self._transport.is_closing():
            connection.data_received(head)

    def _leave_to_uvicorn(self, head: bytes) -> None:
        if AutoWebSocketsProtocol is None:
            self._refuse(501, "no library for WebSocket is installed beside uvicorn")
            return
        self._hand_over(AutoWebSocketsProtocol(**self._hosted_by))
        self._served_by.data_received(head)

    def _hand_over(self, protocol: Any) -> None:
        self._served_by = protocol
        protocol.connection_made(self._transport)
        # Not now: behind the head uvicorn lets the transport know of this one.
        self._loop.call_soon(self._transport.set_protocol, protocol)

    def _refuse(self, status: int, reason: str | None = None) -> None:
        self._transport.write(refusal(status, reason))
        self._transport.close()


class Stay:
    """A connection of ours among those of uvicorn, which waits for them at its end, and tells them of it."""

    __slots__ = ("_all", "_door")

    def __init__(self, door: AsgiApplication, connections: set[Any]) -> None:
        self._door = door
        self._all = connections
        self._all.add(self)

    def shutdown(self) -> None:
        """Begin the end, of all of them. Called by uvicorn."""
        self._door.stop_soon()

    def end(self) -> None:
        self._all.discard(self)


class _Hosted(_Connection):
    stay: Stay

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            super().connection_lost(exc)
        finally:
            self.stay.end()


@cache
def _hosted(protocol: Any) -> Any:
    """Give the class of connections on uvicorn's transports."""
    return type(f"Hosted{protocol.__name__}", (_Hosted, protocol), {})


def _door_of(head: bytes) -> AsgiApplication | None:
    """Give the application that names the path of a head, None if there is none, or the head has a fault."""
    try:
        path = read(head).path
    except ConnectionRefused:
        return None
    return DOORS.get(path) or DOORS.get(path.rstrip("/") or "/")
