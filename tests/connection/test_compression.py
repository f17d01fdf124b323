"""permessage-deflate (RFC 7692): what is agreed on, and what comes compressed, over a real socket."""

from __future__ import annotations

import json
import random
import zlib
from base64 import b64decode, b64encode
from importlib import import_module
from typing import Any

import pytest
from autobahn.websocket.compress import PerMessageDeflateOfferAccept

from aiorest_ws import Application, RequestHandlerProtocol
from aiorest_ws._speedups import Packer
from aiorest_ws.app import deflate_offer_accept
from tests.serving import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LOOPS,
    PING,
    PONG,
    TEXT,
    ZLIBS,
    Client,
    Frame,
    asynchronous,
    connection_of,
    dump,
    factory_of,
    frame,
    make_router,
    serving,
)

on_each_loop = pytest.mark.parametrize("loop", LOOPS)


@pytest.fixture(params=ZLIBS)
def each_zlib(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is sent deflated by one module after another, of those that are here."""
    monkeypatch.setattr(f"{Packer.__module__}.quickest", lambda: import_module(request.param))


by_each_zlib = pytest.mark.usefixtures("each_zlib")

HELLO = dump({"method": "GET", "url": "/hello"})
HELLO_REPLY = b'{"data":"Hello, world!","event_name":null}'
TAIL = b"\x00\x00\xff\xff"
DEFLATE = [("Sec-WebSocket-Extensions", "permessage-deflate")]


class Zip:
    """One direction's compressor, and the other's decompressor, both with context takeover unless `alone`."""

    def __init__(self, window_bits: int = 15, *, alone: bool = False) -> None:
        self.window_bits = window_bits
        self.alone = alone
        self.packer = zlib.compressobj(wbits=-window_bits)
        self.unpacker = zlib.decompressobj(wbits=-15)

    def pack(self, data: bytes) -> bytes:
        if self.alone:
            self.packer = zlib.compressobj(wbits=-self.window_bits)
        return (self.packer.compress(data) + self.packer.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def finish(self, data: bytes) -> bytes:
        """Give a payload whose last block says that it is the last (RFC 7692 §7.2.3.4)."""
        packer = zlib.compressobj(wbits=-self.window_bits)
        return packer.compress(data) + packer.flush(zlib.Z_FINISH) + b"\x00"

    def unpack(self, frame: Frame) -> bytes:
        assert frame.compressed
        if self.alone:
            self.unpacker = zlib.decompressobj(wbits=-15)
        return self.unpacker.decompress(frame.payload + b"\x00\x00\xff\xff")


def offering(extensions: str) -> dict[str, Any]:
    return {"headers": [("Sec-WebSocket-Extensions", extensions)]}


async def echo(request: Any) -> Any:
    return request.data


def echo_router(**handlers: Any) -> Any:
    router = make_router(**handlers)
    router.post("/echo")(echo)
    return router


def posted(data: Any) -> bytes:
    return dump({"method": "POST", "url": "/echo", "data": data})


def echoed(data: Any) -> bytes:
    return dump({"data": data, "event_name": None})


# What is agreed on


AGREEMENTS = {
    "permessage-deflate": "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; client_max_window_bits": (
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=12"
    ),
    "permessage-deflate; client_max_window_bits=15": (
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=12"
    ),
    "permessage-deflate; client_max_window_bits=12": (
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=12"
    ),
    # Never above the offer.
    "permessage-deflate; client_max_window_bits=11": (
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=11"
    ),
    "permessage-deflate; client_max_window_bits=9": (
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=9"
    ),
    "permessage-deflate; client_max_window_bits=8": (
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=8"
    ),
    "permessage-deflate; server_max_window_bits=10": (
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=10"
    ),
    "permessage-deflate; server_max_window_bits=15": (
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=12"
    ),
    "permessage-deflate; server_no_context_takeover": "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; client_no_context_takeover": "permessage-deflate; server_no_context_takeover",
    'Permessage-Deflate ; SERVER_MAX_WINDOW_BITS = "9" ;client_max_window_bits': (
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits=12"
    ),
    # zlib has no window of 256 bytes: declined, and the next offer taken.
    "permessage-deflate; server_max_window_bits=8": None,
    "permessage-deflate; server_max_window_bits=8, permessage-deflate": (
        "permessage-deflate; server_no_context_takeover"
    ),
    # What a server must decline (RFC 7692 §7.1).
    "permessage-deflate; client_max_window_bits=7": None,
    "permessage-deflate; client_max_window_bits=16": None,
    "permessage-deflate; client_max_window_bits=09": None,
    "permessage-deflate; client_max_window_bits=+9": None,
    "permessage-deflate; client_max_window_bits=1_0": None,
    'permessage-deflate; client_max_window_bits=""': None,
    "permessage-deflate; client_max_window_bits; client_max_window_bits": None,
    "permessage-deflate; client_max_window_bits; client_max_window_bits=10": None,
    "permessage-deflate; server_max_window_bits": None,
    "permessage-deflate; server_max_window_bits=16": None,
    "permessage-deflate; server_no_context_takeover=1": None,
    "permessage-deflate; client_no_context_takeover=true": None,
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover": None,
    "permessage-deflate; unknown": None,
    "permessage-deflate; unknown=1, permessage-deflate": "permessage-deflate; server_no_context_takeover",
    # Not an offer of compression, or none at all.
    "x-unknown": None,
    "x-unknown; a=b, permessage-deflate": "permessage-deflate; server_no_context_takeover",
    'x-unknown; a="b, permessage-deflate"': None,
    'x-unknown; a="\\", permessage-deflate"': None,
    "permessage-deflate;": None,
    "permessage-deflate; =1": None,
    "permessage-deflate client_max_window_bits": None,
    ";,=,;;, ,permessage-deflate": "permessage-deflate; server_no_context_takeover",
    "": None,
    ",": None,
    "permessage-deflatex": None,
    # Few offers are looked at: nobody has more.
    "a," * 15 + "permessage-deflate": "permessage-deflate; server_no_context_takeover",
    "a," * 16 + "permessage-deflate": None,
    "permessage-deflate" + "; a" * 5000: None,
}


@by_each_zlib
@pytest.mark.parametrize(("offered", "answered"), AGREEMENTS.items(), ids=[key[:70] for key in AGREEMENTS])
@asynchronous
async def test_offer_is_answered_as_rfc_7692_says(offered: str, answered: str | None) -> None:
    """And what is agreed on works, in both directions."""
    async with (
        serving(echo_router(), compress=True, compress_threshold=0) as app,
        await Client.connect(app, **offering(offered)) as client,
    ):
        assert client.headers.get("sec-websocket-extensions") == answered
        if answered is None:
            client.send(posted("x" * 5000))
            assert await client.receive() == Frame(TEXT, echoed("x" * 5000))
            return
        said = dict(p.strip().partition("=")[::2] for p in answered.split(";"))
        zipped = Zip(max(9, int(said.get("client_max_window_bits", 15))), alone=True)
        zipped.alone = False
        for data in (["x" * 5000], list(range(3000)), "y"):
            client.send(zipped.pack(posted(data)), compressed=True)
            reply = await client.receive()
            assert reply.compressed == (data != "y")  # what would not get shorter is sent as it is
            if reply.compressed:
                inflater = zlib.decompressobj(wbits=-int(said.get("server_max_window_bits", 15)))
                assert inflater.decompress(reply.payload + TAIL) == echoed(data)
            else:
                assert reply.payload == echoed(data)


@pytest.mark.parametrize("offered", ["permessage-deflate", "a," * 8000])
@asynchronous
async def test_offers_are_not_looked_at_where_compression_is_off(offered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr("aiorest_ws.connection.handshake.agree", lambda header, *_: looked.append(header))
    for on in (False, True):
        async with (
            serving(make_router(), compress=on, max_handshake_size=32_768) as app,
            await Client.connect(app, **offering(offered)) as client,
        ):
            assert "sec-websocket-extensions" not in client.headers
            assert (await client.ask())["data"] == "Hello, world!"
            assert looked == ([offered] if on else [])


HEADERS = {
    "many": "a," * 8000,
    "many parameters": "permessage-deflate" + "; a" * 5000,
    "spaces": "a" + " " * 16_000,
    "spaces between": ("a" + " " * 900 + ";") * 17,
    "an open quote": 'a; b="' + "x" * 16_000,
    "quotes": 'a; b="' + '\\"' * 8000,
    "commas": "," * 16_000,
    "a name": "a" * 16_000,
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_reading_offers_is_bounded(header: str) -> None:
    """As few as sixteen looks, each at a character once or twice: counted, not timed."""
    from aiorest_ws.connection.compression import extensions

    class Counting(str):
        looked = 0

        def find(self, *args: Any) -> int:
            Counting.looked += 1
            return super().find(*args)

    assert len(extensions(Counting(header))) <= 16
    assert Counting.looked <= 16


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


ACCEPTS = {
    "as autobahn": ({}, "permessage-deflate", (15, False)),
    "context kept": ({"no_context_takeover": False}, "permessage-deflate", (15, False)),
    "none kept": ({"no_context_takeover": True}, "permessage-deflate; server_no_context_takeover", (15, True)),
    "none kept by the client": (
        {"request_no_context_takeover": True},
        "permessage-deflate; client_no_context_takeover",
        (15, False),
    ),
    "windows": (
        {"request_max_window_bits": 13, "window_bits": 10, "mem_level": 1},
        "permessage-deflate; client_max_window_bits=11",
        (10, False),
    ),
}


@by_each_zlib
@on_each_loop
@pytest.mark.parametrize(("parameters", "answered", "of_server"), ACCEPTS.values(), ids=ACCEPTS)
@asynchronous
async def test_parameters_of_an_accept_function_are_kept(
    loop: str, parameters: dict[str, Any], answered: str, of_server: tuple[int, bool]
) -> None:
    """Autobahn's, by its names; what the client offers is never exceeded."""

    def accept(offers: list[Any]) -> Any:
        return PerMessageDeflateOfferAccept(offers[0], **parameters)

    offer = offering("permessage-deflate; client_max_window_bits=11")
    async with (
        serving(echo_router(), compress=True, accept_function=accept, compress_threshold=0) as app,
        await Client.connect(app, **offer) as client,
    ):
        assert client.headers["sec-websocket-extensions"] == answered
        agreed = connection_of(app)._perMessageCompress
        assert (agreed.server_max_window_bits, agreed.server_no_context_takeover) == of_server
        assert connection_of(app).websocket_extensions_in_use == [agreed]
        zipped = Zip(11, alone="client_no_context_takeover" in answered)
        inflater = Zip(alone="server_no_context_takeover" in answered)
        sizes = []
        for _ in range(3):
            client.send(zipped.pack(posted("a secret, and nothing but a secret")), compressed=True)
            reply = await client.receive()
            sizes.append(len(reply.payload))
            assert inflater.unpack(reply) == echoed("a secret, and nothing but a secret")
        assert (sizes[1] < sizes[0]) is not agreed.server_no_context_takeover


@asynchronous
async def test_limit_of_an_accept_function_is_kept() -> None:
    def accept(offers: list[Any]) -> Any:
        return PerMessageDeflateOfferAccept(offers[0], max_message_size=1000)

    async with (
        serving(echo_router(), compress=True, accept_function=accept) as app,
        await Client.connect(app, headers=DEFLATE) as client,
    ):
        client.send(posted("x" * 2000))  # not compressed: the limit of the server
        assert (await client.receive()).opcode == TEXT
        client.send(Zip().pack(posted("x" * 2000)), compressed=True)
        assert (await client.left()).close_code == 1009


@asynchronous
async def test_another_compression_goes_autobahns_way() -> None:
    import bz2

    from autobahn.websocket.compress import PerMessageBzip2OfferAccept

    def accept(offers: list[Any]) -> Any:
        return PerMessageBzip2OfferAccept(offers[0])

    async with (
        serving(echo_router(), compress=True, accept_function=accept) as app,
        await Client.connect(app, **offering("permessage-bzip2")) as client,
    ):
        assert client.headers["sec-websocket-extensions"] == "permessage-bzip2"
        client.send(bz2.compress(posted("x" * 200)), compressed=True)
        reply = await client.receive()
        assert reply.compressed
        assert bz2.decompress(reply.payload) == echoed("x" * 200)


# Out


@by_each_zlib
@on_each_loop
@asynchronous
async def test_long_replies_and_pushes_are_compressed_and_short_ones_are_not(loop: str) -> None:
    def push(request: Any, size: int) -> int:
        request.connection.send_event("pushed", "x" * size)
        return size

    router = make_router(long=lambda request: "x" * 100_000)
    router.get("/push/{size:int}")(push)
    async with serving(router, compress=True) as app:
        async with await Client.connect(app, headers=DEFLATE) as client:
            zipped = Zip()
            for url, data in (("/hello", "Hello, world!"), ("/long", "x" * 100_000), ("/hello", "Hello, world!")):
                client.send(zipped.pack(dump({"method": "GET", "url": url})), compressed=True)
                reply = await client.receive()
                assert (reply.opcode, reply.compressed) == (TEXT, url == "/long")
                assert len(reply.payload) < 1000
                text = zipped.unpack(reply) if reply.compressed else reply.payload
                assert text == dump({"data": data, "event_name": None})
            for size, compressed in ((900, False), (1100, True)):
                client.request(url=f"/push/{size}")
                pushed, reply = await client.receive(), await client.receive()
                assert (pushed.compressed, reply.compressed) == (compressed, False)
                text = Zip().unpack(pushed) if compressed else pushed.payload
                assert json.loads(text) == {"event_name": "pushed", "data": "x" * size}
        async with await Client.connect(app) as client:
            client.request(url="/long")
            assert (await client.receive()).payload == dump({"data": "x" * 100_000, "event_name": None})


THRESHOLDS = [(0, 1, True), (0, 1000, True), (100, 99, False), (100, 100, True), (2**31, 1_000_000, False)]


@by_each_zlib
@pytest.mark.parametrize(("threshold", "size", "compressed"), THRESHOLDS)
@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_threshold_is_of_the_whole_reply(loop: str, threshold: int, size: int, compressed: bool) -> None:
    frame_size = len(echoed(""))
    data = "x" * max(0, size - frame_size)
    async with (
        serving(echo_router(), compress=True, compress_threshold=threshold, max_message_size=None) as app,
        await Client.connect(app, headers=DEFLATE) as client,
    ):
        client.send(posted(data))
        reply = await client.receive()
        assert reply.compressed == compressed or len(echoed(data)) < 60  # what gets longer is sent as it is
        assert (Zip().unpack(reply) if reply.compressed else reply.payload) == echoed(data)


@pytest.mark.parametrize("value", [-1, 1.5, "1", None, 2**31 + 1, True])
def test_threshold_is_checked(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^compress_threshold must be "):
        Application(compress_threshold=value)


@by_each_zlib
@on_each_loop
@asynchronous
async def test_replies_of_each_form_are_compressed(loop: str) -> None:
    async with (
        serving(echo_router(), compress=True) as app,
        await Client.connect(app, headers=DEFLATE) as client,
    ):
        data = "é" * 2000
        request = posted(data)
        for payload, opcode in (
            (request, TEXT),
            (b64encode(request), TEXT),
            (request, BINARY),
            (b64encode(request), 2),
        ):
            client.send(payload, opcode)
            reply = await client.receive()
            assert reply.opcode == opcode
            text = Zip().unpack(reply)
            assert (b64decode(text) if payload is not request else text) == echoed(data)


@by_each_zlib
@on_each_loop
@asynchronous
async def test_what_one_client_is_sent_is_no_part_of_what_another_is(loop: str) -> None:
    """One compressor serves them all, and what it gives stands for itself: nobody learns what others got."""
    async with serving(echo_router(), compress=True, compress_threshold=0) as app:
        clients = [await Client.connect(app, headers=DEFLATE) for _ in range(3)]
        packers = {id(connection._packer) for connection in factory_of(app).connections}
        assert len(packers) == 1
        secret = "a secret of client %d, and not short, so that it would be worth a reference"
        sizes: dict[str, set[int]] = {}
        for _ in range(3):
            for n, client in enumerate(clients):
                client.send(posted(secret % n))
                reply = await client.receive()
                assert Zip().unpack(reply) == echoed(secret % n)
                sizes.setdefault(secret % n, set()).add(len(reply.payload))
        assert all(len(found) == 1 for found in sizes.values())
        for client in clients:
            await client.drop()


@by_each_zlib
@on_each_loop
@asynchronous
async def test_what_was_compressed_once_may_go_to_all_who_share_the_compressor(loop: str) -> None:
    async with serving(make_router(), compress=True) as app:
        clients = [await Client.connect(app, headers=DEFLATE) for _ in range(3)]
        message = dump({"event_name": "news", "data": "x" * 5000})
        connections = list(factory_of(app).connections)
        packer = connections[0]._packer
        assert not packer.takes_over
        once = packer.pack(message)
        for connection in connections:
            assert connection._packer is packer
            connection._write_packed(once, TEXT, len(message))
        for client in clients:
            assert Zip().unpack(await client.receive()) == message
            await client.drop()


class Fragmenting(RequestHandlerProtocol):
    autoFragmentSize = 100


class Sending(RequestHandlerProtocol):
    """Sees each frame that is sent: Autobahn's way."""

    def sendFrame(self, *args: Any, **kwargs: Any) -> None:
        super().sendFrame(*args, **kwargs)


class Seeing(RequestHandlerProtocol):
    """Sees each frame that comes in: Autobahn's way."""

    def onFrameBegin(self) -> None:
        super().onFrameBegin()


@pytest.mark.parametrize("takes_over", [True, False])
@pytest.mark.parametrize("protocol", [RequestHandlerProtocol, Sending, Seeing])
@asynchronous
async def test_replies_have_no_limit_of_what_comes_in(protocol: type[RequestHandlerProtocol], takes_over: bool) -> None:
    """And what one client does not get is no harm to the next."""

    def accept(offers: list[Any]) -> Any:
        return PerMessageDeflateOfferAccept(offers[0], no_context_takeover=not takes_over)

    noise = random.Random(3).randbytes(40_000).hex()
    options: dict[str, Any] = {"protocol": protocol, "accept_function": accept, "max_message_size": 1000}
    async with serving(make_router(long=lambda request: noise), compress=True, **options) as app:
        clients = [await Client.connect(app, headers=DEFLATE) for _ in range(2)]
        zips = [Zip(alone=not takes_over) for _ in clients]
        for _ in range(2):
            for client, zipped in zip(clients, zips, strict=True):
                client.send(zipped.pack(dump({"method": "GET", "url": "/long"})), compressed=True)
                assert json.loads(zipped.unpack(await client.receive()))["data"] == noise
        for connection in factory_of(app).connections:
            assert connection.maxMessagePayloadSize == 1000
        clients[0].send(zips[0].pack(b" " * 2000), compressed=True)
        assert (await clients[0].left()).close_code == 1009
        await clients[1].drop()


@pytest.mark.parametrize("protocol", [Sending, Seeing])
@asynchronous
async def test_subclass_that_sees_frames_agrees_with_its_client_all_the_same(
    protocol: type[RequestHandlerProtocol],
) -> None:
    offer = offering("permessage-deflate; client_max_window_bits")
    async with (
        serving(echo_router(), compress=True, protocol=protocol) as app,
        await Client.connect(app, **offer) as client,
    ):
        zipped = Zip(12, alone=True)
        for n in range(3):
            packed = zipped.pack(posted(f"{n}" * 2000))
            client.send(packed[:5], fin=False, compressed=True)
            client.send(b"p", PING)
            client.send(packed[5:], CONTINUATION)
            assert await client.receive() == Frame(PONG, b"p")
            assert Zip().unpack(await client.receive()) == echoed(f"{n}" * 2000)
            client.send(zipped.finish(posted("short")), compressed=True)
            assert await client.receive() == Frame(TEXT, echoed("short"))
        client.send(b"\xff" * 9, compressed=True)
        assert (await client.left()).close_code == 1007


@asynchronous
async def test_message_that_is_given_up_behind_the_compressor_drops_the_connection() -> None:
    """The next one would refer to what the client never got."""

    def send(request: Any) -> str:
        try:
            request.connection.sendMessage(b"x" * 2000, False, 0)  # fragments of no bytes
        except Exception as exc:
            return str(exc)
        return "sent"

    def accept(offers: list[Any]) -> Any:
        return PerMessageDeflateOfferAccept(offers[0])

    async with (
        serving(make_router(send=send), compress=True, accept_function=accept) as app,
        await Client.connect(app, headers=DEFLATE) as client,
        await Client.connect(app) as other,
    ):
        client.request(url="/send")
        await client.eof()
        assert "fragment size" in (await other.ask(url="/send"))["data"]  # nothing was compressed
        assert (await other.ask())["data"] == "Hello, world!"


@pytest.mark.parametrize("size", [100, 5000])
@asynchronous
async def test_message_may_be_sent_without_compression_or_in_fragments(size: int) -> None:
    def send(request: Any) -> str:
        request.connection.sendMessage(b"x" * size, False, doNotCompress=True)
        request.connection.sendMessage(b"y" * size, True)
        return "sent"

    async with (
        serving(make_router(send=send), compress=True) as app,
        await Client.connect(app, headers=DEFLATE) as client,
    ):
        client.request(url="/send")
        assert await client.receive() == Frame(TEXT, b"x" * size)
        pushed = await client.receive()
        assert pushed.compressed == (size > 1024)
        assert (Zip().unpack(pushed) if pushed.compressed else pushed.payload) == b"y" * size
        assert (await client.reply())["data"] == "sent"


# In


@on_each_loop
@pytest.mark.parametrize("client_alone", [True, False])
@asynchronous
async def test_compressed_and_plain_messages_are_answered_on_the_fast_path(loop: str, client_alone: bool) -> None:
    async with (
        serving(make_router(), compress=True) as app,
        await Client.connect(app, headers=DEFLATE) as client,
    ):
        zipped = Zip(alone=client_alone)
        sizes = []
        for n in range(6):
            request = dump({"method": "GET", "url": f"/n/{n}"})
            if n % 3 == 2:
                client.send(request)
            else:
                payload = zipped.pack(request)
                sizes.append(len(payload))
                client.send(payload, compressed=True)
            assert json.loads((await client.receive()).payload)["data"] == n
        assert (max(sizes[1:]) < sizes[0]) is not client_alone
        connection = connection_of(app)
        assert connection._fast
        assert (connection._fast_frames, connection._unusual_frames) == (6, 0)
        await client.leave()


@on_each_loop
@pytest.mark.parametrize("kept", [True, False])
@asynchronous
async def test_final_blocks_are_no_end_of_the_connection(loop: str, kept: bool) -> None:
    """Legal (RFC 7692 §7.2.3.4), alone and among others, in one frame and in many; nothing is kept of them."""

    def accept(offers: list[Any]) -> Any:
        return PerMessageDeflateOfferAccept(offers[0], request_no_context_takeover=not kept, no_context_takeover=True)

    async with (
        serving(echo_router(), compress=True, accept_function=accept) as app,
        await Client.connect(app, headers=DEFLATE) as client,
    ):
        zipped = Zip(alone=True)
        for n in range(20):
            payload = zipped.finish(posted(n)) if n % 5 else zipped.pack(posted(n))
            if n % 2:
                client.send(payload, compressed=True)
            else:
                client.send(payload[:9], fin=False, compressed=True)
                client.send(b"", CONTINUATION, fin=False)
                client.send(payload[9:-1], CONTINUATION, fin=False)
                client.send(payload[-1:], CONTINUATION)
            assert await client.receive() == Frame(TEXT, echoed(n))
        both = zipped.finish(posted("x")[:-9])[:-1] + zipped.finish(posted("x")[-9:])
        client.send(both, compressed=True)
        assert await client.receive() == Frame(TEXT, echoed("x"))
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
        assert (await client.receive()).payload == HELLO_REPLY
        assert (await client.receive()).payload == HELLO_REPLY
        long = await client.receive()
        assert len(long.payload) < 1000
        assert json.loads(zipped.unpack(long))["data"] == "x" * 100_000
        for n in range(9):
            assert (await client.reply())["data"] == n


FAULTS = {
    "garbage": ([frame(b"\xff" * 20, compressed=True)], 1007),
    "garbage behind": ([frame(Zip().pack(HELLO) + b"\x12\x34", compressed=True)], 1007),
    "garbage behind a final block": ([frame(Zip().finish(HELLO)[:-1] + b"\xff\xff", compressed=True)], 1007),
    "final blocks without end": ([frame(b"\x03\x00" * 5000, compressed=True)], 1007),
    "not utf-8": ([frame(Zip().pack(b'{"method":"\xff"}'), compressed=True)], 1007),
    "not utf-8 across fragments": (
        [frame(Zip().pack(b'"\xe2')[:-1], fin=False, compressed=True), frame(b"\x00" + TAIL + b"\x00", CONTINUATION)],
        1007,
    ),
    "compressed bit on a continuation": (
        [frame(Zip().pack(HELLO)[:3], fin=False, compressed=True), frame(b"x", CONTINUATION, compressed=True)],
        1002,
    ),
    "compressed bit on a continuation of a plain message": (
        [frame(b"{", fin=False), frame(b"}", CONTINUATION, compressed=True)],
        1002,
    ),
    "compressed ping": ([frame(b"x", PING, compressed=True)], 1002),
    "compressed ping in a message": (
        [frame(Zip().pack(HELLO)[:3], fin=False, compressed=True), frame(b"x", PING, compressed=True)],
        1002,
    ),
    "compressed close": ([frame(b"\x03\xe8", CLOSE, compressed=True)], 1002),
    "message in a message": (
        [frame(Zip().pack(HELLO)[:3], fin=False, compressed=True), frame(Zip().pack(HELLO), compressed=True)],
        1002,
    ),
    "plain message in a message": (
        [frame(Zip().pack(HELLO)[:3], fin=False, compressed=True), frame(HELLO)],
        1002,
    ),
    "too large": ([frame(Zip().pack(b" " * 100_001), compressed=True)], 1009),
    "too large in fragments": (
        [
            frame(Zip().pack(b" " * 60_000) + TAIL, fin=False, compressed=True),
            frame(Zip().pack(b" " * 60_000), CONTINUATION),
        ],
        1009,
    ),
    "declared as far too large": ([b"\xc1\xff" + (10**9).to_bytes(8, "big") + b"mask"], 1009),
    "too many fragments": (
        [frame(b"", fin=False, compressed=True), *[frame(b"", CONTINUATION, fin=False)] * 2000],
        1008,
    ),
}


@on_each_loop
@pytest.mark.parametrize("protocol", [RequestHandlerProtocol, Seeing])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(("sent", "code"), FAULTS.values(), ids=FAULTS)
@asynchronous
async def test_fault_closes_behind_the_replies_before_it(
    loop: str, sent: list[bytes], code: int, together: bool, protocol: type[RequestHandlerProtocol]
) -> None:
    options: dict[str, Any] = {"max_message_size": 100_000, "protocol": protocol}
    async with (
        serving(make_router(), compress=True, **options) as app,
        await Client.connect(app, headers=DEFLATE) as client,
    ):
        client.writer.write(frame(Zip().finish(HELLO), compressed=True) + frame(HELLO))
        if together:
            client.writer.write(b"".join([*sent, *[frame(HELLO)] * 3]))
        else:
            for data in sent:
                client.writer.write(data)
        assert await client.receive() == Frame(TEXT, HELLO_REPLY)
        assert await client.receive() == Frame(TEXT, HELLO_REPLY)
        closed = await client.receive()
        assert (closed.opcode, closed.close_code) == (CLOSE, code)


@asynchronous
async def test_message_as_large_as_the_limit_may_be_longer_compressed() -> None:
    """The limit is of what comes out (RFC 7692 says nothing of what goes in)."""
    noise = posted(random.Random(4).randbytes(700).hex()).ljust(2000)
    message = bytes(noise)
    packed = b"".join(
        b"\x00\x01\x00\xfe\xff" + message[at : at + 1] for at in range(len(message))
    )  # stored blocks of one byte: six for one
    async with (
        serving(echo_router(), compress=True, max_message_size=2000) as app,
        await Client.connect(app, headers=DEFLATE) as client,
    ):
        client.send(Zip(alone=True).pack(message), compressed=True)
        assert (await client.receive()).opcode == TEXT
        for at in range(0, len(packed), 1000):
            last = at + 1000 >= len(packed)
            piece = packed[at : at + 1000] + (b"\x00" if last else b"")
            client.send(piece, CONTINUATION if at else TEXT, fin=last, compressed=not at)
        assert (await client.receive()).opcode == TEXT
        await client.leave()


@asynchronous
async def test_compressed_frame_without_the_extension_closes_1002() -> None:
    async with serving(make_router(), compress=True) as app, await Client.connect(app) as client:
        assert "sec-websocket-extensions" not in client.headers
        client.send(HELLO)
        assert await client.receive() == Frame(TEXT, HELLO_REPLY)
        client.send(Zip().pack(HELLO), compressed=True)
        assert (await client.left()).close_code == 1002


@on_each_loop
@asynchronous
async def test_messages_behind_the_handshake_may_be_compressed(loop: str) -> None:
    behind = frame(Zip().pack(HELLO), compressed=True)
    async with (
        serving(make_router(), compress=True) as app,
        await Client.connect(app, headers=DEFLATE, behind=behind) as client,
    ):
        assert await client.receive() == Frame(TEXT, HELLO_REPLY)


@on_each_loop
@asynchronous
async def test_bomb_costs_others_no_more_than_a_message(loop: str) -> None:
    """A thousand messages of a megabyte, a kilobyte each: others are answered in between."""
    async with (
        serving(make_router(), compress=True) as app,
        await Client.connect(app, headers=DEFLATE) as client,
        await Client.connect(app) as other,
    ):
        zipped = Zip(alone=True)
        message = HELLO.ljust(1_000_000)
        client.writer.write(frame(zipped.pack(message), compressed=True) * 50)
        assert await client.receive() == Frame(TEXT, HELLO_REPLY)
        assert (await other.ask())["data"] == "Hello, world!"
        answered = connection_of_other(app, other)._messages
        assert answered == 1
        asking = next(c for c in factory_of(app).connections if c._perMessageCompress)
        assert asking._messages < 50
        for _ in range(49):
            assert await client.receive() == Frame(TEXT, HELLO_REPLY)


def connection_of_other(app: Application, client: Client) -> Any:
    """Give the connection that has no compression."""
    return next(c for c in factory_of(app).connections if not c._perMessageCompress)
