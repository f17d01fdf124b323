"""A broker that is elsewhere: what it gives comes later, it may be down, and what it tells may be lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from aiorest_ws import Application, Live, Request, SimpleRouter
from aiorest_ws.exceptions import BrokerUnavailable, ImproperlyConfigured
from aiorest_ws.realtime import effects, feeds
from aiorest_ws.testing import AsyncTestClient, SubscriptionEnded, SubscriptionRefused
from tests.kit.far import FarBroker
from tests.kit.live import rest
from tests.serving import asynchronous

LOG, SHARED, OWN = "/log", "/shared", "/own"


class Far:
    """An application whose broker is elsewhere."""

    def __init__(self, **options: Any) -> None:
        self.broker = FarBroker()
        self.value = 0
        self.logs = self.runs = 0
        router = SimpleRouter()

        @router.get(LOG, live=Live(mode="log", shared=True, interval=0.0, history=5, presence=self.member))
        def log(request: Request) -> list[Any]:
            self.logs += 1
            return []

        @router.get(SHARED, live=Live(shared=True, interval=0.0))
        def shared(request: Request) -> int:
            self.runs += 1
            return self.value

        @router.get(OWN, live=Live(interval=0.0))
        def own(request: Request) -> int:
            return self.value

        @router.put(SHARED, changes=[SHARED, OWN])
        def put(request: Request) -> None:
            self.value = request.data

        self.app = Application(router, broker=self.broker, **options)

    @staticmethod
    def member(request: Request) -> dict[str, Any]:
        return {"id": request.args["name"] if request.args else "anybody"}

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncTestClient]:
        async with AsyncTestClient(self.app) as client:
            yield client

    async def lose(self, client: AsyncTestClient, *values: Any) -> None:
        """Publish what nobody is told; then they hear that they miss something, and cannot ask for it."""
        self.broker.is_deaf = True
        await self.publish(*values)
        self.broker.is_deaf = False
        self.broker.is_down = True
        node = self.app.live._node
        assert node is not None
        self.broker._desk(node).on_return(LOG, self.broker.memory.subscribe(LOG, Nobody()))
        await settled(client)

    async def away(self, client: AsyncTestClient, value: Any) -> str | None:
        """Have `client` get `value` from the log, and leave it; gives the version that it has."""
        log = await client.subscribe(LOG)
        await self.publish(value)
        await settled(client)
        await log.unsubscribe()
        return log.pushes()[-1].version

    async def publish(self, *values: Any) -> None:
        for value in values:
            await self.app.live.publish(LOG, value)


def data(subscription: Any) -> list[Any]:
    return [push.data for push in subscription.pushes()]


async def settled(client: AsyncTestClient) -> None:
    await rest(client, 10)
    await client.advance()


@asynchronous
async def test_all_is_as_with_a_broker_of_the_process() -> None:
    far = Far()
    async with far.client() as client:
        log, shared, own = [await client.subscribe(url) for url in (LOG, SHARED, OWN)]
        await far.publish(1, 2)
        far.value = 7
        version = await far.app.live.changed(SHARED)
        await far.app.live.changed(OWN)
        await settled(client)
        assert (data(log), data(shared), data(own)) == ([1, 2], [7], [7])
        assert version is not None
        assert (shared.version or "").startswith(version)
        assert (await client.get(f"{LOG}/presence")).data["members"] == [{"id": "anybody"}]
    assert not far.broker.runs
    assert len(far.broker.memory) == 1  # the items of the log


@asynchronous
async def test_a_reply_waits_for_the_version_of_what_its_client_has_changed() -> None:
    far = Far()
    async with far.client() as client:
        shared = await client.subscribe(SHARED)
        reply = await client.put(SHARED, data=1)
        push = await shared.receive()
        assert reply.changed == {SHARED: ".".join((push.version or "").split(".")[:2])}
        assert push.data == 1
        far.broker.holds = True
        waiting = asyncio.ensure_future(client.put(SHARED, data=2))
        await rest(client)
        assert not waiting.done()
        assert client.connection._in_flight == 1
        far.broker.let_go()
        assert (await waiting).changed
        far.broker.is_down = True
        reply = await client.put(SHARED, data=3)
        assert (reply.status, reply.changed) == (200, None)


@asynchronous
async def test_a_reply_does_not_wait_for_ever(monkeypatch: Any) -> None:
    monkeypatch.setattr(effects, "_PATIENCE", 0.01)
    far = Far()
    async with far.client() as client:
        await client.subscribe(SHARED)
        far.broker.holds = True
        reply = await client.put(SHARED, data=1)
        assert (reply.status, reply.changed) == (200, None)
        far.broker.let_go()


@asynchronous
async def test_who_leaves_while_a_reply_waits_is_not_answered() -> None:
    far = Far()
    async with far.client() as client:
        async with client.connect() as other:
            await other.subscribe(SHARED)
            far.broker.holds = True
            waiting = asyncio.ensure_future(other.put(SHARED, data=1))
            await rest(client)
            connection = other.connection
        await asyncio.gather(waiting, return_exceptions=True)
        assert not connection.tasks
        far.broker.let_go()


@asynchronous
async def test_who_comes_back_gets_what_was_missed_from_there() -> None:
    far = Far()
    async with far.client() as client:
        since = await far.away(client, 1)
        await far.publish(2, 3)
        asked = far.logs
        again = await client.subscribe(LOG, since=since)
        assert again.reply.status == 206
        await far.publish(4)
        await settled(client)
        assert data(again) == [2, 3, 4]
        assert far.logs == asked  # no handler was asked


@asynchronous
async def test_many_who_come_back_at_once_ask_once_for_what_they_missed() -> None:
    far = Far()
    async with far.client() as client:
        since = await far.away(client, 0)
        await far.publish(1, 2)
        others = [client.connect() for _ in range(8)]
        for other in others:
            await other.__aenter__()
        far.broker.calls.clear()
        logs = await asyncio.gather(*(other.subscribe(LOG, since=since) for other in others))
        for other, each in zip(others, logs, strict=True):
            await settled(other)
            assert data(each) == [1, 2]
        assert far.broker.calls["history"] == far.broker.calls["subscribe"] == 1
        for other in others:
            await other.__aexit__(None, None, None)


@asynchronous
async def test_subscribes_that_wait_for_the_broker_can_be_taken_back() -> None:
    far = Far()
    async with far.client() as client:
        for url in (LOG, SHARED, OWN):
            far.broker.holds = True
            waiting = [asyncio.ensure_future(client.request("SUBSCRIBE", url)) for _ in range(2)]
            await rest(client)
            assert not any(each.done() for each in waiting)
            assert (await client.request("UNSUBSCRIBE", url)).status == 200
            assert [(await each).status for each in waiting] == [409, 409]
            far.broker.let_go()
            await settled(client)
            assert far.app.live.topics() == []
        assert far.runs == far.logs == 0
        assert not far.app.live._node.places  # type: ignore[union-attr]


@asynchronous
async def test_a_client_that_leaves_meanwhile_leaves_nothing() -> None:
    far = Far()
    async with far.client() as client:
        far.broker.holds = True
        async with client.connect() as other:
            waiting = asyncio.ensure_future(other.request("SUBSCRIBE", LOG))
            await rest(client)
        far.broker.let_go()
        await settled(client)
        await asyncio.gather(waiting, return_exceptions=True)
        assert not far.app.live._node.places  # type: ignore[union-attr]
        assert len(far.broker.memory) == 0


@asynchronous
async def test_what_is_told_before_the_broker_has_answered_is_not_missed() -> None:
    far = Far()
    async with far.client() as client:
        far.broker.holds = True
        waiting = asyncio.ensure_future(client.subscribe(SHARED)._subscribe())
        await rest(client)
        far.value = 5
        far.broker.let_go()
        await far.app.live.changed(SHARED)
        shared = await waiting
        await settled(client)
        assert [shared.reply.data, *data(shared)][-1] == 5


@asynchronous
async def test_while_it_is_down_requests_are_answered_and_nobody_is_subscribed(caplog: Any) -> None:
    far = Far()
    async with far.client() as client:
        far.broker.is_down = True
        assert (await client.get(SHARED)).data == 0
        for url in (LOG, SHARED, OWN):
            with pytest.raises(SubscriptionRefused) as refused:
                await client.subscribe(url)
            assert refused.value.reply.status == 503
        with pytest.raises(BrokerUnavailable):
            await far.app.live.publish(LOG, 1)
        far.broker.is_down = False
        assert (await client.subscribe(SHARED)).data == 0
    assert "cannot publish" in caplog.text


@asynchronous
async def test_a_change_that_nobody_else_can_be_told_of_is_told_here() -> None:
    far = Far()
    async with far.client() as client:
        shared, own = await client.subscribe(SHARED), await client.subscribe(OWN)
        far.broker.is_down = True
        for value in (1, 2):
            far.value = value
            for url in (SHARED, OWN):
                with pytest.raises(BrokerUnavailable):
                    await far.app.live.changed(url)
            await settled(client)
            assert (data(shared), data(own)) == ([value], [value])
        alone = (shared.version or "").split(".")
        far.value = 3
        far.broker.come_back()
        await settled(client)
        assert (data(shared), data(own)) == ([3], [3])
        assert (shared.version or "").split(".")[0] != alone[0]
        far.value = 4
        await far.app.live.changed(SHARED)
        await settled(client)
        assert data(shared) == [4]


@asynchronous
@pytest.mark.parametrize("anew", [False, True])
async def test_a_state_counts_as_changed_after_a_break(anew: bool) -> None:
    far = Far()
    async with far.client() as client:
        shared, own = await client.subscribe(SHARED), await client.subscribe(OWN)
        for value in range(1, 6):  # numbers of the next epoch are lower than these
            far.value = value
            await far.app.live.changed(SHARED)
            await far.app.live.changed(OWN)
        await settled(client)
        assert (data(shared)[-1], data(own)[-1]) == (5, 5)
        far.broker.is_deaf = True
        far.value = 6
        await far.app.live.changed(SHARED)
        far.broker.come_back(anew=anew)
        await settled(client)
        assert (data(shared), data(own)) == ([6], [6])
        for value in (7, 8):
            far.value = value
            await far.app.live.changed(SHARED)
            await far.app.live.changed(OWN)
            await settled(client)
            assert (data(shared), data(own)) == ([value], [value])


@asynchronous
async def test_items_that_were_lost_on_the_way_come_in_their_order() -> None:
    far = Far()
    async with far.client() as client:
        log = await client.subscribe(LOG)
        await far.publish(1)
        far.broker.is_deaf = True
        await far.publish(2, 3)
        far.broker.is_deaf = False
        far.broker.holds = True  # the next one finds a gap; what comes while that is filled comes behind it
        publishing = [asyncio.ensure_future(far.publish(value)) for value in (4, 5)]
        await rest(client)
        far.broker.let_go()
        await asyncio.gather(*publishing)
        await settled(client)
        assert data(log) == [1, 2, 3, 4, 5]
        far.broker.is_deaf = True
        await far.publish(6, 7)
        far.broker.come_back()
        await far.publish(8)
        await settled(client)
        assert data(log) == [6, 7, 8]


@asynchronous
@pytest.mark.parametrize("is_told", [True, False])
async def test_what_comes_while_missing_items_are_on_their_way_comes_behind_them(is_told: bool) -> None:
    far = Far()
    async with far.client() as client:
        log = await client.subscribe(LOG)
        await far.publish(1)
        far.broker.is_deaf = True
        await far.publish(2)
        far.broker.is_deaf = False
        far.broker.answers_late = True
        await far.publish(3)
        await settled(client)
        assert data(log) == [1]
        far.broker.is_deaf = not is_told
        await far.publish(4)
        if not is_told:
            far.broker.come_back()
        await settled(client)
        far.broker.let_go()
        await settled(client)
        assert data(log) == [2, 3, 4]


@asynchronous
async def test_what_cannot_be_got_at_once_is_got_later() -> None:
    far = Far()
    async with far.client() as client:
        log = await client.subscribe(LOG)
        await far.lose(client, 1, 2)
        assert data(log) == []
        far.broker.is_down = False
        await client.advance(1.0)
        await settled(client)
        assert data(log) == [1, 2]


@asynchronous
async def test_a_log_goes_on_where_what_was_missing_has_come_before_it_is_asked_for_again() -> None:
    far = Far()
    async with far.client() as client:
        log = await client.subscribe(LOG)
        await far.lose(client, 1, 2)
        far.broker.is_down = False
        await far.publish(3)
        await settled(client)
        assert data(log) == [1, 2, 3]
        await client.advance(2.0)
        assert log.end is None
        await far.publish(4)
        await settled(client)
        assert data(log) == [4]


@asynchronous
async def test_a_thread_that_waits_is_told_when_the_server_stops_before_the_broker_answers(monkeypatch: Any) -> None:
    monkeypatch.setattr(feeds, "_LAST", 0.01)
    far = Far()
    async with far.client() as client:
        far.broker.holds = True
        waiting = asyncio.ensure_future(asyncio.to_thread(lambda: far.app.live.publish(LOG, 1).result(5)))
        while not far.broker.calls.get("publish"):
            await rest(client)
    with pytest.raises(BrokerUnavailable, match="has stopped"):
        await waiting


@asynchronous
async def test_two_that_begin_at_once_have_one_broker() -> None:
    far = Far()
    starts = 0
    whole = far.broker.start

    async def start() -> None:
        nonlocal starts
        starts += 1
        await asyncio.sleep(0)
        await whole()

    far.broker.start = start  # type: ignore[method-assign]
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(far.app.connected()) for _ in range(3)))
        assert starts == 1
    assert not far.broker.runs


class Nobody:
    """A node that is told nothing of interest."""

    def on_item(self, *args: Any) -> None: ...
    def on_changed(self, *args: Any) -> None: ...
    def on_recheck(self, *args: Any) -> None: ...
    def on_return(self, *args: Any) -> None: ...


@asynchronous
@pytest.mark.parametrize("anew", [False, True])
async def test_a_log_ends_where_items_are_lost_for_good(anew: bool) -> None:
    far = Far()
    async with far.client() as client:
        log = await client.subscribe(LOG)
        await far.publish(0)
        await settled(client)
        assert data(log) == [0]
        far.broker.is_deaf = True
        await far.publish(*range(1, 9))  # five are kept
        far.broker.come_back(anew=anew)
        await settled(client)
        with pytest.raises(SubscriptionEnded) as ended:
            await log.receive()
        assert ended.value.end.status == 409
        again = await client.subscribe(LOG, since=log.version)
        assert again.reply.status == 200
        await far.publish(9)
        await settled(client)
        assert data(again) == [9]


@asynchronous
async def test_an_epoch_that_ends_while_a_run_is_under_way_voids_it() -> None:
    far = Far()
    door = asyncio.Event()
    router = SimpleRouter()

    @router.get("/slow", live=Live(shared=True, interval=0.0))
    async def slow(request: Request) -> int:
        value = far.value
        await door.wait()
        return value

    app = Application(router, broker=far.broker)
    async with AsyncTestClient(app) as client:
        waiting = asyncio.ensure_future(client.subscribe("/slow")._subscribe())
        await rest(client)
        far.broker.is_deaf = True
        far.value = 1
        far.broker.come_back(anew=True)
        await rest(client)
        door.set()
        slow_one = await waiting
        await settled(client)
        assert [slow_one.reply.data, *data(slow_one)][-1] == 1
        far.value = 2
        await app.live.changed("/slow")
        await settled(client)
        assert data(slow_one) == [2]


@asynchronous
async def test_what_is_published_from_a_thread_can_be_waited_for_there_and_in_the_loop_awaited() -> None:
    far = Far()
    async with far.client() as client:
        log = await client.subscribe(LOG)
        versions: list[Any] = []
        versions.append(await asyncio.to_thread(lambda: far.app.live.publish(LOG, 1).result(5)))
        said = far.app.live.publish(LOG, 2)
        with pytest.raises(RuntimeError, match="await it"):
            said.result()
        versions.append(await said)
        assert said.result() == versions[-1]
        await settled(client)
        assert [push.version for push in log.pushes()] == versions


@asynchronous
async def test_nothing_is_published_where_the_broker_is_not_there() -> None:
    far = Far()
    with pytest.raises(RuntimeError, match="between its start and end"):
        far.app.live.publish(LOG, 1)
    async with far.client():
        await far.publish(1)
    with pytest.raises(RuntimeError, match="between its start and end"):
        far.app.live.changed(SHARED)


@asynchronous
async def test_a_script_reaches_the_broker_without_serving() -> None:
    far = Far()
    async with far.app.connected() as live:
        await live.publish(LOG, 1)
        assert not far.app.is_running
    assert not far.broker.runs
    async with far.client() as client:
        assert ((await client.subscribe(LOG)).reply.version or "").endswith(".1")
    with pytest.raises(ImproperlyConfigured, match="give broker="):
        async with Application(SimpleRouter()).connected():
            pass


@asynchronous
async def test_an_application_whose_broker_cannot_start_does_not() -> None:
    far, entered = Far(), []

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[None]:
        entered.append(app)
        await app.live.publish(LOG, 1)
        yield
        await app.live.publish(LOG, 2)

    async def start() -> None:
        raise ImproperlyConfigured("no broker at far:1")

    whole = far.broker.start
    far.broker.start = start  # type: ignore[method-assign]
    with pytest.raises(ImproperlyConfigured, match="no broker at far:1"):
        await far.app.start(port=0, lifespan=lifespan)
    assert not entered
    far.broker.start = whole  # type: ignore[method-assign]
    await far.app.start(port=0, lifespan=lifespan)
    await far.app.stop()
    assert len(far.broker.memory) == 1  # both items were published
    assert not far.broker.runs
