"""A test's requests in, replies and events out, in the test's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiorest_ws.status import WS_NORMAL
from aiorest_ws.testing.acting import act_as
from aiorest_ws.testing.clock import keep_going
from aiorest_ws.testing.exchange import OWN_ID, Exchange, event_in
from aiorest_ws.testing.link import Link
from aiorest_ws.testing.messages import Event, Reply, form_of, pack
from aiorest_ws.testing.running import Running
from aiorest_ws.testing.subscribing import AsyncSubscription

if TYPE_CHECKING:
    from typing import Self

    from aiorest_ws.app import Application
    from aiorest_ws.request import RequestHandlerFactory, RequestHandlerProtocol

__all__ = ("AsyncTestClient",)

_PEER = ("127.0.0.1", 50000)


class AsyncTestClient:
    """A client of an application that runs in the test's loop, without a socket.

        async with AsyncTestClient(app) as client:
            reply = await client.get("/users/1", args={"fields": ["name"]})
            assert reply.ok and reply.data == {"name": "Ada"}

    app            the Application; its constructor's options hold. It need not be started, and may be
    path           of the handshake; the one that the application serves if not given
    query          of the handshake, added to `path`
    headers        of the handshake, a mapping or pairs; `Host` is "testserver" unless it is among them
    cookies        of the handshake
    origin         of the page that connects, None for a program
    subprotocols   that the client offers
    peer           address of the client, a pair of host and port
    form           "text", "text-base64", "binary", "binary-base64" or "msgpack": how requests are sent, unless they say
                   otherwise
    overrides      of dependencies, as in `Application.dependency_overrides`, for as long as the client is there
    token          of the handshake, as its header `Authorization: Bearer`
    user           whom the application takes the client for, whatever its authenticators say: a user, or the id of one
    claims         of that user, as `request.token_payload` has them
    timeout        seconds that everything awaited here may take, then it is a TimeoutError

    After the handshake:

    is_open                    whether the connection is
    connection                 the server's end, a RequestHandlerProtocol
    response_headers           of the handshake's answer, names in lower case
    subprotocol                what was agreed on, or None
    close_code, close_reason   why the connection ended; None while it is up
    """

    __test__ = False  # no test class, whatever pytest makes of its name

    connection: RequestHandlerProtocol

    def __init__(
        self,
        app: Application,
        path: str | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        cookies: Mapping[str, str] | None = None,
        origin: str | None = None,
        subprotocols: Iterable[str] = (),
        peer: Any = _PEER,
        form: str = "text",
        overrides: Mapping[Any, Any] | None = None,
        token: str | None = None,
        user: Any = None,
        claims: Mapping[str, Any] | None = None,
        timeout: float = 5.0,
    ) -> None:
        form_of(form)
        if not hasattr(app, "prepare"):
            raise TypeError(f"app must be an Application, got {app!r:.200}{_application_of(app)}")
        self.app = app
        self.form = form
        self.timeout = timeout
        self._path = path
        self._query = query
        self._headers = list(headers.items() if isinstance(headers, Mapping) else headers)
        if cookies:
            self._headers.append(("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())))
        if origin is not None:
            self._headers.append(("Origin", origin))
        if subprotocols := list(subprotocols):
            self._headers.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
        if token is not None:
            self._headers.append(("Authorization", f"Bearer {token}"))
            if user is not None or [name.lower() for name, _ in self._headers].count("authorization") > 1:
                raise TypeError("token must stand alone: no user, and no other header Authorization")
        if user is None and claims is not None:
            raise TypeError("claims must be those of a user: give one, or a token that has them")
        self._user, self._claims = user, claims
        self._peer = peer
        self._overrides = dict(overrides or {})
        for function in (*self._overrides, *self._overrides.values()):
            if not callable(function):
                raise TypeError(f"overrides must be of functions by functions, got {function!r}")
        self._undo = ExitStack()
        self._replaced = ExitStack()  # dependencies
        self._running: Running | None = None
        self._is_first = True
        self._exchange = Exchange()
        self._link = Link(self._exchange.arrived)

    def connect(self, path: str | None = None, **options: Any) -> Self:
        """Give another client of the same running application; it connects when its block is entered."""
        if self._running is None:
            raise RuntimeError("client is not connected, use it in a `with` block")
        inherited: dict[str, Any] = {"timeout": self.timeout, "form": self.form}
        other = type(self)(self.app, path, **(inherited | options))
        other._running, other._is_first = self._running, False
        return other

    @property
    def response_headers(self) -> Mapping[str, str]:
        return self._link.headers

    @property
    def subprotocol(self) -> str | None:
        return self.response_headers.get("sec-websocket-protocol")

    @property
    def is_open(self) -> bool:
        return self._link.is_open

    @property
    def close_code(self) -> int | None:
        return self._link.close_code

    @property
    def close_reason(self) -> str | None:
        return self._link.close_reason

    # The connection

    async def __aenter__(self) -> Self:
        """Do the opening handshake. Raises HandshakeRefused."""
        if self._link.is_begun:
            raise RuntimeError("client was used already, make another")
        if self._running is None:
            running = Running(self.app)
            self._undo.callback(keep_going(asyncio.get_running_loop()))
            try:
                await running.start()
            except BaseException:  # raised again
                self._undo.close()
                raise
            self._running = running
        for dependency, instead in self._overrides.items():
            self._replaced.callback(_override(self.app.dependency_overrides, dependency, instead))
        try:
            await self._open(self._running.factory)
        except BaseException:  # raised again: an `__aenter__` that fails has no `__aexit__`
            await self._leave()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._leave()

    async def _open(self, factory: RequestHandlerFactory) -> None:
        self.connection = factory()
        if self._user is not None:
            act_as(factory, self.connection, self._user, self._claims)
        path = (factory.served_path or "/") if self._path is None else self._path
        if self._query:
            path += ("&" if "?" in path else "?") + urlencode(self._query, doseq=True)
        await self._link.open(self.connection, path, self._headers, peer=self._peer, timeout=self.timeout)

    async def close(self, code: int = WS_NORMAL, reason: str = "") -> None:
        """Do the closing handshake (RFC 6455 §7.1.2). Does nothing when the connection is closed."""
        await self._link.close(code, reason, self.timeout)

    def abort(self) -> None:
        """Leave without a close frame, as a client does whose machine fails."""
        self._link.abort()

    async def wait_closed(self, *, timeout: float | None = None) -> int | None:
        """Wait until the connection is closed, and give the code."""
        await self._link.wait_closed(self.timeout if timeout is None else timeout)
        return self.close_code

    async def _leave(self) -> None:
        running = self._running
        with self._undo:
            try:
                if self._link.is_begun and not self._link.ended:
                    await self._end()
            finally:
                self._replaced.close()
                if running is not None and self._is_first:
                    self._running = None
                    await running.stop()

    async def _end(self) -> None:
        tasks = list(self.connection.tasks)  # they are cancelled when the connection ends
        await self._link.leave(self.timeout)
        if tasks:
            await asyncio.wait(tasks, timeout=self.timeout)

    # Requests

    async def request(
        self,
        method: str,
        url: str,
        *,
        args: Mapping[str, Any] | None = None,
        data: Any = None,
        id: Any = OWN_ID,  # noqa: A002 (the key of the request)
        event_name: Any = None,
        form: str | None = None,
        timeout: float | None = None,
        **extra: Any,
    ) -> Reply:
        """Send a request and give the reply to it.

        id      the client's own if not given; None sends none, and the reply has no status. Without one, the first
                message without an id is taken for the reply, be it a push
        extra   more keys of the request (`token="…"`)

        Raises TimeoutError and ConnectionClosed.
        """
        parts = {"args": args, "data": data, "event_name": event_name, "id": id, "form": form, "timeout": timeout}
        return await self._request(method, url, parts | extra, lambda _: None)

    async def _request(
        self, method: str, url: str | None, parts: Mapping[str, Any], answered: Callable[[Reply], None]
    ) -> Reply:
        """Send a request, and give the reply; `answered` is called with it before anything that comes behind it."""
        keys = dict(parts)
        form, timeout = keys.pop("form", None), keys.pop("timeout", None)
        message, expected = self._exchange.compose(method, url, keys, answered)
        self._link.send(*pack(message, form_of(form or self.form)))
        self._exchange.expect(expected)
        await self._until(lambda: expected.reply is not None, f"a reply to {method} {url}", timeout)
        assert expected.reply is not None
        return expected.reply

    async def get(self, url: str, **parts: Any) -> Reply:
        """`request("GET", url, …)`, as the other verbs do for theirs."""
        return await self.request("GET", url, **parts)

    async def post(self, url: str, **parts: Any) -> Reply:
        return await self.request("POST", url, **parts)

    async def put(self, url: str, **parts: Any) -> Reply:
        return await self.request("PUT", url, **parts)

    async def patch(self, url: str, **parts: Any) -> Reply:
        return await self.request("PATCH", url, **parts)

    async def delete(self, url: str, **parts: Any) -> Reply:
        return await self.request("DELETE", url, **parts)

    async def head(self, url: str, **parts: Any) -> Reply:
        return await self.request("HEAD", url, **parts)

    async def options(self, url: str, **parts: Any) -> Reply:
        return await self.request("OPTIONS", url, **parts)

    async def trace(self, url: str, **parts: Any) -> Reply:
        return await self.request("TRACE", url, **parts)

    # Subscriptions

    def subscribe(
        self,
        url: str,
        *,
        args: Mapping[str, Any] | None = None,
        since: str | None = None,
        form: str | None = None,
        timeout: float | None = None,
        **extra: Any,
    ) -> AsyncSubscription:
        """Subscribe to `url`: `async with client.subscribe(url) as it:` or `it = await client.subscribe(url)`.

        since   a version that the client has, `it.version` of a subscription before
        extra   more keys of the request (`token="…"`)

        Raises SubscriptionRefused, TimeoutError and ConnectionClosed. Its pushes and its end are for it alone: neither
        `receive` nor `events` give them. Of two of one topic the later one gets them, as on the wire.
        """
        parts = {"args": args, "form": form, "timeout": timeout} | extra
        return AsyncSubscription(self, url, since, parts)

    async def ping(self, *, timeout: float | None = None) -> None:
        """Send a PING, the message, and wait for what answers it."""
        await self._request("PING", None, {"timeout": timeout}, lambda _: None)

    async def advance(self, seconds: float = 0.0) -> None:
        """Let so much time pass for subscriptions, at once, and wait until what is due was done and has arrived.

        That is time for `interval`, `refresh`, `recheck`, `history_seconds`, retries, the expiry of tokens that the
        application's own middlewares know, and what is kept under an `idempotency_key`. Everything else goes by the
        real clock. It is the time of the application: all of its clients see it pass; 0 only waits.

        Raises TimeoutError when handlers that run for subscriptions have not ended within `timeout` seconds.
        """
        if self._running is None:
            raise RuntimeError("client is not connected, use it in a `with` block")
        try:
            async with asyncio.timeout(self.timeout):
                await self._running.passing.advance(seconds)
        except TimeoutError:
            raise TimeoutError(
                f"expected what runs for subscriptions to end, it did not in {self.timeout:g} s"
            ) from None

    # What is no request, and what answers none

    async def send(self, payload: str | bytes) -> None:
        """Send a message as it is: a `str` as text, `bytes` as binary. What answers it is for `receive`."""
        if isinstance(payload, str):
            self._link.send(payload.encode(), False)
        else:
            self._link.send(payload, True)

    async def receive(self, *, timeout: float | None = None) -> str | bytes:
        """Give the next message that answers no `request` and is not for a `subscribe`, as it came."""
        payload, is_binary = await self._next("a message", timeout)
        return payload if is_binary else payload.decode()

    async def receive_event(self, *, timeout: float | None = None) -> Event:
        """Give the next event that the server pushes, with its `version` if a subscription is told.

        Raises ValueError when the next message is something else, such as the end of a subscription.
        """
        payload, _ = await self._next("an event", timeout)
        return event_in(payload)

    def events(self) -> list[Event]:
        """Give the events that have come since they were last asked for, without waiting."""
        unasked, self._exchange.unasked = self._exchange.unasked, []
        return [event_in(payload) for payload, _ in unasked]

    async def _next(self, what: str, timeout: float | None) -> tuple[bytes, bool]:
        await self._until(lambda: bool(self._exchange.unasked), what, timeout)
        return self._exchange.unasked.pop(0)

    async def _until(self, ready: Callable[[], bool], what: str, timeout: float | None) -> None:
        await self._link.until(ready, what, self.timeout if timeout is None else timeout)


def _override(overrides: dict[Any, Any], dependency: Any, instead: Any) -> Callable[[], Any]:
    """Put `instead` into `overrides`, and give what undoes it."""
    if dependency in overrides:
        undo = partial(overrides.__setitem__, dependency, overrides[dependency])
    else:
        undo = partial(overrides.pop, dependency, None)
    overrides[dependency] = instead
    return undo


def _application_of(what: object) -> str:
    """Say which application was meant."""
    if hasattr(what, "process_request"):
        return ": Application(router) has the routes of a router"
    return ": give the application of which it is the asgi()" if hasattr(what, "served_path") else ""
