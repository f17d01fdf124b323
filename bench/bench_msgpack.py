"""MessagePack → a dict, and back: what the walk before msgspec costs, and the table of values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

if TYPE_CHECKING:
    from tests.swapping import Impl

ROWS = [{"id": number, "name": f"name {number}", "tags": ["a", "b"], "ratio": number / 7} for number in range(100)]
VALUES: dict[str, dict[str, Any]] = {
    "hello": {"method": "GET", "url": "/hello", "event_name": "e1"},
    "rows": {"method": "POST", "url": "/rows", "data": ROWS},
    "bytes": {"method": "POST", "url": "/upload", "data": b"x" * 65536},
}
PACKED = {name: msgspec.msgpack.encode(value) for name, value in VALUES.items()}


@pytest.mark.parametrize("kind", VALUES)
def test_measure_msgspec_floor(benchmark: Any, kind: str) -> None:
    assert benchmark(msgspec.msgpack.Decoder().decode, PACKED[kind]) == VALUES[kind]


@pytest.mark.parametrize("kind", VALUES)
def test_check_packed(benchmark: Any, impl: Impl, kind: str) -> None:
    benchmark(impl.msgpack.check, PACKED[kind])


@pytest.mark.parametrize("kind", VALUES)
def test_unpack_packed(benchmark: Any, impl: Impl, kind: str) -> None:
    assert benchmark(impl.msgpack.unpack, PACKED[kind]) == VALUES[kind]


@pytest.mark.parametrize("kind", VALUES)
def test_write_packed(benchmark: Any, impl: Impl, kind: str) -> None:
    assert benchmark(impl.codec.write, VALUES[kind], impl.codec.BINARY_MSGPACK) == PACKED[kind]
