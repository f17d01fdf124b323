"""Logs: what is published comes once and in order, also to whoever was away; or the reply says that it does not."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from aiorest_ws import Application, HTTPError, Live, Request, SimpleRouter
from aiorest_ws.exceptions import NotLive, SerializerError
from aiorest_ws.realtime import logs
from aiorest_ws.realtime.brokers.memory import MemoryBroker
from aiorest_ws.realtime.node import LocalNode
from aiorest_ws.testing import AsyncTestClient
from tests.kit.live import nothing_more
from tests.serving import asynchronous

NEWS = "/news"


class News:
    """An application with a log, and what its handler has been asked."""

    def __init__(self, router: SimpleRouter | None = None, options: dict[str, Any] | None = None, **live: Any) -> None:
        self.calls = 0
        self.first: list[Any] = ["first"]
        self.router = router or SimpleRouter()

        @self.router.get(NEWS, live=Live(mode="log", shared=True, **{"interval": 0.0} | live))
        def news(request: Request) -> list[Any]:
            self.calls += 1
            return self.first

        self.app = Application(self.router, **(options or {}))

    def publish(self, *values: Any) -> None:
        for value in values:
            self.app.live.publish(NEWS, value)


async def items(subscription: Any, count: int) -> list[Any]:
    return [(await subscription.receive()).data for _ in range(count)]


@asynccontextmanager
async def away(client: AsyncTestClient, meanwhile: Callable[[], Any]) -> AsyncIterator[str]:
    """Subscribe with a client that goes away, and give the version that it has; `meanwhile` happens behind that."""
    async with client.connect() as other:
        client.app.live.publish(NEWS, {"id": 0})  # a log without items is forgotten with its last subscription
        version = (await other.subscribe(NEWS)).version
    assert version is not None
    meanwhile()
    yield version


@asynchronous
async def test_the_first_data_then_every_item_in_order() -> None:
    news = News()
    async with AsyncTestClient(news.app) as client:
        log = await client.subscribe(NEWS)
        assert (log.reply.status, log.data) == (200, ["first"])
        news.publish({"n": 1}, {"n": 2}, None)
        pushes = [await log.receive() for _ in range(3)]
        assert [push.data for push in pushes] == [{"n": 1}, {"n": 2}, None]
        epoch, _, number = str(log.reply.version).partition(".")
        assert [push.version for push in pushes] == [f"{epoch}.{int(number) + by}" for by in (1, 2, 3)]


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have two subscribers be many, for whom items wait for a minute."""
    monkeypatch.setattr(logs, "_MANY", 2)
    monkeypatch.setattr(logs, "_GATHER", 60.0)


@pytest.mark.usefixtures("many")
@asynchronous
async def test_fewer_items_than_came_together_before_wait_for_those_right_behind_them() -> None:
    news = News()
    async with AsyncTestClient(news.app) as client, client.connect() as other:
        log, _ = await client.subscribe(NEWS), await other.subscribe(NEWS)
        news.publish(1)
        assert await items(log, 1) == [1]
        news.publish(2, 3, 4)  # behind one that came alone
        assert await items(log, 3) == [2, 3, 4]
        for number in (5, 6):
            news.publish(number)
            await nothing_more(client)
        news.publish(7)  # as many as before
        assert await items(log, 3) == [5, 6, 7]
        news.publish(8)
        await nothing_more(client)
        await client.advance(60.0)
        assert await items(log, 1) == [8]
        news.publish(9)
        assert await items(log, 1) == [9]
        news.publish(10, 11)
        await items(log, 2)
        news.publish("x" * 70_000)  # what waits is bounded: that much is told at once
        await items(log, 1)
        await client.advance(60.0)
        await nothing_more(client)


@pytest.mark.usefixtures("many")
@asynchronous
async def test_who_comes_and_goes_while_items_wait_gets_each_once() -> None:
    news = News(interval=3600.0)
    async with AsyncTestClient(news.app) as client, client.connect() as other, client.connect() as third:
        log = await client.subscribe(NEWS)
        gone = await third.subscribe(NEWS)
        news.publish(1, 2, 3)
        assert await items(log, 3) == await items(gone, 3) == [1, 2, 3]
        version = log.version
        news.publish(4)
        resumed = await other.subscribe(NEWS, since=version)
        assert (resumed.reply.status, await items(resumed, 1)) == (206, [4])
        await gone.unsubscribe()
        news.publish(5)
        await nothing_more(client)
        await client.advance(60.0)
        assert await items(log, 2) == [4, 5]
        assert await items(resumed, 1) == [5]
        for each in (client, other, third):
            await nothing_more(each)


@pytest.mark.usefixtures("many")
@asynchronous
async def test_nobody_waits_where_few_are_told() -> None:
    news = News()
    async with AsyncTestClient(news.app) as client:
        log = await client.subscribe(NEWS)
        news.publish(1, 2)
        assert await items(log, 2) == [1, 2]
        news.publish(3)
        assert await items(log, 1) == [3]


@asynchronous
async def test_nobody_is_looked_for_who_missed_an_item_where_all_were_told(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Any] = []
    news = News()
    async with AsyncTestClient(news.app) as client:
        log = await client.subscribe(NEWS)
        monkeypatch.setattr(LocalNode, "end_all", lambda node, those, *why: looked.append(those))
        for number in range(3):
            news.publish(number)
            assert await items(log, 1) == [number]
        assert looked == []


@asynchronous
async def test_those_who_come_within_the_interval_share_a_run() -> None:
    news = News(interval=3600.0)
    async with AsyncTestClient(news.app) as client, client.connect() as other:
        assert (await client.subscribe(NEWS)).data == ["first"]
        assert (await other.subscribe(NEWS)).data == ["first"]
        assert news.calls == 1


@asynchronous
async def test_publish_gives_the_version_that_its_push_has() -> None:
    news = News()
    async with AsyncTestClient(news.app) as client:
        log = await client.subscribe(NEWS)
        said = news.app.live.publish(NEWS, 1)
        assert (await said) == said.result() == (await log.receive()).version


@asynchronous
async def test_what_was_missed_comes_behind_206_and_no_handler_is_called() -> None:
    news = News()
    async with (
        AsyncTestClient(news.app) as client,
        away(client, lambda: news.publish(1, 2, 3)) as since,
    ):
        calls = news.calls
        log = await client.subscribe(NEWS, since=since)
        news.publish(4)
        assert (log.reply.status, log.reply.data) == (206, None)
        assert log.reply.version == since.replace(".1", ".4")
        assert await items(log, 4) == [1, 2, 3, 4]
        assert news.calls == calls


@asynchronous
async def test_nothing_missed_is_304() -> None:
    news = News()
    async with AsyncTestClient(news.app) as client, away(client, lambda: None) as since:
        log = await client.subscribe(NEWS, since=since)
        assert (log.reply.status, log.reply.version) == (304, since)
        news.publish(1)
        assert await items(log, 1) == [1]


@pytest.mark.parametrize(
    ("live", "seconds"), [({"history": 2}, 0.0), ({"history_bytes": 600}, 0.0), ({"history_seconds": 60.0}, 61.0)]
)
@asynchronous
async def test_what_is_kept_no_longer_is_200_with_all_anew(live: dict[str, Any], seconds: float) -> None:
    news = News(**live)
    async with AsyncTestClient(news.app) as client, away(client, lambda: news.publish(1, 2, 3)) as since:
        await client.advance(seconds)
        log = await client.subscribe(NEWS, since=since)
        assert (log.reply.status, log.data) == (200, ["first"])
        news.publish(4)
        assert await items(log, 1) == [4]


@asynchronous
async def test_a_since_that_says_nothing_is_as_good_as_none() -> None:
    news = News()
    router = news.router

    @router.get("/others", live=Live(mode="log", shared=True))
    def others(request: Request) -> list[Any]:
        return []

    async with AsyncTestClient(news.app) as client:
        own = str((await client.subscribe(NEWS)).version)
        other = str((await client.subscribe("/others")).version)
        epoch = own.partition(".")[0]
        future = f"{epoch}.{10**17}"
        strange = [7, 1.5, True, [], {}, [own], "", ".", "..", epoch, f"{epoch}.", f"{epoch}.x", f"{epoch}.-1"]
        large = ["x" * 65536, f"{epoch}.{'0' * 65536}", f"{epoch}." + "9" * 100, f"{epoch}.٣"]
        elsewhere = [other, future, f"{own}.AAAAAAAAAAAAAAAAAAAAAA", f"{epoch[::-1]}.0"]
        for since in (*strange, *large, *elsewhere):
            reply = await client.request("SUBSCRIBE", NEWS, since=since)
            assert (reply.status, reply.data) == (200, ["first"]), since


@asynchronous
async def test_the_name_of_the_key_is_told() -> None:
    news = News(key="id")
    async with AsyncTestClient(news.app) as client, away(client, lambda: news.publish({"id": 1})) as since:
        for version, status in ((None, 200), (since, 206)):
            reply = await client.request("SUBSCRIBE", NEWS, since=version)
            assert (reply.status, b'"key":"id"' in reply.raw) == (status, True)


@asynchronous
async def test_a_log_has_no_args() -> None:
    news = News()
    async with AsyncTestClient(news.app) as client:
        reply = await client.request("SUBSCRIBE", NEWS, args={"a": 1})
        assert reply.status == 422
        assert "has no `args`" in str(reply.detail)
        with pytest.raises(NotLive, match="has no args"):
            news.app.live.publish(NEWS, 1, args={"a": 1})


@asynchronous
async def test_items_are_encoded_for_who_wants_messagepack_as_they_are() -> None:
    news = News()
    async with AsyncTestClient(news.app) as client:
        text = await client.subscribe(NEWS)
        async with client.connect(form="msgpack") as packed:
            log = await packed.subscribe(NEWS)
            news.publish({"raw": b"\x00\xff"})
            assert await items(log, 1) == [{"raw": b"\x00\xff"}]
            assert await items(text, 1) == [{"raw": "AP8="}]


@asynchronous
async def test_a_resume_in_a_form_that_was_not_kept_is_200() -> None:
    news = News()
    async with AsyncTestClient(news.app) as client, away(client, lambda: news.publish(1)) as since:
        reply = await client.request("SUBSCRIBE", NEWS, since=since, form="msgpack")
        assert (reply.status, reply.data) == (200, ["first"])
        news.publish(2)
        async with client.connect(form="msgpack") as other:
            log = await other.subscribe(NEWS, since=reply.version)
            assert log.reply.status == 206
            assert await items(log, 1) == [2]


@dataclass
class Line:
    """An item, of which a part is told."""

    id: int
    text: str = "-"


def test_what_is_kept_takes_about_the_memory_that_is_counted() -> None:
    """An encoder may give bytes at the beginning of a buffer, all of which is there as long as they are."""
    news = News(history=1000)
    news.publish("first")
    broker = news.app.live.broker
    assert isinstance(broker, MemoryBroker)
    counted = broker.size
    tracemalloc.start()
    try:
        news.publish(*["x" * 1000] * 100)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    counted = broker.size - counted
    assert counted > 100_000
    assert taken < 1.5 * counted


@asynchronous
async def test_an_item_is_rendered_as_the_route_renders_it() -> None:
    router = SimpleRouter()

    @router.get("/lines", live=Live(mode="log", shared=True), response_model=list[Line])
    def lines(request: Request) -> list[dict[str, Any]]:
        return [{"id": 1, "text": "a", "secret": "s"}]

    app = Application(router)
    async with AsyncTestClient(app) as client:
        log = await client.subscribe("/lines")
        assert log.data == [{"id": 1, "text": "a"}]
        app.live.publish("/lines", {"id": 2, "text": "b", "secret": "s"})
        app.live.publish("/lines", Line(3))
        assert await items(log, 2) == [{"id": 2, "text": "b"}, {"id": 3, "text": "-"}]
        with pytest.raises(SerializerError):
            app.live.publish("/lines", {"id": 4, "text": 5})
        app.live.publish("/lines", Line(6))
        assert await items(log, 1) == [{"id": 6, "text": "-"}]


@pytest.mark.parametrize("form", ["text", "msgpack"])
@asynchronous
async def test_what_cannot_be_encoded_raises_where_it_is_published_and_nothing_is_sent(form: str) -> None:
    news = News()
    async with AsyncTestClient(news.app, form=form) as client:
        log = await client.subscribe(NEWS)
        with pytest.raises(TypeError):
            news.publish({"a": object()})
        news.publish(1)
        push = await log.receive()
        assert push.data == 1
        assert str(push.version).endswith(".1")


# From where it is published


@asynchronous
async def test_handlers_hooks_and_tasks_publish_wherever_they_run() -> None:
    router = SimpleRouter()
    told: list[Any] = []

    @router.post("/async")
    async def asynchronously(request: Request) -> None:
        told.append(await request.app.live.publish(NEWS, "async def"))

    @router.post("/thread")
    def in_thread(request: Request) -> None:
        told.append(request.app.live.publish(NEWS, "def").result())

    @router.post("/task")
    async def in_task(request: Request) -> None:
        async def later() -> None:
            told.append(await request.app.live.publish(NEWS, "task"))

        tasks.append(asyncio.get_running_loop().create_task(later()))

    tasks: list[Any] = []

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[None]:
        told.append(await app.live.publish(NEWS, "lifespan"))
        yield

    async def on_connect(connection: Any) -> None:
        told.append(await connection.factory.app.live.publish(NEWS, "on_connect"))

    news = News(router, {"threads": 2, "lifespan": lifespan, "on_connect": on_connect})
    told.append(news.app.live.publish(NEWS, "before the start").result())
    epoch, _, _ = str(told[0]).partition(".")
    async with AsyncTestClient(news.app) as client:
        log = await client.subscribe(NEWS, since=f"{epoch}.0")
        assert log.reply.status == 206
        for url in ("/async", "/thread", "/task"):
            assert (await client.post(url)).status == 200
        thread = threading.Thread(target=lambda: told.append(news.app.live.publish(NEWS, "thread").result()))
        thread.start()
        said = ["before the start", "lifespan", "on_connect", "async def", "def", "task", "thread"]
        assert await items(log, 7) == said
        await asyncio.to_thread(thread.join)
    assert told == [f"{epoch}.{number}" for number in range(1, 8)]


def test_whoever_tests_without_a_server_may_publish() -> None:
    news = News()
    first, second = (news.app.live.publish(NEWS, number).result() for number in range(2))
    assert str(first).partition(".")[0] == str(second).partition(".")[0]
    with pytest.raises(TypeError):
        news.publish(object())
    assert str(news.app.live.publish(NEWS, 2).result()).endswith(".3")


def test_threads_that_publish_where_nobody_subscribes_get_a_number_each() -> None:
    news = News()
    versions: list[Any] = []

    def publish() -> None:
        versions.extend(news.app.live.publish(NEWS, number).result() for number in range(200))

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(version.partition(".")[2]) for version in versions) == list(range(1, 801))


def test_a_thread_that_publishes_while_the_loop_ends_is_told_or_told_why_not() -> None:
    news = News()
    stop = threading.Event()
    said: list[str | None] = []

    def publish() -> None:
        while not stop.is_set():
            said.append(news.app.live.publish(NEWS, len(said)).result(timeout=10))

    thread = threading.Thread(target=publish)

    async def serve() -> None:
        async with AsyncTestClient(news.app) as client:
            log = await client.subscribe(NEWS)
            thread.start()
            await items(log, 20)

    asyncio.run(serve())
    seen = len(said)
    while thread.is_alive() and len(said) < seen + 20:
        pass  # it goes on, where it is
    stop.set()
    thread.join()
    assert [int(str(version).partition(".")[2]) for version in said] == list(range(1, len(said) + 1))


def test_who_waits_for_a_loop_that_was_closed_is_told() -> None:
    news = News()
    loop = asyncio.new_event_loop()
    client = AsyncTestClient(news.app)
    loop.run_until_complete(client.__aenter__())
    loop.run_until_complete(client.subscribe(NEWS)._subscribe())
    given: list[Any] = []

    def publish() -> None:
        given.append(news.app.live.publish(NEWS, 1))

    async def publish_at_the_end() -> None:
        thread = threading.Thread(target=publish)
        thread.start()
        thread.join()
        loop.stop()

    task = loop.create_task(publish_at_the_end())
    loop.run_forever()
    loop._ready.clear()  # type: ignore[attr-defined]  # as when a signal ends it just now
    loop.close()
    with pytest.raises(RuntimeError, match="the loop that serves was closed"):
        given[0].result()
    del task


# What does not lead to a log


@asynchronous
async def test_what_is_no_log_is_named() -> None:
    news = News()

    @news.router.get("/plain")
    def plain(request: Request) -> str:
        return ""

    @news.router.get("/own", live=True)
    def own(request: Request) -> str:
        return ""

    @news.router.post("/written")
    def written(request: Request) -> str:
        return ""

    live = news.app.live
    for url, why in (("/plain", "does not say how it changes"), ("/own", "depends on who asks"), ("/x", "no route")):
        with pytest.raises(NotLive, match=why):
            live.publish(url, 1)
    strange: Any
    for strange in ("/written", "", None, 7):
        with pytest.raises(NotLive):
            live.publish(strange, 1)
    with pytest.raises(NotLive, match="/news is a log"):
        live.changed(NEWS)


@asynchronous
async def test_a_handler_that_fails_is_answered_and_leaves_who_subscribes() -> None:
    news = News()
    async with AsyncTestClient(news.app) as client:
        log = await client.subscribe(NEWS)
        news.first = [object()]
        async with client.connect() as other:
            assert (await other.request("SUBSCRIBE", NEWS)).status == 500
        calls = news.calls
        await client.advance(30)
        assert news.calls == calls
        news.publish(1)
        assert await items(log, 1) == [1]
        assert log.end is None


@asynchronous
async def test_a_resume_passes_the_guards() -> None:
    refused: list[bool] = []

    class Guard:
        def process_request(self, request: Any, handler: Any) -> None:
            if refused:
                raise HTTPError(403, "not any more")

    router = SimpleRouter()

    @router.get(NEWS, live=Live(mode="log", shared=True), middlewares=[Guard()])
    def news(request: Request) -> list[Any]:
        return []

    app = Application(router)
    async with AsyncTestClient(app) as client, away(client, lambda: app.live.publish(NEWS, 1)) as since:
        refused.append(True)
        reply = await client.request("SUBSCRIBE", NEWS, since=since)
        assert (reply.status, reply.detail) == (403, "not any more")
        assert client.connection.subscriptions == ()
