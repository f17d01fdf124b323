"""`Application`: options, start and end, what runs before a handler; over real sockets."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from aiorest_ws import Application, MethodBasedView, RequestHandlerFactory, RequestHandlerProtocol, SimpleRouter
from aiorest_ws.exceptions import BaseAPIException, BaseAuthException, ImproperlyConfigured, PermissionDeniedException
from aiorest_ws.testing import AsyncTestClient, TestClient
from tests.serving import LOOPS, Client, HandshakeRefused, asynchronous, make_router, serving, turn_over

on_each_loop = pytest.mark.parametrize("loop", LOOPS)

FAILED = "A server error occurred."
DENIED = "Permission denied: user doesn't have enough rights."


def test_uvloop_is_under_test_where_it_exists() -> None:
    assert ("uvloop" in LOOPS) == (sys.platform != "win32")


# Options


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("prot", "port"),
        ("hosts", "host"),
        ("midlewares", "middlewares"),
        ("loops", "loop"),
        ("sslcontext", "ssl_context"),
    ],
)
def test_unknown_option_names_the_nearest(wrong: str, near: str) -> None:
    options: Any = {wrong: 1}
    with pytest.raises(TypeError, match=f"unknown option '{wrong}', did you mean '{near}'\\?"):
        Application(**options)
    with pytest.raises(TypeError, match=f"unknown option '{wrong}', did you mean '{near}'\\?"):
        Application().run(**options)


def test_middlewares_that_are_no_list_are_refused() -> None:
    with pytest.raises(TypeError, match="middlewares must be a list, got <class 'object'>"):
        Application(middlewares=object)  # type: ignore[arg-type]


@asynchronous
async def test_unknown_option_of_start_and_serve() -> None:
    rooter: Any = {"rooter": 1}
    for start in (Application().start, Application().serve):
        with pytest.raises(TypeError, match="unknown option 'rooter', did you mean 'router'\\?"):
            await start(**rooter)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"factory": object}, TypeError, "Custom class must be inherited from the RequestHandlerFactory class."),
        (
            {"factory": RequestHandlerProtocol},
            TypeError,
            "Custom class must be inherited from the RequestHandlerFactory",
        ),
        ({"factory": 5}, TypeError, "Custom class must be inherited from the RequestHandlerFactory class."),
        ({"protocol": object}, TypeError, "Custom class must be inherited from the RequestHandlerProtocol class."),
        ({"port": "8080"}, TypeError, "port must be an integer, got '8080'"),
        ({"port": True}, TypeError, "port must be an integer, got True"),
        ({"port": 65536}, ValueError, "port must be from 0 to 65535, got 65536"),
        ({"port": -1}, ValueError, "port must be from 0 to 65535, got -1"),
        ({"max_concurrency": 0}, ValueError, "max_concurrency must be from 1 to "),
        ({"max_fragments": "9"}, TypeError, "max_fragments must be an integer, got '9'"),
        ({"send_timeout": 0}, ValueError, "send_timeout must be greater than 0, got 0"),
        ({"shutdown_timeout": None}, TypeError, "shutdown_timeout must be a number, got None"),
        ({"path": 5}, TypeError, "path must be a string, got 5"),
        ({"path": "a?b"}, ValueError, "path must be as clients send it, .*, got 'a\\?b'"),
        ({"path": "a#b"}, ValueError, "path must be as clients send it"),
        ({"path": "a b"}, ValueError, "path must be as clients send it"),
        ({"path": "caf\u00e9"}, ValueError, "path must be as clients send it"),
        ({"host": 5}, TypeError, "host must be a string or None, got 5"),
        ({"workers": 0}, ValueError, "workers must be from 1 to 1000, or 'auto', got 0"),
        ({"workers": "many"}, TypeError, "workers must be a number of processes or 'auto', got 'many'"),
        ({"workers": True}, TypeError, "workers must be a number of processes or 'auto', got True"),
        ({"worker_timeout": 0}, ValueError, "worker_timeout must be greater than 0, got 0"),
        ({"log_level": "loud"}, ValueError, "log_level must be one of .*'info'.*, got 'loud'"),
        ({"loop": "trio"}, ValueError, "loop must be one of 'auto', 'asyncio', 'uvloop', got 'trio'"),
        ({"router": SimpleRouter}, TypeError, "router must be an instance of AbstractRouter"),
        ({"router": "router"}, TypeError, "router must be an instance of AbstractRouter"),
        ({"middlewares": [object()]}, TypeError, "middleware .* has no method 'process_request'"),
        ({"ip": "127.0.0.1", "host": "127.0.0.1"}, TypeError, "`ip` is another name of `host`"),
    ],
)
def test_wrong_option_says_what_is_expected(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Application(**options)
    with pytest.raises(error, match=text):
        Application().run(**options)


def test_properties_tell_the_options() -> None:
    class Factory(RequestHandlerFactory):
        pass

    class Protocol(RequestHandlerProtocol):
        pass

    app = Application(factory=Factory, protocol=Protocol, certificate="c.pem", key="k.pem")
    assert (app.factory, app.protocol, app.certificate, app.key) == (Factory, Protocol, "c.pem", "k.pem")
    assert app.isSecure
    assert app.url == "wss://{0}:{1}/{2}"
    app = Application()
    assert (app.factory, app.protocol, app.middlewares) == (RequestHandlerFactory, RequestHandlerProtocol, [])
    assert not app.isSecure
    assert app.generate_url("127.0.0.1", 8080) == "ws://127.0.0.1:8080/"
    assert not Application(certificate="c.pem").isSecure


@pytest.mark.parametrize("path", ["api", "/api", "/api/", "api/"])
def test_path_is_normalised(path: str) -> None:
    """R12."""
    assert Application().generate_url("h", 1, path) == "ws://h:1/api"


def test_ipv6_host_is_bracketed() -> None:
    assert Application().generate_url("::1", 8080, "a/b") == "ws://[::1]:8080/a/b"


@asynchronous
async def test_options_of_start_win_over_the_constructors() -> None:
    app = Application(router=SimpleRouter(), host="256.0.0.1", port=1, path="no")
    await app.start(router=make_router(), ip="127.0.0.1", port=0, path="yes")
    async with await Client.connect(app, "/yes") as client:
        assert (await client.ask())["data"] == "Hello, world!"
        await client.leave()
    await app.stop()


@asynchronous
async def test_generate_factory_may_be_overridden() -> None:
    class Own(Application):
        def generate_factory(self, url: str, **options: Any) -> RequestHandlerFactory:
            factory = super().generate_factory(url, **options)
            factory.headers = {"X-Own": url}
            return factory

    app = Own(router=make_router(), port=0)
    await app.start()
    async with await Client.connect(app) as client:
        assert client.headers["x-own"].startswith("ws://127.0.0.1:")
    await app.stop()


@asynchronous
async def test_factory_and_protocol_classes_are_used() -> None:
    class Factory(RequestHandlerFactory):
        pass

    class Protocol(RequestHandlerProtocol):
        pass

    router = make_router(who=lambda r: [type(r.connection).__name__, type(r.connection.factory).__name__])
    async with serving(router, factory=Factory, protocol=Protocol) as app, await Client.connect(app) as client:
        assert (await client.ask(url="/who"))["data"] == ["Protocol", "Factory"]


# Start and stop


@on_each_loop
@asynchronous
async def test_port_0_takes_a_free_one(loop: str) -> None:
    async with serving(make_router()) as one, serving(make_router()) as two:
        ((host, port),) = one.addresses
        assert host == "127.0.0.1"
        assert port > 0
        assert one.addresses != two.addresses
        for app in (one, two):
            async with await Client.connect(app) as client:
                assert (await client.ask())["data"] == "Hello, world!"
                await client.leave()
    assert one.addresses == []


@on_each_loop
@asynchronous
async def test_stop_closes_connections_with_1001_and_the_port(loop: str) -> None:
    app = Application(router=make_router(), port=0)
    await app.start()
    (address,) = app.addresses
    clients = [await Client.connect(app) for _ in range(3)]
    stopping = asyncio.ensure_future(app.stop())
    for client in clients:
        close = await client.left()
        assert (close.close_code, close.close_reason) == (1001, "server is shutting down")
    await asyncio.wait_for(stopping, 5)
    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await asyncio.open_connection(*address)


@on_each_loop
@asynchronous
async def test_stop_cancels_running_handlers(loop: str) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(request: Any) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    app = Application(router=make_router(wait=wait), port=0, shutdown_timeout=0.1)
    await app.start()
    async with await Client.connect(app) as client:
        client.request(url="/wait")
        await asyncio.wait_for(started.wait(), 5)
        stopping = asyncio.ensure_future(app.stop())
        assert (await client.left()).close_code == 1001
        await asyncio.wait_for(stopping, 5)
        assert cancelled.is_set()


@on_each_loop
@asynchronous
async def test_stop_drops_clients_that_do_not_answer(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiorest_ws.server.shutdown._LEAVE", 0.1)
    app = Application(router=make_router(), port=0)
    await app.start()
    async with await Client.connect(app) as client:
        await asyncio.wait_for(app.stop(), 5)  # the client never reads, and never answers the close frame
        assert (await client.receive()).close_code == 1001
        await client.eof()


@on_each_loop
@asynchronous
async def test_stop_drops_connections_that_did_no_handshake(loop: str) -> None:
    app = Application(router=make_router(), port=0)
    await app.start()
    reader, writer = await asyncio.open_connection(*app.addresses[0])
    async with await Client.connect(app) as client:  # by now the server knows of the other one too
        await client.leave()
    await asyncio.wait_for(app.stop(), 1)
    try:
        assert await asyncio.wait_for(reader.read(), 5) == b""
    except ConnectionError:
        pass
    writer.close()


@asynchronous
async def test_stop_twice_and_without_start_does_nothing() -> None:
    app = Application(router=make_router(), port=0)
    await app.stop()
    await app.start()
    await asyncio.gather(app.stop(), app.stop())
    await app.stop()
    assert app.addresses == []


@on_each_loop
@asynchronous
async def test_application_starts_again_after_stop(loop: str) -> None:
    app = Application(router=make_router(), port=0)
    await app.start()
    (address,) = app.addresses
    async with await Client.connect(app) as client:
        await client.leave()
    await app.stop()
    await app.start(port=address[1])
    assert app.addresses == [address]
    async with await Client.connect(app) as client:
        assert (await client.ask())["data"] == "Hello, world!"
        await client.leave()
    await app.stop()


@asynchronous
async def test_start_twice_is_an_error() -> None:
    async with serving(make_router()) as app:
        with pytest.raises(RuntimeError, match="application is already running"):
            await app.start()
        async with await Client.connect(app) as client:
            assert (await client.ask())["data"] == "Hello, world!"


class Announcing(Application):
    """Says when it has started."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.started = asyncio.Event()

    async def start(self, **options: Any) -> None:
        await super().start(**options)
        self.started.set()


@on_each_loop
@asynchronous
async def test_serve_lasts_until_stop(loop: str) -> None:
    app = Announcing(router=make_router(), port=0)
    serving = asyncio.ensure_future(app.serve())
    await asyncio.wait_for(app.started.wait(), 5)
    async with await Client.connect(app) as client:
        assert (await client.ask())["data"] == "Hello, world!"
        await client.leave()
    assert not serving.done()
    await app.stop()
    await asyncio.wait_for(serving, 5)


@on_each_loop
@asynchronous
async def test_cancelled_serve_stops(loop: str) -> None:
    app = Announcing(router=make_router(), port=0)
    serving = asyncio.ensure_future(app.serve())
    await asyncio.wait_for(app.started.wait(), 5)
    async with await Client.connect(app) as client:
        serving.cancel()
        assert (await client.left()).close_code == 1001
        with pytest.raises(asyncio.CancelledError):
            await serving
    assert app.addresses == []


@asynchronous
async def test_failed_start_leaves_the_application_ready_to_start() -> None:
    app = Application(port=0)
    with pytest.raises(ImproperlyConfigured, match=r"Argument `router` must be defined for the Application\."):
        await app.start()
    with pytest.raises(AssertionError):  # as in 1.1.1
        await app.start()
    await app.start(router=make_router())
    await app.stop()


@asynchronous
async def test_run_in_a_running_loop_points_to_serve() -> None:
    with pytest.raises(RuntimeError, match=r"await app\.serve"):
        Application(router=make_router()).run()


@asynchronous
async def test_application_closes_its_server_when_nobody_is_connected() -> None:
    app = Application(router=make_router(), port=0)
    await app.start()
    assert app._server is not None
    listening = app._server._listening
    assert listening is not None
    await app.stop()
    await turn_over()
    assert not any(each.is_serving() for each in listening.servers)


# The path


@pytest.mark.parametrize(
    ("path", "target", "status"),
    [
        ("", "/", 101),
        ("", "/?token=1", 101),
        ("", "/other", 404),
        ("", "/?/other", 101),
        ("", "//", 404),
        ("", "//other", 404),
        ("/", "/", 101),
        ("api", "/api", 101),
        ("/api/", "/api", 101),
        ("api", "/api/", 101),
        ("api", "/api?x=/", 101),
        ("api", "/", 404),
        ("api", "/API", 404),
        ("api", "/api/v2", 404),
        ("api", "/apis", 404),
        ("api", "//api", 404),
        ("api", "/%61pi", 404),
        ("api/v2", "/api/v2", 101),
        ("api/v2", "/api", 404),
        ("api", "ws://HOST/api", 101),
        ("api", "ws://HOST/", 404),
        ("", "ws://HOST", 101),
        ("", "http://HOST/?a=1", 101),
    ],
)
@asynchronous
async def test_only_the_path_is_accepted_at_the_handshake(path: str, target: str, status: int) -> None:
    async with serving(make_router(), path=path) as app:
        target = target.replace("HOST", "{}:{}".format(*app.addresses[0]))
        if status == 101:
            async with await Client.connect(app, target) as client:
                assert (await client.ask())["data"] == "Hello, world!"
                await client.leave()
        else:
            with pytest.raises(HandshakeRefused, match=f"{status} Not Found"):
                await Client.connect(app, target)


@asynchronous
async def test_plain_http_gets_no_page() -> None:
    async with serving(make_router()) as app:
        for target, status in (("/", b"426"), ("/favicon.ico", b"404")):
            reader, writer = await asyncio.open_connection(*app.addresses[0])
            writer.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % target.encode())
            answer = await asyncio.wait_for(reader.read(), 5)
            assert answer.startswith(b"HTTP/1.1 " + status)
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize(
    "request_line", [b"GET", b"", b"GET /", b"GET / HTTP/1.1 x", b"GET http://[ HTTP/1.1", b"\xff\xfe / x"]
)
@asynchronous
async def test_malformed_handshake_is_refused(request_line: bytes) -> None:
    async with serving(make_router()) as app:
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        writer.write(request_line + b"\r\nHost: localhost\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
        writer.close()
        await writer.wait_closed()
        async with await Client.connect(app) as client:
            assert (await client.ask())["data"] == "Hello, world!"


# Two applications


class Stamp:
    """A middleware that leaves its mark."""

    def __init__(self, mark: str = "default") -> None:
        self.mark = mark

    def process_request(self, request: Any, handler: Any) -> None:
        request.marks = [*getattr(request, "marks", []), self.mark]


@asynchronous
async def test_two_applications_share_nothing() -> None:
    """R4: in 1.1.1 the second inherited the first's middlewares."""
    router = make_router(marks=lambda request: getattr(request, "marks", None))
    async with serving(router, middlewares=[Stamp("one"), Stamp("1")], path="one") as one:
        async with serving(router, middlewares=[Stamp("two")]) as two, serving(router) as three:
            for app, path, marks in ((one, "/one", ["one", "1"]), (two, "/", ["two"]), (three, "/", None)):
                async with await Client.connect(app, path) as client:
                    assert (await client.ask(url="/marks"))["data"] == marks
                    await client.leave()
            assert one.middlewares is not two.middlewares
        async with await Client.connect(one, "/one") as client:
            assert (await client.ask(url="/marks"))["data"] == ["one", "1"]
            await client.leave()


@asynchronous
async def test_options_given_to_one_application_do_not_reach_the_next() -> None:
    first = Application(router=make_router(), port=0, path="first", middlewares=[Stamp])
    await first.start(debug=True, max_concurrency=3)
    await first.stop()
    assert Application().middlewares == []
    with pytest.raises(ImproperlyConfigured, match="router"):
        await Application(port=0).start()


# Middlewares


@on_each_loop
@asynchronous
async def test_middlewares_run_in_order_classes_and_instances_sync_and_async(loop: str) -> None:
    class Later(Stamp):
        async def process_request(self, request: Any, handler: Any) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            super().process_request(request, handler)

    async def slow(request: Any) -> Any:
        await asyncio.sleep(0)
        return request.marks

    router = make_router(marks=lambda request: request.marks, slow=slow)
    middlewares = (Stamp, Later("later"), Stamp("third"), Later)
    async with serving(router, middlewares=middlewares) as app, await Client.connect(app) as client:
        for url in ("/marks", "/slow", "/marks"):
            assert (await client.ask(url=url))["data"] == ["default", "later", "third", "default"]


@asynchronous
async def test_middleware_sees_the_view_and_the_route_but_no_unrouted_request() -> None:
    seen: list[Any] = []

    class Middleware:
        def process_request(self, request: Any, handler: Any) -> str:
            seen.append((request.url, request.route.path, isinstance(handler, MethodBasedView)))
            return "ignored"

    async with serving(make_router(), middlewares=[Middleware()]) as app, await Client.connect(app) as client:
        assert (await client.ask())["data"] == "Hello, world!"
        assert (await client.ask(url="/nowhere", id=1))["status"] == 404
        assert (await client.ask(method="PUT", id=1))["status"] == 405
        assert (await client.ask(url=5, id=1))["status"] == 400
    assert seen == [("/hello", "/hello/", True)]


@asynchronous
async def test_middleware_runs_before_arguments_are_checked() -> None:
    async with (
        serving(make_router(), middlewares=[Refusing(BaseAPIException("first"))]) as app,
        await Client.connect(app) as client,
    ):
        assert (await client.ask(args={"x": 1}))["detail"] == "first"


class Refusing:
    def __init__(self, exc: BaseException) -> None:
        self.exc = exc

    def process_request(self, request: Any, handler: Any) -> None:
        raise self.exc


class RefusingLater(Refusing):
    async def process_request(self, request: Any, handler: Any) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        raise self.exc


@pytest.mark.parametrize("kind", [Refusing, RefusingLater])
@pytest.mark.parametrize(
    ("exc", "status", "detail"),
    [
        (BaseAPIException("no"), 400, "no"),
        (BaseAuthException(), 401, "Error occurred in the authentication process."),
        (PermissionDeniedException(), 403, DENIED),
        (KeyError("secret"), 500, FAILED),
        (StopIteration("secret"), 500, FAILED),
        (SystemExit("secret"), 500, FAILED),
        (asyncio.CancelledError(), 500, FAILED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
@asynchronous
async def test_what_a_middleware_raises_becomes_the_reply(
    kind: type[Refusing], exc: BaseException, status: int, detail: str
) -> None:
    calls: list[Any] = []
    router = make_router(call=calls.append)
    async with serving(router, middlewares=[kind(exc), Stamp()]) as app, await Client.connect(app) as client:
        assert await client.ask(url="/call", id=1) == {"id": 1, "status": status, "detail": detail}
        assert await client.ask(url="/call") == {"detail": detail, "event_name": None}
        assert (await client.ask(url="/nowhere", id=1))["status"] == 404
        assert (await client.leave()).close_code == 1000
    assert calls == []


# The router


def test_the_router_may_be_given_by_position() -> None:
    router = SimpleRouter()
    router.get("/hello")(lambda request: "hello")
    with TestClient(Application(router, debug=True)) as client:
        assert client.get("/hello").data == "hello"
    with pytest.raises(TypeError, match="router"):
        Application(router, router=router)  # type: ignore[misc]
    with pytest.raises(TypeError, match="router must be an instance of AbstractRouter, got <class"):
        Application(SimpleRouter)  # type: ignore[arg-type]


@asynchronous
async def test_a_router_without_routes_is_told_of_when_it_starts(caplog: pytest.LogCaptureFixture) -> None:
    empty, filled, late = SimpleRouter(), SimpleRouter(), SimpleRouter()
    filled.get("/hello")(lambda request: "hello")

    def on_startup(app: Application) -> None:
        if not late.routes:
            late.get("/late")(lambda request: "late")

    for router, lines in ((empty, 1), (filled, 0), (late, 0)):
        caplog.clear()
        app = Application(router, port=0, on_startup=[on_startup] if router is late else [])
        await app.start()
        await app.stop()
        told = [record for record in caplog.records if "router has no routes" in record.message]
        assert [record.levelname for record in told] == ["WARNING"] * lines
        caplog.clear()
        async with AsyncTestClient(app):
            pass
        assert len([record for record in caplog.records if "router has no routes" in record.message]) == lines


@pytest.mark.parametrize(
    "name", sorted({"debug", "port", "host", "lifespan", "http", "access_log", "max_message_size"})
)
def test_an_option_that_is_set_afterwards_and_that_nobody_would_read_is_refused(name: str) -> None:
    """As Flask has it: `app.debug = True`."""
    app = Application()
    with pytest.raises(AttributeError) as caught:
        setattr(app, name, True)
    assert str(caught.value) == f"nobody looks at {name!r} of an Application: Application(router, {name}=…)"


def test_what_may_be_set_afterwards_may_and_a_subclass_has_names_of_its_own() -> None:
    class Own(Application):
        pass

    own: Any = Own()
    own.debug = "mine"
    assert own.debug == "mine"
    app: Any = Application()
    app.middlewares = []
    app.anything = 3
    assert app.anything == 3
