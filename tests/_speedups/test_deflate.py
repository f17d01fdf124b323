"""One direction of permessage-deflate: both implementations alone and together, over each zlib there is."""

from __future__ import annotations

import os
import random
import zlib
from importlib import import_module
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.examples import examples
from tests.serving import ALL_ZLIBS, ZLIBS
from tests.swapping import Impl

TAIL = b"\x00\x00\xff\xff"
HELLO = b'{"method":"GET","url":"/hello"}'
LONG = b"".join(b'{"number":%d,"name":"item %d"},' % (n, n * n) for n in range(2000))
MESSAGES = [b"", b"x", HELLO, b"x" * 100_000, LONG, random.Random(1).randbytes(10_000), HELLO]

each_library = pytest.mark.parametrize("library", ZLIBS)


def packer_of(impl: Impl, library: str, monkeypatch: pytest.MonkeyPatch, *args: int, takes_over: bool) -> Any:
    quickest = mock.Mock(return_value=import_module(library))
    monkeypatch.setattr(impl.deflate, "quickest", quickest)
    packer = impl.deflate.Packer(*args, takes_over=takes_over)
    quickest.assert_called_once_with()  # else this would be a test of another library
    return packer


def flushed(message: bytes, packer: Any = None) -> bytes:
    """Give the payload of a compressed message (RFC 7692 §7.2.1)."""
    packer = zlib.compressobj(wbits=-15) if packer is None else packer
    packed: bytes = packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH)
    return packed[:-4]


def finished(message: bytes) -> bytes:
    """Give the payload of a compressed message whose last block says so (RFC 7692 §7.2.3.4)."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(message) + packer.flush(zlib.Z_FINISH) + b"\x00"


def inflated_in_bytes(payload: bytes, window_bits: int, inflater: Any = None) -> bytes:
    """Inflate as the smallest client would: what its window does not reach is not there."""
    inflater = zlib.decompressobj(-window_bits) if inflater is None else inflater
    found: bytes = b""
    rest = payload + TAIL
    while True:
        piece = inflater.decompress(rest, 64)
        found, rest = found + piece, inflater.unconsumed_tail
        if not rest and len(piece) < 64:
            return found


# Out


@each_library
@pytest.mark.parametrize(("window_bits", "level"), [(9, 1), (9, 9), (10, 5), (12, 5), (15, 8)])
def test_packed_messages_stand_for_themselves(
    impl: Impl, library: str, window_bits: int, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that one packer serves all connections, and any of them may get what was packed for another."""
    packer = packer_of(impl, library, monkeypatch, window_bits, level, takes_over=False)
    assert (packer.window_bits, packer.level, packer.takes_over) == (window_bits, level, False)
    for message in MESSAGES * 2:
        assert inflated_in_bytes(packer.pack(message), window_bits) == message


@each_library
@pytest.mark.parametrize("window_bits", [9, 12, 15])
def test_packed_messages_may_refer_to_those_before(
    impl: Impl, library: str, window_bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    packer = packer_of(impl, library, monkeypatch, window_bits, 8, takes_over=True)
    inflater = zlib.decompressobj(-window_bits)
    for message in MESSAGES * 2:
        assert inflated_in_bytes(packer.pack(message), window_bits, inflater) == message
    first, second = packer.pack(HELLO[::-1] * 3), packer.pack(HELLO[::-1] * 3)
    assert len(second) <= len(first)


def test_the_quickest_is_taken_that_is_installed(impl: Impl) -> None:
    assert impl.deflate.quickest().__name__ == ZLIBS[0]


def test_all_that_deflate_are_tried_where_it_matters() -> None:
    """The dependency group `test` has them; where there is none to install, the header of the run says so."""
    assert not os.environ.get("CI") or ZLIBS == ALL_ZLIBS


@pytest.mark.parametrize("takes_over", [True, False])
@pytest.mark.parametrize("failing", ["compress", "flush"])
def test_message_that_could_not_be_packed_leaves_no_trace(
    impl: Impl, monkeypatch: pytest.MonkeyPatch, failing: str, takes_over: bool
) -> None:
    class Failing:
        Z_SYNC_FLUSH, Z_FULL_FLUSH = zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH
        fails = False

        def compressobj(self, **options: Any) -> Any:
            made, library = zlib.compressobj(**options), self

            class Deflater:
                def compress(self, message: bytes) -> bytes:
                    if library.fails and failing == "compress":
                        raise MemoryError
                    return made.compress(message)

                def flush(self, mode: int) -> bytes:
                    if library.fails and failing == "flush":
                        raise MemoryError
                    return made.flush(mode)

            return Deflater()

    library = Failing()
    monkeypatch.setattr(impl.deflate, "quickest", lambda: library)
    packer = impl.deflate.Packer(12, 5, takes_over=takes_over)
    inflater = zlib.decompressobj(-12)
    for n in range(6):
        library.fails = n % 2 == 1
        message = b"secret of client %d" % n
        if library.fails:
            with pytest.raises(MemoryError):
                packer.pack(message)
        else:
            assert inflater.decompress(packer.pack(message) + TAIL) == message


# In


def unpack(unpacker: Any, payload: bytes, size: int) -> bytes:
    """Give the message that comes in pieces of `size`."""
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    return b"".join(unpacker.unpack(piece, at == len(pieces) - 1) for at, piece in enumerate(pieces))


def stored(message: bytes, *, final: bool = False) -> bytes:
    """Give a block without compression (RFC 1951 §3.2.4)."""
    return (
        bytes((final,)) + len(message).to_bytes(2, "little") + (len(message) ^ 0xFFFF).to_bytes(2, "little") + message
    )


GOOD = {
    "flushed": (flushed(HELLO), HELLO),
    "long": (flushed(LONG), LONG),
    "a block and more": (flushed(b"x" * 65_536), b"x" * 65_536),
    "blocks": (flushed(b"x" * 65_536 * 3), b"x" * 65_536 * 3),
    "not compressible": (flushed(random.Random(2).randbytes(200_000)), random.Random(2).randbytes(200_000)),
    "empty": (b"\x00", b""),
    "nothing": (b"", b""),
    "empty blocks": (b"\x00\x00\x00\xff\xff" * 3 + b"\x00", b""),
    "empty blocks before": (b"\x00\x00\x00\xff\xff" * 3 + flushed(HELLO), HELLO),
    "empty block behind": (flushed(HELLO) + TAIL + b"\x00", HELLO),
    "finished": (finished(HELLO), HELLO),
    "long and finished": (finished(LONG), LONG),
    "finished, without the byte behind": (finished(HELLO)[:-1], HELLO),
    "empty final block": (b"\x03\x00\x00", b""),
    "empty final block and no more": (b"\x03\x00", b""),
    "empty final block behind": (flushed(HELLO) + TAIL + b"\x03\x00\x00", HELLO),
    "two final blocks": (finished(HELLO)[:-1] + finished(HELLO), HELLO * 2),
    "final, then flushed": (finished(HELLO)[:-1] + flushed(LONG), HELLO + LONG),
    "stored": (stored(HELLO) + b"\x00", HELLO),
    "stored and final": (stored(HELLO, final=True) + b"\x00", HELLO),
}


@pytest.mark.parametrize(("payload", "message"), GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("takes_over", [True, False])
def test_message_is_unpacked_whole_however_it_is_sliced(
    impl: Impl, payload: bytes, message: bytes, takes_over: bool
) -> None:
    """And again: no message leaves anything behind that the next one could suffer from."""
    unpacker = impl.deflate.Unpacker(15, takes_over=takes_over)
    sizes = (1, 2, 3, 7, len(payload) - 1, len(payload)) if len(payload) < 20_000 else (1000, 65_536, len(payload))
    for size in sizes:
        if size > 0:
            assert unpack(unpacker, payload, size) == message
            assert unpack(unpacker, flushed(HELLO), 1000) == HELLO


BAD = {
    "garbage": b"\xff" * 20,
    "garbage behind": flushed(HELLO) + b"\x12\x34",
    "one byte behind": flushed(HELLO) + b"\x12",
    "garbage behind a final block": finished(HELLO)[:-1] + b"\xff\xff",
    "nine final blocks": b"\x03\x00" * 10 + b"\x00",
    "reserved kind of block": b"\x07\x00",
    "wrong length of a stored block": b"\x00\x05\x00\x00\x00hello",
    "beyond the window": flushed(HELLO, zlib.compressobj(wbits=-15, zdict=HELLO)),
}


@pytest.mark.parametrize("payload", BAD.values(), ids=BAD)
@pytest.mark.parametrize("takes_over", [True, False])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_what_is_not_deflate_is_a_value_error(impl: Impl, payload: bytes, takes_over: bool, size: int) -> None:
    unpacker = impl.deflate.Unpacker(15, takes_over=takes_over)
    with pytest.raises(ValueError, match=r"^(not compressed as agreed: |more than 8 final blocks)"):
        unpack(unpacker, payload, size)


@pytest.mark.parametrize("cut", range(1, 12))
def test_message_that_ends_inside_of_a_block_is_a_value_error(impl: Impl, cut: int) -> None:
    """Where nothing of it is kept, it shows at once; else with the next message at the latest."""
    payload = flushed(LONG[:3000])[:-cut]
    with pytest.raises(ValueError, match=r"^not compressed as agreed: "):
        unpack(impl.deflate.Unpacker(15, takes_over=False), payload, 1000)
    unpacker = impl.deflate.Unpacker(15, takes_over=True)

    def unpack_on() -> None:
        for _ in range(20):
            unpack(unpacker, payload, 1000)

    with pytest.raises(ValueError, match=r"^not compressed as agreed: "):
        unpack_on()


def test_messages_may_refer_to_those_before_only_as_agreed(impl: Impl) -> None:
    packer = zlib.compressobj(wbits=-12)
    payloads = [flushed(LONG[:4000], packer) for _ in range(3)]
    kept, forgotten = (impl.deflate.Unpacker(12, takes_over=kept) for kept in (True, False))
    assert [unpack(kept, payload, 100) for payload in payloads] == [LONG[:4000]] * 3
    assert unpack(forgotten, payloads[0], 100) == LONG[:4000]
    with pytest.raises(ValueError, match=r"^not compressed as agreed: "):
        unpack(forgotten, payloads[1], 100)


@pytest.mark.parametrize("takes_over", [True, False])
@pytest.mark.parametrize("size", [10, 100_000])
def test_limit_counts_what_comes_out(impl: Impl, takes_over: bool, size: int) -> None:
    unpacker = impl.deflate.Unpacker(15, takes_over=takes_over)
    for limit in (1, 1000, 65_535, 65_536, 65_537, 300_000):
        unpacker = impl.deflate.Unpacker(15, takes_over=takes_over)
        unpacker.limit = limit
        for _ in range(3):
            assert unpack(unpacker, flushed(b"x" * limit), size) == b"x" * limit
        with pytest.raises(OverflowError, match=f"^message has more than {limit} bytes$"):
            unpack(unpacker, flushed(b"x" * (limit + 1)), size)


@pytest.mark.parametrize("final", [True, False])
def test_a_bomb_takes_no_more_than_the_limit_and_a_block(impl: Impl, final: bool) -> None:
    import tracemalloc

    bomb = (finished if final else flushed)(b" " * 100_000_000)
    unpacker = impl.deflate.Unpacker(15, takes_over=True)
    unpacker.limit = 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(OverflowError):
            unpacker.unpack(bomb, True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # What is handed in gets a tail and leaves a rest, and that another: copies. zlib joins two halves of a block.
    assert peak < 1_000_000 + 65_536 + 3 * len(bomb) + 2 * 65_536


# One against the other


payloads = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([payload for payload, _ in GOOD.values() if len(payload) < 5000]),
        st.sampled_from(list(BAD.values())),
        st.text().map(lambda text: flushed(text.encode())),
        st.binary(max_size=300).map(finished),
    ),
    max_size=6,
)


@examples(200)
@given(
    payloads=payloads,
    size=st.sampled_from((1, 2, 5, 100)),
    bits=st.integers(8, 15),
    takes_over=st.booleans(),
    limit=st.sampled_from((0, 0, 10, 1000)),
)
def test_both_unpack_the_same(
    both: tuple[Impl, Impl], payloads: list[bytes], size: int, bits: int, takes_over: bool, limit: int
) -> None:
    seen: list[list[Any]] = []
    for impl in both:
        unpacker = impl.deflate.Unpacker(bits, takes_over=takes_over)
        unpacker.limit = limit
        outcomes: list[Any] = []
        for payload in payloads:
            try:
                outcomes.append(unpack(unpacker, payload, size))
            except (ValueError, OverflowError) as exc:
                outcomes.append((type(exc), str(exc)))
                break
        seen.append(outcomes)
    assert seen[0] == seen[1]


@examples(100)
@given(
    messages=st.lists(st.one_of(st.binary(max_size=3000), st.text(max_size=2000).map(str.encode)), max_size=6),
    bits=st.integers(9, 15),
    level=st.integers(1, 9),
    takes_over=st.booleans(),
)
def test_both_pack_the_same_and_unpack_it(
    both: tuple[Impl, Impl], messages: list[bytes], bits: int, level: int, takes_over: bool
) -> None:
    pure, compiled = (impl.deflate.Packer(bits, level, takes_over=takes_over) for impl in both)
    unpackers = [impl.deflate.Unpacker(bits, takes_over=takes_over) for impl in both]
    for message in messages:
        packed = pure.pack(message)
        assert packed == compiled.pack(message)
        assert [unpacker.unpack(packed, True) for unpacker in unpackers] == [message, message]
