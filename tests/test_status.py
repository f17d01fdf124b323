"""Close codes and their ranges: the contract's 1.12."""

from __future__ import annotations

import pytest

from aiorest_ws import status

CODES = {
    "WS_NORMAL": 1000,
    "WS_GOING_AWAY": 1001,
    "WS_PROTOCOL_ERROR": 1002,
    "WS_DATA_CANNOT_ACCEPT": 1003,
    "WS_RESERVED": 1004,
    "WS_NO_STATUS_CODE": 1005,
    "WS_CLOSED_ABNORMALLY": 1006,
    "WS_MESSAGE_NOT_CONSISTENT": 1007,
    "WS_MESSAGE_VIOLATE_POLICY": 1008,
    "WS_MESSAGE_TOO_BIG": 1009,
    "WS_SERVER_DIDNT_RETURN_EXTENSIONS": 1010,
    "WS_UNEXPECTED_CONDITION": 1011,
    "WS_SERVICE_RESTART": 1012,
    "WS_FAILURE_TLS": 1015,
}
RANGES = {"is_not_used": (0, 999), "is_reserved": (1000, 2999), "is_library": (3000, 3999), "is_private": (4000, 4999)}


@pytest.mark.parametrize(("name", "code"), CODES.items(), ids=CODES)
def test_a_code_has_its_number(name: str, code: int) -> None:
    assert getattr(status, name) == code


def test_nothing_else_is_exported() -> None:
    assert set(status.__all__) == set(CODES) | set(RANGES)


@pytest.mark.parametrize("code", [-1, 0, 1, 999, 1000, 1001, 2999, 3000, 3999, 4000, 4999, 5000, 65535])
def test_a_number_is_in_at_most_one_range(code: int) -> None:
    for name, (first, last) in RANGES.items():
        assert getattr(status, name)(code) is (first <= code <= last)
