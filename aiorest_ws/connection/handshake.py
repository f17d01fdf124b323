"""The opening handshake of a connection, in the place of Autobahn's: bytes in, an open connection or an HTTP error out.

What the request says is `http.head`'s, the answer `http.acceptance`'s. Between the two the application may decide, and
may take its time: what arrives meanwhile is held.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import txaio
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest

from aiorest_ws.callables.calls import call
from aiorest_ws.callables.failures import PASSED_ON, sole
from aiorest_ws.connection.compression import agree, extensions
from aiorest_ws.connection.kernel import close_behind
from aiorest_ws.exceptions import BaseAPIException, ConnectionRefused
from aiorest_ws.http.acceptance import acceptance
from aiorest_ws.http.head import (
    Handshake,
    check_upgrade,
    client_address,
    end_of_head,
    is_probe,
    is_upgrade,
    read,
)
from aiorest_ws.http.proxy_protocol import Announced
from aiorest_ws.http.refusals import health, refusal
from aiorest_ws.status import WS_UNEXPECTED_CONDITION

if TYPE_CHECKING:
    from autobahn.asyncio.websocket import WebSocketServerProtocol as _Protocol

    from aiorest_ws.connection.listener import Listener
else:
    _Protocol = object

__all__ = ("Derived", "Lazy", "Memoised", "Opening")

logger = logging.getLogger("aiorest_ws")

# What only the handshake needs. The request stays, as the bytes that came, and is read again on access.
_ONLY_FOR_HANDSHAKE = frozenset(
    (
        *(
            "_handshake",
            "_memory",
            "_deciding",
            "http_status_line",
            "http_headers",
            "http_request_uri",
        ),
        *("http_request_path", "http_request_params", "http_request_host", "_wskey", "data", "websocket_protocols"),
        *("_early_messages", "_early_close"),
        *(
            "websocket_extensions",
            "websocket_extensions_in_use",
            "websocket_origin",
            "current_frame",
            "is_open",
            "_agreed",
            "_announced",
        ),
    )
)
_OF_A_FRAME = frozenset(("data", "current_frame"))


class Derived:
    """An attribute that is made whenever it is read, unless it was set."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.make = make

    def __get__(self, protocol: Any, owner: type) -> Any:
        return self if protocol is None else self.make(protocol)


class Lazy(Derived):
    """An attribute that is made when it is first read, unless it was set before."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, protocol: Any, owner: type) -> Any:
        if protocol is None:
            return self
        value = protocol.__dict__[self.name] = self.make(protocol)
        return value


class Memoised(Lazy):
    """As `Derived`, but made once: while the handshake is decided, and when it is first read after that."""

    def __get__(self, protocol: Any, owner: type) -> Any:
        if protocol is None:
            return self
        memory = protocol.__dict__.setdefault("_memory", {})
        if self.name not in memory:
            memory[self.name] = self.make(protocol)
        return memory[self.name]


def _none_or_one(extension: Any) -> list[Any]:
    return [] if extension is None else [extension]


def _read_again(protocol: Any) -> Handshake:
    return read(protocol.http_request_data) if protocol.http_request_data else Handshake()


class Opening(_Protocol):
    """The part of a protocol that answers the opening request. Its methods come before those of Autobahn's class.

    It needs a factory with `limits`, and with `hooks` to run what the application decides.
    """

    factory: Listener
    peer: Any
    _context: Context | None
    logOctets: Any
    maxConnections: Any
    trustXForwardedFor: Any
    autoPingInterval: Any
    trackedTimings: Any
    perMessageCompressionAccept: Any
    wasNotCleanReason: Any
    websocket_protocol_in_use: Any = None
    websocket_version = 13
    http_request_data = b""
    _wskey: Any = None
    _deciding: asyncio.Task[None] | None = None
    _early_octets = 0
    _early_messages: tuple[bytes, ...] = ()  # what the application sends before the connection is open
    _early_close: tuple[int, str | None] | None = None  # how it closes it before it is
    _is_head = False
    _announced: Announced | None = None  # what a proxy said by the PROXY protocol

    http_status_line = Lazy(lambda protocol: protocol.http_request_data.partition(b"\r\n")[0].decode())
    http_headers = Lazy(lambda protocol: protocol._handshake.headers)
    http_request_uri = Lazy(lambda protocol: protocol._handshake.target)
    http_request_path = Lazy(lambda protocol: protocol._handshake.path)
    http_request_params = Lazy(lambda protocol: parse_qs(protocol._handshake.query))
    http_request_host = Lazy(lambda protocol: protocol._handshake.host)
    websocket_protocols = Lazy(lambda protocol: protocol._handshake.protocols)
    websocket_extensions = Lazy(lambda protocol: extensions(protocol._handshake.header("sec-websocket-extensions")))
    websocket_extensions_in_use = Lazy(lambda protocol: _none_or_one(protocol._perMessageCompress))
    websocket_origin = Lazy(lambda protocol: protocol._handshake.origin or "")
    _handshake = Lazy(_read_again)

    # The request

    def _on_early(self, data: bytes) -> None:
        if self.state != self.STATE_CONNECTING:
            return  # what a client sends after the connection was closed
        self._early_octets += len(data)
        if self.logOctets:
            self.logRxOctets(data)
        seen = len(self.data)
        self.data += data
        if self._wskey is None:
            self._read_handshake(seen)
        else:
            self._bound_early()

    def _bound_early(self) -> None:
        limit = self.factory.limits.max_handshake_size
        if limit is not None and len(self.data) > limit:
            self.transport.pause_reading()  # until it is decided whether the client may connect

    def _read_handshake(self, seen: int) -> None:
        """Take the place of Autobahn's `processHandshake`: answer the request, or ask who is to be asked."""
        limits = self.factory.limits
        try:
            end = end_of_head(self.data, seen, limits.max_handshake_size)
            if not end:
                return
            head, self.data = self.data[:end], self.data[end:]
            if head.lstrip(b"\r\n").startswith(b"HEAD "):
                self._is_head = True
            if self._is_probe(head):
                self._tell_health()
                return
            if self.factory.http is not None and not is_upgrade(head):
                self.factory.http.take_over(self, head)
                return
            self._handshake = handshake = read(head, limits.max_headers)
            self.http_request_data = head.lstrip(b"\r\n")
            self._check_handshake(handshake)
        except ConnectionRefused as exc:
            self.failHandshake(exc.reason, exc.status, exc.headers)
            return
        self._wskey = handshake.header("sec-websocket-key")
        if self._asks():
            self._decide_later()
        else:
            self._accept(self._subprotocol())

    def _is_probe(self, head: bytes) -> bool:
        """Tell whether this is who only asks how the server is."""
        path = self.factory.health_path
        return path is not None and is_probe(head, path)

    def _tell_health(self) -> None:
        self._answer(health(stopping=self.factory.stopping, to_head=self._is_head))
        self.factory.admissions.release(self)  # it takes nobody's place, however long it stays

    def _check_handshake(self, handshake: Handshake) -> None:
        """Raise ConnectionRefused for a request that is not accepted."""
        self.peer = client_address(handshake, self.trustXForwardedFor) or self.peer
        check_upgrade(handshake)
        factory = self.factory
        if factory.stopping:
            raise ConnectionRefused(503)
        if self.maxConnections and factory.countConnections > self.maxConnections:
            raise ConnectionRefused(503)
        if factory.externalPort and handshake.port not in (None, factory.externalPort):
            raise ConnectionRefused(400, "header Host names another port")

    # The decision

    def _subprotocol(self) -> str | None:
        """Choose one of the subprotocols that the client offers."""
        return None

    def onConnect(self, request: Any) -> Any:
        """Accept every connection, with the subprotocol that the server prefers."""
        return self._subprotocol()

    def _asks(self) -> bool:
        """Tell whether the application decides who may connect."""
        return type(self).onConnect is not Opening.onConnect

    async def _ask(self) -> Any:
        """Give what `onConnect` says: a subprotocol or None, or a pair of it and headers."""
        request = ConnectionRequest(
            *(self.peer, self.http_headers, self.http_request_host, self.http_request_path, self.http_request_params),
            *(self.websocket_version, self.websocket_origin, self.websocket_protocols, self.websocket_extensions),
        )
        return await call(self.onConnect, request)

    def _decide_later(self) -> None:
        task = self.factory.hooks.keep(self._decide())
        if not task.done():  # a task factory may have started it at once
            self._deciding = task
            self._bound_early()

    async def _decide(self) -> None:
        try:
            answer = await self._ask()
        except asyncio.CancelledError as exc:
            if self.state == self.STATE_CONNECTING:  # not because the client left
                self._fail("cannot decide whether it may connect", exc)
            raise
        except PASSED_ON:
            raise
        except BaseException as exc:  # of the application: no client is left without an answer
            self._refuse(sole(exc), exc)
        else:
            self._context = copy_context()  # what was set here is for the handlers of this connection
            self._accept(answer)

    def _refuse(self, why: BaseException, exc: BaseException) -> None:
        """Answer as `why` says, if it is an error that says how; else the application failed, with `exc`."""
        if isinstance(why, ConnectionRefused):
            self.failHandshake(why.reason, why.status, why.headers)
        elif isinstance(why, ConnectionDeny):
            self.failHandshake(why.reason, why.code)
        elif isinstance(why, BaseAPIException) and isinstance(why.status, int) and 400 <= why.status <= 599:
            self.failHandshake(why.detail if isinstance(why.detail, str) else None, int(why.status))
        else:
            self._fail("cannot decide whether it may connect", exc)

    def _stop_deciding(self) -> None:
        """Decide no longer: the client is gone."""
        if self._deciding is not None:
            self._deciding.cancel()

    def _accept(self, answer: Any) -> None:
        try:
            self.succeedHandshake(answer)
        except PASSED_ON:
            raise
        except BaseException as exc:  # of an override, as above
            self._fail("cannot open its connection", exc)
            self.sendCloseFrame(WS_UNEXPECTED_CONDITION)  # if it is open already

    def _fail(self, what: str, exc: BaseException) -> None:
        self.factory.failures.write(logging.ERROR, f"{self.peer}: {what}", exc)
        self.failHandshake(None, 500)

    # The answer

    def succeedHandshake(self, res: Any) -> None:
        if self.state != self.STATE_CONNECTING:
            return  # the client left, or ran out of time, while `onConnect` was deciding
        protocol, headers = (*res, None, {})[:2] if isinstance(res, tuple) else (res, {})
        if protocol is not None:
            if protocol not in self.websocket_protocols:
                raise ValueError(f"a subprotocol must be one that the client offers, or None, got {protocol!r:.200}")
            self.websocket_protocol_in_use = protocol
        agreed = ""
        compression = self._compression()
        if compression is not None:
            self._perMessageCompress, agreed = compression
        factory = self.factory
        more = [*factory.headers.items(), *headers.items()] if factory.headers or headers else ()
        self.sendData(acceptance(self._wskey, factory.server, more, protocol, agreed))
        self.state = self.STATE_OPEN
        self._begin_open()
        if self.state == self.STATE_OPEN:
            begun = self.data or self.current_frame  # a frame behind the handshake that has not arrived whole
            dropped = _ONLY_FOR_HANDSHAKE - _OF_A_FRAME if begun else _ONLY_FOR_HANDSHAKE
            of_class = type(self)
            self.__dict__ = {  # a dict that was emptied would keep its size
                name: value
                for name, value in self.__dict__.items()
                if name not in dropped and value is not getattr(of_class, name, dropped)
            }

    def _begin_open(self) -> None:
        """Do what comes with being open: hooks, timers, what has come behind the request."""
        if self.autoPingInterval:
            later = self.factory._batched_timer.call_later
            self.autoPingPendingCall = later(self.autoPingInterval, self._sendAutoPing)
        if self.trackedTimings:
            self.trackedTimings.track("onOpen")
        self._onOpen()
        if "is_open" in self.__dict__:  # else it is made as one that is done
            txaio.resolve(self.is_open, None)  # type: ignore[attr-defined]
        if self.data:
            self.consumeData()

    def _compression(self) -> tuple[Any, str] | None:
        """Give the compression of this connection, and what to answer; None without one."""
        decide = self.perMessageCompressionAccept
        if decide is self.factory.declines_compression:
            return None  # not even looked at
        header = self._handshake.header("sec-websocket-extensions")
        return agree(header, decide, self.factory.packers) if header else None

    def failHandshake(self, reason: str | None, code: int = 400, responseHeaders: Any = None) -> None:
        """Answer with an HTTP error, and close."""
        if self.state != self.STATE_CONNECTING:
            return
        logger.debug("%s: handshake refused: %d %.200r", self.peer, code, reason)
        self.wasNotCleanReason = reason
        as_detail = self.factory.http is not None
        self._answer(refusal(code, reason, responseHeaders or (), to_head=self._is_head, as_detail=as_detail))

    def onOpenHandshakeTimeout(self) -> None:
        """Say so to who has sent a part of a head, and close."""
        if self.state == self.STATE_CONNECTING and self.data and self._wskey is None:
            self.wasOpenHandshakeTimeout = True
            self.failHandshake("the head of the request took too long", 408)
        else:
            super().onOpenHandshakeTimeout()

    def _answer(self, response: bytes) -> None:
        """Answer with something else than a connection, and close."""
        self.sendData(response)
        self.state = self.STATE_CLOSED
        self.droppedByMe = True
        txaio.resolve(self.is_closed, self)  # type: ignore[attr-defined]
        self._leave()

    def _leave(self) -> None:
        """Close a connection that was refused, so that the answer is read, but whatever the client does."""
        self.data = b""
        close_behind(self.transport, unread=True)
        self.factory.leaves(self)
