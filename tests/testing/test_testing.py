"""The test clients: everything that a server runs but its sockets."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import sha1
from importlib.metadata import entry_points
from typing import Any

import msgspec
import pytest

from aiorest_ws import (
    Application,
    MethodBasedView,
    Request,
    RequestHandlerFactory,
    RequestHandlerProtocol,
    SimpleRouter,
    endpoint,
)
from aiorest_ws.exceptions import ConnectionRefused, ImproperlyConfigured, RouterNotDefined
from aiorest_ws.renderers import JSONRenderer, XMLRenderer
from aiorest_ws.testing import AsyncTestClient, ConnectionClosed, Event, HandshakeRefused, TestClient
from aiorest_ws.testing.transport import MemoryTransport
from aiorest_ws.testing.wire import BINARY, Frame, Wire
from aiorest_ws.wrappers import BINARY_MSGPACK
from tests.serving import LOOPS, asynchronous, make_router, run_program

VERBS = ("get", "post", "put", "patch", "delete", "head", "options", "trace")
FORMS = ("text", "text-base64", "binary", "binary-base64")
SHORT = 0.01  # seconds until a client gives up on what never comes


class Echo(MethodBasedView):
    """Says what reached it."""

    renderers = (JSONRenderer, XMLRenderer)

    def _say(self, request: Request, name: str, **args: Any) -> Any:
        return {"verb": request.method, "name": name, "args": args, "data": request.data, "form": request.form}

    get = post = put = patch = delete = head = options = trace = _say


class Never(MethodBasedView):
    """Waits until it is cancelled, and notes that it was."""

    async def get(self, request: Request) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            request.connection.factory.router.cancelled.append(request.url)


class Router(SimpleRouter):
    """A router that the tests' handlers can leave notes at."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled: list[str] = []
        self.register("/echo/{name}", Echo, [verb.upper() for verb in VERBS])
        self.register("/never", Never, "GET")
        for function in (news, bye, drop, whoami, plain):
            self.register_endpoint(function)


@endpoint("/news", "POST")
async def news(request: Request) -> int:
    listeners = request.connection.factory.connections
    for connection in listeners:
        connection.send_event("news", request.data)
    return len(listeners)


@endpoint("/bye", "GET")
def bye(request: Request) -> None:
    request.connection.close(4001, "enough")


@endpoint("/drop", "GET")
def drop(request: Request) -> None:
    request.connection.transport.abort()


@endpoint("/whoami", "GET")
def whoami(request: Request) -> Any:
    connection = request.connection
    return {
        "path": connection.path,
        "query": connection.query,
        "cookies": connection.cookies,
        "peer": connection.peer,
        "protocol": connection.subprotocol,
        "headers": connection.headers,
    }


@endpoint("/plain", "GET")
def plain(request: Request) -> Any:
    return {"token": request.extra.get("token"), "session": request.connection.session}


def application(**options: Any) -> Application:
    return Application(router=Router(), **options)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(application()) as client:
        yield client


# Requests


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_reaches_its_method(verb: str, client: TestClient) -> None:
    reply = getattr(client, verb)("/echo/ada", args={"a": 1}, data=[2])
    assert (reply.status, reply.ok, reply.detail) == (200, True, None)
    assert reply.data == {"verb": verb.upper(), "name": "ada", "args": {"a": 1}, "data": [2], "form": 0}


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_each_verb_reaches_its_method_in_the_loop_of_the_test(loop: str) -> None:
    async with AsyncTestClient(application()) as client:
        for verb in VERBS:
            reply = await getattr(client, verb)("/echo/ada", args={"a": 1}, data=[2])
            assert reply.data == {"verb": verb.upper(), "name": "ada", "args": {"a": 1}, "data": [2], "form": 0}


@pytest.mark.parametrize("form", FORMS)
def test_request_goes_in_the_form_that_is_asked_for(form: str, client: TestClient) -> None:
    assert client.get("/echo/ada", form=form).data["form"] == FORMS.index(form)
    with client.connect(form=form) as other:
        assert other.get("/echo/ada").data["form"] == FORMS.index(form)
        assert other.get("/nowhere").status == 404


def test_unknown_form_is_refused(client: TestClient) -> None:
    with pytest.raises(ValueError, match=r"^form must be one of 'text', .*, got 'xml'$"):
        client.get("/echo/ada", form="xml")
    with pytest.raises(ValueError, match=r"^form must be one of"):
        TestClient(application(), form="xml")


def test_refusal_has_status_and_detail(client: TestClient) -> None:
    reply = client.get("/nowhere", event_name="lost")
    assert (reply.status, reply.ok, reply.data, reply.event_name) == (404, False, None, "lost")
    assert reply.detail == "no route /nowhere"
    assert client.request("BREW", "/echo/ada").status == 405


def test_further_keys_reach_the_request(client: TestClient) -> None:
    assert client.get("/plain", token="t-1").data["token"] == "t-1"


def test_request_without_an_id_has_a_reply_without_a_status(client: TestClient) -> None:
    good, bad = client.get("/echo/ada", id=None), client.get("/nowhere", id=None)
    assert (good.status, good.id, good.ok, good.raw[:8]) == (None, None, True, b'{"data":')
    assert (bad.status, bad.id, bad.ok) == (None, None, False)


@pytest.mark.parametrize("request_id", ["", "x" * 256, 0, -(1 << 63), (1 << 64) - 1])
def test_id_of_the_test_comes_back(request_id: Any, client: TestClient) -> None:
    assert client.get("/echo/ada", id=request_id).id == request_id


@pytest.mark.parametrize("request_id", ["x" * 257, True, 1.5, [1], 1 << 64])
def test_id_that_is_none_gets_the_servers_refusal(request_id: Any, client: TestClient) -> None:
    reply = client.get("/echo/ada", id=request_id)
    assert (reply.ok, reply.status, reply.id) == (False, None, None)
    assert reply.detail.startswith("`id` must be")


def test_reply_that_is_no_json_is_text(client: TestClient) -> None:
    for form in FORMS:
        reply = client.get("/echo/ada", args={"format": "xml"}, form=form)
        assert reply.data.startswith('<?xml version="1.0"')
        assert reply.raw.decode() == reply.data


def test_messagepack_goes_both_ways(client: TestClient) -> None:
    sent = [b"\0\xff", datetime(2024, 2, 29, 12, 0, 0, 5, tzinfo=UTC), "é", None]
    with client.connect(form="msgpack") as other:
        reply = other.post("/echo/ada", data=sent, args={"a": 1}, event_name=b"e")
        assert (reply.ok, reply.status, reply.event_name) == (True, 200, b"e")
        assert reply.data == {"verb": "POST", "name": "ada", "args": {"a": 1}, "data": sent, "form": BINARY_MSGPACK}
        assert reply.raw[0] == 0x84
        lost = other.get("/nowhere")
        assert (lost.ok, lost.status) == (False, 404)
        other.send(b"\x81")
        assert other.receive() == msgspec.msgpack.encode(
            {"detail": "request is not valid MessagePack: it ends too early", "event_name": None}
        )
        assert other.get("/echo/ada", args={"format": "xml"}).data.startswith("<?xml")


def test_large_messages_pass(client: TestClient) -> None:
    for size in (125, 126, 65535, 65536, 900_000):
        assert client.post("/echo/ada", data="x" * size).data["data"] == "x" * size


def test_limits_hold_as_they_do_in_production() -> None:
    with TestClient(application(max_message_size=100)) as client:
        with pytest.raises(ConnectionClosed, match=r"^connection closed with 1009 .*, expected a reply to POST /echo"):
            client.post("/echo/ada", data="x" * 100)
        assert client.close_code == 1009


@asynchronous
async def test_requests_with_ids_run_concurrently() -> None:
    router = Router()
    gate = asyncio.Event()

    @endpoint("/wait", "GET")
    async def wait(request: Request) -> str:
        await gate.wait()
        return "waited"

    @endpoint("/open", "GET")
    async def open_(request: Request) -> None:
        gate.set()

    router.register_endpoint(wait)
    router.register_endpoint(open_)
    async with AsyncTestClient(Application(router=router)) as client:
        waited, opened = await asyncio.gather(client.get("/wait"), client.get("/open"))
        assert (waited.data, waited.id, opened.id) == ("waited", 1, 2)


@asynchronous
async def test_two_requests_with_one_id_cannot_wait_at_once() -> None:
    async with AsyncTestClient(application()) as client:
        waiting = asyncio.ensure_future(client.get("/never", id=7))
        await client.get("/echo/ada")
        with pytest.raises(ValueError, match=r"^id 7 is that of a request which waits for its reply$"):
            await client.get("/echo/ada", id=7)
        await client.close()
        with pytest.raises(ConnectionClosed, match=r"^connection closed with 1000, expected a reply to GET /never$"):
            await waiting


# Time


def test_handler_that_never_answers_is_a_timeout_that_says_of_what() -> None:
    app = application()
    with TestClient(app) as client:
        with pytest.raises(TimeoutError, match=r"^expected a reply to GET /never, got none within 0\.01 s$"):
            client.get("/never", timeout=SHORT)
        assert client.get("/echo/ada").ok
    assert app._options["router"].cancelled == ["/never"]


def test_late_reply_is_not_taken_for_the_next_one() -> None:
    router = Router()
    gate = asyncio.Event()

    @endpoint("/late", "GET")
    async def late(request: Request) -> str:
        await gate.wait()
        return "late"

    router.register_endpoint(late)
    with TestClient(Application(router=router)) as client:
        with pytest.raises(TimeoutError):
            client.get("/late", id=None, timeout=SHORT)
        gate.set()
        assert client.get("/echo/ada", id=None).data["name"] == "ada"
        assert client.events() == []


def test_server_that_reads_nothing_more_is_left_all_the_same() -> None:
    app = application(max_concurrency=1)
    with TestClient(app, timeout=SHORT) as client, pytest.raises(TimeoutError):
        client.get("/never")
    assert app._options["router"].cancelled == ["/never"]


# Pushes, and messages that are no requests


def test_events_are_kept_for_who_asks(client: TestClient) -> None:
    with client.connect() as other:
        assert client.post("/news", data="rain").data == 2
        assert client.post("/news", data="sun").ok
        assert other.receive_event() == Event("news", "rain")
        assert other.receive_event() == Event("news", "sun")
    assert client.events() == [Event("news", "rain"), Event("news", "sun")]
    assert client.events() == []


def test_event_of_the_server_from_outside_a_handler(client: TestClient) -> None:
    client.connection.send_event("hello", {"a": 1})
    assert client.receive_event() == Event("hello", {"a": 1})


@asynchronous
async def test_events_reach_who_waits_for_them() -> None:
    async with AsyncTestClient(application()) as client, client.connect() as other:
        waiting = asyncio.ensure_future(other.receive_event())
        await client.post("/news", data="rain", form="binary-base64")
        assert await waiting == Event("news", "rain")


def test_no_event_is_a_timeout(client: TestClient) -> None:
    with pytest.raises(TimeoutError, match=r"^expected an event, got none within 0\.01 s$"):
        client.receive_event(timeout=SHORT)


def test_malformed_messages_can_be_sent_and_their_replies_received(client: TestClient) -> None:
    client.send("[")
    received = client.receive()
    assert isinstance(received, str)
    assert json.loads(received)["detail"].startswith("request is not valid JSON")
    client.send(b"\x00")
    assert isinstance(client.receive(), bytes)
    client.send("[]")
    with pytest.raises(ValueError, match=r"^expected an event, got b'\{\"detail\":"):
        client.receive_event()


# The handshake


def test_handshake_is_as_the_test_says() -> None:
    app = application(path="/api", subprotocols=["v2", "v1"], allowed_origins=["https://example.com"])
    handshake: dict[str, Any] = {
        "query": {"token": "a b", "n": 1},
        "headers": {"X-Trace": "é"},
        "cookies": {"a": "1", "b": "2"},
        "subprotocols": ["v1", "v3"],
        "origin": "https://example.com",
        "peer": ("203.0.113.7", 1234),
    }
    with TestClient(app, **handshake) as client:
        told = client.get("/whoami").data
        assert (told["path"], told["query"]) == ("/api", {"token": "a b", "n": "1"})
        assert told["cookies"] == {"a": "1", "b": "2"}
        assert told["peer"] == "tcp4:203.0.113.7:1234"
        assert told["protocol"] == client.subprotocol == "v1"
        assert told["headers"]["x-trace"] == "é"
        assert told["headers"]["host"] == "testserver"
        assert client.response_headers["upgrade"] == "WebSocket"


def test_headers_may_be_pairs_and_bring_the_host() -> None:
    with TestClient(application(), "/?a=1", query={"b": 2}, headers=[("Host", "a.example"), ("X", "1")]) as client:
        told = client.get("/whoami").data
        assert (told["headers"]["host"], told["headers"]["x"]) == ("a.example", "1")
        assert told["query"] == {"a": "1", "b": "2"}


def test_refusal_of_on_connect_raises_with_its_status() -> None:
    def nobody(connection: Any) -> None:
        raise ConnectionRefused(401, "token required", headers=[("WWW-Authenticate", "Bearer")])

    with pytest.raises(HandshakeRefused, match=r"^handshake refused: 401 token required$") as refused:
        TestClient(application(on_connect=nobody)).__enter__()
    assert (refused.value.status, refused.value.reason) == (401, "token required")
    assert refused.value.headers["www-authenticate"] == "Bearer"


@asynchronous
async def test_refusals_of_the_server_raise_with_their_status() -> None:
    refusals: list[tuple[int, dict[str, Any], dict[str, Any]]] = [
        (403, {}, {"origin": "https://elsewhere.example"}),
        (404, {}, {"path": "/elsewhere"}),
        (431, {"max_headers": 5}, {"cookies": {"a": "1"}, "headers": {"X": "1"}}),
        (403, {"on_connect": lambda connection: False}, {}),
        (400, {}, {"headers": {"Transfer-Encoding": "chunked"}}),
    ]
    for status, options, handshake in refusals:
        with pytest.raises(HandshakeRefused) as refused:
            async with AsyncTestClient(application(**options), **handshake):
                raise AssertionError("it must not connect")
        assert refused.value.status == status


def test_client_beyond_the_limit_of_connections_is_refused() -> None:
    with TestClient(application(max_connections=1)) as client, pytest.raises(HandshakeRefused) as refused:
        client.connect().__enter__()
    assert refused.value.status == 503


def test_refused_client_leaves_the_others_connected(client: TestClient) -> None:
    with pytest.raises(HandshakeRefused), client.connect("/elsewhere"):
        raise AssertionError("it must not connect")
    assert client.get("/echo/ada").ok
    assert len(client.connection.factory.connections) == 1


def test_on_connect_may_take_its_time_and_leave_a_session() -> None:
    async def welcome(connection: Any) -> None:
        await asyncio.sleep(0)
        connection.session["user"] = connection.query["user"]

    with TestClient(application(on_connect=welcome), query={"user": "ada"}) as client:
        assert client.get("/plain").data["session"] == {"user": "ada"}
        assert client.connection.session == {"user": "ada"}


def test_on_connect_that_never_decides_is_a_timeout() -> None:
    async def welcome(connection: Any) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match=r"^expected an answer to the handshake, got none within 0\.01 s$"):
        TestClient(application(on_connect=welcome), timeout=SHORT).__enter__()


# The end


def test_close_of_the_server_is_told(client: TestClient) -> None:
    assert (client.close_code, client.close_reason, client.is_open) == (None, None, True)
    with pytest.raises(
        ConnectionClosed, match=r"^connection closed with 4001 \(enough\), expected a reply to GET /bye$"
    ):
        client.get("/bye")
    assert client.wait_closed() == 4001
    assert (client.close_code, client.close_reason, client.is_open) == (4001, "enough", False)
    with pytest.raises(ConnectionClosed) as closed:
        client.get("/echo/ada")
    assert (closed.value.code, closed.value.reason) == (4001, "enough")


def test_connection_that_is_dropped_is_1006(client: TestClient) -> None:
    with pytest.raises(ConnectionClosed, match=r"^connection closed with 1006, expected a reply to GET /drop$"):
        client.get("/drop")
    with pytest.raises(ConnectionClosed):
        client.receive_event()


@pytest.mark.parametrize("how", ["close", "abort", "leave"])
def test_on_disconnect_is_told_how_the_client_left(how: str) -> None:
    ends = []

    async def farewell(connection: Any, code: int, reason: str) -> None:
        await asyncio.sleep(0)
        ends.append((code, reason))

    with TestClient(application(on_disconnect=farewell)) as client:
        if how == "close":
            client.close(4000, "bye")
        elif how == "abort":
            client.abort()
            assert client.wait_closed() == 1006
    assert [code for code, _ in ends] == [{"close": 4000, "abort": 1006, "leave": 1000}[how]]


def test_what_the_client_cannot_read_is_raised_once_and_the_connection_ends() -> None:
    compressed = [("Sec-WebSocket-Extensions", "permessage-deflate")]
    with TestClient(application(compress=True), headers=compressed) as client:
        with pytest.raises(ValueError, match=r"^expected a frame without compression and mask, got "):
            client.post("/echo/ada", data="x" * 2000)
        assert not client.is_open
    assert client.close_code == 1006


def test_client_that_could_not_start_can_be_entered_when_the_fault_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    client = TestClient(application())
    monkeypatch.setenv("AIOREST_WS_MAX_HEADERS", "many")
    with pytest.raises(ImproperlyConfigured):
        client.__enter__()
    monkeypatch.delenv("AIOREST_WS_MAX_HEADERS")
    with client:
        assert client.get("/echo/ada").ok


def test_clients_that_are_left_open_are_closed_with_the_application() -> None:
    with TestClient(application()) as client:
        other = client.connect().__enter__()
        with other.connect() as third:
            assert third.get("/echo/ada").ok
    assert (client.close_code, other.close_code) == (1000, 1001)
    other.__exit__(None, None, None)


def test_a_client_serves_once() -> None:
    client = TestClient(application())
    unconnected = r"^client is not connected, use it in a `with` block$"
    for call in (lambda: client.get("/echo/ada"), client.abort, client.connect, client.receive):
        with pytest.raises(RuntimeError, match=unconnected):
            call()
    with client:
        pass
    with pytest.raises(RuntimeError, match=unconnected):
        client.get("/echo/ada")
    with pytest.raises(RuntimeError, match=r"^client was used already, make another$"):
        client.__enter__()


@asynchronous
async def test_sync_client_in_a_running_loop_says_what_to_use() -> None:
    with pytest.raises(RuntimeError, match=r"where an event loop is running: use AsyncTestClient there$"):
        TestClient(application()).__enter__()


# The application


def test_application_is_checked_as_it_is_at_its_start() -> None:
    class Secret(MethodBasedView):
        auth_required = True

        def get(self, request: Request) -> None: ...

    with pytest.raises(RouterNotDefined):
        TestClient(Application()).__enter__()
    router = SimpleRouter()
    router.register("/secret", Secret, "GET")
    with pytest.raises(ImproperlyConfigured, match=r"^view .*Secret at /secret/ has auth_required"):
        TestClient(Application(router=router)).__enter__()


def test_own_factories_and_protocols_serve() -> None:
    class Factory(RequestHandlerFactory):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.setProtocolOptions(autoFragmentSize=10)

    class Protocol(RequestHandlerProtocol):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload.upper(), isBinary)

    with TestClient(application(factory=Factory, protocol=Protocol)) as client:
        client.send("a message of several frames")
        assert client.receive() == "A MESSAGE OF SEVERAL FRAMES"
        client.send(b"\x00")
        assert client.receive() == b"\x00"


def test_ping_is_answered() -> None:
    pongs = []

    class Protocol(RequestHandlerProtocol):
        def onPong(self, payload: bytes) -> None:
            pongs.append(payload)

    with TestClient(application(protocol=Protocol)) as client:
        client.connection.sendPing(b"there?")
        assert client.get("/echo/ada").ok
    assert pongs == [b"there?"]


def test_client_needs_neither_sockets_nor_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop has a pair of sockets that wake it; nothing else may ask for one."""

    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the test client must not")

    for where, name in ((socket.socket, "bind"), (socket.socket, "connect"), (threading.Thread, "start")):
        monkeypatch.setattr(where, name, forbidden)
    with TestClient(application()) as client:
        assert client.get("/echo/ada").ok


@asynchronous
async def test_running_application_can_be_tested_too() -> None:
    app = application(port=0)
    await app.start()
    try:
        async with AsyncTestClient(app) as client:
            assert (await client.get("/echo/ada")).ok
    finally:
        await app.stop()


# The pieces


@asynccontextmanager
async def notes(app: Application) -> AsyncIterator[None]:
    app.state.notes = ["entered"]
    yield
    app.state.notes.append("left")


def noting_app() -> Application:
    router = SimpleRouter()

    @endpoint("/notes", "GET")
    def read(request: Request) -> Any:
        return request.app.state.notes

    router.register_endpoint(read)
    hooks: dict[str, Any] = {
        name: [lambda app, name=name: app.state.notes.append(name)] for name in ("on_startup", "on_shutdown")
    }
    return Application(router=router, port=0, lifespan=notes, **hooks)


def test_lifespan_is_around_the_clients() -> None:
    app = noting_app()
    with TestClient(app) as client:
        with client.connect() as other:
            assert other.get("/notes").data == ["entered", "on_startup"]
        assert client.get("/notes").data == ["entered", "on_startup"]
    assert app.state.notes == ["entered", "on_startup", "on_shutdown", "left"]


@asynchronous
async def test_lifespan_of_a_running_application_is_not_entered_again() -> None:
    app = noting_app()
    await app.start()
    async with AsyncTestClient(app) as client:
        assert (await client.get("/notes")).data == ["entered", "on_startup"]
    assert app.state.notes == ["entered", "on_startup"]
    await app.stop()
    assert app.state.notes[2:] == ["on_shutdown", "left"]


def test_lifespan_that_fails_keeps_the_client_from_connecting() -> None:
    def fails(app: Application) -> None:
        raise OSError("no database")

    app = Application(router=SimpleRouter(), on_startup=[fails])
    with pytest.raises(ImproperlyConfigured, match=r"failed at the start: OSError: no database$"), TestClient(app):
        pass


@asynchronous
async def test_transport_calls_the_protocol_only_from_the_loop_and_not_while_it_is_paused() -> None:
    calls: list[Any] = []

    class Protocol(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            calls.append(len(data))

        def connection_lost(self, exc: Exception | None) -> None:
            calls.append(exc)

    transport = MemoryTransport(Protocol(), calls.append, lambda: calls.append("ended"), peer=("127.0.0.1", 1))
    transport.deliver(b"x" * 300_000)
    transport.pause_reading()
    await asyncio.sleep(0)
    assert calls == []
    transport.resume_reading()
    for _ in range(3):
        await asyncio.sleep(0)
    assert calls == [262144, 37856]
    transport.write(b"y")
    transport.close()
    transport.write(b"z")
    transport.deliver(b"late")
    assert (transport.is_closing(), transport.is_reading()) == (True, False)
    await asyncio.sleep(0)
    assert calls[2:] == [b"y", None, "ended"]


def test_wire_reads_what_comes_in_pieces_of_a_byte() -> None:
    wire = Wire()
    key = wire.opening("/", []).decode().split("Sec-WebSocket-Key: ")[1][:24]
    accept = b64encode(sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
    head = f"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    stream = head + b"\x02\x01a" + b"\x00\x00" + b"\x89\x00" + b"\x80\x7e\x00\x7e" + b"b" * 126
    frames = [one for at in range(len(stream)) for one in wire.feed(stream[at : at + 1])]
    assert frames == [Frame(9, b""), Frame(BINARY, b"a" + b"b" * 126)]


@pytest.mark.parametrize("head", [b"\xc1\x00", b"\x81\x80"])
def test_wire_refuses_frames_that_no_server_may_send_it(head: bytes) -> None:
    wire = Wire()
    wire.headers = {}
    with pytest.raises(ValueError, match=r"^expected a frame without compression and mask, got b'"):
        wire.feed(head)


# The plugin


def test_fixture_gives_connected_clients_and_closes_them(aiorest_ws_client: Any) -> None:
    client = aiorest_ws_client(application())
    assert client.get("/echo/ada").ok
    assert aiorest_ws_client(application(path="/api"), "/api", form="binary").get("/echo/ada").data["form"] == 2


def test_plugin_is_announced_to_pytest() -> None:
    (plugin,) = entry_points(group="pytest11", name="aiorest_ws")
    assert plugin.value == "pytest_aiorest_ws"


@asynchronous
async def test_neither_the_package_nor_the_plugin_imports_what_is_not_used() -> None:
    outcome = await run_program(
        "import sys, pytest_aiorest_ws\n"
        "print('aiorest_ws' in sys.modules)\n"
        "import aiorest_ws\n"
        "print([name for name in sys.modules if name.startswith('aiorest_ws.testing')])\n"
    )
    assert (outcome.code, outcome.out, outcome.err) == (0, "False\n[]\n", "")


# Words of clients for HTTP


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("json", "give the payload as `data=`"),
        ("body", "give the payload as `data=`"),
        ("params", "give arguments as `args=`"),
        ("query_params", "give arguments as `args=`"),
        ("headers", "it is of the handshake, give it to the client"),
        ("cookies", "it is of the handshake, give it to the client"),
    ],
)
def test_what_a_request_does_not_have_says_what_it_has(name: str, cure: str) -> None:
    with TestClient(Application(router=make_router())) as client:
        for ask in (client.get, client.post, partial(client.request, "GET")):
            with pytest.raises(TypeError, match=f"a request has no '{name}': {re.escape(cure)}"):
                ask("/hello", **{name: {"a": 1}})
        assert client.get("/hello", token="x", query="{ user }").ok


# A clock that stands still


def stop_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what freezegun does."""
    for name in ("monotonic", "perf_counter", "time"):
        monkeypatch.setattr(time, name, lambda: 1_000_000_000.0)


def slow_router() -> SimpleRouter:
    async def sleep(request: Any, seconds: float = 0.01) -> str:
        await asyncio.sleep(seconds)
        request.connection.send_event("awake")
        return "slept"

    return make_router(sleep=sleep)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_client_waits_in_real_time_though_time_stands_still(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if when == "before":
        stop_time(monkeypatch)
    with TestClient(Application(router=slow_router(), request_timeout=0.2)) as client:
        stop_time(monkeypatch)
        assert client.get("/sleep").data == "slept"
        assert client.receive_event().name == "awake"
        assert client.get("/sleep", args={"seconds": 60}).status == 504
        with pytest.raises(TimeoutError):
            client.receive_event(timeout=0.01)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_client_in_the_loop_of_a_test_waits_in_real_time(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        if when == "before":
            stop_time(monkeypatch)
        async with AsyncTestClient(Application(router=slow_router())) as client, client.connect() as other:
            stop_time(monkeypatch)
            assert (await client.get("/sleep")).data == "slept"
            with pytest.raises(TimeoutError):
                await other.receive_event(timeout=0.01)
        assert loop.time() == 1_000_000_000.0  # as it was

    asyncio.run(test())


def test_loop_with_a_clock_of_its_own_keeps_it() -> None:
    class Virtual(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return 7.0 + super().time()

    async def test() -> None:
        before = asyncio.get_running_loop().time
        async with AsyncTestClient(Application(router=make_router())):
            assert asyncio.get_running_loop().time == before

    with asyncio.Runner(loop_factory=Virtual) as runner:
        runner.run(test())


@pytest.mark.parametrize(
    ("what", "cure"),
    [
        (SimpleRouter(), r": Application\(router\) has the routes of a router"),
        (Application(SimpleRouter()).asgi(), r": give the application of which it is the asgi\(\)"),
        (None, ""),
    ],
)
def test_what_is_no_application_is_an_error(what: Any, cure: str) -> None:
    for client in (TestClient, AsyncTestClient):
        with pytest.raises(TypeError, match=f"app must be an Application, got .*{cure}$"):
            client(what)
