"""SUBSCRIBE, UNSUBSCRIBE and PING on the wire: what is answered to what is asked, well or badly."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aiorest_ws import Application, HTTPError, Live, Request, SimpleRouter
from aiorest_ws.renderers import JSONRenderer, XMLRenderer
from aiorest_ws.testing import AsyncTestClient, Reply
from tests.kit.frames import wire
from tests.kit.live import message, nothing_more, number_of, pushed, rest, subscribed
from tests.serving import asynchronous, turn_over

FORMS = ("text", "text-base64", "binary", "binary-base64", "msgpack")


class Site:
    """An application with a route of each kind."""

    def __init__(self, **options: Any) -> None:
        self.value: Any = 1
        self.seen: list[Any] = []
        router = self.router = SimpleRouter()
        is_live = Live(interval=0.0)

        @router.get("/orders/{id:int}", live=is_live)
        def order(request: Request, id: int, a: Any = None, b: Any = None) -> Any:  # noqa: A002
            self.seen.append((request.method, request.subscribing, id, request.args))
            return self.value

        @router.get("/board", live=Live(shared=True, interval=0.0))
        def board(request: Request, a: Any = None) -> Any:
            return self.value

        @router.get("/", live=is_live)
        def root(request: Request) -> Any:
            return self.value

        @router.get("/plain")
        def plain(request: Request) -> int:
            return 1

        @router.post("/posts")
        def post(request: Request) -> int:
            return 1

        self.app = Application(router, **options)


async def ask(client: AsyncTestClient, **whole: Any) -> dict[str, Any]:
    """Send a message as it is; give the next that comes."""
    await client.send(json.dumps(whole))
    return message(await client.receive())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("url", ["/orders/7", "/board"])
@asynchronous
async def test_each_form_is_answered_and_told_in_itself(form: str, url: str) -> None:
    site = Site()
    site.value = {"é": [1, None]}
    async with AsyncTestClient(site.app, form=form) as client:
        reply = message(await client.request("SUBSCRIBE", url, id="s", event_name="echo"))
        version = reply.pop("version")
        whole = {"id": "s", "status": 200, "topic": url, "event_name": "echo", "data": site.value}
        assert reply == whole
        reply = message(await client.request("SUBSCRIBE", url, id="s", since=version))
        assert reply == {"id": "s", "status": 304, "topic": url, "version": version}
        site.value = None
        said = await site.app.live.changed(url)
        payload = await client.receive()
        assert isinstance(payload, str) == form.startswith("text")
        push = message(payload)
        assert push == {"event_name": url, "version": push["version"], "data": None}
        assert push["version"].startswith(f"{said}.")
        await site.app.live.changed(url)
        same = message(await client.receive())
        assert same == {"event_name": url, "version": same["version"]}
        assert (number_of(same["version"]), same["version"][-22:]) == (2, push["version"][-22:])
        assert message(await client.request("PING", "", id="p")) == {"id": "p", "status": 200, "data": None}
        reply = message(await client.request("UNSUBSCRIBE", url, id="u"))
        assert reply == {"id": "u", "status": 200, "data": None}
        site.app.live.changed(url)
        await nothing_more(client)
        assert (client.connection.subscriptions, site.app.live.topics()) == ((), [])


@asynchronous
async def test_a_digest_of_json_is_none_of_messagepack() -> None:
    site = Site()
    async with AsyncTestClient(site.app) as client:
        json_version = (await subscribed(client, "/orders/7"))["version"]
        packed = await subscribed(client, "/orders/7", form="msgpack", since=json_version)
        assert packed["status"] == 200
        assert (await subscribed(client, "/orders/7", form="msgpack", since=packed["version"]))["status"] == 304
        assert (await subscribed(client, "/orders/7", since=f"elsewhere.9.{json_version[-22:]}"))["status"] == 304


SINCE = [
    *("x" * 65536, "", ".", "..", "a.b", "a.-1", "a.1.", "a.99999999999999999999.x", "é.1.x", "a.①.x", "\x00.1.1"),
    *(7, True, None, [], {}, ["a.1.x"], {"a": 1}, 1.5),
]


@pytest.mark.parametrize("url", ["/orders/7", "/board"])
@asynchronous
async def test_since_that_is_no_version_is_as_good_as_none(url: str) -> None:
    site = Site()
    async with AsyncTestClient(site.app) as client:
        version = (await subscribed(client, url))["version"]
        epoch, number, _ = version.split(".")
        future = f"{epoch}.{int(number) + 9}.{'A' * 22}"
        for since in (*SINCE, future, f"{epoch}.{number}"):
            assert (await subscribed(client, url, since=since))["status"] == 200


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"url": "/plain"}, 405, "does not say how it changes"),
    ({"url": "/posts"}, 405, "expected POST"),
    ({"url": "/nowhere"}, 404, "no route /nowhere"),
    ({"url": "/orders/x"}, 404, "no route /orders/x"),
    ({"url": "/orders/7?a=1"}, 404, "no query here"),
    ({}, 400, ""),
    ({"url": 7}, 400, ""),
    ({"url": "/orders/7", "data": 0}, 422, "takes no `data`"),
    ({"url": "/orders/7", "data": {}}, 422, "takes no `data`"),
    ({"url": "/orders/7", "args": []}, 422, "`args` must be an object"),
    ({"url": "/orders/7", "args": {"c": 1}}, 422, ""),
    ({"url": "/orders/7", "args": {"a": "x" * 4096}}, 422, "at most 4096 bytes"),
    ({"url": "/board", "args": {"c": 1}}, 422, ""),
    ({"url": "/board", "more": "x" * 16384}, 422, "at most 16384 bytes of memory, as it is kept"),
    ({"url": f"{' ' * 16384}/board"}, 422, "bytes of memory"),
    ({"url": "/orders/7", "more": [[]] * 300}, 422, "bytes of memory"),
    ({"url": "/orders/7", "since": ["x" * 16384]}, 422, "bytes of memory"),
]


@pytest.mark.parametrize(("parts", "status", "why"), REFUSED)
@asynchronous
async def test_what_cannot_be_subscribed_to_is_refused_and_leaves_nothing(
    parts: dict[str, Any], status: int, why: str
) -> None:
    site = Site()
    async with AsyncTestClient(site.app) as client:
        reply = await ask(client, id="x", method="SUBSCRIBE", **parts)
        assert (reply["id"], reply["status"]) == ("x", status)
        assert why in json.dumps(reply["detail"])
        await nothing_more(client)
        assert site.app.live.topics() == []
        assert not site.app.live._node or not site.app.live._node.places


@pytest.mark.parametrize("verb", ["SUBSCRIBE", "UNSUBSCRIBE", "PING"])
@asynchronous
async def test_each_of_the_verbs_needs_an_id(verb: str) -> None:
    site = Site()
    async with AsyncTestClient(site.app) as client:
        reply = await ask(client, method=verb, url="/orders/7", event_name=1)
        assert reply == {"detail": f"{verb} needs an `id`", "event_name": 1}
        ids: list[Any] = ["x" * 257, 1.5, [], {}, 2**70]
        for wrong in ids:
            reply = await ask(client, method=verb, url="/orders/7", id=wrong)
            assert "id" not in reply
            assert "`id` must be a string" in reply["detail"]
        assert site.seen == []
        assert site.app.live.topics() == []


@asynchronous
async def test_what_json_cannot_say_is_no_topic() -> None:
    from datetime import UTC, datetime

    site = Site()
    async with AsyncTestClient(site.app, form="msgpack") as client:
        for value in (b"\xff", datetime(2026, 1, 1, tzinfo=UTC), float("nan"), float("inf"), [{"x": b""}]):
            for verb in ("SUBSCRIBE", "UNSUBSCRIBE"):
                reply = await client.request(verb, "/orders/7", args={"a": value})
                assert (reply.status, "JSON cannot say them" in reply.detail) == (422, True)
        assert site.seen == []


@asynchronous
async def test_topics_are_named_by_what_they_are_about() -> None:
    site = Site()
    async with AsyncTestClient(site.app) as client:

        async def topic(url: str, **parts: Any) -> str:
            name: str = (await subscribed(client, url, **parts))["topic"]
            return name

        assert await topic("/orders/007/") == "/orders/7"
        assert await topic("/orders/-0") == "/orders/0"
        assert await topic("/") == "/"
        assert await topic("/board/", args={}) == "/board"
        assert await topic("/orders/7", args=None) == "/orders/7"
        sorted_ones = '/orders/7?{"a":{"x":[1,{"b":1,"c":2}],"y":"é"},"b":null}'
        assert await topic("/orders/7", args={"b": None, "a": {"y": "é", "x": [1, {"c": 2, "b": 1}]}}) == sorted_ones
        names = [await topic("/orders/7", args={"a": a}) for a in (1, 1.0, "1", True, [1])]
        assert names == [f'/orders/7?{{"a":{text}}}' for text in ("1", "1.0", '"1"', "true", "[1]")]
        long = [await topic("/orders/7", args={"a": "é" * size}) for size in (119, 120, 121)]
        assert [len(name.encode()) for name in long] == [256, 42, 42]  # beyond that a hash
        assert long[1] != long[2]
        all_of_them = {*names, *long, sorted_ones, "/", "/board", "/orders/0", "/orders/7"}
        assert client.connection.subscriptions == tuple(sorted(all_of_them))
        assert site.app.live.topics() == list(client.connection.subscriptions)


@asynchronous
async def test_a_url_that_cannot_be_written_anew_is_refused() -> None:
    router = SimpleRouter()
    router.add_converter("upper", str.upper, str)

    @router.get("/names/{name}", live=Live())
    def named(request: Request, name: str) -> str:
        return name

    @router.get("/names/me", live=Live(shared=True))
    def me(request: Request) -> str:
        return "me"

    @router.get("/files/{path:path}", live=Live())
    def file(request: Request, path: str) -> str:
        return path

    @router.get("/shout/{name:upper}", live=Live())
    def shout(request: Request, name: str) -> str:
        return name

    @router.get("/shout/ME", live=Live())
    def shout_me(request: Request) -> str:
        return "me"

    long = "/" + "x" * 256

    @router.get(long, live=Live())
    def longest(request: Request) -> str:
        return "x"

    async with AsyncTestClient(Application(router)) as client:
        assert (await subscribed(client, "/names/ada"))["data"] == "ada"
        assert (await subscribed(client, "/names/me"))["data"] == "me"
        assert (await subscribed(client, "/files/a/b/c/"))["topic"].startswith("/files/a/b/c")
        for url in (f"/names/{'x' * 250}", f"/names/{'é' * 125}", long):
            reply = await client.request("SUBSCRIBE", url)
            assert (reply.status, "at most 256 bytes" in str(reply.detail)) == (422, True)
        assert (await client.request("SUBSCRIBE", "/names/a?b")).status == 422
        assert (await subscribed(client, "/shout/ada"))["topic"] == "/shout/ADA"
        reply = await client.request("SUBSCRIBE", "/shout/me")
        assert (reply.status, reply.detail) == (422, "this url cannot be subscribed to: '/shout/ME' leads elsewhere")


@asynchronous
async def test_a_format_of_the_view_must_be_json() -> None:
    router = SimpleRouter()

    @router.get("/x", live=Live(), renderers=[JSONRenderer, XMLRenderer])
    def both(request: Request, format: str | None = None) -> str:  # noqa: A002
        return f"{format}"

    async with AsyncTestClient(Application(router)) as client:
        for wanted, status in (("xml", 422), ("json", 200), (None, 200)):
            assert (await client.request("SUBSCRIBE", "/x", args={"format": wanted})).status == status


MISSING: list[dict[str, Any]] = [
    *({"url": "/orders/7"}, {"url": "/orders/8", "args": {"a": 1}}, {"url": "/plain"}, {"url": "/board"}),
    *({"topic": "/orders/7"}, {"topic": 7}, {"topic": ["x"]}, {"topic": "x" * 65536}, {"topic": {}}),
]


@asynchronous
async def test_unsubscribe_by_url_or_by_topic() -> None:
    site = Site()
    async with AsyncTestClient(site.app) as client, client.connect() as other:
        for unsubscribe in ({"url": "/orders/007", "args": {"a": 1}}, {"topic": '/orders/7?{"a":1}'}):
            await subscribed(client, "/orders/7", args={"a": 1})
            await subscribed(other, "/orders/7")
            for missing in MISSING:
                reply = await ask(client, id=1, method="UNSUBSCRIBE", **missing)
                assert reply == {"id": 1, "status": 404, "detail": "not subscribed to"}
            for status in (200, 404):
                assert (await ask(client, id=1, method="UNSUBSCRIBE", **unsubscribe))["status"] == status
        assert other.connection.subscriptions == ("/orders/7",)


@asynchronous
async def test_a_connection_has_so_many_subscriptions() -> None:
    site = Site(max_subscriptions=3)
    async with AsyncTestClient(site.app) as client:
        for number in range(3):
            await subscribed(client, f"/orders/{number}")
        reply = await client.request("SUBSCRIBE", "/orders/4")
        assert (reply.status, reply.detail) == (
            429,
            "at most 3 subscriptions on a connection: unsubscribe from others first",
        )
        await subscribed(client, "/orders/2")  # which it has
        await client.request("UNSUBSCRIBE", "/orders/2")
        await subscribed(client, "/orders/4")
        assert len(client.connection.subscriptions) == 3


@asynchronous
async def test_a_thousand_at_once_are_each_answered_once() -> None:
    site = Site()
    async with AsyncTestClient(site.app) as client:
        for number in range(1000):
            await client.send(json.dumps({"id": number, "method": "SUBSCRIBE", "url": f"/orders/{number}"}))
        replies = [message(await client.receive()) for _ in range(1000)]
        assert {reply["id"]: reply["status"] for reply in replies} == {
            number: 200 if number < 128 else 429 for number in range(1000)
        }
        await nothing_more(client)


class Doors:
    """A private and a shared route that wait until they are let go on, each run by itself."""

    def __init__(self, **options: Any) -> None:
        self.entered: asyncio.Queue[asyncio.Future[Any]] = asyncio.Queue()
        self.router = SimpleRouter()

        @self.router.get("/own", live=Live(interval=0.0))
        async def own(request: Request, a: int = 0) -> Any:
            return await self.pass_through()

        @self.router.get("/all", live=Live(shared=True, interval=0.0))
        async def everybody(request: Request, a: int = 0) -> Any:
            return await self.pass_through()

        self.app = Application(self.router, **options)

    async def pass_through(self) -> Any:
        door = asyncio.get_running_loop().create_future()
        self.entered.put_nowait(door)
        return await door


KINDS = pytest.mark.parametrize("url", ["/own", "/all"])


@KINDS
@asynchronous
async def test_unsubscribe_cancels_what_is_being_answered(url: str) -> None:
    doors = Doors()
    async with AsyncTestClient(doors.app) as client:
        for number in (1, 2):
            await client.send(json.dumps({"id": number, "method": "SUBSCRIBE", "url": url}))
        door = await doors.entered.get()
        await client.send(json.dumps({"id": 3, "method": "UNSUBSCRIBE", "url": url}))
        replies = [message(await client.receive()) for _ in range(3)]
        cancelled = {"status": 409, "detail": "unsubscribed meanwhile"}
        assert replies == [{"id": 1, **cancelled}, {"id": 2, **cancelled}, {"id": 3, "status": 200, "data": None}]
        if not door.done():
            door.set_result(1)
        await nothing_more(client)
        assert (client.connection.subscriptions, doors.app.live.topics()) == ((), [])
        assert doors.app.live._node is not None
        assert doors.app.live._node.places == {}


@KINDS
@asynchronous
async def test_what_timed_out_is_not_answered_again_by_unsubscribe(url: str) -> None:
    """The handler goes on for a while, its SUBSCRIBE is over."""
    doors = Doors(request_timeout=0.02)
    may_end = asyncio.Event()

    @doors.router.get("/stubborn", live=Live())
    async def stubborn(request: Request) -> int:
        try:
            return await doors.pass_through()  # type: ignore[no-any-return]
        finally:
            await may_end.wait()

    async with AsyncTestClient(doors.app) as client:
        reply = await client.request("SUBSCRIBE", "/stubborn")
        assert reply.status == 504
        assert (await client.request("UNSUBSCRIBE", "/stubborn")).status == 404
        may_end.set()
        await nothing_more(client)


@KINDS
@asynchronous
async def test_a_lost_connection_leaves_nothing_of_what_was_being_answered(url: str) -> None:
    doors = Doors()
    async with AsyncTestClient(doors.app) as watch, watch.connect() as client:
        await client.send(json.dumps({"id": 1, "method": "SUBSCRIBE", "url": url}))
        door = await doors.entered.get()
        client.abort()
        await client.wait_closed()
        await rest(watch)
        assert door.cancelled()
        node = doors.app.live._node
        assert node is not None
        assert node.places == {}
        assert node.runs.is_quiet


@asynchronous
async def test_of_two_the_later_counts_and_the_earlier_is_told_so() -> None:
    doors = Doors()
    async with AsyncTestClient(doors.app) as client:
        first = asyncio.ensure_future(client.request("SUBSCRIBE", "/own", id="first"))
        one = await doors.entered.get()
        second = asyncio.ensure_future(client.request("SUBSCRIBE", "/own", id="second", form="msgpack"))
        two = await doors.entered.get()
        two.set_result("two")
        assert message(await second)["data"] == "two"
        one.set_result("one")
        assert (await first).status == 409
        doors.app.live.changed("/own")
        (await doors.entered.get()).set_result("three")
        payload = await client.receive()
        assert isinstance(payload, bytes)  # in the form of the second
        assert message(payload)["data"] == "three"


@KINDS
@asynchronous
async def test_a_renewal_that_is_refused_leaves_the_first_as_it_was(url: str) -> None:
    site = Site()

    class Gate:
        is_open = True

        def process_request(self, request: Any, handler: Any) -> None:
            if request.get_extra("bad"):
                raise HTTPError(403)

    router = SimpleRouter(middlewares=[Gate])
    router.get("/own", live=Live(interval=0.0))(lambda request: site.value)
    router.get("/all", live=Live(interval=0.0, shared=True))(lambda request: site.value)
    app = Application(router)
    async with AsyncTestClient(app) as client:
        await subscribed(client, url)
        assert (await client.request("SUBSCRIBE", url, bad=True)).status == 403
        assert (await client.request("SUBSCRIBE", url, data=1)).status == 422
        site.value = 2
        app.live.changed(url)
        assert await pushed(client) == (1, 2)


@asynccontextmanager
async def renewing(doors: Doors) -> AsyncIterator[tuple[AsyncTestClient, asyncio.Future[Any], asyncio.Task[Reply]]]:
    """Give a client, the door of a renewal of its subscription, and the reply to come; a change waits behind it."""
    async with AsyncTestClient(doors.app) as client:
        first = asyncio.ensure_future(client.request("SUBSCRIBE", "/own"))
        (await doors.entered.get()).set_result(0)
        await first
        second = asyncio.ensure_future(client.request("SUBSCRIBE", "/own"))
        renewal = await doors.entered.get()
        doors.app.live.changed("/own")
        yield client, renewal, second


@asynchronous
async def test_numbers_never_fall_while_a_subscription_is_renewed() -> None:
    """What is renewed waits with its runs: the reply to the renewal would say less than a push before it."""
    doors = Doors()
    async with renewing(doors) as (client, renewal, second):
        await rest(client)
        assert doors.entered.empty()
        renewal.set_result(0)
        assert number_of(message(await second)["version"]) == 0
        (await doors.entered.get()).set_result(1)
        assert await pushed(client) == (1, 1)


@asynchronous
async def test_a_renewal_that_fails_lets_the_runs_of_the_first_go_on() -> None:
    doors = Doors()
    async with renewing(doors) as (client, renewal, second):
        renewal.set_exception(HTTPError(403))
        assert (await second).status == 403
        (await doors.entered.get()).set_result(1)
        assert await pushed(client) == (1, 1)


@asynchronous
async def test_what_a_handler_does_to_its_arguments_is_not_there_in_the_next_run() -> None:
    router = SimpleRouter()
    seen = []

    @router.get("/x", live=Live(interval=0.0))
    def greedy(request: Request, **args: Any) -> int:
        seen.append(json.dumps([request.args, request.extra.get("more")]))
        request.args["a"].append(2)
        request.args["new"] = 1
        args["a"].append(3)
        if "more" in request.extra:
            request.extra["more"]["x"] = 1
        return len(seen)

    app = Application(router)
    async with AsyncTestClient(app) as client:
        topic = (await subscribed(client, "/x", args={"a": [1]}, more={}))["topic"]
        assert topic == '/x?{"a":[1]}'
        for number in (2, 3):
            app.live.changed("/x")
            assert (await pushed(client))[1] == number
        assert seen == [json.dumps([{"a": [1]}, {}])] * 3


@asynchronous
async def test_since_is_said_once_and_is_not_kept() -> None:
    router = SimpleRouter()
    seen: list[Any] = []

    @router.get("/x", live=Live(interval=0.0))
    def x(request: Request) -> int:
        seen.append((request.get_extra("since"), request.get_extra("more")))
        return len(seen)

    app = Application(router)
    async with AsyncTestClient(app) as client:
        await subscribed(client, "/x", since="x.1.y", more=1)
        app.live.changed("/x")
        assert (await pushed(client))[1] == 2
        assert seen == [("x.1.y", 1), (None, 1)]


class Checking(SimpleRouter):
    """A router with a way of its own, before its routes."""

    def __init__(self, is_async: bool) -> None:
        super().__init__()
        self.is_async = is_async
        self.ways: list[Any] = []
        self.refused: set[str] = set()

    def process_request(self, request: Any) -> Any:
        self.ways.append((request.method, request.url, request.subscribing))
        if request.url in self.refused:
            raise HTTPError(403)
        if request.url == "/alone":
            return b'{"id":1,"status":200,"data":"alone"}'
        return self.later(request) if self.is_async else super().process_request(request)

    async def later(self, request: Any) -> Any:
        await asyncio.sleep(0)
        given = super().process_request(request)
        return given if isinstance(given, bytes) else await given


@pytest.mark.parametrize("shared", [False, True], ids=["private", "shared"])
@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async def"])
@asynchronous
async def test_a_router_with_a_way_of_its_own_sees_a_get_and_each_run(is_async: bool, shared: bool) -> None:
    router = Checking(is_async)
    runs: list[int] = []

    @router.get("/x", live=Live(interval=0.0, shared=shared))
    def x(request: Request) -> int:
        runs.append(1)
        return len(runs)

    router.put("/x", changes=["/x"])(lambda request: None)
    app = Application(router)
    async with AsyncTestClient(app) as client:
        assert (await client.request("PING", "")).status == 200
        reply = await client.request("SUBSCRIBE", "/alone", id=1)
        assert (reply.status, "'/alone' was answered by its router alone" in reply.detail) == (503, True)
        for url, status in (("/nowhere", 404), ("/x?a", 404)):
            assert (await client.request("SUBSCRIBE", url)).status == status
        router.ways.clear()
        assert (await subscribed(client, "/x"))["data"] == 1
        assert "changed" in message(await client.put("/x"))
        assert await pushed(client) == (1, 2)
        way = ("GET", "/x", True)
        assert router.ways == [way, ("PUT", "/x", False), *([] if shared else [way])]
        router.refused.add("/x")
        app.live.recheck("/x")
        end = message(await client.receive())
        assert (end["event_name"], end["status"]) == ("/x", 403)
        router.refused.clear()
        await subscribed(client, "/x")
        router.refused.add("/x")
        assert (await client.request("UNSUBSCRIBE", "/x")).status == 200  # which passes no guards
        assert (await client.request("SUBSCRIBE", "/x")).status == 403
        assert app.live.topics() == []


@KINDS
@asynchronous
async def test_a_client_that_vanishes_anywhere_leaves_nothing(url: str) -> None:
    """Cut at each byte: what has come whole is answered once, what is left of it is nothing."""
    doors = Doors()

    def whole(number: int, verb: str) -> bytes:
        return wire(json.dumps({"id": number, "method": verb, "url": url}).encode())

    read = whole(1, "SUBSCRIBE") + whole(2, "UNSUBSCRIBE") + whole(3, "SUBSCRIBE") + whole(4, "PING")
    async with AsyncTestClient(doors.app) as watch:
        for cut in range(1, len(read) + 1, 3):
            async with watch.connect() as client:
                client.connection.data_received(read[:cut])
                if cut % 2:
                    await rest(watch, 1)
                    client.connection.data_received(read[cut:])
                    replies = [message(await client.receive()) for _ in range(3)]
                    assert [(reply["id"], reply["status"]) for reply in replies] == [(1, 409), (2, 200), (4, 200)]
                client.abort()
                await client.wait_closed()
            await rest(watch, 4)
            node = doors.app.live._node
            if node is not None:
                assert (node.places, node.runs.is_quiet, doors.app.live.topics()) == ({}, True, [])


@KINDS
@pytest.mark.parametrize("verb", ["GET", "SUBSCRIBE"])
@pytest.mark.parametrize("how", ["connection", "task"])
@asynchronous
async def test_what_is_cancelled_at_any_step_drops_nothing_that_has_not_begun(how: str, verb: str, url: str) -> None:
    """Guards, the handler and guards again wait, each some turns: what none of them has awaited fails the test."""
    tasks: list[asyncio.Task[Any]] = []

    class Door:
        async def process_request(self, request: Any, handler: Any) -> None:
            await turn_over(2)
            task = asyncio.current_task()
            assert task is not None
            tasks.append(task)

    router = SimpleRouter()

    @router.get("/own", live=Live(interval=0.0), middlewares=[Door()])
    async def own(request: Request) -> None:
        await turn_over(2)

    @router.get("/all", live=Live(interval=0.0, shared=True), middlewares=[Door()])
    async def everybody(request: Request) -> None:
        await turn_over(2)

    app = Application(router)
    async with AsyncTestClient(app) as watch:
        for turns in range(16):
            tasks.clear()
            async with watch.connect() as client:
                await client.send(json.dumps({"id": 1, "method": verb, "url": url}))
                await turn_over(turns)
                app.live.recheck()
                await turn_over(turns // 8)
                if how == "connection":
                    client.abort()
                    await client.wait_closed()
                elif tasks:
                    tasks[0].cancel()
                    await client.receive()
            await watch.advance()
            assert app.live.topics() == []


@asynchronous
async def test_the_id_of_a_request_in_flight_may_come_again() -> None:
    doors = Doors()
    async with AsyncTestClient(doors.app) as client:
        await client.send(json.dumps({"id": 1, "method": "GET", "url": "/own"}))
        await client.send(json.dumps({"id": 1, "method": "SUBSCRIBE", "url": "/own"}))
        for number in (1, 2):
            (await doors.entered.get()).set_result(number)
        replies = [message(await client.receive()) for _ in range(2)]
        assert [reply["id"] for reply in replies] == [1, 1]
        assert sorted(reply["data"] for reply in replies) == [1, 2]
        assert client.connection.subscriptions == ("/own",)


@KINDS
@asynchronous
async def test_what_cannot_be_encoded_is_an_error_of_the_server(url: str, caplog: pytest.LogCaptureFixture) -> None:
    doors = Doors()
    async with AsyncTestClient(doors.app) as client:
        asking = asyncio.ensure_future(client.request("SUBSCRIBE", url))
        (await doors.entered.get()).set_result({"a": object()})
        assert (await asking).status == 500
        assert "object" in caplog.text
        asking = asyncio.ensure_future(client.request("SUBSCRIBE", url))
        (await doors.entered.get()).set_result(1)
        assert (await asking).data == 1
        doors.app.live.changed(url)
        (await doors.entered.get()).set_result({"a": object()})
        await rest(client)
        assert doors.app.live._node is not None
        doors.app.live._node.timers.advance(1)
        (await doors.entered.get()).set_result(2)
        assert await pushed(client) == (1, 2)


@asynchronous
async def test_verbs_may_be_written_as_those_of_routes_may() -> None:
    site = Site()
    async with AsyncTestClient(site.app) as client:
        for verb in ("subscribe", " Subscribe", "unsubscribe ", "ping"):
            assert (await client.request(verb, "/board")).status == 200
        assert (await ask(client, method="ping", id=1)) == {"id": 1, "status": 200, "data": None}
        assert (await client.request("pings", "/board")).status == 405
