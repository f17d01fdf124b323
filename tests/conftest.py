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
    hot_path = "compiled" if _speedups.COMPILED else f"pure Python ({_speedups.REASON})"
    header = f"aiorest-ws: hot path: {hot_path}; impl: {', '.join(IMPLEMENTATIONS)}; from {_speedups.__path__[0]}"
    if not CAN_STARVE:
        header += "\naiorest-ws: NOT RUN: failed allocations (test_allocation.py), this interpreter has no _testcapi"
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
    from datetime import UTC, datetime, timedelta
    from ipaddress import IPv4Address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    from tests.serving import Certificate

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Certificate(str(folder / "cert.pem"), str(folder / "key.pem"))


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
