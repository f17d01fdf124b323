"""A connection on our own port that speaks HTTP: uvicorn's protocol for it, with the limits of every connection.

They hold for each request of a kept connection. One that asks for a WebSocket gives the transport back.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from aiorest_ws.connection.kernel import close_behind, hung_up, keep_alive
from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.exchange.framing import Framing
from aiorest_ws.exchange.heads import checked, complete, written_head
from aiorest_ws.exchange.outlet import Outlet
from aiorest_ws.http.refusals import refusal
from aiorest_ws.limits.bucket import Rate
from aiorest_ws.limits.watchdog import standstill
from aiorest_ws.logs.throttled import printable

try:
    import httptools
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from aiorest_ws.exchange.cycle import Cycle, Flow
except ImportError as exc:
    raise ImportError("HTTP needs uvicorn and httptools: pip install 'aiorest-ws[http]>=2'") from exc

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from aiorest_ws.exchange.port import Port
    from aiorest_ws.exchange.replies import Headers
    from aiorest_ws.http.head import Handshake

__all__ = ("Line",)

_KEPT = 75.0  # seconds without a request, where the option idle_timeout is off; proxies keep theirs for 60
_LONGEST = 30.0  # seconds for a body, where the option send_timeout is off
_OFFER = (b"upgrade", b"http2-settings")
_MOST_AHEAD = 64 * 1024  # bytes that are read behind a request: who is read no more cannot say that it left


class Line(HttpToolsProtocol):
    """One connection.

    peer       of it, as a WebSocket's
    rate       of its requests, or None
    """

    STATE_CLOSED, STATE_CONNECTING, STATE_CLOSING, STATE_OPEN = 0, 1, 2, 3

    state = STATE_OPEN
    closeHandshakeTimeout = 0.0
    user = None
    _answering: asyncio.Task[None] | None = None
    is_streaming = False
    _live: Any = None
    _unsent = 0
    _unpushed = 0
    _in_flight = 0
    survivors: frozenset[asyncio.Task[Any]] = frozenset()  # the exchange sees to them

    def __init__(self, port: Port, protocol: Any) -> None:
        super().__init__(port.config, port.state, port.app_state, _loop=asyncio.get_running_loop())
        self.access_log = False
        self.peer = protocol.peer
        self.factory = port.factory
        self._port = port
        self._raw, self._announced = protocol._raw, protocol._announced
        self._running: Any = None  # the exchange that is answered, or was
        self._begun_at = 0.0  # when the message began that is arriving, 0 for none
        self._framing = Framing(port.factory.limits.max_handshake_size)
        self._idle_since = self.loop.time()
        self._left, self._left_at = 0, 0.0
        self._is_stopping = self._is_leaving = False
        self._last_words = b""
        self._ahead = 0  # bytes that came behind requests that wait
        self._unread = b""  # what has come and waits for the responses before it
        limits = self.factory.limits
        self.rate: Rate | None = None
        if limits.requests_per_second is not None:
            burst = limits.burst or max(1.0, limits.requests_per_second)
            self.rate = Rate(limits.requests_per_second, burst, clock=self.loop.time, abused=self._leave)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.transport = Outlet(transport, self._leave)  # type: ignore[assignment]
        self.flow: Flow = Flow(transport)
        keep_alive(transport, self.factory.limits.ping_interval, self.factory.limits.ping_timeout)
        if self._announced is not None and self._announced.address is not None:
            self.client = (self._announced.address, int(str(self._announced.peer).rpartition(":")[2] or 0))
        self.factory.take(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.state = self.STATE_CLOSED
        super().connection_lost(exc)  # which tells the newest request alone
        self._tell_gone()
        self.pipeline.clear()
        if self._answering is not None and self._running.is_ours:  # the others are told, not cancelled
            self.loop.call_soon(self._answering.cancel)
        self.factory.forget(self)
        self.transport = None  # type: ignore[assignment]

    def _tell_gone(self) -> None:
        """Let who answers know that nobody waits for it."""
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()

    def send_event(self, name: Any, data: Any = None) -> bool:
        """Say that it is not on its way: whoever tells all connections something need not know which are of HTTP."""
        return False

    def eof_received(self) -> None:
        """Let the connection end: who sends no more waits for nothing."""

    # What arrives

    def data_received(self, data: bytes) -> None:
        if self._is_leaving or self._last_words:
            return  # nobody looks at it
        size = len(data)
        if self._unread:
            self._unread, data = self._unread + data, b""
        while data:
            data = self._read(data)
        if self.pipeline or self._unread:
            self._ahead += size
            if self._ahead >= _MOST_AHEAD:
                self.flow.hold()

    def _read(self, data: bytes) -> bytes:
        """Read requests, as many as may wait; give what is to be read anew."""
        at, ready = 0, b""
        try:
            for piece in self._framing.pieces(data):
                at += len(piece)
                if not self._begun_at and piece.strip(b"\r\n"):
                    self._begun_at = self.loop.time()
                ready = self._framing.ready(piece)
                self.parser.feed_data(ready)
                self._framing.check_overhead()
                if not self._begun_at and len(self.pipeline) >= self.factory.limits.max_concurrency:
                    self._unread = data[at:]
                    break
        except httptools.HttpParserUpgrade as exc:
            return self._on_upgrade(ready[exc.args[0] :] + data[at:])
        except ConnectionRefused as exc:
            self._refuse(exc)
        except httptools.HttpParserError as exc:
            refused = exc.__context__
            if isinstance(exc, httptools.HttpParserInvalidMethodError):
                refused = ConnectionRefused(501, "there is no such method here")
            elif not isinstance(refused, ConnectionRefused):
                if isinstance(exc, httptools.HttpParserCallbackError):
                    self.factory.failures.write(logging.ERROR, f"{self.peer}: cannot read a request", exc)
                refused = ConnectionRefused(400, "malformed request")
            self._refuse(refused)
        return b""

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._framing.is_head:  # a trailer is no header
            super().on_header(name, value.rstrip(b" \t"))  # RFC 9110 §5.5

    def on_headers_complete(self) -> None:
        version, method = self.parser.get_http_version(), self.parser.get_method()
        handshake = checked(self.url, self.headers, version, method, self.factory.limits)
        if self.parser.should_upgrade():
            return  # `_on_upgrade` comes next
        if "websocket" in handshake.headers.get("upgrade", "").lower():
            raise ConnectionRefused(400, "header Connection does not name Upgrade")
        self._framing.end_head(int(handshake.headers.get("content-length", 0)))
        complete(self.scope, handshake, version, method)
        self._begin(handshake, keeps=version != "1.0" and self.parser.should_keep_alive() and not self._is_stopping)

    def _begin(self, handshake: Handshake, *, keeps: bool) -> None:
        """Have the request answered, now or when its turn comes."""
        cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and self.scope["http_version"] != "1.0",
            keep_alive=keeps,
            on_response=self.on_response_complete,
        )
        cycle.handshake = handshake
        cycle.is_ours = self._port.is_ours(self.scope)
        before, self.cycle = self.cycle, cycle
        if (before is None or before.response_complete) and not self.pipeline:
            self._answer(cycle)
        else:
            self.pipeline.appendleft((cycle, self.app))
            if len(self.pipeline) >= self.factory.limits.max_concurrency:
                self.flow.hold()

    def on_body(self, body: bytes) -> None:
        self._framing.overhead = 0
        if self.parser.should_upgrade():
            return
        if not self.cycle.is_ours:  # type: ignore[attr-defined]
            self._begun_at = self.loop.time()  # how long a body may be, and take, is that app's to say
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._begun_at = 0.0
        self._framing.begin()
        if not self.parser.should_upgrade():
            super().on_message_complete()

    # The answer

    def _answer(self, cycle: Any) -> None:
        context = self.factory.context
        self._running = cycle
        self._answering = self.loop.create_task(
            self._port.answer(cycle, self), context=None if context is None else context.copy()
        )
        if not cycle.is_ours:
            self.factory.outlives(self._answering, survives=True)  # behind its response, too, and without its client

    def respond(self, status: int, headers: Headers, body: bytes) -> Awaitable[None]:
        """Send the whole response to the request that is answered. Raises RuntimeError for headers that cannot be."""
        return self._running.respond(status, headers, body)  # type: ignore[no-any-return]

    def on_response_complete(self) -> None:
        transport = self.transport
        if transport is None or transport.is_closing() or self._is_leaving:
            return
        self._idle_since = self.loop.time()
        if self.pipeline:
            cycle, _ = self.pipeline.pop()
            if self._is_stopping:
                cycle.keep_alive = False
            self._answer(cycle)
        elif self._last_words or self._is_stopping:
            transport.write(self._last_words)
            self._leave()
            return
        if not self.pipeline:
            self._read_on()

    def _read_on(self) -> None:
        self._ahead = 0
        self.flow.let_go()
        unread, self._unread = self._unread, b""
        if unread:
            self.data_received(unread)

    @property
    def handshake(self) -> Handshake:
        """What the request that is answered said before its body."""
        return self._running.handshake  # type: ignore[no-any-return]

    @property
    def has_unread_body(self) -> bool:
        """Tell whether something of the body is to come that nobody will read: what follows it could not be told."""
        return bool(self._running.more_body)

    @property
    def _is_busy(self) -> bool:
        return self.cycle is not None and (bool(self.pipeline) or not self._running.response_complete)

    def _refuse(self, why: ConnectionRefused) -> None:
        """Answer what cannot be read, behind the responses that are due, and close."""
        if self._is_leaving or self._last_words:
            return
        logging.getLogger("aiorest_ws").debug("%s: refused: %d %.200r", self.peer, why.status, why.reason)
        to_head = self._framing.has_line and self.parser.get_method() == b"HEAD"
        words = refusal(why.status, why.reason, why.headers, to_head=to_head, as_detail=True)
        broken = self.cycle if self._begun_at and not self._framing.is_head else None  # it was being answered
        if broken is not None and self._is_busy and broken.more_body:
            if broken is self._running:
                self._tell_gone()
                if self._answering is not None:
                    self._answering.cancel()
                if not broken.response_started:
                    self.transport.write(words)
                self._leave()
                return
            self.pipeline.popleft()
        if self._is_busy:
            self._last_words = words
        else:
            self.transport.write(words)
            self._leave()

    # A WebSocket

    def _should_upgrade(self) -> bool:
        return any(name == b"upgrade" and b"websocket" in value.lower() for name, value in self.headers)

    def _on_upgrade(self, rest: bytes) -> bytes:
        """Let a protocol of ours have the transport, when it is free; or give what is to be read anew."""
        is_ours = self._should_upgrade()
        # Of another protocol we know nothing: it goes on as if it had not been offered (RFC 9110 §7.8).
        head = written_head(self, without=() if is_ours else _OFFER) + rest
        if is_ours and not self._is_busy:
            self._give_back(head)
            return b""
        self.parser = httptools.HttpRequestParser(self)
        self._framing.begin()
        self._unread = head if is_ours else b""
        return b"" if is_ours else head

    def _give_back(self, data: bytes) -> None:
        """Let a protocol of ours have the transport, with what it is asked."""
        transport, factory = self.transport.transport, self.factory  # type: ignore[attr-defined]
        protocol = factory()
        protocol._raw, protocol._announced = self._raw, self._announced
        self.state = self.STATE_CLOSED
        self.connections.discard(self)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        self.transport = None  # type: ignore[assignment]
        factory.forget(self)
        if self.flow.read_paused:
            transport.resume_reading()
        protocol.data_received(data)

    # The end, and what the server does

    def _leave(self) -> None:
        """Close the connection, so that what was sent is read whatever the client goes on to send."""
        transport = self.transport
        if transport is None or self._is_leaving or transport.is_closing():
            return
        self._is_leaving = True
        self.pipeline.clear()
        is_idle = not (self._begun_at or self._last_words or self._is_busy) and self._running.keep_alive
        close_behind(transport.transport, unread=not is_idle)  # type: ignore[attr-defined]
        self.factory.leaves(self)

    @property
    def _stopping(self) -> bool:
        return self._is_stopping

    @_stopping.setter
    def _stopping(self, stopping: bool) -> None:
        self._is_stopping = stopping
        if self._is_busy:
            self._running.keep_alive = False
        elif not self._begun_at:
            self._leave()

    @property
    def tasks(self) -> Any:
        """What answers a request, and comes to an end; of another app the factory knows."""
        task = self._answering
        is_known = task is None or task.done() or self.is_streaming or not self._running.is_ours
        return frozenset() if is_known else frozenset((task,))

    @tasks.setter
    def tasks(self, tasks: Any) -> None:
        """Leave those of all connections, which uvicorn would set."""

    def close(self, code: int = 1000, reason: str | None = None) -> None:
        """End the connection; a stream of events ends by itself."""
        if not self.is_streaming:
            self._leave()

    def is_of(self, user: Any) -> bool:
        return False

    def _waiting(self) -> int:
        size = self.transport.get_write_buffer_size()
        return int(size if self._raw is None else size + self._raw.get_write_buffer_size())

    def _traffic(self) -> tuple[int, int]:
        return 0, self.transport.sent  # type: ignore[attr-defined]

    def _look(self, now: float, limits: Any) -> None:
        """Drop a client that is too slow, to ask or to read, one that is idle, and one that left unheard."""
        waiting = self._waiting()
        if not waiting:
            self._left_at = 0.0
        if waiting and standstill(self, waiting, now) >= (limits.send_timeout or float("inf")):
            self._drop("the client does not read what it is sent")
        elif self.flow.read_paused and self._is_busy and not self._running.more_body and hung_up(self.transport):
            self._drop("the client has hung up")
        elif self._begun_at and not self.flow.read_paused:
            patience = limits.handshake_timeout if self._framing.is_head else limits.send_timeout or _LONGEST
            if patience is not None and now - self._begun_at >= patience:
                what = "head" if self._framing.is_head else "body"
                self._refuse(ConnectionRefused(408, f"the {what} of the request took too long"))
        elif not self._is_busy and now - self._idle_since >= (limits.idle_timeout or _KEPT):
            self._leave()

    def _drop(self, why: str) -> None:
        self.factory.complaints.write(logging.INFO, f"{self.peer}: {printable(why)}")
        self.transport.abort()
