"""The scope `websocket`, driven by hand: what the server says in, what it is told out."""

from __future__ import annotations

import asyncio
import json
import logging
from contextvars import ContextVar
from typing import Any

import pytest

from aiorest_ws import Application, RequestHandlerProtocol, SimpleRouter
from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.metrics import Metrics
from tests.kit.asgi import ByHand
from tests.serving import asynchronous, make_router, turn_over, until

HOST = (b"host", b"testserver")


def app_of(**options: Any) -> Application:
    return Application(make_router(), **options)


# The handshake


@pytest.mark.parametrize("kind", ["text", "bytes"])
@asynchronous
async def test_request_is_answered_in_its_form(kind: str) -> None:
    async with ByHand().serving(app_of().asgi(), accepts=False) as server:
        assert await server.told() == {"type": "websocket.accept", "subprotocol": None, "headers": []}
        request = json.dumps({"method": "GET", "url": "/hello", "id": 1})
        server.say("websocket.receive", **{kind: request if kind == "text" else request.encode()})
        said = await server.told()
        assert json.loads(said[kind])["data"] == "Hello, world!"


@pytest.mark.parametrize(
    ("path", "scope", "option"),
    [
        ("/", {}, None),
        ("/ws", {}, "/ws"),
        ("/v1/ws", {"root_path": "/v1"}, "/ws"),  # mounted
        ("/v1/ws", {"root_path": "/v1"}, "/v1/ws"),  # the path of the whole server
        ("/v1", {"root_path": "/v1"}, None),
        ("/v1/", {"root_path": "/v1"}, None),
        ("/v1/ws", {"root_path": "/v1/"}, "/ws"),
        ("/ws", {"root_path": "/v1"}, "/ws"),  # a server that does not put it before the path
        ("/a b/ws", {"root_path": "/a b", "raw_path": b"/a%20b/ws"}, "/ws"),
        ("/v1/ws", {"root_path": "/v1", "raw_path": b"/v1/ws?x=1"}, "/ws"),
        ("/ws", {"root_path": "", "raw_path": b"/v1/ws"}, "/ws"),  # somebody has changed it
    ],
)
@asynchronous
async def test_path(path: str, scope: dict[str, Any], option: str | None) -> None:
    async with ByHand(path, **scope).serving(app_of().asgi(path=option)):
        pass


@pytest.mark.parametrize(
    ("path", "scope", "option"),
    [
        ("/other", {}, None),
        ("/v1ws", {"root_path": "/v1"}, "/ws"),
        ("/v1/ws", {"root_path": "", "raw_path": b"/v1%2Fws"}, "/v1/ws"),  # one step, not two
        ("/v1/a/ws", {"root_path": "/v1", "raw_path": b"/v1/a%2Fws"}, "/a/ws"),
        ("/ws\n", {}, "/ws"),
    ],
)
@asynchronous
async def test_path_that_is_not_served(path: str, scope: dict[str, Any], option: str | None) -> None:
    server = ByHand(path, extensions={"websocket.http.response": {}}, **scope)
    async with server.serving(app_of().asgi(path=option), accepts=False):
        assert (await server.told())["status"] == 404


@asynchronous
async def test_first_that_comes_for_another_path_says_how_to_serve_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    app = app_of()
    async with app.asgi():
        for path in ("/live/ws", "/", "/other"):
            server = ByHand(path, root_path="/live" if path == "/live/ws" else "")
            server.begin(app)
            await server.told()
            server.say("websocket.disconnect")
            await server.over()
    (said,) = caplog.messages
    assert said.startswith("a WebSocket has come for '/live/ws', and the path that is served is '/': ")
    assert said.endswith("app.asgi(path='/live/ws') serves the other")


@asynchronous
async def test_query_headers_client_and_scope_are_those_of_the_connection() -> None:
    seen: dict[str, Any] = {}

    def look(connection: Any) -> None:
        seen.update(peer=connection.peer, query=connection.query, cookies=connection.cookies, path=connection.path)
        seen.update(state=connection.scope["state"], header=connection.headers["x-a"])

    server = ByHand(
        headers=[HOST, (b"cookie", b"a=1"), (b"X-A", b"b")],
        query_string=b"token=%20x",
        state={"db": 1},
        client=("::1", 7),
    )
    async with server.serving(app_of(on_connect=look).asgi()):
        pass
    assert seen == {
        "peer": "tcp6:::1:7",
        "query": {"token": " x"},
        "cookies": {"a": "1"},
        "path": "/",
        "state": {"db": 1},
        "header": "b",
    }


@pytest.mark.parametrize("server", [None, ("::1", 80), ("example.com", None), ["/run/x.sock", None]])
@asynchronous
async def test_server_that_gives_no_host_and_no_client(server: Any) -> None:
    async with ByHand(headers=[], client=None, server=server).serving(app_of().asgi()):
        pass


@asynchronous
async def test_subprotocol_is_agreed_on() -> None:
    headers = [HOST, (b"sec-websocket-protocol", b"a, b")]
    for by_hand in (ByHand(headers=headers), ByHand(subprotocols=["a", "b"])):
        async with by_hand.serving(app_of(subprotocols=["b"]).asgi(), accepts=False) as server:
            assert (await server.told())["subprotocol"] == "b"


def _refusing(connection: Any) -> None:
    raise ConnectionRefused(503)


@pytest.mark.parametrize("can_answer", [True, False])
@pytest.mark.parametrize(
    ("headers", "options", "status"),
    [
        ([HOST, (b"origin", b"https://evil.example")], {}, 403),
        ([HOST, (b"x-a", b"1\r\nOrigin: http://testserver")], {}, 400),
        ([HOST, (b"x-a", b"\xff\x00")], {}, 400),
        ([HOST, HOST], {}, 400),
        ([HOST, *((b"x-%d" % n, b"") for n in range(300))], {}, 431),
        ([HOST, (b"x", b"y" * 20_000)], {}, 431),
        ([(b"host", b"else.example")], {"allowed_hosts": ["testserver"]}, 403),
        ([HOST], {"on_connect": _refusing}, 503),
    ],
)
@asynchronous
async def test_refusal(headers: Any, options: dict[str, Any], status: int, can_answer: bool) -> None:
    extensions: Any = {"websocket.http.response": {}} if can_answer else None
    async with ByHand(headers=headers, extensions=extensions).serving(
        app_of(**options).asgi(), accepts=False
    ) as server:
        said = await server.told()
        if can_answer:
            assert (said["type"], said["status"]) == ("websocket.http.response.start", status)
            assert not {b"connection", b"content-length"} & {name for name, _ in said["headers"]}
            assert (await server.told())["type"] == "websocket.http.response.body"
        else:
            assert said == {"type": "websocket.close", "code": 1000}
    assert server.from_app.empty()


@pytest.mark.parametrize("headers", [(), (("Content-Type", "text/x"),)])
@asynchronous
async def test_reason_of_a_refusal_is_its_body(headers: Any) -> None:
    def refusing(connection: Any) -> None:
        raise ConnectionRefused(401, "token required", headers=headers)

    app = app_of(on_connect=refusing)
    async with ByHand(extensions={"websocket.http.response": {}}).serving(app.asgi(), accepts=False) as server:
        kinds = [value for name, value in (await server.told())["headers"] if name == b"content-type"]
        assert kinds == [b"text/x" if headers else b"text/plain; charset=utf-8"]
        assert (await server.told())["body"] == b"token required\n"


@asynchronous
async def test_client_that_leaves_while_it_is_decided() -> None:
    ended: list[str] = []

    async def decide(connection: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("decision")

    server = ByHand()
    app = app_of(on_connect=decide)
    async with server.serving(app.asgi(), accepts=False):
        await turn_over()
        server.ask()  # before its time
    await turn_over()
    assert ended == ["decision"]
    assert server.from_app.empty()


@asynchronous
async def test_messages_that_come_while_it_is_decided_are_answered_then() -> None:
    decided = asyncio.Event()

    async def decide(connection: Any) -> None:
        await decided.wait()

    server = ByHand()
    async with server.serving(app_of(on_connect=decide).asgi(), accepts=False):
        for number in range(3):
            server.ask(f"/n/{number}")
        await turn_over(20)
        assert server.from_app.empty()
        decided.set()
        assert (await server.told())["type"] == "websocket.accept"
        assert [(await server.reply())["data"] for _ in range(3)] == [0, 1, 2]


@asynchronous
async def test_last_request_of_a_client_that_leaves_at_once_is_served() -> None:
    served: list[int] = []
    app = Application(make_router(note=lambda request: served.append(1)))
    async with ByHand().serving(app.asgi()) as server:
        for _ in range(300):
            server.ask("/note")
    assert len(served) == 300


# Limits


@asynchronous
async def test_message_too_big_closes_with_1009() -> None:
    async with ByHand().serving(app_of(max_message_size=100).asgi()) as server:
        server.say("websocket.receive", text="x" * 101)
        said = await server.told()
        assert (said["type"], said["code"]) == ("websocket.close", 1009)


@asynchronous
async def test_half_a_surrogate_closes_with_1007() -> None:
    async with ByHand().serving(app_of().asgi()) as server:
        server.say("websocket.receive", text="\ud800")
        assert (await server.told())["code"] == 1007


@asynchronous
async def test_no_more_run_at_a_time_than_may() -> None:
    running, let_go = [0, 0], asyncio.Event()

    async def wait(request: Any) -> None:
        running[0] += 1
        running[1] = max(running)
        await let_go.wait()
        running[0] -= 1

    app = Application(make_router(wait=wait), max_concurrency=2)
    async with ByHand().serving(app.asgi()) as server:
        for number in range(6):
            server.ask("/wait", id=number)
        await turn_over(20)
        assert running == [2, 2]
        let_go.set()
        assert {(await server.reply())["id"] for _ in range(6)} == set(range(6))
    assert running == [0, 2]


@asynchronous
async def test_client_that_leaves_is_seen_behind_what_waits_its_turn() -> None:
    ended: list[str] = []

    async def wait(request: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("handler")

    app = Application(make_router(wait=wait), max_concurrency=1)
    async with ByHand().serving(app.asgi()) as server:
        for number in range(5):
            server.ask("/wait", id=number)
        await turn_over(20)
    await turn_over()
    assert ended == ["handler"]


@asynchronous
async def test_flood_is_held_up() -> None:
    let_go = asyncio.Event()

    async def wait(request: Any) -> None:
        await let_go.wait()

    app = Application(make_router(wait=wait), max_concurrency=1)
    async with ByHand().serving(app.asgi()) as server:
        server.ask("/wait", id=0)
        await turn_over()
        for number in range(1, 100):
            server.ask("/wait", id=number, data="x" * 10_000)
        await turn_over(200)
        assert server.to_app.qsize() > 80
        let_go.set()
        assert [(await server.reply())["id"] for _ in range(100)] == list(range(100))


@asynchronous
async def test_server_that_takes_nothing_holds_its_client_up() -> None:
    sending = asyncio.Event()
    asked = 0

    def big(request: Any) -> str:
        nonlocal asked
        asked += 1
        return "é" * 10_000

    server = ByHand()
    async with server.serving(Application(make_router(big=big)).asgi()):
        take = server.send

        async def slow(message: dict[str, Any]) -> None:
            await sending.wait()
            await take(message)

        server.send = slow
        for number in range(50):
            server.ask("/big", id=number)
        await turn_over(200)
        assert asked < 10
        sending.set()
        assert [(await server.reply())["id"] for _ in range(50)] == list(range(50))


@asynchronous
async def test_client_that_does_not_read_is_dropped() -> None:
    ended: list[Any] = []
    app = Application(
        make_router(big=lambda request: "x" * 100_000),
        send_timeout=0.05,
        on_disconnect=lambda connection, code, reason: ended.append(code),
    )
    server = ByHand()
    server.begin(app.asgi())
    assert (await server.told())["type"] == "websocket.accept"
    server.send = lambda message: asyncio.Event().wait()
    server.ask("/big")
    await server.over()
    await until(lambda: bool(ended))
    assert ended == [1008]


@asynchronous
async def test_client_that_is_silent_is_the_servers_to_ping() -> None:
    looks = 0
    app = app_of(ping_interval=0.02, ping_timeout=0.02)
    async with ByHand().serving(app.asgi()) as server:
        (connection,) = app._factories.copy().pop().connections
        ping = connection._ping

        def counted() -> None:
            nonlocal looks
            looks += 1
            ping()

        vars(connection)["_ping"] = counted
        await until(lambda: looks > 3)
        server.ask()
        assert (await server.reply())["data"] == "Hello, world!"
        assert connection._octets_on_wire < 100


@asynchronous
async def test_client_that_asks_is_not_idle_one_that_does_not_is() -> None:
    app = app_of(idle_timeout=0.1)
    async with ByHand().serving(app.asgi()) as server:
        (connection,) = app._factories.copy().pop().connections
        server.ask()
        await server.reply()
        assert connection._messages == 1
        assert (await server.told())["code"] == 1001


@asynchronous
async def test_metrics_count_messages_and_bytes() -> None:
    metrics = Metrics()
    app = app_of()
    asgi = app.asgi()
    life = await asgi.start()
    life.factory.metrics = metrics
    async with ByHand().serving(asgi) as server:
        request = json.dumps({"method": "GET", "url": "/hello"})
        server.say("websocket.receive", text=request)
        said = await server.told()
        (connection,) = life.factory.connections
        stats = connection.trafficStats
        assert stats.incomingOctetsAppLevel == len(request)
        assert stats.incomingWebSocketMessages == stats.outgoingWebSocketMessages == 1
        assert stats.outgoingOctetsAppLevel == len(said["text"])


# What users override


class Shouting(RequestHandlerProtocol):
    def sendMessage(self, payload: bytes, isBinary: bool = False, *args: Any, **kwargs: Any) -> None:
        super().sendMessage(payload.upper(), isBinary, *args, **kwargs)

    def onOpen(self) -> None:
        self.sendMessage(b"welcome")
        self.sendPing()
        with pytest.raises(RuntimeError, match="use sendMessage"):
            self.sendFrame(opcode=1)


@asynchronous
async def test_overrides_of_a_protocol_come_first() -> None:
    async with ByHand().serving(app_of(protocol=Shouting).asgi()) as server:
        assert (await server.told())["text"] == "WELCOME"
        server.ask()
        assert '"DATA":"HELLO, WORLD!"' in (await server.told())["text"]


@asynchronous
async def test_overrides_of_messages_are_called() -> None:
    class Echo(RequestHandlerProtocol):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload, isBinary)

    asgi = app_of(protocol=Echo).asgi()
    async with ByHand().serving(asgi) as server:
        server.say("websocket.receive", text="é")
        server.say("websocket.receive", bytes=bytearray(b"\xff"))
        assert (await server.told())["text"] == "é"
        assert (await server.told())["bytes"] == b"\xff"
        http = ByHand("/hello", type="http", method="GET", begins=False)
        http.begin(asgi)
        assert (await http.told())["status"] == 501  # which would pass by its onMessage
        assert b"Echo has an onMessage of its own" in (await http.told())["body"]
        await http.over()


@asynchronous
async def test_events_and_early_messages() -> None:
    app = app_of(on_connect=lambda connection: connection.send_event("soon", 1))
    router = app._options["router"]
    router.register("/push", lambda request: request.connection.send_event("now", 2), "GET")
    async with ByHand().serving(app.asgi()) as server:
        assert await server.reply() == {"event_name": "soon", "data": 1}
        server.ask("/push")
        assert await server.reply() == {"event_name": "now", "data": 2}
        assert (await server.reply())["data"] is True


@asynchronous
async def test_close_of_ours_is_said_once_behind_what_was_sent() -> None:
    closed: list[Any] = []
    app = app_of(on_disconnect=lambda connection, code, reason: closed.append((code, reason)))

    def bye(request: Any) -> None:
        request.connection.send_event("bye")
        request.connection.close(4000, "enough")
        request.connection.close(4001)

    app._options["router"].register("/bye", bye, "GET")
    server = ByHand()
    server.begin(app.asgi())
    await server.told()
    server.ask("/bye")
    server.ask("/hello")
    assert (await server.reply())["event_name"] == "bye"
    assert await server.told() == {"type": "websocket.close", "code": 4000, "reason": "enough"}
    await server.over()
    assert server.from_app.empty()
    assert closed == [(4000, "enough")]


# Contexts

request_id: ContextVar[str] = ContextVar("request_id", default="-")
tenant: ContextVar[str] = ContextVar("tenant", default="-")


@asynchronous
async def test_handlers_see_what_the_host_set_and_what_the_lifespan_set() -> None:
    router = SimpleRouter()
    router.register("/ids", lambda request: [request_id.get(), tenant.get()], "GET")
    app = Application(router, on_startup=[lambda _: tenant.set("t")])
    asgi = app.asgi()

    async def host(scope: Any, receive: Any, send: Any) -> None:
        request_id.set(scope["path_id"])
        await asgi(scope, receive, send)

    for name in ("a", "b"):
        server = ByHand(path_id=name)
        server.begin(host)
        assert (await server.told())["type"] == "websocket.accept"
        server.ask("/ids")
        assert (await server.reply())["data"] == [name, "t"]
        server.say("websocket.disconnect", code=1000)
        await server.over()
        server = ByHand("/ids", begins=False, path_id=name)
        server.scope |= {"type": "http", "method": "GET", "http_version": "1.1"}
        server.begin(host)
        assert [(await server.told()).get(part) for part in ("status", "body")] == [
            200,
            json.dumps([name, "t"]).replace(" ", "").encode(),
        ]
        await server.over()
    await asgi.stop()
