"""GET of a live route as a stream of events, as an `EventSource` of a browser would read it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from itertools import count
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from aiorest_ws import Application, HTTPError, Live, SimpleRouter
from aiorest_ws.auth.permissions import IsAuthenticated
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.exceptions import BaseAPIException
from aiorest_ws.exchange import Exchange
from aiorest_ws.server.patience import Patience
from tests.kit.asgi import ByHand
from tests.kit.events import source
from tests.kit.tokens import Manager
from tests.serving import LOOPS, TIMEOUT, asynchronous, factory_of, turn_over, until


class World:
    """An application with a state, a log and what is private; and what happens in it."""

    def __init__(self) -> None:
        self.value: Any = {"n": 1}
        self.router = router = SimpleRouter()
        router.get("/state", live=Live(shared=True, interval=0))(lambda request: self.value)
        router.get("/private/{number:int}", live=Live(interval=0))(self.private)
        router.get("/log", live=Live(mode="log", shared=True))(lambda request: ["first"])
        router.get("/users", live=True, permission_classes=[IsAuthenticated])(lambda request: "for users")
        router.get("/plain")(lambda request: "plain")

    def private(self, request: Any, number: int, limit: int = 3) -> Any:
        if self.value is None:
            raise HTTPError(410, "gone")
        return [number, limit, request.connection.headers.get("x-who"), request.subscribing, self.value]


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[World, Application, httpx.AsyncClient]]:
    world = World()
    app = Application(world.router, **{"http": True, "port": 0, "shutdown_timeout": 1.0} | options)
    await app.start()
    try:
        async with httpx.AsyncClient(base_url="http://{}:{}".format(*app.addresses[0]), timeout=TIMEOUT) as client:
            yield world, app, client
    finally:
        await app.stop()


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_a_state_is_told_of(loop: str) -> None:
    async with serving() as (world, app, client):
        async with source(client, "/state") as events:
            assert events.response.status_code == 200
            assert events.response.headers["content-type"] == "text/event-stream"
            assert events.response.headers["cache-control"] == "no-store"
            first = await events.next()
            assert (first.data, first.name) == ({"n": 1}, "message")
            world.value = {"n": 2, "text": "a\nb", "big": 12345678901234567890123}
            await app.live.changed("/state")
            second = await events.next()
            assert second.data == world.value
            await app.live.changed("/state")
            unchanged = await events.next()
            assert (unchanged.data, unchanged.id != second.id) == (None, True)
        await until(lambda: not app.live._node or not app.live._node.places)


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("text/event-stream", "text/event-stream"),
        ("Text/Event-Stream", "text/event-stream"),
        ("text/event-stream, */*", "text/event-stream"),
        ("application/json, text/event-stream", "text/event-stream"),
        ("application/json;q=0.5, text/event-stream", "text/event-stream"),
        ("application/json, text/event-stream;q=0.5", "application/json"),
        ("text/event-stream;q=0.5, */*", "application/json"),
        ("text/event-stream;q=0, */*", "application/json"),
        ("text/*", "application/json"),
        ("*/*", "application/json"),
    ],
)
@asynchronous
async def test_a_stream_is_for_who_wants_nothing_rather(accept: str, media: str) -> None:
    async with (
        serving() as (_, _app, client),
        client.stream("GET", "/state", headers={"Accept": accept}) as response,
    ):
        assert response.headers["content-type"] == media


@asynchronous
async def test_a_query_is_args_of_each_run() -> None:
    async with serving() as (world, app, client), source(client, "/private/7?limit=5", x_who="ada") as events:
        assert (await events.next()).data == [7, 5, "ada", True, {"n": 1}]
        world.value = 2
        await app.live.changed("/private/7")
        assert (await events.next()).data == [7, 5, "ada", True, 2]


@asynchronous
async def test_who_comes_back_says_what_it_has() -> None:
    async with serving() as (world, app, client):
        async with source(client, "/state") as events:
            version = (await events.next()).id
        assert version is not None
        async with source(client, "/state", last_event_id=version) as events:
            assert events.response.status_code == 200  # it has the value, and nothing is said before it changes
            world.value = "other"
            await app.live.changed("/state")
            assert (await events.next()).data == "other"
        async with source(client, "/state", last_event_id=version) as events:
            assert (await events.next()).data == "other"


@asynchronous
async def test_a_log_gives_what_was_missed() -> None:
    async with serving() as (_, app, client):
        async with source(client, "/log") as events:
            first = await events.next()
            assert first.data == ["first"]
            await app.live.publish("/log", "a")
            last = await events.next()
            assert last.data == "a"
        await app.live.publish("/log", "b")
        await app.live.publish("/log", "c")
        async with source(client, "/log", last_event_id=str(last.id)) as events:
            assert [(await events.next()).data for _ in range(2)] == ["b", "c"]


@asynchronous
async def test_nothing_is_pushed_beside_what_is_told_of_the_route() -> None:
    """Not by a hook, nor to all connections: a stream has no events of another kind."""
    told: list[bool] = []
    async with (
        serving(on_connect=lambda connection: told.append(connection.send_event("hello"))) as (world, app, client),
        source(client, "/state") as events,
    ):
        assert (await events.next()).data == {"n": 1}
        told += [connection.send_event("all") for connection in factory_of(app).connections]
        world.value = 2
        await app.live.changed("/state")
        assert (await events.next()).data == 2
    assert told == [False] * 3


@asynchronous
async def test_an_end_is_an_event() -> None:
    async with serving() as (world, app, client), source(client, "/private/7") as events:
        await events.next()
        world.value = None
        await app.live.changed("/private/7")
        end = await events.next()
        assert (end.name, end.data) == ("end", {"status": 410, "detail": "gone"})
        with pytest.raises(EOFError):
            await events.next()


@asynchronous
async def test_the_servers_end_says_when_to_come_back() -> None:
    async with serving() as (_, app, client), source(client, "/state") as events:
        await events.next()
        stopping = asyncio.ensure_future(app.stop())
        end = await events.next()
        assert (end.name, end.data["status"]) == ("end", 503)
        assert end.retry == end.data["retry"]
        with pytest.raises(EOFError):
            await events.next()
        await stopping


@asynchronous
async def test_silence_is_broken_by_comments() -> None:
    async with serving(ping_interval=0.02) as (_, _app, client), source(client, "/state") as events:
        await events.next()
        assert (await events.next()).is_comment
        assert (await events.next()).is_comment


@asynchronous
async def test_a_connection_goes_on_behind_a_stream() -> None:
    async with serving() as (world, app, client):
        async with source(client, "/private/1") as events:
            await events.next()
            world.value = None
            await app.live.changed("/private/1")
            assert (await events.next()).name == "end"
            with pytest.raises(EOFError):
                await events.next()
        assert (await client.get("/plain")).json() == "plain"
        assert len(factory_of(app).connections) == 1


@asynchronous
async def test_what_is_refused_is_no_stream() -> None:
    async with serving(on_connect=lambda connection: "x-evil" not in connection.headers) as (world, _, client):
        async with source(client, "/plain") as events:
            assert events.response.headers["content-type"] == "application/json"
        async with source(client, "/state", x_evil="1") as events:
            assert events.response.status_code == 403
        async with source(client, "/private/7?limit=x") as events:
            assert events.response.status_code == 422
            assert "args" in (await events.response.aread()).decode()
        world.value = None
        async with source(client, "/private/7") as events:
            assert (events.response.status_code, await events.response.aread()) == (410, b'{"detail":"gone"}')
        async with source(client, "/state", origin="http://evil.example") as events:
            assert events.response.status_code == 403


def tokens(**options: Any) -> Any:
    return {"middlewares": [JSONWebTokenMiddleware(Manager, **options)]}


def closes(connection: Any) -> None:
    connection.close(4000, "not you")


def refuses(connection: Any) -> None:
    raise HTTPError(402, "pay first")


def fails(connection: Any) -> None:
    raise ValueError("a secret")


def leaves(connection: Any) -> None:
    raise SystemExit(1)


async def gives_up(connection: Any) -> None:
    raise asyncio.CancelledError


class Odd(BaseAPIException):
    status = 100


def is_odd(connection: Any) -> None:
    raise Odd


async def hangs(connection: Any) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("options", "token", "status"),
    [
        (tokens(), "x", 401),
        (tokens(refuse="close"), "x", 401),
        (tokens(), None, 401),
        ({"on_connect": lambda connection: False}, None, 403),
        ({"on_connect": closes}, None, 403),
        ({"on_connect": refuses}, None, 402),
        ({"on_connect": fails}, None, 500),
        ({"on_connect": leaves}, None, 500),
        ({"on_connect": gives_up}, None, 500),
        ({"on_connect": is_odd}, None, 500),
        ({"on_connect": hangs, "handshake_timeout": 0.05}, None, 503),
    ],
    ids=["bad", "bad and closed", "none", "no", "closed", "refused", "failed", "left", "gave up", "odd", "late"],
)
@asynchronous
async def test_who_may_not_is_told_so_as_by_a_get(options: dict[str, Any], token: str | None, status: int) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with serving(**options) as (_, _app, client):
        plain = await client.get("/users", headers=headers)
        streamed = await client.get("/users", headers={**headers, "Accept": "text/event-stream"})
    assert (plain.status_code, streamed.status_code) == (status, status)
    assert streamed.json() == plain.json()
    challenge = streamed.headers.get("www-authenticate")
    assert challenge == plain.headers.get("www-authenticate")
    assert (challenge is not None) is (status == 401)


@asynchronous
async def test_an_end_of_a_user_is_an_event_and_nobody_is_to_come_back() -> None:
    def on_connect(connection: Any) -> None:
        connection.user = SimpleNamespace(id="ada")

    async with serving(on_connect=on_connect) as (_, app, client), source(client, "/state") as events:
        await events.next()
        assert app.close_connections_of("ada", reason="token has expired") == 1
        end = await events.next()
        assert (end.name, end.data, end.retry) == ("end", {"status": 401, "detail": "token has expired"}, None)
        with pytest.raises(EOFError):
            await events.next()


@asynchronous
async def test_http_1_0_gets_no_stream() -> None:
    async with serving() as (_, app, _client):
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        writer.write(b"GET /state HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), TIMEOUT)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 505 ")
        assert b"a stream of events needs HTTP/1.1" in answer


@asynchronous
async def test_one_who_does_not_read_is_dropped() -> None:
    async with serving(send_timeout=0.1, ping_interval=None) as (world, app, _):
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        writer.write(b"GET /state HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"data:"), TIMEOUT)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        numbers = count()
        async with asyncio.timeout(TIMEOUT):
            while factory_of(app).connections:
                world.value = [next(numbers), "x" * 1_000_000]
                await app.live.changed("/state")
                await turn_over()
        writer.transport.abort()


@asynchronous
async def test_one_who_leaves_is_told_of_nothing() -> None:
    async with serving() as (_, app, _client):
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        writer.write(b"GET /state HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"data:"), TIMEOUT)
        writer.transport.abort()
        await until(lambda: not factory_of(app).connections)
        assert len(factory_of(app).admissions) == 0


@asynchronous
async def test_under_a_server_of_asgi() -> None:
    world = World()
    factory = Application(world.router).prepare()
    exchange = Exchange(factory)
    told: asyncio.Queue[Any] = asyncio.Queue()
    left = asyncio.Event()

    async def receive() -> Any:
        await left.wait()
        return {"type": "http.disconnect"}

    headers = [(b"host", b"t"), (b"accept", b"text/event-stream")]
    scope = {"type": "http", "method": "GET", "path": "/state", "http_version": "1.1", "headers": headers}
    serving = asyncio.ensure_future(exchange(scope, receive, told.put))
    assert (await told.get())["status"] == 200
    assert b'data: {"n":1}' in (await told.get())["body"]
    assert len(factory.admissions) == 1
    left.set()
    await serving
    assert (len(factory.admissions), factory.connections) == (0, set())
    await factory.release(Patience())


@asynchronous
async def test_behind_another_server_a_stream_sees_what_its_host_has_set_and_no_cookies_of_other_pages() -> None:
    who: ContextVar[str] = ContextVar("who")

    def seen(request: Any) -> Any:
        connection = request.connection
        return [who.get(), connection.scope["who"], connection.cookies, connection.headers.get("cookie")]

    router = SimpleRouter()
    router.get("/seen", live=Live(interval=0))(seen)
    asgi = Application(router, allowed_origins=["*"]).asgi()
    headers = [(b"host", b"testserver"), (b"accept", b"text/event-stream"), (b"cookie", b"a=b")]
    for origin, cookies in (([], [{"a": "b"}, "a=b"]), ([(b"origin", b"https://evil.example")], [{}, None])):
        server = ByHand("/seen", headers + origin, begins=False, who="ada")
        server.scope |= {"type": "http", "method": "GET", "http_version": "1.1"}

        async def host(scope: Any, receive: Any, send: Any) -> None:
            who.set("host")
            await asgi(scope, receive, send)

        server.begin(host)
        assert (await server.told())["status"] == 200
        event = (await server.told())["body"].decode()
        server.say("http.disconnect")
        await server.over()
        line = next(line for line in event.splitlines() if line.startswith("data:"))
        assert json.loads(line.removeprefix("data:")) == ["host", "ada", *cookies]
    await asgi.stop()
