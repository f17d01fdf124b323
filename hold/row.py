"""One line of the table: what was measured, and whether that is what is to be reached."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from threading import Thread

from hold.process import Server
from hold.wire import Gone, Wire
from tests.serving import dump, frame

__all__ = ("Row", "Start", "megabytes", "sending", "warm")

Start = Callable[..., AbstractContextManager[Server]]  # takes options of the application


@dataclass(frozen=True)
class Row:
    property: str
    measured: str
    to_reach: str
    ok: bool


def warm(server: Server) -> float:
    """Let the server run once what it runs in an attack, and give its memory in KiB; the peak counts from here."""
    one_of_each = [
        {"method": "GET", "url": "/hello"},
        {"method": "POST", "url": "/echo", "data": "x" * 1000},
        {"method": "POST", "url": "/sleep", "args": {"seconds": 0}},
        {"method": "GET", "url": "/nowhere"},
        {"method": "GET", "url": "/state"},
    ]
    rounds = 300
    block = b"".join(frame(dump(request)) for request in one_of_each)
    with Wire(server.address) as wire, sending(wire, [block] * rounds):
        for _ in range(rounds * len(one_of_each)):
            wire.receive()
    time.sleep(0.2)
    server.forget_peak()
    return server.rss()


def megabytes(server: Server, before: float) -> float:
    """Give by how much the server's memory has grown at most, in MB."""
    return (server.peak() - before) / 1024


class Sending:
    """What a thread has sent so far."""

    def __init__(self) -> None:
        self.sent = 0
        self.progress = time.monotonic()
        self.ended: float | None = None  # when the server ended the connection
        self.given_up = False
        self.done = False


@contextmanager
def sending(wire: Wire, blocks: Iterable[bytes]) -> Iterator[Sending]:
    """Send `blocks` beside the block, as fast as the server takes them, until it ends the connection."""
    state = Sending()

    def send() -> None:
        try:
            for block in blocks:
                left = memoryview(block)
                while left and not state.given_up:
                    size = wire.try_to_send(left, 0.2)
                    left = left[size:]
                    state.sent += size
                    if size:
                        state.progress = time.monotonic()
            state.done = True
        except Gone:
            state.ended = time.monotonic()

    thread = Thread(target=send)
    thread.start()
    try:
        yield state
    finally:
        state.given_up = True
        thread.join()
