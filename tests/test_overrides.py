"""Autobahn's hooks and options under our frame layer, over a real socket."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny

from aiorest_ws import RequestHandlerFactory, RequestHandlerProtocol
from aiorest_ws._speedups import Packer
from tests.kit.transports import REQUEST, Transport
from tests.serving import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LOOPS,
    PING,
    PONG,
    TEXT,
    Client,
    Frame,
    HandshakeRefused,
    asynchronous,
    connection_of,
    dump,
    factory_of,
    frame,
    make_router,
    serving,
    turn_over,
    until,
)

on_each_loop = pytest.mark.parametrize("loop", LOOPS)

HELLO = dump({"method": "GET", "url": "/hello"})
HELLO_REPLY = b'{"data":"Hello, world!","event_name":null}'


class OptionedFactory(RequestHandlerFactory):
    """Takes Autobahn's protocol options, and its flags, as `options`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options = dict(kwargs["options"])
        for flag in ("logFrames", "logOctets", "trackTimings"):
            setattr(self, flag, options.pop(flag, False))
        self.setProtocolOptions(**options)


def optioned(**options: Any) -> dict[str, Any]:
    """Give the arguments of `serving` for protocol options that are set on the factory."""
    return {"factory": OptionedFactory, "factory_options": {"options": options}}


async def asks_in_every_way(client: Client) -> None:
    """Send requests whole, chopped, fragmented, in both opcodes, pipelined, with a ping between; check each reply."""
    client.writer.write(b"".join(frame(dump({"method": "GET", "url": f"/n/{n}"})) for n in range(5)))
    assert [(await client.reply())["data"] for _ in range(5)] == [0, 1, 2, 3, 4]
    whole = frame(HELLO, BINARY)
    for at in range(0, len(whole), 7):
        client.writer.write(whole[at : at + 7])
        await client.writer.drain()
    assert await client.receive() == Frame(BINARY, HELLO_REPLY)
    client.send(HELLO[:9], fin=False)
    client.send(b"p", PING)
    client.send(HELLO[9:20], CONTINUATION, fin=False)
    client.send(HELLO[20:], CONTINUATION)
    assert await client.receive() == Frame(PONG, b"p")
    assert await client.receive() == Frame(TEXT, HELLO_REPLY)
    client.request(url="/later/7", id="seven")
    assert (await client.reply())["data"] == 7


# What `asks_in_every_way` sends: messages, and frames of data.
MESSAGES, DATA_FRAMES = 8, 10


# Hooks of messages and of the connection


class SyncOpen(RequestHandlerProtocol):
    def onOpen(self) -> None:
        self.send_event("welcome")


class AsyncOpen(RequestHandlerProtocol):
    async def onOpen(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        self.send_event("welcome")


@on_each_loop
@pytest.mark.parametrize("protocol", [SyncOpen, AsyncOpen])
@asynchronous
async def test_on_open_is_called_before_anything_is_answered(loop: str, protocol: type[RequestHandlerProtocol]) -> None:
    async with serving(make_router(), protocol=protocol) as app, await Client.connect(app) as client:
        assert await client.reply() == {"event_name": "welcome", "data": None}
        assert connection_of(app)._fast
        await asks_in_every_way(client)


class SyncMessage(RequestHandlerProtocol):
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.session["seen"] = self.session.get("seen", 0) + 1
        super().onMessage(payload, isBinary)


class AsyncMessage(RequestHandlerProtocol):
    async def onMessage(self, payload: bytes, isBinary: bool) -> None:  # type: ignore[override]
        self.session["seen"] = self.session.get("seen", 0) + 1
        super().onMessage(payload, isBinary)


class Decoding(RequestHandlerProtocol):
    def _decode_message(self, payload: bytes, isBinary: bool = False) -> Any:
        self.session["seen"] = self.session.get("seen", 0) + 1
        return super()._decode_message(payload, isBinary)


class Sending(RequestHandlerProtocol):
    def sendMessage(self, payload: bytes, isBinary: bool = False, *args: Any, **kwargs: Any) -> None:
        self.session["seen"] = self.session.get("seen", 0) + 1
        super().sendMessage(payload, isBinary, *args, **kwargs)


class Encoding(RequestHandlerProtocol):
    def _encode_message(self, response: bytes, isBinary: bool = False) -> bytes:
        self.session["seen"] = self.session.get("seen", 0) + 1
        return response


@on_each_loop
@pytest.mark.parametrize("protocol", [SyncMessage, AsyncMessage, Decoding, Encoding, Sending])
@asynchronous
async def test_override_sees_every_message_behind_the_frame_reader(
    loop: str, protocol: type[RequestHandlerProtocol]
) -> None:
    async with serving(make_router(), protocol=protocol) as app, await Client.connect(app) as client:
        connection = connection_of(app)
        await asks_in_every_way(client)
        assert connection.session["seen"] == MESSAGES
        assert connection._fast
        assert connection._fast_frames == MESSAGES - 1 + 1  # all but the fragmented one, and a ping
        assert connection._unusual_frames == DATA_FRAMES - (MESSAGES - 1)


@on_each_loop
@asynchronous
async def test_override_of_on_message_that_answers_in_part_is_taken_at_its_word(loop: str) -> None:
    class Upper(RequestHandlerProtocol):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            if payload != b"silence":
                self.sendMessage(payload.upper(), isBinary)

    async with serving(make_router(), protocol=Upper) as app, await Client.connect(app) as client:
        client.writer.write(frame(b"a") + frame(b"silence") + frame(b"b", BINARY) + frame(b"c"))
        assert [(await client.receive()).payload for _ in range(3)] == [b"A", b"B", b"C"]
        await client.leave()


class SyncClose(RequestHandlerProtocol):
    seen: asyncio.Future[Any]

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        type(self).seen.set_result((wasClean, code, reason))


class AsyncClose(RequestHandlerProtocol):
    seen: asyncio.Future[Any]

    async def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        type(self).seen.set_result((wasClean, code, reason))


@on_each_loop
@pytest.mark.parametrize("protocol", [SyncClose, AsyncClose])
@asynchronous
async def test_on_close_is_told_code_and_reason(loop: str, protocol: Any) -> None:
    protocol.seen = asyncio.get_running_loop().create_future()
    async with serving(make_router(), protocol=protocol) as app, await Client.connect(app) as client:
        assert connection_of(app)._fast
        await asks_in_every_way(client)
        await client.leave(4001, "enough")
        assert await protocol.seen == (True, 4001, "enough")


# Pings and pongs


class Pinged(RequestHandlerProtocol):
    def onPing(self, payload: bytes) -> None:
        self.session.setdefault("pings", []).append(payload)
        super().onPing(payload)


class Ponged(RequestHandlerProtocol):
    def onPong(self, payload: bytes) -> None:
        self.session.setdefault("pongs", []).append(payload)


@on_each_loop
@asynchronous
async def test_on_ping_sees_every_ping_in_its_place(loop: str) -> None:
    async with serving(make_router(), protocol=Pinged) as app, await Client.connect(app) as client:
        connection = connection_of(app)
        client.writer.write(
            frame(b"1", PING) + frame(HELLO) + frame(b"", PING) + frame(HELLO) + frame(b"x" * 125, PING)
        )
        assert await client.receive() == Frame(PONG, b"1")
        assert await client.receive() == Frame(TEXT, HELLO_REPLY)
        assert await client.receive() == Frame(PONG, b"")
        assert await client.receive() == Frame(TEXT, HELLO_REPLY)
        assert await client.receive() == Frame(PONG, b"x" * 125)
        assert connection.session["pings"] == [b"1", b"", b"x" * 125]
        assert connection._fast
        assert (connection._fast_frames, connection._unusual_frames) == (2, 3)


@on_each_loop
@asynchronous
async def test_on_pong_sees_every_pong(loop: str) -> None:
    async with serving(make_router(), protocol=Ponged) as app, await Client.connect(app) as client:
        connection = connection_of(app)
        client.writer.write(frame(b"1", PONG) + frame(HELLO) + frame(b"2", PONG) + frame(b"3", PING))
        assert await client.receive() == Frame(TEXT, HELLO_REPLY)
        assert await client.receive() == Frame(PONG, b"3")
        assert connection.session["pongs"] == [b"1", b"2"]
        assert connection._fast


@on_each_loop
@pytest.mark.parametrize("protocol", [RequestHandlerProtocol, Pinged, Ponged])
@asynchronous
async def test_auto_ping_goes_on_while_pongs_come(loop: str, protocol: type[RequestHandlerProtocol]) -> None:
    """Autobahn's timers round down to whole seconds: 0.01 is at once."""
    options = optioned(autoPingInterval=0.01, autoPingTimeout=60, autoPingSize=20)
    async with serving(make_router(), protocol=protocol, **options) as app, await Client.connect(app) as client:
        connection = connection_of(app)
        for n in range(1, 4):
            ping = await client.receive()
            assert (ping.opcode, len(ping.payload), ping.payload[8:12]) == (PING, 20, struct.pack("!L", n))
            assert connection.autoPingPending == ping.payload
            assert connection.autoPingTimeoutCall is not None
            client.send(ping.payload, PONG)
        assert connection._fast


@on_each_loop
@pytest.mark.parametrize("protocol", [RequestHandlerProtocol, Pinged, Ponged])
@asynchronous
async def test_nothing_but_its_pong_answers_an_auto_ping(loop: str, protocol: type[RequestHandlerProtocol]) -> None:
    options = optioned(autoPingInterval=0.01, autoPingTimeout=60)
    async with serving(make_router(), protocol=protocol, **options) as app, await Client.connect(app) as client:
        connection = connection_of(app)
        ping = await client.receive()
        client.writer.write(frame(b"other", PONG) + frame(b"", PONG) + frame(b"p", PING))
        assert await client.receive() == Frame(PONG, b"p")
        assert connection.autoPingPending == ping.payload
        assert connection.autoPingTimeoutCall is not None
        client.send(ping.payload, PONG)
        assert (await client.receive()).payload[8:12] == struct.pack("!L", 2)


@on_each_loop
@asynchronous
async def test_missing_pong_drops_the_connection(loop: str) -> None:
    seen = asyncio.get_running_loop().create_future()

    class Protocol(RequestHandlerProtocol):
        def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
            seen.set_result((wasClean, code))

    options = optioned(autoPingInterval=0.01, autoPingTimeout=0.01)
    async with serving(make_router(), protocol=Protocol, **options) as app, await Client.connect(app) as client:
        assert (await client.receive()).opcode == PING
        assert await seen == (False, 1006)
        await client.eof()


@on_each_loop
@pytest.mark.parametrize("form", ["whole", "chopped", "fragmented", "malformed"])
@asynchronous
async def test_any_message_takes_the_place_of_a_pong(loop: str, form: str) -> None:
    options = optioned(autoPingInterval=0.01, autoPingTimeout=60, autoPingRestartOnAnyTraffic=True)
    async with serving(make_router(), **options) as app, await Client.connect(app) as client:
        for n in range(1, 4):
            ping = await client.receive()
            assert (ping.opcode, ping.payload[8:12]) == (PING, struct.pack("!L", n))
            if form == "fragmented":
                client.send(HELLO[:5], fin=False)
                client.send(HELLO[5:], CONTINUATION)
            elif form == "chopped":
                whole = frame(HELLO)
                client.writer.write(whole[:12])
                await turn_over(50)
                client.writer.write(whole[12:])
            else:
                client.send(HELLO if form == "whole" else b"?")
            assert (await client.receive()).opcode == TEXT  # and only then the next ping


@on_each_loop
@asynchronous
async def test_message_takes_no_place_of_a_pong_where_the_option_forbids(loop: str) -> None:
    options = optioned(autoPingInterval=0.01, autoPingTimeout=60, autoPingRestartOnAnyTraffic=False)
    async with serving(make_router(), **options) as app, await Client.connect(app) as client:
        ping = await client.receive()
        for _ in range(3):
            client.send(HELLO)
            assert (await client.receive()).payload == HELLO_REPLY
        assert connection_of(app).autoPingPending == ping.payload
        assert connection_of(app).autoPingTimeoutCall is not None


# Hooks of single frames


def watching(*names: str) -> type[RequestHandlerProtocol]:
    """Give a protocol that overrides these hooks, notes each call in its session, and calls `super()`."""

    def override(name: str) -> Callable[..., Any]:
        def hook(self: Any, *args: Any) -> Any:
            self.session.setdefault(name, []).append(args)
            return getattr(super(protocol, self), name)(*args)

        return hook

    protocol: Any = type("Watching", (RequestHandlerProtocol,), {name: override(name) for name in names})
    return protocol  # type: ignore[no-any-return]


@on_each_loop
@pytest.mark.parametrize(
    ("hook", "calls"),
    [
        ("onMessageBegin", MESSAGES),
        ("onMessageFrameBegin", DATA_FRAMES),
        ("onMessageFrameEnd", DATA_FRAMES),
        ("onMessageFrame", DATA_FRAMES),
        ("onMessageEnd", MESSAGES),
        ("onFrameBegin", DATA_FRAMES + 1),
        ("onFrameEnd", DATA_FRAMES + 1),
    ],
)
@asynchronous
async def test_hook_of_single_frames_sees_every_frame(loop: str, hook: str, calls: int) -> None:
    async with serving(make_router(), protocol=watching(hook)) as app, await Client.connect(app) as client:
        connection = connection_of(app)
        assert not connection._fast
        await asks_in_every_way(client)
        assert len(connection.session[hook]) == calls
        assert connection._fast_frames == 0


@on_each_loop
@asynchronous
async def test_hook_of_frame_data_sees_every_byte(loop: str) -> None:
    protocol = watching("onMessageFrameData", "onMessageBegin")
    async with serving(make_router(), protocol=protocol) as app, await Client.connect(app) as client:
        client.send(HELLO[:5], fin=False)
        client.send(HELLO[5:], CONTINUATION)
        client.send(HELLO, BINARY)
        assert [(await client.receive()).opcode for _ in range(2)] == [TEXT, BINARY]
        session = connection_of(app).session
        assert b"".join(data for (data,) in session["onMessageFrameData"]) == HELLO * 2
        assert session["onMessageBegin"] == [(False,), (True,)]


@asynchronous
async def test_hook_of_single_frames_may_be_a_coroutine() -> None:
    seen: list[bool] = []

    class Protocol(RequestHandlerProtocol):
        def onMessageBegin(self, isBinary: bool) -> Any:
            super().onMessageBegin(isBinary)

            async def note() -> None:
                seen.append(isBinary)

            return note()

    async with serving(make_router(), protocol=Protocol) as app, await Client.connect(app) as client:
        await asks_in_every_way(client)
        assert seen == [False] * 5 + [True, False, False]


@pytest.mark.parametrize(
    ("name", "fast"),
    [
        *(
            (name, True)
            for name in ("onOpen", "onClose", "onConnect", "onMessage", "_decode_message", "_encode_message")
        ),
        *((name, True) for name in ("sendMessage", "onPing", "onPong", "sendFrame", "sendData", "logTxFrame")),
        *((name, False) for name in ("onMessageBegin", "onMessageFrameBegin", "onMessageFrameData")),
        *((name, False) for name in ("onMessageFrameEnd", "onMessageFrame", "onMessageEnd", "onFrameBegin")),
        *((name, False) for name in ("onFrameData", "onFrameEnd", "processData", "processControlFrame")),
        *((name, False) for name in ("logRxFrame", "logRxOctets")),
    ],
)
@asynchronous
async def test_only_hooks_of_single_frames_switch_the_frame_reader_off(name: str, fast: bool) -> None:
    def override(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(RequestHandlerProtocol, name)(self, *args, **kwargs)

    protocol = type("Overriding", (RequestHandlerProtocol,), {name: override})
    async with serving(make_router(), protocol=protocol) as app, await Client.connect(app) as client:
        assert connection_of(app)._fast is fast
        client.send(HELLO)
        assert (await client.receive()).payload == HELLO_REPLY


# Logs, statistics, timings


@on_each_loop
@asynchronous
async def test_log_frames_shows_every_frame(loop: str) -> None:
    seen: list[Any] = []

    class Protocol(RequestHandlerProtocol):
        def logRxFrame(self, frameHeader: Any, payload: Any) -> None:
            seen.append(("in", frameHeader.opcode, b"".join(payload)))

        def logTxFrame(self, frameHeader: Any, payload: Any, *args: Any) -> None:
            seen.append(("out", frameHeader.opcode, payload))

    options = optioned(logFrames=True)
    async with serving(make_router(), protocol=Protocol, **options) as app, await Client.connect(app) as client:
        client.writer.write(frame(HELLO) + frame(b"p", PING) + frame(HELLO))
        assert [(await client.receive()).opcode for _ in range(3)] == [TEXT, PONG, TEXT]
        exchange = [("in", TEXT, HELLO), ("out", TEXT, HELLO_REPLY)]
        assert seen == [*exchange, ("in", PING, b"p"), ("out", PONG, b"p"), *exchange]


@on_each_loop
@asynchronous
async def test_log_octets_shows_every_byte(loop: str) -> None:
    came, went = bytearray(), bytearray()

    class Protocol(RequestHandlerProtocol):
        def logRxOctets(self, data: bytes) -> None:
            came.extend(data)

        def logTxOctets(self, data: bytes, sync: bool) -> None:
            went.extend(data)

    options = optioned(logOctets=True)
    async with serving(make_router(), protocol=Protocol, **options) as app, await Client.connect(app) as client:
        sent = frame(HELLO) + frame(b"p", PING) + frame(HELLO)
        client.writer.write(sent)
        for _ in range(3):
            await client.receive()
        head, _, rest = bytes(came).partition(b"\r\n\r\n")
        assert head.startswith(b"GET / HTTP/1.1")
        assert rest == sent
        reply = bytes([0x81, len(HELLO_REPLY)]) + HELLO_REPLY
        assert bytes(went).partition(b"\r\n\r\n")[2] == reply + b"\x8a\x01p" + reply


@pytest.mark.parametrize("flag", ["logFrames", "logOctets", "trackTimings"])
@asynchronous
async def test_flag_sends_everything_autobahns_way(flag: str) -> None:
    async with serving(make_router(), **optioned(**{flag: True})) as app, await Client.connect(app) as client:
        await asks_in_every_way(client)
        connection = connection_of(app)
        assert connection._fast_frames == connection._frames_out == 0


@on_each_loop
@asynchronous
async def test_timings_are_tracked(loop: str) -> None:
    async with serving(make_router(), **optioned(trackTimings=True)) as app, await Client.connect(app) as client:
        client.send(HELLO)
        assert (await client.receive()).payload == HELLO_REPLY
        timings = connection_of(app).trackedTimings
        assert {"onOpen", "onMessageBegin", "onMessage", "sendMessage"} <= set(timings._timings)


class PlainServer(WebSocketServerProtocol):
    """Answers as ours does, by plain Autobahn."""

    made: Any = None

    def onOpen(self) -> None:
        type(self).made = self

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(HELLO_REPLY, isBinary)


def _zipped(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


FRAGMENTED = frame(HELLO[:9], fin=False) + frame(b"p", PING) + frame(HELLO[9:], CONTINUATION)
TRAFFIC = {
    "one": [frame(HELLO)],
    "pipelined": [frame(HELLO) * 20 + frame(HELLO, BINARY)],
    "packets": [frame(HELLO), frame(HELLO)],
    "long": [frame(HELLO + b" " * 70_000), frame(HELLO + b" " * 300)],
    "fragmented": [FRAGMENTED, frame(HELLO)],
    "pings": [frame(b"a", PING) + frame(HELLO) + frame(b"b", PONG) + frame(b"", PING), frame(HELLO)],
    "compressed": [frame(_zipped(HELLO), compressed=True), frame(HELLO)],
    "behind": [frame(HELLO) * 2, frame(HELLO)],
}


async def traffic(address: Any, kind: str, made: Callable[[], Any]) -> dict[str, int]:
    """Send the traffic of `kind`, wait for its replies, and give what the server has counted."""
    headers = [("Sec-WebSocket-Extensions", "permessage-deflate")] if kind == "compressed" else []
    packets = TRAFFIC[kind]
    behind = packets[0] if kind == "behind" else b""
    async with await Client.connect(address, headers=headers, behind=behind) as client:
        for packet in packets:
            if not (behind and packet is packets[0]):
                client.writer.write(packet)
            for _ in range(replies_to(packet)):
                await client.receive()
        return dict(vars(made().trafficStats))


def replies_to(packet: bytes) -> int:
    """Count the messages and the pings in a packet of frames."""
    count = at = 0
    while at < len(packet):
        first, size = packet[at], packet[at + 1] & 0x7F
        header = 6
        if size == 126:
            (size,), header = struct.unpack_from("!H", packet, at + 2), 8
        elif size == 127:
            (size,), header = struct.unpack_from("!Q", packet, at + 2), 14
        count += first & 0x80 != 0 and first & 0x0F != PONG
        at += header + size
    return count


@on_each_loop
@pytest.mark.parametrize("kind", TRAFFIC)
@asynchronous
async def test_statistics_are_those_of_plain_autobahn(loop: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from autobahn.websocket.compress import PerMessageDeflateOfferAccept

    monkeypatch.setattr(f"{Packer.__module__}.quickest", lambda: zlib)  # as Autobahn: others give other bytes
    factory = WebSocketServerFactory("ws://127.0.0.1:80", server="aiorest-ws")
    factory.protocol = PlainServer
    accept = {"perMessageCompressionAccept": lambda offers: PerMessageDeflateOfferAccept(offers[0])}
    factory.setProtocolOptions(**accept)
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    async with server:
        plain = await traffic(server.sockets[0].getsockname()[:2], kind, lambda: PlainServer.made)
        await until(lambda: factory.countConnections == 0)
        PlainServer.made.waiter.cancel()
        PlainServer.made = None
    async with serving(make_router(), compress_threshold=0, **optioned(**accept)) as app:
        ours = await traffic(app, kind, lambda: connection_of(app))
    # The port is in the request.
    assert abs(ours.pop("preopenIncomingOctetsWireLevel") - plain.pop("preopenIncomingOctetsWireLevel")) <= 5
    assert ours == plain


@asynchronous
async def test_statistics_are_the_same_however_often_they_are_read() -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client:
        connection = connection_of(app)
        for n in range(1, 4):
            client.send(HELLO)
            await client.receive()
            stats = connection.trafficStats
            assert stats is connection.trafficStats
            assert (stats.incomingWebSocketMessages, stats.outgoingWebSocketMessages) == (n, n)
            assert (stats.incomingOctetsAppLevel, stats.outgoingOctetsAppLevel) == (
                n * len(HELLO),
                n * len(HELLO_REPLY),
            )


# Options of the class and of the instance


class LimitedByClass(RequestHandlerProtocol):
    maxMessagePayloadSize = 100


class LimitedOnConnect(RequestHandlerProtocol):
    def onConnect(self, request: Any) -> None:
        self.maxMessagePayloadSize = 100


class LimitedOnOpen(RequestHandlerProtocol):
    def onOpen(self) -> None:
        self.maxMessagePayloadSize = 100


class LimitedByFrame(RequestHandlerProtocol):
    maxFramePayloadSize = 100


@pytest.mark.parametrize("protocol", [LimitedByClass, LimitedOnConnect, LimitedOnOpen, LimitedByFrame])
@pytest.mark.parametrize("whole", [True, False])
@asynchronous
async def test_limit_of_a_message_is_honoured(protocol: type[RequestHandlerProtocol], whole: bool) -> None:
    async with serving(make_router(), protocol=protocol) as app, await Client.connect(app) as client:
        client.send(HELLO.ljust(100))
        assert (await client.receive()).payload == HELLO_REPLY
        sent = frame(HELLO.ljust(101))
        client.writer.write(sent if whole else sent[:8])
        closed = await client.receive()
        assert closed.close_code == 1009


class Unchecked(RequestHandlerProtocol):
    utf8validateIncoming = False


class UncheckedOnOpen(RequestHandlerProtocol):
    def onOpen(self) -> None:
        self.utf8validateIncoming = False


@pytest.mark.parametrize("protocol", [Unchecked, UncheckedOnOpen])
@asynchronous
async def test_unchecked_utf8_is_a_malformed_request(protocol: type[RequestHandlerProtocol]) -> None:
    async with serving(make_router(), protocol=protocol) as app, await Client.connect(app) as client:
        for sent in (frame(b'{"method":"\xff"}'), frame(b'{"me', fin=False) + frame(b'thod":"\xff"}', CONTINUATION)):
            client.writer.write(sent)
            assert "detail" in await client.reply()
        assert (await client.ask())["data"] == "Hello, world!"


class Dropping(RequestHandlerProtocol):
    failByDrop = True


@on_each_loop
@pytest.mark.parametrize("fault", [b"\xf1\x80\0\0\0\0", b"\x81\x00", frame(b"\xff")], ids=["rsv", "unmasked", "utf8"])
@asynchronous
async def test_fail_by_drop_sends_no_close_frame(loop: str, fault: bytes) -> None:
    async with serving(make_router(), protocol=Dropping) as app, await Client.connect(app) as client:
        client.send(HELLO)
        assert (await client.receive()).payload == HELLO_REPLY
        client.writer.write(fault + frame(HELLO))
        await client.eof()


@on_each_loop
@asynchronous
async def test_replies_are_fragmented_where_the_option_says(loop: str) -> None:
    async with serving(make_router(), **optioned(autoFragmentSize=20)) as app, await Client.connect(app) as client:
        assert connection_of(app)._fast
        client.writer.write(frame(HELLO) + frame(HELLO))
        pieces = [HELLO_REPLY[at : at + 20] for at in range(0, len(HELLO_REPLY), 20)]
        heads = [(0x01, 20), (0x00, 20), (0x80, len(pieces[-1]))]
        wanted = b"".join(bytes(head) + piece for head, piece in zip(heads, pieces, strict=True))
        assert await client.reader.readexactly(2 * len(wanted)) == wanted * 2


@on_each_loop
@asynchronous
async def test_close_handshake_that_is_not_answered_times_out(loop: str) -> None:
    class Hasty(RequestHandlerProtocol):
        closeHandshakeTimeout = 0.01

    router = make_router(close=lambda request: request.connection.close(4000))
    async with serving(router, protocol=Hasty) as app, await Client.connect(app) as client:
        client.request(url="/close")
        assert (await client.receive()).close_code == 4000
        await client.eof()


@on_each_loop
@asynchronous
async def test_opening_handshake_that_does_not_come_times_out(loop: str) -> None:
    async with serving(make_router(), **optioned(openHandshakeTimeout=0.01)) as app:
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        async with Client(reader, writer, {}) as client:
            writer.write(b"GET / HTTP/1.1\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 408 ")
            await client.eof()


@asynchronous
async def test_close_code_is_echoed_where_the_option_says() -> None:
    async with serving(make_router(), **optioned(echoCloseCodeReason=True)) as app, await Client.connect(app) as client:
        closed = await client.leave(4321, "bye")
        assert (closed.close_code, closed.close_reason) == (4321, "bye")


@asynchronous
async def test_option_of_one_connection_is_not_that_of_another() -> None:
    async with (
        serving(make_router()) as app,
        await Client.connect(app) as client,
        await Client.connect(app) as other,
    ):
        first, second = factory_of(app).connections
        first.closeHandshakeTimeout = 77
        assert second.closeHandshakeTimeout != 77
        assert (await client.ask())["data"] == (await other.ask())["data"] == "Hello, world!"


@on_each_loop
@asynchronous
async def test_replies_and_pongs_wait_behind_a_trickled_send(loop: str) -> None:
    def trickle(request: Any) -> str:
        request.connection.sendFrame(opcode=BINARY, payload=b"trickled", chopsize=1)
        return "sent"

    async with serving(make_router(trickle=trickle)) as app, await Client.connect(app) as client:
        trickling = frame(dump({"method": "GET", "url": "/trickle"}))
        client.writer.write(frame(HELLO) + trickling + frame(b"p", PING) + frame(HELLO))
        assert await client.receive() == Frame(TEXT, HELLO_REPLY)
        assert await client.receive() == Frame(BINARY, b"trickled")
        assert (await client.reply())["data"] == "sent"
        assert await client.receive() == Frame(PONG, b"p")
        assert await client.receive() == Frame(TEXT, HELLO_REPLY)


# An asynchronous onConnect, and what comes behind the handshake


class Deciding(RequestHandlerProtocol):
    """Decides when the test says so: `deciding` is made by the test."""

    deciding: asyncio.Future[Any]
    connected: RequestHandlerProtocol | None = None

    async def onConnect(self, request: Any) -> Any:  # type: ignore[override]
        type(self).connected = self
        return await type(self).deciding


@asynccontextmanager
async def knocking(**handlers: Callable[..., Any]) -> AsyncIterator[tuple[Client, Any]]:
    """Send a handshake to a server of `Deciding`; give a client that has no answer yet, and the connection."""
    Deciding.deciding = asyncio.get_running_loop().create_future()
    Deciding.connected = None
    async with serving(make_router(**handlers), protocol=Deciding) as app:
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        writer.write(REQUEST)
        await until(lambda: Deciding.connected is not None)
        async with Client(reader, writer, {}) as client:
            yield client, Deciding.connected


@on_each_loop
@asynchronous
async def test_frames_that_come_while_on_connect_decides_are_held_and_answered_in_order(loop: str) -> None:
    async with knocking() as (client, connection):
        sent = 0
        for n in range(20):
            packet = frame(dump({"method": "GET", "url": f"/{'later' if n % 2 else 'n'}/{n}"}))
            client.writer.write(packet)
            sent += len(packet)
            await until(lambda: len(connection.data) == sent)  # noqa: B023
        half = frame(HELLO)
        client.writer.write(half[:9])
        await until(lambda: len(connection.data) == sent + 9)
        assert connection.state == connection.STATE_CONNECTING
        Deciding.deciding.set_result(None)
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        client.writer.write(half[9:])
        assert [(await client.reply())["data"] for _ in range(20)] == list(range(20))
        assert (await client.receive()).payload == HELLO_REPLY
        await client.leave()


@on_each_loop
@asynchronous
async def test_too_much_while_on_connect_decides_stays_in_the_socket(loop: str) -> None:
    async with knocking() as (client, connection):
        packet = frame(HELLO.ljust(10_000))
        client.writer.write(packet * 1000)
        await until(lambda: len(connection.data) > 16 * 1024)
        await turn_over(50)
        assert len(connection.data) < 1024 * 1024
        Deciding.deciding.set_result(None)
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        for _ in range(1000):
            assert (await client.receive()).payload == HELLO_REPLY
        assert connection.data == b""


@on_each_loop
@pytest.mark.parametrize(("error", "status"), [(ConnectionDeny(403, "no"), b"403 no"), (OSError("x"), b"500")])
@asynchronous
async def test_refused_on_connect_answers_nothing_of_what_came(loop: str, error: Exception, status: bytes) -> None:
    calls: list[Any] = []
    async with knocking(call=calls.append) as (client, connection):
        packet = frame(dump({"method": "GET", "url": "/call"}))
        client.writer.write(packet)
        await until(lambda: connection.data == packet)
        Deciding.deciding.set_exception(error)
        assert (await client.reader.read()).startswith(b"HTTP/1.1 " + status)
        assert calls == []


@on_each_loop
@asynchronous
async def test_client_that_leaves_while_on_connect_decides_is_forgotten(loop: str) -> None:
    async with knocking() as (client, connection):
        await client.drop()
        await until(lambda: connection.transport is None)
        assert not connection.factory.connections
        await until(Deciding.deciding.cancelled)
        assert connection.state == connection.STATE_CLOSED


@on_each_loop
@asynchronous
async def test_decision_that_comes_too_late_opens_nothing(loop: str) -> None:
    async with knocking() as (client, connection):
        connection.onOpenHandshakeTimeout()
        Deciding.deciding.set_result(None)
        await turn_over()
        assert connection.state == connection.STATE_CLOSED
        await client.eof()


async def fed(*packets: bytes) -> tuple[Any, Transport]:
    """Give a connection, and its transport, that gets these packets in one turn of the loop."""
    connection = RequestHandlerFactory("ws://127.0.0.1:80", router=make_router())()
    transport = Transport()
    connection.connection_made(transport)
    for packet in packets:
        connection.data_received(packet)
    await turn_over()
    return connection, transport


REPLY = bytes([0x81, len(HELLO_REPLY)]) + HELLO_REPLY


@asynchronous
async def test_packets_right_behind_the_handshake_are_answered() -> None:
    request = frame(HELLO)
    for packets in (
        [REQUEST, request],
        [REQUEST + request[:1], request[1:]],
        [REQUEST[:50], REQUEST[50:] + request[:9], request[9:]],
        [REQUEST[:-1], REQUEST[-1:], request[:20], request[20:]],
    ):
        connection, transport = await fed(*packets)
        assert transport.written[1:] == [REPLY]
        connection.connection_lost(None)


@pytest.mark.parametrize("at", range(1, 18))
@asynchronous
async def test_fragment_behind_the_handshake_may_be_cut_anywhere(at: int) -> None:
    """What Autobahn holds of a frame must outlive the end of the handshake."""
    first = frame(HELLO[:9], fin=False)
    connection, transport = await fed(REQUEST + first[:at])
    connection.data_received(first[at:] + frame(HELLO[9:], CONTINUATION))
    assert transport.written[1:] == [REPLY]
    connection.connection_lost(None)


@pytest.mark.parametrize("at", range(1, 8))
@asynchronous
async def test_close_frame_behind_the_handshake_may_be_cut_anywhere(at: int) -> None:
    closing = frame(b"\x03\xe8", CLOSE)
    connection, transport = await fed(REQUEST + closing[:at])
    connection.data_received(closing[at:])
    assert transport.written[1:] == [b"\x88\x02\x03\xe8"]
    connection.connection_lost(None)


@asynchronous
async def test_refusal_by_an_unknown_path_is_an_http_error() -> None:
    async with serving(make_router(), path="/api") as app:
        with pytest.raises(HandshakeRefused, match="404"):
            await Client.connect(app, "/other", behind=frame(HELLO))


@asynchronous
async def test_factory_that_names_no_path_accepts_any() -> None:
    """As the docstring of RequestHandlerFactory says of `path`."""
    factory = RequestHandlerFactory(router=make_router())
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    async with server, await Client.connect(server.sockets[0].getsockname()[:2], "/any?a=b") as client:
        assert (await client.ask())["data"] == "Hello, world!"
        await client.leave()


@asynchronous
async def test_statistics_end_with_the_close_frame_that_was_sent() -> None:
    """As in Autobahn: what comes while it waits for the client's close frame is not counted."""
    connection, _ = await fed(REQUEST + frame(HELLO))
    assert connection.trafficStats.incomingOctetsWireLevel == 0  # it came before the handshake was answered
    connection.data_received(frame(HELLO))
    connection.close(1000)
    connection.data_received(frame(HELLO) + frame(b"\x03\xe8", CLOSE))
    assert connection.trafficStats.incomingOctetsWireLevel == len(frame(HELLO))
    assert connection.trafficStats.incomingWebSocketMessages == 2
    connection.connection_lost(None)
