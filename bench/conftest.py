"""Both implementations in one table: `impl` as in the tests, with ids `[py]` and `[c]`."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import pytest

from aiorest_ws import _speedups

IMPLEMENTATIONS = ("py", "c") if _speedups.COMPILED else ("py",)


class Impl(SimpleNamespace):
    """One implementation of the hot path: its modules, under the names that they have in `_speedups`."""


def load(name: str) -> Impl:
    """Give the implementation `name`, "py" or "c"."""
    suffix = {"py": "", "c": "_c"}[name]
    modules = {noun: import_module(f"aiorest_ws._speedups.{noun}{suffix}") for noun in _speedups.MODULES}
    return Impl(name=name, **modules)


@pytest.fixture(scope="session", params=IMPLEMENTATIONS)
def impl(request: pytest.FixtureRequest) -> Impl:
    return load(request.param)


def pytest_report_header() -> str:
    hot_path = "compiled" if _speedups.COMPILED else f"pure Python ({_speedups.REASON})"
    return f"aiorest-ws: hot path: {hot_path}; impl: {', '.join(IMPLEMENTATIONS)}"
