"""`AsyncClient`: a server's urls, called and subscribed to from asyncio."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

from aiorest_ws.client.errors import ClientClosed, ConnectionLost, failure_of
from aiorest_ws.client.inbox import Event, Feed, State
from aiorest_ws.client.link import Link
from aiorest_ws.client.options import (
    CallOptions,
    ClientOptions,
    SubscribeOptions,
    address_of,
    check_keywords,
    link_options_of,
    seconds,
)
from aiorest_ws.client.reconnecting import Backoff
from aiorest_ws.client.replies import Reply
from aiorest_ws.client.shapes import fitted
from aiorest_ws.client.subscriptions import AsyncEvents, AsyncStatuses, AsyncSubscription
from aiorest_ws.client.tokens import TokenSource
from aiorest_ws.client.topics import Topics

__all__ = ("AsyncClient",)

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 (an item)
_DEFAULT: Any = object()  # a timeout that was not given
_KEYS = (16, 128)  # bytes of an idempotency key


class AsyncClient:
    """A server's urls, over one connection that comes back by itself. Any number of calls at a time.

        async with AsyncClient("wss://api.example.com", token=token) as api:
            order = await api.get("/orders/7", type=Order)

    url      ws://host:port/path, wss://…, or unix:/path/of/socket
    token    a JSON Web Token, or a function, `async` or not, that gives one: it is called before the token expires, and
             once when the server refuses it
    """

    def __init__(self, url: str, *, token: TokenSource = None, **options: Unpack[ClientOptions]) -> None:
        given: dict[str, Any] = {**options}
        self._timeout = seconds("timeout", given.pop("timeout", 30.0))
        address = address_of(url, given)
        link_options = link_options_of(given)
        self._events: list[Feed[Event]] = []
        self._watchers: list[Feed[State]] = []
        self._link = Link(address, token, link_options, self)
        self._topics = Topics(self._link, lambda: Backoff(*link_options.backoff), self._timeout)

    # Its life

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:  # cancelled, too: whose block does not begin has no `__aexit__`
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Wait for the connection that is being made. Raises HandshakeRefused, ConnectionLost when that fails.

        The first call connects, too, and waits for it; who enters the client has connected.
        """
        await self._link.connector.opened()

    async def close(self) -> None:
        """Close the connection: calls fail with ClientClosed, subscriptions end. May be called again, at any time."""
        await self._link.connector.close()

    async def reconnect(self) -> None:
        """Take another connection at once: the network is another one, or there is one again.

        Calls that are under way fail with ConnectionLost; subscriptions go on where they were.
        """
        self._link.connector.begin()
        self._link.connector.again(ConnectionLost("another connection was asked for"))
        await self.connect()

    async def sign_in(self, token: TokenSource) -> None:
        """Go on as another user, or as nobody (None), over a new connection.

        What was known of subscriptions is forgotten, and what was not read yet; calls that are under way fail with
        ConnectionLost.
        """
        self._link.connector.become(token)
        await self.connect()

    @property
    def status(self) -> str:
        """Give "connecting" for the first time, "open", "offline" until it is back, or "closed" for good."""
        return self._link.connector.state.status

    def statuses(self) -> AsyncStatuses:
        """Give how it stands, now and whenever that changes."""
        return AsyncStatuses(self._watchers, self._link.connector.state)

    # Calls

    @overload
    async def request(self, method: str, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    async def request(self, method: str, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    async def request(self, method: str, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """Call a url, and give the `data` of the reply, as a `type` if one is given (msgspec, dataclass, pydantic …).

        Raises RequestFailed, by status; ConnectionLost, TimedOut, which say whether it may have run; UnexpectedReply
        with the place in it where `data` does not fit.
        """
        return fitted((await self._asked(method, url, **options)).get("data"), type)

    async def exchange(self, method: str, url: str, **options: Unpack[CallOptions]) -> Reply:
        """Call a url, and give the whole reply: with its status, and the urls that it says to have changed."""
        return Reply.of(await self._asked(method, url, **options))

    async def _asked(
        self,
        method: str,
        url: str,
        *,
        args: Mapping[str, Any] | None = None,
        data: Any = None,
        timeout: float | None = _DEFAULT,
        idempotency_key: str | None = None,
        extra: Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> dict[str, Any]:
        check_keywords(unknown, "a call", CallOptions)
        link = self._link
        if idempotency_key is not None and not _KEYS[0] <= len(idempotency_key.encode()) <= _KEYS[1]:
            raise ValueError(f"idempotency_key must have 16 to 128 bytes, got {idempotency_key!r:.200}")
        message = link.message_of(method, url, args=args, data=data, idempotency_key=idempotency_key)
        if extra:
            message = dict(extra) | message
        limit = self._timeout if timeout is _DEFAULT else seconds("timeout", timeout)
        reply = await link.ask(message, limit, repeats=idempotency_key is not None)
        if reply["status"] >= 400:
            raise failure_of(reply)
        return reply

    @overload
    async def get(self, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    async def get(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    async def get(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """GET a url: see `request`."""
        return await self.request("GET", url, type=type, **options)

    @overload
    async def post(self, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    async def post(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    async def post(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """POST a url: see `request`."""
        return await self.request("POST", url, type=type, **options)

    @overload
    async def put(self, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    async def put(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    async def put(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """PUT a url: see `request`."""
        return await self.request("PUT", url, type=type, **options)

    @overload
    async def patch(self, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    async def patch(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    async def patch(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """PATCH a url: see `request`."""
        return await self.request("PATCH", url, type=type, **options)

    @overload
    async def delete(self, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    async def delete(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    async def delete(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """DELETE a url: see `request`."""
        return await self.request("DELETE", url, type=type, **options)

    @overload
    async def head(self, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    async def head(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    async def head(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """HEAD a url: see `request`."""
        return await self.request("HEAD", url, type=type, **options)

    @overload
    async def options(self, url: str, *, type: type[T], **options: Unpack[CallOptions]) -> T: ...
    @overload
    async def options(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any: ...
    async def options(self, url: str, *, type: Any = None, **options: Unpack[CallOptions]) -> Any:
        """OPTIONS a url: see `request`."""
        return await self.request("OPTIONS", url, type=type, **options)

    # What the server begins

    @overload
    def subscribe(
        self, url: str, *, type: type[T], item: type[I], **options: Unpack[SubscribeOptions]
    ) -> AsyncSubscription[T | I]: ...
    @overload
    def subscribe(self, url: str, *, type: type[T], **options: Unpack[SubscribeOptions]) -> AsyncSubscription[T]: ...
    @overload
    def subscribe(
        self, url: str, *, type: Any = None, item: Any = None, **options: Unpack[SubscribeOptions]
    ) -> AsyncSubscription[Any]: ...
    def subscribe(
        self, url: str, *, type: Any = None, item: Any = None, **options: Unpack[SubscribeOptions]
    ) -> AsyncSubscription[Any]:
        """Give the changes of a url, to iterate: the value now, then each change, or each item of a log.

        It goes on over lost connections: of a state the last value counts, of a log nothing is missed or comes twice,
        or the change says that something is `lost`. Who reads slowly gets the last value, and misses items only if
        the server keeps them no longer.

        type    of the value
        item    of an item of a log; not given, of `type=list[Message]` it is Message
        """
        check_keywords(options, "a subscription", SubscribeOptions)
        self._link.connector.begin()
        return AsyncSubscription(*self._topics.listen(url, **options), type, item)

    def events(self) -> AsyncEvents:
        """Give what the server sends to this connection by `send_event`, from now on, to iterate."""
        self._link.connector.begin()
        return AsyncEvents(self._events)

    # What the link tells

    def on_push(self, message: dict[str, Any], size: int) -> None:
        if "version" in message or "status" in message:
            self._topics.on_push(message, size)
        else:
            event = Event(message["event_name"], message.get("data"))
            for feed in self._events:
                feed.put(event)

    def on_state(self, state: State) -> None:
        for watcher in self._watchers:
            watcher.put(state)
        if state.status == "open":
            self._topics.on_open()
        elif state.status == "offline":
            self._topics.on_loss(state.reason)
        elif state.status == "closed":
            reason = None if isinstance(state.reason, ClientClosed) else state.reason
            self._topics.end(reason)
            for events in self._events:
                events.end()
            for watcher in self._watchers:
                watcher.end()

    def on_token(self) -> None:
        self._topics.on_open()

    def on_user(self) -> None:
        self._topics.on_user()
        for events in self._events:
            events.forget()
