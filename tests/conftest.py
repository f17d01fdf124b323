"""Two implementations, one suite: `impl` runs a test on each, `both` hands a test the pair.

A test marked `compiled` needs both; in a pure run it is deselected, never skipped. With `--each-once` a compiled run
leaves the pure twins to the pure one. The header says what is under test.
"""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

try:
    from aiorest_ws import _speedups
    from tests.swapping import IMPLEMENTATIONS, Impl, is_for_another_run
except ImportError as exc:
    raise pytest.UsageError(f"aiorest_ws cannot be imported: {exc}") from exc

if TYPE_CHECKING:
    from tests.kit.valkeys import Valkey
    from tests.serving import Certificate

# The half million objects that are made while tests are collected stay: to look for garbage among them, over and over,
# would take a third of that time.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
# A fourth of the examples: where every line is followed (`make test-covered`), and in .ci/run on the pure path and on
# further Pythons.
settings.register_profile("brief", settings.get_profile("ci"), max_examples=25)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session", params=IMPLEMENTATIONS)
def impl(request: pytest.FixtureRequest) -> Impl:
    return Impl.load(request.param)


@pytest.fixture(scope="session")
def both() -> tuple[Impl, Impl]:
    """Give (pure, compiled); a test that asks for it is marked `compiled` of itself."""
    return Impl.load("py"), Impl.load("c")


def pytest_addoption(parser: pytest.Parser) -> None:
    what = "leave [py] out of a compiled run: for whoever makes a pure run too, where it is the same code"
    parser.addoption("--each-once", action="store_true", help=what)


def pytest_report_header(config: pytest.Config) -> str:
    from tests.serving import ALL_ZLIBS, ZLIBS
    from tests.starving import CAN_STARVE

    hot_path = "compiled" if _speedups.COMPILED else f"pure Python ({_speedups.REASON})"
    header = f"aiorest-ws: hot path: {hot_path}; impl: {', '.join(IMPLEMENTATIONS)}; from {_speedups.__path__[0]}"
    if _speedups.COMPILED and config.option.each_once:
        header += "\naiorest-ws: LEFT to the pure run: [py]"
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
    deselected = [item for item in items if is_for_another_run(item, config)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        left = set(deselected)
        items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Give a certificate for 127.0.0.1 that signs itself."""
    from tests.serving import make_certificate

    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """Give a server that speaks as Redis does."""
    from tests.kit.valkeys import running

    with running() as valkey:
        yield valkey


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
