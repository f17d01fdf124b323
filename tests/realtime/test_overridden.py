"""People's own code within the fan-out: overridden methods, and handlers and hooks that publish and close."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from aiorest_ws import Application, Live, Request, RequestHandlerProtocol, SimpleRouter
from aiorest_ws.testing import AsyncTestClient
from tests.kit.live import message
from tests.serving import asynchronous, turn_over

LOG, SHARED, OWN = "/log", "/shared", "/own"
URLS = [LOG, SHARED, OWN]


class Site:
    """A log and two states, on connections of one's own kind."""

    def __init__(self, protocol: type[RequestHandlerProtocol] = RequestHandlerProtocol) -> None:
        self.value = 0
        self.router = SimpleRouter()

        @self.router.get(LOG, live=Live(mode="log", shared=True, interval=0.0))
        def log(request: Request) -> list[Any]:
            return []

        @self.router.get(SHARED, live=Live(shared=True, interval=0.0))
        def shared(request: Request) -> int:
            return self.value

        @self.router.get(OWN, live=Live(interval=0.0))
        def own(request: Request) -> int:
            return self.value

        self.app = Application(self.router, protocol=protocol)

    def change(self, url: str) -> None:
        self.value += 1
        if url == LOG:
            self.app.live.publish(LOG, self.value)
        else:
            self.app.live.changed(url)


def data(subscription: Any) -> list[Any]:
    return [push.data for push in subscription.pushes()]


@pytest.mark.parametrize("url", URLS)
@asynchronous
async def test_an_overridden_sendmessage_gets_replies_pushes_and_ends(url: str) -> None:
    sent: list[dict[str, Any]] = []

    class Listening(RequestHandlerProtocol):
        def sendMessage(self, payload: bytes, isBinary: bool = False, *args: Any, **kwargs: Any) -> None:
            sent.append(message(payload))
            super().sendMessage(payload, isBinary, *args, **kwargs)

    site = Site(Listening)
    async with AsyncTestClient(site.app) as first:
        client = await first.connect().__aenter__()
        subscription = await client.subscribe(url)
        site.change(url)
        assert (await subscription.receive()).data == 1
        assert [each.get("status") for each in sent] == [200, None]
        assert sent[1]["event_name"] == url
    assert sent[-1]["status"] == 503


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("form", ["text", "binary"])
@asynchronous
async def test_an_overridden_encode_message_makes_pushes_too(url: str, form: str) -> None:
    class Wrapping(RequestHandlerProtocol):
        def _encode_message(self, response: bytes, isBinary: bool = False) -> bytes:
            return json.dumps({"id": json.loads(response).get("id"), "wrapped": json.loads(response)}).encode()

    site = Site(Wrapping)
    async with AsyncTestClient(site.app, form=form) as client:
        assert message(await client.request("SUBSCRIBE", url))["wrapped"]["status"] == 200
        site.change(url)
        assert message(await client.receive())["wrapped"]["data"] == 1


class Failing(RequestHandlerProtocol):
    """Cannot send one message, once it is told so."""

    fails = False

    def sendMessage(self, payload: bytes, isBinary: bool = False, *args: Any, **kwargs: Any) -> None:
        if self.fails:
            raise OSError("as it was told")
        super().sendMessage(payload, isBinary, *args, **kwargs)


class CannotEncode(RequestHandlerProtocol):
    """Cannot encode, once it is told so."""

    fails = False

    def _encode_message(self, response: bytes, isBinary: bool = False) -> bytes:
        if self.fails:
            raise ValueError("as it was told")
        return super()._encode_message(response, isBinary)


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("protocol", [Failing, CannotEncode])
@asynchronous
async def test_one_that_raises_drops_its_connection_and_nobody_else_notices(
    url: str, protocol: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(protocol)
    async with AsyncTestClient(site.app) as first, first.connect() as second, first.connect() as third:
        clients = [first, second, third]
        subscriptions = [await client.subscribe(url) for client in clients]
        second.connection.fails = True  # type: ignore[attr-defined]
        with caplog.at_level(logging.ERROR, "aiorest_ws"):
            for _ in range(3):
                site.change(url)
                await first.advance()
        assert await second.wait_closed() == 1006
        assert [data(subscription) for subscription in subscriptions] == [[1, 2, 3], [], [1, 2, 3]]
        assert len([record for record in caplog.records if "cannot tell" in record.getMessage()]) == 1
        assert second.connection.subscriptions == ()


class Acting(RequestHandlerProtocol):
    """Does something whenever it sends a push."""

    acts: Callable[[Acting], Any] | None = None

    def sendMessage(self, payload: bytes, isBinary: bool = False, *args: Any, **kwargs: Any) -> None:
        super().sendMessage(payload, isBinary, *args, **kwargs)
        acts, told = self.acts, message(payload)
        if acts is not None and "id" not in told and "status" not in told:
            acts(self)


@pytest.mark.parametrize("forms", [("text",) * 3, ("text", "msgpack", "text"), ("msgpack", "text", "msgpack")])
@pytest.mark.parametrize("size", [1, 40_000])
@asynchronous
async def test_what_is_published_while_all_are_told_comes_behind_to_all(forms: tuple[str, ...], size: int) -> None:
    site = Site(Acting)
    async with AsyncTestClient(site.app, form=forms[0]) as client:
        others = [await client.connect(form=form).__aenter__() for form in forms[1:]]
        logs = [await each.subscribe(LOG) for each in (client, *others)]
        left = [2, 3, 4, 5]

        def publish(connection: Any) -> None:
            if left:
                site.app.live.publish(LOG, [left.pop(0), "x" * size])

        others[0].connection.acts = publish  # type: ignore[attr-defined]
        site.app.live.publish(LOG, [1, "x" * size])
        for _ in range(6):
            await client.advance()
        assert [[item for item, _ in data(log)] for log in logs] == [[1, 2, 3, 4, 5]] * 3
        assert [log.end for log in logs] == [None] * 3
        for other in others:
            await other.__aexit__(None, None, None)


@asynchronous
async def test_a_log_that_overflows_while_all_are_told_loses_nothing_for_who_reads() -> None:
    site = Site(Acting)

    @site.router.get("/small", live=Live(mode="log", shared=True, history_bytes=500))
    def small(request: Request) -> list[Any]:
        return []

    async with AsyncTestClient(site.app) as client, client.connect() as other, client.connect() as slow:
        logs = [await each.subscribe("/small") for each in (client, other, slow)]
        slow.connection.pause_writing()
        done: list[bool] = []

        def publish(connection: Any) -> None:
            if not done:
                done.append(True)
                for number in range(1, 30):
                    site.app.live.publish("/small", number)

        client.connection.acts = publish  # type: ignore[attr-defined]
        site.app.live.publish("/small", 0)
        await client.advance()
        slow.connection.resume_writing()
        await client.advance()
        assert [data(log) for log in logs] == [list(range(30)), list(range(30)), []]
        assert (await logs[2].wait_ended()).status == 409


@pytest.mark.parametrize("url", URLS)
@asynchronous
async def test_a_connection_may_close_itself_or_another_while_all_are_told(url: str) -> None:
    site = Site(Acting)
    async with AsyncTestClient(site.app) as client:
        clients = [client, *[await client.connect().__aenter__() for _ in range(4)]]
        subscriptions = [await each.subscribe(url) for each in clients]

        def close(connection: Any) -> None:
            connection.close(4001, "enough")
            clients[2].connection.dropConnection(abort=True)
            clients[3].connection.close(4003, "you, too")

        clients[1].connection.acts = close  # type: ignore[attr-defined]
        for _ in range(3):
            site.change(url)
            await client.advance()
        assert [await each.wait_closed() for each in clients[1:4]] == [4001, 1006, 4003]
        assert data(subscriptions[0]) == data(subscriptions[4]) == [1, 2, 3]
        assert data(subscriptions[1])[:1] == [1]
        await clients[4].__aexit__(None, None, None)


@asynchronous
async def test_one_whose_subscription_is_taken_back_while_all_are_told_is_told_nothing_more() -> None:
    site = Site(Acting)
    async with AsyncTestClient(site.app) as client, client.connect() as other:
        logs = [await each.subscribe(LOG) for each in (client, other)]
        subscribed = other.connection._live.by_topic[LOG]
        client.connection.acts = lambda _: subscribed.end(409, "as it was told")  # type: ignore[attr-defined]
        site.change(LOG)
        end = await logs[1].wait_ended()
        assert (end.status, data(logs[1]), data(logs[0])) == (409, [], [1])
        client.connection.acts = None  # type: ignore[attr-defined]
        site.change(LOG)
        await client.advance()
        assert (data(logs[1]), data(logs[0])) == ([], [2])


@asynchronous
async def test_a_handler_publishes_to_its_own_log_and_its_caller_gets_it_behind_the_reply_or_before() -> None:
    router = SimpleRouter()
    said: list[Any] = []

    @router.get(LOG, live=Live(mode="log", shared=True, interval=0.0))
    async def log(request: Request) -> list[Any]:
        await request.app.live.publish(LOG, len(said))
        said.append(len(said))
        return list(said)

    app = Application(router)
    async with AsyncTestClient(app) as client:
        for count in range(1, 4):
            async with client.connect() as other:
                subscription = await other.subscribe(LOG)
                assert subscription.data == list(range(count))
                await client.advance()
                assert data(subscription) == [
                    count - 1
                ]  # behind the number of the first `data`: that is what `key` is for


@asynchronous
async def test_a_state_that_says_it_has_changed_when_it_is_asked_goes_on_at_its_interval() -> None:
    router = SimpleRouter()
    runs: list[int] = []

    @router.get(SHARED, live=Live(shared=True, interval=1.0))
    def shared(request: Request) -> int:
        runs.append(len(runs))
        request.app.live.changed(SHARED)
        return len(runs)

    app = Application(router)
    async with AsyncTestClient(app) as client:
        subscription = await client.subscribe(SHARED)
        await client.advance(5)
        assert 4 <= len(runs) <= 7
        assert data(subscription) == list(range(2, len(runs) + 1))
        assert (await client.request("PING", "/")).status == 200


@asynchronous
async def test_context_variables_of_who_publishes_are_seen_by_nobody() -> None:
    import contextvars

    secret: contextvars.ContextVar[str] = contextvars.ContextVar("secret", default="nobody's")
    seen: list[str] = []

    class Looking(RequestHandlerProtocol):
        def sendMessage(self, payload: bytes, isBinary: bool = False, *args: Any, **kwargs: Any) -> None:
            if "id" not in message(payload):
                seen.append(secret.get())
            super().sendMessage(payload, isBinary, *args, **kwargs)

    site = Site(Looking)

    @site.router.post("/publish")
    async def publish(request: Request) -> None:
        secret.set("the publisher's")
        for url in URLS:
            site.change(url)
        site.app.live.publish(LOG, "x" * 100_000)  # which waits for no end of a turn

    async with AsyncTestClient(site.app) as client, client.connect() as other:
        for url in URLS:
            await client.subscribe(url)
        assert (await other.post("/publish")).status == 200
        await client.advance(1)
        await turn_over()
        assert len(seen) == 4
        assert set(seen) == {"nobody's"}
        await asyncio.sleep(0)
