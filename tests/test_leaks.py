"""Memory stays as it was over thousands of calls on every path, those that end in an error included."""

from __future__ import annotations

import asyncio
import base64
import gc
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from aiorest_ws import Application, SimpleRouter
from aiorest_ws.decorators import endpoint
from aiorest_ws.exceptions import BaseAPIException
from aiorest_ws.testing import AsyncTestClient
from tests.kit.frames import BINARY, CLOSING, OPEN, PING, PONG, Nowhere, wire
from tests.kit.leaks import TRACED_BYTES, Call, check, grown_by, traced_bytes
from tests.kit.servers import Server, at_once, get, hello
from tests.serving import asynchronous
from tests.swapping import Impl

pytestmark = pytest.mark.blocks


def refused(function: Callable[..., Any], *args: Any) -> Call:
    """Make a call of one that must raise."""

    def call() -> None:
        try:
            function(*args)
        except (BaseAPIException, TypeError, RecursionError):
            return
        raise AssertionError("nothing was raised")

    return call


def test_a_leak_is_seen() -> None:
    kept: list[Any] = []
    assert grown_by(lambda: kept.append(object()), 2000) > 1900
    assert traced_bytes(lambda: kept.append(bytes(1000)), 100) > TRACED_BYTES


# Payloads

GOOD = b'{"id":7,"method":"GET","url":"/hello","args":{"a":[1]},"event_name":"e","token":"t"}'
PLAIN = b'{"method":"GET","url":"/hello","data":{"a":[1,2]}}'
LONG = b'{"method":"GET","url":"/hello","data":"%s"}' % (b"x" * 2000)
BAD = (b"", b"{", b"[]", b'{"a":[}', b'{"id":[]}', b'{"id":"%s"}' % (b"x" * 300))
BAD_PACKED = (b"\x81", b"\x81\x01\x01", b"\x81\xa1a\xa1\xff", b"\x81\xa1a\xd4\x01\x00", b"\x81\xa1a" + b"\x91" * 600)
PACKED = b"\x84\xa2id\x07\xa6method\xa3GET\xa3url\xa6/hello\xa4data\x93\xd6\xff\0\0\0\1\xc4\1x\x91\x81\xa1a\xc0"
BAD_BASE64 = (b"e", b"e30", b"e31=", b"e*==", b"eyJh", b"W10=")


@pytest.mark.parametrize("payload", [GOOD, PLAIN, LONG], ids=["good", "plain", "long"])
@pytest.mark.parametrize("is_binary", [False, True], ids=["text", "binary"])
def test_reading_leaks_nothing(impl: Impl, payload: bytes, is_binary: bool) -> None:
    coded = base64.b64encode(payload)

    def read() -> None:
        impl.envelope.read(payload, is_binary, None).extra  # noqa: B018
        impl.envelope.read(coded, is_binary, None).args  # noqa: B018

    check(impl, read)


def test_reading_what_is_malformed_leaks_nothing(impl: Impl) -> None:
    payloads = [(payload, is_binary) for payload in (*BAD, *BAD_BASE64, *BAD_PACKED) for is_binary in (False, True)]

    def read() -> None:
        for payload, is_binary in payloads:
            impl.envelope.read(payload, is_binary, None)

    check(impl, read, each=len(payloads))


def test_decoding_and_encoding_leak_nothing(impl: Impl) -> None:
    coded = base64.b64encode(PLAIN)

    def both_ways() -> None:
        impl.codec.encode(PLAIN, impl.codec.TEXT_BASE64)
        impl.codec.decode(PLAIN, impl.codec.recognise(PLAIN, False))
        impl.codec.decode(coded, impl.codec.recognise(coded, False))

    check(impl, both_ways)


@pytest.mark.parametrize("payload", BAD_BASE64)
def test_refused_base64_leaks_nothing(impl: Impl, payload: bytes) -> None:
    check(impl, refused(impl.codec.decode, payload, impl.codec.TEXT_BASE64))


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


VALUES = {
    "plain": {"a": [1, "b", None, 2.5]},
    "default": {"a": {1}, "b": b"bytes"},
    "slow": {1: {"a": 2**70}},
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_dumping_leaks_nothing(impl: Impl, value: Any) -> None:
    check(impl, partial(impl.codec.dumps, value))


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_writing_messagepack_leaks_nothing(impl: Impl, value: Any) -> None:
    check(impl, partial(impl.codec.write, value, impl.codec.BINARY_MSGPACK))


def test_reading_and_answering_messagepack_leaks_nothing(impl: Impl) -> None:
    def both_ways() -> None:
        request = impl.envelope.read(PACKED, True, None)
        impl.envelope.render(request, request.data)

    check(impl, both_ways)


def test_refused_values_leak_nothing(impl: Impl) -> None:
    check(impl, refused(impl.codec.dumps, object()))
    check(impl, refused(impl.codec.dumps, {(1, 2): object()}))
    check(impl, refused(impl.codec.plain, nested(410)), each=100)  # levels


@pytest.mark.parametrize("data", ["plain", "x" * 2000, "é", None, {"a": 1}], ids=["plain", "long", "é", "none", "dict"])
def test_rendering_leaks_nothing(impl: Impl, data: Any) -> None:
    request = impl.envelope.read(GOOD, False, None)
    check(impl, partial(impl.envelope.render, request, data))


# Routes

TEMPLATES = ("/", "/hello/", "/users/{id}/", "/a{x}b/{y}.{z}/", "/é/{n}/", "/{a}/{b}/{c}/")
HITS = (" /hello", "/hello/", "/users/7", "/users/77/", "/axxb/1.2.3", "/é/ü", "/1/22/333")
MISSES = ("/none", "/users", "/a/b/c/d/e", "/{/", "/\x00", "//", "/axb/1")


def trie_of(impl: Impl) -> Any:
    trie = impl.trie.Trie()
    for template in TEMPLATES:
        trie.insert(template, "GET", template)
    return trie


def test_matching_leaks_nothing(impl: Impl) -> None:
    trie = trie_of(impl)

    def match() -> None:
        for url in HITS:
            trie.match("GET", url)
            trie.match(" get", url)

    check(impl, match, each=2 * len(HITS))


@pytest.mark.parametrize("method", ["GET", "PUT", None])
def test_matching_nothing_leaks_nothing(impl: Impl, method: str | None) -> None:
    trie = trie_of(impl)
    urls = MISSES if method == "GET" else HITS
    calls = [refused(trie.match, method, url) for url in urls]

    def match() -> None:
        for call in calls:
            call()

    check(impl, match, each=len(calls))


def test_tries_that_are_dropped_leak_nothing(impl: Impl) -> None:
    def build() -> None:
        trie = trie_of(impl)
        refused(trie.insert, "/users/{id}/", "GET", 1)()
        refused(trie.insert, "/{", "GET", 1)()
        assert trie.find("/hello/", "GET")

    check(impl, build, each=10)


# The pipeline


@endpoint("/later", "GET")
async def later(request: Any) -> str:
    return "later"


def fails(request: Any) -> None:
    raise LookupError("failed")


def unencodable(request: Any) -> object:
    return object()


REQUESTS: dict[str, tuple[bytes, bytes]] = {
    "200": (b'{"method":"GET","url":"/hello"}', b"Hello"),
    "200 with id": (b'{"id":1,"method":"GET","url":"/hello"}', b'"status":200'),
    "200 async": (b'{"id":1,"method":"GET","url":"/later"}', b'"status":200'),
    "201": (b'{"id":1,"method":"GET","url":"/created"}', b'"status":201'),
    "400": (b'{"id":1,"method":"GET"}', b'"status":400'),
    "404": (b'{"id":1,"method":"GET","url":"/none"}', b'"status":404'),
    "405": (b'{"id":1,"method":"PUT","url":"/hello"}', b'"status":405'),
    "422": (b'{"id":1,"method":"GET","url":"/hello","args":{"x":1}}', b'"status":422'),
    "500": (b'{"id":1,"method":"GET","url":"/fails"}', b'"status":500'),
    "500 unencodable": (b'{"id":1,"method":"GET","url":"/unencodable"}', b'"status":500'),
    "malformed": (b"{", b"not valid JSON"),
}


@pytest.mark.parametrize(("payload", "expected"), REQUESTS.values(), ids=REQUESTS)
def test_handling_leaks_nothing(impl: Impl, payload: bytes, expected: bytes) -> None:
    created = get(lambda request: impl.wrappers.Response("x", status=201), "/created")
    routes = (hello, later, created, get(fails, "/fails"), get(unencodable, "/unencodable"))
    handle = Server(impl, *routes, report=None).pipeline.handle
    assert expected in at_once(handle(payload, False))
    check(impl, lambda: at_once(handle(payload, False)))


# Frames


def frames_of(impl: Impl, **options: Any) -> Any:
    frames = impl.frames.Frames()
    frames.transport = Nowhere()
    frames.state = OPEN
    for name, value in options.items():
        setattr(frames, name, value)
    return frames


STREAMS: dict[str, tuple[bytes, int]] = {  # a stream and the size of its pieces, 0: all at once
    "text": (wire(b"hello"), 0),
    "long text": (wire(b"x" * 600), 0),
    "binary": (wire(b"hello", BINARY), 0),
    "ping": (wire(b"ping", PING), 0),
    "pong": (wire(b"pong", PONG), 0),
    "invalid text": (wire(b"a\xff"), 0),
    "fragment": (wire(b"part", fin=False), 0),
    "cut header": (wire(b"hello"), 5),
    "cut fragment": (wire(b"part" * 50, fin=False), 50),
    "parts": (wire(b"x" * 9000, BINARY), 4000),
    "parts of text": (wire("é€😀".encode() * 700), 2500),
    "invalid text in parts": (wire(b"a" * 5000 + b"\xff" + b"a" * 3000), 4000),
}


@pytest.mark.parametrize("reads", [False, True], ids=["messages", "requests"])
@pytest.mark.parametrize(("stream", "size"), STREAMS.values(), ids=STREAMS)
def test_feeding_leaks_nothing(impl: Impl, stream: bytes, size: int, reads: bool) -> None:
    frames = frames_of(impl, _reads_requests=reads)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)] if size else [stream]

    def feed() -> None:
        for piece in pieces:
            frames._feed(piece)

    check(impl, feed)


@pytest.mark.parametrize("size", [5, 600, 5000])
def test_writing_leaks_nothing(impl: Impl, size: int) -> None:
    frames = frames_of(impl)
    payload = b"x" * size

    def write() -> None:
        frames._write(payload, BINARY)
        frames._gathers = True
        frames._write_base64(payload, BINARY)
        frames._write(payload, BINARY)
        frames._gathers = False
        frames._flush()

    check(impl, write)


def test_sending_past_the_transport_leaks_nothing(impl: Impl) -> None:
    """What the socket takes, and what it does not."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        frames = frames_of(impl, _socket=ours.fileno())

        def write() -> None:
            frames._write(b"x" * 20_000, BINARY)
            with suppress(BlockingIOError):  # the pure path, and Windows, leave it to the transport
                theirs.recv(65536)

        check(impl, write, each=10)


def test_holding_and_resuming_leaks_nothing(impl: Impl) -> None:
    frames = frames_of(impl, _reads_requests=False)
    stream = wire(b"hello") * 3 + wire(b"cut")[:4]
    rest = wire(b"cut")[4:]

    def hold() -> None:
        frames._held = 1
        frames._feed(stream)
        frames._held = 0
        frames._resume()
        frames._feed(rest)

    check(impl, hold)


PART = wire(b"x" * 100_000)[:5000]


def part(frames: Any) -> None:
    frames._feed(PART)


def part_and_close(frames: Any) -> None:
    part(frames)
    frames.state = CLOSING
    frames._feed(b"more")


def gathered(frames: Any) -> None:
    frames._gathers = True
    frames._write(b"x" * 2000, BINARY)


def header(frames: Any) -> None:
    frames._feed(wire(b"x" * 300)[:3])


def unusual(frames: Any) -> None:
    frames._feed(wire(b"x" * 300, fin=False)[:100])


def held(frames: Any) -> None:
    frames._held = 1
    frames._feed(wire(b"x" * 1000))


def in_a_cycle(frames: Any) -> None:
    part(frames)
    gathered(frames)
    frames._transport.frames = frames


@pytest.mark.parametrize("begin", [part, part_and_close, gathered, header, unusual, held, in_a_cycle])
def test_connection_that_is_dropped_in_the_middle_leaks_nothing(impl: Impl, begin: Callable[[Any], None]) -> None:
    check(impl, lambda: begin(frames_of(impl)))


# Connections, on a loop

BATCH = 50


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@endpoint("/waits", "GET")
async def waits(request: Any) -> str:
    await asyncio.sleep(0)
    return "waited"


@endpoint("/waits-and-fails", "GET")
async def waits_and_fails(request: Any) -> None:
    await asyncio.sleep(0)
    raise LookupError("failed")


SERVED = (("/hello", False), ("/later", False), ("/waits", False), ("/waits", True), ("/waits-and-fails", False))


@pytest.mark.parametrize("ident", [b"", b'"id":1,'], ids=["in order", "with ids"])
@pytest.mark.parametrize(("url", "drops"), SERVED)
def test_serving_leaks_nothing(
    impl: Impl, loop: asyncio.AbstractEventLoop, url: str, ident: bytes, drops: bool
) -> None:
    pipeline = Server(impl, hello, later, waits, waits_and_fails, report=None).pipeline
    stream = wire(b'{%s"method":"GET","url":"%s"}' % (ident, url.encode())) * BATCH
    spare_tasks = impl.tasks.SpareTasks(loop)

    async def serve() -> None:
        connection = impl.connection.Connection()
        connection._transport, connection._loop, connection._spare_tasks = Nowhere(), loop, spare_tasks
        connection._pipeline, connection.state = pipeline, OPEN
        connection.data_received(stream)
        if drops:
            connection.state = 0
            connection._drop()
        while connection.tasks:
            await asyncio.wait(connection.tasks)
        if not drops:
            assert connection._frames_out == BATCH

    async def end() -> None:
        spare = spare_tasks.close()
        if spare is not None:
            await asyncio.wait([spare])

    check(impl, lambda: loop.run_until_complete(serve()), each=BATCH)
    loop.run_until_complete(end())


# A whole connection


def fails_in_def(request: Any) -> None:
    raise ValueError("on purpose")


async def fails_at_once(request: Any) -> None:
    raise ValueError("on purpose")


async def fails_later(request: Any) -> None:
    await asyncio.sleep(0)
    raise ValueError("on purpose")


async def gives_nonsense(request: Any) -> Any:
    return object()


@pytest.mark.parametrize(
    ("handler", "options"),
    [
        (fails_in_def, {}),
        (fails_in_def, {"threaded": True}),
        (fails_at_once, {}),
        (fails_later, {}),
        (gives_nonsense, {}),
    ],
    ids=["def", "threaded", "async def", "async def that waits", "no reply"],
)
@asynchronous
async def test_a_request_that_fails_leaves_nothing_to_the_collector(handler: Any, options: dict[str, Any]) -> None:
    router = SimpleRouter()
    router.register_endpoint(endpoint("/", "GET", **options)(handler))
    async with AsyncTestClient(Application(router=router)) as client:
        assert (await client.get("/")).status == 500
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                await client.get("/")
            left = gc.collect()
        finally:
            gc.enable()
        assert left < 50  # a thread may not have put all away yet
