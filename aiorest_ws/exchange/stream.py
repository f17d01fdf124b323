"""GET of a live route with `Accept: text/event-stream` → a subscription, whose pushes are events of its response."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from typing import Any

from orjson import loads

from aiorest_ws._speedups import wrap
from aiorest_ws.connection.guest import Answer, Carrier, Close, Guest, head_of
from aiorest_ws.exceptions import BaseAPIException, ConnectionRefused
from aiorest_ws.exchange.asking import ask
from aiorest_ws.exchange.events import HEARTBEAT, end_by, end_of, event_of, is_end
from aiorest_ws.exchange.replies import Headers, Reply, rendered_reply
from aiorest_ws.exchange.targets import as_sent, is_marked
from aiorest_ws.http.head import Handshake, bearer, client_address
from aiorest_ws.http.proxy_protocol import other_end
from aiorest_ws.http.scopes import address_of, headers_of
from aiorest_ws.realtime.names import canonical_url
from aiorest_ws.status import WS_CLOSED_ABNORMALLY

__all__ = ("Stream",)

_NO_MODIFICATION, _PARTIAL = 304, 206
_HEADERS = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))


def _status_of(close: Close) -> int:
    """Give the status of HTTP that a close code of ours stands for: 4401 for 401; 0 for others."""
    return close.code - 4000 if 4400 <= close.code <= 4599 else 0


class Listening(Guest):
    """One who is told of a live route over HTTP: a connection that has one subscription, and says nothing more."""

    line: Any = None  # that carries it, if it is one of ours: it was let in as that
    refused: ConnectionRefused | BaseAPIException | None = None  # with what the application said no

    def send_event(self, name: Any, data: Any = None) -> bool:
        """Tell that nothing can be sent beside what is told of the route."""
        return False

    async def _ask(self) -> Any:
        try:
            await ask(self)
        except (ConnectionRefused, BaseAPIException) as exc:
            self.refused = exc
            raise ConnectionRefused(403) from exc  # nobody reads it: the carrier gives what was said
        return self._subprotocol()

    def _check_handshake(self, handshake: Handshake) -> None:
        factory = self.factory
        if factory.stopping:
            raise ConnectionRefused(503)
        proxies = self.trustXForwardedFor
        self._check_page(handshake, proxies, may_be_page=bool(handshake.host))
        address = client_address(handshake, proxies)
        self.peer = address or (self.peer if self.line is None else self.line.peer)
        if self.line is None:
            factory.admissions.admit(self, address or other_end(self.transport, None), factory.limits)
        else:
            factory.admissions.release(self)


class Stream:
    """One response that goes on."""

    def __init__(self, exchange: Any, connection: Any, scope: Mapping[str, Any], line: Any) -> None:
        self._factory = factory = exchange.factory
        self._scope = scope
        self._line = line
        self._guest = guest = Listening()
        guest.factory = factory
        guest.line = line
        guest.scope = connection.scope
        self._carrier = Carrier(guest, address_of(scope.get("client")), None)
        self._origin = connection
        self._first = b""

    async def open(self, url: str, args: Any) -> Reply:
        """Subscribe; give the beginning of the response, or the response that says why not."""
        if self._scope.get("http_version", "1.1") == "1.0":
            raise ConnectionRefused(505, "a stream of events needs HTTP/1.1: ask with it, or without text/event-stream")
        try:
            await self._connect()
            message = await self._subscribe(url, args)
        except BaseException:  # raised again
            self.close()
            raise
        known = loads(message)
        if known["status"] >= 400:
            self.close()
            return rendered_reply(message, known["status"], 0, "")
        if known["status"] not in (_NO_MODIFICATION, _PARTIAL):
            self._first = event_of(message)
        return Reply(200, list(_HEADERS), b"", stream=self)

    async def _connect(self) -> None:
        """Have the application's say in it."""
        guest, carrier, handshake = self._guest, self._carrier, self._origin._handshake
        head = head_of(handshake.target.encode("latin-1"), self._headers())
        guest.begin(carrier, head, copy_context())  # what this request sees, its handlers do
        said = await self._next()
        if isinstance(said, Answer) and said.status == 101:
            return
        if guest.refused is not None:
            raise guest.refused
        if isinstance(said, Answer):
            pairs = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in said.headers if n != b"connection"]
            raise ConnectionRefused(said.status, None, headers=pairs)
        raise ConnectionRefused(503)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        """Give the headers of the request, without cookies if the page may not ask with them."""
        has_cookies = "cookie" in self._origin.headers
        return [(name, value) for name, value in headers_of(self._scope) if has_cookies or name.lower() != b"cookie"]

    async def _subscribe(self, url: str, args: Any) -> bytes:
        guest = self._guest
        headers = self._origin.headers
        envelope: dict[str, Any] = {"id": 0, "method": "SUBSCRIBE", "url": self._named(url), "args": args or None}
        if "last-event-id" in headers:
            envelope["since"] = headers["last-event-id"]
        if guest._credentials is None and (token := bearer(headers.get("authorization", ""))):
            envelope["token"] = token
        self._origin.is_observed = True  # as the SUBSCRIBE that it is from here on
        (guest._context or copy_context()).run(guest._receive, wrap(envelope, 0, guest))
        said = await self._next()
        if isinstance(said, Close):
            raise ConnectionRefused(_status_of(said) or 403, said.reason)
        if said is None:
            raise ConnectionRefused(503)
        self._taken(said)
        return said.encode() if isinstance(said, str) else bytes(said)

    def _named(self, url: str) -> str:
        """Give `url` as a message says it. Raises HTTPError, 422, for one that none could say."""
        if not is_marked(url):
            return url
        pipeline = self._guest._pipeline
        plan, params = pipeline.find(pipeline.trie, "GET", url)
        return canonical_url(pipeline.trie, plan, as_sent(params))

    async def _next(self) -> Any:
        """Give what was said next; None once there will be nothing more."""
        outgoing = self._carrier.outgoing
        while outgoing.said.is_empty():
            if outgoing.is_over:
                return None
            await outgoing.more()
        return outgoing.said.take()

    def _taken(self, said: Any) -> None:
        """Take note that a message has left."""
        carrier = self._carrier
        if carrier.outgoing.took(len(said)):
            carrier.breathe()

    async def run(
        self, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]], headers: Headers
    ) -> None:
        """Say what is to be said, until one end leaves."""
        loop = asyncio.get_running_loop()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        except BaseException:  # raised again
            self.close()
            raise
        if self._line is not None:
            self._line.is_streaming = True
        writing, reading = loop.create_task(self._write(send)), loop.create_task(self._wait(receive))
        self._carrier.taker = writing
        try:
            await asyncio.wait((writing, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            writing.cancel()
            await asyncio.wait((writing, reading))
            self.close()
            if self._line is not None:
                self._line.is_streaming = False
        if not writing.cancelled():
            writing.result()  # raises what went wrong

    async def _wait(self, receive: Callable[[], Awaitable[Any]]) -> None:
        """Wait until the client has left."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._guest.leave(WS_CLOSED_ABNORMALLY, None)

    async def _write(self, send: Callable[[Any], Awaitable[None]]) -> None:
        interval = self._factory.limits.ping_interval
        if self._first:
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
        with suppress(OSError):  # the client is gone
            while True:
                try:
                    async with asyncio.timeout(interval):
                        said = await self._next()
                except TimeoutError:
                    await send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})
                    continue
                if isinstance(said, Close) and (status := _status_of(said)):
                    event = end_by(status, said.reason)
                    await send({"type": "http.response.body", "body": event, "more_body": True})
                if said is None or isinstance(said, Close):
                    break
                message = said.encode() if isinstance(said, str) else bytes(said)
                ends = is_end(message)
                event = end_of(message) if ends else event_of(message)
                await send({"type": "http.response.body", "body": event, "more_body": True})
                self._taken(said)
                if ends:
                    break
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def close(self) -> None:
        """Let go of the subscription."""
        guest, carrier = self._guest, self._carrier
        carrier.taker = None
        if guest in self._factory.connections:
            carrier.abort()
            guest.connection_lost(None)
