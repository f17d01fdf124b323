"""permessage-deflate (RFC 7692): what is agreed on, and what comes compressed, over a real socket."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from aiorest_ws import RequestHandlerProtocol
from aiorest_ws.app import deflate_offer_accept
from tests.serving import (
    BINARY,
    CONTINUATION,
    LOOPS,
    PING,
    PONG,
    TEXT,
    Client,
    Frame,
    asynchronous,
    connection_of,
    dump,
    frame,
    serving,
)
from tests.test_overrides import make_router

on_each_loop = pytest.mark.parametrize("loop", LOOPS)

HELLO = dump({"method": "GET", "url": "/hello"})
HELLO_REPLY = b'{"data":"Hello, world!","event_name":null}'
DEFLATE = [("Sec-WebSocket-Extensions", "permessage-deflate")]


class Zip:
    """One direction's compressor and the other's decompressor, with context takeover."""

    def __init__(self) -> None:
        self.packer = zlib.compressobj(wbits=-15)
        self.unpacker = zlib.decompressobj(wbits=-15)

    def pack(self, data: bytes) -> bytes:
        return (self.packer.compress(data) + self.packer.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def unpack(self, frame: Frame) -> bytes:
        assert frame.compressed
        return self.unpacker.decompress(frame.payload + b"\x00\x00\xff\xff")


@on_each_loop
@asynchronous
async def test_compress_negotiates_permessage_deflate(loop: str) -> None:
    router = make_router(long=lambda request: "x" * 100_000)
    async with serving(router, compress=True) as app:
        async with await Client.connect(app, headers=DEFLATE) as client:
            assert client.headers["sec-websocket-extensions"] == "permessage-deflate"
            zipped = Zip()
            for url, data in (("/hello", "Hello, world!"), ("/long", "x" * 100_000), ("/hello", "Hello, world!")):
                client.send(zipped.pack(dump({"method": "GET", "url": url})), compressed=True)
                reply = await client.receive()
                assert reply.opcode == TEXT
                assert len(reply.payload) < 1000
                assert zipped.unpack(reply) == dump({"data": data, "event_name": None})
            client.send(HELLO)  # a client may send plain ones among them
            assert zipped.unpack(await client.receive()) == HELLO_REPLY
        async with await Client.connect(app) as client:
            assert "sec-websocket-extensions" not in client.headers
            assert (await client.ask())["data"] == "Hello, world!"


@asynchronous
async def test_compression_is_off_by_default_and_can_be_decided() -> None:
    async with serving(make_router()) as app, await Client.connect(app, headers=DEFLATE) as client:
        assert "sec-websocket-extensions" not in client.headers
        assert (await client.ask())["data"] == "Hello, world!"
    offers: list[Any] = []

    def decide(offered: list[Any]) -> Any:
        offers.extend(offered)

    async with (
        serving(make_router(), compress=True, accept_function=decide) as app,
        await Client.connect(app, headers=DEFLATE) as client,
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


@on_each_loop
@asynchronous
async def test_compressed_and_plain_messages_are_answered_compressed(loop: str) -> None:
    async with (
        serving(make_router(), compress=True) as app,
        await Client.connect(app, headers=DEFLATE) as client,
    ):
        assert "permessage-deflate" in client.headers["sec-websocket-extensions"]
        zipped = Zip()
        sizes = []
        for n in range(6):
            request = dump({"method": "GET", "url": f"/n/{n}"})
            if n % 3 == 2:
                client.send(request)
            else:
                payload = zipped.pack(request)
                sizes.append(len(payload))
                client.send(payload, compressed=True)
            assert json.loads(zipped.unpack(await client.receive()))["data"] == n
        assert max(sizes[1:]) < sizes[0]  # the context was taken over
        connection = connection_of(app)
        assert connection._fast
        assert (connection._fast_frames, connection._unusual_frames) == (2, 4)
        await client.leave()


@on_each_loop
@asynchronous
async def test_compressed_fragments_and_pipelined_messages_are_answered(loop: str) -> None:
    async with (
        serving(make_router(long=lambda request: "x" * 100_000), compress=True) as app,
        await Client.connect(app, headers=DEFLATE) as client,
    ):
        zipped = Zip()
        packed = zipped.pack(HELLO)
        client.writer.write(
            frame(packed[:5], fin=False, compressed=True)
            + frame(b"p", PING)
            + frame(packed[5:9], CONTINUATION, fin=False)
            + frame(packed[9:], CONTINUATION)
            + frame(zipped.pack(HELLO), BINARY, compressed=True)
            + frame(dump({"method": "GET", "url": "/long"}))
            + b"".join(
                frame(zipped.pack(dump({"method": "GET", "url": f"/later/{n}"})), compressed=True) for n in range(9)
            )
        )
        assert await client.receive() == Frame(PONG, b"p")
        assert zipped.unpack(await client.receive()) == HELLO_REPLY
        assert zipped.unpack(await client.receive()) == HELLO_REPLY
        long = await client.receive()
        assert len(long.payload) < 1000
        assert json.loads(zipped.unpack(long))["data"] == "x" * 100_000
        assert [json.loads(zipped.unpack(await client.receive()))["data"] for _ in range(9)] == list(range(9))


@on_each_loop
@asynchronous
async def test_corrupt_deflate_closes_1007_behind_the_replies_before_it(loop: str) -> None:
    async with (
        serving(make_router(), compress=True) as app,
        await Client.connect(app, headers=DEFLATE) as client,
    ):
        zipped = Zip()
        client.writer.write(
            frame(zipped.pack(HELLO), compressed=True) + frame(b"\xff" * 20, compressed=True) + frame(HELLO) * 3
        )
        assert zipped.unpack(await client.receive()) == HELLO_REPLY
        assert (await client.left()).close_code == 1007


@on_each_loop
@asynchronous
async def test_compressed_text_that_is_not_utf8_closes_1007(loop: str) -> None:
    async with (
        serving(make_router(), compress=True) as app,
        await Client.connect(app, headers=DEFLATE) as client,
    ):
        client.send(Zip().pack(b'{"method":"\xff"}'), compressed=True)
        assert (await client.left()).close_code == 1007


@on_each_loop
@asynchronous
async def test_message_that_inflates_beyond_the_limit_closes_1009(loop: str) -> None:
    class Limited(RequestHandlerProtocol):
        maxMessagePayloadSize = 1000

    async with (
        serving(make_router(), compress=True, protocol=Limited) as app,
        await Client.connect(app, headers=DEFLATE) as client,
    ):
        client.send(Zip().pack(b" " * 1_000_000), compressed=True)
        assert (await client.left()).close_code == 1009


@asynchronous
async def test_compressed_frame_without_the_extension_closes_1002() -> None:
    async with serving(make_router(), compress=True) as app, await Client.connect(app) as client:
        assert "sec-websocket-extensions" not in client.headers
        client.send(HELLO)
        assert await client.receive() == Frame(TEXT, HELLO_REPLY)
        client.send(Zip().pack(HELLO), compressed=True)
        assert (await client.left()).close_code == 1002
