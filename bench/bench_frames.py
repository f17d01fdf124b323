"""Bytes in, messages out, and replies to bytes; then the whole stack over a transport that only counts.

By size: at each factor of 4 the time per byte should be at most 1.1 times that of the size before, and 1,000 frames in
one read should cost at most 1,000 times one, within a tenth. No wall time is asserted: run this file for the ratios,
`python -m bench.bench_frames`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from bench.bench_roundtrip import HELLO, HELLO_REPLY, hello, make_pipeline
from tests.kit.frames import BINARY, OPEN, PING, TEXT, wire

if TYPE_CHECKING:
    from tests.swapping import Impl

SIZES = (64, 4096, 65536, 1 << 20)
LADDER = tuple(64 << 2 * power for power in range(8))  # 64 B to 1 MiB


class Transport:
    """Keeps the last write."""

    last = b""

    def write(self, data: bytes) -> None:
        self.last = data

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Loop:
    """Keeps what it is to call."""

    def __init__(self) -> None:
        self.calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        self.calls.append((function, args))


def make_reader(impl: Impl) -> Any:
    """Give an open frame layer that does nothing with a message."""

    class Reader(impl.frames.Frames):  # type: ignore[name-defined,misc]
        def _on_message(self, payload: bytes, is_binary: bool) -> None:
            pass

    reader = Reader()
    reader.state = OPEN
    reader.transport = Transport()
    reader._reads_requests = False
    return reader


def make_connection(impl: Impl) -> Any:
    """Give an open connection with the whole stack behind it, as `RequestHandlerProtocol._open` sets it up."""
    connection = type("Served", (impl.connection.Connection,), {})()
    connection.state = OPEN
    connection.transport = Transport()
    connection._pipeline = make_pipeline(impl, hello)
    connection._loop = Loop()
    return connection


def answer(connection: Any, data: bytes) -> None:
    """Let a connection serve `data`, all slices of it."""
    connection.data_received(data)
    calls = connection._loop.calls
    while calls:
        function, args = calls.popleft()
        function(*args)


@pytest.mark.parametrize("size", SIZES)
def test_read_one_binary_frame(benchmark: Any, impl: Impl, size: int) -> None:
    reader = make_reader(impl)
    benchmark(reader._feed, wire(bytes(size), BINARY))
    assert reader._messages == reader._fast_frames > 0


@pytest.mark.parametrize("size", SIZES)
def test_read_one_ascii_frame(benchmark: Any, impl: Impl, size: int) -> None:
    reader = make_reader(impl)
    benchmark(reader._feed, wire(b"x" * size))
    assert reader._messages == reader._fast_frames > 0


def test_read_one_frame_of_other_text(benchmark: Any, impl: Impl) -> None:
    reader = make_reader(impl)
    benchmark(reader._feed, wire("é€".encode() * 800))
    assert reader._messages > 0


def test_read_one_frame_in_64_kib_pieces(benchmark: Any, impl: Impl) -> None:
    reader = make_reader(impl)
    whole = wire(bytes(1 << 20), BINARY)
    pieces = [whole[at : at + 65536] for at in range(0, len(whole), 65536)]

    def read() -> None:
        for piece in pieces:
            reader._feed(piece)

    benchmark(read)
    assert reader._messages > 0


def test_read_1000_small_frames(benchmark: Any, impl: Impl) -> None:
    reader = make_reader(impl)
    benchmark(reader._feed, wire(HELLO) * 1000)
    assert reader._messages % 1000 == 0


def test_read_1000_pings(benchmark: Any, impl: Impl) -> None:
    reader = make_reader(impl)
    benchmark(reader._feed, wire(b"ping", PING) * 1000)
    assert len(reader.transport.last) == 6000


@pytest.mark.parametrize("size", SIZES)
def test_write_one_frame(benchmark: Any, impl: Impl, size: int) -> None:
    writer = make_reader(impl)
    benchmark(writer._write, bytes(size), BINARY)
    assert len(writer.transport.last) > size


def test_answer_one_frame(benchmark: Any, impl: Impl) -> None:
    connection = make_connection(impl)
    benchmark(connection.data_received, wire(HELLO))
    assert connection.transport.last == b"\x81\x2a" + HELLO_REPLY


def test_answer_16_frames(benchmark: Any, impl: Impl) -> None:
    connection = make_connection(impl)
    benchmark(connection.data_received, wire(HELLO) * 16)
    assert connection.transport.last == (b"\x81\x2a" + HELLO_REPLY) * 16


def test_answer_1000_frames(benchmark: Any, impl: Impl) -> None:
    connection = make_connection(impl)
    benchmark(answer, connection, wire(HELLO) * 1000)
    assert connection._messages % 1000 == 0
    assert connection.transport.last.endswith(b"\x81\x2a" + HELLO_REPLY)


def seconds(acts: list[Callable[[], object]], *, rounds: int = 60, at_least: float = 0.002) -> list[float]:
    """Give the best time of a call of each. In turns: what disturbs the machine disturbs all of them."""
    best = [float("inf")] * len(acts)
    calls = [1] * len(acts)
    for _ in range(rounds):
        for number, act in enumerate(acts):
            took = 0.0
            while took < at_least:
                start = time.perf_counter()
                for _ in range(calls[number]):
                    act()
                took = time.perf_counter() - start
                best[number] = min(best[number], took / calls[number])
                if took < at_least:
                    calls[number] *= 2
    return best


def main() -> None:
    """Print time per byte by size, and the cost of frames that come together."""
    from tests.swapping import IMPLEMENTATIONS, Impl

    for name in IMPLEMENTATIONS:
        impl = Impl.load(name)
        for kind, opcode in (("text", TEXT), ("binary", BINARY)):
            times = seconds([partial(make_reader(impl)._feed, wire(b"x" * size, opcode)) for size in LADDER])
            before = None
            for size, took in zip(LADDER, times, strict=True):
                per_byte = took / size * 1e9
                ratio = f"  {per_byte / before:5.2f} x the size before" if before else ""
                print(f"{name:3} read one {kind:6} frame of {size:8}: {per_byte:8.4f} ns a byte{ratio}")
                before = per_byte
        for what, act in (("read", make_reader(impl)._feed), ("answered", partial(answer, make_connection(impl)))):
            one, many = seconds([partial(act, wire(HELLO)), partial(act, wire(HELLO) * 1000)])
            print(f"{name:3} one frame {what}: {one * 1e6:.3f} us; 1,000 in one read: {many / one:.0f} x one")


if __name__ == "__main__":
    main()
