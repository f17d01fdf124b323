"""The frame layer over a transport that notes what happens: both implementations alone, one against the other, and with
Autobahn's protocol behind it against Autobahn's own reader.
"""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.differences import Ours, Plain, connect, deliver, difference, difference_from_autobahn, server_frames
from tests.kit.examples import examples
from tests.kit.frames import (
    BINARY,
    CLOSE,
    CLOSED,
    CLOSING,
    CONNECTING,
    CONTINUATION,
    MASK,
    OPEN,
    PING,
    PONG,
    TEXT,
    Event,
    Nowhere,
    Packs,
    Transport,
    close_frame,
    counters,
    echo,
    feed,
    in_pieces,
    is_text,
    make,
    messages,
    packed,
    reply,
    sliced,
    text,
    unusual,
    wire,
    writes,
)
from tests.kit.streams import INVALID, TRUNCATED, Case, random_case
from tests.kit.systems import needs_posix
from tests.swapping import Impl

KIB = 1024
MIB = 1024 * KIB
FLUSH_AT = 64 * KIB

# Around every change of form: of the header, of the word-wise loop, and of what is unmasked on the stack.
SIZES = (0, 1, 2, 3, 7, 8, 9, 15, 16, 125, 126, 127, 255, 511, 512, 513, 4095, 4096, 4097, 65535, 65536, 65537, 200_000)

# Whole messages


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_message_of_each_length_is_read(impl: Impl, size: int, opcode: int) -> None:
    payload = text(size) if opcode == TEXT else random.Random(size).randbytes(size)
    frames = make(impl)
    assert feed(frames, [wire(payload, opcode)]) == [("message", payload, opcode == BINARY)]
    assert (frames._fast_frames, frames._unusual_frames) == (1, 0)


@pytest.mark.parametrize("size", SIZES)
def test_message_of_each_length_is_read_in_pieces(impl: Impl, size: int) -> None:
    payload = text(size)
    whole = wire(payload)
    for at in {1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 15, 20, len(whole) // 2, len(whole) - 1}:
        if at < len(whole):
            frames = make(impl)
            assert feed(frames, sliced(whole, at)) == [("message", payload, False)]
            assert frames._fast_frames == 1


@pytest.mark.parametrize("mask", [bytes(4), b"\xff" * 4, MASK, b"\x00\x00\x00\x01"])
def test_any_mask_is_taken_off(impl: Impl, mask: bytes) -> None:
    """Also where a piece begins in the middle of the mask."""
    payload = bytes(range(256))
    whole = wire(payload, BINARY, mask=mask)
    for at in range(1, len(whole)):
        assert feed(make(impl), sliced(whole, at)) == [("message", payload, True)]


STREAM = b"".join(
    [
        wire(b""),
        wire("é€😀".encode()),
        wire(b"ping", PING),
        wire(b"\xff\x00", BINARY),
        wire(b"pong", PONG),
        wire(b"x" * 130),
        wire(b"frag", fin=False),
        wire(b"ment", CONTINUATION),
        wire(b"last"),
        close_frame(),
    ]
)


def joined(events: Iterable[Event]) -> list[Event]:
    """Join what is written in a row, and what is handed over of one frame."""
    result: list[Event] = []
    for event in events:
        if result and event[0] == result[-1][0] and event[0] in ("write", "unusual"):
            result[-1] = (event[0], result[-1][1] + event[1])
        else:
            result.append(event)
    return result


STREAM_EVENTS = [
    ("message", b"", False),
    ("message", "é€😀".encode(), False),
    ("message", b"\xff\x00", True),
    ("pong", b"pong"),
    ("message", b"x" * 130, False),
    *[("unusual frame",), ("unusual", wire(b"frag", fin=False))],
    *[("unusual frame",), ("unusual", wire(b"ment", CONTINUATION))],
    ("message", b"last", False),
    *[("unusual frame",), ("unusual", close_frame())],
]


def of_reading(events: Iterable[Event]) -> list[Event]:
    return joined(event for event in events if event[0] != "write")


def test_stream_is_read_alike_however_it_is_sliced(impl: Impl) -> None:
    """In one piece, in two at each place, in pieces of each size."""
    slicings = [[STREAM], *(sliced(STREAM, at) for at in range(1, len(STREAM)))]
    slicings += [list(in_pieces(STREAM, size)) for size in range(1, len(STREAM))]
    for pieces in slicings:
        frames = make(impl)
        feed(frames, pieces)
        assert of_reading(frames.events) == STREAM_EVENTS
        assert b"".join(writes(frames)) == reply(b"ping", PONG)
        assert (frames._fast_frames, frames._unusual_frames) == (7, 3)


def test_short_stream_is_read_alike_in_three_pieces(impl: Impl) -> None:
    stream = wire("€".encode()) + wire(b"p", PING) + wire(b"f", CONTINUATION) + wire(b"b", BINARY)
    expected = of_reading(feed(make(impl), [stream]))
    assert [event[0] for event in expected] == ["message", "unusual frame", "unusual", "message"]
    for first in range(1, len(stream) - 1):
        for second in range(first + 1, len(stream)):
            frames = make(impl)
            feed(frames, sliced(stream, first, second))
            assert of_reading(frames.events) == expected
            assert b"".join(writes(frames)) == reply(b"p", PONG)


def test_pipelined_messages_are_read_in_order(impl: Impl) -> None:
    payloads = [str(number).encode() * (number % 40) for number in range(1000)]
    frames = make(impl)
    feed(frames, [b"".join(map(wire, payloads))])
    assert messages(frames) == payloads


def test_empty_read_does_nothing(impl: Impl) -> None:
    frames = make(impl)
    assert feed(frames, [b""]) == []
    assert feed(frames, [*sliced(wire(b"ab"), 3, 3, 7), b""]) == [("message", b"ab", False)]


def test_messages_become_requests(impl: Impl) -> None:
    """Of each form; one that is none becomes a request too, whose reply says so."""
    seen: list[Any] = []

    class Requests(impl.frames.Frames):  # type: ignore[name-defined,misc]
        def _receive(self, request: Any) -> None:
            seen.append(request)

    frames = Requests()
    frames.state = OPEN
    frames.transport = Transport([])
    plain = b'{"method":"GET","url":"/a","id":1}'
    large = b'{"method":"GET","url":"/b","data":"' + b"x" * 70_000 + b'"}'
    frames._feed(wire(plain) + wire(plain, BINARY) + wire(b"{"))
    for piece in sliced(wire(large), 100):
        frames._feed(piece)
    assert [request.url for request in seen] == ["/a", "/a", None, "/b"]
    text_json, binary_json = impl.codec.TEXT_JSON, impl.codec.BINARY_JSON
    assert [request.form for request in seen] == [text_json, binary_json, text_json, text_json]
    assert all(request.connection is frames for request in seen)


# Pings and pongs


@pytest.mark.parametrize("size", [0, 1, 4, 8, 124, 125])
def test_ping_is_answered_by_a_pong_with_its_payload(impl: Impl, size: int) -> None:
    payload = random.Random(size).randbytes(size)
    for pieces in [[wire(payload, PING)], *(sliced(wire(payload, PING), at) for at in range(1, size + 6))]:
        frames = make(impl)
        assert feed(frames, pieces) == [("write", reply(payload, PONG))]


@pytest.mark.parametrize("size", [0, 1, 12, 125])
def test_pong_is_seen(impl: Impl, size: int) -> None:
    payload = bytes(range(size))
    for pieces in [[wire(payload, PONG)], *(sliced(wire(payload, PONG), at) for at in range(1, size + 6))]:
        assert feed(make(impl), pieces) == [("pong", payload)]


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_ping_and_pong_are_handed_over_where_they_are_not_served(impl: Impl, opcode: int) -> None:
    frames = make(impl, _serves_pings=False)
    feed(frames, [wire(b"a") + wire(b"p", opcode) + wire(b"b")])
    assert joined(frames.events) == [
        *[("message", b"a", False), ("unusual frame",), ("unusual", wire(b"p", opcode)), ("message", b"b", False)]
    ]


def test_pings_are_answered_inside_a_fragmented_message(impl: Impl) -> None:
    frames = make(impl, inside_message=True)
    assert feed(frames, [wire(b"p", PING)]) == [("write", reply(b"p", PONG))]


@pytest.mark.parametrize("pieces", [1, 2])
def test_traffic_is_noted_while_a_pong_is_waited_for(impl: Impl, pieces: int) -> None:
    frames = make(impl)
    frames.autoPingTimeoutCall = object()
    feed(frames, in_pieces(wire(b"12345678"), 14 // pieces))
    assert frames.events == [("traffic",), ("message", b"12345678", False)]


# Compressed messages


AGREED = Packs()
PACKED = {
    "text": [wire(packed(text(300)), rsv=4)],
    "in pieces of a byte": [wire(packed(text(300)), rsv=4)],
    "fragments": [
        wire(packed(text(300))[:20], rsv=4, fin=False),
        wire(packed(text(300))[20:50], CONTINUATION, fin=False),
        wire(packed(text(300))[50:], CONTINUATION),
    ],
    "empty fragments": [
        wire(b"", rsv=4, fin=False),
        wire(b"", CONTINUATION, fin=False),
        wire(packed(text(300)), CONTINUATION, fin=False),
        wire(b"", CONTINUATION),
    ],
    "final block": [wire(packed(text(300), mode=zlib.Z_FINISH), rsv=4)],
    "masked anew": [
        wire(packed(text(300))[:7], rsv=4, fin=False, mask=b"abcd"),
        wire(packed(text(300))[7:], CONTINUATION, mask=b"efgh"),
    ],
}


@pytest.mark.parametrize("frames_of", PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("size", [1, 3, 10, 100_000])
def test_compressed_message_is_read(impl: Impl, frames_of: list[bytes], size: int) -> None:
    """With pings between its frames, and a message behind it that is not compressed."""
    stream = wire(b"p", PING).join(frames_of) + wire(b"behind")
    frames = make(impl, packs=AGREED)
    feed(frames, in_pieces(stream, size))
    assert messages(frames) == [text(300), b"behind"]
    assert b"".join(writes(frames)) == reply(b"p", PONG) * (len(frames_of) - 1)
    assert (frames._unusual_frames, frames._fragments_in) == (0, len(frames_of) - 1)
    wire_size = sum(len(frame) - (6 if frame[1] & 0x7F < 126 else 8) for frame in frames_of)
    assert (frames._octets, frames._saved) == (306, 300 - wire_size)
    assert not frames.inside_message


@pytest.mark.parametrize(
    "data",
    [
        wire(b"x", CONTINUATION, rsv=4),
        wire(b"x", PING, rsv=4),
        wire(b"x", rsv=4),
        wire(b"x"),
        wire(b"x", CONTINUATION, mask=None),
        wire(b"x", CONTINUATION, form=126),
        wire(b"x", CONTINUATION, rsv=2),
    ],
)
def test_fault_inside_of_a_compressed_message_is_handed_over(impl: Impl, data: bytes) -> None:
    frames = make(impl, packs=AGREED)
    feed(frames, [wire(packed(b"hello")[:3], rsv=4, fin=False) + data])
    assert of_reading(frames.events) == [("unusual frame",), ("unusual", data)]
    assert frames.inside_message


@pytest.mark.parametrize("options", [{}, {"packs": AGREED, "_fast": False}])
def test_compressed_message_is_handed_over_where_it_is_not_served(impl: Impl, options: dict[str, Any]) -> None:
    data = wire(packed(b"hello"), rsv=4)
    assert of_reading(feed(make(impl, **options), [data])) == [("unusual frame",), ("unusual", data)]


@pytest.mark.parametrize("size", [1, 100, 100_000])
@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (wire(b"\xff" * 20, rsv=4), ValueError),
        (wire(packed(b"x" * 1001), rsv=4), OverflowError),
        (wire(b"x" * 3000, rsv=4), OverflowError),
        (wire(packed(b"x" * 600), rsv=4, fin=False) + wire(b"\xff" * 20, CONTINUATION), ValueError),
    ],
)
def test_bad_compressed_message_is_told_once_and_the_rest_skipped(
    impl: Impl, data: bytes, wrong: type[Exception], size: int
) -> None:
    frames = make(impl, packs=AGREED, _limit=1000)
    feed(frames, in_pieces(data + wire(b"behind") + close_frame(), size))
    told, *rest = of_reading(frames.events)
    assert told[:2] == ("bad message", wrong)
    assert rest == [("unusual frame",), ("unusual", close_frame())]


def test_compressed_text_that_is_not_utf8_is_told(impl: Impl) -> None:
    frames = make(impl, packs=AGREED)
    assert feed(frames, [wire(packed(b"ab\xff"), rsv=4)]) == [("invalid", 2)]
    frames = make(impl, packs=AGREED)
    assert feed(frames, [wire(packed(b"ab\xff"), BINARY, rsv=4)]) == [("message", b"ab\xff", True)]


def test_fragments_of_a_compressed_message_are_counted(impl: Impl) -> None:
    told: list[Any] = []

    class Counting(impl.frames.Frames):  # type: ignore[name-defined,misc]
        state: int

        def _on_fragments(self) -> None:
            told.append(self.state)
            self.state = CLOSING

    frames = Counting()
    frames.state, frames.transport, frames._max_fragments = OPEN, Transport([]), 3
    frames._unpacker = impl.deflate.Unpacker(15, takes_over=True)
    frames._reads_requests = False
    for _ in range(2):  # each message has fragments of its own
        frames._feed(wire(b"", rsv=4, fin=False) + wire(b"", CONTINUATION, fin=False) + wire(b"", CONTINUATION))
    frames._feed(wire(b"", rsv=4, fin=False) + wire(b"", CONTINUATION, fin=False) * 3)
    assert told == [OPEN]


def test_what_is_inflated_counts_against_a_slice(impl: Impl) -> None:
    """A small frame may hold a megabyte: others get their turn all the same."""
    slices: list[int] = []

    class Counting(impl.frames.Frames):  # type: ignore[name-defined,misc]
        def _on_slice(self) -> None:
            slices.append(self._messages)

    frames = Counting()
    frames.state, frames.transport, frames._reads_requests = OPEN, Transport([]), False
    frames._unpacker = impl.deflate.Unpacker(15, takes_over=True)
    frames._feed(wire(packed(b"x" * 100_000), rsv=4) * 10)
    assert slices == [3, 6, 9]


@pytest.mark.parametrize("takes_over", [True, False])
def test_long_messages_are_compressed_and_others_are_not(impl: Impl, takes_over: bool) -> None:
    frames = make(impl, packs=Packs(12, 5, takes_over, threshold=100))
    inflater = zlib.decompressobj(wbits=-12)
    incompressible = random.Random(1).randbytes(300)
    sent = [b"x" * 99, b"x" * 100, b"x" * 70_000, incompressible, b"x" * 100]
    for message in sent:
        frames._write(message, BINARY)
    frames._write(b"y" * 110, PING)
    frames._write_base64(b"x" * 99, TEXT)
    frames._write_base64(b"x" * 66, TEXT)
    frames._write_packed(b"\x00", TEXT, 0)
    found = []
    for data in writes(frames):
        size, at = data[1], 2
        if size == 126:
            at = 4
        payload = data[at:]
        if data[0] & 0x40:
            payload = inflater.decompress(payload + b"\x00\x00\xff\xff")
        found.append((data[0], payload))
    plain = 0x82 if not takes_over else 0xC2
    assert found[:5] == list(zip((0x82, 0xC2, 0xC2, plain, 0xC2), sent, strict=True))
    assert found[5] == (0x89, b"y" * 110)
    assert [first for first, _ in found[6:]] == [0xC1, 0x81, 0xC1]
    assert frames._octets_out + frames._saved_out == sum(map(len, sent)) + 132 + 88
    assert frames._frames_out == 8


# What is not served here

UNUSUAL = {
    "first fragment": wire(b"abc", fin=False),
    "fragment": wire(b"abc", CONTINUATION, fin=False),
    "last fragment": wire(b"abc", CONTINUATION),
    "close": close_frame(),
    "close without code": wire(b"", CLOSE),
    "close of one byte": wire(b"x", CLOSE),
    "rsv1": wire(b"abc", rsv=4),
    "rsv2": wire(b"abc", rsv=2),
    "rsv3": wire(b"abc", BINARY, rsv=1),
    "rsv on ping": wire(b"abc", PING, rsv=4),
    "rsv on pong": wire(b"abc", PONG, rsv=7),
    "reserved data opcodes": b"".join(wire(b"abc", opcode) for opcode in range(3, 8)),
    "reserved control opcodes": b"".join(wire(b"abc", opcode) for opcode in range(11, 16)),
    "unmasked": wire(b"abc", mask=None),
    "unmasked and empty": wire(b"", BINARY, mask=None),
    "unmasked ping": wire(b"abc", PING, mask=None),
    "unmasked of 126": wire(b"x" * 126, mask=None),
    "unmasked of 65536": wire(b"x" * 65536, mask=None),
    "16-bit length of 0": wire(b"", form=126),
    "16-bit length of 125": wire(b"x" * 125, form=126),
    "64-bit length of 1": wire(b"x", form=127),
    "64-bit length of 65535": wire(b"x" * 65535, BINARY, form=127),
    "fragmented ping": wire(b"abc", PING, fin=False),
    "fragmented close": wire(b"abc", CLOSE, fin=False),
    "ping of 126": wire(b"x" * 126, PING),
    "pong of 65536": wire(b"x" * 65536, PONG),
    "close of 126": wire(b"x" * 126, CLOSE),
    "ping with a 16-bit length": wire(b"abc", PING, form=126),
    "pong with a 64-bit length": wire(b"abc", PONG, form=127),
    "more than the limit": wire(b"x" * 100_001),
}


def kinds(data: bytes) -> int:
    return 5 if data in (UNUSUAL["reserved data opcodes"], UNUSUAL["reserved control opcodes"]) else 1


@pytest.mark.parametrize("data", UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_frame_is_handed_over_as_it_came(impl: Impl, data: bytes) -> None:
    """Byte for byte, in whatever pieces, and what is usual is served here again from the next frame on."""
    stream = wire(b"before") + data + wire(b"after") + data + wire(b"p", PING)
    sizes = (1, 2, 3, 5, 7, 11, 13, 1000, len(stream)) if len(stream) < 1000 else (4, 999, 65536, len(stream))
    for size in sizes:
        frames = make(impl, _limit=100_000)
        feed(frames, in_pieces(stream, size))
        assert messages(frames) == [b"before", b"after"]
        assert unusual(frames) == data * 2
        assert writes(frames) == [reply(b"p", PONG)]
        assert (frames._fast_frames, frames._unusual_frames) == (3, 2 * kinds(data))
        names = [event[0] for event in joined(frames.events)]
        assert names == ["message", *["unusual frame", "unusual"] * kinds(data)] * 2 + ["write"]


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**63 + 5])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_length_beyond_63_bits_is_handed_over(impl: Impl, length: int, opcode: int) -> None:
    header = wire(b"", opcode, form=127, declared=length)
    for size in (1, 3, len(header)):
        frames = make(impl)
        feed(frames, in_pieces(header + b"payload", size))
        assert frames.events[0] == ("unusual frame",)
        assert unusual(frames) == header + b"payload"
        assert frames._unusual_frames == 1


def test_length_of_63_bits_is_waited_for(impl: Impl) -> None:
    frames = make(impl)
    assert feed(frames, in_pieces(wire(b"payload", BINARY, form=127, declared=2**63 - 1), 5)) == []
    assert (frames._fast_frames, frames._unusual_frames) == (1, 0)


def test_unusual_frames_come_one_at_a_time(impl: Impl) -> None:
    """Autobahn's parser slices whatever it is given once per frame: it must see no more than one."""
    fragments = [wire(bytes([65 + number % 26]), CONTINUATION, fin=False) for number in range(500)]
    frames = make(impl)
    feed(frames, [b"".join(fragments)])
    assert all(len(event[1]) <= 7 for event in frames.events if event[0] == "unusual")
    assert [event[1] for event in joined(frames.events) if event[0] == "unusual"] == fragments


def test_incomplete_header_of_an_unusual_frame_is_handed_over_at_once(impl: Impl) -> None:
    """A fault in the first two bytes must not wait for the rest of the header."""
    frames = make(impl)
    feed(frames, [wire(b"x" * 300, rsv=7)[:2]])
    assert unusual(frames) == wire(b"x" * 300, rsv=7)[:2]


def test_data_frames_inside_a_fragmented_message_are_handed_over(impl: Impl) -> None:
    frames = make(impl, inside_message=True)
    feed(frames, [wire(b"a") + wire(b"b", BINARY)])
    assert unusual(frames) == wire(b"a") + wire(b"b", BINARY)
    frames.inside_message = False
    feed(frames, [wire(b"c")])
    assert messages(frames) == [b"c"]


def test_every_frame_is_handed_over_where_none_is_served(impl: Impl) -> None:
    frames = make(impl, _fast=False)
    feed(frames, in_pieces(STREAM, 3))
    assert unusual(frames) == STREAM
    assert (frames._fast_frames, frames._unusual_frames) == (0, 10)


# The limit


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("limit", [1, 125, 126, 1000, 65535, 65536])
def test_limit_is_honoured(impl: Impl, opcode: int, limit: int) -> None:
    frames = make(impl, _limit=limit)
    feed(frames, [wire(b"x" * limit, opcode) + wire(b"y" * (limit + 1), opcode)])
    assert messages(frames) == [b"x" * limit]
    assert unusual(frames) == wire(b"y" * (limit + 1), opcode)


def test_limit_is_honoured_as_soon_as_a_length_is_declared(impl: Impl) -> None:
    frames = make(impl, _limit=1000)
    header = wire(b"", declared=1001, form=126)
    assert feed(frames, [header[:3]]) == []
    feed(frames, [header[3:4]])
    assert frames.events[0] == ("unusual frame",)


def test_limit_of_messages_is_none_for_pings(impl: Impl) -> None:
    frames = make(impl, _limit=1)
    assert feed(frames, [wire(b"ping", PING)]) == [("write", reply(b"ping", PONG))]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("limit", [0, 2**40, 1000])
@pytest.mark.parametrize("length", [2**30, 2**63 - 1, 2**63, 2**64 - 1])
def test_no_allocation_follows_a_declared_length(impl: Impl, opcode: int, limit: int, length: int) -> None:
    frames = make(impl, _limit=limit)
    header = wire(b"x" * 100, opcode, form=127, declared=length)
    with Traced() as traced:
        feed(frames, [header, b"x" * 100])
    assert traced.peak < 32 * KIB


@pytest.mark.parametrize("how", ["limit", "invalid", "closing"])
def test_nothing_is_kept_of_a_message_that_is_not_wanted(impl: Impl, how: str) -> None:
    frames = make(impl, _limit=1000 if how == "limit" else 0)
    frames.state = CLOSING if how == "closing" else OPEN
    frames.hook = lambda frames, event: frames.events.clear()
    frames._feed(wire(b"\xff" * 100, declared=2**30, form=127))
    chunk = bytes(16 * KIB)
    with Traced() as traced:
        for _ in range(64):
            frames._feed(chunk)
    assert traced.peak < 48 * KIB


def test_memory_of_a_message_grows_with_what_has_come(impl: Impl) -> None:
    frames = make(impl)
    chunk = bytes(16 * KIB)
    frames._feed(wire(b"", BINARY, declared=2**30, form=127))
    with Traced() as traced:
        for _ in range(64):
            frames._feed(chunk)
    assert MIB <= traced.peak < 4 * MIB


class Traced:
    """Measures memory: `peak` is the most that was allocated beyond what was there at the beginning."""

    peak = 0

    def __enter__(self) -> Traced:
        tracemalloc.start(1)
        self.before = tracemalloc.get_traced_memory()[0]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.peak = tracemalloc.get_traced_memory()[1] - self.before
        tracemalloc.stop()


# Text

VALID = [
    "",
    "plain",
    "é",
    "€",
    "😀",
    "\u0080",
    "\u07ff",
    "\u0800",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\U00010000",
    "\U0010ffff",
]
AROUND = ["", "a", "abcdefg", "abcdefgh", "€", "x" * 600, "é" * 600]


def first_wrong(payload: bytes) -> int:
    """Give the index where the first wrong or incomplete sequence begins."""
    try:
        payload.decode()
    except UnicodeDecodeError as exc:
        return exc.start
    raise AssertionError("valid")


def enough_to_know(payload: bytes) -> int:
    """Give how many bytes of an invalid text must be seen to know that no text begins like it."""
    start = first_wrong(payload)
    tails = [bytes(tail) for size in range(4) for tail in product(b"\x80\x90\x9f\xa0\xbf", repeat=size)]
    for end in range(start + 1, len(payload)):
        if not any(is_text(payload[start:end] + tail) for tail in tails):
            return end
    return len(payload)


@pytest.mark.parametrize("characters", VALID)
def test_valid_text_is_read(impl: Impl, characters: str) -> None:
    """Whole, and with its characters cut at each byte."""
    for around in AROUND:
        payload = (around + characters + around).encode()
        assert feed(make(impl), [wire(payload)]) == [("message", payload, False)]
        middle = 6 + 2 * (len(payload) > 125) + len(around.encode())
        for at in range(middle, middle + len(characters.encode()) + 1):
            assert feed(make(impl), sliced(wire(payload), at)) == [("message", payload, False)]
    payload = (characters * 40).encode()
    assert feed(make(impl), in_pieces(wire(payload), 1)) == [("message", payload, False)]


@pytest.mark.parametrize("wrong", INVALID + TRUNCATED, ids=bytes.hex)
def test_invalid_text_is_found_with_its_place(impl: Impl, wrong: bytes) -> None:
    """Whole, and cut at each byte of what is wrong."""
    for before in AROUND:
        for behind in ["", *AROUND[:3]] if wrong in TRUNCATED else AROUND:
            payload = before.encode() + wrong + (b"" if wrong in TRUNCATED else behind.encode())
            expected = [("invalid", first_wrong(payload))]
            assert feed(make(impl), [wire(payload) + wire(b"next")]) == expected
            middle = 6 + 2 * (len(payload) > 125) + len(before.encode())
            for at in range(middle - 1, middle + len(wrong) + 1):
                assert feed(make(impl), [*sliced(wire(payload), at), wire(b"next")]) == expected


@pytest.mark.parametrize("wrong", INVALID, ids=bytes.hex)
def test_invalid_text_is_found_before_the_message_is_complete(impl: Impl, wrong: bytes) -> None:
    """With the first byte that can be in no valid text, and once only."""
    for before in AROUND:
        payload = before.encode() + wrong + b"rest" * 100
        enough = len(wire(payload)) - len(payload) + enough_to_know(payload)
        frames = make(impl)
        feed(frames, [wire(payload)[: enough - 1]])
        assert frames.events == []
        feed(frames, [wire(payload)[enough - 1 : enough]])
        assert frames.events == [("invalid", first_wrong(payload))]
        feed(frames, [*in_pieces(wire(payload)[enough:], 7), close_frame()])
        assert of_reading(frames.events)[1:] == [("unusual frame",), ("unusual", close_frame())]


@pytest.mark.parametrize("wrong", TRUNCATED, ids=bytes.hex)
def test_text_that_ends_inside_a_character_is_invalid_at_its_end(impl: Impl, wrong: bytes) -> None:
    payload = b"x" * 200 + wrong
    frames = make(impl)
    feed(frames, in_pieces(wire(payload)[:-1], 1))
    assert frames.events == []
    feed(frames, [wire(payload)[-1:]])
    assert frames.events == [("invalid", 200)]


def test_binary_messages_need_not_be_text(impl: Impl) -> None:
    payload = b"".join(INVALID)
    for pieces in ([wire(payload, BINARY)], in_pieces(wire(payload, BINARY), 1)):
        assert feed(make(impl), pieces) == [("message", payload, True)]


def test_text_need_not_be_valid_where_it_is_not_checked(impl: Impl) -> None:
    payload = b"".join(INVALID)
    for pieces in ([wire(payload)], in_pieces(wire(payload), 1)):
        assert feed(make(impl, _checks_utf8=False), pieces) == [("message", payload, False)]


# The end


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_while_closing_all_but_close_frames_is_skipped(impl: Impl, size: int) -> None:
    frames = make(impl, state=CLOSING, _limit=10)
    skipped = [
        *(wire(b"text"), wire(b"binary", BINARY), wire(b"\xff"), wire(b"ping", PING), wire(b"pong", PONG)),
        *(wire(b"first", fin=False), wire(b"more", CONTINUATION, fin=False), wire(b"last", CONTINUATION)),
        *(wire(b"rsv", rsv=4), wire(b"x" * 300), wire(b"y" * 70_000, BINARY), wire(b"z" * 300, CONTINUATION)),
    ]
    feed(frames, in_pieces(b"".join(skipped), size))
    assert frames.events == []
    assert frames._unusual_frames == 0
    feed(frames, in_pieces(close_frame(), size))
    assert of_reading(frames.events) == [("unusual frame",), ("unusual", close_frame())]


def test_while_closing_data_is_skipped_inside_a_fragmented_message(impl: Impl) -> None:
    frames = make(impl, state=CLOSING, inside_message=True)
    assert feed(frames, [wire(b"text") + wire(b"more", CONTINUATION)]) == []


def test_message_of_which_a_part_has_come_is_skipped_while_closing(impl: Impl) -> None:
    whole = wire(b"x" * 1000)
    frames = make(impl)
    feed(frames, [whole[:500]])
    frames.state = CLOSING
    feed(frames, [whole[500:600], whole[600:] + close_frame()])
    assert of_reading(frames.events) == [("unusual frame",), ("unusual", close_frame())]


@pytest.mark.parametrize("state", [CLOSED, CONNECTING])
def test_nothing_is_served_unless_open(impl: Impl, state: int) -> None:
    frames = make(impl, state=state)
    assert feed(frames, in_pieces(STREAM, 10)) == []


def test_what_came_before_opening_is_served_then(impl: Impl) -> None:
    frames = make(impl, state=CONNECTING)
    feed(frames, in_pieces(STREAM, 10))
    frames.state = OPEN
    frames._resume()
    assert of_reading(frames.events) == STREAM_EVENTS


def test_nothing_is_kept_once_closed(impl: Impl) -> None:
    frames = make(impl, _held=1)
    feed(frames, [wire(b"a")])
    frames.state = CLOSED
    frames._feed(wire(b"b"))
    frames.state = OPEN
    frames._held = 0
    frames._resume()
    assert frames.events == []


def test_nothing_is_served_behind_a_frame_that_ended_it(impl: Impl) -> None:
    """Ends with the frame that was handed over, as Autobahn does with a close frame."""

    def end(frames: Any, event: Event) -> None:
        if event == ("unusual", close_frame()[6:]):
            frames.state = CLOSED

    frames = make(impl, end)
    feed(frames, [wire(b"a") + close_frame() + wire(b"b"), wire(b"c")])
    assert messages(frames) == [b"a"]


# Holding


@pytest.mark.parametrize("number", [0, 1, 25, 49])
def test_reading_stops_behind_the_frame_that_held_it(impl: Impl, number: int) -> None:
    payloads = [b"%d" % index for index in range(50)]

    def hold(frames: Any, event: Event) -> None:
        if event[1] == payloads[number]:
            frames._held = 1

    frames = make(impl, hold)
    feed(frames, [b"".join(map(wire, payloads))])
    assert messages(frames) == payloads[: number + 1]
    feed(frames, [wire(b"more"), wire(b"ping", PING)])
    assert messages(frames) == payloads[: number + 1]
    assert writes(frames) == []
    frames._resume()
    assert messages(frames) == payloads[: number + 1]
    frames._held = 0
    frames._resume()
    assert messages(frames) == [*payloads, b"more"]
    assert writes(frames) == [reply(b"ping", PONG)]


def test_reading_can_be_held_behind_each_frame(impl: Impl) -> None:
    payloads = [b"%d" % index for index in range(50)]

    def hold(frames: Any, event: Event) -> None:
        frames._held = 1

    frames = make(impl, hold)
    feed(frames, in_pieces(b"".join(map(wire, payloads)), 100))
    for count in range(1, 51):
        assert len(messages(frames)) == count
        frames._held = 0
        frames._resume()
    assert messages(frames) == payloads


def test_part_of_a_message_waits_while_held(impl: Impl) -> None:
    whole = wire("é".encode() * 1000)
    frames = make(impl)
    feed(frames, [whole[:501]])
    frames._held = 1
    feed(frames, in_pieces(whole[501:] + wire(b"b"), 100))
    assert frames.events == []
    frames._held = 0
    frames._resume()
    assert messages(frames) == ["é".encode() * 1000, b"b"]


def test_nothing_is_served_after_a_hold_in_which_the_transport_was_closed(impl: Impl) -> None:
    """By a handler that takes its time, say."""
    for end in ("abort", "gone"):
        frames = make(impl, _held=1)
        feed(frames, [wire(b"a") + wire(b"b")])
        if end == "abort":
            frames.transport.closing = True
        else:
            frames.transport = None
        frames._held = 0
        frames._resume()
        assert frames.events == []


def test_holding_does_not_hold_up_a_close_frame_while_closing(impl: Impl) -> None:
    frames = make(impl, _held=1)
    feed(frames, [wire(b"a") + close_frame()])
    assert frames.events == []
    frames.state = CLOSING
    frames._resume()
    assert of_reading(frames.events) == [("unusual frame",), ("unusual", close_frame())]


# Writing


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PONG])
def test_frame_of_each_length_is_written(impl: Impl, size: int, opcode: int) -> None:
    payload = random.Random(size).randbytes(size)
    frames = make(impl)
    frames._write(payload, opcode)
    assert writes(frames) == [reply(payload, opcode)]


def test_frame_outside_a_read_leaves_at_once(impl: Impl) -> None:
    frames = make(impl)
    for count in range(1, 4):
        frames._write(b"%d" % count, TEXT)
        assert len(writes(frames)) == count
    feed(frames, [wire(b"a")])
    frames._write(b"4", TEXT)
    assert writes(frames) == [reply(b"%d" % count) for count in range(1, 5)]


def test_frame_outside_a_read_leaves_at_once_though_held(impl: Impl) -> None:
    frames = make(impl, lambda frames, event: setattr(frames, "_held", 1))
    feed(frames, [wire(b"a") + wire(b"b")])
    frames._write(b"reply", TEXT)
    assert writes(frames) == [reply(b"reply")]


def test_replies_of_one_read_leave_together_and_in_order(impl: Impl) -> None:
    payloads = [b"%d" % index for index in range(500)]
    frames = make(impl, echo)
    feed(frames, [b"".join(map(wire, payloads)) + wire(b"p", PING) + wire(b"x", BINARY)])
    assert writes(frames) == [b"".join(map(reply, payloads)) + reply(b"p", PONG) + reply(b"x", BINARY)]
    assert frames.events[-1][0] == "write"
    feed(frames, [wire(b"next")])
    assert writes(frames)[1:] == [reply(b"next")]


@pytest.mark.parametrize("size", [0, 100, 1000, 40_000, 65_526, 65_536, 200_000])
def test_replies_leave_whenever_64_kib_are_gathered(impl: Impl, size: int) -> None:
    payloads = [bytes([index]) * size for index in range(10)] if size >= 1000 else [b"x" * size] * 3000
    one = len(reply(payloads[0]))
    frames = make(impl, echo)
    feed(frames, [b"".join(map(wire, payloads))])
    sizes = list(map(len, writes(frames)))
    assert b"".join(writes(frames)) == b"".join(map(reply, payloads))
    assert all(FLUSH_AT <= size < FLUSH_AT + one for size in sizes[:-1])
    assert sizes[-1] <= FLUSH_AT + one


def test_writes_of_any_sizes_keep_their_order(impl: Impl) -> None:
    source = random.Random(1)
    sizes = [source.choice([0, 1, 125, 126, 500, 512, 4000, 30_000, 65_535, 65_536, 150_000]) for _ in range(300)]
    payloads = [source.randbytes(size) for size in sizes]

    def write(frames: Any, event: Event) -> None:
        if event[0] == "message":
            for payload in payloads:
                frames._write(payload, BINARY)

    frames = make(impl, write)
    feed(frames, [wire(b"go")])
    assert b"".join(writes(frames)) == b"".join(reply(payload, BINARY) for payload in payloads)


def test_flush_hands_over_what_is_gathered(impl: Impl) -> None:
    def flush(frames: Any, event: Event) -> None:
        if event[0] == "message":
            frames._write(event[1], TEXT)
            frames._flush()
            frames._flush()

    frames = make(impl, flush)
    feed(frames, [wire(b"a") + wire(b"b")])
    assert writes(frames) == [reply(b"a"), reply(b"b")]


def test_transport_that_chokes_in_a_write_stops_reading(impl: Impl) -> None:
    """asyncio calls `pause_writing` from inside `write`."""

    def choke(frames: Any, event: Event) -> None:
        echo(frames, event)

    payloads = [bytes([index]) * 40_000 for index in range(10)]
    frames = make(impl, choke)
    written: list[bytes] = []

    def write(data: bytes) -> None:
        written.append(data)
        frames._held = 2

    frames.transport.write = write
    feed(frames, [b"".join(map(wire, payloads))])
    for count in range(2, 11, 2):
        assert messages(frames) == payloads[:count]
        assert b"".join(written) == b"".join(map(reply, payloads[:count]))
        frames._held = 0
        frames._resume()


@pytest.mark.parametrize("how", ["closed", "gone"])
def test_nothing_is_written_once_closed(impl: Impl, how: str) -> None:
    def end(frames: Any, event: Event) -> None:
        frames._write(b"x", TEXT)
        frames.state = CLOSED
        if how == "gone":
            frames.transport = None

    frames = make(impl, end)
    feed(frames, [wire(b"a") + wire(b"b")])
    frames._write(b"x", TEXT)
    assert frames.events == [("message", b"a", False)]


def test_transport_that_fails_loses_its_write_only(impl: Impl) -> None:
    frames = make(impl, echo)
    transport = frames.transport

    class Failing(Transport):
        def write(self, data: bytes) -> None:
            frames.transport = transport
            raise OSError("gone")

    frames.transport = Failing([])
    with pytest.raises(OSError, match="gone"):
        frames._feed(wire(b"a"))
    feed(frames, [wire(b"b")])
    assert writes(frames) == [reply(b"b")]


GONE = """
import signal, socket
from aiorest_ws._speedups.frames_c import OPEN, Frames
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
ours, theirs = socket.socketpair()
theirs.close()
class Transport:
    is_closing = lambda self: False
    get_write_buffer_size = lambda self: 0
    write = lambda self, data: print("transport has", data)
frames = Frames()
frames.transport, frames.state, frames._socket = Transport(), OPEN, ours.fileno()
frames._write(b"reply", 1)
"""


@pytest.mark.compiled
# CI, on Linux, has it.
@pytest.mark.skipif(not hasattr(socket, "MSG_NOSIGNAL"), reason="MSG_NOSIGNAL is missing outside Linux.")
def test_peer_that_is_gone_does_not_kill_who_does_not_ignore_sigpipe() -> None:
    done = subprocess.run([sys.executable, "-c", GONE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"transport has {reply(b'reply')!r}\n"), done.stderr


class Keeping:
    """A transport that has `size` bytes to write, and counts how often it is asked."""

    def __init__(self) -> None:
        self.size = 0
        self.closing = False
        self.asked = 0
        self.written: list[bytes] = []

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        self.asked += 1
        return self.size

    def write(self, data: bytes) -> None:
        self.written.append(data)


@pytest.fixture
def past() -> Iterator[tuple[Any, Keeping, socket.socket]]:
    """Compiled frames that send past their transport, it, and the other end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours, theirs:
        frames, transport = import_module("aiorest_ws._speedups.frames_c").Frames(), Keeping()
        frames.transport, frames.state, frames._socket = transport, OPEN, ours.fileno()
        yield frames, transport, theirs


@needs_posix
@pytest.mark.compiled
def test_a_transport_that_is_ours_alone_is_asked_once(past: tuple[Any, Keeping, socket.socket]) -> None:
    frames, transport, theirs = past
    for number in (b"1", b"2", b"3"):
        frames._write(number, TEXT)
    assert (theirs.recv(100), transport.written) == (reply(b"1") + reply(b"2") + reply(b"3"), [])
    assert transport.asked == 1


@needs_posix
@pytest.mark.compiled
@pytest.mark.parametrize("state", [OPEN, CLOSING])
def test_what_others_have_written_to_the_transport_goes_first(
    past: tuple[Any, Keeping, socket.socket], state: int
) -> None:
    frames, transport, theirs = past
    frames._write(b"1", TEXT)
    frames.state = state
    assert frames.transport is transport  # and is kept: it is written to at any time from now on
    frames._write(b"2", TEXT)
    transport.size = 7
    frames._write(b"3", TEXT)
    assert (theirs.recv(100), transport.written) == (reply(b"1") + reply(b"2"), [reply(b"3")])
    transport.size = 0
    frames._write(b"4", TEXT)
    transport.closing = True
    frames._write(b"5", TEXT)
    assert (theirs.recv(100), transport.written) == (reply(b"4"), [reply(b"3"), reply(b"5")])


@needs_posix
@pytest.mark.compiled
def test_what_the_socket_did_not_take_goes_first(past: tuple[Any, Keeping, socket.socket]) -> None:
    frames, transport, theirs = past
    frames._write(b"1", TEXT)
    large = b"x" * 10_000_000
    frames._write(large, BINARY)
    (rest,) = transport.written
    assert 0 < len(rest) < len(large)
    transport.size = len(rest)
    while True:  # there is room in the socket, and not at the transport
        try:
            theirs.recv(1 << 20)
        except BlockingIOError:
            break
    frames._write(b"2", TEXT)
    assert transport.written == [rest, reply(b"2")]
    transport.size = 0
    frames._write(b"3", TEXT)
    frames._write(b"4", TEXT)
    assert (theirs.recv(100), len(transport.written)) == (reply(b"3") + reply(b"4"), 2)


# Counting


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_traffic_is_counted(impl: Impl, size: int) -> None:
    frames = make(impl, echo)
    feed(frames, in_pieces(STREAM, size))
    payload_sizes = 0 + 9 + 2 + 130 + 4
    assert counters(frames) == {
        "fast_frames": 7,
        "unusual_frames": 3,
        "messages": 5,
        "octets": payload_sizes,
        "octets_on_wire": len(STREAM),
        **dict.fromkeys(("fragments_in", "saved", "saved_out"), 0),  # there is nothing compressed
        "octets_on_wire_out": len(b"".join(writes(frames))),
        "octets_out": payload_sizes,
        "frames_out": 5,
    }


def test_new_connection_has_counted_nothing(impl: Impl) -> None:
    assert not any(counters(make(impl)).values())


# Re-entrancy: what a handler does in the midst of 50 pipelined frames

PLACES = (0, 24, 49)
FIFTY = [b"%02d" % index for index in range(50)]
SORTS: dict[str, tuple[Callable[[bytes], bytes], Callable[[Event], bytes | None]]] = {
    "small": (wire, lambda event: event[1] if event[0] == "message" else None),
    "large": (lambda name: wire(name.ljust(600)), lambda event: event[1][:2] if event[0] == "message" else None),
    "pong": (lambda name: wire(name, PONG), lambda event: event[1] if event[0] == "pong" else None),
    # The payload is masked with zeros, to be seen as it is.
    "unusual": (
        lambda name: wire(name, CONTINUATION, mask=bytes(4)),
        lambda event: event[1] if event[0] == "unusual" and len(event[1]) == 2 else None,
    ),
}
CUTS = {"whole": 10**9, "large": 1000, "small": 9}


class Reentering:
    """Does `act` when the frame with `name` is served, once; `seen` are the names of the frames that were served."""

    def __init__(self, sort: str, name: bytes, act: Callable[[Any], None]) -> None:
        self.sort = sort
        self.make_frame, self.name_of = SORTS[sort]
        self.name = name
        self.act: Callable[[Any], None] | None = act
        self.seen: list[bytes] = []

    def __call__(self, frames: Any, event: Event) -> None:
        name = self.name_of(event)
        if name is None:
            return
        self.seen.append(name)
        frames._write(name, TEXT)
        if name == self.name and self.act is not None:
            act, self.act = self.act, None
            act(frames)

    def pieces(self, cut: str, *behind: bytes) -> Iterator[bytes]:
        """Give the stream, with `behind` at its end; an unusual frame's name is never cut."""
        stream = b"".join([*map(self.make_frame, FIFTY), *behind])
        return in_pieces(stream, 16 if cut == "small" and self.sort == "unusual" else CUTS[cut])


def replies(frames: Any) -> list[bytes]:
    """Give the payloads of what was written, without the large ones."""
    found, data = [], b"".join(writes(frames))
    while data:
        size, start = data[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        found.append(data[start : start + size])
        data = data[start + size :]
    return [payload for payload in found if len(payload) < 1000]


def midst(test: Any) -> Any:
    """Run a test for a frame at each place, of each sort, and for each way to cut the stream."""
    for name, values in (("place", PLACES), ("sort", SORTS), ("cut", CUTS)):
        test = pytest.mark.parametrize(name, list(values))(test)
    return test


def again(impl: Impl) -> range:
    """Compiled, what reads freed memory may well do so unseen once."""
    return range(10 if impl.name == "c" else 1)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("cut", ["whole", "frames"])
def test_handler_that_reads_loses_nothing(impl: Impl, place: int, sort: str, cut: str) -> None:
    """More arrives while a frame is served: from a transport that is called back, or in a nested run of the loop."""

    def act(frames: Any) -> None:
        first, second = hook.make_frame(b"l1"), hook.make_frame(b"l2")
        frames._feed(first + second[:3])
        frames._feed(second[3:-2])
        frames._feed(second[-2:])

    for _ in again(impl):
        hook = Reentering(sort, FIFTY[place], act)
        frames = make(impl, hook)
        if cut == "whole":
            feed(frames, hook.pieces("whole"))
            assert hook.seen == [*FIFTY, b"l1", b"l2"]
        else:
            feed(frames, map(hook.make_frame, FIFTY))
            assert hook.seen == [*FIFTY[: place + 1], b"l1", b"l2", *FIFTY[place + 1 :]]
        assert replies(frames) == hook.seen


@midst
def test_handler_that_resumes_changes_nothing(impl: Impl, place: int, sort: str, cut: str) -> None:
    for _ in again(impl):

        def act(frames: Any) -> None:
            frames._resume()
            frames._feed(b"")
            frames._resume()

        hook = Reentering(sort, FIFTY[place], act)
        frames = make(impl, hook)
        feed(frames, hook.pieces(cut))
        assert hook.seen == replies(frames) == FIFTY


@midst
def test_handler_that_writes_a_megabyte_keeps_the_order(impl: Impl, place: int, sort: str, cut: str) -> None:
    def act(frames: Any) -> None:
        frames._write(bytes(MIB), BINARY)
        frames._write(b"and", TEXT)

    hook = Reentering(sort, FIFTY[place], act)
    frames = make(impl, hook)
    feed(frames, hook.pieces(cut))
    assert hook.seen == FIFTY
    assert replies(frames) == [*FIFTY[: place + 1], b"and", *FIFTY[place + 1 :]]


@midst
def test_handler_that_closes_sees_nothing_more(impl: Impl, place: int, sort: str, cut: str) -> None:
    """What was answered leaves; only a close frame is handed over then."""

    def act(frames: Any) -> None:
        frames.state = CLOSING

    for _ in again(impl):
        hook = Reentering(sort, FIFTY[place], act)
        frames = make(impl, hook)
        feed(frames, hook.pieces(cut, close_frame()))
        assert hook.seen[: place + 1] == replies(frames)[: place + 1] == FIFTY[: place + 1]
        assert hook.seen[place + 1 :] == [masked(1000)] * (sort == "unusual")
        assert unusual(frames).endswith(close_frame())


def masked(code: int) -> bytes:
    return close_frame(code)[6:]


@midst
def test_handler_that_drops_the_connection_sees_nothing_more(impl: Impl, place: int, sort: str, cut: str) -> None:
    def act(frames: Any) -> None:
        frames.state = CLOSED
        frames.transport.abort()
        if place:
            frames.transport = None

    for _ in again(impl):
        hook = Reentering(sort, FIFTY[place], act)
        frames = make(impl, hook)
        feed(frames, hook.pieces(cut, close_frame()))
        assert hook.seen == FIFTY[: place + 1]


@midst
def test_handler_that_aborts_the_transport_sees_nothing_more(impl: Impl, place: int, sort: str, cut: str) -> None:
    """A transport that closes delivers nothing more; what it has delivered is dropped."""
    for _ in again(impl):
        hook = Reentering(sort, FIFTY[place], lambda frames: frames.transport.abort())
        frames = make(impl, hook)
        for piece in hook.pieces(cut):
            if not frames.transport.closing:
                frames._feed(piece)
        assert hook.seen == FIFTY[: place + 1]


def test_late_bytes_behind_an_unusual_frame_that_was_dropped_do_no_harm(impl: Impl) -> None:
    """Its header was to be handed over, of which two bytes were seen."""

    def abort(frames: Any, event: Event) -> None:
        if event == ("unusual frame",):
            frames.transport.closing = True

    frames = make(impl, abort)
    feed(frames, [wire(b"abc", rsv=4), *in_pieces(wire(b"late"), 1)])
    assert unusual(frames) == b""
    assert frames._unusual_frames == 1


@midst
def test_handler_that_holds_loses_nothing(impl: Impl, place: int, sort: str, cut: str) -> None:
    def act(frames: Any) -> None:
        frames._held = 1
        frames._resume()

    for _ in again(impl):
        hook = Reentering(sort, FIFTY[place], act)
        frames = make(impl, hook)
        feed(frames, hook.pieces(cut))
        assert hook.seen == replies(frames) == FIFTY[: place + 1]
        frames._held = 0
        frames._resume()
        assert hook.seen == replies(frames) == FIFTY


@midst
def test_handler_that_raises_loses_nothing(impl: Impl, place: int, sort: str, cut: str) -> None:
    """It has been called: its frame does not come again. Those behind it do, with the next read."""

    def act(frames: Any) -> None:
        raise LookupError("in a handler")

    for _ in again(impl):
        hook = Reentering(sort, FIFTY[place], act)
        frames = make(impl, hook)
        raised = 0
        for piece in hook.pieces(cut):
            try:
                frames._feed(piece)
            except LookupError:
                raised += 1
                assert hook.seen == replies(frames) == FIFTY[: place + 1]
        frames._resume()
        assert raised == 1
        assert hook.seen == replies(frames) == FIFTY


@pytest.mark.parametrize("hook_name", ["traffic", "unusual frame", "unusual", "invalid", "message", "pong"])
@pytest.mark.parametrize("action", ["read", "resume", "close", "drop", "hold", "raise", "abort", "write"])
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_no_hook_is_called_on_what_is_gone(impl: Impl, hook_name: str, action: str, size: int) -> None:
    """Many times, with memory that is given back at once: compiled, a read after free would show."""
    stream = STREAM[: -len(close_frame())] * 2 + wire(b"x" * 20 + b"\xff" + b"y" * 700) + close_frame()

    fed: list[Event] = []

    def act(frames: Any, event: Event) -> None:
        if event[0] != hook_name:
            return
        if action == "read" and len(fed) < 60:
            fed.append(event)
            frames._feed(bytes(b"".join([wire(b"late"), wire(b"ping", PING)])))
        elif action == "resume":
            frames._resume()
        elif action == "close":
            frames.state = CLOSING
        elif action == "drop":
            frames.state = CLOSED
        elif action == "hold":
            frames._held = 1
        elif action == "abort":
            frames.transport.closing = True
        elif action == "write":
            frames._write(bytes(70_000), BINARY)
        elif action == "raise":
            raise LookupError

    frames = make(impl, act)
    frames.autoPingTimeoutCall = object()
    for _ in range(3):
        for piece in in_pieces(stream, size):
            try:
                frames._feed(piece)
            except LookupError:
                pass
            if frames._held:
                frames._held = 0
                frames._resume()
    assert all(
        payload in (b"", b"last", b"late", b"\xff\x00", b"x" * 130, "é€😀".encode()) for payload in messages(frames)
    )


# Cost: bytes that are newly allocated, which anything that is copied must be


class Copied:
    """Adds up what is allocated, from each `mark` to the next, at the most at one time: the copies of one step."""

    total = 0

    def __enter__(self) -> Copied:
        self.tracer = sys.gettrace()  # coverage allocates for each line that it sees: it is not to be counted
        sys.settrace(None)
        tracemalloc.start(1)
        self.now = tracemalloc.get_traced_memory()[0]
        return self

    def mark(self, *_: object) -> None:
        self.total += tracemalloc.get_traced_memory()[1] - self.now
        tracemalloc.reset_peak()
        self.now = tracemalloc.get_traced_memory()[0]

    def __exit__(self, *exc_info: object) -> None:
        self.mark()
        tracemalloc.stop()
        sys.settrace(self.tracer)


class Nothing(list[Event]):
    """A list that keeps nothing."""

    def append(self, event: Event) -> None:
        pass


COSTLY = {
    "small messages": wire(b"x" * 100),
    "large messages": wire(b"x" * 600, BINARY),
    "pings": wire(b"x" * 100, PING),
    "pongs": wire(b"x" * 100, PONG),
    "fragments of nothing": wire(b"", CONTINUATION, fin=False),
    "fragments of a byte": wire(b"x", CONTINUATION, fin=False),
    "large fragments": wire(b"x" * 600, CONTINUATION, fin=False),
}
MANY = 1500
A_STEP = 2500  # bytes for the objects of a step; copying the rest for each would be 100 times that and more


@pytest.mark.parametrize("piece", COSTLY.values(), ids=COSTLY)
@pytest.mark.parametrize("how", ["one read", "held behind each", "a byte a read"])
def test_cost_of_a_stream_is_linear(impl: Impl, piece: bytes, how: str) -> None:
    """Counted in bytes copied: per frame, or per read, a few times its size and no part of what else there is."""
    count = MANY if how != "a byte a read" else 2 + MANY // len(piece)
    steps = MANY if how != "a byte a read" else count * len(piece)
    pieces = [piece * count] if how != "a byte a read" else list(in_pieces(piece * count, 1))

    def hook(frames: Any, event: Event) -> None:
        echo(frames, event)
        copied.mark()
        if how == "held behind each":
            frames._held = 1

    with Copied() as copied:
        frames = make(impl, hook, transport=Nowhere(), events=Nothing())
        for data in pieces:
            frames._feed(data)
            copied.mark()
        while frames._held:
            frames._held = 0
            frames._resume()
            copied.mark()
    assert frames._fast_frames + frames._unusual_frames == count
    assert copied.total < steps * A_STEP + 8 * len(piece) * count


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [1, 16])
def test_cost_of_a_message_in_many_reads_is_linear(impl: Impl, opcode: int, size: int) -> None:
    pieces = list(in_pieces(wire(b"x" * 4000 * size, opcode), size))
    with Copied() as copied:
        frames = make(impl, transport=Nowhere(), events=Nothing())
        for data in pieces:
            frames._feed(data)
            copied.mark()
    assert frames._messages == 1
    assert copied.total < len(pieces) * 500 + 8 * 4000 * size


# One implementation against the other


@examples(300)
@given(source=st.randoms(use_true_random=False))
def test_both_implementations_do_the_same(both: tuple[Impl, Impl], source: random.Random) -> None:
    assert difference(*both, random_case(source)) is None


@pytest.mark.compiled
def test_both_implementations_do_the_same_on_random_streams(both: tuple[Impl, Impl]) -> None:
    """More than Hypothesis does in the same time; `make fuzz` goes on from here."""
    for seed in range(500):
        assert difference(*both, random_case(random.Random(seed))) is None, seed


# With Autobahn's protocol behind it, against Autobahn's own reader


def test_we_do_what_autobahn_does() -> None:
    with asyncio.Runner() as runner:

        @examples(150)
        @given(source=st.randoms(use_true_random=False))
        def check(source: random.Random) -> None:
            assert runner.run(difference_from_autobahn(random_case(source, actions=False))) is None

        check()


def test_we_do_what_autobahn_does_on_random_streams() -> None:
    with asyncio.Runner() as runner:
        for seed in range(200):
            case = random_case(random.Random(seed), actions=False)
            assert runner.run(difference_from_autobahn(case)) is None, seed


CODES: dict[str, tuple[bytes, int]] = {
    "rsv": (wire(b"abc", rsv=4), 1002),
    "reserved data opcode": (wire(b"abc", 3), 1002),
    "reserved control opcode": (wire(b"abc", 11), 1002),
    "unmasked": (wire(b"abc", mask=None), 1002),
    "fragmented ping": (wire(b"abc", PING, fin=False), 1002),
    "oversized ping": (wire(b"x" * 126, PING), 1002),
    "oversized close": (wire(b"x" * 126, CLOSE), 1002),
    "close of one byte": (wire(b"x", CLOSE), 1002),
    "close code 1005": (close_frame(1005), 1002),
    "close code 5000": (close_frame(5000), 1002),
    "close reason that is no text": (wire(b"\x03\xe8\xff", CLOSE), 1007),
    "close": (close_frame(), 1000),
    "length of 2**63": (wire(b"", form=127, declared=2**63), 1002),
    "length of 2**64-1": (wire(b"", BINARY, form=127, declared=2**64 - 1), 1002),
    "16-bit length of 5": (wire(b"hello", form=126), 1002),
    "64-bit length of 65535": (wire(b"x" * 65535, form=127), 1002),
    "continuation of nothing": (wire(b"abc", CONTINUATION), 1002),
    "message inside a message": (wire(b"a", fin=False) + wire(b"b"), 1002),
    "text that is none": (wire(b"abc\xff"), 1007),
    "text that is none, in fragments": (wire(b"abc\xe2", fin=False) + wire(b"\xe2", CONTINUATION), 1007),
    "truncated text": (wire(b"abc\xe2\x82"), 1007),
    "more than the limit": (wire(b"x" * 100_001), 1009),
    "more than the limit, in fragments": (wire(b"x" * 60_000, fin=False) + wire(b"x" * 60_000, CONTINUATION), 1009),
}


@pytest.mark.parametrize(("data", "code"), CODES.values(), ids=CODES)
def test_fault_closes_with_the_code_that_autobahn_gives(data: bytes, code: int) -> None:
    """Whole, and cut at every byte; what came before is answered, what comes behind is not."""
    stream = wire(b"before") + data + wire(b"behind") + wire(b"p", PING)
    lengths = range(1, 40) if len(stream) > 300 else range(1, len(stream))

    async def check() -> None:
        for size in (*lengths, len(stream)):
            case = Case(stream, (size, len(stream)), {"_limit": 100_000})
            assert await difference_from_autobahn(case) is None
            ours = await connect(Ours, maxMessagePayloadSize=100_000)
            deliver(ours, case.pieces())
            assert ours.seen == [(b"before", False)]
            assert ours.localCloseCode == code

    asyncio.run(check())


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_connection_cut_anywhere_is_as_with_autobahn(size: int) -> None:
    stream = STREAM[: -len(close_frame())] + wire(b"x" * 300)

    async def check() -> None:
        for end in range(1, len(stream), 3):
            assert await difference_from_autobahn(Case(stream[:end], (size,))) is None

    asyncio.run(check())


def test_nothing_is_dispatched_behind_our_close_frame_where_autobahn_goes_on() -> None:
    """Differs on purpose (design §6): what closes a connection wants to hear no more of it."""

    async def check() -> None:
        stream = b"".join(wire(b"%d" % number) for number in range(5)) + wire(b"p", PING) + close_frame()
        plain, ours = await connect(Plain), await connect(Ours)
        for connection in (plain, ours):
            connection.closes_at = 2
            deliver(connection, [stream])
        assert [payload for payload, _ in ours.seen] == [b"0", b"1"]
        assert [payload for payload, _ in plain.seen][:3] == [b"0", b"1", b"2"]
        assert server_frames(ours)[-1] == (0x80 | CLOSE, (1000).to_bytes(2, "big"))
        assert ours.state == CLOSED

    asyncio.run(check())


def test_connection_is_not_dropped_for_a_second_fault_where_autobahn_does() -> None:
    """Differs on purpose: data is skipped unread once we are closing, so that the client can answer our close frame."""

    async def check() -> None:
        stream = wire(b"\xff" + b"x" * 100)
        pieces = [stream[:10], stream[10:50], stream[50:], wire(b"\xff"), wire(b"a", rsv=4)]
        plain, ours = await connect(Plain), await connect(Ours)
        for connection in (plain, ours):
            deliver(connection, pieces)
            assert connection.localCloseCode == 1007
        assert plain.transport.closing
        assert not ours.transport.closing
        deliver(ours, [close_frame(1007)])
        assert ours.wasClean
        assert ours.transport.closing

    asyncio.run(check())
