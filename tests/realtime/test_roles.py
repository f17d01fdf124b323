"""What a request is for subscriptions, where it was answered before its handler had ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiorest_ws import Application, Live, Request, SimpleRouter
from aiorest_ws.testing import AsyncTestClient, SubscriptionRefused
from tests.serving import asynchronous


class Slow:
    """An application whose handlers go on until they are let go, whoever cancels them."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.ended = asyncio.Event()
        self.value = 0
        router = SimpleRouter()
        router.get("/slow", live=Live())(self.wait)
        router.put("/slow", changes=["/value"])(self.wait)
        router.get("/value", live=Live(interval=0))(self.get)
        self.app = Application(router=router, request_timeout=0.01)

    async def wait(self, request: Request) -> Any:
        while not self.gate.is_set():
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                continue  # it does not listen
        self.value += 1
        self.ended.set()
        return self.value

    def get(self, request: Request) -> int:
        return self.value


@asynchronous
async def test_a_subscribe_that_takes_too_long_is_answered_once_and_leaves_nothing() -> None:
    slow = Slow()
    async with AsyncTestClient(slow.app) as client:
        with pytest.raises(SubscriptionRefused, match="504"):
            await client.subscribe("/slow")
        assert (await client.request("UNSUBSCRIBE", "/slow")).status == 404  # there is nothing left to cancel
        slow.gate.set()
        await slow.ended.wait()
        await client.advance()
        assert client.events() == []
        assert slow.app.live.topics() == list(client.connection.subscriptions) == []


@asynchronous
async def test_what_a_request_changes_is_said_when_its_handler_has_ended_not_when_its_time_was_over() -> None:
    slow = Slow()
    async with AsyncTestClient(slow.app) as client, client.subscribe("/value") as value:
        reply = await client.put("/slow")
        assert (reply.status, reply.changed) == (504, None)
        await client.advance()
        assert value.pushes() == []
        slow.gate.set()
        assert (await value.receive()).data == 1


@asynchronous
async def test_what_fails_for_a_subscription_is_logged_as_such(caplog: pytest.LogCaptureFixture) -> None:
    router = SimpleRouter()

    @router.get("/fails", live=Live(shared=True))
    def fails(request: Request) -> None:
        raise KeyError("secret")

    async with AsyncTestClient(Application(router=router)) as client:
        assert (await client.get("/fails")).status == 500
        assert (await client.request("SUBSCRIBE", "/fails")).status == 500
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "'GET' '/fails' failed: KeyError",
        "'GET' '/fails' failed for a subscription: KeyError",
    ]


@asynchronous
async def test_what_is_no_subscription_says_so() -> None:
    """A plain GET of a shared route, one that is not live, and a write."""
    router = SimpleRouter()
    told: list[bool] = []

    def tell(request: Request) -> None:
        told.append(request.subscribing)

    class Guard:
        def process_request(self, request: Request, handler: Any) -> None:
            tell(request)

    router.get("/shared", live=Live(shared=True), middlewares=[Guard])(lambda request: 1)
    router.get("/plain", middlewares=[Guard])(lambda request: 1)
    router.put("/shared", changes=["/shared"], middlewares=[Guard])(lambda request: 1)
    async with AsyncTestClient(Application(router=router)) as client:
        for reply in (await client.get("/shared"), await client.get("/plain"), await client.put("/shared")):
            assert reply.ok
        assert told == [False] * 3
        await client.subscribe("/shared")
        assert told == [False] * 3 + [True]
