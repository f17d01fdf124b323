"""Subscriptions by the thousand: to urls nobody has thought of, to what one write changes, of who does not read."""

from __future__ import annotations

import json
import selectors
import time
from collections.abc import Iterator
from contextlib import ExitStack

from hold.probe import probing
from hold.process import Server
from hold.row import Row, Start, megabytes, warm
from hold.wire import Wire
from tests.serving import dump, frame

__all__ = ("invented", "laggards", "private")

AT_ONCE = 128  # the default of `max_subscriptions`
IN_FLIGHT = 8  # items that are published before all who read have them
KIB, MIB = 1024, 1024 * 1024

_SMALL = 16 * KIB  # bytes that the system of such a client takes


def invented(start: Start, urls: int = 20_000) -> Iterator[Row]:
    """Subscribe to urls that are made up, as many at a time as one may, and let go of them."""
    with start() as server:
        with Wire(server.address) as wire:
            _in_and_out(wire, range(-20 * AT_ONCE, 0))
            before = warm(server)
            _in_and_out(wire, range(urls))
        grown = megabytes(server, before)
    yield Row(f"{urls:,} urls subscribed to, {AT_ONCE} at a time", f"RSS +{grown:.1f} MB", "≤ 2 MB", grown <= 2)


def _in_and_out(wire: Wire, numbers: range) -> None:
    for first in numbers[::AT_ONCE]:
        some = range(first, min(first + AT_ONCE, numbers.stop))
        for verb in ("SUBSCRIBE", "UNSUBSCRIBE"):
            wire.send(b"".join(frame(dump({"method": verb, "url": f"/room/n{at}", "id": at})) for at in some))
            for _ in some:
                assert json.loads(wire.receive().payload)["status"] == 200


def private(start: Start, clients: int = 100) -> Iterator[Row]:
    """Change, with one write, what 10,000 subscriptions of their own are told of."""
    each = 100
    with start(max_connections_per_address=None) as server, ExitStack() as stack:
        wires = [stack.enter_context(Wire(server.address)) for _ in range(clients)]
        for wire in wires:
            wire.send(
                b"".join(
                    frame(dump({"method": "SUBSCRIBE", "url": "/own", "id": at, "args": {"n": at}}))
                    for at in range(each)
                )
            )
            for _ in range(each):
                assert json.loads(wire.receive().payload)["status"] == 200
        cpu = server.cpu()
        with probing(server) as latency, Wire(server.address) as writer:
            began = time.monotonic()
            writer.frame(dump({"method": "PUT", "url": "/own"}))
            writer.receive()
            for wire in wires:
                for _ in range(each):
                    wire.receive(60)
            took = time.monotonic() - began
        cpu = server.cpu() - cpu
    waits = sorted(latency.samples)
    late = waits[int(len(waits) * 0.99)] if waits else float("inf")
    yield Row(
        f"one write changes {clients * each:,} subscriptions of their own",
        f"all told after {took:.1f} s, CPU {cpu:.1f} s; a request of another: p99 {late:.1f} ms, {latency}",
        "p99 ≤ 20 ms",
        late <= 20 and not latency.fault,
    )


def laggards(start: Start, each: int = 8 * MIB, count: int = 100, readers: int = 900) -> Iterator[Row]:
    """Publish items to very many who read, then to some more, too, who do not: these are ended.

    What the system takes in their place, a few MB for each, they are sent; that costs processor time, too.
    """
    with start(ping_interval=None) as server, ExitStack() as stack:
        crowd = _Crowd(server, stack, readers)
        crowd.take(MIB)  # so that what runs for the first time has run
        alone = crowd.take(each)
        before = warm(server)
        for _ in range(count):
            _subscribe(stack.enter_context(Wire(server.address, receive_buffer=_SMALL)))
        beside = crowd.take(each)
        grown = megabytes(server, before)
        ended = readers + count - crowd.subscriptions()
    yield Row(
        f"{count} of {count + readers:,} subscribers do not read, {each // MIB} MB in items of 1 KiB to each",
        f"{ended} ended; RSS {grown:+.1f} MB; CPU per delivery to the others {beside:.2f} µs, {alone:.2f} without them",
        "all of them; RSS ≤ +8 MB; CPU ≤ 1.1 ×",
        ended == count and grown <= 8 and beside <= 1.1 * alone,
    )


def _subscribe(wire: Wire) -> None:
    wire.frame(dump({"method": "SUBSCRIBE", "url": "/items", "id": 1}))
    assert json.loads(wire.receive().payload)["status"] == 200


class _Crowd:
    """Who publishes items, and who reads each of them: all get the same bytes, and one looks at them."""

    def __init__(self, server: Server, stack: ExitStack, readers: int) -> None:
        self._server = server
        self._writer, self._watcher, *wires = (stack.enter_context(Wire(server.address)) for _ in range(readers + 1))
        self._left: dict[Wire, int] = dict.fromkeys(wires, 0)  # bytes that are to come
        self._buffer = bytearray(MIB)
        self._ready = stack.enter_context(selectors.DefaultSelector())
        for wire in (self._watcher, *wires):
            _subscribe(wire)
        for wire in wires:
            self._ready.register(wire.socket, selectors.EVENT_READ, wire)

    def take(self, size: int) -> float:
        """Publish `size` bytes, and read them everywhere; give the server's CPU for each delivery, in µs."""
        cpu = self._server.cpu()
        item = frame(dump({"method": "POST", "url": "/items", "data": "x" * KIB}))
        items = size // KIB
        for _ in range(items // IN_FLIGHT):
            self._writer.send(item * IN_FLIGHT)
            self._read(sum(_size_of(self._watcher.receive().payload) for _ in range(IN_FLIGHT)))
            for _ in range(IN_FLIGHT):
                self._writer.receive()
        return (self._server.cpu() - cpu) / (items * (len(self._left) + 1)) * 1e6

    def subscriptions(self) -> int:
        """Give how many there are in the server."""
        self._writer.frame(dump({"method": "GET", "url": "/state"}))
        return int(json.loads(self._writer.receive().payload)["data"]["subscriptions"])

    def _read(self, size: int) -> None:
        """Read `size` bytes of everybody."""
        for wire in self._left:
            self._left[wire] += size
        waiting = len(self._left)
        while waiting:
            for key, _ in self._ready.select(30):
                got = key.fileobj.recv_into(self._buffer)  # type: ignore[union-attr]
                assert got, "a subscriber who reads was closed"
                self._left[key.data] -= got
                waiting -= not self._left[key.data]


def _size_of(payload: bytes) -> int:
    """Give the bytes of a frame of the server with `payload`."""
    return len(payload) + (2 if len(payload) < 126 else 4)
