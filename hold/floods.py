"""Clients that send more than is good for anybody."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator

from hold.probe import probing
from hold.process import Server
from hold.row import Row, Start, megabytes, sending, warm
from hold.wire import Gone, Wire
from tests.serving import CONTINUATION, PING, PONG, TEXT, dump, frame

MB = 1_000_000
SEND_TIMEOUT = 30.0

_MANY = 400_000
_HELLO = frame(dump({"method": "GET", "url": "/hello"}))


def unread(start: Start, size: int = 128 * MB, send_timeout: float = SEND_TIMEOUT) -> Iterator[Row]:
    """Send requests and read nothing: the server is to stop reading, and to drop the client in the end."""
    block = _HELLO * 20_000
    patience = send_timeout + 5
    with start(send_timeout=send_timeout) as server:
        before = warm(server)
        began = time.monotonic()
        with Wire(server.address) as wire, sending(wire, _blocks(block, size)) as sender:
            while sender.ended is None and time.monotonic() < began + patience + 5:
                time.sleep(0.1)
            dropped = math.inf if sender.ended is None else sender.ended - began
        grown = megabytes(server, before)
        complaints = len(server.complaints())
    how = f"dropped after {dropped:.1f} s" if dropped < math.inf else f"not dropped, it took {sender.sent / MB:.1f} MB"
    yield Row(
        f"{size // MB} MB of requests sent, nothing read",
        f"RSS {grown:+.1f} MB, {how}, {complaints} complaints",
        f"RSS ≤ +2 MB, dropped ≤ {patience:g} s",
        grown <= 2 and dropped <= patience and not complaints,
    )


def read_late(start: Start, size: int = 128 * MB) -> Iterator[Row]:
    """Send numbered requests, read nothing until the server has stopped reading, then everything."""
    count = size // 1024
    filling = "x" * 950

    def requests(numbers: range) -> bytes:
        return b"".join(
            frame(dump({"method": "POST", "url": "/echo", "data": f"{number:08}{filling}"})) for number in numbers
        )

    with start() as server:
        before = warm(server)
        answered, fault = 0, ""
        with Wire(server.address) as wire:
            blocks = (requests(range(at, min(at + 500, count))) for at in range(0, count, 500))
            with sending(wire, blocks) as sender:
                while time.monotonic() < sender.progress + 2 and not (sender.done or sender.ended):
                    time.sleep(0.1)
                waiting = sender.sent / MB
                try:
                    while answered < count:
                        reply = wire.receive(30)
                        if reply.payload[:17] != b'{"data":"%08d' % answered:
                            raise ValueError(f"reply {answered} is {reply.payload[:40]!r}")
                        answered += 1
                except (OSError, ValueError) as exc:
                    fault = f", {type(exc).__name__}: {exc}"
        grown = megabytes(server, before)
    yield Row(
        f"{size // MB} MB of requests sent, read late",
        f"RSS {grown:+.1f} MB, {waiting:.1f} MB taken unread; {answered} of {count} replies in order{fault}",
        "RSS ≤ +2 MB, every reply in order",
        grown <= 2 and answered == count,
    )


def pings(start: Start, size: int = 16 * MB) -> Iterator[Row]:
    """Send pings, read no pong."""
    block = frame(b"x" * 125, PING) * 1000
    with start() as server:
        before = warm(server)
        with Wire(server.address) as wire, sending(wire, _blocks(block, size)) as sender:
            while time.monotonic() < sender.progress + 3 and not (sender.done or sender.ended):
                time.sleep(0.1)
            taken = sender.sent / MB
        grown = megabytes(server, before)
    yield Row(
        f"{size // MB} MB of pings sent, nothing read",
        f"RSS {grown:+.1f} MB, {taken:.1f} MB taken",
        "RSS ≤ +1 MB",
        grown <= 1,
    )


def fragments(start: Start) -> Iterator[Row]:
    """Send a message that never ends, in fragments of one byte and of none."""
    first = frame(b"x", TEXT, fin=False)
    pair = frame(b"", CONTINUATION, fin=False) + frame(b"x", CONTINUATION, fin=False)
    with start() as server:
        limits = _fragment_limit(server)
        before = warm(server)
        with probing(server) as latency, Wire(server.address) as wire:
            used = server.cpu()
            with sending(wire, [first, pair * (_MANY // 2)]) as sender:
                code = wire.close_code(6)
                while not (sender.done or sender.ended) and time.monotonic() < sender.progress + 1:
                    time.sleep(0.01)
            time.sleep(0.2)
            used = server.cpu() - used
        grown = megabytes(server, before)
    yield Row(
        f"{_MANY} fragments of one byte and of none",
        f"{limits}; close {code}; CPU {used:.2f} s; {latency}; RSS {grown:+.1f} MB",
        "1024 taken, 1025 closes 1008; CPU ≤ 0.1 s; another client ≤ 20 ms",
        limits == "1024 taken, 1025 closes 1008" and code == 1008 and used <= 0.1 and latency.worst <= 20,
    )


def _fragment_limit(server: Server) -> str:
    """Tell what comes of a message in 1024 fragments, and of one in 1025."""
    outcomes = []
    for count in (1024, 1025):
        message = dump({"method": "GET", "url": "/hello"})
        with Wire(server.address) as wire:
            wire.frame(message, fin=False)
            wire.send(frame(b"", CONTINUATION, fin=False) * (count - 2))
            try:
                wire.frame(b"", CONTINUATION)
                reply = wire.receive()
            except (Gone, TimeoutError) as exc:
                outcomes.append(f"{count}: {exc}")
                continue
        outcomes.append(f"{count} taken" if reply.opcode == TEXT else f"{count} closes {reply.close_code}")
    return ", ".join(outcomes)


def small_frames(start: Start) -> Iterator[Row]:
    """Send frames of six bytes, many in a read: pongs that need no answer, then text that needs one each."""
    with start() as server:
        before = warm(server)
        with probing(server) as latency, Wire(server.address) as wire:
            used = server.cpu()
            with sending(wire, [frame(b"", PONG) * _MANY + _HELLO]):
                answered = json.loads(wire.receive(60).payload)["data"] == "Hello, world!"
            used = server.cpu() - used
        yield Row(
            f"{_MANY} empty pongs",
            f"CPU {used:.2f} s; {latency}; RSS {megabytes(server, before):+.1f} MB",
            "CPU ≤ 0.5 s; another client ≤ 50 ms",
            answered and used <= 0.5 and latency.worst <= 50,
        )
    with start() as server:
        before = warm(server)
        with Wire(server.address) as wire:
            wire.frame(b"")
            reply = wire.receive()
            whole = len(reply.payload) + (2 if len(reply.payload) < 126 else 4)
        with probing(server) as latency, Wire(server.address) as wire:
            used = server.cpu()
            with sending(wire, [frame(b"") * _MANY]):
                got = 0
                wire.socket.settimeout(60)
                while got < whole * _MANY and (piece := wire.read(1 << 20)):
                    got += len(piece)
            used = server.cpu() - used
        yield Row(
            f"{_MANY} empty texts",
            f"{got // whole} replies; CPU {used:.2f} s; {latency}; RSS {megabytes(server, before):+.1f} MB",
            "CPU ≤ 0.5 s; another client ≤ 50 ms",
            got == whole * _MANY and used <= 0.5 and latency.worst <= 50,
        )


def _blocks(block: bytes, size: int) -> Iterator[bytes]:
    """Give `block` over and over, `size` bytes in all or a little more."""
    for _ in range(-(-size // len(block))):
        yield block
