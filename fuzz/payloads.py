"""A source of chance in; payloads, values, templates and urls out: well-formed, nearly so, and not at all.

Made for speed: an input has to cost less than what reads it. So most are put together from pieces, or are mutants.
"""

from __future__ import annotations

from base64 import b64encode
from collections import namedtuple
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from itertools import chain
from random import Random
from typing import Any, NamedTuple

__all__ = ("METHODS", "envelope", "frame_stream", "mutant", "packed", "payload", "template", "url", "value")

# Pieces stand between spaces, so that they can be read; those that do not like it are added.
_STRINGS = (
    rb"""
    "" "a" "GET" "get" "/hello" "/hello/" "/users/7" "/later" "/fails" "/created" "/none" "a\"b" "\\" "\n" "\u0041" "\/"
    "{" "}" "[" "]" "," ":" "\u0000" "\ud83d\ude00" "\ud800" "xml"
    """.split(),
    [
        b'" GET "',
        b'"\x7f"',
        '"é"'.encode(),
        '"😀"'.encode(),
        *(b'"%s"' % (b"x" * size) for size in (255, 256, 257, 500)),
    ],
)
_NUMBERS = b"""
    0 1 -1 -0 7 1.5 -0.0 1e3 1E+2 1e-7 1e999 01 -01 - 1. .5 123456789012345678 1234567890123456789 9999999999999999999
    9223372036854775807 9223372036854775808 18446744073709551615 18446744073709551616 -9223372036854775808
    -9223372036854775809 99999999999999999999999999
    """.split()
_OTHERS = (
    rb"""
    null true false {} [] [1] {"a":1} {"x":1} {"n":2} [[],{}] [1,[2,{"b":[]}]] {"format":"xml"} {"a":"]"} ["}"] ["\\"]
    {"a":{"a":1},"a":2} nul tru NaN { ] ["\ ["a " 'a' [} [1,] {"a"}
    """.split(),
    [b"[" * depth + b"]" * depth for depth in (63, 64, 65, 66)],
    [b"", b"[" * 1024, b"\xff", b'"\xed\xa0\x80"'],
)
_VALUES = list(chain(*_STRINGS, *_STRINGS, _NUMBERS, *_OTHERS))
_KEYS = [
    *b'"method": "url": "args": "data": "event_name": "id":'.split() * 3,
    *rb'"token": "ID": "": "ur\u006c": "user": "_id": url:'.split(),
    *(b'"method" :', b' "url":', '"é":'.encode()),
]
_WHOLE = (  # what servers see all day
    b'{"method":"GET","url":"/hello"}',
    b'{"method":"GET","url":"/hello","event_name":"e1"}',
    b'{"id":17,"method":"GET","url":"/users/7","args":{"n":1},"data":[1,2,{"a":null}]}',
    b'{"id":"abc","method":"POST","url":"/users/7/posts/abc/","data":"text","token":"t"}',
    b'{"method": "GET", "url": "/created", "args": {}}',
    '{"method":"GET","url":"/wide/é/ü","event_name":"é"}'.encode(),
    b'{"method":"GET","url":"/later","data":"%s"}' % (b"x" * 450),
)
_PACKED = (
    b"\x82\xa6method\xa3GET\xa3url\xa6/hello",
    b"\x85\xa2id\x11\xa6method\xa3GET\xa3url\xa8/users/7\xa4args\x81\xa1n\x01\xa4data\x93\x01\x02\x81\xa1a\xc0",
    b"\xde\x00\x03\xa2id\xd9\x03abc\xa6method\xa4POST\xa4data\xc4\x02\xff\x00",
    b"\xdf\0\0\0\x03\xa6method\xa3GET\xa3url\xa6/later\xa1t\x92\xd6\xff\0\0\0\x01\xcb\x7f\xf8\0\0\0\0\0\0",
    b"\x83\xa6method\xa3GET\xa3url\xac/wide/\xc3\xa9/abc\xaaevent_name\xdc\x00\x01\xc7\x0c\xff" + b"\0" * 12,
    *(b"\x81\xa1d" + b"\x91" * depth + b"\xc0" for depth in (510, 511, 512)),
)
_PACKED_PIECES = [bytes((first,)) for first in range(0x80, 0x100)]
_PIECES = [
    *rb"""
    " \ { } [ ] , : = == - 0 1 . e A / + null true "id": "args": e30= eyJ \u00 9999999999999999999
    """.split(),
    *(
        b" ",
        b"\n",
        b"\x00",
        b"\x1f",
        b"\x7f",
        b"\x80",
        b"\xc3",
        b"\xff",
        b"\xe2\x82\xac",
        b"\xf0\x9f\x98\x80",
        b"\xed\xa0\x80",
    ),
]


def mutant(source: Random, data: bytes) -> bytes:
    """Give `data` after one to three changes."""
    chance = source.random
    for _ in range(1 + int(chance() * 3)):
        at = int(chance() * (len(data) + 1))
        kind = int(chance() * 7)
        if kind == 0:
            data = data[:at] + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + _PIECES[int(chance() * len(_PIECES))] + data[at:]
        elif kind == 2:
            data = data[:at] + bytes((int(chance() * 256),)) + data[at + 1 :]
        elif kind == 3:
            data = data[: at or None]
        elif kind == 4:
            data = data[:at] + data[max(0, at - int(chance() * 12)) :]
        elif kind == 5:
            data = data[:at] + _PIECES[int(chance() * len(_PIECES))] + data[at + 1 :]
        else:
            data = data[:at] + data[at + int(chance() * 12) :]
    return data


def envelope(source: Random) -> bytes:
    """Give an object of keys and values that clients might send."""
    chance = source.random
    members = [
        _KEYS[int(chance() * len(_KEYS))] + _VALUES[int(chance() * len(_VALUES))] for _ in range(int(chance() * 6))
    ]
    return b"{" + (b"," if chance() < 0.95 else b", ").join(members) + b"}"


def payload(source: Random) -> bytes:
    """Give a payload: an envelope or a mutant of one, as JSON, in base64 or in MessagePack, or noise."""
    chance = source.random
    kind = chance()
    if chance() < 0.12:
        return packed(source)
    data = envelope(source) if kind < 0.4 else _WHOLE[int(chance() * len(_WHOLE))]
    if kind > 0.97:
        return source.randbytes(int(chance() * 40))
    if kind > 0.55:
        data = mutant(source, data)
    if chance() < 0.35:
        data = b64encode(data)
        if chance() < 0.4:
            data = mutant(source, data)
    return data


def packed(source: Random) -> bytes:
    """Give MessagePack, or a mutant of it."""
    chance = source.random
    data = _PACKED[int(chance() * len(_PACKED))]
    for _ in range(int(chance() * 4)):
        at = int(chance() * len(data))
        piece = _PACKED_PIECES[int(chance() * len(_PACKED_PIECES))]
        data = data[:at] + piece + data[at + (chance() < 0.8) :]
    return mutant(source, data) if chance() < 0.2 else data


# Values as handlers return them


class _Text(str):
    __slots__ = ()


class _Pair(NamedTuple):
    a: int
    b: str


class _Colour(Enum):
    RED = "red"


class _Level(IntEnum):
    LOW = 1


_Point = namedtuple("_Point", "x y")
_PLAIN_VALUES: list[Any] = [
    *(
        "plain",
        "",
        "a",
        "x" * 1000,
        "x" * 4096,
        "x" * 4097,
        *['quo"te', "back\\slash", "\x00", "\x1f", "\x7f", "é", "€", "😀", "\ud800"],
    ),
    *(None, True, False, 0, -1, 7, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30),
    *(0.0, -0.0, 1.5, 1e300, 1e-300, float("nan"), float("inf"), Decimal("1.50"), b"bytes", bytearray(b"x")),
    *(
        _Text("text"),
        _Pair(1, "b"),
        _Point(1, 2),
        _Colour.RED,
        _Level.LOW,
        datetime(2024, 1, 2, tzinfo=UTC),
        (),
        [],
        {},
    ),
    *(
        frozenset(("one",)),
        object,
        {1: 2},
        {None: 1},
        {2.5: "x"},
        {_Colour.RED: 1},
        {(1, 2): 3},
        {"é": "é"},
        {"\ud800": 1},
    ),
]


def value(source: Random, depth: int = 0) -> Any:
    """Give what a handler might return."""
    chance = source.random
    if depth > 3 or chance() < 0.6:
        return _PLAIN_VALUES[int(chance() * len(_PLAIN_VALUES))]
    items = [value(source, depth + 1) for _ in range(int(chance() * 4))]
    kind = int(chance() * 4)
    if kind == 0:
        return items
    if kind == 1:
        return tuple(items)
    return {("a", "b", "data", "é", "x" * 70)[int(chance() * 5)]: item for item in items}


# Templates and urls

_PARTS = [
    *[
        "a",
        "b",
        "hello",
        "users",
        "é",
        "😀",
        "xxxxxxx",
        "xxxxxxxx",
        "xxxxxxxxx",
        ".",
        "%20",
        "{x}",
        "{y}",
        "a{x}",
        "{x}b",
        "a{x}b",
        "{x}-{y}",
        "{x}.json",
        "{x}{y}",
        "é{x}",
    ],
    *["{x}a{y}aa{z}", "{1}", "{x", "{x}{x}"],
    *("a b", ""),
]
_FILLINGS = [
    "",
    " ",
    *[
        "a",
        "b",
        "7",
        "ab",
        "aab",
        "a-b",
        "---",
        "xxxxxxxx",
        "xxxxxxxxxxxxxxxxx",
        "é",
        "ü€",
        "😀",
        "a.json",
        "hello",
        "users",
        "aaaaa",
    ],
]
_URL_PIECES = [
    "/",
    "//",
    " ",
    "a",
    "b",
    "-",
    "é",
    "😀",
    "{",
    "}",
    "\x00",
    "\x7f",
    "\x80",
    "xxxxxxxx",
    "\ud800",
    ".",
    "%",
    "z",
]
METHODS = ("GET", "GET", "GET", "POST", "get", " GET ", "PUT", "", "GE T", "géT", None, 7, _Text("GET"), b"GET")


def template(source: Random) -> str:
    """Give a template, a few of them malformed."""
    chance = source.random
    parts = [_PARTS[int(chance() * len(_PARTS))] for _ in range(int(chance() * 5))]
    end = "/" if chance() < 0.95 else ""
    return "/" + "/".join(parts) + (end if parts else "")


def url(source: Random, templates: list[str]) -> str:
    """Give a url that one of `templates` might match."""
    chance = source.random
    found = templates[int(chance() * len(templates))]
    while "{" in found and "}" in found[found.index("{") :]:
        start = found.index("{")
        filling = _FILLINGS[int(chance() * len(_FILLINGS))]
        found = found[:start] + filling + found[found.index("}", start) + 1 :]
    kind = chance()
    if kind < 0.3:
        found = found[:-1]
    if kind > 0.7:
        at = int(chance() * (len(found) + 1))
        piece = _URL_PIECES[int(chance() * len(_URL_PIECES))]
        found = found[:at] + piece + found[at + int(chance() * 2) :]
    return found


# Frames

_SIZES = (*range(10), 15, 16, 17, 124, 125, 126, 127, 128)
_HEADS = (*(0x81,) * 12, *(0x82,) * 6, 0x89, 0x89, 0x8A, 0x8A, 0x88, 0x01, 0x00, 0x80, 0x80, 0xC1, 0x83, 0x8B, 0x09)
_CONTENT = ("é€😀".encode() * 20, b"x" * 128, b"\xff" + b"a" * 127, b"a" * 100 + b"\xe2\x82" + b"a" * 26)


def frame_stream(source: Random) -> tuple[bytes, tuple[int, ...]]:
    """Give a few small frames, most of them good, and how long the reads are in which they arrive."""
    chance = source.random
    frames = []
    for _ in range(1 + int(chance() * 5)):
        size = _SIZES[int(chance() * len(_SIZES))]
        content = _CONTENT[int(chance() * 4)][:size]
        second = 0x80 | min(size, 126) if chance() < 0.98 else int(chance() * 256)
        length = size.to_bytes(2, "big") if size >= 126 else b""
        mask = int(chance() * 2**32).to_bytes(4, "big")
        key = int.from_bytes((mask * 33)[:size], "big")
        masked = (int.from_bytes(content, "big") ^ key).to_bytes(size, "big")
        frames.append(bytes((_HEADS[int(chance() * len(_HEADS))], second)) + length + mask + masked)
    longest = (1, 3, 20, 1000)[int(chance() * 4)]
    return b"".join(frames), (1 + int(chance() * longest), 1 + int(chance() * longest))
