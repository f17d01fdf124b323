"""One client that wants all there is: memory for what is in flight, threads, places for connections."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

from hold.row import Row, Start, megabytes, sending, warm
from hold.slow import tls_options
from hold.wire import Gone, Wire
from tests.serving import BINARY, TEXT, dump, frame

__all__ = ("half_open", "in_flight", "threads")

_MESSAGE = 1 << 20  # bytes, as many as one may have
_SECONDS = 0.3  # that the slow handler takes


def in_flight(start: Start, count: int = 64) -> Iterator[Row]:
    """Send requests of 1 MiB to a slow handler, all on one connection."""
    kinds = {
        "strings": (24, TEXT, _json(b'"' + b"x" * (_MESSAGE - 200) + b'"')),
        "[[],[],…]": (120, TEXT, _json(b"[" + b"[]," * ((_MESSAGE - 200) // 3) + b"[]]")),
        "MessagePack's empty arrays": (150, BINARY, _msgpack(b"\x90" * (_MESSAGE - 200))),
    }
    for kind, (most, opcode, payload) in kinds.items():
        with start() as server:
            before = warm(server)
            with Wire(server.address) as wire, sending(wire, [frame(payload, opcode)] * count):
                answered = sum(_is_kept(wire) for _ in range(count))
            grown = megabytes(server, before)
        yield Row(
            f"{count} requests of 1 MiB to a slow handler, {kind}",
            f"RSS {grown:+.1f} MB, {answered} answered",
            f"RSS ≤ +{most} MB, all",
            grown <= most and answered == count,
        )


def _json(data: bytes) -> bytes:
    return b'{"method":"POST","url":"/keep","id":1,"args":{"seconds":%g},"data":%b}' % (_SECONDS, data)


def _msgpack(items: bytes) -> bytes:
    """Give such a request as MessagePack; `items` are those of its data, an array."""
    from msgspec import msgpack

    head: bytes = msgpack.encode({"method": "POST", "url": "/keep", "id": 1, "args": {"seconds": _SECONDS}})
    return bytes((head[0] + 1,)) + head[1:] + b"\xa4data\xdd" + len(items).to_bytes(4, "big") + items


def _is_kept(wire: Wire) -> bool:
    try:
        reply = wire.receive(30)
    except (Gone, TimeoutError):
        return False
    return any(status in reply.payload[:60] for status in (b'"status":200', b"\xa6status\xcc\xc8"))


def threads(start: Start, count: int = 64, most: int = 4) -> Iterator[Row]:
    """Send requests that keep a thread each, more than there are threads; then one of another client."""
    request = dump({"method": "POST", "url": "/block", "id": 1, "args": {"seconds": 0.5}})
    with start(threads=most) as server, Wire(server.address) as wire, Wire(server.address) as other:
        wire.send(frame(request) * count)
        while _handlers(other) < count:
            time.sleep(0.005)
        other.frame(request)
        before = json.loads(other.receive(60).payload)["data"]
    yield Row(
        f"{count} blocking requests of one client, then one of another, {most} threads",
        f"it starts after {before} of them",
        f"≤ {most}",
        before <= most,
    )


def _handlers(wire: Wire) -> int:
    wire.frame(dump({"method": "GET", "url": "/state"}))
    return int(json.loads(wire.receive().payload)["data"]["handlers"])


def half_open(start: Start, count: int = 1000, most: int = 100) -> Iterator[Row]:
    """Open TCP connections to a server that speaks TLS, and say nothing, or half of what TLS begins with."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100
    for kind, words in (("silent", b""), ("half a ClientHello", hello)):
        with (
            tls_options() as (options, context),
            start(max_connections=most, handshake_timeout=30, **options) as server,
            ExitStack() as stack,
        ):
            before = server.rss()
            server.forget_peak()
            sockets = [stack.enter_context(socket.create_connection(server.address)) for _ in range(count)]
            for sock in sockets:
                _say(sock, words)
            kept = _kept(sockets)
            try:
                with Wire(server.address, tls=context, source="127.0.0.2") as wire:
                    wire.frame(dump({"method": "GET", "url": "/hello"}))
                    comes_in = b"Hello" in wire.receive().payload
            except OSError:
                comes_in = False
            grown = megabytes(server, before)
        yield Row(
            f"{count} half-open TLS sockets ({kind}), max_connections {most}",
            f"{kept} kept; a client of another address {'gets in' if comes_in else 'is kept out'}; RSS {grown:+.1f} MB",
            f"≤ {most}; gets in",
            kept <= most and comes_in,
        )


def _say(sock: socket.socket, words: bytes) -> None:
    try:
        sock.sendall(words)
    except OSError:
        pass  # it has been dropped


def _kept(sockets: list[socket.socket]) -> int:
    """Give how many the server keeps, once it has dropped none for a second."""
    poll = select.poll()
    for sock in sockets:
        poll.register(sock, select.POLLIN)
    kept = len(sockets)
    while over := poll.poll(1000):
        for descriptor, _ in over:
            poll.unregister(descriptor)
        kept -= len(over)
    return kept
