"""RFC 6455 by the cases of the Autobahn TestSuite that a frame reader can get wrong, over a real socket.

The ids are the suite's own case numbers; `+` marks cases that it lacks. The suite itself runs by `make conformance`.
Every case is sent as `whole` (one write), as `frames` (a write for each) and as `octets` (a write for each byte), and
what comes back is the same: these frames, then this close code, and nothing else.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from aiorest_ws import Application
from aiorest_ws.request import RequestHandlerFactory, RequestHandlerProtocol
from tests.kit.frames import is_text
from tests.serving import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LOOPS,
    PING,
    PONG,
    TEXT,
    TIMEOUT,
    Client,
    asynchronous,
    frame,
    serving,
    turn_over,
)

LIMIT = 1000
WAYS = ("whole", "frames", "octets")
HEAD = 14  # bytes of the longest header

Reply = tuple[int, bytes]


class Echo(RequestHandlerProtocol):
    """Echoes messages, and leaves a count of what served the frames."""

    served: tuple[int, int] = (0, 0)
    clean = False

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.state == self.STATE_OPEN:
            self.sendMessage(payload, isBinary)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        Echo.served, Echo.clean = (self._fast_frames, self._unusual_frames), wasClean


class ConfiguredFactory(RequestHandlerFactory):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.setProtocolOptions(**kwargs["options"])


NO_CODE = 1005  # RFC 6455 §7.4.1: what a close frame without a code counts as


@dataclass(frozen=True)
class Case:
    """Frames of a client, as bytes; what is to come back; the close code, or None where the client ends it with 1000.

    Where the last frame is not sent whole (`cut`), no close frame can follow it: the client then ends the connection.
    """

    id: str
    frames: list[bytes]
    replies: list[Reply]
    code: int | None = None
    cut: bool = False


def raw(first: int, payload: bytes = b"", *, length: bytes | None = None, masked: bool = True) -> bytes:
    """Give a frame by its first byte; `length` says how the header declares its length."""
    declared = bytes([len(payload)]) if length is None else length
    if not masked:
        return bytes([first]) + declared + payload
    mask = b"\x37\xfa\x21\x3d"
    stream = (mask * (len(payload) // 4 + 1))[: len(payload)]
    body = bytes(a ^ b for a, b in zip(payload, stream, strict=True))
    return bytes([first, declared[0] | 0x80]) + declared[1:] + mask + body


def bye(code: int, reason: bytes = b"") -> bytes:
    return frame(struct.pack("!H", code) + reason, CLOSE)


def fragments(parts: list[bytes], opcode: int = TEXT) -> list[bytes]:
    """Give a message in as many frames as there are parts."""
    last = len(parts) - 1
    return [frame(part, CONTINUATION if i else opcode, fin=i == last) for i, part in enumerate(parts)]


def octets(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


# 1 and 2: messages, pings and pongs


def framing() -> Iterator[Case]:
    sizes = (0, 125, 126, 127, 128, 65535, 65536)
    for family, opcode, byte in (("1.1", TEXT, b"*"), ("1.2", BINARY, b"\xfe")):
        for number, size in enumerate(sizes, 1):
            yield Case(f"{family}.{number}", [frame(byte * size, opcode)], [(opcode, byte * size)])
    pings = [b"payload-%d" % i for i in range(10)]
    yield Case("2.1", [frame(b"", PING)], [(PONG, b"")])
    yield Case("2.2", [frame(b"Hello, world!", PING)], [(PONG, b"Hello, world!")])
    yield Case("2.3", [frame(b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", PING)], [(PONG, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")])
    yield Case("2.4", [frame(b"\xfe" * 125, PING)], [(PONG, b"\xfe" * 125)])
    yield Case("2.5", [frame(b"\xfe" * 126, PING)], [], 1002)
    yield Case("2.7", [frame(b"", PONG)], [])
    yield Case("2.8", [frame(b"unsolicited", PONG)], [])
    yield Case("2.9", [frame(b"unsolicited", PONG), frame(b"ping", PING)], [(PONG, b"ping")])
    yield Case("2.10", [frame(ping, PING) for ping in pings], [(PONG, ping) for ping in pings])
    yield Case("+2.pong-126", [frame(b"\xfe" * 126, PONG)], [], 1002)
    mixed = [frame(b"a"), frame(b"b", PING), frame(b"c", BINARY), frame(b"d", PONG), frame(b"", BINARY), frame(b"e")]
    yield Case("+2.mixed", mixed, [(TEXT, b"a"), (PONG, b"b"), (BINARY, b"c"), (BINARY, b""), (TEXT, b"e")])


# 3 and 4: reserved bits, reserved opcodes, headers that lie


def faults() -> Iterator[Case]:
    hello, echoed, ping = frame(b"Hello, world!"), [(TEXT, b"Hello, world!")], frame(b"", PING)
    text = b"Hello, world!"
    yield Case("3.1", [raw(0x90 | TEXT, text)], [], 1002)
    yield Case("3.2", [hello, raw(0xA0 | TEXT, text), ping], echoed, 1002)
    yield Case("3.3", [hello, raw(0xB0 | TEXT, text), ping], echoed, 1002)
    yield Case("3.4", [hello, raw(0xC0 | TEXT, text), ping], echoed, 1002)
    yield Case("3.5", [raw(0xD0 | BINARY, text)], [], 1002)
    yield Case("3.6", [raw(0xE0 | PING, text)], [], 1002)
    yield Case("3.7", [raw(0xF0 | CLOSE, b"\x03\xe8")], [], 1002)
    yield Case("+3.continuation", [frame(b"a", fin=False), raw(0xC0 | CONTINUATION, b"b")], [], 1002)
    for family, opcodes in (("4.1", range(3, 8)), ("4.2", range(11, 16))):
        for number, opcode in enumerate(opcodes, 1):
            bad = raw(0x80 | opcode, text if number % 2 == 0 else b"")
            before = number > 2
            sent = [hello, bad, ping] if before else [bad]
            yield Case(f"{family}.{number}", sent, echoed if before else [], 1002)
    for name, opcode in (("text", TEXT), ("binary", BINARY), ("ping", PING), ("pong", PONG), ("close", CLOSE)):
        yield Case(f"+4.unmasked-{name}", [hello, raw(0x80 | opcode, b"\x03\xe8", masked=False), ping], echoed, 1002)
    sizes: list[tuple[str, bytes]] = [
        ("16-bit-125", b"\x7e" + (125).to_bytes(2, "big")),
        ("64-bit-125", b"\x7f" + (125).to_bytes(8, "big")),
        ("64-bit-65535", b"\x7f" + (65535).to_bytes(8, "big")),
        ("64-bit-2^63", b"\x7f" + (2**63).to_bytes(8, "big")),
        ("64-bit-2^64-1", b"\x7f" + (2**64 - 1).to_bytes(8, "big")),
    ]
    for name, length in sizes:
        for opcode in (TEXT, BINARY):
            bad = raw(0x80 | opcode, b"*" * 20, length=length)
            yield Case(f"+4.length-{name}-{opcode}", [hello, bad], echoed, 1002, cut=True)
    for name, length in sizes[1:]:
        bad = raw(0x80 | PING, b"*" * 20, length=length)
        yield Case(f"+4.ping-length-{name}", [hello, bad], echoed, 1002, cut=True)


# 5: fragments


def fragmented() -> Iterator[Case]:
    one, two = b"fragment1", b"fragment2"
    first, last = frame(one, fin=False), frame(two, CONTINUATION)
    both = (TEXT, one + two)
    ping, pong = frame(b"pongme", PING), (PONG, b"pongme")
    more = frame(one, CONTINUATION, fin=False)
    yield Case("5.1", [frame(one, PING, fin=False), frame(two, CONTINUATION)], [], 1002)
    yield Case("5.2", [frame(one, PONG, fin=False), frame(two, CONTINUATION)], [], 1002)
    yield Case("5.3", [first, last], [both])
    yield Case("5.6", [first, ping, last], [pong, both])
    yield Case("+5.6-binary", [frame(one, BINARY, fin=False), ping, last], [pong, (BINARY, one + two)])
    yield Case("+5.6-pong", [first, frame(b"unsolicited", PONG), last], [both])
    yield Case("5.9", [frame(one, CONTINUATION), frame(b"Hello, world!")], [], 1002)
    yield Case("5.12", [more, frame(b"Hello, world!")], [], 1002)
    yield Case("5.15", [first, last, more, frame(b"fragment4")], [both], 1002)
    yield Case("5.16", [more, frame(two, fin=False), frame(b"fragment3", CONTINUATION)] * 2, [], 1002)
    yield Case("5.17", [frame(one, CONTINUATION), frame(two, fin=False), last] * 2, [], 1002)
    yield Case("5.18", [first, frame(two)], [], 1002)
    yield Case("+5.18-binary", [first, frame(two, BINARY)], [], 1002)
    parts = [b"fragment%d" % i for i in range(1, 6)]
    sent = fragments(parts)
    sent = [*sent[:2], frame(b"pongme 1!", PING), *sent[2:4], frame(b"pongme 2!", PING), sent[4]]
    yield Case("5.19", sent, [(PONG, b"pongme 1!"), (PONG, b"pongme 2!"), (TEXT, b"".join(parts))])
    yield Case("+5.twice", [first, last, frame(b"whole"), first, last], [both, (TEXT, b"whole"), both])
    yield Case("+5.unfinished", [frame(b"whole"), first], [(TEXT, b"whole")])
    yield Case("+5.long", fragments([b"*" * 65536] * 2, BINARY), [(BINARY, b"*" * 131072)])
    yield Case("10.1.1", fragments([b"*" * 1300] * 50 + [b"*" * 536]), [(TEXT, b"*" * 65536)])


# 6: UTF-8

KOSME = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
CUT_OFF = ["c0", "e080", "f08080", "f8808080", "fc80808080", "df", "efbf", "f7bfbf", "fbbfbfbf", "fdbfbfbfbf"]
LONELY = ((0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD))
SURROGATES = ("eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf")
PAIRS = [high + low for high in SURROGATES[:4] for low in ("edb080", "edbfbf")]
NON_CHARACTERS = ["efbfbe", "efbfbf"] + [
    f"{lead}{second}bf{end}"
    for lead, second in product(("f0", "f1", "f2", "f3", "f4"), ("8f", "9f", "af", "bf"))
    if lead + second != "f08f" and (lead != "f4" or second == "8f")
    for end in ("be", "bf")
]
# The families of the suite, from 6.5 on, in hexadecimal.
TEXTS: dict[str, list[str]] = {
    "6.5": [f"68656c6c6f{c}776f726c64" for c in ("24", "c2a2", "e282ac", "f0a4ada2")] + [KOSME.hex()],
    "6.6": [KOSME[:size].hex() for size in range(1, len(KOSME) + 1)],
    "6.7": ["00", "c280", "e0a080", "f0908080"],
    "6.8": ["f888808080", "fc8480808080"],
    "6.9": ["7f", "dfbf", "efbfbf", "f48fbfbf"],
    "6.10": ["f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"],
    "6.11": ["ed9fbf", "ee8080", "efbfbd", "f48fbfbf", "f4908080"],
    "6.12": ["80", "bf", *(("80bf" * 4)[:size] for size in (4, 6, 8, 10, 12)), bytes(range(0x80, 0xBF)).hex()],
    "6.13": ["".join(f"{lead:02x}20" for lead in range(*bounds)) for bounds in LONELY],
    "6.14": CUT_OFF,
    "6.15": ["".join(CUT_OFF)],
    "6.16": ["fe", "ff", "fefeffff"],
    "6.17": ["c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"],
    "6.18": ["c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"],
    "6.19": ["c080", "e08080", "f0808080", "f880808080", "fc8080808080"],
    "6.20": list(SURROGATES),
    "6.21": PAIRS,
    "6.22": NON_CHARACTERS,
    "6.23": ["efbfb9", "efbfba", "efbfbb", "efbfbc", "efbfbd", "efbfbe", "efbfbf"],
    # On both sides of what is looked at in one go, of what fits the stack, and of what is sent by itself.
    "+6.late": [b"*".hex() * n + c for n in (7, 8, 15, 509, 512, 4096) for c in ("ff", "c3", "f0a4ada2", "eda080")],
}


def begins_a_text(text: bytes) -> bool:
    """Tell whether `text` could go on to be UTF-8. Python's own decoder waits for the last byte of a surrogate."""
    rests = (b"", *(first + b"\x80" * more for first in (b"\x80", b"\x90", b"\xa0") for more in range(3)))
    return any(is_text(text + rest) for rest in rests)


def fault_in(text: bytes) -> int | None:
    """Give the index of the byte that shows that `text` is not UTF-8, if it is not the end that does."""
    return next((i for i in range(len(text)) if not begins_a_text(text[: i + 1])), None)


def texts() -> Iterator[tuple[str, bytes]]:
    for family, hexadecimal in TEXTS.items():
        for number, text in enumerate(hexadecimal, 1):
            yield f"{family}.{number}", bytes.fromhex(text)


def utf8() -> Iterator[Case]:
    greeting = "Hello-µ@ßöäüàá-UTF-8!!".encode()
    yield Case("6.1.1", [frame(b"")], [(TEXT, b"")])
    yield Case("6.1.2", fragments([b"", b"", b""]), [(TEXT, b"")])
    yield Case("6.1.3", fragments([b"", b"middle frame payload", b""]), [(TEXT, b"middle frame payload")])
    yield Case("6.2.1", [frame(greeting)], [(TEXT, greeting)])
    yield Case("6.2.2", fragments([greeting[:12], greeting[12:]]), [(TEXT, greeting)])
    yield Case("6.2.3", fragments(octets(greeting)), [(TEXT, greeting)])
    yield Case("6.2.4", fragments(octets(KOSME)), [(TEXT, KOSME)])
    wrong = KOSME + b"\xed\xa0\x80edited"
    yield Case("6.3.1", [frame(wrong)], [], 1007)
    yield Case("6.3.2", fragments(octets(wrong)), [], 1007)
    yield Case("+6.binary", [frame(wrong, BINARY)], [(BINARY, wrong)])
    yield Case("+6.binary-fragments", fragments(octets(wrong), BINARY), [(BINARY, wrong)])
    yield Case("+6.ping", [frame(wrong, PING)], [(PONG, wrong)])
    yield Case("+6.nothing-after", [frame(b"a"), frame(b"\xff"), frame(b"b"), frame(b"c", PING)], [(TEXT, b"a")], 1007)
    for name, text in texts():
        yield Case(name, [frame(text)], [(TEXT, text)] if is_text(text) else [], None if is_text(text) else 1007)


# 7: the end


def closing() -> Iterator[Case]:
    hello, echoed = frame(b"Hello World!"), [(TEXT, b"Hello World!")]
    first, last = fragments([b"fragment1", b"fragment2"])
    big = b"BAsd7&jh23" * 26215
    yield Case("7.1.1", [hello, bye(1000)], echoed, 1000)
    yield Case("7.1.2", [bye(1000), frame(b"", CLOSE)], [], 1000)
    yield Case("7.1.3", [bye(1000), frame(b"", PING)], [], 1000)
    yield Case("7.1.4", [bye(1000), hello], [], 1000)
    yield Case("7.1.5", [first, bye(1000), last], [], 1000)
    yield Case("7.1.6", [frame(big), hello, bye(1000), frame(b"", PING)], [(TEXT, big), *echoed], 1000)
    yield Case("+7.1.fault-after", [bye(1000), frame(b"\xff"), raw(0xF3)], [], 1000)
    yield Case("7.3.1", [frame(b"", CLOSE)], [], NO_CODE)
    yield Case("7.3.2", [frame(b"a", CLOSE)], [], 1002)
    yield Case("7.3.3", [bye(1000)], [], 1000)
    yield Case("7.3.4", [bye(1000, b"Hello World!")], [], 1000)
    yield Case("7.3.5", [bye(1000, b"*" * 123)], [], 1000)
    yield Case("7.3.6", [bye(1000, b"*" * 124)], [], 1002)
    yield Case("+7.3.fragmented", [frame(b"\x03\xe8", CLOSE, fin=False)], [], 1002)
    yield Case("7.5.1", [bye(1000, KOSME + b"\xed\xa0\x80edited")], [], 1007)
    yield Case("+7.5.cut-off", [hello, bye(1000, b"\xc3")], echoed, 1007)
    for number, code in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999), 1):
        yield Case(f"7.7.{number}", [bye(code)], [], code)
    for number, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
        yield Case(f"7.9.{number}", [bye(code)], [], 1002)
    yield Case("7.13.1", [bye(5000)], [], 1002)
    yield Case("7.13.2", [bye(65535)], [], 1002)
    for code in (1, 255, 256, 500, 1015, 1017, 1999, 2001, 5001, 32768, 65534):
        yield Case(f"+7.9.code-{code}", [hello, bye(code), hello], echoed, 1002)


# Limits, of a server with maxMessagePayloadSize or maxFramePayloadSize


def limited() -> Iterator[Case]:
    fits, more = b"*" * LIMIT, b"*" * (LIMIT + 1)
    yield Case("fits", [frame(fits), frame(fits, BINARY)], [(TEXT, fits), (BINARY, fits)])
    yield Case("text", [frame(fits), frame(more), frame(b"", PING)], [(TEXT, fits)], 1009)
    yield Case("binary", [frame(more, BINARY)], [], 1009)
    yield Case("header", [frame(b"a"), frame(more)[:8]], [(TEXT, b"a")], 1009, cut=True)
    yield Case("long-header", [frame(b"*" * 70000)[:14]], [], 1009, cut=True)
    largest = raw(0x80 | TEXT, length=b"\x7f" + (2**63 - 1).to_bytes(8, "big"))
    yield Case("largest-header", [largest], [], 1009, cut=True)
    yield Case("fragment", fragments([more, b"a"]), [], 1009)
    yield Case("pings", [frame(b"*" * 125, PING), frame(fits)], [(PONG, b"*" * 125), (TEXT, fits)])


CASES = [*framing(), *faults(), *fragmented(), *utf8(), *closing()]
FAULTY_TEXTS = [(name, text) for name, text in texts() if fault_in(text) is not None]


@asynccontextmanager
async def echoing(**options: float) -> AsyncIterator[Application]:
    """Serve echoes, with options of Autobahn's."""
    how: dict[str, Any] = {"factory": ConfiguredFactory, "factory_options": {"options": options}} if options else {}
    async with serving(protocol=Echo, **how) as app:
        yield app


def pieces(frames: list[bytes], way: str) -> Iterator[bytes]:
    if way == "whole":
        yield b"".join(frames)
    elif way == "frames":
        yield from frames
    else:
        for data in frames:
            size = HEAD + 20 if len(data) > 500 else len(data)  # the long ones go on in larger pieces
            yield from octets(data[:size])
            yield from (data[i : i + 997] for i in range(size, len(data), 997))


async def check(app: Application, case: Case, way: str) -> None:
    """Send the frames of `case`; what comes back is its replies, then its close code, then the end."""
    async with await Client.connect(app) as client:
        came: list[Reply] = []
        closing = asyncio.Event()

        async def listen() -> None:
            try:
                while True:
                    reply = await client.receive()
                    came.append((reply.opcode, reply.payload[:2] if reply.opcode == CLOSE else reply.payload))
                    if reply.opcode == CLOSE:
                        closing.set()
            except (asyncio.IncompleteReadError, ConnectionError):
                closing.set()

        listening = asyncio.ensure_future(listen())
        for piece in pieces(case.frames, way):
            if listening.done():
                break  # after a close frame of ours the server hears nothing more
            client.writer.write(piece)
            if way != "whole":
                await turn_over(3)
        if case.code is not None:
            await closing.wait()
        if not listening.done():
            if case.cut:
                client.writer.write_eof()
            else:
                client.writer.write(bye(1000))
        await listening
        code = 1000 if case.code is None else case.code
        assert came == [*case.replies, (CLOSE, b"" if code == NO_CODE else struct.pack("!H", code))]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@asynchronous
async def test_case(case: Case) -> None:
    async with echoing() as app:
        for way in WAYS:
            await check(app, case, way)


@pytest.mark.parametrize("loop", LOOPS[1:])
@pytest.mark.parametrize("cases", [framing, faults, fragmented, closing], ids=lambda cases: cases.__name__)
@asynchronous
async def test_cases_on_another_loop(cases: Any, loop: str) -> None:
    async with echoing() as app:
        for case in cases():
            for way in WAYS[:2]:
                await check(app, case, way)


@pytest.mark.parametrize("limit", ["maxMessagePayloadSize", "maxFramePayloadSize"])
@pytest.mark.parametrize("case", list(limited()), ids=lambda case: case.id)
@asynchronous
async def test_limit(case: Case, limit: str) -> None:
    async with echoing(**{limit: LIMIT}) as app:
        for way in WAYS:
            await check(app, case, way)


@pytest.mark.parametrize("way", WAYS)
@asynchronous
async def test_fragments_together_exceed_the_limit(way: str) -> None:
    parts = [b"*" * 600, b"*" * 400]
    async with echoing(maxMessagePayloadSize=LIMIT) as app:
        await check(app, Case("", fragments(parts), [(TEXT, b"*" * LIMIT)]), way)
        await check(app, Case("", fragments([*parts, b"a"]), [], 1009), way)
        await check(
            app, Case("", [frame(parts[0], fin=False), frame(b"*" * 401, CONTINUATION)[:8]], [], 1009, cut=True), way
        )
    async with echoing(maxFramePayloadSize=LIMIT) as app:
        await check(app, Case("", fragments([*parts, b"a"]), [(TEXT, b"*" * LIMIT + b"a")]), way)


@pytest.mark.parametrize("text", [text for _, text in texts()], ids=[name for name, _ in texts()])
@asynchronous
async def test_text_in_fragments(text: bytes) -> None:
    """6.2.3, 6.2.4, 6.3.2, for every text: a frame for each byte, and for every way to cut it in two."""
    replies, code = ([(TEXT, text)], None) if is_text(text) else ([], 1007)
    if len(text) > 64:
        cuts = [len(text) - i for i in range(1, 5)]
    else:
        cuts = list(range(1, len(text)))
    async with echoing() as app:
        for cut in cuts:
            await check(app, Case("", fragments([text[:cut], text[cut:]]), replies, code), "whole")
        if len(text) <= 64:
            await check(app, Case("", fragments(octets(text)), replies, code), "frames")


@pytest.mark.parametrize("text", [text for _, text in FAULTY_TEXTS], ids=[name for name, _ in FAULTY_TEXTS])
@asynchronous
async def test_text_fails_before_it_is_complete(text: bytes) -> None:
    """6.4.1 to 6.4.4, for every text: the byte that shows the fault is the last that is sent."""
    fault = fault_in(text)
    assert fault is not None
    before, at = text[:fault], text[fault : fault + 1]
    rest = b"edited"
    async with echoing() as app:
        # A frame that is never completed, in one piece and in three.
        for started in ([frame(text + rest)], [frame(KOSME + text + rest)], [frame(b"*" * 70000 + text + rest)]):
            sent = len(started[0]) - len(rest) - (len(text) - fault - 1)
            await check(app, Case("", [started[0][:sent]], [], 1007, cut=True), "whole")
            await check(
                app, Case("", [started[0][: sent - 1], started[0][sent - 1 : sent]], [], 1007, cut=True), "frames"
            )
        # Fragments: the server is seen to accept what came before.
        async with await Client.connect(app) as client:
            client.send(before, fin=False)
            client.send(b"still there?", PING)
            assert (await client.receive()).opcode == PONG
            client.send(at, CONTINUATION, fin=False)
            assert (await client.left()).close_code == 1007


@asynchronous
async def test_text_fails_at_once_after_a_wait() -> None:
    """6.4.2 and 6.4.4 as the suite has them: the fault is the second byte of a character begun in the piece before."""
    text = KOSME + b"\xf4\x90\x80\x80edited"
    async with echoing() as app:
        for way in WAYS:
            split = frame(text)
            sent = len(split) - len(text) + 12
            await check(app, Case("6.4.4", [split[:sent], split[sent : sent + 1]], [], 1007, cut=True), way)
            started = [frame(text[:12], fin=False), frame(text[12:13], CONTINUATION, fin=False)]
            await check(app, Case("6.4.2", started, [], 1007), way)


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_usual_frames_are_served_fast(loop: str) -> None:
    """What is checked above is our reader, and not what stands behind it."""
    frames = [frame(b"a"), frame(b"b", BINARY), frame(b"c", PING), frame(b"d", PONG)]
    replies = [(TEXT, b"a"), (BINARY, b"b"), (PONG, b"c")]
    for way in WAYS:
        async with echoing() as app:
            await check(app, Case("", frames, replies), way)
        assert Echo.served == (4, 1), "all but the close frame"
    async with echoing() as app:
        await check(app, Case("", [*fragments([b"a", b"b"]), frame(b"c")], [(TEXT, b"ab"), (TEXT, b"c")]), "whole")
    assert Echo.served == (1, 3)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "bad",
    [raw(0x90 | TEXT, b"text"), raw(0x83), raw(0x80 | BINARY, length=b"\x7f" + bytes(8)), frame(b"*" * 126, PING)],
    ids=["3.1", "4.1.1", "+4.length", "2.5"],
)
@asynchronous
async def test_one_fault_is_one_fault(bad: bytes, way: str) -> None:
    """However slowly the frame comes, its client gets to read the close frame, and to answer it."""
    async with echoing(closeHandshakeTimeout=TIMEOUT) as app:
        await check(app, Case("", [bad], [], 1002), way)
    assert Echo.clean


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_connection_cut_at_every_byte(loop: str) -> None:
    frames = [frame(b"Hello"), frame(b"b" * 200, BINARY)[:12], frame(b"p", PING), *fragments([b"a", b"b"]), bye(1000)]
    async with echoing() as app:
        for data in frames:
            for cut in range(1, len(data)):
                client = await Client.connect(app)
                client.writer.write(data[:cut])
                await turn_over(2)
                if cut % 2:
                    client.reset()
                await client.drop()
        await check(app, Case("", [frame(b"alive")], [(TEXT, b"alive")]), "whole")


@asynchronous
async def test_length_that_never_comes_costs_nothing() -> None:
    huge = raw(0x80 | BINARY, b"", length=b"\x7f" + (2**63 - 1).to_bytes(8, "big"))
    async with echoing() as app, await Client.connect(app) as client:
        client.writer.write(huge + b"*" * 1000)
        await turn_over(20)
        client.abort()
        await check(app, Case("", [frame(b"alive")], [(TEXT, b"alive")]), "whole")
