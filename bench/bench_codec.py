"""Payload → envelope → payload, in the four forms; the JSON encoder on its easy and on its slow way."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.swapping import Impl

HELLO = b'{"method":"GET","url":"/hello","event_name":"e1"}'
REPLY = b'{"data":"Hello, world!","event_name":"e1"}'
FORMS = ("TEXT_JSON", "TEXT_BASE64", "BINARY_JSON", "BINARY_BASE64")


def in_form(payload: bytes, form: str) -> bytes:
    return base64.b64encode(payload) if form.endswith("BASE64") else payload


@pytest.mark.parametrize("form", FORMS)
def test_decode_hello(benchmark: Any, impl: Impl, form: str) -> None:
    payload = in_form(HELLO, form)
    envelope = benchmark(impl.codec.decode, payload, getattr(impl.codec, form))
    assert envelope["event_name"] == "e1"


@pytest.mark.parametrize("form", FORMS)
def test_encode_hello(benchmark: Any, impl: Impl, form: str) -> None:
    assert benchmark(impl.codec.encode, REPLY, getattr(impl.codec, form)) == in_form(REPLY, form)


@pytest.mark.parametrize("form", FORMS)
def test_recognise_hello(benchmark: Any, impl: Impl, form: str) -> None:
    payload, is_binary = in_form(HELLO, form), form.startswith("BINARY")
    assert benchmark(impl.codec.recognise, payload, is_binary) == getattr(impl.codec, form)


ROWS = [{"id": number, "name": f"name {number}", "tags": ["a", "b"], "ratio": number / 7} for number in range(100)]
VALUES: dict[str, Any] = {
    "hello": {"data": "Hello, world!", "event_name": "e1"},
    "rows": {"data": ROWS, "event_name": None},
    "leaves": {"data": [datetime(2024, 1, 2, tzinfo=UTC), Decimal("1.5"), b"bytes", {1}], "event_name": None},
    "int_keys": {"data": {number: number for number in range(20)}, "event_name": None},
}


@pytest.mark.parametrize("kind", VALUES)
def test_dumps_value(benchmark: Any, impl: Impl, kind: str) -> None:
    assert benchmark(impl.codec.dumps, VALUES[kind]).startswith(b'{"data":')
