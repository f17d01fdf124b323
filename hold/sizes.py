"""Clients that announce or unpack to more than they may, and what many quiet ones take."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from hold.probe import probing
from hold.row import Row, Start, megabytes, sending, warm
from hold.wire import KEY, Gone, Wire, deflated, finished
from tests.serving import CONTINUATION, TEXT, dump, frame

MB = 1_000_000
DEFLATE = "permessage-deflate; client_max_window_bits"  # what browsers offer

_LIMIT = 1.048576  # max_message_size, in MB


def declared(start: Start) -> Iterator[Row]:
    """Declare a message of 1 GiB, wait for what the server says to that, and begin to send it."""
    head = struct.pack("!BBQI", 0x80 | TEXT, 0x80 | 127, 1 << 30, 0)
    with start() as server:
        before = warm(server)
        with Wire(server.address) as wire:
            wire.send(head)
            code = wire.close_code(3)
            with sending(wire, [b" " * MB] * 64) as sender:
                while not (sender.done or sender.ended) and time.monotonic() < sender.progress + 3:
                    time.sleep(0.02)
        grown = megabytes(server, before)
    yield Row(
        "a frame declared as 1 GiB",
        f"close {code} {'before' if code else 'not before'} its payload; RSS {grown:+.1f} MB",
        "close 1009 before its payload; RSS ≤ +1 MB",
        code == 1009 and grown <= 1,
    )


def header(start: Start) -> Iterator[Row]:
    """Send an opening handshake with a header of 16 MB."""
    begin = f"GET / HTTP/1.1\r\nHost: localhost\r\nSec-WebSocket-Key: {KEY}\r\nX-Long: ".encode()
    with start() as server:
        before = warm(server)
        with Wire(server.address, handshake=False) as wire, sending(wire, [begin, *[b"x" * MB] * 16]):
            wire.socket.settimeout(8)
            try:
                answer = wire.read(100).partition(b"\r\n")[0].decode() or "no answer"
            except TimeoutError:
                answer = "no answer in 8 s"
        grown = megabytes(server, before)
    yield Row(
        "a header of 16 MB",
        f"{answer}; RSS {grown:+.1f} MB",
        "431; RSS ≤ +1 MB",
        answer.startswith("HTTP/1.1 431") and grown <= 1,
    )


def bombs(start: Start) -> Iterator[Row]:
    """Send 100 MB of spaces that were compressed to 100 KB, in one frame and in 40."""
    bomb = deflated(b" " * 100 * MB)
    step = -(-len(bomb) // 40)
    pieces = [bomb[at : at + step] for at in range(0, len(bomb), step)]
    in_pieces = frame(pieces[0], TEXT, fin=False, compressed=True)
    in_pieces += b"".join(frame(piece, CONTINUATION, fin=False) for piece in pieces[1:-1])
    in_pieces += frame(pieces[-1], CONTINUATION)
    kinds = {"one frame": frame(bomb, TEXT, compressed=True), f"{len(pieces)} fragments": in_pieces}
    for kind, message in kinds.items():
        with start(compress=True) as server:
            _used_once(server.address).socket.close()
            before = warm(server)
            with Wire(server.address, extensions=DEFLATE) as wire, sending(wire, [message]):
                code = wire.close_code()
            grown = megabytes(server, before)
        yield Row(
            f"a deflate bomb, 1:{100 * MB // len(bomb)}, in {kind}",
            f"close {code}; RSS {grown:+.1f} MB",
            f"close 1009; RSS ≤ +{2 * _LIMIT:.1f} MB (2 × limit)",
            code == 1009 and grown <= 2 * _LIMIT * MB / (1 << 20),
        )


def final_blocks(start: Start, megabytes_sent: int = 200) -> Iterator[Row]:
    """Send 200 MiB of messages whose last block says so, as fast as they are taken."""
    noise = random.Random(0).randbytes(30_000).hex()
    message = frame(finished(dump({"method": "GET", "url": "/hello", "data": noise})), compressed=True)
    hello = frame(finished(dump({"method": "GET", "url": "/hello"})), compressed=True)
    pairs = -(-(megabytes_sent << 20) // len(message + hello))
    with start(compress=True) as server:
        _used_once(server.address).socket.close()
        before = warm(server)
        answered = 0
        with (
            probing(server) as latency,
            Wire(server.address, extensions=DEFLATE) as wire,
            sending(wire, [message + hello] * pairs),
            suppress(Gone, TimeoutError),
        ):
            while answered < 2 * pairs:
                answered += b"Hello, world!" in wire.receive(30).payload
        grown = megabytes(server, before)
    yield Row(
        f"{megabytes_sent} MiB of compressed messages with a final block",
        f"{answered} of {2 * pairs} answered; RSS {grown:+.1f} MB; {latency}",
        "all; RSS ≤ +3 MB; another client ≤ 50 ms",
        answered == 2 * pairs and grown <= 3 and latency.worst <= 50,
    )


def offers(start: Start, count: int = 2000) -> Iterator[Row]:
    """Open connections that offer eight thousand extensions, and others that offer none."""
    for on in (False, True):
        with start(compress=on) as server:
            warm(server)
            costs = []
            for extensions in (None, "a," * 7900):
                _opened(server.address, extensions, 20)
                before = server.cpu()
                _opened(server.address, extensions, count)
                costs.append((server.cpu() - before) / count * 1e6)
        plain, many = costs
        yield Row(
            f"16 KB of extensions offered, compression {'on' if on else 'off'}",
            f"{many:.0f} us of CPU, {plain:.0f} without",
            "≤ 2 × without",
            many <= 2 * plain,
        )


def _opened(address: tuple[str, int], extensions: str | None, count: int) -> None:
    for _ in range(count):
        Wire(address, extensions=extensions).socket.close()


def idle(start: Start, count: int = 1000) -> Iterator[Row]:
    """Open connections with compression, use it once on each or never, and leave them alone."""
    kinds: tuple[tuple[str, Callable[[tuple[str, int]], Wire], int], ...] = (
        ("used once", _used_once, 30),
        ("never used", _negotiated, 3),
    )
    for kind, open_one, reached in kinds:
        with start(compress=True) as server:
            warm(server)
            wires = [open_one(server.address) for _ in range(50)]
            time.sleep(0.3)
            before = server.rss()
            wires += [open_one(server.address) for _ in range(count)]
            time.sleep(0.5)
            each = (server.rss() - before) / count
            for wire in wires:
                wire.socket.close()
        yield Row(
            f"idle connection, compression negotiated and {kind}",
            f"{each:.1f} KiB",
            f"≤ {reached} KiB",
            each <= reached,
        )


def _negotiated(address: tuple[str, int]) -> Wire:
    wire = Wire(address, extensions=DEFLATE)
    if b"permessage-deflate" not in wire.headers:
        raise ValueError("compression was not negotiated")
    return wire


def _used_once(address: tuple[str, int]) -> Wire:
    wire = _negotiated(address)
    data = "a long reply " * 200
    wire.frame(deflated(dump({"method": "POST", "url": "/echo", "data": data})), compressed=True)
    reply = wire.receive()
    if not reply.compressed:
        raise ValueError(f"the reply is not compressed: {reply}")
    return wire
