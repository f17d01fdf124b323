"""uvicorn's class for WebSockets: paths that applications name are served on its transport, others as ever."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket

from aiorest_ws import Application, RequestHandlerProtocol
from aiorest_ws.asgi import Protocol, doors
from aiorest_ws.exceptions import ConnectionRefused
from tests.kit.asgi import uvicorn_of
from tests.kit.pages import ENVIRONMENT, PYTHON
from tests.serving import (
    CLOSE,
    LOOPS,
    PING,
    PONG,
    Certificate,
    Client,
    HandshakeRefused,
    client_context,
    make_router,
    turn_over,
    until,
    within,
)

HTTPS = ("h11", "httptools")
tenant: ContextVar[str] = ContextVar("tenant", default="-")


@pytest.fixture(autouse=True)
def _no_doors() -> Iterator[None]:
    """Leave no application behind that names a path."""
    yield
    doors.DOORS.clear()


def host_of(*doors: Any) -> FastAPI:
    """Give an application of somebody else, with a WebSocket of its own; the lifespan of `doors` is around it."""

    @contextlib.asynccontextmanager
    async def lifespan(host: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with contextlib.AsyncExitStack() as stack:
            for door in doors:
                await stack.enter_async_context(door)
            yield {"db": 7}

    host = FastAPI(lifespan=lifespan)

    @host.websocket("/theirs")
    async def theirs(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close(4000)

    @host.get("/page")
    async def page() -> str:
        return "page"

    return host


def serving(host: Any, **options: Any) -> Any:
    return uvicorn_of(host, ws=Protocol, **options)


@pytest.mark.parametrize("http", HTTPS)
@pytest.mark.parametrize("loop", LOOPS)
@within(30)
async def test_named_path_is_ours_and_others_are_theirs(http: str, loop: str) -> None:
    app = Application(make_router())
    door = app.asgi(path="/ws")
    async with serving(host_of(door), http=http) as address:
        for path in ("/ws", "/ws/", "/ws?token=1"):
            async with await Client.connect(address, path) as client:
                assert (await client.ask())["data"] == "Hello, world!"
                client.send(b"x", PING)  # answered by our own frame layer, between replies
                assert (await client.receive()).opcode == PONG
                (connection,) = (await door.start()).factory.connections
                assert isinstance(connection, RequestHandlerProtocol)
                assert connection.transport.get_protocol() is connection
                assert (await client.leave()).close_code == 1000
        async with await Client.connect(address, "/theirs") as client:
            client.send(b"echo")
            assert (await client.receive()).payload == b"echo"
            assert (await client.receive()).close_code == 4000
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b'"page"' in await reader.read()
        writer.close()
        await writer.wait_closed()


@within(30)
async def test_path_is_served_by_what_nobody_keeps() -> None:
    app, other = Application(make_router()), Application(make_router(other=lambda request: "other"))
    app.asgi(path="/ws")
    other.asgi(path="/other")
    gc.collect()
    async with serving(host_of()) as address:
        async with await Client.connect(address, "/ws") as client:
            assert (await client.ask())["data"] == "Hello, world!"
        async with await Client.connect(address, "/other") as client:
            assert (await client.ask("GET", "/other"))["data"] == "other"
    for each in (app, other):
        await each.asgi().stop()


@within(30)
async def test_path_that_nobody_names_is_theirs() -> None:
    door = Application(make_router()).asgi(path="/ws")
    async with serving(host_of(door)) as address:
        with pytest.raises(HandshakeRefused) as caught:
            await Client.connect(address, "/elsewhere")
    assert caught.value.status == 403  # as Starlette answers


@pytest.mark.parametrize("loop", LOOPS)
@within(30)
async def test_first_connection_starts_it_where_no_lifespan_comes(loop: str) -> None:
    said: list[str] = []
    app = Application(
        make_router(tenant=lambda request: tenant.get(), state=lambda request: request.connection.scope["state"]),
        on_startup=[lambda _: tenant.set("t"), lambda _: said.append("up")],
        on_shutdown=[lambda _: said.append("down")],
    )
    door = app.asgi(path="/ws")
    async with serving(host_of()) as address:
        assert said == []
        clients = await asyncio.gather(*(Client.connect(address, "/ws") for _ in range(3)))
        for client in clients:
            assert (await client.ask("GET", "/tenant"))["data"] == "t"
            assert (await client.ask("GET", "/state"))["data"] == {"db": 7}
        assert said == ["up"]
        for client in clients:
            await client.drop()
    # Nobody says that it is over where no connection is left: the end of the loop does, or `stop`.
    await door.stop()
    assert said == ["up", "down"]


@within(30)
async def test_start_that_fails_is_an_error_of_the_server() -> None:
    def fail(app: Application) -> None:
        raise ValueError("no database")

    trouble: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: trouble.append(context["exception"]))
    door = Application(make_router(), on_startup=[fail]).asgi(path="/ws")
    async with serving(host_of()) as address:
        for _ in range(2):
            with pytest.raises(HandshakeRefused) as caught:
                await Client.connect(address, "/ws")
            assert caught.value.status == 500
    gc.collect()
    assert "no database" in str(trouble[0])
    assert door._lives == {}


@within(30)
async def test_guards_limits_and_counts_are_ours() -> None:
    app = Application(
        make_router(), on_connect=_only_known, allowed_origins=["https://good.example"], max_connections=2
    )
    door = app.asgi(path="/ws")
    async with serving(host_of(door)) as address:
        life = await door.start()
        for headers, status in (
            ([], 401),
            ([("X-Who", "ada"), ("Origin", "https://evil.example")], 403),
            ([("X-Who", "ada"), ("Sec-WebSocket-Protocol", "a, a")], 400),
        ):
            with pytest.raises(HandshakeRefused) as caught:
                await Client.connect(address, "/ws", headers=headers)
            assert caught.value.status == status
        ada = [("X-Who", "ada"), ("Origin", "https://good.example")]
        first, second = [await Client.connect(address, "/ws", headers=ada) for _ in range(2)]
        assert len(life.factory.admissions) == 2
        with pytest.raises(HandshakeRefused) as caught:
            await Client.connect(address, "/ws", headers=ada)
        assert caught.value.status == 503
        for client in (first, second):
            await client.leave()
        await until(lambda: len(life.factory.admissions) == 0 and not life.factory.connections)


def _only_known(connection: Any) -> None:
    if connection.headers.get("x-who") != "ada":
        raise ConnectionRefused(401)


@within(30)
async def test_decision_that_takes_time_holds_what_comes_meanwhile() -> None:
    decided = asyncio.Event()
    door = Application(make_router(), on_connect=_waiting(decided)).asgi(path="/ws")
    async with serving(host_of(door)) as address:
        connecting = asyncio.ensure_future(Client.connect(address, "/ws"))
        life = await door.start()
        await until(lambda: bool(life.factory.connections))
        await turn_over()
        decided.set()
        async with await connecting as client:
            assert (await client.ask())["data"] == "Hello, world!"


def _waiting(event: asyncio.Event) -> Any:
    async def decide(connection: Any) -> None:
        await event.wait()

    return decide


@pytest.mark.parametrize("http", HTTPS)
@within(30)
async def test_end_of_uvicorn_lets_requests_finish(http: str) -> None:
    go, said = asyncio.Event(), []

    async def slow(request: Any) -> str:
        await go.wait()
        return "done"

    app = Application(make_router(slow=slow), shutdown_timeout=5, on_shutdown=[lambda _: said.append("down")])
    door = app.asgi(path="/ws")
    over = asyncio.Event()

    async def serve() -> None:
        async with serving(host_of(door), http=http) as where:
            address.set_result(where)
            await over.wait()

    address: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    running = asyncio.ensure_future(serve())
    client, idle = [await Client.connect(await address, "/ws") for _ in range(2)]
    life = await door.start()
    client.request(url="/slow")
    await until(lambda: bool(life.factory.running))
    over.set()
    await until(lambda: life.is_ending)
    assert (await client.ask("GET", "/hello", id=1))["status"] == 503
    assert said == []
    go.set()
    assert (await client.reply())["data"] == "done"
    for each in (client, idle):
        assert (await each.left()).close_code == 1001
    await running
    assert said == ["down"]
    assert door._lives == {}


@within(30)
async def test_end_of_uvicorn_without_a_lifespan_ends_it() -> None:
    said: list[str] = []
    app = Application(make_router(), on_shutdown=[lambda _: said.append("down")], shutdown_timeout=0.1)
    door = app.asgi(path="/ws")
    async with serving(host_of()) as address:
        client = await Client.connect(address, "/ws")
        reading = asyncio.ensure_future(client.left())
    assert (await reading).close_code == 1001
    await until(lambda: door._lives == {})
    assert said == ["down"]


@within(30)
async def test_client_that_leaves_at_once() -> None:
    async def slowly(app: Application) -> None:
        await go.wait()

    go = asyncio.Event()
    door = Application(make_router(), on_startup=[slowly]).asgi(path="/ws")
    async with serving(host_of()) as address:
        connecting = asyncio.ensure_future(Client.connect(address, "/ws"))
        await until(lambda: bool(door._lives))
        connecting.cancel()
        await turn_over(20)
        go.set()
        life = await door.start()
        async with await Client.connect(address, "/ws") as client:
            assert (await client.ask())["data"] == "Hello, world!"
        await until(lambda: not life.factory.connections)


@pytest.mark.parametrize("loop", LOOPS)
@within(30)
async def test_behind_tls(loop: str, certificate: Certificate) -> None:
    router = make_router(big=lambda request: "x" * 1_000_000)
    door = Application(router).asgi(path="/ws")
    host = serving(host_of(door), ssl_certfile=certificate.path, ssl_keyfile=certificate.key)
    async with host as address, await Client.connect(address, "/ws", tls=client_context(certificate)) as client:
        assert len((await client.ask("GET", "/big"))["data"]) == 1_000_000
        client.request()
        assert (await client.reply())["data"] == "Hello, world!"


@within(30)
async def test_class_of_the_user() -> None:
    class Greeting(RequestHandlerProtocol):
        def onOpen(self) -> None:
            self.sendMessage(b"welcome")

        def shutdown(self) -> str:
            return "theirs"

    router = make_router(call=lambda request: request.connection.shutdown())
    door = Application(router, protocol=Greeting).asgi(path="/ws")
    async with serving(host_of(door)) as address, await Client.connect(address, "/ws") as client:
        assert (await client.receive()).payload == b"welcome"
        assert (await client.ask("GET", "/call"))["data"] == "theirs"


@within(30)
async def test_frame_with_a_fault_is_our_affair() -> None:
    door = Application(make_router(), max_message_size=100).asgi(path="/ws")
    async with serving(host_of(door)) as address, await Client.connect(address, "/ws") as client:
        client.send(b"x" * 101)
        frame = await client.receive()
        assert (frame.opcode, frame.close_code) == (CLOSE, 1009)


@within(30)
async def test_head_with_a_fault_is_uvicorns() -> None:
    door = Application(make_router()).asgi(path="/ws")
    async with serving(host_of(door)) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /ws HTTP/1.1\r\nHost: a\r\nHost: b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert b"HTTP/1.1 4" in await reader.readline()
        writer.close()


@within(30)
async def test_without_a_library_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiorest_ws.asgi.on_uvicorn.AutoWebSocketsProtocol", None)
    door = Application(make_router()).asgi(path="/ws")
    async with serving(host_of(door)) as address:
        async with await Client.connect(address, "/ws") as client:
            assert (await client.ask())["data"] == "Hello, world!"
        with pytest.raises(HandshakeRefused) as caught:
            await Client.connect(address, "/theirs")
        assert caught.value.status == 501


@within(30)
async def test_line_at_the_start_says_who_is_not_asked(caplog: pytest.LogCaptureFixture) -> None:
    door = Application(make_router()).asgi(path="/ws")
    with caplog.at_level(logging.INFO, "uvicorn.error"):
        async with serving(host_of(door)) as address, await Client.connect(address, "/ws"):
            pass
    lines = [line for line in caplog.messages if "WebSockets at" in line]
    assert lines == ["WebSockets at /ws are served by aiorest-ws itself: no middleware of the host sees them"]
    assert caplog.messages.index(lines[0]) < caplog.messages.index("Application startup complete.")


@within(30)
async def test_who_comes_through_a_mount_is_told_what_to_name(caplog: pytest.LogCaptureFixture) -> None:
    door = Application(make_router()).asgi(path="/ws")
    host = host_of(door)
    host.mount("/live", door)
    with caplog.at_level(logging.INFO, "uvicorn.error"):
        async with serving(host) as address:
            for path in ("/ws", "/live/ws", "/live/ws"):
                async with await Client.connect(address, path) as client:
                    assert (await client.ask())["data"] == "Hello, world!"
    (line,) = [line for line in caplog.messages if "through the host" in line]
    assert "app.asgi(path='/ws') is to name the whole path that clients ask for, with that of the mount" in line


@within(30)
async def test_application_whose_path_nobody_names_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    app = Application(make_router())
    with caplog.at_level(logging.INFO, "uvicorn.error"):
        async with serving(app) as address:
            for _ in range(2):
                async with await Client.connect(address, "/") as client:
                    assert (await client.ask())["data"] == "Hello, world!"
    (line,) = [line for line in caplog.messages if "through the host" in line]
    assert "app.asgi(path=…) is to name the whole path" in line


def test_two_that_name_one_path(caplog: pytest.LogCaptureFixture) -> None:
    app = Application(make_router())
    first, second = app.asgi(path="/ws"), app.asgi(path="ws/")
    assert caplog.messages == []
    third = Application(make_router()).asgi(path="/ws")
    assert caplog.messages == ["two applications name the path '/ws': its WebSockets come to the later one"]
    assert doors.DOORS["/ws"] is third
    assert first.served_path == second.served_path == "/ws"


def test_without_uvicorn_it_says_what_is_missing() -> None:
    program = "import sys; sys.modules['uvicorn'] = None; import aiorest_ws.asgi; aiorest_ws.asgi.Protocol"
    done = subprocess.run([*PYTHON, "-c", program], env=ENVIRONMENT, capture_output=True, encoding="utf-8", check=False)
    last = done.stderr.splitlines()[-1]
    assert last == "ImportError: aiorest_ws.asgi.Protocol needs uvicorn: pip install 'aiorest-ws[http]>=2'"


def test_other_names_are_not_there() -> None:
    import aiorest_ws.asgi

    with pytest.raises(AttributeError, match="has no attribute 'Protocols'"):
        aiorest_ws.asgi.Protocols  # type: ignore[attr-defined]  # noqa: B018


@within(30)
async def test_connections_are_those_of_uvicorn() -> None:
    """Its limit_concurrency counts them."""
    door = Application(make_router()).asgi(path="/ws")
    async with serving(host_of(door), limit_concurrency=2) as address:
        clients = [await Client.connect(address, "/ws") for _ in range(2)]
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"503" in await reader.readline()
        writer.close()
        for client in clients:
            assert (await client.ask())["data"] == "Hello, world!"
            await client.leave()
