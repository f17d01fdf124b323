"""`Client`: a server's urls, called and subscribed to from programs without asyncio."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack, overload

from aiorest_ws.client.asynchronous import AsyncClient
from aiorest_ws.client.errors import ClientClosed, TimedOut
from aiorest_ws.client.inbox import Change, Event, State
from aiorest_ws.client.options import CallOptions, ClientOptions, SubscribeOptions
from aiorest_ws.client.replies import Reply
from aiorest_ws.client.subscriptions import AsyncSubscription
from aiorest_ws.client.threads import LoopThread, in_a_thread
from aiorest_ws.client.tokens import TokenSource

__all__ = ("Client", "Events", "Statuses", "Subscription")

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 (an item)


class _Iterated(Iterator[T]):
    """What an iterator of asyncio gives, to whoever waits for it."""

    def __init__(self, thread: LoopThread, make: Callable[..., Any], *args: Any, **options: Any) -> None:
        self._thread = thread
        self._given: Any = thread.run(_called(make, *args, **options))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        return self.next()

    def next(self, timeout: float | None = None) -> T:
        """Give the next one. Raises StopIteration behind the last, TimedOut if none comes in so many seconds."""
        try:
            return self._thread.run(_next(self._given, timeout))  # type: ignore[no-any-return]
        except (StopAsyncIteration, ClientClosed):
            raise StopIteration from None

    def close(self) -> None:
        """End it. May be called again."""
        if self._thread.is_here():
            with suppress(ClientClosed):  # just now
                self._thread.run(_called(self._given.close))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def _next(given: Any, timeout: float | None) -> Any:
    try:
        async with asyncio.timeout(timeout) as limit:
            return await anext(given)
    except TimeoutError:
        if not limit.expired():
            raise
        raise TimedOut(f"nothing came within {timeout:g} s") from None


class Subscription(_Iterated[Change[T]], Generic[T]):
    """The changes of a url: see `AsyncSubscription`."""

    _given: AsyncSubscription[T]

    @property
    def status(self) -> str:
        """Give "live", "stale" (what is known may be old), or "ended"."""
        return self._given.status

    def statuses(self) -> Statuses:
        """Give how it stands, now and whenever that changes."""
        return Statuses(self._thread, self._given.statuses)


class Events(_Iterated[Event]):
    """What the server sends by `send_event`: see `AsyncEvents`."""


class Statuses(_Iterated[State]):
    """How a client, or a subscription, stands: see `AsyncStatuses`."""


async def _called(function: Any, *args: Any, **options: Any) -> Any:
    """Call a function in the loop."""
    return function(*args, **options)


class Client:
    """A server's urls, over one connection that comes back by itself; it may be used by several threads.

        with Client("wss://api.example.com", token=token) as api:
            order = api.get("/orders/7", type=Order)

    Its connection is read in a thread of its own, in which nothing of yours runs: a function that gives a token has
    another one. See `AsyncClient` for the rest: it is the same.
    """

    def __init__(self, url: str, *, token: TokenSource = None, **options: Unpack[ClientOptions]) -> None:
        self._client = AsyncClient(url, token=_apart(token), **options)
        self._thread = LoopThread(self._client.close)
        self._end = weakref.finalize(self, self._thread.stop)

    # Its life

    def __enter__(self) -> Self:
        try:
            self.connect()
        except BaseException:  # Ctrl-C, too: whose block does not begin has no `__exit__`
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Wait for the connection that is being made. Raises HandshakeRefused, ConnectionLost when that fails."""
        self._thread.run(self._client.connect())

    def close(self) -> None:
        """Close the connection: calls fail with ClientClosed, subscriptions end. May be called again, at any time."""
        self._end()

    def reconnect(self) -> None:
        """Take another connection at once; calls that are under way fail, subscriptions go on where they were."""
        self._thread.run(self._client.reconnect())

    def sign_in(self, token: TokenSource) -> None:
        """Go on as another user, or as nobody (None), over a new connection; calls that are under way fail."""
        self._thread.run(self._client.sign_in(_apart(token)))

    @property
    def status(self) -> str:
        """Give "connecting" for the first time, "open", "offline" until it is back, or "closed" for good."""
        return self._client.status

    def statuses(self) -> Statuses:
        """Give how it stands, now and whenever that changes."""
        return Statuses(self._thread, self._client.statuses)

    # Calls

    @overload
    def request(self, method: str, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    def request(self, method: str, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    def request(self, method: str, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """Call a url, and give the `data` of the reply, as a `type` if one is given: see `AsyncClient.request`."""
        return self._thread.run(self._client.request(method, url, type=type, **options))

    def exchange(self, method: str, url: str, **options: Unpack[CallOptions]) -> Reply:
        """Call a url, and give the whole reply."""
        return self._thread.run(self._client.exchange(method, url, **options))

    @overload
    def get(self, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    def get(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    def get(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """GET a url: see `request`."""
        return self.request("GET", url, type=type, **options)

    @overload
    def post(self, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    def post(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    def post(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """POST a url: see `request`."""
        return self.request("POST", url, type=type, **options)

    @overload
    def put(self, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    def put(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    def put(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """PUT a url: see `request`."""
        return self.request("PUT", url, type=type, **options)

    @overload
    def patch(self, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    def patch(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    def patch(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """PATCH a url: see `request`."""
        return self.request("PATCH", url, type=type, **options)

    @overload
    def delete(self, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    def delete(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    def delete(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """DELETE a url: see `request`."""
        return self.request("DELETE", url, type=type, **options)

    @overload
    def head(self, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    def head(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    def head(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """HEAD a url: see `request`."""
        return self.request("HEAD", url, type=type, **options)

    @overload
    def options(self, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    def options(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    def options(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """OPTIONS a url: see `request`."""
        return self.request("OPTIONS", url, type=type, **options)

    # What the server begins

    @overload
    def subscribe(
        self, url: str, *, type: type[T], item: type[I], **options: Unpack[SubscribeOptions]
    ) -> Subscription[T | I]: ...
    @overload
    def subscribe(self, url: str, *, type: type[T], **options: Unpack[SubscribeOptions]) -> Subscription[T]: ...
    @overload
    def subscribe(
        self, url: str, *, type: Any = None, item: Any = None, **options: Unpack[SubscribeOptions]
    ) -> Subscription[Any]: ...
    def subscribe(
        self, url: str, *, type: Any = None, item: Any = None, **options: Unpack[SubscribeOptions]
    ) -> Subscription[Any]:
        """Give the changes of a url, to iterate: see `AsyncClient.subscribe`."""
        return Subscription(self._thread, self._client.subscribe, url, type=type, item=item, **options)

    def events(self) -> Events:
        """Give what the server sends to this connection by `send_event`, from now on, to iterate."""
        return Events(self._thread, self._client.events)


def _apart(token: TokenSource) -> TokenSource:
    """Give what asks for a token in a thread of its own, as it may block; a coroutine function waits by itself."""
    if not callable(token) or inspect.iscoroutinefunction(token):
        return token
    function = token

    async def ask() -> Any:
        given = await in_a_thread(function)
        return await given if inspect.isawaitable(given) else given

    return ask
