"""Two implementations, one suite: `impl` runs a test on each, `both` hands a test the pair.

A test marked `compiled` needs both; in a pure run it is deselected, never skipped. The header says what is under test.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

try:
    from aiorest_ws import _speedups
except ImportError as exc:
    raise pytest.UsageError(f"aiorest_ws cannot be imported: {exc}") from exc

if TYPE_CHECKING:
    from tests.serving import Certificate

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

# Only CPython's own test module makes allocations fail, and not every distribution ships it.
CAN_STARVE = find_spec("_testcapi") is not None

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
    meter: Any
    replies: Any
    guards: Any
    pipeline: Any
    deflate: Any
    frames: Any
    step: Any
    workers: Any
    connection: Any

    @classmethod
    def load(cls, name: str) -> Impl:
        suffix = {"py": "", "c": "_c"}[name]

        def module(noun: str) -> ModuleType:
            return import_module(f"aiorest_ws._speedups.{noun}{suffix}")

        return cls(name, **{noun: module(noun) for noun in _speedups.MODULES})


@pytest.fixture(scope="session", params=IMPLEMENTATIONS)
def impl(request: pytest.FixtureRequest) -> Impl:
    return Impl.load(request.param)


@pytest.fixture(scope="session")
def both() -> tuple[Impl, Impl]:
    """Give (pure, compiled); a test that asks for it is marked `compiled` of itself."""
    return Impl.load("py"), Impl.load("c")


def pytest_report_header() -> str:
    from tests.serving import ALL_ZLIBS, ZLIBS

    hot_path = "compiled" if _speedups.COMPILED else f"pure Python ({_speedups.REASON})"
    header = f"aiorest-ws: hot path: {hot_path}; impl: {', '.join(IMPLEMENTATIONS)}; from {_speedups.__path__[0]}"
    if not CAN_STARVE:
        header += "\naiorest-ws: NOT RUN: failed allocations (test_allocation.py), this interpreter has no _testcapi"
    missing = [name.partition(".")[0] for name in ALL_ZLIBS if name not in ZLIBS]
    if missing:
        header += f"\naiorest-ws: NOT RUN: compression by {' and '.join(missing)}, not installed"
    return header


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "both" in getattr(item, "fixturenames", ()):
            item.add_marker("compiled")
    if _speedups.COMPILED:
        return
    deselected = [item for item in items if item.get_closest_marker("compiled")]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if not item.get_closest_marker("compiled")]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Give a certificate for 127.0.0.1 that signs itself."""
    from tests.serving import make_certificate

    return make_certificate(tmp_path_factory.mktemp("tls"))


_numbers = itertools.count()


@pytest.fixture
def settings_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that makes a settings module of a source, names it in the environment, and gives its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(source: str) -> str:
        name = f"settings_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(source, "utf-8")
        monkeypatch.setenv("AIORESTWS_SETTINGS_MODULE", name)
        return name

    return make
