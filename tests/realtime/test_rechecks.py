"""Guards that are asked again: who may see a url no longer is sent nothing more, whatever is on its way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiorest_ws import Application, HTTPError, Live, Request, SimpleRouter
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.testing import AsyncTestClient
from tests.kit.live import message, nothing_more
from tests.kit.tokens import NOW, Clock, Manager, claims, clock, signed
from tests.serving import asynchronous, turn_over

__all__ = ("clock",)

LOG, SHARED, OWN = "/log", "/shared", "/own"
URLS = [LOG, SHARED, OWN]


class Door:
    """Lets everybody in who is not refused; may be slow, or fail."""

    def __init__(self) -> None:
        self.refused: dict[str, int] = {}  # name → status
        self.gate: asyncio.Event | None = None
        self.fails = False
        self.cancels = False
        self.asked = 0

    async def process_request(self, request: Any, handler: Any) -> None:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        task = asyncio.current_task()
        if self.cancels and task is not None:
            task.cancel()
            await asyncio.sleep(0)
        if self.fails:
            raise RuntimeError("the door fails, as it was told")
        status = self.refused.get(request.get_extra("who"))
        if status is not None:
            raise HTTPError(status, "not you")


class House:
    """A log and two states behind one door."""

    def __init__(self, **live: Any) -> None:
        self.door = Door()
        self.value = 0
        self.gate: asyncio.Event | None = None
        self.router = SimpleRouter()
        behind: dict[str, Any] = {"middlewares": [self.door]}
        shared: dict[str, Any] = {"shared": True, "interval": 0.0} | live

        @self.router.get(LOG, live=Live(mode="log", **shared), **behind)
        async def log(request: Request) -> list[Any]:
            return [await self.read()]

        @self.router.get(SHARED, live=Live(**shared), **behind)
        async def state(request: Request) -> int:
            return await self.read()

        @self.router.get(OWN, live=Live(interval=0.0, **live), **behind)
        async def own(request: Request) -> int:
            return await self.read()

        self.app = Application(self.router)

    async def read(self) -> int:
        if self.gate is not None:
            await self.gate.wait()
        return self.value

    def change(self) -> None:
        self.value += 1
        self.app.live.publish(LOG, self.value)
        self.app.live.changed(SHARED)
        self.app.live.changed(OWN)


async def both(client: AsyncTestClient, url: str) -> tuple[Any, Any]:
    """Give the subscriptions of Ada and of Bob."""
    bob = await client.connect().__aenter__()
    return await client.subscribe(url, who="ada"), await bob.subscribe(url, who="bob")


async def leave(*subscriptions: Any) -> None:
    for subscription in subscriptions:
        await subscription._client.__aexit__(None, None, None)


def data(subscription: Any) -> list[Any]:
    return [push.data for push in subscription.pushes() if not push.is_unchanged]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("of_all", [False, True])
@asynchronous
async def test_who_may_see_it_no_longer_is_ended_and_others_go_on(url: str, of_all: bool) -> None:
    house = House()
    async with AsyncTestClient(house.app) as client:
        ada, bob = await both(client, url)
        house.door.refused["bob"] = 403
        assert await house.app.live.recheck(None if of_all else url) is None
        house.change()
        await client.advance()
        end = await bob.wait_ended()
        assert (end.status, end.detail, end.retry) == (403, "not you", None)
        assert (data(ada), data(bob)) == ([1], [])
        await leave(bob)


@pytest.mark.parametrize("url", URLS)
@asynchronous
async def test_until_its_guards_have_passed_nothing_is_sent(url: str) -> None:
    house = House()
    async with AsyncTestClient(house.app) as client:
        ada, bob = await both(client, url)
        house.door.gate = gate = asyncio.Event()
        house.door.refused["bob"] = 404
        house.app.live.recheck(url)
        await turn_over()
        house.change()
        await turn_over(9)
        assert data(ada) == data(bob) == []
        house.door.gate = None
        gate.set()
        await client.advance()
        assert (await bob.wait_ended()).status == 404
        assert (data(ada), data(bob)) == ([1], [])
        await leave(bob)


@pytest.mark.parametrize("how", ["fails", "cancels"])
@pytest.mark.parametrize("url", [LOG, SHARED])
@asynchronous
async def test_guards_that_fail_have_not_passed_yet(url: str, how: str) -> None:
    house = House()
    async with AsyncTestClient(house.app) as client:
        log = await client.subscribe(url, who="ada")
        setattr(house.door, how, True)
        house.app.live.recheck()
        house.change()
        await client.advance(5)
        assert (data(log), log.end) == ([], None)
        setattr(house.door, how, False)
        await client.advance(1.5)
        assert (data(log), log.end) == ([1], None)


@pytest.mark.parametrize("url", URLS)
@asynchronous
async def test_a_route_may_have_them_asked_every_so_often(url: str) -> None:
    house = House(recheck=30.0)
    async with AsyncTestClient(house.app) as client:
        ada, bob = await both(client, url)
        asked = house.door.asked
        await client.advance(29)
        assert house.door.asked == asked
        house.door.refused["bob"] = 403
        await client.advance(2)
        assert (await bob.wait_ended()).status == 403
        assert ada.end is None
        asked = house.door.asked
        await client.advance(60)
        assert house.door.asked == asked + 2
        await leave(bob)


@pytest.mark.parametrize("url", [LOG, SHARED])
@asynchronous
async def test_who_waits_for_a_value_is_asked_again_before_it_comes(url: str) -> None:
    house = House()
    async with AsyncTestClient(house.app) as client, client.connect() as other:
        house.gate = gate = asyncio.Event()
        ada = asyncio.ensure_future(client.request("SUBSCRIBE", url, who="ada"))
        bob = asyncio.ensure_future(other.request("SUBSCRIBE", url, who="bob"))
        await turn_over(9)
        house.door.refused["bob"] = 403
        house.app.live.recheck(url)
        house.value = 7  # a secret from now on
        gate.set()
        assert (await bob).status == 403
        assert (await ada).status == 200
        assert other.connection.subscriptions == ()


@pytest.mark.parametrize("url", [LOG, SHARED])
@pytest.mark.parametrize("how", ["fails", "cancels"])
@asynchronous
async def test_who_waits_for_a_value_is_answered_where_its_guards_fail_the_second_time(url: str, how: str) -> None:
    house = House()
    async with AsyncTestClient(house.app) as client:
        house.gate = gate = asyncio.Event()
        ada = asyncio.ensure_future(client.request("SUBSCRIBE", url, who="ada"))
        await turn_over(9)
        setattr(house.door, how, True)
        house.app.live.recheck(url)
        gate.set()
        assert (await ada).status == 500
        assert client.connection.subscriptions == ()


class Clockwork:
    """Looks at tokens by a clock of its own, which may be out of order."""

    grace = 1.0

    def __init__(self) -> None:
        self.manager = self
        self.is_broken = False

    def now(self) -> float:
        if self.is_broken:
            raise RuntimeError("the clock fails, as it was told")
        return 0.0

    def process_request(self, request: Any, handler: Any) -> None:
        request.token_payload = {"sub": "ada", "exp": 1e6}


@pytest.mark.parametrize("shared", [False, True])
@asynchronous
async def test_who_cannot_be_subscribed_at_the_last_step_is_told_so_and_nothing_is_left(shared: bool) -> None:
    router, clockwork = SimpleRouter(), Clockwork()

    @router.get("/x", live=Live(interval=0.0, shared=shared), middlewares=[clockwork])
    async def state(request: Request) -> int:
        return 1

    app = Application(router)
    async with AsyncTestClient(app) as client:
        clockwork.is_broken = True
        assert (await client.request("SUBSCRIBE", "/x")).status == 500
        assert app.live.topics() == []
        clockwork.is_broken = False
        assert (await client.request("SUBSCRIBE", "/x")).status == 200
        clockwork.is_broken = True
        assert (await client.request("SUBSCRIBE", "/x")).status == 500
        end = message(await client.receive())  # and no more of the first is to be waited for
        assert (end["event_name"], end["status"]) == ("/x", 500)
        await nothing_more(client)
        assert app.live.topics() == []


@asynchronous
async def test_who_is_let_in_while_all_are_asked_is_asked_again_before_anything_more_is_sent() -> None:
    house = House()
    async with AsyncTestClient(house.app) as client:
        house.gate = gate = asyncio.Event()
        waiting = asyncio.ensure_future(client.request("SUBSCRIBE", OWN, who="ada"))
        await turn_over(9)
        house.door.refused["ada"] = 403
        house.app.live.recheck(OWN)
        house.gate = None
        gate.set()
        assert (await waiting).status == 200  # as a GET that is under way
        house.change()
        end = message(await client.receive())
        assert (end["event_name"], end["status"]) == (OWN, 403)
        await nothing_more(client)


@asynchronous
async def test_a_log_that_was_held_for_too_long_ends() -> None:
    router = SimpleRouter()
    door = Door()

    @router.get(LOG, live=Live(mode="log", shared=True, history_bytes=1000), middlewares=[door])
    def log(request: Request) -> list[Any]:
        return []

    app = Application(router)
    async with AsyncTestClient(app) as client:
        items = await client.subscribe(LOG)
        door.fails = True
        app.live.recheck(LOG)
        for number in range(30):
            app.live.publish(LOG, number)
            await turn_over()
        assert ((await items.wait_ended()).status, data(items)) == (409, [])


# Tokens


class Members:
    """Subscriptions of who brings a token, at a route that asks who it is, and at one that does not."""

    def __init__(self, clock: Clock, **options: Any) -> None:
        self.clock = clock
        self.items = 0
        self.middleware = JSONWebTokenMiddleware(Manager, grace=20.0)
        router = SimpleRouter()

        @router.get(LOG, live=Live(mode="log", shared=True, interval=0.0), auth_required=True)
        def log(request: Request) -> list[Any]:
            return []

        @router.get("/public", live=Live(mode="log", shared=True, interval=0.0))
        def public(request: Request) -> list[Any]:
            return []

        @router.get(OWN, live=Live(interval=0.0), auth_required=True)
        def own(request: Request) -> Any:
            return [request.user.id, self.items]

        @router.get("/hello", auth_required=True)
        def hello(request: Request) -> str:
            return "hello"

        self.app = Application(router, middlewares=[self.middleware], **options)

    def publish(self) -> None:
        self.items += 1
        self.app.live.publish(LOG, self.items)
        self.app.live.publish("/public", self.items)
        self.app.live.changed(OWN)


def token(seconds: int, **more: Any) -> str:
    return signed(claims(exp=int(NOW) + seconds, **more))


PLACES = [LOG, "/public", OWN]


@pytest.mark.parametrize("url", PLACES)
@asynchronous
async def test_from_its_tokens_expiry_on_nothing_is_sent_and_then_it_ends_with_401(url: str, clock: Clock) -> None:
    members = Members(clock)
    async with AsyncTestClient(members.app) as client:
        held = await client.subscribe(url, token=token(60))
        members.publish()
        await client.advance(59)
        assert len(data(held)) == 1
        await client.advance(2)
        members.publish()
        await client.advance(17)
        assert (data(held), held.end) == ([], None)
        await client.advance(3)
        end = await held.wait_ended()
        assert (end.status, data(held)) == (401, [])
        assert client.is_open


@pytest.mark.parametrize("url", PLACES)
@asynchronous
async def test_another_subscribe_with_a_fresh_token_lets_it_go_on(url: str, clock: Clock) -> None:
    members = Members(clock)
    async with AsyncTestClient(members.app) as client:
        held = await client.subscribe(url, token=token(60))
        await client.advance(61)
        members.publish()
        await client.advance()
        assert data(held) == []
        again = await client.subscribe(url, since=held.version, token=token(120))
        assert again.reply.ok
        await client.advance(30)
        members.publish()
        await client.advance()
        assert again.end is None
        assert len(data(again)) >= 1
        await client.advance(60)
        assert (await again.wait_ended()).status == 401


@pytest.mark.parametrize("url", PLACES)
@asynchronous
async def test_a_fresh_token_on_the_connection_lets_go_on_what_came_without(url: str, clock: Clock) -> None:
    members = Members(clock)
    async with AsyncTestClient(members.app, token=token(60)) as client:
        held = await client.subscribe(url)
        await client.advance(62)
        members.publish()
        await client.advance()
        assert data(held) == []
        assert (await client.get("/hello", token=token(500))).status == 200
        await client.advance()
        assert len(data(held)) == 1
        await client.advance(100)
        assert held.end is None
        assert client.is_open


@pytest.mark.parametrize("url", PLACES)
@asynchronous
async def test_what_has_a_token_of_its_own_is_asked_with_that(url: str, clock: Clock) -> None:
    members = Members(clock)
    async with AsyncTestClient(members.app, token=token(1000)) as client:
        own = await client.subscribe(url, token=token(60, sub="bob"))
        members.publish()
        await client.advance(30)
        assert data(own) == [["bob", 1] if url == OWN else 1]
        await client.advance(32)
        assert (await client.get("/hello", token=token(2000))).status == 200
        members.publish()
        await client.advance(21)
        assert ((await own.wait_ended()).status, data(own)) == (401, [])


@pytest.mark.parametrize("url", PLACES)
@asynchronous
async def test_a_token_of_somebody_else_lets_nothing_go_on(url: str, clock: Clock) -> None:
    members = Members(clock)
    async with AsyncTestClient(members.app, token=token(60)) as client:
        held = await client.subscribe(url)
        await client.advance(61)
        assert (await client.get("/hello", token=token(500, sub="bob"))).status == 200
        members.publish()
        await client.advance()
        assert (await held.wait_ended()).status == 401
        assert data(held) == []


@asynchronous
async def test_a_token_that_is_taken_back_ends_at_once(clock: Clock) -> None:
    revoked: list[bool] = []

    class Revoking(JSONWebTokenMiddleware):
        def is_revoked(self, payload: dict[str, Any]) -> bool:
            return bool(revoked)

    router = SimpleRouter()

    @router.get(LOG, live=Live(mode="log", shared=True), auth_required=True)
    def log(request: Request) -> list[Any]:
        return []

    app = Application(router, middlewares=[Revoking(Manager, grace=1000.0)])
    async with AsyncTestClient(app) as client:
        held = await client.subscribe(LOG, token=token(600))
        revoked.append(True)
        app.live.recheck(LOG)
        app.live.publish(LOG, 1)
        assert ((await held.wait_ended()).status, data(held)) == (401, [])


# Ends


@pytest.mark.parametrize("how", ["close", "abort"])
@asynchronous
async def test_a_connections_subscriptions_are_gone_when_it_is_said_to_be(how: str) -> None:
    house = House()
    seen: list[Any] = []

    def on_disconnect(connection: Any, code: int, reason: str) -> None:
        seen.append((connection.subscriptions, house.app.live.topics()))

    house.app = Application(house.router, on_disconnect=on_disconnect)
    async with AsyncTestClient(house.app) as client, client.connect() as other:
        for url in URLS:
            await other.subscribe(url, who="ada")
        house.door.gate = asyncio.Event()  # one more is being answered
        asked = asyncio.ensure_future(other.request("SUBSCRIBE", LOG, who="ada"))
        await turn_over()
        await other.close() if how == "close" else other.abort()
        await other.wait_closed()
        await turn_over()
        assert seen == [((), [])]
        asked.cancel()


@asynchronous
async def test_at_shutdown_each_subscription_is_told_before_the_connection_ends() -> None:
    house = House()
    ends: list[Any] = []
    async with AsyncTestClient(house.app) as client:
        others = [await client.connect().__aenter__() for _ in range(5)]
        held = [await each.subscribe(url, who="ada") for each in others for url in URLS]
        await client.__aexit__(None, None, None)
        for subscription in held:
            end = await subscription.wait_ended()
            assert (end.status, end.detail) == (503, "server is shutting down")
            ends.append(end.retry)
        assert [each.close_code for each in others] == [1001] * 5
        assert all(500 < retry < 5000 for retry in ends)
        assert len(set(ends)) > 5  # they do not all come back in the same instant
        client._running = None
