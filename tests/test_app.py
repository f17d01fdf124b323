"""`Application`: options, start and end, what runs before a handler; over real sockets and in processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import struct
import sys
import zlib
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import aiorest_ws
from aiorest_ws import (
    Application,
    MethodBasedView,
    RequestHandlerFactory,
    RequestHandlerProtocol,
    SimpleRouter,
    endpoint,
)
from aiorest_ws.app import deflate_offer_accept
from aiorest_ws.exceptions import BaseAPIException, BaseAuthException, ImproperlyConfigured, PermissionDeniedException
from aiorest_ws.listener import tls_context
from tests.serving import (
    LOOPS,
    TEXT,
    Certificate,
    Client,
    HandshakeRefused,
    Outcome,
    Program,
    asynchronous,
    client_context,
    connection_of,
    dump,
    make_router,
    run_program,
    serving,
    turn_over,
)

on_each_loop = pytest.mark.parametrize("loop", LOOPS)
on_posix = sys.platform != "win32"

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
    with pytest.raises(TypeError, match=f"unknown option '{wrong}', did you mean '{near}'\\?"):
        Application(**{wrong: 1})
    with pytest.raises(TypeError, match=f"unknown option '{wrong}', did you mean '{near}'\\?"):
        Application().run(**{wrong: 1})


@asynchronous
async def test_unknown_option_of_start_and_serve() -> None:
    for start in (Application().start, Application().serve):
        with pytest.raises(TypeError, match="unknown option 'rooter', did you mean 'router'\\?"):
            await start(rooter=1)


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
async def test_stop_drops_clients_that_do_not_answer(loop: str) -> None:
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


@pytest.mark.skipif(not on_posix, reason="Windows has no Unix sockets in asyncio")
@on_each_loop
@asynchronous
async def test_unix_socket(loop: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(make_router(), unix_path=path) as app:
        assert app.addresses == [str(path)]
        async with await Client.connect(app) as client:
            assert (await client.ask())["data"] == "Hello, world!"
            await client.leave()
    assert not path.exists()


@pytest.mark.skipif(not on_posix, reason="Windows has no Unix sockets in asyncio")
@asynchronous
async def test_unix_socket_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "no" / "s"
    with pytest.raises(ImproperlyConfigured, match=f"cannot listen on {path}: no such file or directory"):
        await Application(router=make_router(), unix_path=path).start()


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
        ("api", "ws://127.0.0.1/api", 101),
        ("api", "ws://127.0.0.1/", 404),
        ("", "ws://127.0.0.1", 101),
    ],
)
@asynchronous
async def test_only_the_path_is_accepted_at_the_handshake(path: str, target: str, status: int) -> None:
    async with serving(make_router(), path=path) as app:
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


# Permissions and authentication


class Allow:
    @staticmethod
    def check(request: Any, handler: Any) -> bool:
        return True


class AllowLater:
    @staticmethod
    async def check(request: Any, handler: Any) -> bool:
        await asyncio.sleep(0)
        return True


class Deny:
    @staticmethod
    def check(request: Any, handler: Any) -> Any:
        return None


class DenyLater:
    @staticmethod
    async def check(request: Any, handler: Any) -> Any:
        await asyncio.sleep(0)
        return 0


class DenyLoudly:
    @staticmethod
    def check(request: Any, handler: Any) -> Any:
        raise PermissionDeniedException("only for members")


class DenyLoudlyLater:
    @staticmethod
    async def check(request: Any, handler: Any) -> Any:
        raise PermissionDeniedException("only for members")


class Trip:
    @staticmethod
    def check(request: Any, handler: Any) -> Any:
        raise KeyError("secret")


class TripLater:
    @staticmethod
    async def check(request: Any, handler: Any) -> Any:
        await asyncio.sleep(0)
        raise KeyError("secret")


@pytest.mark.parametrize(
    ("classes", "detail"),
    [
        ((), None),
        ((Allow,), None),
        ((Allow, AllowLater, Allow()), None),
        ((Deny,), DENIED),
        ((DenyLater,), DENIED),
        ((Allow, Deny), DENIED),
        ((Deny, Allow), DENIED),
        ((AllowLater, DenyLater), DENIED),
        ((DenyLoudly,), "only for members"),
        ((DenyLoudlyLater,), "only for members"),
        ((Trip,), DENIED),
        ((TripLater,), DENIED),
    ],
    ids=lambda value: "+".join(getattr(c, "__name__", "instance") for c in value) if isinstance(value, tuple) else None,
)
@asynchronous
async def test_permissions_are_checked_by_the_core(classes: tuple[Any, ...], detail: str | None) -> None:
    """S4: without any middleware. False denies, and so does whatever is raised."""
    calls: list[str] = []

    class View(MethodBasedView):
        permission_classes = classes

        def get(self, request: Any) -> str:
            calls.append("called")
            return "in"

    @endpoint("/function", "GET", permission_classes=classes)
    def function(request: Any) -> str:
        calls.append("called")
        return "in"

    router = SimpleRouter()
    router.register("/view", View, "GET")
    router.register_endpoint(function)
    async with serving(router) as app, await Client.connect(app) as client:
        for url in ("/view", "/function"):
            if detail is None:
                assert await client.ask(url=url, id=1) == {"id": 1, "status": 200, "data": "in"}
            else:
                assert await client.ask(url=url, id=1) == {"id": 1, "status": 403, "detail": detail}
                assert await client.ask(url=url) == {"detail": detail, "event_name": None}
    assert bool(calls) == (detail is None)


class User(NamedTuple):
    is_authenticated: Any


class Login:
    authenticates = True

    def __init__(self, user: Any = None) -> None:
        self.user = user

    def process_request(self, request: Any, handler: Any) -> None:
        request.user = self.user


def private_router() -> SimpleRouter:
    router = make_router()
    router.register_endpoint(endpoint("/private", "GET", auth_required=True)(lambda request: "secret"))
    return router


@pytest.mark.parametrize(
    ("user", "status"),
    [
        (None, 401),
        (User(False), 401),
        (User(lambda: False), 401),
        (object(), 401),
        (User(True), 200),
        (User(lambda: True), 200),
    ],
    ids=["None", "flag-false", "method-false", "no-flag", "flag-true", "method-true"],
)
@asynchronous
async def test_auth_required_wants_an_authenticated_user(user: Any, status: int) -> None:
    """S4."""
    async with serving(private_router(), middlewares=[Login(user)]) as app, await Client.connect(app) as client:
        reply = await client.ask(url="/private", id=1, user={"is_authenticated": True})
        assert reply["status"] == status
        if status == 401:
            assert reply == {"id": 1, "status": 401, "detail": "Authentication is required."}
        assert (await client.ask(url="/hello"))["data"] == "Hello, world!"


@pytest.mark.parametrize("middlewares", [[], [Stamp], [Stamp()]], ids=["none", "class", "instance"])
@asynchronous
async def test_auth_required_without_an_authenticating_middleware_is_an_error_at_start(middlewares: Any) -> None:
    """S4."""
    with pytest.raises(
        ImproperlyConfigured, match=r"view FunctionView at /private/ has auth_required, but no middleware"
    ):
        await Application(router=private_router(), middlewares=middlewares, port=0).start()


@asynchronous
async def test_auth_required_of_an_included_router_is_checked_at_start_too() -> None:
    router = SimpleRouter()
    router.include(private_router(), prefix="/v2")
    with pytest.raises(ImproperlyConfigured, match=r"/v2/private/ has auth_required"):
        await Application(router=router, port=0).start()


@asynchronous
async def test_auth_required_registered_after_start_is_still_enforced() -> None:
    router = make_router()
    async with serving(router) as app, await Client.connect(app) as client:
        router.register_endpoint(endpoint("/private", "GET", auth_required=True)(lambda request: "secret"))
        assert (await client.ask(url="/private", id=1))["status"] == 401


# Compression


class Deflated:
    """The client's side of permessage-deflate (RFC 7692)."""

    def __init__(self) -> None:
        self._out = zlib.compressobj(wbits=-15)
        self._in = zlib.decompressobj(wbits=-15)

    def compress(self, payload: bytes) -> bytes:
        return (self._out.compress(payload) + self._out.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def decompress(self, payload: bytes) -> bytes:
        return self._in.decompress(payload + b"\x00\x00\xff\xff")


@on_each_loop
@asynchronous
async def test_compress_negotiates_permessage_deflate(loop: str) -> None:
    router = make_router(long=lambda request: "x" * 100_000)
    async with serving(router, compress=True) as app:
        async with await Client.connect(app, headers=[("Sec-WebSocket-Extensions", "permessage-deflate")]) as client:
            assert client.headers["sec-websocket-extensions"] == "permessage-deflate"
            deflated = Deflated()
            for url, data in (("/hello", "Hello, world!"), ("/long", "x" * 100_000), ("/hello", "Hello, world!")):
                client.send(deflated.compress(dump({"method": "GET", "url": url})), compressed=True)
                reply = await client.receive()
                assert (reply.opcode, reply.compressed) == (TEXT, True)
                assert len(reply.payload) < 1000
                assert deflated.decompress(reply.payload) == dump({"data": data, "event_name": None})
            client.send(dump({"method": "GET", "url": "/hello"}))  # a client may send plain ones among them
            assert (
                deflated.decompress((await client.receive()).payload) == b'{"data":"Hello, world!","event_name":null}'
            )
        async with await Client.connect(app) as client:
            assert "sec-websocket-extensions" not in client.headers
            assert (await client.ask())["data"] == "Hello, world!"


@asynchronous
async def test_compression_is_off_by_default_and_can_be_decided() -> None:
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate")]
    async with serving(make_router()) as app, await Client.connect(app, headers=offer) as client:
        assert "sec-websocket-extensions" not in client.headers
        assert (await client.ask())["data"] == "Hello, world!"
    offers: list[Any] = []

    def decide(offered: list[Any]) -> Any:
        offers.extend(offered)

    async with (
        serving(make_router(), compress=True, accept_function=decide) as app,
        await Client.connect(app, headers=offer) as client,
    ):
        assert "sec-websocket-extensions" not in client.headers
    assert len(offers) == 1
    assert deflate_offer_accept(offers) is not None
    assert deflate_offer_accept([]) is None


@pytest.mark.parametrize(
    ("offered", "answered", "window"),
    [
        ("permessage-deflate", "permessage-deflate", 12),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits=12", 12),
        ("permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10", 10),
        ("permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15", 12),
        ("permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover", 12),
    ],
)
@asynchronous
async def test_windows_of_compression_are_small(offered: str, answered: str, window: int) -> None:
    headers = [("Sec-WebSocket-Extensions", offered)]
    async with serving(make_router(), compress=True) as app, await Client.connect(app, headers=headers) as client:
        assert client.headers["sec-websocket-extensions"] == answered
        connection = connection_of(app)
        assert connection._perMessageCompress.server_max_window_bits == window


@asynchronous
async def test_compressed_garbage_closes_1007() -> None:
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate")]
    async with serving(make_router(), compress=True) as app, await Client.connect(app, headers=offer) as client:
        client.send(b"\xff\xff\xff\xff", compressed=True)
        assert (await client.receive()).close_code == 1007


# TLS


@on_each_loop
@asynchronous
async def test_certificate_and_key_make_it_wss(loop: str, certificate: Certificate) -> None:
    router = make_router(long=lambda request: "x" * 300_000)
    options = {"certificate": certificate.path, "key": certificate.key}
    async with serving(router, **options) as app:
        assert app.isSecure
        async with await Client.connect(app, tls=client_context(certificate)) as client:
            version = client.writer.get_extra_info("ssl_object").version()
            assert version in ("TLSv1.2", "TLSv1.3")
            connection = connection_of(app)
            assert connection._socket == -1  # nothing goes past the encryption
            assert (await client.ask())["data"] == "Hello, world!"
            assert (await client.ask(url="/long", id=1))["data"] == "x" * 300_000
            assert (await client.leave()).close_code == 1000


@on_each_loop
@asynchronous
async def test_ssl_context_is_taken_as_it_is(loop: str, certificate: Certificate) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    async with serving(make_router(), ssl_context=context) as app:
        assert app.isSecure
        assert app.generate_url("h", 1) == "wss://h:1/"
        async with await Client.connect(app, tls=client_context(certificate)) as client:
            assert (await client.ask())["data"] == "Hello, world!"
            await client.leave()


def client_hello(version: int) -> bytes:
    """Give a ClientHello that offers nothing newer than `version` (RFC 5246 §7.4.1.2)."""
    ciphers = struct.pack("!4H", 0xC02B, 0xC009, 0xC00A, 0x002F)
    extensions = struct.pack("!5H", 10, 6, 4, 23, 24) + struct.pack("!HHBB", 11, 2, 1, 0)
    extensions += struct.pack("!6H", 13, 8, 6, 0x0403, 0x0804, 0x0203)
    body = struct.pack("!H", version) + os.urandom(32) + b"\0" + struct.pack("!H", len(ciphers)) + ciphers + b"\x01\0"
    body += struct.pack("!H", len(extensions)) + extensions
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(handshake)) + handshake


@on_each_loop
@pytest.mark.parametrize(
    ("version", "accepted"), [(0x0301, False), (0x0302, False), (0x0303, True)], ids=["TLS-1.0", "TLS-1.1", "TLS-1.2"]
)
@asynchronous
async def test_tls_is_at_least_1_2(loop: str, certificate: Certificate, version: int, accepted: bool) -> None:
    async with serving(make_router(), certificate=certificate.path, key=certificate.key) as app:
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        try:
            writer.write(client_hello(version))
            head = await asyncio.wait_for(reader.read(6), 5)
            # A ServerHello, an alert, or just the end: asyncio drops the connection with the alert still in its buffer.
            assert (head[:1] == b"\x16") == accepted
        finally:
            writer.close()
            await writer.wait_closed()


def test_default_context_states_its_minimum(certificate: Certificate) -> None:
    context = tls_context(certificate.path, certificate.key)
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("certificate_path", "key_path", "text"),
    [
        ("missing.pem", "KEY", r"cannot load certificate: no file '.*missing\.pem'"),
        ("CERT", "missing.pem", r"cannot load certificate: no file '.*missing\.pem'"),
        ("CERT", None, "certificate and key must be given together"),
        (None, "KEY", "certificate and key must be given together"),
        ("KEY", "CERT", "cannot load certificate .* with key "),
        ("EMPTY", "KEY", "cannot load certificate .* with key "),
    ],
)
@asynchronous
async def test_bad_certificate_is_one_line(
    certificate: Certificate, tmp_path: Path, certificate_path: str | None, key_path: str | None, text: str
) -> None:
    (tmp_path / "empty.pem").touch()
    paths: dict[str | None, str | None] = {
        None: None,
        "CERT": certificate.path,
        "KEY": certificate.key,
        "EMPTY": str(tmp_path / "empty.pem"),
        "missing.pem": str(tmp_path / "missing.pem"),
    }
    app = Application(router=make_router(), port=0, certificate=paths[certificate_path], key=paths[key_path])
    with pytest.raises(ImproperlyConfigured, match=text) as caught:
        await app.start()
    assert "\n" not in str(caught.value)


# The access log


@pytest.mark.parametrize("access_log", [False, True])
def test_access_log_has_a_line_per_request(access_log: bool, caplog: pytest.LogCaptureFixture) -> None:
    @asynchronous
    async def run() -> None:
        async with serving(make_router(), access_log=access_log) as app, await Client.connect(app) as client:
            await client.ask(args={})
            await client.ask(url="/nowhere", token="secret")
            client.send(b"{")
            await client.receive()

    with caplog.at_level("INFO", "aiorest_ws.access"):
        run()
    lines = [record.getMessage() for record in caplog.records if record.name == "aiorest_ws.access"]
    assert len(lines) == (3 if access_log else 0)
    if access_log:
        assert " GET /hello/ 200 " in lines[0]
        assert ' "GET" "/nowhere" 404 ' in lines[1]
        assert " - - 400 " in lines[2]
        assert "secret" not in "".join(lines)


# Programs: run(), in a process of its own

PROGRAM = """
from aiorest_ws import Application, MethodBasedView, SimpleRouter, endpoint
@endpoint("/hello", "GET")
def hello(request):
    return "Hello, world!"
router = SimpleRouter()
router.register_endpoint(hello)
class Private(MethodBasedView):
    auth_required = True
    def get(self, request):
        return "secret"
"""


def address_in(lines: list[str]) -> tuple[str, int]:
    """Give the address in the start-up lines."""
    (line,) = [line for line in lines if line.startswith("Server started at ")]
    host, _, port = line.partition("//")[2].partition("/")[0].rpartition(":")
    return host, int(port)


@pytest.mark.skipif(not on_posix, reason="no SIGINT to another process on Windows")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@on_each_loop
@asynchronous
async def test_signal_ends_run_with_code_0_and_says_nothing(loop: str, number: signal.Signals) -> None:
    source = PROGRAM + f"Application(router=router).run(port=0, loop={loop!r}, log_level='warn')"
    async with await Program.start(source, PYTHONASYNCIODEBUG="1") as program:
        async with await Client.connect(address_in(await program.started())) as client:
            assert (await client.ask())["data"] == "Hello, world!"
            program.signal(number)
            assert (await client.left()).close_code == 1001
        outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.skipif(not on_posix, reason="no SIGINT to another process on Windows")
@asynchronous
async def test_signal_without_connections_ends_at_once_and_the_program_goes_on() -> None:
    source = PROGRAM + "Application(router=router).run(port=0)\nprint('and on')"
    async with await Program.start(source) as program:
        await program.started()
        program.signal(signal.SIGINT)
        outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith("Quit the server with CONTROL-C.\nand on\n")


@pytest.mark.skipif(not on_posix, reason="no SIGINT to another process on Windows")
@asynchronous
async def test_run_may_be_called_again_after_it_ended() -> None:
    source = PROGRAM + "app = Application(router=router)\napp.run(port=0)\napp.run(port=0)\n"
    async with await Program.start(source) as program:
        for _ in range(2):
            async with await Client.connect(address_in(await program.started())) as client:
                assert (await client.ask())["data"] == "Hello, world!"
                await client.leave()
            program.signal(signal.SIGINT)
        outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.skipif(not on_posix, reason="no SIGINT to another process on Windows")
@asynchronous
async def test_signal_cancels_handlers_that_run() -> None:
    source = PROGRAM + (
        "import asyncio\n"
        "@endpoint('/wait', 'GET')\n"
        "async def wait(request):\n"
        "    print('waiting')\n"
        "    try:\n"
        "        await asyncio.Event().wait()\n"
        "    finally:\n"
        "        print('cancelled')\n"
        "router.register_endpoint(wait)\n"
        "Application(router=router).run(port=0, shutdown_timeout=0.1)\n"
    )
    async with await Program.start(source) as program:
        async with await Client.connect(address_in(await program.started())) as client:
            client.request(url="/wait")
            assert await program.line() == "waiting"
            program.signal(signal.SIGTERM)
            assert (await client.left()).close_code == 1001
        outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith("cancelled\n")


@pytest.mark.skipif(not on_posix, reason="no SIGINT to another process on Windows")
@asynchronous
async def test_start_up_lines_say_what_runs_and_where() -> None:
    source = PROGRAM + "Application(router=router).run(ip='127.0.0.1', port=0, path='api')"
    async with await Program.start(source) as program:
        date, version, hot_path, url, hint = await program.started()
        program.signal(signal.SIGINT)
        await program.end()
    datetime.strptime(date, "%d %b, %Y - %X")
    assert version == f"aiorest-ws version {aiorest_ws.__version__}"
    if aiorest_ws.COMPILED:
        assert hot_path == f"hot path: compiled (cpython {sys.version_info[0]}.{sys.version_info[1]})"
    else:
        assert hot_path.startswith("hot path: pure Python (")
    assert url.startswith("Server started at ws://127.0.0.1:")
    assert url.endswith("/api")
    assert not url.endswith(":0/api")
    assert hint == "Quit the server with CONTROL-C."


@asynchronous
async def test_start_up_lines_tell_why_the_hot_path_is_pure() -> None:
    source = PROGRAM + "app = Application(router=router); print(*app._banner(), sep='\\n')"
    outcome = await run_program(source, AIOREST_WS_NO_EXTENSIONS="1", AIOREST_WS_REQUIRE_EXTENSIONS="")
    assert "hot path: pure Python (AIOREST_WS_NO_EXTENSIONS is set)\n" in outcome.out


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def one_line(outcome: Outcome) -> str:
    """Give the only line on stderr of a program that could not start."""
    assert outcome.code == 1, outcome
    assert outcome.out == ""
    (line,) = outcome.err.splitlines()
    return line


@asynchronous
async def test_port_in_use_is_one_line(busy_port: int) -> None:
    outcome = await run_program(PROGRAM + f"Application(router=router).run(port={busy_port})")
    assert one_line(outcome) == f"aiorest-ws: cannot listen on 127.0.0.1:{busy_port}: address already in use"


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ("Application().run(port=0)", "aiorest-ws: Argument `router` must be defined for the Application."),
        (
            "Application(certificate='no/cert.pem', key='no/key.pem').run(port=0, router=router)",
            "aiorest-ws: cannot load certificate: no file 'no/cert.pem'",
        ),
        (
            "Application(certificate='cert.pem').run(port=0, router=router)",
            "aiorest-ws: certificate and key must be given together",
        ),
        (
            "router.register('/me', Private, 'GET'); Application(router=router).run(port=0)",
            "aiorest-ws: view Private at /me/ has auth_required, but no middleware of the application authenticates: ",
        ),
        (
            "import sys; sys.modules['uvloop'] = None\nApplication(router=router).run(port=0, loop='uvloop')",
            "aiorest-ws: loop='uvloop', but uvloop is not installed: pip install 'aiorest-ws[uvloop]'",
        ),
        (
            "Application(router=router).run(port=0, host='no-such-host.invalid')",
            "aiorest-ws: cannot listen on no-such-host.invalid:0: ",
        ),
        (
            "Application(router=router).run(port=0, unix_path='no/such/folder')",
            "aiorest-ws: cannot listen on no/such/folder: no such file or directory",
        ),
    ],
    ids=["router", "certificate", "key", "authentication", "uvloop", "host", "unix-path"],
)
@asynchronous
async def test_what_keeps_run_from_starting_is_one_line(call: str, line: str) -> None:
    assert one_line(await run_program(PROGRAM + call)).startswith(line)


@pytest.mark.skipif(not on_posix, reason="no SIGINT to another process on Windows")
@asynchronous
async def test_loop_auto_takes_uvloop_where_it_is_installed() -> None:
    source = PROGRAM + (
        "import asyncio\n"
        "@endpoint('/loop', 'GET')\n"
        "def loop(request):\n"
        "    return type(asyncio.get_running_loop()).__module__.partition('.')[0]\n"
        "router.register_endpoint(loop)\n"
    )
    expected = {"auto": "uvloop" if find_spec("uvloop") else "asyncio", "asyncio": "asyncio"}
    for name, module in expected.items():
        async with await Program.start(source + f"Application(router=router).run(port=0, loop={name!r})") as program:
            async with await Client.connect(address_in(await program.started())) as client:
                assert (await client.ask(url="/loop"))["data"] == module
                await client.leave()
            program.signal(signal.SIGINT)
            assert (await program.end()).code == 0


@pytest.mark.skipif(not on_posix, reason="no SIGINT to another process on Windows")
@asynchronous
async def test_failed_handler_shows_in_a_program_that_sets_up_no_logging() -> None:
    source = PROGRAM + (
        "router.register_endpoint(endpoint('/boom', 'GET')(lambda request: {}['secret']))\n"
        "Application(router=router).run(port=0)\n"
    )
    async with await Program.start(source) as program:
        async with await Client.connect(address_in(await program.started())) as client:
            assert (await client.ask(url="/boom"))["detail"] == FAILED
            await client.leave()
        program.signal(signal.SIGINT)
        outcome = await program.end()
    assert outcome.code == 0
    assert outcome.err.count("'GET' '/boom' failed: KeyError") == 1
    assert outcome.err.count("KeyError: 'secret'") == 1


@asynchronous
async def test_application_closes_its_server_when_nobody_is_connected() -> None:
    app = Application(router=make_router(), port=0)
    await app.start()
    server = app._server
    await app.stop()
    await turn_over()
    assert server is not None
    assert not server.is_serving()
