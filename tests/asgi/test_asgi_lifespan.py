"""One life of an application in somebody else's loop: from its lifespan or its first connection, to one end."""

from __future__ import annotations

import asyncio
import copy
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from aiorest_ws import Application
from aiorest_ws.asgi import life
from aiorest_ws.exceptions import ImproperlyConfigured, RouterNotDefined
from tests.kit.asgi import ByHand
from tests.serving import TIMEOUT, asynchronous, make_router, turn_over, until


class Lifespan(ByHand):
    """A server that starts and stops an application."""

    def __init__(self, asgi: Any) -> None:
        super().__init__(begins=False, type="lifespan")
        self.begin(asgi)

    async def step(self, stage: str) -> dict[str, Any]:
        self.say(f"lifespan.{stage}")
        return await self.told()


def noted(**options: Any) -> tuple[Application, list[Any]]:
    """Give an application, and what it notes of its life."""
    said: list[Any] = []

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[None]:
        said.append("enter")
        try:
            yield
        finally:
            said.append("exit")

    hooks = {"on_startup": [lambda _: said.append("up")], "on_shutdown": [lambda _: said.append("down")]}
    return Application(make_router(), lifespan=lifespan, **hooks | options), said


async def greet(asgi: Any, path: str) -> None:
    """Connect, ask, be answered, and leave."""
    server = ByHand(path)
    server.begin(asgi)
    assert (await server.told())["type"] == "websocket.accept"
    server.ask()
    assert (await server.reply())["data"] == "Hello, world!"
    server.say("websocket.disconnect")
    await server.over()


@asynchronous
async def test_lifespan_of_the_server() -> None:
    app, said = noted()
    server = Lifespan(app.asgi())
    assert await server.step("startup") == {"type": "lifespan.startup.complete"}
    assert said == ["enter", "up"]
    assert await server.step("shutdown") == {"type": "lifespan.shutdown.complete"}
    await server.over()
    assert said == ["enter", "up", "down", "exit"]


@asynchronous
async def test_it_may_start_again() -> None:
    app, said = noted()
    asgi = app.asgi()
    for _ in range(2):
        server = Lifespan(asgi)
        await server.step("startup")
        async with asyncio.timeout(TIMEOUT):
            connection = ByHand()
            connection.begin(asgi)
            assert (await connection.told())["type"] == "websocket.accept"
            connection.say("websocket.disconnect", code=1000)
            await connection.over()
        await server.step("shutdown")
    assert said == ["enter", "up", "down", "exit"] * 2


@asynchronous
async def test_what_fails_at_the_start_is_told_to_the_server() -> None:
    def fail(app: Application) -> None:
        raise ValueError("no database")

    app, said = noted(on_startup=[fail])
    server = Lifespan(app.asgi())
    told = await server.step("startup")
    assert told["type"] == "lifespan.startup.failed"
    assert "ValueError: no database" in told["message"]
    with pytest.raises(ImproperlyConfigured, match="no database"):
        await server.over()
    assert said == ["enter", "exit"]


def test_where_no_loop_of_asyncio_runs_it_says_so() -> None:
    with pytest.raises(RuntimeError, match="runs in a loop of asyncio, and here is none"):
        Application(make_router()).asgi().start().send(None)


@asynchronous
async def test_application_without_a_router() -> None:
    server = Lifespan(Application().asgi())
    assert (await server.step("startup"))["type"] == "lifespan.startup.failed"
    with pytest.raises(RouterNotDefined):
        await server.over()
    with pytest.raises(RouterNotDefined):
        async with ByHand().serving(Application().asgi(), accepts=False):
            pass


@asynchronous
async def test_wrong_order_is_an_error() -> None:
    server = Lifespan(Application(make_router()).asgi())
    server.say("lifespan.shutdown")
    with pytest.raises(RuntimeError, match=r"must send lifespan\.startup now, got 'lifespan\.shutdown'"):
        await server.over()


@asynchronous
async def test_unknown_scope_is_an_error() -> None:
    server = ByHand(type="mail")
    server.begin(Application(make_router()).asgi())
    with pytest.raises(RuntimeError, match="got 'mail'"):
        await server.over()


@asynchronous
async def test_first_connection_starts_it_where_no_lifespan_comes() -> None:
    app, said = noted()
    async with ByHand().serving(app.asgi()) as server:
        assert said == ["enter", "up"]
        server.ask()
        assert (await server.reply())["data"] == "Hello, world!"
    assert said == ["enter", "up", "down", "exit"]


@asynchronous
async def test_async_with_starts_and_ends_it() -> None:
    app, said = noted()
    async with app.asgi() as asgi:
        assert said == ["enter", "up"]
        assert await asgi.start() is await asgi.start()
        app.call_soon(said.append, "called")
        await turn_over()
    assert said == ["enter", "up", "called", "down", "exit"]
    with pytest.raises(RuntimeError):
        app.call_soon(said.append, "too late")


@asynchronous
async def test_all_doors_of_an_application_are_in_one_life() -> None:
    app, said = noted(max_connections=2)
    named, other = app.asgi(path="/ws"), app.asgi()
    async with named:
        assert await other.start() is await named.start()
        for asgi, path, missing in ((named, "/ws", "/"), (other, "/", "/ws"), (named, "/ws", "/")):
            await greet(asgi, path)
            refused = ByHand(missing, extensions={"websocket.http.response": {}})
            refused.begin(asgi)
            assert (await refused.told())["status"] == 404
            await refused.over()
    assert said == ["enter", "up", "down", "exit"]
    assert app._lives == {}
    await other.stop()
    assert app._loop is None


@asynchronous
async def test_limits_are_those_of_all_doors() -> None:
    app, _ = noted(max_connections=1)
    async with ByHand().serving(app.asgi()):
        late = ByHand("/ws", extensions={"websocket.http.response": {}})
        late.begin(app.asgi(path="/ws"))
        assert (await late.told())["status"] == 503
        await late.over()


@asynchronous
async def test_door_made_anew_for_each_connection_starts_it_once() -> None:
    app, said = noted()

    async def host(scope: Any, receive: Any, send: Any) -> None:
        await app.asgi()(scope, receive, send)

    for _ in range(3):
        server = ByHand()
        server.begin(host)
        assert (await server.told())["type"] == "websocket.accept"
        server.say("websocket.disconnect")
        await server.over()
    assert said == ["enter", "up"]
    await app.asgi().stop()
    assert said == ["enter", "up", "down", "exit"]


@asynchronous
async def test_application_is_one_of_asgi_itself() -> None:
    app, said = noted(path="/ws")
    server = Lifespan(app)
    assert await server.step("startup") == {"type": "lifespan.startup.complete"}
    await greet(app, "/ws")
    assert await server.step("shutdown") == {"type": "lifespan.shutdown.complete"}
    assert said == ["enter", "up", "down", "exit"]


@pytest.mark.parametrize(
    ("name", "where"), [("run", "app.run"), ("live", "app.live"), ("changed", "app.live.changed"), ("mount", "")]
)
def test_what_the_application_has_is_not_to_be_looked_for_here(name: str, where: str) -> None:
    asgi = Application(make_router()).asgi()
    assert not hasattr(asgi, name)
    said = f"has no attribute {name!r}" + (f": that of its application is {where}" if where else "")
    with pytest.raises(AttributeError, match=f"{said}$"):
        getattr(asgi, name)


def test_copies_that_hosts_make_of_their_routes_have_the_same_application() -> None:
    asgi = Application(make_router()).asgi()
    assert copy.deepcopy({"/live": asgi}) == {"/live": asgi}


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/ws?x", "path must be as clients send it"),
        ("/ws/{room}", "it is one path, no template"),
        ("/чат", "path must be as clients send it"),
        (5, "path must be a string, got 5"),
    ],
)
def test_path_that_no_client_can_ask_for_is_an_error(path: Any, error: str) -> None:
    with pytest.raises((ValueError, TypeError), match=error):
        Application(make_router()).asgi(path=path)


@asynchronous
async def test_client_that_leaves_while_it_starts_takes_it_from_nobody() -> None:
    go = asyncio.Event()

    async def slow(app: Application) -> None:
        await go.wait()

    app, said = noted(on_startup=[slow])
    asgi = app.asgi()
    first, second = ByHand(), ByHand()
    first.begin(asgi)
    second.begin(asgi)
    await until(lambda: said == ["enter"])
    first.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first.over()
    go.set()
    assert (await second.told())["type"] == "websocket.accept"
    assert said == ["enter"]
    second.say("websocket.disconnect")
    await second.over()
    await asgi.stop()
    assert said == ["enter", "down", "exit"]


@asynchronous
async def test_stop_while_it_starts() -> None:
    async def never(app: Application) -> None:
        await asyncio.Event().wait()

    app, said = noted(on_startup=[never])
    asgi = app.asgi()
    starting = asyncio.ensure_future(asgi.start())
    await until(lambda: said == ["enter"])
    await asgi.stop()
    with pytest.raises(RuntimeError, match="stopped before"):
        await starting
    assert said == ["enter", "exit"]


def test_end_of_the_loop_ends_it() -> None:
    app, said = noted()

    async def serve() -> None:
        server = ByHand()
        server.begin(app.asgi())
        assert (await server.told())["type"] == "websocket.accept"
        server.say("websocket.disconnect")
        await server.over()
        gc.collect()
        assert said == ["enter", "up"]

    asyncio.run(serve())
    assert sorted(said[2:]) == ["down", "exit"]


def test_each_loop_has_a_life_of_its_own() -> None:
    app, said = noted()
    asgi = app.asgi()

    async def serve() -> None:
        async with ByHand().serving(asgi):
            pass

    asyncio.run(serve())
    asyncio.run(serve())
    assert said == ["enter", "up", "down", "exit"] * 2
    assert asgi._lives == {}


@asynchronous
async def test_server_that_cancels_its_lifespan_ends_it() -> None:
    app, said = noted()
    server = Lifespan(app.asgi())
    await server.step("startup")
    server.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server.over()
    assert said == ["enter", "up", "down", "exit"]


@asynchronous
async def test_stop_lets_requests_finish_closes_connections_and_refuses_more() -> None:
    go = asyncio.Event()

    async def slow(request: Any) -> str:
        await go.wait()
        return "done"

    app = Application(make_router(slow=slow), shutdown_timeout=5)
    asgi = app.asgi()
    server = ByHand()
    server.begin(asgi)
    assert (await server.told())["type"] == "websocket.accept"
    server.ask("/slow")
    await turn_over()
    stopping = asyncio.ensure_future(asgi.stop())
    await turn_over()
    server.ask("/hello", id=1)
    assert (await server.reply())["status"] == 503
    late = ByHand(extensions={"websocket.http.response": {}})
    late.begin(asgi)
    assert (await late.told())["status"] == 503
    go.set()
    assert (await server.reply())["data"] == "done"
    assert await server.told() == {"type": "websocket.close", "code": 1001, "reason": "server is shutting down"}
    await server.over()
    await late.over()
    await stopping


@asynchronous
async def test_lifespan_that_ends_before_its_time_ends_the_connections(caplog: pytest.LogCaptureFixture) -> None:
    over = asyncio.Event()

    @asynccontextmanager
    async def fragile(app: Application) -> AsyncIterator[None]:
        task = asyncio.current_task()
        assert task is not None
        watching = asyncio.ensure_future(over.wait())
        watching.add_done_callback(lambda _: task.cancel())
        yield

    app = Application(make_router(), lifespan=fragile)
    asgi = app.asgi()
    server = ByHand()
    server.begin(asgi)
    assert (await server.told())["type"] == "websocket.accept"
    over.set()
    assert (await server.told())["code"] == 1001
    await server.over()
    late = ByHand()
    late.begin(asgi)
    assert (await late.told())["type"] == "websocket.close"
    await late.over()
    assert "ended while the application was serving" in caplog.text
    await asgi.stop()


@asynchronous
async def test_it_shares_the_lifespan_of_its_own_port() -> None:
    app, said = noted(port=0, shutdown_timeout=0.1)
    await app.start()
    async with ByHand().serving(app.asgi()) as server:
        server.ask()
        assert (await server.reply())["data"] == "Hello, world!"
    assert said == ["enter", "up"]
    assert app._loop is not None
    await app.stop()
    assert said == ["enter", "up", "down", "exit"]


async def beside(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nobody asks it here")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"http_prefix": "/api"}, "http_prefix='/api' is for a port of our own: mount app.asgi() at '/api' in "),
        ({"http": True, "http_prefix": "/a/b"}, "http_prefix='/a/b' is for a port of our own: mount app.asgi() at "),
        ({"http": beside, "http_prefix": "/api"}, "http_prefix='/api' is for a port of our own: mount app.asgi() at "),
        ({"http": beside}, "http=… with an ASGI app is for a port of our own: mount app.asgi() in that app"),
    ],
)
@asynchronous
async def test_where_the_routes_are_is_the_hosts_to_say(options: dict[str, Any], why: str) -> None:
    app, said = noted(**options)
    server = Lifespan(app.asgi())
    failed = await server.step("startup")
    assert (failed["type"], said) == ("lifespan.startup.failed", [])
    assert failed["message"].startswith(why)
    assert "\n" not in failed["message"]
    for starting in (server.over(), app.asgi().start()):
        with pytest.raises(ImproperlyConfigured):
            await starting
    assert said == []


@asynchronous
async def test_where_the_environment_says_the_routes_are_is_seen_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    app, _ = noted()
    asgi = app.asgi()
    monkeypatch.setenv("AIOREST_WS_HTTP_PREFIX", "/api")
    with pytest.raises(ImproperlyConfigured, match="http_prefix='/api' is for a port of our own"):
        await asgi.start()


@asynchronous
async def test_metrics_port_is_served() -> None:
    app = Application(make_router(), metrics_port=0)
    async with app.asgi() as asgi:
        life = await asgi.start()
        assert life._exposition is not None
        host, port = life._exposition.address
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(TIMEOUT):
            assert b"200 OK" in await reader.readline()
        writer.close()
        await writer.wait_closed()


@asynchronous
async def test_port_that_is_taken_fails_at_the_start_and_undoes_it() -> None:
    first = Application(make_router(), metrics_port=0)
    async with first.asgi() as asgi:
        life = await asgi.start()
        assert life._exposition is not None
        app, said = noted(metrics_port=life._exposition.address[1])
        with pytest.raises(ImproperlyConfigured):
            await app.asgi().start()
        assert said == ["enter", "up", "down", "exit"]


@asynchronous
async def test_streams_end_as_soon_as_uvicorn_is_to_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for them, and says so to nobody."""
    monkeypatch.setattr(life, "_LOOK", 0.01)
    router = make_router()
    router.get("/now", live=True)(lambda request: "now")
    asgi = Application(router).asgi()
    server = uvicorn.Server(uvicorn.Config(asgi, log_config=None))
    with server.capture_signals():
        headers = [(b"host", b"testserver"), (b"accept", b"text/event-stream")]
        reader = ByHand("/now", headers, begins=False, type="http", method="GET", http_version="1.1")
        reader.begin(asgi)
        assert (await reader.told())["status"] == 200
        assert b'data: "now"' in (await reader.told())["body"]
        async with ByHand().serving(asgi) as other:
            server.should_exit = True
            last = await reader.told()
            assert b"event: end" in last["body"]
            assert b'"status":503' in last["body"]
            assert not (await reader.told())["more_body"]
            await reader.over()
            other.ask()
            assert (await other.reply())["data"] == "Hello, world!"
