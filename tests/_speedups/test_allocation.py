"""A failed allocation ends the call with MemoryError, or in an answer, and never the process.

Where the interpreter cannot make allocations fail (no `_testcapi`), the header of the run says so: see conftest.py.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aiorest_ws import _speedups
from tests.kit.pages import ROOT
from tests.starving import CAN_STARVE, CASES

HOT = Path(_speedups.__file__).parent
HAND_WRITTEN = ("envelope", "frames", "eager", "trie")
# What is compiled, as far as it is installed.
SOURCES = [
    source
    for module in _speedups.MODULES
    if (source := HOT / (f"{module}_c.pyx" if module in HAND_WRITTEN else f"{module}.py")).exists()
]


def test_every_compiled_module_is_starved() -> None:
    assert set(CASES) == set(_speedups.MODULES)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_nothing_is_returned_from_inside_an_except_clause(source: Path) -> None:
    """There Cython 3 drops a traceback that is not there when memory failed for it, and crashes."""
    outer: list[int] = []  # indentation of the except clauses around a line
    for number, line in enumerate(source.read_text("utf-8").splitlines(), 1):
        code = line.lstrip()
        indentation = len(line) - len(code)
        outer = [around for around in outer if not code or indentation > around]
        assert not (outer and code.startswith("return")), f"line {number}: {code}"
        if code.startswith("except"):
            outer.append(indentation)


if CAN_STARVE:

    @pytest.mark.compiled
    @pytest.mark.parametrize("module", CASES)
    def test_call_survives_each_failed_allocation(module: str) -> None:
        command = [sys.executable, "-m", "tests.starving", module]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines() or ["nothing"]
        assert done.returncode == 0, f"crashed or failed in: {lines[-1]}\n{done.stderr}"
        assert lines[-1].startswith(f"{module}: "), done.stdout
