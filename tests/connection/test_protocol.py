"""The protocol that people subclass, over a real socket."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import weakref
from typing import Any

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
from aiorest_ws.exceptions import BaseAPIException
from aiorest_ws.wrappers import BINARY_BASE64, BINARY_JSON, TEXT_BASE64, TEXT_JSON
from tests.serving import (
    BINARY,
    CLOSE,
    LOOPS,
    PONG,
    TEXT,
    Client,
    Frame,
    HandshakeRefused,
    asynchronous,
    dump,
    factory_of,
    frame,
    make_router,
    serving,
    turn_over,
)

on_each_loop = pytest.mark.parametrize("loop", LOOPS)

HELLO = {"method": "GET", "url": "/hello"}
HELLO_REPLY = b'{"data":"Hello, world!","event_name":null}'
FAILED = {"detail": "A server error occurred.", "event_name": None}


class Recorder(RequestHandlerProtocol):
    """Notes what becomes of each connection in `factory.seen`, and calls no `super()`."""

    def onOpen(self) -> None:
        self.factory.seen.append(("open", self))  # type: ignore[attr-defined]

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.factory.seen.append(("close", self, wasClean, code, reason))  # type: ignore[attr-defined]
        self.factory.closed.set()  # type: ignore[attr-defined]


class RecordingFactory(RequestHandlerFactory):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[Any] = kwargs["seen"]
        self.closed = asyncio.Event()


def recording(seen: list[Any], protocol: type[RequestHandlerProtocol] = Recorder) -> dict[str, Any]:
    """Give the options of an application that notes its connections in `seen`."""
    return {"factory": RecordingFactory, "factory_options": {"seen": seen}, "protocol": protocol}


async def until_closed(app: Application) -> None:
    factory = factory_of(app)
    assert isinstance(factory, RecordingFactory)
    await asyncio.wait_for(factory.closed.wait(), 5)
    factory.closed.clear()


@asynchronous
async def test_handlers_see_the_connection() -> None:
    def who(request: Any) -> Any:
        connection = request.connection
        return [connection.peer, connection.headers["x-token"], type(connection).__name__]

    async with serving(make_router(who=who)) as app, await Client.connect(app, headers=[("X-Token", "abc")]) as client:
        host, port = client.writer.get_extra_info("sockname")[:2]
        assert (await client.ask(url="/who"))["data"] == [f"tcp4:{host}:{port}", "abc", "RequestHandlerProtocol"]


@asynchronous
async def test_session_belongs_to_one_connection() -> None:
    def visits(request: Any) -> int:
        session = request.connection.session
        session["visits"] = session.get("visits", 0) + 1
        return int(session["visits"])

    async with serving(make_router(visits=visits)) as app:
        async with await Client.connect(app) as client, await Client.connect(app) as other:
            assert [(await client.ask(url="/visits"))["data"] for _ in range(3)] == [1, 2, 3]
            assert (await other.ask(url="/visits"))["data"] == 1
        async with await Client.connect(app) as client:
            assert (await client.ask(url="/visits"))["data"] == 1


@on_each_loop
@asynchronous
async def test_one_client_may_hold_many_connections(loop: str) -> None:
    async with serving(make_router()) as app:
        clients = [await Client.connect(app) for _ in range(50)]
        assert len(factory_of(app).connections) == 50
        for client in clients:
            client.request()
        assert {(await client.reply())["data"] for client in clients} == {"Hello, world!"}
        for client in clients:
            await client.leave()
        await turn_over()
        assert len(factory_of(app).connections) == 0


@on_each_loop
@asynchronous
async def test_frames_behind_the_handshake_are_answered(loop: str) -> None:
    async with serving(make_router()) as app, await Client.connect(app, behind=frame(dump(HELLO)) * 3) as client:
        assert [(await client.receive()).payload for _ in range(3)] == [HELLO_REPLY] * 3


# Events


@asynchronous
async def test_event_is_text_json_with_neither_id_nor_status() -> None:
    def push(request: Any) -> str:
        request.connection.send_event("news", {"é": [1]})
        request.connection.send_event("empty")
        return "pushed"

    async with serving(make_router(push=push)) as app, await Client.connect(app) as client:
        client.send(base64.b64encode(dump({"method": "GET", "url": "/push"})), BINARY)
        assert await client.receive() == Frame(TEXT, '{"event_name":"news","data":{"é":[1]}}'.encode())
        assert await client.receive() == Frame(TEXT, b'{"event_name":"empty","data":null}')
        assert (await client.receive()).opcode == BINARY


@asynchronous
async def test_event_to_another_connection() -> None:
    def broadcast(request: Any) -> int:
        connections = request.connection.factory.connections
        for connection in connections:
            connection.send_event("all", request.args.get("n"))
        return len(connections)

    async with (
        serving(make_router(broadcast=broadcast)) as app,
        await Client.connect(app) as client,
        await Client.connect(app) as other,
    ):
        client.request(url="/broadcast", id=1)
        assert await other.reply() == {"event_name": "all", "data": None}
        assert await client.reply() == {"event_name": "all", "data": None}
        assert await client.reply() == {"id": 1, "status": 200, "data": 2}


@on_each_loop
@asynchronous
async def test_event_after_the_end_is_dropped(loop: str) -> None:
    seen: list[Any] = []
    async with serving(make_router(), **recording(seen)) as app:
        client = await Client.connect(app)
        await client.leave()
        await until_closed(app)
        connection = seen[0][1]
        connection.send_event("late", 1)
        connection.close()
        assert connection.close_was_clean is True


@asynchronous
async def test_event_after_close_is_dropped() -> None:
    def bye(request: Any) -> str:
        request.connection.close()
        request.connection.send_event("late")
        return "late too"

    async with serving(make_router(bye=bye)) as app, await Client.connect(app) as client:
        client.request(url="/bye")
        assert (await client.left()).close_code == 1000


# Ends


@on_each_loop
@pytest.mark.parametrize(("code", "reason", "seen_code"), [(1000, "", 1000), (4001, "bye é", 4001), (None, "", 1005)])
@asynchronous
async def test_protocol_tells_why_the_client_closed(loop: str, code: int | None, reason: str, seen_code: int) -> None:
    seen: list[Any] = []
    async with serving(make_router(), **recording(seen)) as app:
        client = await Client.connect(app)
        assert (await client.ask())["data"] == "Hello, world!"
        connection = seen[0][1]
        assert (connection.close_was_clean, connection.close_code, connection.close_reason) == (None, None, None)
        await client.leave(code, reason)
        await until_closed(app)
        assert seen[1:] == [("close", connection, True, code, reason or None)]
        assert (connection.close_was_clean, connection.close_code) == (True, seen_code)
        assert connection.close_reason == (reason or None)


@on_each_loop
@asynchronous
async def test_protocol_tells_why_the_server_closed(loop: str) -> None:
    seen: list[Any] = []
    router = make_router(bye=lambda request: request.connection.close(4002, "go away"))
    async with serving(router, **recording(seen)) as app, await Client.connect(app) as client:
        client.request(url="/bye")
        close = await client.left()
        assert (close.close_code, close.close_reason) == (4002, "go away")
        await until_closed(app)
        connection = seen[0][1]
        assert connection.close_was_clean is True
        assert connection.close_code == 4002


@on_each_loop
@pytest.mark.parametrize("how", ["drop", "reset"])
@asynchronous
async def test_protocol_tells_that_the_connection_was_lost(loop: str, how: str) -> None:
    seen: list[Any] = []
    async with serving(make_router(), **recording(seen)) as app:
        client = await Client.connect(app)
        await client.ask()
        if how == "drop":
            await client.drop()
        else:
            client.reset()
        await until_closed(app)
        (_, connection), (_, _, was_clean, code, reason) = seen
        assert (was_clean, code) == (False, 1006)
        assert "without previous WebSocket closing handshake" in reason
        assert (connection.close_was_clean, connection.close_code) == (False, 1006)
        assert connection.close_reason == reason
        assert connection.transport is None


@asynchronous
async def test_protocol_tells_of_a_violation() -> None:
    seen: list[Any] = []
    async with serving(make_router(), **recording(seen)) as app, await Client.connect(app) as client:
        client.send(b"", 0x3)
        assert (await client.left()).close_code == 1002
        await until_closed(app)
        assert (seen[0][1].close_code, seen[0][1].close_was_clean) == (1002, True)


@on_each_loop
@pytest.mark.parametrize(
    ("faulty", "code", "reason"),
    [
        (frame(b"\x03", CLOSE), 1002, "1"),
        (frame(b"\x03\xed", CLOSE), 1002, "invalid close code 1005"),
        (frame(b"\x0b\xb7bye", CLOSE), 1002, "invalid close code 2999"),
        (frame(b"\x03\xe8\xff", CLOSE), 1007, "invalid close reason"),
        (frame(b"\x03\xe8" + b"x" * 124, CLOSE), 1002, "> 125 octets"),
        (frame(b"\x03\xe8", CLOSE, fin=False), 1002, "fragmented"),
        (frame(b"\x03\xe8", CLOSE, compressed=True), 1002, "RSV"),
    ],
    ids=["one byte", "1005", "2999", "not UTF-8", "too long", "fragment", "RSV1"],
)
@asynchronous
async def test_protocol_tells_of_a_close_frame_with_a_fault(loop: str, faulty: bytes, code: int, reason: str) -> None:
    """Nobody hears a code that was never said, nor that it was a clean end."""
    seen: list[Any] = []
    async with serving(make_router(), **recording(seen)) as app, await Client.connect(app) as client:
        client.writer.write(faulty)
        assert (await client.receive()).close_code == code
        await client.eof()
        await until_closed(app)
        connection = seen[0][1]
        assert (connection.close_code, connection.close_was_clean) == (code, False)
        assert reason in connection.close_reason


@on_each_loop
@asynchronous
async def test_fault_at_the_end_of_a_message_waits_for_the_close_whatever_its_bytes(loop: str) -> None:
    for byte in range(0x20, 0x40):  # masked with zeros, some of them look like the header of a close frame
        seen: list[Any] = []
        async with serving(make_router(), **recording(seen)) as app, await Client.connect(app) as client:
            client.send(b"x", fin=False)
            client.writer.write(bytes([0x80, 0x82, 0, 0, 0, 0, byte, 0xC3]))
            assert (await client.left()).close_code == 1007
            await until_closed(app)
        assert (seen[0][1].close_code, seen[0][1].close_was_clean) == (1007, True), byte


@pytest.mark.parametrize("code", [999, 1004, 1005, 1006, 1015, 2999, 5000, 0, -1])
@asynchronous
async def test_code_that_may_not_be_sent_is_refused(code: int) -> None:
    def bye(request: Any) -> None:
        with pytest.raises(ValueError, match=f"close code must be .*, got {code}"):
            request.connection.close(code)

    async with serving(make_router(bye=bye)) as app, await Client.connect(app) as client:
        assert (await client.ask(url="/bye"))["data"] is None


@pytest.mark.parametrize(
    ("code", "reason", "text"),
    [
        (4000.0, None, "close code must be an integer, got 4000.0"),
        ("4000", None, "close code must be an integer, got '4000'"),
        (True, None, "close code must be an integer, got True"),
        (None, None, "close code must be an integer, got None"),
        (4000, b"bye", "reason must be a string or None, got b'bye'"),
    ],
)
@asynchronous
async def test_close_says_what_it_cannot_send(code: Any, reason: Any, text: str) -> None:
    def bye(request: Any) -> None:
        with pytest.raises(TypeError, match=text):
            request.connection.close(code, reason)

    async with serving(make_router(bye=bye)) as app, await Client.connect(app) as client:
        assert (await client.ask(url="/bye"))["data"] is None


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        ("x" * 200, "x" * 123),
        ("é" * 100, "é" * 61),
        ("\ud800", "?"),
        ("", ""),
        (None, ""),
    ],
)
@asynchronous
async def test_close_reason_is_cut_at_a_character(reason: str | None, sent: str) -> None:
    def bye(request: Any) -> None:
        request.connection.close(1008, reason)

    async with serving(make_router(bye=bye)) as app, await Client.connect(app) as client:
        client.request(url="/bye")
        close = await client.left()
        assert (close.close_code, close.close_reason) == (1008, sent)


@asynchronous
async def test_close_twice_sends_one_frame() -> None:
    def bye(request: Any) -> None:
        request.connection.close(4000)
        request.connection.close(4001)

    async with serving(make_router(bye=bye)) as app, await Client.connect(app) as client:
        client.request(url="/bye")
        assert (await client.left()).close_code == 4000


# Hooks: each overridden without super()


@asynchronous
async def test_decode_message_may_be_overridden() -> None:
    class Protocol(RequestHandlerProtocol):
        def _decode_message(self, payload: bytes, isBinary: bool = False) -> Request:
            method, url = payload.decode().split(" ")
            return Request(method=method, url=url, id="own", token="t")

    router = make_router(who=lambda request: [request.connection is not None, request.token, request.form])
    async with serving(router, protocol=Protocol) as app, await Client.connect(app) as client:
        client.send(b"GET /who")
        assert json.loads((await client.receive()).payload) == {
            "id": "own",
            "status": 200,
            "data": [True, "t", TEXT_JSON],
        }
        client.send(b"GET /nowhere")
        assert json.loads((await client.receive()).payload)["status"] == 404
        client.send(b"GET /who", BINARY)
        reply = await client.receive()
        assert reply.opcode == BINARY
        assert json.loads(base64.b64decode(reply.payload))["data"] == [True, "t", BINARY_BASE64]


@asynchronous
async def test_decode_message_that_calls_super_keeps_the_form() -> None:
    class Protocol(RequestHandlerProtocol):
        def _decode_message(self, payload: bytes, isBinary: bool = False) -> Request:
            request = super()._decode_message(payload, isBinary)
            setattr(request, "stamp", "stamped")  # noqa: B010 (for mypy: any name may be set)
            return request

    router = make_router(stamp=lambda request: [request.stamp, request.form])
    request = dump({"method": "GET", "url": "/stamp"})
    async with serving(router, protocol=Protocol) as app, await Client.connect(app) as client:
        for form, payload, opcode in (
            (TEXT_JSON, request, TEXT),
            (TEXT_BASE64, base64.b64encode(request), TEXT),
            (BINARY_JSON, request, BINARY),
            (BINARY_BASE64, base64.b64encode(request), BINARY),
        ):
            client.send(payload, opcode)
            reply = await client.receive()
            assert reply.opcode == opcode
            body = base64.b64decode(reply.payload) if form & 1 else reply.payload
            assert json.loads(body)["data"] == ["stamped", form]
        client.send(b"{")
        assert "not valid JSON" in (await client.reply())["detail"]
        client.send(b"{", BINARY)
        reply = await client.receive()
        assert reply.opcode == BINARY
        assert "not valid JSON" in json.loads(reply.payload)["detail"]
        client.send(dump({"id": [], **HELLO}))
        assert "`id` must be" in (await client.reply())["detail"]


class Broken(Exception):
    pass


@pytest.mark.parametrize(
    ("outcome", "detail"),
    [
        (Broken("secret"), "A server error occurred."),
        (KeyError("secret"), "A server error occurred."),
        (BaseAPIException("not today"), "not today"),
        (None, "A server error occurred."),
        ({"method": "GET"}, "A server error occurred."),
    ],
    ids=["unexpected", "KeyError", "api", "gives-None", "gives-a-dict"],
)
@asynchronous
async def test_decode_message_that_fails_becomes_the_reply(outcome: Any, detail: str) -> None:
    class Protocol(RequestHandlerProtocol):
        def _decode_message(self, payload: bytes, isBinary: bool = False) -> Request:
            if b"hello" in payload:
                return super()._decode_message(payload, isBinary)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome  # type: ignore[no-any-return]

    async with serving(make_router(), protocol=Protocol) as app, await Client.connect(app) as client:
        client.send(b"x")
        client.send(dump(HELLO))
        assert await client.reply() == {"detail": detail, "event_name": None}
        assert (await client.receive()).payload == HELLO_REPLY


@asynchronous
async def test_encode_message_may_be_overridden_and_its_result_is_sent_as_is() -> None:
    class Protocol(RequestHandlerProtocol):
        def _encode_message(self, response: bytes, isBinary: bool = False) -> bytes:
            return (b"binary " if isBinary else b"text ") + response

    async with serving(make_router(), protocol=Protocol) as app, await Client.connect(app) as client:
        client.send(dump(HELLO))
        client.send(base64.b64encode(dump(HELLO)), BINARY)
        client.send(b"{")
        assert await client.receive() == Frame(TEXT, b"text " + HELLO_REPLY)
        assert await client.receive() == Frame(BINARY, b"binary " + HELLO_REPLY)
        assert (await client.receive()).payload.startswith(b'text {"detail":"request is not valid JSON')


@asynchronous
async def test_encode_message_that_calls_super_does_as_1_1_1_did() -> None:
    class Protocol(RequestHandlerProtocol):
        def _encode_message(self, response: bytes, isBinary: bool = False) -> bytes:
            return super()._encode_message(response, isBinary)

    async with serving(make_router(), protocol=Protocol) as app, await Client.connect(app) as client:
        client.send(dump(HELLO))
        client.send(base64.b64encode(dump(HELLO)), BINARY)
        assert await client.receive() == Frame(TEXT, HELLO_REPLY)
        assert await client.receive() == Frame(BINARY, base64.b64encode(HELLO_REPLY))


@pytest.mark.parametrize("outcome", [Broken("secret"), "text", None], ids=["raises", "gives-text", "gives-None"])
@asynchronous
async def test_encode_message_that_fails_still_gets_one_reply(outcome: Any) -> None:
    class Protocol(RequestHandlerProtocol):
        def _encode_message(self, response: bytes, isBinary: bool = False) -> bytes:
            if isinstance(outcome, Exception):
                raise outcome
            return outcome  # type: ignore[no-any-return]

    async def later(request: Any) -> str:
        await asyncio.sleep(0)
        return "later"

    async with serving(make_router(later=later), protocol=Protocol) as app, await Client.connect(app) as client:
        for url in ("/hello", "/later"):
            assert await client.ask(url=url) == FAILED
            assert await client.ask(url=url, id=1) == {"id": 1, "status": 500, "detail": "A server error occurred."}


@asynchronous
async def test_on_message_replaces_all_of_it() -> None:
    class Protocol(RequestHandlerProtocol):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload[::-1], isBinary)

    async with serving(make_router(), protocol=Protocol) as app, await Client.connect(app) as client:
        client.send(b"abc")
        client.send(b"\x00\xff", BINARY)
        assert await client.receive() == Frame(TEXT, b"cba")
        assert await client.receive() == Frame(BINARY, b"\xff\x00")


@asynchronous
async def test_on_message_may_be_a_coroutine_and_may_call_super() -> None:
    class Protocol(RequestHandlerProtocol):
        async def onMessage(self, payload: bytes, isBinary: bool) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            super().onMessage(payload.replace(b"HELLO", b"hello"), isBinary)

    async with serving(make_router(), protocol=Protocol) as app, await Client.connect(app) as client:
        client.send(b'{"method":"GET","url":"/HELLO"}')
        assert (await client.receive()).payload == HELLO_REPLY


@on_each_loop
@asynchronous
async def test_send_message_gets_every_reply_and_event(loop: str) -> None:
    sent: list[tuple[bytes, bool]] = []

    class Protocol(RequestHandlerProtocol):
        def sendMessage(self, payload: bytes, isBinary: bool = False, *args: Any, **kwargs: Any) -> None:
            sent.append((payload, isBinary))
            super().sendMessage(payload, isBinary, *args, **kwargs)

    async def push(request: Any) -> str:
        await asyncio.sleep(0)
        request.connection.send_event("e")
        return "pushed"

    async with serving(make_router(push=push), protocol=Protocol) as app, await Client.connect(app) as client:
        client.send(dump(HELLO))
        client.send(b"{}", BINARY)
        client.request(url="/push")
        received = [await client.receive() for _ in range(4)]
        assert sent == [(f.payload, f.opcode == BINARY) for f in received]
        assert len(sent) == 4


@on_each_loop
@pytest.mark.parametrize("url", ["/hello", "/later"])
@asynchronous
async def test_send_message_that_fails_leaves_nobody_waiting(loop: str, url: str) -> None:
    class Protocol(RequestHandlerProtocol):
        def sendMessage(self, payload: bytes, isBinary: bool = False, *args: Any, **kwargs: Any) -> None:
            raise Broken("no")

    async def later(request: Any) -> str:
        await asyncio.sleep(0)
        return "later"

    async with serving(make_router(later=later), protocol=Protocol) as app, await Client.connect(app) as client:
        client.request(url=url)
        await client.eof()
        await turn_over()
        assert len(factory_of(app).connections) == 0


@asynchronous
async def test_on_connect_may_choose_a_protocol_and_refuse() -> None:
    from autobahn.websocket.types import ConnectionDeny

    class Protocol(RequestHandlerProtocol):
        def onConnect(self, request: Any) -> Any:
            if "x-token" not in request.headers:
                raise ConnectionDeny(403, "no token")
            return "rest.v2", {"X-Hello": "there"}

    async with serving(make_router(), protocol=Protocol) as app:
        with pytest.raises(HandshakeRefused, match="403"):
            await Client.connect(app)
        headers = [("X-Token", "t"), ("Sec-WebSocket-Protocol", "rest.v1, rest.v2")]
        async with await Client.connect(app, headers=headers) as client:
            assert client.headers["sec-websocket-protocol"] == "rest.v2"
            assert client.headers["x-hello"] == "there"
            assert (await client.ask())["data"] == "Hello, world!"


@asynchronous
async def test_on_connect_may_be_a_coroutine() -> None:
    class Protocol(RequestHandlerProtocol):
        async def onConnect(self, request: Any) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            self.session["path"] = request.path

    router = make_router(path=lambda request: request.connection.session["path"])
    async with serving(router, protocol=Protocol) as app, await Client.connect(app) as client:
        assert (await client.ask(url="/path"))["data"] == "/"


@asynchronous
async def test_on_open_may_be_a_coroutine_that_sends() -> None:
    class Protocol(RequestHandlerProtocol):
        async def onOpen(self) -> None:  # type: ignore[override]
            self.send_event("welcome")

    async with serving(make_router(), protocol=Protocol) as app, await Client.connect(app) as client:
        assert await client.reply() == {"event_name": "welcome", "data": None}
        assert (await client.ask())["data"] == "Hello, world!"


@asynchronous
async def test_on_ping_may_be_overridden() -> None:
    class Protocol(RequestHandlerProtocol):
        def onPing(self, payload: bytes) -> None:
            self.sendPong(payload.upper())

    async with serving(make_router(), protocol=Protocol) as app, await Client.connect(app) as client:
        client.send(b"abc", 0x9)
        assert await client.receive() == Frame(PONG, b"ABC")


@on_each_loop
@asynchronous
async def test_on_close_that_fails_leaves_no_handler_running(loop: str) -> None:
    cancelled = asyncio.Event()
    started = asyncio.Event()

    class Protocol(RequestHandlerProtocol):
        def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
            raise Broken("in onClose")

    async def wait(request: Any) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(make_router(wait=wait), protocol=Protocol) as app:
        troubles: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context["exception"]))
        client = await Client.connect(app)
        client.request(url="/wait")
        await asyncio.wait_for(started.wait(), 5)
        await client.leave()
        await asyncio.wait_for(cancelled.wait(), 5)
        assert len(factory_of(app).connections) == 0
        assert [str(trouble) for trouble in troubles] == ["in onClose"]


# Forms


@asynchronous
async def test_each_form_is_answered_in_kind() -> None:
    request, error = dump(HELLO), dump({"method": "GET", "url": "/nowhere"})
    error_reply = b'{"detail":"For URL, typed in request, handler not specified.","event_name":null}'
    b64 = base64.b64encode
    async with serving(make_router()) as app, await Client.connect(app) as client:
        for sent, expected in (
            (Frame(TEXT, request), Frame(TEXT, HELLO_REPLY)),
            (Frame(TEXT, b64(request)), Frame(TEXT, b64(HELLO_REPLY))),
            (Frame(BINARY, request), Frame(BINARY, HELLO_REPLY)),
            (Frame(BINARY, b64(request)), Frame(BINARY, b64(HELLO_REPLY))),
            (Frame(TEXT, error), Frame(TEXT, error_reply)),
            (Frame(TEXT, b64(error)), Frame(TEXT, b64(error_reply))),
            (Frame(BINARY, error), Frame(BINARY, error_reply)),
            (Frame(BINARY, b64(error)), Frame(BINARY, b64(error_reply))),
        ):
            client.send(sent.payload, sent.opcode)
            assert await client.receive() == expected


@asynchronous
async def test_request_says_its_form() -> None:
    request = dump({"method": "GET", "url": "/form"})
    async with serving(make_router(form=lambda request: request.form)) as app, await Client.connect(app) as client:
        client.send(request)
        assert json.loads((await client.receive()).payload)["data"] == TEXT_JSON
        client.send(base64.b64encode(request))
        assert json.loads(base64.b64decode((await client.receive()).payload))["data"] == TEXT_BASE64
        client.send(request, BINARY)
        assert json.loads((await client.receive()).payload)["data"] == BINARY_JSON
        client.send(base64.b64encode(request), BINARY)
        assert json.loads(base64.b64decode((await client.receive()).payload))["data"] == BINARY_BASE64


@asynchronous
async def test_close_frame_of_the_client_is_answered_behind_its_replies() -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client:
        client.writer.write(frame(dump(HELLO)) * 2 + frame(b"\x03\xe8", CLOSE) + frame(dump(HELLO)))
        assert [(await client.receive()).payload for _ in range(2)] == [HELLO_REPLY] * 2
        assert (await client.receive()).opcode == CLOSE
        await client.eof()


@on_each_loop
@asynchronous
async def test_what_a_handler_writes_to_the_transport_keeps_its_place(loop: str) -> None:
    big = "x" * 3_000_000  # more than the socket takes at once

    class Wild(MethodBasedView):
        transport: Any = None

        def get(self, request: Any, name: str, *args: Any, **kwargs: Any) -> str:
            transport = type(self).transport or request.connection.transport
            type(self).transport = transport  # kept, and used again behind the framework's back
            text = big if name == "big" else name
            payload = json.dumps(f"written before {name}").encode()
            transport.write(bytes([0x80 | TEXT, len(payload)]) + payload)
            return text

    router = SimpleRouter()
    router.register("/{name}", Wild, "GET")
    async with serving(router) as app, await Client.connect(app) as client:
        names = ["a", "b", "big", "c", "big", "d"]
        for name in names:
            client.request(url=f"/{name}")
            await turn_over()
        for name in names:
            assert json.loads((await client.receive()).payload) == f"written before {name}"
            assert (await client.reply())["data"] == (big if name == "big" else name)


@on_each_loop
@asynchronous
async def test_reply_that_the_socket_does_not_take_at_once_arrives_whole(loop: str) -> None:
    sizes = [10, 5_000_000, 20, 1_000_000, 30]

    class Big(MethodBasedView):
        def get(self, request: Any, size: str, *args: Any, **kwargs: Any) -> str:
            return "x" * int(size)

    router = SimpleRouter()
    router.register("/{size}", Big, "GET")
    async with serving(router) as app, await Client.connect(app) as client:
        for size in sizes:
            client.request(url=f"/{size}")
            await client.writer.drain()
        for size in sizes:
            assert len((await client.reply())["data"]) == size


@on_each_loop
@pytest.mark.parametrize(
    "how",
    [
        *("leave", "drop", "reset", "unread", "refused", "server"),
        # Pure, frames of the handler that is cancelled hold the connection, in the traceback of its CancelledError.
        pytest.param("with requests in flight", marks=pytest.mark.compiled),
    ],
)
@asynchronous
async def test_connection_that_ended_is_freed_without_the_garbage_collector(loop: str, how: str) -> None:
    @endpoint("/wait", "GET")
    async def wait(request: Any) -> None:
        await asyncio.Event().wait()

    @endpoint("/big", "GET")
    def big(request: Any) -> str:
        return "x" * 100_000

    router = SimpleRouter()
    for function in (wait, big):
        router.register_endpoint(function)
    made: list[weakref.ref[Any]] = []
    freed = asyncio.Event()

    class Noted(RequestHandlerProtocol):
        def connection_made(self, transport: Any) -> None:
            made.append(weakref.ref(self, lambda _: freed.set()))
            super().connection_made(transport)

    async with serving(router, protocol=Noted) as app:
        gc.collect()
        gc.disable()
        try:
            if how == "refused":
                with pytest.raises(HandshakeRefused):
                    await Client.connect(app, "/nowhere")
            else:
                await end(await Client.connect(app), how)
            if how == "server":
                await app.stop()
            await asyncio.wait_for(freed.wait(), 5)
        finally:
            gc.enable()
    assert len(made) == 1


async def end(client: Client, how: str) -> None:
    """Use a connection, and end it."""
    await client.ask(url="/nowhere", id=1)
    if how == "with requests in flight":
        client.request(url="/wait")
        client.request(url="/wait", id=1)
        assert (await client.ask(url="/nowhere", id=2))["status"] == 404
        client.reset()
    elif how == "unread":
        for _ in range(100):
            client.request(url="/big")
        await client.reply()
        client.reset()
    elif how == "reset":
        client.reset()
    elif how == "server":
        await client.drop()
    else:
        await getattr(client, how)()
