"""Random streams of frames, good and bad, in random pieces, and what happens to their reader meanwhile."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from tests.kit.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Packs, packed, sliced, text, wire

__all__ = ("INVALID", "TRUNCATED", "Case", "random_case")

INVALID = [
    *(b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xed\xbf\xbf"),
    *(b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80"),
    *(
        b"\xfe",
        b"\xff",
        b"\xc3a",
        b"\xe2a",
        b"\xe2\x82a",
        b"\xf0a",
        b"\xf0\x9fa",
        b"\xf0\x9f\x98a",
        b"\xe2\xe2\x82\xac",
    ),
]
TRUNCATED = [b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x98"]


@dataclass(frozen=True, slots=True)
class Case:
    """What arrives: `stream` in pieces of `sizes`, over and over. What the hooks do, by the number of the call."""

    stream: bytes
    sizes: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    actions: dict[int, str] = field(default_factory=dict)

    def pieces(self) -> Iterator[bytes]:
        at = 0
        for size in cycle(self.sizes):
            if at >= len(self.stream):
                return
            yield self.stream[at : at + size]
            at += size


ACTIONS = ("hold", "closing", "closed", "gone", "abort", "raise", "write", "read", "resume", "flush", "inside", "slow")
_PAYLOAD_SIZES = (0, 1, 2, 5, 7, 8, 9, 49, 124, 125, 126, 127, 300, 511, 512, 513, 1000, 5000, 65535, 65536, 66000)


def random_frame(source: random.Random) -> bytes:
    """Give a frame, most often a good one."""
    opcode = source.choice((TEXT, TEXT, TEXT, BINARY, BINARY, PING, PONG, CLOSE, CONTINUATION, CONTINUATION, 3, 11))
    size = source.choice(_PAYLOAD_SIZES[: 21 if source.random() < 0.2 else 17])
    if opcode >= 8:
        size = min(size, source.choice((125, 125, 125, 130)))
    kind = source.random()
    if kind < 0.3:
        payload = random.Random(source.getrandbits(32)).randbytes(size)
    elif kind < 0.6:
        payload = text(size)
    else:
        payload = b"x" * size
        if kind < 0.8 and size:
            at = source.randrange(size)
            wrong = source.choice((*INVALID, *TRUNCATED, "€".encode(), "😀".encode()))
            payload = (payload[:at] + wrong + payload[at:])[: size if opcode >= 8 else None]
    if opcode == CLOSE and source.random() < 0.7:
        payload = source.choice((1000, 1001, 1005, 1011, 3000, 4999, 5000, 0)).to_bytes(2, "big") + text(size)[:100]
    length = len(payload)
    odd = source.random
    form = source.choice((126, 127)) if odd() < 0.02 and length < 65536 else None
    return wire(
        payload,
        opcode,
        fin=odd() < (0.85 if opcode < 8 else 0.98),
        rsv=source.randint(1, 7) if odd() < 0.03 else 0,
        mask=None if odd() < 0.02 else source.getrandbits(32).to_bytes(4, "big"),
        form=127 if (far := odd() < 0.01) else form,
        declared=source.choice((2**31, 2**63 - 1, 2**63, 2**64 - 1)) if far else None,
    )


def random_packed_message(source: random.Random, packer: Any, *, good: bool) -> list[bytes]:
    """Give the frames of a compressed message, with others between them, most often as they should be."""
    size = source.choice((*_PAYLOAD_SIZES[:18], 200_000 if source.random() < 0.1 else 700))
    opcode = source.choice((TEXT, TEXT, BINARY))
    message = text(size) if opcode == TEXT else random.Random(source.getrandbits(32)).randbytes(size)
    fault = 0.5 if good else source.random()
    payload = packed(message, zlib.compressobj(wbits=-15), zlib.Z_FINISH) if fault < 0.2 else packed(message, packer)
    if fault > 0.98:
        payload = packed(message + source.choice(INVALID), packer)
    elif 0.9 < fault < 0.98:
        at = source.randint(0, len(payload))
        payload = source.choice((payload[:at], payload[:at] + b"\x55" + payload[at:], payload * 2, b"\x03\x00" * at))
    cuts = sorted(source.randint(0, len(payload)) for _ in range(source.choice((0, 0, 0, 1, 2, 9))))
    pieces = sliced(payload, *cuts)
    odd = source.random
    frames = []
    for number, piece in enumerate(pieces):
        rsv = 4 if number == 0 or (not good and odd() < 0.02) else 0
        mask = source.getrandbits(32).to_bytes(4, "big")
        frames.append(wire(piece, 0 if number else opcode, fin=number == len(pieces) - 1, rsv=rsv, mask=mask))
        if odd() < 0.2:
            frames.append(wire(b"between", source.choice((PING, PONG))))
        elif not good and odd() < 0.05:
            frames.append(random_frame(source))
    return frames


def random_packed_case(source: random.Random, *, good: bool = False) -> Case:
    """Give a stream of compressed messages and others; `good`: Autobahn takes them, too."""
    takes_over = source.random() < 0.5 or good
    packer = zlib.compressobj(wbits=-15)
    frames: list[bytes] = []
    for _ in range(source.randint(1, 8)):
        packer = packer if takes_over else zlib.compressobj(wbits=-15)
        frames += random_packed_message(source, packer, good=good) if source.random() < 0.8 else [wire(text(20))]
    stream = bytearray(b"".join(frames))
    if not good and source.random() < 0.1:
        stream[source.randrange(len(stream))] = source.getrandbits(8)
    longest = source.choice((1, 3, 20, 1000, 100_000) if len(stream) < 20_000 else (500, 5000, 100_000))
    sizes = tuple(source.randint(1, longest) for _ in range(source.randint(1, 6)))
    packs = Packs(15, source.randint(1, 9), takes_over, source.choice((0, 0, 126, 1000)))
    options: dict[str, Any] = {"packs": packs}
    if good:
        return Case(bytes(stream), sizes, options)
    options |= {"_limit": source.choice((0, 0, 1000, 65536)), "_max_fragments": source.choice((0, 0, 0, 3))}
    options |= {"_checks_utf8": source.random() < 0.9}
    chosen = {source.randint(0, 30): source.choice(ACTIONS) for _ in range(source.choice((0, 0, 1, 2, 5)))}
    return Case(bytes(stream), sizes, options, chosen)


def random_case(source: random.Random, *, actions: bool = True) -> Case:
    """Give a stream of valid frames, of any frames, or of mutated ones; or of compressed messages."""
    if source.random() < 0.25:
        return random_packed_case(source, good=not actions)
    frames = [random_frame(source) for _ in range(source.randint(1, 12))]
    if source.random() < 0.3:  # long and good
        good = [wire(b"x" * source.choice(_PAYLOAD_SIZES[:17]), source.choice((1, 2))) for _ in range(3)]
        good += [wire(b"a", fin=False), wire(b"p", PING), wire(b"b", CONTINUATION)]
        frames = good * source.randint(1, 4) + frames[:2]
    stream = bytearray(b"".join(frames))
    if source.random() < 0.3:
        for _ in range(source.randint(1, 4)):
            at = source.randrange(min(len(stream), source.choice((20, 200, 100_000))))
            stream[at] = source.getrandbits(8)
    longest = source.choice((1, 3, 20, 1000, 100_000) if len(stream) < 20_000 else (500, 5000, 100_000))
    sizes = tuple(source.randint(1, longest) for _ in range(source.randint(1, 6)))
    options: dict[str, Any] = {"_limit": source.choice((0, 0, 125, 1000, 65536))}
    chosen: dict[int, str] = {}
    if actions:
        options |= {"_serves_pings": source.random() < 0.9, "_checks_utf8": source.random() < 0.9}
        options |= {"_fast": source.random() < 0.95, "inside_message": source.random() < 0.05}
        chosen = {source.randint(0, 30): source.choice(ACTIONS) for _ in range(source.choice((0, 0, 1, 2, 5)))}
    return Case(bytes(stream), sizes, options, chosen)
