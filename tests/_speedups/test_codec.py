"""Payload → envelope and form, reply → payload: every clause of design §3, on both implementations."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiorest_ws.exceptions import InvalidMessage
from tests.kit.examples import examples
from tests.kit.outcomes import outcome
from tests.kit.pages import ROOT

if TYPE_CHECKING:
    from tests.swapping import Impl

TEXT, BINARY = False, True
HELLO = b'{"method":"GET","url":"/hello","event_name":"e1"}'
FORMS = ("TEXT_JSON", "TEXT_BASE64", "BINARY_JSON", "BINARY_BASE64")
BASE64_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=8), values, max_size=4)


def refusal(impl: Impl, payload: bytes, form: int) -> str:
    """Give the detail with which `payload` is refused."""
    with pytest.raises(InvalidMessage) as caught:
        impl.codec.decode(payload, form)
    assert caught.value.status == 400
    assert isinstance(caught.value.detail, str)
    return caught.value.detail


# Which form: the frame's opcode and the first byte

PACKED = [bytes([first]) for first in (*range(0x80, 0x90), 0xDE, 0xDF)]


def expected_form(payload: bytes, is_binary: bool) -> str:
    """The words of design §3, read literally."""
    if not is_binary:
        return "TEXT_BASE64" if payload[:1] in (b"e", b"I", b"C", b"D") else "TEXT_JSON"
    if payload[:1] in PACKED:
        return "BINARY_MSGPACK"
    stripped = payload.lstrip(b" \t\n\r")
    return "BINARY_JSON" if stripped[:1] in (b"{", b"[") else "BINARY_BASE64"


@pytest.mark.parametrize("is_binary", [TEXT, BINARY])
def test_form_is_decided_by_opcode_and_first_byte_for_all_256_bytes(impl: Impl, is_binary: bool) -> None:
    for byte in range(256):
        for rest in (b"", b"xyz", b'{"a":1}'):
            payload = bytes([byte]) + rest
            expected = getattr(impl.codec, expected_form(payload, is_binary))
            assert impl.codec.recognise(payload, is_binary) == expected, payload


def test_the_forms_have_different_numbers(impl: Impl) -> None:
    assert len({getattr(impl.codec, form) for form in (*FORMS, "BINARY_MSGPACK")}) == 5


def test_empty_text_is_json_and_empty_binary_is_base64(impl: Impl) -> None:
    assert impl.codec.recognise(b"", TEXT) == impl.codec.TEXT_JSON
    assert impl.codec.recognise(b"", BINARY) == impl.codec.BINARY_BASE64


@pytest.mark.parametrize("space", [b" ", b"\t", b"\n", b"\r", b" \r\n\t "])
@pytest.mark.parametrize("first", [b"{}", b"[]"])
def test_binary_json_may_begin_with_white_space(impl: Impl, space: bytes, first: bytes) -> None:
    assert impl.codec.recognise(space + first, BINARY) == impl.codec.BINARY_JSON


@pytest.mark.parametrize("space", [b"\x00", b"\x0b", b"\x0c", b"\xa0", b"\xef\xbb\xbf"])
def test_what_json_does_not_call_white_space_is_not_skipped(impl: Impl, space: bytes) -> None:
    assert impl.codec.recognise(space + b"{}", BINARY) == impl.codec.BINARY_BASE64


def test_binary_white_space_alone_is_base64(impl: Impl) -> None:
    assert impl.codec.recognise(b" \n", BINARY) == impl.codec.BINARY_BASE64


@examples(50)
@given(objects, st.sampled_from([b"", b" ", b"\n", b"\t", b"\r"]))
def test_base64_of_any_object_in_a_text_frame_is_recognised(impl: Impl, value: dict[str, Any], space: bytes) -> None:
    payload = base64.b64encode(space + json.dumps(value).encode())
    assert impl.codec.recognise(payload, TEXT) == impl.codec.TEXT_BASE64
    assert impl.codec.decode(payload, impl.codec.TEXT_BASE64) == value


# Strict JSON


@pytest.mark.parametrize("form", FORMS)
def test_hello_is_decoded_in_every_form(impl: Impl, form: str) -> None:
    number = getattr(impl.codec, form)
    payload = base64.b64encode(HELLO) if "BASE64" in form else HELLO
    is_binary = form.startswith("BINARY")
    assert impl.codec.recognise(payload, is_binary) == number
    assert impl.codec.decode(payload, number) == {"method": "GET", "url": "/hello", "event_name": "e1"}


def test_white_space_around_json_is_allowed(impl: Impl) -> None:
    assert impl.codec.decode(b' \t\r\n{ "a" : 1 } \t\r\n', impl.codec.TEXT_JSON) == {"a": 1}


MALFORMED = {
    "nothing": b"",
    "white space": b" \n ",
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "minus Infinity": b'{"a":-Infinity}',
    "lone high surrogate": b'{"a":"\\ud800"}',
    "lone low surrogate": b'{"a":"\\udc00"}',
    "reversed surrogates": b'{"a":"\\udc00\\ud800"}',
    "raw surrogate": b'{"a":"\xed\xa0\x80"}',
    "surrogate in a key": b'{"\\ud800":1}',
    "invalid UTF-8": b'{"a":"\xff"}',
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "cut UTF-8": b'{"a":"\xe2\x82"}',
    "raw control character": b'{"a":"\x01"}',
    "raw newline in a string": b'{"a":"\n"}',
    "trailing comma": b'{"a":1,}',
    "trailing data": b'{"a":1}x',
    "second document": b'{"a":1}{"b":2}',
    "trailing NUL": b'{"a":1}\x00',
    "byte order mark": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16-le"),
    "single quotes": b"{'a':1}",
    "bare key": b"{a:1}",
    "number as key": b"{1:1}",
    "comment": b'{"a":1/* */}',
    "leading zero": b'{"a":01}',
    "leading plus": b'{"a":+1}',
    "no integer part": b'{"a":.5}',
    "no fraction": b'{"a":1.}',
    "hexadecimal": b'{"a":0x10}',
    "unfinished": b'{"a":',
    "unfinished string": b'{"a":"b',
    "bad escape": b'{"a":"\\x41"}',
    "vertical tab around": b"\x0b{}",
    "a word": b"hello",
    "Python's words": b'{"a":True}',
}


@pytest.mark.parametrize("payload", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_json_is_refused(impl: Impl, payload: bytes, form: str) -> None:
    if "BASE64" in form:
        payload = base64.b64encode(payload)
    assert refusal(impl, payload, getattr(impl.codec, form)).startswith("request is not valid JSON: ")


def test_nesting_ends_at_1024_levels(impl: Impl) -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    assert impl.codec.decode(nested(1024), impl.codec.TEXT_JSON)
    assert refusal(impl, nested(1025), impl.codec.TEXT_JSON).startswith("request is not valid JSON: ")
    assert refusal(impl, b"[" * 900_000, impl.codec.BINARY_JSON).startswith("request is not valid JSON: ")


def test_integers_beyond_64_bits_become_floats_and_the_last_duplicate_wins(impl: Impl) -> None:
    envelope = impl.codec.decode(b'{"a":18446744073709551615,"b":18446744073709551616,"c":1,"c":2}', 0)
    assert envelope == {"a": 2**64 - 1, "b": 2.0**64, "c": 2}
    assert [type(envelope[key]) for key in "abc"] == [int, float, int]


def test_an_integer_of_900_kib_is_refused(impl: Impl) -> None:
    assert refusal(impl, b'{"a":' + b"9" * 900 * 1024 + b"}", 0).startswith("request is not valid JSON: ")


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (b"null", "null"),
        (b"true", "a boolean"),
        (b"false", "a boolean"),
        (b"1", "a number"),
        (b"1.5", "a number"),
        (b'"text"', "a string"),
        (b"[1]", "an array"),
    ],
)
def test_json_that_is_no_object_is_refused_with_what_it_is(impl: Impl, payload: bytes, name: str) -> None:
    detail = f"request must be a JSON object, got {name}"
    assert refusal(impl, payload, impl.codec.TEXT_JSON) == detail
    assert refusal(impl, base64.b64encode(payload), impl.codec.BINARY_BASE64) == detail


# Strict base64

NOT_BASE64 = {
    "space before": b" e30=",
    "space after": b"e30= ",
    "newline after": b"e30=\n",
    "newline inside": b"eyJh\nIjoxfQ==",
    "space inside": b"eyJh IjoxfQ==",
    "no padding": b"e30",
    "half a padding": b"eyJhIjoxfQ=",
    "too much padding": b"e30==",
    "padding after a whole group": b"eyJhIjoxfSA=====",
    "padding inside": b"e3=0",
    "data after padding": b"e30=e30=",
    "one character": b"e",
    "padding alone": b"====",
    "url-safe minus": base64.urlsafe_b64encode(b'{"a":"\xc2\xbe\xc2\xbe>>>"}').replace(b"_", b"-"),
    "url-safe underscore": b"eyJ_fQ==",
    "a dot": b"e.30",
    "NUL": b"e30=\x00",
    "high bytes": b"\xff\xfe\xfd\xfc",
    "JSON": b'{"a":1}',
    "full-width letters": "ｅ３０＝".encode(),
}


@pytest.mark.parametrize("payload", NOT_BASE64.values(), ids=NOT_BASE64)
@pytest.mark.parametrize("form", ["TEXT_BASE64", "BINARY_BASE64"])
def test_what_is_not_strictly_base64_is_refused(impl: Impl, payload: bytes, form: str) -> None:
    assert refusal(impl, payload, getattr(impl.codec, form)) == "request is not valid base64"


@pytest.mark.parametrize("payload", [b"e31=", b"e32=", b"e33=", b"eyJhIjoxfR==", b"eyJhIjoxff=="])
def test_bits_left_over_in_base64_must_be_zero(impl: Impl, payload: bytes) -> None:
    assert refusal(impl, payload, impl.codec.TEXT_BASE64) == "request is not valid base64: trailing bits are not zero"


def test_of_all_last_characters_only_the_canonical_ones_pass(impl: Impl) -> None:
    """Whatever encoders give passes; what decodes to the same bytes and is not what they give does not."""
    for padding, stem in ((b"=", b"e3"), (b"==", b"eyJhIjoxf")):
        for last in BASE64_ALPHABET:
            payload = stem + bytes([last]) + padding
            canonical = base64.b64encode(base64.b64decode(payload)) == payload
            try:
                impl.codec.decode(payload, impl.codec.TEXT_BASE64)
                detail = ""
            except InvalidMessage as exc:
                detail = exc.detail
            assert ("trailing bits" not in detail) is canonical, payload


def test_base64_of_bad_utf8_is_refused_as_json(impl: Impl) -> None:
    payload = base64.b64encode(b'{"a":"\xff\xfe"}')
    assert refusal(impl, payload, impl.codec.TEXT_BASE64).startswith("request is not valid JSON: ")


def test_nothing_is_no_json_in_base64_either(impl: Impl) -> None:
    assert refusal(impl, b"", impl.codec.BINARY_BASE64).startswith("request is not valid JSON: ")


# Round trips


@examples(50)
@given(objects)
def test_every_object_survives_the_way_there_and_back_in_all_forms(impl: Impl, value: dict[str, Any]) -> None:
    codec = impl.codec
    for form in FORMS:
        number = getattr(codec, form)
        payload = codec.encode(codec.dumps(value), number)
        assert codec.decode(payload, number) == value
        assert codec.recognise(payload, form.startswith("BINARY")) == number


def test_encoding_in_json_forms_leaves_the_reply_as_it_is(impl: Impl) -> None:
    rendered = b'{"data":1}'
    assert impl.codec.encode(rendered, impl.codec.TEXT_JSON) is rendered
    assert impl.codec.encode(rendered, impl.codec.BINARY_JSON) is rendered
    for form in (impl.codec.TEXT_BASE64, impl.codec.BINARY_BASE64):
        assert impl.codec.encode(rendered, form) == base64.b64encode(rendered)


# dumps: the table of types

Point = namedtuple("Point", "x y")


class Colour(Enum):
    RED = "red"
    BOX = (1, 2)


class Level(IntEnum):
    LOW = 1


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Mapping(dict):  # type: ignore[type-arg]
    pass


@dataclass
class Address:
    street: str
    numbers: tuple[int, ...] = (1, 2)
    _secret: str = "hidden"


@dataclass
class User:
    name: str
    born: date
    addresses: list[Address] = field(default_factory=list)


@dataclass(slots=True)
class Slotted:
    a: int
    b: Any = None


ID = UUID("12345678-1234-5678-1234-567812345678")

TABLE: dict[str, tuple[Any, str]] = {
    "None": (None, "null"),
    "bool": ([True, False], "[true,false]"),
    "int": ([0, -1, 2**53 + 1], "[0,-1,9007199254740993]"),
    "64-bit limits": ([-(2**63), 2**64 - 1], "[-9223372036854775808,18446744073709551615]"),
    "beyond 64 bits": ([2**64, -(2**63) - 1, 10**30], f"[{2**64},{-(2**63) - 1},{10**30}]"),
    "float": ([0.5, -0.0, 1.0, 0.1], "[0.5,-0.0,1.0,0.1]"),
    "float exponents": ([1e-7, 0.00001, 1e22], "[1e-7,0.00001,1e+22]"),
    "NaN and Infinity": ([float("nan"), float("inf"), -float("inf")], "[null,null,null]"),
    "NaN beside a big int": ([float("nan"), 2**64], f"[null,{2**64}]"),
    "text": ('é "q" \\ / <', '"é \\"q\\" \\\\ / <"'),
    "control characters": ("\x00\b\t\n\f\r\x1f\x7f", '"\\u0000\\b\\t\\n\\f\\r\\u001f\x7f"'),
    "line separators unescaped": ("a\u2028b\u2029c", '"a\u2028b\u2029c"'),
    "emoji": ("\U0001f600", '"\U0001f600"'),
    "tuple": ((1, (2,)), "[1,[2]]"),
    "empty": ([{}, [], ()], "[{},[],[]]"),
    "order of keys": ({"b": 1, "a": 2}, '{"b":1,"a":2}'),
    "int keys": ({1: "a", 2: {3: "b"}}, '{"1":"a","2":{"3":"b"}}'),
    "keys as Python's json": ({True: 1, None: 2, 1.5: 3}, '{"true":1,"null":2,"1.5":3}'),
    "big int as key": ({2**70: 1}, f'{{"{2**70}":1}}'),
    "enum keys": ({Colour.RED: 1}, '{"red":1}'),
    "int enum keys": ({Level.LOW: 1}, '{"1":1}'),
    "datetime": (datetime(2024, 1, 2, 3, 4, 5), '"2024-01-02T03:04:05"'),
    "datetime in UTC": (datetime(2024, 1, 2, 3, 4, 5, 6, UTC), '"2024-01-02T03:04:05.000006+00:00"'),
    "datetime with offset": (
        datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=-3))),
        '"2024-01-02T00:00:00-03:00"',
    ),
    "date": (date(2024, 1, 2), '"2024-01-02"'),
    "time": (time(3, 4, 5, 60), '"03:04:05.000060"'),
    "UUID": (ID, f'"{ID}"'),
    "Decimal": ([Decimal("1.10"), Decimal("1E+3"), Decimal(-0)], '["1.10","1E+3","0"]'),
    "Enum": ([Colour.RED, Colour.BOX, Level.LOW], '["red",[1,2],1]'),
    "dataclass": (
        User("Ann", date(2000, 1, 2), [Address("Elm")]),
        '{"name":"Ann","born":"2000-01-02","addresses":[{"street":"Elm","numbers":[1,2]}]}',
    ),
    "slotted dataclass": (Slotted(1), '{"a":1,"b":null}'),
    "set": ([{1}, frozenset("x"), set()], '[[1],["x"],[]]'),
    "bytes": ([b"", b"\x00\xff", bytearray(b"ab"), memoryview(b"ab")], '["","AP8=","YWI=","YWI="]'),
    "namedtuple": (Point(1, Point(2, 3)), "[1,[2,3]]"),
    "subclasses": ([Text("t"), Number(5), Mapping(a=1)], '["t",5,{"a":1}]'),
    "ordered dict": (OrderedDict(b=1, a=2), '{"b":1,"a":2}'),
    "deep set": ({"a": [{"b": ({Decimal(1)},)}]}, '{"a":[{"b":[["1"]]}]}'),
}
LEAVES = (
    "datetime",
    "datetime in UTC",
    "date",
    "time",
    "UUID",
    "Decimal",
    "Enum",
    "dataclass",
    "set",
    "bytes",
    "namedtuple",
)


@pytest.mark.parametrize(("value", "expected"), TABLE.values(), ids=TABLE)
def test_dumps_follows_the_table_of_types(impl: Impl, value: Any, expected: str) -> None:
    assert impl.codec.dumps(value) == expected.encode()
    assert impl.codec.dumps({"data": value}) == b'{"data":' + expected.encode() + b"}"


@pytest.mark.parametrize("kind", LEAVES)
@pytest.mark.parametrize("oddity", [{1: 1}, 2**64], ids=["int key", "big int"])
def test_the_table_holds_beside_what_only_pythons_json_encodes(impl: Impl, kind: str, oddity: Any) -> None:
    value, expected = TABLE[kind]
    tail = '{"1":1}' if isinstance(oddity, dict) else str(oddity)
    assert impl.codec.dumps([value, oddity]) == f"[{expected},{tail}]".encode()


def test_an_odd_value_inside_a_dataclass_takes_it_along(impl: Impl) -> None:
    assert (
        impl.codec.dumps(Slotted(2**64, {1: Slotted(1)})) == f'{{"a":{2**64},"b":{{"1":{{"a":1,"b":null}}}}}}'.encode()
    )
    assert impl.codec.dumps(Address("Elm", (2**64,))) == f'{{"street":"Elm","numbers":[{2**64}]}}'.encode()


def test_a_bool_key_and_a_string_key_of_the_same_text_both_come_out(impl: Impl) -> None:
    assert impl.codec.dumps({1: "a", "1": "b"}) == b'{"1":"a","1":"b"}'


@pytest.mark.parametrize("depth", [200, 260, 400])
def test_nesting_deeper_than_orjson_goes_is_encoded(impl: Impl, depth: int) -> None:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    assert impl.codec.dumps(value) == b"[" * depth + b"]" * depth
    tree: Any = {}
    for _ in range(depth - 1):
        tree = {"a": tree}
    assert impl.codec.dumps(tree) == b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


ENDLESS = """
import importlib, sys
codec = importlib.import_module(sys.argv[1])
circle, tree, deep = [], {}, []
circle.append(circle)
tree["a"] = [tree]
for _ in range(200_000):
    deep = [deep]
for value in (circle, tree, deep):
    try:
        codec.dumps(value)
    except (TypeError, ValueError, RecursionError):
        print("refused")
"""


def test_what_contains_itself_is_refused_without_a_crash(impl: Impl) -> None:
    """In a process of its own: a stack overflow takes the interpreter down."""
    done = subprocess.run(
        [sys.executable, "-c", ENDLESS, impl.codec.__name__], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "refused\n" * 3), done.stderr[-2000:]


@pytest.mark.parametrize("depth", [253, 254, 255, 256, 700, 1000, 1023, 1100, 3000])
def test_pure_and_compiled_agree_on_how_deep_is_too_deep(both: tuple[Impl, Impl], depth: int) -> None:
    """A client can send 1,024 levels, and a handler may send back what it got."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    pure, compiled = both
    results = [outcome(implementation.codec.dumps, value)[0] for implementation in (pure, compiled)]
    assert results[0] is results[1]


@pytest.mark.parametrize(
    "value",
    [
        object(),
        object,
        int,
        lambda: 1,
        1j,
        Exception("x"),
        [object()],
        {"a": {1: object()}},
        {(1, 2): 3},
        Address,
        range(3),
    ],
    ids=str,
)
def test_what_has_no_json_is_a_type_error(impl: Impl, value: Any) -> None:
    with pytest.raises(TypeError):
        impl.codec.dumps(value)


def test_a_lone_surrogate_cannot_be_encoded(impl: Impl) -> None:
    for value in ("\ud800", {"\udfff": 1}, ["\ud800", 2**64]):
        with pytest.raises((TypeError, ValueError)):
            impl.codec.dumps(value)


def test_an_error_inside_what_is_encoded_is_not_swallowed(impl: Impl) -> None:
    class Broken(Enum):
        A = object()

    with pytest.raises(TypeError):
        impl.codec.dumps(Broken.A)


@examples(50)
@given(objects)
def test_dumps_gives_valid_json_that_python_reads_back(impl: Impl, value: dict[str, Any]) -> None:
    assert json.loads(impl.codec.dumps(value)) == value


@given(st.dictionaries(st.integers(), st.integers(), min_size=1, max_size=5))
def test_int_keys_and_big_ints_are_as_pythons_json_has_them(impl: Impl, value: dict[int, int]) -> None:
    assert impl.codec.dumps(value) == json.dumps(value, separators=(",", ":")).encode()


# `plain`: what other renderers get


def test_plain_gives_only_what_any_encoder_knows(impl: Impl) -> None:
    value = {
        "at": date(2024, 1, 2),
        Colour.RED: {Decimal("1.5")},
        "p": Point(1, 2),
        "n": float("inf"),
        "u": ID,
        "b": b"a",
    }
    assert impl.codec.plain(value) == {
        "at": "2024-01-02",
        "red": ["1.5"],
        "p": [1, 2],
        "n": None,
        "u": str(ID),
        "b": "YQ==",
    }
    assert impl.codec.plain(Address("Elm")) == {"street": "Elm", "numbers": [1, 2]}


# Pure against compiled


def mutated(payload: bytes) -> st.SearchStrategy[bytes]:
    """Give `payload` with a few bytes changed, taken out or put in."""
    edits = st.lists(
        st.tuples(st.integers(0, len(payload)), st.integers(0, 2), st.binary(min_size=1, max_size=2)),
        min_size=1,
        max_size=3,
    )

    def apply(changes: list[tuple[int, int, bytes]]) -> bytes:
        result = payload
        for at, cut, new in changes:
            result = result[:at] + new + result[at + cut :]
        return result

    return edits.map(apply)


valid = objects.map(orjson.dumps)
payloads = (
    st.binary(max_size=80)
    | valid
    | valid.map(base64.b64encode)
    | valid.flatmap(mutated)
    | valid.map(base64.b64encode).flatmap(mutated)
    | st.just(HELLO).flatmap(mutated)
    | st.sampled_from([*MALFORMED.values(), *NOT_BASE64.values()])
)


@given(payloads, st.booleans())
@example(b"", TEXT)
@example(b"e31=", TEXT)
@example(b"\x80", BINARY)
def test_pure_and_compiled_read_every_payload_alike(both: tuple[Impl, Impl], payload: bytes, is_binary: bool) -> None:
    pure, compiled = both
    form = pure.codec.recognise(payload, is_binary)
    assert compiled.codec.recognise(payload, is_binary) == form
    for number in range(4):
        assert outcome(compiled.codec.decode, payload, number) == outcome(pure.codec.decode, payload, number)


odd = (
    scalars
    | st.integers()
    | st.floats()
    | st.binary(max_size=8)
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.uuids()
    | st.sampled_from([Colour.RED, Colour.BOX, Level.LOW, object, "\ud800", Point(1, b"2"), 1j, Decimal("NaN")])
)
anything = st.recursive(
    odd | st.just(Slotted(2**65)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers() | st.text(), max_size=3)
        | st.dictionaries(odd, inner, max_size=4)
    ),
    max_leaves=10,
)


@given(anything)
def test_pure_and_compiled_encode_every_value_alike(both: tuple[Impl, Impl], value: Any) -> None:
    pure, compiled = both
    assert outcome(compiled.codec.dumps, value) == outcome(pure.codec.dumps, value)
    assert outcome(compiled.codec.plain, value) == outcome(pure.codec.plain, value)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_pure_and_compiled_encode_every_reply_alike(both: tuple[Impl, Impl], rendered: bytes, form: int) -> None:
    pure, compiled = both
    assert compiled.codec.encode(rendered, form) == pure.codec.encode(rendered, form)
