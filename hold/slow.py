"""Clients that read slowly or not at all: while they leave, while a large reply is on its way, while events come."""

from __future__ import annotations

import json
import math
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from hold.probe import probing
from hold.row import Row, Start, megabytes, warm
from hold.wire import Gone, Wire
from tests.serving import CLOSE, TEXT, client_context, dump, make_certificate

__all__ = ("closing", "news", "slow_reader", "tls_options")

MB = 1_000_000
CLOSE_TIMEOUT = 2

_SMALL = 16 * 1024  # bytes that the system of such a client takes


@contextmanager
def tls_options() -> Iterator[tuple[dict[str, Any], ssl.SSLContext]]:
    """Give options of a server that speaks TLS, and what a client of it needs."""
    with tempfile.TemporaryDirectory() as folder:
        certificate = make_certificate(Path(folder) / "tls")
        yield {"certificate": certificate.path, "key": certificate.key}, client_context(certificate)


def closing(start: Start) -> Iterator[Row]:
    """Close, or let the server close, and read nothing more; then leave TLS without a word."""
    yield from _closing(start, "plain", {}, None)
    with tls_options() as (options, context):
        yield from _closing(start, "TLS", options, context)
        yield _without_notify(start, options, context)


def _closing(start: Start, kind: str, options: dict[str, Any], tls: ssl.SSLContext | None) -> Iterator[Row]:
    most = CLOSE_TIMEOUT + 1
    for who in ("the client", "the server"):
        with start(close_timeout=CLOSE_TIMEOUT, **options) as server, Wire(server.address, tls=tls) as watcher:
            with Wire(server.address, tls=tls, receive_buffer=_SMALL) as wire:
                left = _filled(wire, watcher)
                if who == "the client":
                    wire.frame(b"\x03\xe8", CLOSE)
                else:
                    wire.frame(dump({"method": "POST", "url": "/leave"}))
                after = _ended_after(_peer(wire), watcher, most + 2)
                admitted = _ask(watcher, "/state")["admitted"]
            complaints = len(server.complaints())
        yield Row(
            f"{kind}: {who} closes, the client reads nothing, close_timeout {CLOSE_TIMEOUT}",
            f"{left} bytes; on_disconnect after {after:.1f} s, {admitted - 1} places taken, {complaints} complaints",
            f"≤ {most} s, no place taken",
            after <= most and admitted == 1 and not complaints,
        )


def _filled(wire: Wire, watcher: Wire) -> int:
    """Have replies sent and read none, until some wait in the server, which reads on; give how many bytes."""
    peer = _peer(wire)
    for _ in range(1000):
        wire.frame(dump({"method": "POST", "url": "/reply", "args": {"size": 20_000}}))
        while (waiting := _ask(watcher, "/waiting"))[peer] != (waiting := _ask(watcher, "/waiting"))[peer]:
            pass  # it is being written
        if waiting[peer]:
            return int(waiting[peer])
    raise ValueError("20 MB of replies and more found room in the system's buffers")


def _without_notify(start: Start, options: dict[str, Any], tls: ssl.SSLContext) -> Row:
    """Do the closing handshake, then end TCP but not TLS: wholly, or only what we send."""
    took = []
    with start(**options) as server, Wire(server.address, tls=tls) as watcher:
        for only_half in (False, True):
            with Wire(server.address, tls=tls) as wire:
                peer = _peer(wire)
                wire.frame(b"\x03\xe8", CLOSE)
                wire.receive()
                if only_half:
                    wire.socket.shutdown(socket.SHUT_WR)
                else:
                    wire.socket.close()  # which says nothing, unless `unwrap` was called
                took.append(_ended_after(peer, watcher, 5))
    return Row(
        "TLS: the client closes without close_notify, both ways and one",
        f"on_disconnect after {took[0]:.1f} and {took[1]:.1f} s",
        "≤ 1 s",
        max(took) <= 1,
    )


def _ended_after(peer: str, watcher: Wire, patience: float) -> float:
    """Give the seconds from now to the end of a connection as the server sees it; infinity if it does not come."""
    began = time.monotonic()
    while time.monotonic() < began + patience:
        ended = _ask(watcher, "/ended")
        if peer in ended:
            return float(ended[peer] - began)
        time.sleep(0.05)
    return math.inf


def slow_reader(start: Start, size: int = 12 * MB, rate: int = 200_000) -> Iterator[Row]:
    """Ask for a large reply, and read it steadily, but slowly."""
    with start() as server:
        before = warm(server)
        with Wire(server.address, receive_buffer=_SMALL) as wire:
            wire.frame(dump({"method": "POST", "url": "/reply", "args": {"size": size}}))
            whole = len(dump({"data": "x" * size, "event_name": None})) + 10
            began = time.monotonic()
            got, last = 0, b""
            while got < whole:
                ahead = got / rate - (time.monotonic() - began)
                if ahead > 0:
                    time.sleep(ahead)
                piece = wire.read(min(rate // 10, whole - got))
                if not piece:
                    break
                got, last = got + len(piece), piece
            took = time.monotonic() - began
            lives = False
            if got == whole:
                wire.frame(dump({"method": "GET", "url": "/hello"}))
                lives = _is_hello(wire)
        grown = megabytes(server, before)
    yield Row(
        f"a reply of {size // MB} MB read at {rate // 1000} kB/s",
        f"{got} of {whole} bytes in {took:.0f} s; it {'lives' if lives else 'is dead'}; RSS {grown:+.1f} MB",
        "all, and it lives",
        got == whole and lives and last.endswith(b"}"),
    )


def _is_hello(wire: Wire) -> bool:
    try:
        while (got := wire.receive()).opcode != TEXT:
            pass  # a ping, which waited behind the reply
        return bool(json.loads(got.payload)["data"] == "Hello, world!")
    except (Gone, TimeoutError):
        return False


def news(start: Start, count: int = 50, each: int = 20 * MB) -> Iterator[Row]:
    """Subscribe to news with many connections that read nothing, one that reads, and one that wants something else."""
    size = 10_000
    times = each // size
    with start() as server:
        before = warm(server)
        with ExitStack() as stack:
            for _ in range(count):
                _ask_for_news(stack.enter_context(Wire(server.address, receive_buffer=_SMALL)))
            reader = Reader(stack.enter_context(Wire(server.address)), times)
            publisher = stack.enter_context(Wire(server.address))
            with probing(server) as latency:
                publisher.frame(dump({"method": "POST", "url": "/publish", "args": {"times": times, "size": size}}))
                taken = json.loads(publisher.receive(120).payload)["data"]
                reader.thread.join(10)
            grown = megabytes(server, before)
        complaints = len(server.complaints())
    yield Row(
        f"{each // MB} MB pushed to each of {count} that do not read, and to one that does",
        f"RSS {grown:+.1f} MB; {taken} of {times * (count + 1)} events taken; the reader has {reader.got} of {times}; "
        f"{latency}; {complaints} complaints",
        "RSS ≤ +70 MB; the reader has all; another client ≤ 50 ms",
        grown <= 70 and reader.got == times and latency.worst <= 50 and not complaints,
    )


class Reader:
    """A subscriber that takes each event as it comes."""

    def __init__(self, wire: Wire, expected: int) -> None:
        _ask_for_news(wire)
        self.got = 0
        self._wire = wire
        self._expected = expected
        self.thread = Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            while self.got < self._expected:
                event = json.loads(self._wire.receive(30).payload)
                if event["data"]["number"] != self.got:
                    return
                self.got += 1
        except (Gone, TimeoutError):
            pass


def _ask_for_news(wire: Wire) -> None:
    wire.frame(dump({"method": "POST", "url": "/subscribe"}))
    wire.receive()


def _peer(wire: Wire) -> str:
    """Give what the server calls this connection."""
    return "tcp4:{}:{}".format(*wire.socket.getsockname())


def _ask(wire: Wire, url: str) -> Any:
    wire.frame(dump({"method": "GET", "url": url}))
    return json.loads(wire.receive().payload)["data"]
