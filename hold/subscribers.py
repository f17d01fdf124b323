"""Subscriptions by the thousand: to urls that nobody has thought of, and 10,000 that one write changes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

from hold.probe import probing
from hold.row import Row, Start, megabytes, warm
from hold.wire import Wire
from tests.serving import dump, frame

__all__ = ("invented", "private")

AT_ONCE = 128  # the default of `max_subscriptions`


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
