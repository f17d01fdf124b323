"""Both implementations in one table: `impl` as in the tests, with ids `[py]` and `[c]`."""

from __future__ import annotations

import pytest

from aiorest_ws import _speedups
from tests.swapping import IMPLEMENTATIONS, Impl


@pytest.fixture(scope="session", params=IMPLEMENTATIONS)
def impl(request: pytest.FixtureRequest) -> Impl:
    return Impl.load(request.param)


def pytest_report_header() -> str:
    hot_path = "compiled" if _speedups.COMPILED else f"pure Python ({_speedups.REASON})"
    return f"aiorest-ws: hot path: {hot_path}; impl: {', '.join(IMPLEMENTATIONS)}"
