"""Subscriptions of the test clients: values, pushes and ends where a test looks for them, in time that it commands."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any

import pytest

from aiorest_ws import Application, Depends, HTTPError, Live, SimpleRouter
from aiorest_ws.auth.token.managers import JSONWebTokenManager
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.testing import (
    AsyncTestClient,
    End,
    Event,
    Reply,
    SubscriptionEnded,
    SubscriptionRefused,
    TestClient,
)
from tests.serving import asynchronous

SHORT = 0.01  # seconds until a client gives up on what never comes


class Shop:
    """An application with orders, each its own, a board for all, and news."""

    def __init__(self, **options: Any) -> None:
        self.orders = {7: "new"}
        self.runs = 0
        self.closed = False
        router = SimpleRouter()
        router.get("/orders/{number:int}", live=Live(interval=5))(self.order)
        if "middlewares" in options:
            router.get("/mine", live=Live(), auth_required=True)(self.mine)
        router.put("/orders/{number:int}", changes=["/orders/{number}", "/board"])(self.change)
        router.get(
            "/board", live=Live(shared=True, refresh=60, recheck=600, interval=0), dependencies=[Depends(self.guard)]
        )(self.board)
        router.get("/news", live=Live(mode="log", shared=True, key="id"))(self.news)
        self.app = Application(router=router, **options)

    def order(self, request: Any, number: int) -> Any:
        return {"state": self.orders[number]}

    def change(self, request: Any, number: int) -> Any:
        self.orders[number] = request.data
        return "ok"

    def mine(self, request: Any) -> Any:
        return self.orders

    def guard(self, request: Any) -> None:
        if self.closed:
            raise HTTPError(403, "closed")

    def board(self, request: Any) -> Any:
        self.runs += 1
        return sorted(self.orders.values())

    def news(self, request: Any) -> Any:
        return [{"id": 0}]


# A value, its pushes, its end


def test_a_subscription_has_the_value_and_its_pushes() -> None:
    shop = Shop()
    with TestClient(shop.app) as client:
        with client.subscribe("/orders/007") as order:
            assert (order.reply.status, order.topic, order.data) == (200, "/orders/7", {"state": "new"})
            assert order.version == order.reply.version
            reply = client.put("/orders/7", data="paid")
            client.advance(5)
            push = order.receive()
            assert (push.name, push.data, push.is_unchanged) == ("/orders/7", {"state": "paid"}, False)
            assert reply.changed == {"/orders/7": str(push.version).rpartition(".")[0]}
            assert (order.data, order.version) == ({"state": "paid"}, push.version)
            assert client.events() == []
        assert shop.app.live.topics() == []
        client.put("/orders/7", data="sent")
        client.advance(5)
        assert order.pushes() == []


@asynchronous
async def test_a_subscription_is_awaited_or_entered() -> None:
    shop = Shop()
    async with AsyncTestClient(shop.app) as client:
        order = await client.subscribe("/orders/7")
        assert order.data == {"state": "new"}
        assert await order is order  # it subscribes once
        async with order:
            assert shop.app.live.topics() == list(client.connection.subscriptions) == ["/orders/7"]
        assert shop.app.live.topics() == list(client.connection.subscriptions) == []
        async with client.subscribe("/orders/7", form="msgpack") as again:
            shop.orders[7] = "paid"
            shop.app.live.changed("/orders/7")
            await client.advance(5)
            assert again.pushes() == [Event("/orders/7", {"state": "paid"}, again.version)]


def test_the_same_value_said_again_is_a_push_that_says_so() -> None:
    shop = Shop()
    with TestClient(shop.app) as client, client.subscribe("/board") as board:
        client.put("/orders/7", data="new")
        push = board.receive()
        assert (push.is_unchanged, push.data, board.data) == (True, None, ["new"])
        assert board.version == push.version != board.reply.version


def test_a_log_is_resumed_from_its_version() -> None:
    shop = Shop()
    with TestClient(shop.app) as client:
        with client.subscribe("/news") as news:
            assert (news.reply.key, news.data) == ("id", [{"id": 0}])
            shop.app.live.publish("/news", {"id": 1})
            assert news.receive().data == {"id": 1}
            assert news.data == [{"id": 0}]  # an item is not the value
        for number in (2, 3):
            shop.app.live.publish("/news", {"id": number})
        with client.subscribe("/news", since=news.version) as news:
            assert (news.reply.status, news.data) == (206, None)
            assert [news.receive().data["id"] for _ in range(2)] == [2, 3]
            assert news.version == news.reply.version
        with client.subscribe("/news", since=news.version) as news:
            assert (news.reply.status, news.reply.ok) == (304, True)


@pytest.mark.parametrize(("seconds", "status"), [(299, 206), (301, 200)])
def test_a_history_grows_old(seconds: float, status: int) -> None:
    shop = Shop()
    with TestClient(shop.app) as client, client.connect() as other, other.subscribe("/news"):
        news = client.subscribe("/news")
        news.unsubscribe()
        shop.app.live.publish("/news", {"id": 1})
        client.advance(seconds)
        assert client.subscribe("/news", since=news.version).reply.status == status


def test_an_end_finishes_the_iteration_and_is_kept() -> None:
    shop = Shop()
    with TestClient(shop.app) as client, client.subscribe("/board") as board:
        client.put("/orders/7", data="paid")
        client.advance()
        shop.closed = True
        shop.app.live.recheck("/board")
        assert [push.data for push in board] == [["paid"]]
        assert board.end == board.wait_ended() == End("/board", 403, "closed", None)
        with pytest.raises(SubscriptionEnded, match=r"^subscription of /board ended: 403 closed$") as caught:
            board.receive()
        assert (caught.value.status, caught.value.detail, caught.value.retry) == (403, "closed", None)
        assert board.unsubscribe().status == 404


@asynchronous
async def test_an_end_finishes_an_asynchronous_iteration() -> None:
    shop = Shop()
    async with AsyncTestClient(shop.app) as client, client.subscribe("/board") as board:
        shop.closed = True
        await shop.app.live.recheck()
        assert [push async for push in board] == []
        assert (await board.wait_ended()).status == 403


def test_what_is_refused_is_raised() -> None:
    shop = Shop()
    with TestClient(shop.app) as client:
        shop.closed = True
        with pytest.raises(SubscriptionRefused, match=r"^subscription refused: 403 closed$") as caught:
            client.subscribe("/board")
        assert (caught.value.status, caught.value.detail) == (403, "closed")
        with pytest.raises(SubscriptionRefused, match="404"):
            client.subscribe("/nowhere")
        with pytest.raises(TypeError, match="a request has no 'params'"):
            client.subscribe("/board", params={})


@pytest.mark.parametrize(
    "exc",
    [
        SubscriptionEnded(End("/board", 503, "stopping", 1200)),
        SubscriptionRefused(Reply(403, None, "closed", None, 1, False, b"")),
    ],
)
def test_errors_are_what_they_were_when_they_were_pickled(exc: Any) -> None:
    for other in (pickle.loads(pickle.dumps(exc)), copy.copy(exc)):
        assert type(other) is type(exc)
        assert (str(other), vars(other)) == (str(exc), vars(exc))


# Beside other messages and clients


def test_a_request_of_ones_own_gets_pushes_where_events_come() -> None:
    shop = Shop()
    with TestClient(shop.app) as client:
        reply = client.request("SUBSCRIBE", "/board")
        assert (reply.topic, reply.data) == ("/board", ["new"])
        client.put("/orders/7", data="paid")
        assert client.receive_event() == Event("/board", ["paid"], client.request("SUBSCRIBE", "/board").version)
        shop.closed = True
        shop.app.live.recheck()
        client.advance()
        with pytest.raises(ValueError, match=r'expected an event, got b.{"event_name":"/board","status":403'):
            client.receive_event()
        shop.closed = False
        client.request("SUBSCRIBE", "/board")
        shop.closed = True
        shop.app.live.recheck()
        assert client.receive() == '{"event_name":"/board","status":403,"detail":"closed"}'


def test_of_two_of_one_topic_the_later_gets_the_pushes() -> None:
    shop = Shop()
    with TestClient(shop.app) as client, client.subscribe("/board") as first:
        with client.subscribe("/board") as second:
            client.put("/orders/7", data="paid")
            assert second.receive().data == ["paid"]
        assert first.pushes() == []
        assert shop.app.live.topics() == []
    # and leaving the first said nothing more to the server


@asynchronous
async def test_several_clients_are_told() -> None:
    shop = Shop()
    async with AsyncTestClient(shop.app) as one, one.connect() as two, AsyncTestClient(shop.app) as three:
        boards = [await client.subscribe("/board") for client in (one, two, three)]
        await two.put("/orders/7", data="paid")
        assert [(await board.receive()).data for board in boards] == [["paid"]] * 3
        await three.advance(60)  # the time is that of the application
        shop.orders[8] = "new"
        await one.advance(60)
        assert [(await board.receive()).data for board in boards] == [["new", "paid"]] * 3


def test_a_connection_that_is_gone_needs_no_unsubscribing() -> None:
    with TestClient(Shop().app) as client:
        with client.subscribe("/board"):
            client.close()
        with client.connect() as other, other.subscribe("/board") as board:
            other.abort()
            assert other.wait_closed() == 1006
            assert board.end is None


def test_a_ping_is_answered() -> None:
    with TestClient(Shop().app) as client:
        client.ping()


# Time


def test_time_passes_from_one_thing_that_is_due_to_the_next() -> None:
    shop = Shop()
    with TestClient(shop.app) as client, client.subscribe("/board") as board:
        assert shop.runs == 1
        client.advance(59)
        assert shop.runs == 1
        client.advance(241)
        assert shop.runs == 6  # a refresh a minute
        assert board.pushes() == []  # the value is what it was
        shop.closed = True
        client.advance(299)
        assert board.end is None
        client.advance(2)
        assert board.wait_ended(timeout=SHORT).status == 403  # a recheck after ten minutes


def test_an_interval_is_waited_for_by_nobody() -> None:
    shop = Shop()
    with TestClient(shop.app) as client, client.subscribe("/orders/7") as order:
        client.put("/orders/7", data="paid")
        assert order.receive().data == {"state": "paid"}
        client.put("/orders/7", data="packed")
        client.advance(4)
        assert order.pushes() == []
        client.put("/orders/7", data="sent")
        client.advance(1)
        assert [push.data for push in order.pushes()] == [{"state": "sent"}]


def test_time_goes_on_only() -> None:
    client = TestClient(Shop().app)
    with client, pytest.raises(ValueError, match="time goes on: expected seconds from 0, got -1"):
        client.advance(-1)
    with pytest.raises(RuntimeError, match="client is not connected"):
        client.advance(1)
    with TestClient(Shop().app) as client, pytest.raises(ValueError, match="got nan"):
        client.advance(float("nan"))


@asynchronous
async def test_handlers_that_do_not_end_are_waited_for_as_long_as_anything() -> None:
    hangs = asyncio.Event()
    router = SimpleRouter()

    @router.get("/x", live=Live(interval=0))
    async def x(request: Any) -> None:
        if request.connection.subscriptions:
            await hangs.wait()

    app = Application(router=router)
    async with AsyncTestClient(app) as client, client.subscribe("/x"):
        app.live.changed("/x")
        client.timeout, patience = SHORT, client.timeout
        with pytest.raises(TimeoutError, match=r"^expected what runs for subscriptions to end, it did not in 0.01 s$"):
            await client.advance()
        client.timeout = patience
        hangs.set()


class Manager(JSONWebTokenManager):
    SECRET_KEY = "a secret of thirty-two bytes, yes"


class Tokens(JSONWebTokenMiddleware):
    manager = Manager
    grace = 30.0


def test_a_token_expires_and_another_lets_it_go_on() -> None:
    shop = Shop(middlewares=[Tokens])
    manager = Manager()
    with TestClient(shop.app, token=manager.generate({"sub": "ada"}, exp=100)) as client:
        mine = client.subscribe("/mine")
        client.advance(101)
        shop.orders[8] = "new"
        shop.app.live.changed("/mine")
        client.advance(1)
        assert mine.pushes() == []  # held, for as long as the grace is
        assert client.get("/board", token=manager.generate({"sub": "ada"}, exp=300)).data == ["new", "new"]
        assert mine.receive().data == {"7": "new", "8": "new"}
        client.advance(200)
        assert mine.end is None
        client.advance(30)
        assert mine.wait_ended(timeout=SHORT).status == 401


def test_clocks_are_what_they_were_when_the_last_client_is_gone() -> None:
    tokens = Tokens()
    clock = tokens._clock
    shop = Shop(middlewares=[tokens])
    with TestClient(shop.app) as client:
        before = tokens.manager.now()
        with client.connect() as other:
            other.advance(1000)
            assert tokens.manager.now() - before >= 1000
        assert tokens.manager.now() - before >= 1000
        assert "now" in vars(tokens.manager)
    assert "now" not in vars(tokens.manager)
    assert tokens._clock is clock
