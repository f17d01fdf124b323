"""One subscription of a test's client: its value, its pushes, and why it ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from aiorest_ws.testing.messages import End, Event, Reply, SubscriptionEnded, SubscriptionRefused

if TYPE_CHECKING:
    from typing import Self

    from aiorest_ws.testing.asynchronous import AsyncTestClient

__all__ = ("AsyncSubscription", "Subscription")


class AsyncSubscription:
    """What `AsyncTestClient.subscribe` gives: enter it or await it, and it is there.

        async with client.subscribe("/orders/7") as order:
            assert order.data == {"state": "new"}
            await client.put("/orders/7", data={"state": "paid"})
            assert (await order.receive()).data == {"state": "paid"}

    Raises SubscriptionRefused. Leaving the block unsubscribes.

    reply      to the SUBSCRIBE
    topic      the name that its pushes have
    data       the value, as it was last received here; of a log, what its handler gave at the beginning; None if the
               client was told that it has it
    version    of what was last received here: the next subscription's `since`
    end        why it ended: an End, with `status`, `detail` and `retry`. None before it is known here
    """

    reply: Reply

    def __init__(self, client: AsyncTestClient, url: str, since: str | None, parts: dict[str, Any]) -> None:
        self.url = url
        self.data: Any = None
        self.version: str | None = since
        self.end: End | None = None
        self._client = client
        self._since = since
        self._parts = parts
        self._arrived: deque[Event] = deque()
        self._is_begun = False

    @property
    def topic(self) -> str:
        return self.reply.topic or self.url

    def __await__(self) -> Generator[Any, Any, Self]:
        return self._subscribe().__await__()

    async def __aenter__(self) -> Self:
        return await self._subscribe()

    async def __aexit__(self, *exc_info: object) -> None:
        if self._client.is_open and self._client._exchange.feeds.get(self.topic) is self:
            await self.unsubscribe()

    async def _subscribe(self) -> Self:
        if not self._is_begun:
            self._is_begun = True
            parts = self._parts if self._since is None else self._parts | {"since": self._since}
            await self._client._request("SUBSCRIBE", self.url, parts, self._begin)
            if not self.reply.ok:
                raise SubscriptionRefused(self.reply)
        return self

    def _begin(self, reply: Reply) -> None:
        """Take the reply; what comes behind it is for this subscription."""
        self.reply = reply
        if reply.ok:
            self.data = reply.data
            if reply.status != 206:  # the missed items are still to come
                self.version = reply.version
            self._client._exchange.feeds[self.topic] = self

    async def unsubscribe(self) -> Reply:
        """End it; pushes that have come are still there. Of one that has ended the server says 404."""
        parts = {"topic": self.topic}
        reply = await self._client._request("UNSUBSCRIBE", None, parts, lambda _: None)
        self._forget()
        return reply

    async def receive(self, *, timeout: float | None = None) -> Event:
        """Give the next push. Raises SubscriptionEnded if there is none, TimeoutError and ConnectionClosed."""
        await self._client._until(self._has_some, f"a push of {self.topic}", timeout)
        if not self._arrived:
            assert self.end is not None
            raise SubscriptionEnded(self.end)
        return self._take()

    def pushes(self) -> list[Event]:
        """Give the pushes that have come since they were last asked for, without waiting."""
        return [self._take() for _ in range(len(self._arrived))]

    async def wait_ended(self, *, timeout: float | None = None) -> End:
        """Wait until the server has ended it, and give why."""
        await self._client._until(lambda: self.end is not None, f"the end of {self.topic}", timeout)
        assert self.end is not None
        return self.end

    def __aiter__(self) -> Self:
        """Give push after push, up to the end; `end` tells why. What does not come in time is a TimeoutError."""
        return self

    async def __anext__(self) -> Event:
        try:
            return await self.receive()
        except SubscriptionEnded:
            raise StopAsyncIteration from None

    def _has_some(self) -> bool:
        return bool(self._arrived) or self.end is not None

    def _take(self) -> Event:
        push = self._arrived.popleft()
        self.version = push.version
        if not push.is_unchanged and not self._is_log:
            self.data = push.data
        return push

    @property
    def _is_log(self) -> bool:
        return (self.reply.version or "").count(".") == 1  # live.md, 3: a state's has a digest

    def _on_message(self, message: Event | End) -> None:
        if isinstance(message, End):
            self.end = message
            self._forget()
        else:
            self._arrived.append(message)

    def _forget(self) -> None:
        if self._client._exchange.feeds.get(self.topic) is self:
            del self._client._exchange.feeds[self.topic]


class Subscription:
    """What `TestClient.subscribe` gives: as `AsyncSubscription`, without `await`. It is there at once.

    with client.subscribe("/orders/7") as order:
        client.put("/orders/7", data={"state": "paid"})
        assert order.receive().data == {"state": "paid"}
    """

    def __init__(self, run: Callable[..., Any], subscription: AsyncSubscription) -> None:
        self._run = run
        self._subscription = subscription
        run(subscription._subscribe)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._run(self._subscription.__aexit__)

    @property
    def reply(self) -> Reply:
        return self._subscription.reply

    @property
    def topic(self) -> str:
        return self._subscription.topic

    @property
    def data(self) -> Any:
        return self._subscription.data

    @property
    def version(self) -> str | None:
        return self._subscription.version

    @property
    def end(self) -> End | None:
        return self._subscription.end

    def unsubscribe(self) -> Reply:
        """End it; pushes that have come are still there. Of one that has ended the server says 404."""
        reply: Reply = self._run(self._subscription.unsubscribe)
        return reply

    def receive(self, *, timeout: float | None = None) -> Event:
        """Give the next push. Raises SubscriptionEnded if there is none, TimeoutError and ConnectionClosed."""
        push: Event = self._run(self._subscription.receive, timeout=timeout)
        return push

    def pushes(self) -> list[Event]:
        """Give the pushes that have come since they were last asked for, without waiting."""
        return self._subscription.pushes()

    def wait_ended(self, *, timeout: float | None = None) -> End:
        """Wait until the server has ended it, and give why."""
        end: End = self._run(self._subscription.wait_ended, timeout=timeout)
        return end

    def __iter__(self) -> Self:
        """Give push after push, up to the end; `end` tells why. What does not come in time is a TimeoutError."""
        return self

    def __next__(self) -> Event:
        try:
            return self.receive()
        except SubscriptionEnded:
            raise StopIteration from None
