"""Both implementations in one table: `impl` as in the tests, with ids `[py]` and `[c]`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest

from aiorest_ws import _speedups

IMPLEMENTATIONS = ("py", "c") if _speedups.COMPILED else ("py",)


@dataclass(frozen=True, slots=True)
class Impl:
    """One implementation of the hot path: its modules, under the names that they have in `_speedups`."""

    name: str
    msgpack: Any
    codec: Any
    wrappers: Any
    envelope: Any
    trie: Any
    proof: Any
    plan: Any
    pipeline: Any
    frames: Any
    step: Any
    connection: Any


@pytest.fixture(scope="session", params=IMPLEMENTATIONS)
def impl(request: pytest.FixtureRequest) -> Impl:
    suffix = {"py": "", "c": "_c"}[request.param]
    modules = {noun: import_module(f"aiorest_ws._speedups.{noun}{suffix}") for noun in _speedups.MODULES}
    return Impl(request.param, **modules)


def pytest_report_header() -> str:
    hot_path = "compiled" if _speedups.COMPILED else f"pure Python ({_speedups.REASON})"
    return f"aiorest-ws: hot path: {hot_path}; impl: {', '.join(IMPLEMENTATIONS)}"
