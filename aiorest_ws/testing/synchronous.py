"""A test's requests in, replies and events out, for plain functions: the client has a loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from aiorest_ws.testing.asynchronous import AsyncTestClient
from aiorest_ws.testing.clock import keep_going
from aiorest_ws.testing.messages import Event, Reply
from aiorest_ws.testing.subscribing import Subscription

if TYPE_CHECKING:
    from typing import Self

    from aiorest_ws.app import Application
    from aiorest_ws.request import RequestHandlerProtocol

__all__ = ("TestClient",)

T = TypeVar("T")


class TestClient:
    """A client of an application that runs in a loop of the client's own, without a socket and without a thread.

        with TestClient(app) as client:
            reply = client.get("/users/1", args={"fields": ["name"]})
            assert reply.ok and reply.data == {"name": "Ada"}

    The loop runs while a call waits, and stands still between two: nothing happens in the application meanwhile.
    Arguments and attributes are those of `AsyncTestClient`.
    """

    __test__ = False  # no test class, whatever pytest makes of its name

    def __init__(self, app: Application, path: str | None = None, **options: Any) -> None:
        self._client = AsyncTestClient(app, path, **options)
        self._loop = _Loop()
        self._is_first = True

    def connect(self, path: str | None = None, **options: Any) -> Self:
        """Give another client of the same running application; it connects when its block is entered."""
        other = type(self).__new__(type(self))
        other._client, other._loop, other._is_first = self._client.connect(path, **options), self._loop, False
        return other

    # The connection

    def __enter__(self) -> Self:
        """Do the opening handshake. Raises HandshakeRefused."""
        if self._is_first:
            self._loop.open()
        try:
            self._loop.run(self._client.__aenter__)
        except BaseException:  # raised again: an `__enter__` that fails has no `__exit__`
            if self._is_first:
                self._loop.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            if self._loop.is_open:  # else the first client, which is gone, has closed them all
                self._loop.run(self._client.__aexit__)
        finally:
            if self._is_first:
                self._loop.close()

    @property
    def connection(self) -> RequestHandlerProtocol:
        return self._client.connection

    @property
    def is_open(self) -> bool:
        return self._client.is_open

    @property
    def response_headers(self) -> Mapping[str, str]:
        return self._client.response_headers

    @property
    def subprotocol(self) -> str | None:
        return self._client.subprotocol

    @property
    def close_code(self) -> int | None:
        return self._client.close_code

    @property
    def close_reason(self) -> str | None:
        return self._client.close_reason

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Do the closing handshake (RFC 6455 §7.1.2). Does nothing when the connection is closed."""
        self._loop.run(self._client.close, code, reason)

    def abort(self) -> None:
        """Leave without a close frame, as a client does whose machine fails."""
        self._client.abort()

    def wait_closed(self, *, timeout: float | None = None) -> int | None:
        """Wait until the connection is closed, and give the code."""
        return self._loop.run(self._client.wait_closed, timeout=timeout)

    # Requests

    def request(self, method: str, url: str, **parts: Any) -> Reply:
        """Send a request and give the reply to it. The parts are those of `AsyncTestClient.request`."""
        return self._loop.run(self._client.request, method, url, **parts)

    def get(self, url: str, **parts: Any) -> Reply:
        """`request("GET", url, …)`, as the other verbs do for theirs."""
        return self.request("GET", url, **parts)

    def post(self, url: str, **parts: Any) -> Reply:
        return self.request("POST", url, **parts)

    def put(self, url: str, **parts: Any) -> Reply:
        return self.request("PUT", url, **parts)

    def patch(self, url: str, **parts: Any) -> Reply:
        return self.request("PATCH", url, **parts)

    def delete(self, url: str, **parts: Any) -> Reply:
        return self.request("DELETE", url, **parts)

    def head(self, url: str, **parts: Any) -> Reply:
        return self.request("HEAD", url, **parts)

    def options(self, url: str, **parts: Any) -> Reply:
        return self.request("OPTIONS", url, **parts)

    def trace(self, url: str, **parts: Any) -> Reply:
        return self.request("TRACE", url, **parts)

    # Subscriptions

    def subscribe(self, url: str, **parts: Any) -> Subscription:
        """Subscribe to `url`, with the parts of `AsyncTestClient.subscribe`: `with client.subscribe(url) as it:`."""
        return Subscription(self._loop.run, self._client.subscribe(url, **parts))

    def ping(self, *, timeout: float | None = None) -> None:
        """Send a PING, the message, and wait for what answers it."""
        self._loop.run(self._client.ping, timeout=timeout)

    def advance(self, seconds: float = 0.0) -> None:
        """Let so much time pass for subscriptions, and wait until what is due was done: `AsyncTestClient.advance`."""
        self._loop.run(self._client.advance, seconds)

    # What is no request, and what answers none

    def send(self, payload: str | bytes) -> None:
        """Send a message as it is: a `str` as text, `bytes` as binary. What answers it is for `receive`."""
        self._loop.run(self._client.send, payload)

    def receive(self, *, timeout: float | None = None) -> str | bytes:
        """Give the next message that answers no `request`, as it came."""
        return self._loop.run(self._client.receive, timeout=timeout)

    def receive_event(self, *, timeout: float | None = None) -> Event:
        """Give the next event that the server pushes. Raises ValueError when the next message is something else."""
        return self._loop.run(self._client.receive_event, timeout=timeout)

    def events(self) -> list[Event]:
        """Give the events that have come since they were last asked for, without waiting."""
        return self._client.events()


class _Loop:
    """A loop that several clients share, and that runs while one of them waits."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    @property
    def is_open(self) -> bool:
        return self._runner is not None

    def open(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("TestClient cannot be used where an event loop is running: use AsyncTestClient there")
        # With a factory it stays the client's own: not what `asyncio.get_event_loop` gives to others.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        keep_going(self._runner.get_loop())

    def close(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    def run(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any) -> T:
        if self._runner is None:
            raise RuntimeError("client is not connected, use it in a `with` block")
        return self._runner.run(function(*args, **kwargs))
