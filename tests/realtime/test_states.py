"""States, of one or of all: which runs there are, what each push says, and that no change falls between them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import pytest

from aiorest_ws import Application, Depends, HTTPError, Live, MethodBasedView, Request, Response, SimpleRouter
from aiorest_ws.exceptions import NotLive
from aiorest_ws.testing import AsyncTestClient
from tests.kit.live import message, nothing_more, number_of, pushed, rest, subscribed
from tests.serving import asynchronous, turn_over

BOTH = pytest.mark.parametrize("shared", [False, True], ids=["private", "shared"])


class Doors:
    """A live route whose every run waits until it is let go on, and what it gave."""

    def __init__(self, router: SimpleRouter | None = None, **live: Any) -> None:
        self.entered: asyncio.Queue[asyncio.Future[Any]] = asyncio.Queue()
        self.router = SimpleRouter() if router is None else router
        self.runs = 0

        @self.router.get("/x", live=Live(**({"interval": 0.0} | live)))
        async def wait(request: Request, a: Any = None) -> Any:
            self.runs += 1
            door = asyncio.get_running_loop().create_future()
            self.entered.put_nowait(door)
            return await door

        self.app = Application(self.router)

    async def let(self, value: Any) -> None:
        """Let the next run go on: it gives `value`, or raises it."""
        door = await self.entered.get()
        if isinstance(value, Exception):
            door.set_exception(value)
        else:
            door.set_result(value)

    async def subscribed(self, client: AsyncTestClient, value: Any, **parts: Any) -> dict[str, Any]:
        asking = asyncio.ensure_future(client.request("SUBSCRIBE", "/x", **parts))
        await self.let(value)
        return message(await asking)

    @asynccontextmanager
    async def client(self, value: Any) -> AsyncIterator[AsyncTestClient]:
        """Give a client that has subscribed and was given `value`."""
        async with AsyncTestClient(self.app) as client:
            await self.subscribed(client, value)
            yield client

    def changed(self) -> None:
        self.app.live.changed("/x")

    def advance(self, seconds: float) -> None:
        advance(self.app, seconds)


def advance(app: Application, seconds: float) -> None:
    """Let so much time pass for subscriptions."""
    node = app.live._node
    assert node is not None
    node.timers.advance(seconds)


# Runs: one is under way, one waits


@BOTH
@asynchronous
async def test_changes_while_a_run_is_under_way_make_one_more(shared: bool) -> None:
    doors = Doors(shared=shared)
    async with doors.client(0) as client:
        doors.changed()
        one = await doors.entered.get()
        for _ in range(3):
            doors.changed()
        await rest(client)
        assert doors.entered.empty()
        one.set_result(1)
        assert await pushed(client) == (1, 1)
        await doors.let(2)
        assert await pushed(client) == (4, 2)
        await nothing_more(client)
        assert doors.runs == 3


@BOTH
@pytest.mark.parametrize("when", ["before", "while", "behind"])
@asynchronous
async def test_a_change_while_a_subscribe_is_being_answered_is_told_behind_it(shared: bool, when: str) -> None:
    """At each point at which its answer waits: in a guard, in its handler, in the clean-up behind that."""
    points: dict[str, asyncio.Future[None]] = {}
    at: asyncio.Queue[str] = asyncio.Queue()
    value = 0

    async def stop(name: str) -> None:
        if name == when and name not in points:
            points[name] = asyncio.get_running_loop().create_future()
            at.put_nowait(name)
            await points[name]

    class Gate:
        async def process_request(self, request: Any, handler: Any) -> None:
            request.state.value = value
            await stop("before")

    async def session() -> AsyncIterator[None]:
        yield
        await stop("behind")

    router = SimpleRouter()

    async def handler(request: Request) -> int:
        seen = value if shared else int(request.state.value)  # what the guard has read
        await stop("while")
        return seen

    router.get("/x", live=Live(interval=0.0, shared=shared), middlewares=[Gate], dependencies=[Depends(session)])(
        handler
    )
    app = Application(router)
    async with AsyncTestClient(app) as client:
        asking = asyncio.ensure_future(client.request("SUBSCRIBE", "/x"))
        assert await at.get() == when
        value = 1
        app.live.changed("/x")
        await rest(client)
        points[when].set_result(None)
        reply = message(await asking)
        if reply["data"] == 0:
            assert number_of(reply["version"]) == 0
            assert await pushed(client) == (1, 1)
        else:
            assert shared
            assert number_of(reply["version"]) == 1
        await nothing_more(client)


@BOTH
@asynchronous
async def test_a_handler_that_says_its_own_url_has_changed_runs_again_and_no_more(shared: bool) -> None:
    router = SimpleRouter()
    runs: list[int] = []

    @router.get("/x", live=Live(interval=0.0, shared=shared))
    def own(request: Request) -> int:
        runs.append(len(runs))
        if len(runs) in (1, 3):
            request.app.live.changed("/x")
        return len(runs)

    app = Application(router)
    async with AsyncTestClient(app) as client:
        assert (await subscribed(client, "/x"))["data"] == 1
        assert await pushed(client) == (1, 2)
        app.live.changed("/x")
        assert await pushed(client) == (2, 3)
        assert await pushed(client) == (3, 4)
        await nothing_more(client)


@BOTH
@asynchronous
async def test_the_same_value_is_told_without_it_to_who_waits_for_a_change(shared: bool) -> None:
    doors = Doors(shared=shared, refresh=5)
    async with AsyncTestClient(doors.app) as client:
        first = await doors.subscribed(client, None)
        assert first["data"] is None
        doors.changed()
        await doors.let(None)
        push = message(await client.receive())
        assert "data" not in push
        assert push["version"].split(".")[1:] == ["1", first["version"].split(".")[2]]
        doors.advance(5)
        await doors.let(None)
        await nothing_more(client)  # nobody has said that anything changed
        doors.advance(5)
        await doors.let(1)
        assert await pushed(client) == (1, 1)
        doors.changed()
        await doors.let(None)
        assert await pushed(client) == (2, None)  # null is a value


@BOTH
@asynchronous
async def test_an_interval_gathers_changes_and_the_first_after_a_quiet_time_starts_at_once(shared: bool) -> None:
    doors = Doors(shared=shared, interval=10)
    async with doors.client(0) as client:
        if shared:
            doors.advance(10)
        doors.changed()
        await doors.let(1)
        assert await pushed(client) == (1, 1)
        for _ in range(3):
            doors.changed()
        await nothing_more(client)
        doors.advance(9)
        await nothing_more(client)
        doors.advance(1)
        await doors.let(2)
        assert await pushed(client) == (4, 2)


@BOTH
@asynchronous
async def test_an_error_of_the_server_is_tried_again_after_a_second_and_then_the_end(shared: bool) -> None:
    doors = Doors(shared=shared)
    async with doors.client(0) as client:
        doors.changed()
        await doors.let(KeyError("x"))
        doors.changed()
        await nothing_more(client)
        assert doors.entered.empty()  # whatever is asked meanwhile
        doors.advance(1)
        await doors.let(1)
        assert await pushed(client) == (2, 1)
        for _ in range(2):
            doors.changed()
            await doors.let(HTTPError(503, "down"))
            await rest(client)
            doors.advance(1)
        end = message(await client.receive())
        assert 2500 <= end.pop("retry") <= 7500
        assert end == {"event_name": "/x", "status": 503, "detail": "down"}
        await nothing_more(client)
        assert doors.app.live.topics() == []


@BOTH
@asynchronous
async def test_a_handler_that_cancels_itself_is_an_error_of_the_server(shared: bool) -> None:
    """Who waits for what it gives is told so, as by a GET, and the next run is one as any."""
    router = SimpleRouter()
    is_cancelling = True

    @router.get("/x", live=Live(interval=0.0, shared=shared))
    async def cancel(request: Request) -> int:
        task = asyncio.current_task()
        if is_cancelling and task is not None:
            task.cancel()
        await asyncio.sleep(0)
        return 1

    app = Application(router)
    async with AsyncTestClient(app) as client:
        for verb in ("GET", "SUBSCRIBE", "SUBSCRIBE"):
            assert (await client.request(verb, "/x")).status == 500
        assert app.live.topics() == []
        is_cancelling = False
        subscription = await client.subscribe("/x")
        is_cancelling = True
        app.live.changed("/x")
        await client.advance(0.5)
        assert subscription.end is None
        await client.advance(1)
        assert (await subscription.wait_ended()).status == 500
        assert app.live.topics() == []


@BOTH
@pytest.mark.parametrize(("status", "comes_back"), [(403, False), (404, False), (429, True)])
@asynchronous
async def test_an_error_of_the_client_is_the_end(shared: bool, status: int, comes_back: bool) -> None:
    doors = Doors(shared=shared)
    async with doors.client(0) as client:
        doors.changed()
        await doors.let(HTTPError(status, "no"))
        end = message(await client.receive())
        assert ("retry" in end) is comes_back
        assert (end["event_name"], end["status"], end["detail"]) == ("/x", status, "no")
        await nothing_more(client)
        assert (client.connection.subscriptions, doors.app.live.topics()) == ((), [])
        assert (await client.request("UNSUBSCRIBE", "/x")).status == 404


@BOTH
@asynchronous
async def test_a_run_has_so_much_time(shared: bool) -> None:
    router = SimpleRouter()
    hangs = asyncio.Event()
    cancelled: asyncio.Queue[bool] = asyncio.Queue()

    @router.get("/x", live=Live(interval=0.0, shared=shared))
    async def slow(request: Request) -> int:
        if not hangs.is_set():
            return 1
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.put_nowait(True)
        raise AssertionError

    app = Application(router, request_timeout=0.02)
    async with AsyncTestClient(app) as client:
        await subscribed(client, "/x")
        hangs.set()
        app.live.changed("/x")
        await cancelled.get()
        await rest(client)
        advance(app, 1)
        await cancelled.get()
        assert message(await client.receive())["status"] == 504


@BOTH
@pytest.mark.parametrize("how", ["unsubscribe", "connection"])
@asynchronous
async def test_nothing_runs_on_for_who_has_gone(shared: bool, how: str) -> None:
    doors = Doors(shared=shared)
    async with AsyncTestClient(doors.app) as watch, watch.connect() as client:
        await doors.subscribed(client, 0)
        doors.changed()
        door = await doors.entered.get()
        if how == "unsubscribe":
            await client.request("UNSUBSCRIBE", "/x")
        else:
            client.abort()
            await client.wait_closed()
        await rest(watch)
        node = doors.app.live._node
        assert node is not None
        assert (door.cancelled(), node.runs.is_quiet, node.places) == (True, True, {})


# Of one


@asynchronous
async def test_a_run_of_one_passes_all_its_guards_as_a_get_of_this_connection() -> None:
    router = SimpleRouter()
    trace: list[Any] = []

    class Gate:
        def process_request(self, request: Any, handler: Any) -> None:
            trace.append(("guard", request.method, request.subscribing, request.get_extra("token")))
            request.user = request.get_extra("token")

    def effect(request: Request) -> None:
        trace.append(("effect", request.user))

    def session(request: Request) -> Iterator[str]:
        yield request.user
        trace.append("clean-up")

    @router.get("/x/{id:int}", live=Live(interval=0.0), middlewares=[Gate], dependencies=[Depends(effect)])
    def own(request: Request, id: int, user: Annotated[str, Depends(session)]) -> Any:  # noqa: A002
        assert request.connection is not None
        return [user, request.id, request.event_name, id, request.path_params["id"]]

    app = Application(router)
    async with AsyncTestClient(app) as client:
        reply = await subscribed(client, "/x/7", token="ada", id="s", event_name="e")
        assert reply["data"] == ["ada", "s", "e", 7, 7]
        one = [("guard", "GET", True, "ada"), ("effect", "ada"), "clean-up"]
        assert trace == one
        app.live.changed("/x/7")
        assert await pushed(client) == (1, ...)
        assert trace == one * 2


@pytest.mark.parametrize("kind", ["def", "async", "threaded", "view", "dispatch", "middleware", "prefix", "model"])
@asynchronous
async def test_whatever_answers_a_get_may_be_subscribed_to(kind: str) -> None:
    values = {"n": 0}
    router = SimpleRouter()
    live = Live(interval=0.0)
    url = "/x/7"

    def plain(request: Request, *path: Any) -> Any:
        return Response({"n": values["n"], "id": path[-1]}, status=201)

    async def later(request: Request, *path: Any) -> Any:
        await asyncio.sleep(0)
        return plain(request, *path)

    class View(MethodBasedView):
        live = Live(interval=0.0)

        def get(self, request: Request, *path: Any) -> Any:
            assert request.method == "GET"
            return plain(request, *path)

    class Dispatching(View):
        def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            return super().dispatch(request, *args, **kwargs)

    class Around:
        async def __call__(self, request: Any, call_next: Any) -> Any:
            response = await call_next(request)
            assert response.content == {"data": {"n": values["n"], "id": 7}}  # all of it
            return Response({**response.content["data"]}, status=202)

    path = "/x/{id:int}"
    if kind in ("view", "dispatch"):
        router.register(path, View if kind == "view" else Dispatching)
    elif kind == "middleware":
        router.get(path, live=live, middlewares=[Around])(plain)
    else:
        function = later if kind == "async" else plain
        model = dict[str, int] if kind == "model" else None
        router.get(path, live=live, threaded=kind == "threaded", response_model=model)(function)
    if kind == "prefix":
        outer = SimpleRouter()
        outer.include(router, prefix="/{tenant}/api")
        router, url = outer, "/acme/api/x/7"
    app = Application(router)
    async with AsyncTestClient(app) as client:
        reply = await subscribed(client, url)
        assert (reply["status"], reply["data"], reply["topic"]) == (200, {"n": 0, "id": 7}, url)
        for number in (1, 2):
            values["n"] = number
            app.live.changed(url)
            assert await pushed(client) == (number, {"n": number, "id": 7})


@BOTH
@asynchronous
async def test_what_an_exception_handler_gives_is_the_value(shared: bool) -> None:
    doors = Doors(shared=shared)
    doors.app.exception_handler(KeyError)(lambda request, exc: {"missing": exc.args[0]})
    async with AsyncTestClient(doors.app) as client:
        assert (await doors.subscribed(client, KeyError("a")))["data"] == {"missing": "a"}
        doors.changed()
        await doors.let(KeyError("b"))
        assert await pushed(client) == (1, {"missing": "b"})
        getting = asyncio.ensure_future(client.get("/x"))
        await doors.let(KeyError("c"))
        assert (await getting).data == {"missing": "c"}


@BOTH
@asynchronous
async def test_who_is_answered_by_what_is_around_the_handler_is_not_subscribed(
    shared: bool, caplog: pytest.LogCaptureFixture
) -> None:
    router = SimpleRouter()

    class Cache:
        answer: Any = None

        async def __call__(self, request: Any, call_next: Any) -> Any:
            if self.answer is None:
                return await call_next(request)
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

    cache = Cache()
    router.get("/x", live=Live(interval=0.0, shared=shared), middlewares=[cache])(lambda request: 1)
    app = Application(router)
    async with AsyncTestClient(app) as client:
        cache.answer = Response("cached")
        reply = await client.request("SUBSCRIBE", "/x")
        assert (reply.status, "/x/ was answered by what is around" in reply.detail) == (503, True)
        assert "was answered by what is around" in caplog.text
        cache.answer = HTTPError(404, "none")
        assert (await client.request("SUBSCRIBE", "/x")).detail == "none"
        assert app.live.topics() == []
        cache.answer = None
        assert (await subscribed(client, "/x"))["data"] == 1


# Of all


@asynchronous
async def test_one_run_is_for_all_who_join_and_one_more_for_who_comes_later() -> None:
    doors = Doors(shared=True)
    async with (
        AsyncTestClient(doors.app) as client,
        client.connect(form="msgpack") as other,
        client.connect(form="binary") as third,
    ):
        first = [asyncio.ensure_future(each.request("SUBSCRIBE", "/x")) for each in (client, other)]
        one = await doors.entered.get()
        await rest(client)
        later = asyncio.ensure_future(third.request("SUBSCRIBE", "/x"))
        await rest(client)
        one.set_result("one")
        assert [message(await each)["data"] for each in first] == ["one"] * 2
        await doors.let("two")
        assert message(await later)["data"] == "two"
        assert [await pushed(each) for each in (client, other)] == [(0, "two")] * 2
        await nothing_more(third)
        assert doors.runs == 2


@asynchronous
async def test_all_who_join_a_run_that_fails_are_told_why() -> None:
    doors = Doors(shared=True)
    async with AsyncTestClient(doors.app) as client, client.connect() as other:
        asking = [asyncio.ensure_future(each.request("SUBSCRIBE", "/x")) for each in (client, other)]
        await doors.let(HTTPError(404, {"no": "x"}))
        assert [(reply.status, reply.detail) for reply in await asyncio.gather(*asking)] == [(404, {"no": "x"})] * 2
        assert doors.app.live.topics() == []


@asynchronous
async def test_a_young_value_is_taken_as_it_is_unless_it_has_changed() -> None:
    doors = Doors(shared=True, interval=10)
    async with doors.client(1) as client, client.connect() as other, client.connect() as third:
        assert (await subscribed(other, "/x"))["data"] == 1
        doors.advance(9)
        assert (await subscribed(other, "/x"))["data"] == 1
        doors.changed()
        asking = asyncio.ensure_future(third.request("SUBSCRIBE", "/x"))
        await rest(client)
        assert not asking.done()
        doors.advance(1)
        await doors.let(2)
        assert message(await asking)["data"] == 2
        assert [await pushed(each) for each in (client, other)] == [(1, 2)] * 2
        await nothing_more(third)
        assert doors.runs == 2


@asynchronous
async def test_a_failed_run_makes_no_value_young_again() -> None:
    doors = Doors(shared=True, interval=10, refresh=10)
    async with doors.client(1) as client, client.connect() as other:
        doors.advance(10)
        await doors.let(HTTPError(500))
        await rest(client)
        asking = asyncio.ensure_future(other.request("SUBSCRIBE", "/x"))
        await rest(client)
        assert not asking.done()
        doors.advance(10)
        await doors.let(2)
        assert message(await asking)["data"] == 2
        assert await pushed(client) == (0, 2)


@asynchronous
async def test_one_more_form_is_no_other_value() -> None:
    doors = Doors(shared=True)
    async with doors.client(1) as client, client.connect(form="msgpack") as other:
        assert (await doors.subscribed(other, 1))["data"] == 1
        await nothing_more(client)
        doors.changed()
        await doors.let(1)
        assert [await pushed(each) for each in (client, other)] == [(1, ...)] * 2


@asynchronous
async def test_what_was_published_is_not_taken_back_by_a_run_that_began_before() -> None:
    doors = Doors(shared=True)
    async with doors.client(0) as client, client.connect() as other:
        doors.changed()
        old = await doors.entered.get()
        doors.app.live.publish("/x", "published")
        assert await pushed(client) == (2, "published")
        asking = asyncio.ensure_future(other.request("SUBSCRIBE", "/x"))
        await rest(client)
        old.set_result("old")
        await doors.let("published")
        assert message(await asking)["data"] == "published"
        await nothing_more(client)


@pytest.mark.parametrize("reads_on", ["while it runs", "behind it"])
@asynchronous
async def test_who_was_behind_when_one_was_published_is_told_that_though_a_run_gives_an_older(reads_on: str) -> None:
    doors = Doors(shared=True)
    async with doors.client(0) as client:
        doors.changed()
        old = await doors.entered.get()
        client.connection.pause_writing()
        doors.app.live.publish("/x", "published")
        if reads_on == "while it runs":
            client.connection.resume_writing()
            await rest(client)
        old.set_result("old")
        await turn_over()
        if reads_on == "behind it":
            client.connection.resume_writing()
        await doors.let("published")  # it is looked up again: it was not kept for so long
        assert await pushed(client) == (2, "published")
        await nothing_more(client)


WRONG_URLS: dict[Any, str] = {
    "/own": "depends on who asks",
    "/nowhere": "leads to no route that answers GET$",
    "x": "a url begins with `/`",
    "/x?a=1": "a url has no query here",
    "ws://host/x": "scheme and host are those of the connection",
    "": "a url must be a string like '/orders/7', got ''",
    7: "a url must be a string like '/orders/7', got 7",
}


@asynchronous
async def test_what_cannot_be_published_is_raised_and_nobody_is_told() -> None:
    doors = Doors(shared=True)
    own = SimpleRouter()
    own.get("/own", live=Live())(lambda request: 1)
    doors.router.include(own)
    async with doors.client(0) as client:
        with pytest.raises(Exception, match="object"):
            doors.app.live.publish("/x", object())
        for url, why in WRONG_URLS.items():
            with pytest.raises(NotLive, match=why):
                doors.app.live.publish(url, 1)
        for args, kind in (
            ([1], TypeError),
            ("a=1", TypeError),
            ({"a": object()}, ValueError),
            ({"a": "x" * 5000}, ValueError),
        ):
            with pytest.raises(kind, match="args"):
                doors.app.live.publish("/x", 1, args=args)  # type: ignore[arg-type]
        doors.app.live.publish("/x", 1, args={"a": 1})  # nobody's
        await nothing_more(client)
        said = await doors.app.live.publish("/x", 1)
        assert await pushed(client) == (number_of(str(said)), 1)


@asynchronous
async def test_who_was_behind_is_told_of_a_change_that_led_to_the_same() -> None:
    """Whoever waits for its own write sees the version."""
    doors = Doors(shared=True)
    async with doors.client(0) as client, client.connect() as other:
        await doors.subscribed(other, 0)
        other.connection.pause_writing()
        doors.changed()
        await doors.let(0)
        assert await pushed(client) == (1, ...)
        other.connection.resume_writing()
        assert await pushed(other) == (1, ...)


GUARDED = ("user", "token_payload", "connection", "session", "extra", "get_extra", "tenant", "anything")


@pytest.mark.parametrize("name", GUARDED)
@asynchronous
async def test_the_handler_of_a_shared_route_cannot_look_at_who_asks(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    router = SimpleRouter()

    class Gate:
        authenticates = True

        def process_request(self, request: Any, handler: Any) -> None:
            request.user = request.tenant = "ada"
            request.state.mine = 1

    def look(request: Request) -> Any:
        return request.get_extra("x") if name == "get_extra" else getattr(request, name)

    @router.get("/direct", live=Live(shared=True), middlewares=[Gate])
    def direct(request: Request) -> Any:
        return look(request)

    @router.get("/needs", live=Live(shared=True), middlewares=[Gate])
    def needs(request: Request, looked: Annotated[Any, Depends(look)]) -> Any:
        return looked

    async with AsyncTestClient(Application(router)) as client:
        for url in ("/direct", "/needs"):
            for verb in ("GET", "SUBSCRIBE"):
                caplog.clear()
                assert (await client.request(verb, url, anything=1, x=1)).status == 500
                looked_at = "extra" if name == "get_extra" else name
                assert f"request.{looked_at} is not there for the handler of GET {url}/" in caplog.text


@asynchronous
async def test_guards_of_a_shared_route_see_who_asks_and_its_handler_nobody() -> None:
    router = SimpleRouter()
    views: list[Any] = []
    made: list[str] = []
    who: ContextVar[str] = ContextVar("who", default="nobody")

    class Gate:
        authenticates = True

        def process_request(self, request: Any, handler: Any) -> None:
            request.user = request.get_extra("name")
            request.state.mine = request.user
            who.set(request.user)
            views.append(handler)

    def cached(request: Request) -> int:
        made.append("cached")
        return len(made)

    class View(MethodBasedView):
        live = Live(shared=True, interval=0.0)
        middlewares = (Gate,)
        dependencies = (Depends(cached),)

        def get(self, request: Request, value: Annotated[int, Depends(cached)]) -> Any:
            views.append(self)
            return [vars(request.state), who.get(), request.method, request.args, str(request.url), value]

    router.register("/x", View)
    app = Application(router)
    async with AsyncTestClient(app) as client:
        for verb in ("GET", "SUBSCRIBE"):
            made.clear()
            views.clear()
            reply = message(await client.request(verb, "/x", name="ada"))
            assert reply["data"] == [{}, "nobody", "GET", {}, "/x", 2]  # its own cache: it is made twice
            assert views[0] is not views[-1]
        app.live.changed("/x")
        assert (await pushed(client))[0] == 1


@asynchronous
async def test_a_middleware_around_what_is_shared_never_sees_it_and_may_not_set_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    router = SimpleRouter()
    seen: list[Any] = []

    class Around:
        async def __call__(self, request: Any, call_next: Any) -> Any:
            response = await call_next(request)
            seen.append(dict(response.content))
            if request.get_extra("sets"):
                response.content = "mine"
            return response

    router.get("/x", live=Live(shared=True), middlewares=[Around])(lambda request: "ours")
    async with AsyncTestClient(Application(router)) as client:
        for verb in ("GET", "SUBSCRIBE"):
            assert (await client.request(verb, "/x")).data == "ours"
            caplog.clear()
            assert (await client.request(verb, "/x", sets=True)).status == 500
            assert "a middleware around GET /x/ set its data" in caplog.text
        assert seen == [{}] * 4


@asynchronous
async def test_an_error_behind_the_value_is_answered_as_such() -> None:
    """An exception handler may answer it, in the place of the value."""
    router = SimpleRouter()

    class Around:
        async def __call__(self, request: Any, call_next: Any) -> Any:
            await call_next(request)
            raise KeyError("x")

    router.get("/x", live=Live(shared=True), middlewares=[Around])(lambda request: "ours")
    app = Application(router)
    app.exception_handler(KeyError)(lambda request, exc: "recovered")
    async with AsyncTestClient(app) as client:
        assert (await client.get("/x")).data == "recovered"
        assert (await client.request("SUBSCRIBE", "/x")).status == 503
        assert app.live.topics() == []


@BOTH
@asynchronous
async def test_dependencies_of_the_application_are_guards_of_a_subscription(shared: bool) -> None:
    router = SimpleRouter()
    asked: list[Any] = []

    def guard(request: Request) -> None:
        asked.append(request.get_extra("name"))
        if not asked[-1]:
            raise HTTPError(403)

    router.get("/x", live=Live(interval=0.0, shared=shared))(lambda request: len(asked))
    app = Application(router, dependencies=[Depends(guard)])
    async with AsyncTestClient(app) as client:
        assert (await client.request("SUBSCRIBE", "/x")).status == 403
        await subscribed(client, "/x", name="ada")
        app.live.changed("/x")
        await pushed(client)
        assert asked == [None, "ada"] + ([] if shared else ["ada"])


@asynchronous
async def test_a_shared_state_is_threaded_where_its_handler_is() -> None:
    import threading

    router = SimpleRouter()
    threads: list[Any] = []

    @router.get("/x", live=Live(shared=True, interval=0.0), threaded=True)
    def blocking(request: Request) -> int:
        threads.append(threading.current_thread())
        return len(threads)

    app = Application(router)
    async with AsyncTestClient(app) as client:
        assert (await client.get("/x")).data == 1
        assert (await subscribed(client, "/x"))["data"] == 2
        app.live.changed("/x")
        assert await pushed(client) == (1, 3)
        assert threading.main_thread() not in threads
