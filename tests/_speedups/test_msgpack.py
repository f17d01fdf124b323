"""MessagePack in, MessagePack out: strict bytes, the table of values, and the same replies as to JSON."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import tracemalloc
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorest_ws import (
    HTTPError,
    MethodBasedView,
    Request,
    RequestHandlerProtocol,
    Response,
    SimpleRouter,
    endpoint,
)
from aiorest_ws.abstract import AbstractMiddleware, AbstractRouter
from aiorest_ws.exceptions import InvalidMessage, ValidationError
from aiorest_ws.renderers import BaseRenderer, JSONRenderer, XMLRenderer
from tests.kit.examples import examples
from tests.kit.outcomes import outcome
from tests.serving import BINARY, TEXT, Client, Gates, asynchronous, dump, printed, run_program, serving
from tests.swapping import Impl

pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.decode
INVALID = "request is not valid MessagePack: "
EARLY = INVALID + "it ends too early"
NOON = datetime(2024, 2, 29, 12, 0, 0, 5, tzinfo=UTC)


def data(value: bytes) -> bytes:
    """Give a request whose `data` is the MessagePack `value`."""
    return b"\x83\xa6method\xa4POST\xa3url\xa5/echo\xa4data" + value


def refusal(impl: Impl, payload: bytes) -> str:
    with pytest.raises(InvalidMessage) as caught:
        impl.codec.decode(payload, impl.codec.BINARY_MSGPACK)
    assert caught.value.status == 400
    return str(caught.value.detail)


# What comes in

VALUES: dict[str, tuple[bytes, Any]] = {
    "nil": (b"\xc0", None),
    "booleans": (b"\x92\xc2\xc3", [False, True]),
    "fixints": (b"\x93\x00\x7f\xff", [0, 127, -1]),
    "uints": (b"\x94\xcc\xff\xcd\xff\xff\xce\xff\xff\xff\xff\xcf" + b"\xff" * 8, [255, 65535, 2**32 - 1, 2**64 - 1]),
    "ints": (
        b"\x94\xd0\x80\xd1\x80\0\xd2\x80\0\0\0\xd3\x80\0\0\0\0\0\0\0",
        [-128, -(2**15), -(2**31), -(2**63)],
    ),
    "floats": (b"\x92\xca\x3f\xc0\0\0\xcb\x3f\xf8\0\0\0\0\0\0", [1.5, 1.5]),
    "infinity": (b"\xcb\x7f\xf0\0\0\0\0\0\0", math.inf),
    "strings": (b"\x94\xa0\xd9\x01a\xda\x00\x02\xc3\xa9\xdb\0\0\0\x01b", ["", "a", "é", "b"]),
    "string with NUL": (b"\xa1\0", "\0"),
    "bytes": (b"\x93\xc4\x02\xff\0\xc5\0\x01a\xc6\0\0\0\0", [b"\xff\0", b"a", b""]),
    "arrays": (b"\x92\xdc\0\x01\x01\xdd\0\0\0\x01\x02", [[1], [2]]),
    "maps": (b"\x92\xde\0\x01\xa1a\x01\xdf\0\0\0\x01\xa1b\x80", [{"a": 1}, {"b": {}}]),
    "32 bits of seconds": (b"\xd6\xff\0\0\0\x01", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
    "64 bits": (b"\xd7\xff\x00\x00\x0f\xa0\x5e\x0b\xe1\x00", datetime(2020, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
    "96 bits": (b"\xc7\x0c\xff\0\0\0\0\xff\xff\xff\xf1\x88\x6e\x09\x00", datetime(1, 1, 1, tzinfo=UTC)),
    "duplicate keys": (b"\x82\xa1a\x01\xa1a\x02", {"a": 2}),
}


@pytest.mark.parametrize(("written", "value"), VALUES.values(), ids=VALUES)
def test_value_is_read_as_what_it_is(impl: Impl, written: bytes, value: Any) -> None:
    request = impl.envelope.read(data(written), True, None)
    assert (request.method, request.url, request.form) == ("POST", "/echo", impl.codec.BINARY_MSGPACK)
    assert request.data == value
    assert type(request.data) is type(value)


MALFORMED: dict[str, tuple[bytes, str]] = {
    "nothing behind": (b"\x81", EARLY),
    "half a map": (b"\x82\xa1a\x01", EARLY),
    "no value": (b"\x81\xa1a", EARLY),
    "cut string": (b"\x81\xa1a\xa5abc", EARLY),
    "cut length": (b"\x81\xa1a\xda\x00", EARLY),
    "cut float": (b"\x81\xa1a\xcb\0\0\0", EARLY),
    "cut extension": (b"\x81\xa1a\xd6", EARLY),
    "cut timestamp": (b"\x81\xa1a\xd7\xff\0\0\0", EARLY),
    "map of 2^32": (b"\xdf\xff\xff\xff\xff", EARLY),
    "map of 2^16": (b"\xde\xff\xff\xa1a\x01", EARLY),
    "array of 2^32": (b"\x81\xa1a\xdd\xff\xff\xff\xff", EARLY),
    "map of 2^31 within": (b"\x81\xa1a\xdf\x80\0\0\0", EARLY),
    "4 GiB of bytes": (b"\x81\xa1a\xc6\xff\xff\xff\xff", EARLY),
    "4 GiB of text": (b"\x81\xa1a\xdb\xff\xff\xff\xff", EARLY),
    "4 GiB of extension": (b"\x81\xa1a\xc9\xff\xff\xff\xff\xff", INVALID + "an extension type is not taken, unless"),
    "second document": (b"\x80\x80", INVALID + "bytes follow its end"),
    "bytes behind": (b"\x81\xa1a\x01\x00", INVALID + "bytes follow its end"),
    "never used": (b"\x81\xa1a\xc1", INVALID + "0xc1 is no type"),
    **{
        f"key {name}": (b"\x81" + key + b"\x01", INVALID + "a key is not a string")
        for name, key in {
            "integer": b"\x01",
            "nil": b"\xc0",
            "boolean": b"\xc3",
            "float": b"\xca\0\0\0\0",
            "bytes": b"\xc4\x01a",
            "array": b"\x91\x01",
            "map": b"\x80",
            "timestamp": b"\xd6\xff\0\0\0\x01",
        }.items()
    },
    "key within": (b"\x81\xa1a\x91\x82\xa1b\x01\x07\x01", INVALID + "a key is not a string"),
    "extension 1": (b"\x81\xa1a\xd4\x05\0", INVALID + "an extension type is not taken, unless it is a timestamp"),
    "extension -2": (b"\x81\xa1a\xd6\xfe\0\0\0\0", INVALID + "an extension type is not taken, unless"),
    "timestamp of 1 byte": (b"\x81\xa1a\xd4\xff\0", INVALID + "an extension type is not taken, unless"),
    "timestamp of 16": (b"\x81\xa1a\xd8\xff" + b"\0" * 16, INVALID + "an extension type is not taken, unless"),
    "nanoseconds": (b"\x81\xa1a\xd7\xff\xff\xff\xff\xff\0\0\0\x01", INVALID),
    "year 10000": (b"\x81\xa1a\xc7\x0c\xff\0\0\0\0\0\0\0\x3a\xff\xf4\x41\x80", INVALID),
    "year 0": (b"\x81\xa1a\xc7\x0c\xff\0\0\0\0\xff\xff\xff\xf1\x88\x6e\x08\xff", INVALID),
    "no UTF-8": (b"\x81\xa1a\xa1\xff", INVALID),
    "surrogate": (b"\x81\xa1a\xa3\xed\xa0\x80", INVALID),
    "overlong": (b"\x81\xa1a\xa2\xc0\xaf", INVALID),
    "no UTF-8 in a key": (b"\x81\xa1\xff\x01", INVALID),
    "513 levels": (b"\x81\xa1a" + b"\x91" * 512 + b"\xc0", INVALID + "it is nested deeper than 512 levels"),
    "513 levels, the last one empty": (
        b"\x81\xa1a" + b"\x91" * 511 + b"\x90",
        INVALID + "it is nested deeper than 512 levels",
    ),
    "a million levels": (b"\x81\xa1a" + b"\x91" * 10**6, INVALID + "it is nested deeper than 512 levels"),
}


@pytest.mark.parametrize(("payload", "detail"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_messagepack_is_refused(impl: Impl, payload: bytes, detail: str) -> None:
    assert refusal(impl, payload).startswith(detail)
    assert len(refusal(impl, payload)) < 200


@pytest.mark.parametrize("payload", [b"", b"\x90", b"\xc0", b"\x01", b"\xa1a", b"{}"])
def test_what_is_no_map_is_refused(impl: Impl, payload: bytes) -> None:
    assert refusal(impl, payload) == "request must be a MessagePack map"


def test_512_levels_are_taken(impl: Impl) -> None:
    payload = b"\x81\xa1a" + b"\x91" * 511 + b"\xc0"
    value = impl.codec.decode(payload, impl.codec.BINARY_MSGPACK)["a"]
    depth = 0
    while value is not None:
        (value,) = value
        depth += 1
    assert depth == 511


def test_every_cut_of_a_document_is_refused(impl: Impl) -> None:
    document = data(b"\x95" + b"".join(written for written, _ in list(VALUES.values())[:5]))
    assert impl.codec.decode(document, 6)
    for size in range(1, len(document)):
        assert refusal(impl, document[:size]) == EARLY


@pytest.mark.parametrize("header", [b"\xdd", b"\xdf", b"\xc6", b"\xdb"], ids=["array", "map", "bytes", "text"])
def test_declared_sizes_allocate_nothing(impl: Impl, header: bytes) -> None:
    for claimed in (2**32 - 1, 2**31, 2**24):
        payload = b"\x81\xa1a" + header + claimed.to_bytes(4, "big") + b"\xc0" * 100
        refusal(impl, payload)
        tracemalloc.start()
        try:
            refusal(impl, payload)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 64 * 1024


def test_depth_is_bounded_whatever_the_recursion_limit_is() -> None:
    source = """
import sys
sys.setrecursionlimit(10**7)
from aiorest_ws._speedups import BINARY_MSGPACK, decode
from aiorest_ws.exceptions import InvalidMessage
try:
    decode(b"\\x81\\xa1a" + b"\\x91" * 10**6 + b"\\xc0", BINARY_MSGPACK)
except InvalidMessage as exc:
    print(exc.detail)
"""
    result = asyncio.run(run_program(source))
    assert (result.code, result.out) == (0, INVALID + "it is nested deeper than 512 levels\n")


# Pure and compiled

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=40)
    | st.datetimes(timezones=st.just(UTC))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=8), values, max_size=4)


@examples(50)
@given(objects)
def test_whatever_messagepack_says_is_read_and_written_again(impl: Impl, value: dict[str, Any]) -> None:
    assert impl.codec.decode(pack(value), impl.codec.BINARY_MSGPACK) == value
    assert unpack(impl.codec.write(value, impl.codec.BINARY_MSGPACK)) == value


@examples(150)
@given(
    objects.map(pack), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4), st.integers(0, 9)
)
def test_both_implementations_read_the_same(
    both: tuple[Impl, Impl], payload: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    changed = bytearray(payload)
    for at, byte in changes:
        changed[at % len(changed)] = byte
    mutant = bytes(changed[: -cut or None])
    pure, compiled = (outcome(impl.msgpack.unpack, mutant) for impl in both)
    assert pure == compiled
    assert pure[0] in (dict, InvalidMessage)


@examples(300)
@given(st.binary(max_size=60).map(lambda rest: b"\x82\xa1a" + rest))
def test_both_implementations_read_the_same_of_noise(both: tuple[Impl, Impl], payload: bytes) -> None:
    pure, compiled = (outcome(impl.msgpack.unpack, payload) for impl in both)
    assert pure == compiled


# What goes out: the table of JSON, but for what MessagePack says better


class Colour(Enum):
    RED = "red"
    PRICE = Decimal("1.5")


class Level(IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Whole(int):
    pass


class Ratio(float):
    pass


class Moment(datetime):
    pass


@dataclass
class Point:
    x: int
    when: Any = None
    _secret: int = 7


Pair = namedtuple("Pair", "a b")

AS_JSON: dict[str, Any] = {
    "nothing": None,
    "strings": ["", "é", "\0", Text("text")],
    "numbers": [0, -1, 2**63, 2**64 - 1, -(2**63), 1.5, True, Whole(5), Ratio(1.5), Level.HIGH],
    "containers": [(1, 2), Pair(1, "b"), {3}, frozenset([4]), OrderedDict(a=1), {"a": {"b": []}}],
    "keys": {1: "a", 2.5: "b", None: "c", False: "d", Colour.RED: "e", Text("f"): "f", "g": "g", Level.HIGH: "h"},
    "dataclass": Point(1, [Point(2)]),
    "enums": [Colour.RED, Colour.PRICE],
    "leaves": [UUID(int=5), Decimal("1.50"), date(2024, 2, 29), time(1, 2, 3)],
    "naive datetimes": [datetime(2024, 2, 29, 1, 2, 3), datetime(2024, 2, 29, 1, 2, 3, 4)],
    "no timestamp has it": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
}


@pytest.mark.parametrize("value", AS_JSON.values(), ids=AS_JSON)
def test_value_is_written_as_json_says_it(impl: Impl, value: Any) -> None:
    assert unpack(impl.codec.write({"data": value}, 6)) == {"data": json.loads(impl.codec.dumps(value))}


NATIVE: dict[str, tuple[Any, Any]] = {
    "bytes": ([b"\xff", bytearray(b"a"), memoryview(b"b")], [b"\xff", b"a", b"b"]),
    "datetime": (NOON, NOON),
    "other time zone": (NOON.astimezone(timezone(timedelta(hours=2))), NOON),
    "subclass of datetime": (Moment(2024, 2, 29, 12, 0, 0, 5, tzinfo=UTC), NOON),
    "within": (Point(1, {"at": {NOON}}), {"x": 1, "when": {"at": [NOON]}}),
    "infinity": ([math.inf, -math.inf], [math.inf, -math.inf]),
    "integers beyond 64 bits": ([2**64, -(2**63) - 1, Whole(2**70)], [str(2**64), str(-(2**63) - 1), str(2**70)]),
}


@pytest.mark.parametrize(("value", "expected"), NATIVE.values(), ids=NATIVE)
def test_value_that_messagepack_says_better_stays_what_it_is(impl: Impl, value: Any, expected: Any) -> None:
    assert unpack(impl.codec.write({"data": value}, 6)) == {"data": expected}


def test_nan_stays_nan(impl: Impl) -> None:
    assert math.isnan(unpack(impl.codec.write([math.nan], 6))[0])


def loop() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [object(), {(1, 2): 3}, {b"a": 1}, {date: 1}, "\ud800", {"\ud800": 1}, loop(), Point, 1j],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_say_messagepack_refuses_too(impl: Impl, value: Any) -> None:
    for form in (impl.codec.TEXT_JSON, impl.codec.BINARY_MSGPACK):
        with pytest.raises((TypeError, ValueError, RecursionError)):
            impl.codec.write({"data": value}, form)


# The same routes, the same replies


class Rows(MethodBasedView):
    renderers = (JSONRenderer, XMLRenderer)

    def get(self, request: Request) -> Any:
        return [{"at": NOON}]


class Pretty(JSONRenderer):
    compact = False


class Shout(JSONRenderer):
    def render(self, data: Any) -> bytes:
        return super().render(data).upper()


class Csv(BaseRenderer):
    format = "csv"

    def render(self, data: Any) -> str:
        return f"{data['data']}"


def view(*renderers_: Any) -> type[MethodBasedView]:
    class View(MethodBasedView):
        renderers = renderers_

        def get(self, request: Request) -> str:
            return "rendered"

    return View


class Onion:
    async def __call__(self, request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        response.content["seen"] = b"by a middleware"
        return response


def make_router(gates: Gates | None = None) -> SimpleRouter:
    router = SimpleRouter()

    @endpoint("/echo", ["GET", "POST"])
    def echo(request: Request) -> Any:
        return request.data

    @endpoint("/later", "POST")
    async def later(request: Request) -> Any:
        await asyncio.sleep(0)
        return request.data

    @endpoint("/wait/{name}", "GET")
    async def wait(request: Request, name: str) -> Any:
        assert gates is not None
        return await gates.wait(name)

    @endpoint("/add", "GET")
    def add(request: Request, a: Any, b: Any = 0) -> Any:
        return a + b

    @endpoint("/any", "GET")
    def anything(request: Request, **args: Any) -> Any:
        return args

    @endpoint("/extra", "GET")
    def extra(request: Request) -> Any:
        return request.extra

    @endpoint("/created", "POST")
    def created(request: Request) -> Any:
        return Response(request.data, status=201)

    @endpoint("/fails", "GET")
    def fails(request: Request) -> Any:
        raise RuntimeError("secret")

    @endpoint("/cannot", "GET")
    def cannot(request: Request) -> Any:
        return object()

    @endpoint("/invalid", "POST")
    def invalid(request: Request) -> Any:
        raise ValidationError({"when": [request.data]})

    @endpoint("/conflict", "GET")
    def conflict(request: Request) -> Any:
        raise HTTPError(409, {"unsayable": object()})

    @endpoint("/missing", "GET")
    def missing(request: Request) -> Any:
        raise KeyError("oslo")

    @endpoint("/found", "GET")
    def found(request: Request) -> Any:
        raise IndexError("x")

    @endpoint("/peeled", "GET", middlewares=[Onion])
    def peeled(request: Request) -> Any:
        return NOON

    @endpoint("/push", "POST")
    def push(request: Request) -> Any:
        request.connection.send_event("news", request.data)
        return "pushed"

    functions = (echo, later, wait, add, anything, extra, created, fails, cannot, invalid, conflict, missing, found)
    for function in (*functions, peeled, push):
        router.register_endpoint(function)
    router.register("/rows", Rows, "GET")
    for name, renderers in {"pretty": (Pretty,), "shout": (Shout,), "csv": (Csv,)}.items():
        router.register(f"/{name}", view(*renderers), "GET")
    router.exception_handler(KeyError)(lambda request, exc: HTTPError(404, f"no {exc.args[0]}"))
    router.exception_handler(IndexError)(lambda request, exc: Response(b"instead", status=202))
    return router


IDS: tuple[Any, ...] = (True, 1.5, [1], {}, "x" * 257, None, "é", 0, -1, 2**64 - 1)
REQUESTS: tuple[dict[str, Any], ...] = (
    {"url": "/echo", "data": {"a": [1, None, 1.5, "é"]}},
    {"url": "/echo", "data": "plain"},
    {"url": "/echo"},
    {"url": "/later", "method": "POST", "data": [True]},
    {"url": "/add", "args": {"a": 1, "b": 2}},
    {"url": "/add", "args": {"b": 2}},
    {"url": "/add", "args": {"a": 1, "c": 2}},
    {"url": "/add", "args": [1]},
    {"url": "/add", "args": 1},
    {"url": "/any", "args": None},
    {"url": "/any", "args": {"a b": {}, "": []}},
    {"url": "/any", "args": {"format": "xml"}},
    {"url": "/extra", "token": "t", "user": {"name": "me"}},
    {"url": "/created", "method": "POST", "data": 1},
    {"url": "/fails"},
    {"url": "/cannot"},
    {"url": "/invalid", "method": "POST", "data": "x"},
    {"url": "/conflict"},
    {"url": "/missing"},
    {"url": "/nowhere"},
    {"url": "/echo", "method": "DELETE"},
    {"url": "/echo", "method": 5},
    {"url": 5},
    {"url": "/a\nb"},
    {"url": None},
    {"method": None, "url": "/echo"},
    {"url": "/echo", "event_name": {"a": [1]}},
    {"url": "/nowhere", "event_name": "é"},
    {"url": "/pretty"},
    *({"url": "/echo", "id": sent} for sent in IDS),
)


@pytest.mark.parametrize("with_id", [False, True], ids=["", "id"])
@pytest.mark.parametrize("envelope", REQUESTS, ids=lambda envelope: dump(envelope).decode()[:40])
@asynchronous
async def test_reply_says_what_the_one_to_json_says(envelope: dict[str, Any], with_id: bool) -> None:
    envelope = {"method": "GET"} | ({"id": 7} if with_id else {}) | envelope
    async with serving(make_router()) as app, await Client.connect(app) as client:
        client.send(dump(envelope), BINARY)
        plain = await client.receive()
        client.send(pack(envelope), BINARY)
        reply = await client.receive()
        assert reply.opcode == BINARY
        assert unpack(reply.payload) == json.loads(plain.payload)
        assert list(unpack(reply.payload)) == list(json.loads(plain.payload))


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@examples(80)
@given(
    st.fixed_dictionaries(
        {
            "method": st.sampled_from(["GET", "POST", " get ", 5, None]),
            "url": st.sampled_from(["/hello", "/no", "", 1]),
        },
        optional={
            "args": st.none() | st.integers() | st.dictionaries(st.sampled_from("abc"), plain_values, max_size=2),
            "data": plain_values,
            "event_name": plain_values,
            "id": plain_values,
            "token": plain_values,
        },
    )
)
def test_pipeline_answers_both_forms_alike(impl: Impl, envelope: dict[str, Any]) -> None:
    def process(request: Any) -> bytes:
        shown = [request.method, request.url, request.args, request.data, request.extra]
        rendered: bytes = impl.envelope.render(request, shown)
        return rendered

    pipeline = impl.pipeline.Pipeline(process=process)
    try:
        text = orjson.dumps(envelope)
    except TypeError:  # an integer that neither form says
        return
    assert unpack(pipeline.handle(pack(envelope), True)) == orjson.loads(pipeline.handle(text, False))


@pytest.mark.parametrize("key", ["url", "method"])
@asynchronous
async def test_bytes_are_no_string(key: str) -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client:
        client.send(pack({"method": "GET", "url": "/echo", "id": 1} | {key: b"/echo"}), BINARY)
        reply = unpack((await client.receive()).payload)
        assert reply["status"] == 400
        assert "string" in reply["detail"]


@pytest.mark.parametrize("request_id", [b"a", NOON, math.nan, 1.0])
@asynchronous
async def test_id_is_a_string_or_an_integer(request_id: Any) -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client:
        client.send(pack({"method": "GET", "url": "/echo", "id": request_id}), BINARY)
        assert unpack((await client.receive()).payload) == {
            "detail": "`id` must be a string of at most 256 bytes or an integer of 64 bits",
            "event_name": None,
        }


def test_what_came_in_messagepack_goes_out_as_it_is(impl: Impl) -> None:
    value = unpack(pack({"a": [[], {}, [[1, -(2**63), 1.5, True, None, b"\0"]], {"b": [NOON]}], "c": {"d": {}}}))
    assert impl.codec.native(value) is value


@pytest.mark.parametrize("odd", [Decimal("1.5"), 2**64])
def test_what_is_said_otherwise_is_rebuilt_and_the_rest_stays(impl: Impl, odd: Any) -> None:
    kept: list[Any] = [[{}], 1]
    value = {"a": kept, 1: [kept, odd, (odd, kept)], "z": {"first": kept, "odd": odd, "last": kept}, "c": kept}
    before = repr(value)
    made = impl.codec.native(value)
    said = str(odd)
    assert made == {
        "a": kept,
        "1": [kept, said, [said, kept]],
        "z": {"first": kept, "odd": said, "last": kept},
        "c": kept,
    }
    assert list(made) == ["a", "1", "z", "c"]
    assert list(made["z"]) == ["first", "odd", "last"]
    assert made["a"] is made["1"][0] is made["z"]["last"] is kept
    assert repr(value) == before


@asynchronous
async def test_bytes_and_datetimes_are_native_both_ways() -> None:
    sent = {"bytes": b"\0\xff", "at": [NOON, datetime(1969, 1, 1, tzinfo=UTC)], "infinity": math.inf}
    async with serving(make_router()) as app, await Client.connect(app) as client:
        for url in ("/echo", "/later"):
            client.send(pack({"method": "POST", "url": url, "data": sent, "event_name": b"e"}), BINARY)
            assert unpack((await client.receive()).payload) == {"data": sent, "event_name": b"e"}
        client.send(pack({"method": "GET", "url": "/any", "args": sent, "id": 1}), BINARY)
        assert unpack((await client.receive()).payload) == {"id": 1, "status": 200, "data": sent}
        client.send(pack({"method": "POST", "url": "/invalid", "data": NOON, "id": "é"}), BINARY)
        assert unpack((await client.receive()).payload) == {"id": "é", "status": 422, "detail": {"when": [NOON]}}
        client.send(pack({"method": "GET", "url": "/found", "id": 2}), BINARY)
        assert unpack((await client.receive()).payload) == {"id": 2, "status": 202, "data": b"instead"}
        client.send(pack({"method": "GET", "url": "/peeled", "id": 3}), BINARY)
        expected = {"id": 3, "status": 200, "data": NOON, "seen": b"by a middleware"}
        assert unpack((await client.receive()).payload) == expected


@asynchronous
async def test_forms_mix_on_one_connection_and_ids_run_concurrently() -> None:
    gates = Gates()
    async with serving(make_router(gates)) as app, await Client.connect(app) as client:
        client.send(pack({"method": "GET", "url": "/wait/a", "id": "a"}), BINARY)
        client.request(url="/wait/b", id="b")
        await gates.until_started("a", "b")
        client.send(pack({"method": "POST", "url": "/echo", "data": 1, "id": 1}), BINARY)
        assert unpack((await client.receive()).payload) == {"id": 1, "status": 200, "data": 1}
        gates.open("b")
        assert (await client.reply())["id"] == "b"
        gates.open("a")
        assert unpack((await client.receive()).payload) == {"id": "a", "status": 200, "data": "a"}


@asynchronous
async def test_push_stays_text() -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client:
        client.send(pack({"method": "POST", "url": "/push", "data": [b"ab"], "id": 1}), BINARY)
        event = await client.receive()
        assert (event.opcode, json.loads(event.payload)) == (TEXT, {"event_name": "news", "data": ["YWI="]})
        assert unpack((await client.receive()).payload)["data"] == "pushed"


@pytest.mark.parametrize(
    ("options", "status"),
    [({"request_timeout": 0.01}, 504), ({"requests_per_second": 0.001, "burst": 1}, 429)],
    ids=["timeout", "rate"],
)
@asynchronous
async def test_refusals_of_the_server_come_in_messagepack(options: dict[str, Any], status: int) -> None:
    async with serving(make_router(Gates()), **options) as app, await Client.connect(app) as client:
        for number in (1, 2):
            client.send(pack({"method": "GET", "url": "/wait/a" if status == 504 else "/echo", "id": number}), BINARY)
        replies = [unpack((await client.receive()).payload) for _ in range(2)]
        assert status in [reply["status"] for reply in replies]


# What renders otherwise


@pytest.mark.parametrize(
    ("url", "args", "expected"),
    [
        ("/pretty", {}, pack({"data": "rendered", "event_name": None})),
        ("/rows", {}, pack({"data": [{"at": NOON}], "event_name": None})),
        ("/shout", {}, b'{"DATA":"RENDERED","EVENT_NAME":NULL}'),
        ("/csv", {}, b"rendered"),
    ],
)
@asynchronous
async def test_json_renderers_give_way_and_others_are_sent_as_they_are(
    url: str, args: dict[str, Any], expected: bytes
) -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client:
        client.send(pack({"method": "GET", "url": url, "args": args}), BINARY)
        reply = await client.receive()
        assert (reply.opcode, reply.payload) == (BINARY, expected)


@asynchronous
async def test_xml_that_is_asked_for_is_sent_as_it_is() -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client:
        client.send(pack({"method": "GET", "url": "/rows", "args": {"format": "xml"}}), BINARY)
        reply = await client.receive()
        assert reply.opcode == BINARY
        assert reply.payload.startswith(b"<?xml")


@asynchronous
async def test_middlewares_and_permissions_see_the_request() -> None:
    class Token(AbstractMiddleware):
        def process_request(self, request: Request, handler: Any) -> None:
            if request.extra.get("token") != b"secret":
                raise HTTPError(401, "no token")

    async with serving(make_router(), middlewares=[Token]) as app, await Client.connect(app) as client:
        for token, status in ((b"secret", 200), ("secret", 401)):
            client.send(pack({"method": "GET", "url": "/echo", "token": token, "id": 1}), BINARY)
            assert unpack((await client.receive()).payload)["status"] == status


@asynchronous
async def test_router_of_ones_own_gives_the_bytes() -> None:
    class Router(AbstractRouter):
        def process_request(self, request: Any) -> Any:
            return pack([request.form, request.data])

    async with serving(Router()) as app, await Client.connect(app) as client:
        client.send(pack({"data": b"x"}), BINARY)
        assert unpack((await client.receive()).payload) == [6, b"x"]


# Overrides


@asynchronous
async def test_decode_message_that_calls_super_keeps_the_form() -> None:
    class Protocol(RequestHandlerProtocol):
        def _decode_message(self, payload: bytes, isBinary: bool = False) -> Request:
            return super()._decode_message(payload, isBinary)

    async with serving(make_router(), protocol=Protocol) as app, await Client.connect(app) as client:
        client.send(pack({"method": "POST", "url": "/echo", "data": NOON}), BINARY)
        assert unpack((await client.receive()).payload)["data"] == NOON
        client.send(b"\x81", BINARY)
        assert unpack((await client.receive()).payload)["detail"] == EARLY


@asynchronous
async def test_decode_message_of_ones_own_is_answered_in_base64() -> None:
    class Protocol(RequestHandlerProtocol):
        def _decode_message(self, payload: bytes, isBinary: bool = False) -> Request:
            return Request(**unpack(payload))

    async with serving(make_router(), protocol=Protocol) as app, await Client.connect(app) as client:
        client.send(pack({"method": "POST", "url": "/echo", "data": "d"}), BINARY)
        reply = await client.receive()
        assert json.loads(base64.b64decode(reply.payload))["data"] == "d"


@asynchronous
async def test_encode_message_sees_messagepack_and_super_leaves_it() -> None:
    seen = []

    class Protocol(RequestHandlerProtocol):
        def _encode_message(self, response: bytes, isBinary: bool = False) -> bytes:
            seen.append((response, isBinary))
            return super()._encode_message(response, isBinary)

    async with serving(make_router(), protocol=Protocol) as app, await Client.connect(app) as client:
        client.send(pack({"method": "POST", "url": "/echo", "data": b"d"}), BINARY)
        expected = pack({"data": b"d", "event_name": None})
        assert (await client.receive()).payload == expected
        assert seen == [(expected, True)]


@asynchronous
async def test_encode_message_that_fails_is_answered_in_messagepack() -> None:
    class Protocol(RequestHandlerProtocol):
        def _encode_message(self, response: bytes, isBinary: bool = False) -> bytes:
            raise HTTPError(409, "not today")

    async with serving(make_router(), protocol=Protocol) as app, await Client.connect(app) as client:
        client.send(pack({"method": "POST", "url": "/echo", "data": b"d", "id": 1}), BINARY)
        assert unpack((await client.receive()).payload) == {"id": 1, "status": 409, "detail": "not today"}


@asynchronous
async def test_send_message_of_ones_own_gets_it() -> None:
    class Protocol(RequestHandlerProtocol):
        def sendMessage(self, payload: bytes, isBinary: bool = False, *args: Any, **options: Any) -> None:
            super().sendMessage(pack([payload, isBinary]), True)

    async with serving(make_router(), protocol=Protocol) as app, await Client.connect(app) as client:
        client.send(pack({"method": "POST", "url": "/echo", "data": b"d"}), BINARY)
        assert unpack((await client.receive()).payload) == [pack({"data": b"d", "event_name": None}), True]


# msgspec: when it is imported, and what is said without it

WITHOUT = """
import sys
sys.modules["msgspec"] = sys.modules["msgspec.msgpack"] = None  # as if it were not installed
import base64, json
from aiorest_ws import Application, SimpleRouter
from aiorest_ws.testing import TestClient

router = SimpleRouter()
router.get("/hello")(lambda request: "hello")
with TestClient(Application(router=router)) as client:
    for first in (*range(0x80, 0x90), 0xDE, 0xDF):
        client.send(bytes([first]) + b"\\xa3url\\xa6/hello")
        reply = json.loads(base64.b64decode(client.receive(), validate=True))
        assert reply == {"detail": DETAIL, "event_name": None}, reply
    client.send(b"\\xff")
    assert json.loads(base64.b64decode(client.receive()))["detail"] == "request is not valid base64"
    assert client.get("/").status == 404
    try:
        client.get("/", form="msgpack")
    except ImportError as exc:
        assert str(exc) == DETAIL
        print("told")
"""
MISSING = "MessagePack needs msgspec on the server: pip install 'aiorest-ws[msgpack]>=2'"


@asynchronous
async def test_without_msgspec_the_reply_names_the_cure() -> None:
    told = await printed(WITHOUT.replace("DETAIL", repr(MISSING)))
    assert told == "told\n"


@asynchronous
async def test_application_imports_msgspec_before_it_serves() -> None:
    """In the middle of serving it would keep every client waiting."""
    told = await printed(
        "import sys\n"
        "from aiorest_ws import Application, SimpleRouter\n"
        "app = Application(router=SimpleRouter())\n"
        "print('msgspec' in sys.modules)\n"
        "import asyncio\n"
        "async def prepare(): app.prepare()\n"
        "asyncio.run(prepare())\n"
        "print('msgspec' in sys.modules)\n"
    )
    assert told == "False\nTrue\n"
