"""The switch: environment and installed modules in, one choice for all modules out."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import aiorest_ws
from aiorest_ws import _speedups

FACADE = Path(_speedups.__file__)
NO = "AIOREST_WS_NO_EXTENSIONS"
REQUIRE = "AIOREST_WS_REQUIRE_EXTENSIONS"


def re_exports() -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[str]]]:
    """Read from the facade's source what it takes from which module: (shared by both, pure, compiled)."""

    def taken(statements: list[ast.stmt]) -> dict[str, list[str]]:
        return {
            statement.module: [alias.name for alias in statement.names]
            for statement in statements
            if isinstance(statement, ast.ImportFrom) and statement.level == 1 and statement.module
        }

    body = ast.parse(FACADE.read_text("utf-8")).body
    (switch,) = (node for node in body if isinstance(node, ast.If))
    return taken(body), taken(switch.body), taken(switch.orelse)


SHARED, PURE, COMPILED = re_exports()


def environment(**switches: str) -> dict[str, str]:
    ours = (NO, REQUIRE, "PYTHONPATH", "PYTHONSAFEPATH")  # the last hides the stand-in: `make sanitize`
    inherited = {key: value for key, value in os.environ.items() if key not in ours}
    return inherited | switches


def python(code: str, cwd: Path, **switches: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment(**switches), capture_output=True, text=True, check=False
    )


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A package `hot` with the real facade over stand-ins of its modules, every name bound to its module's name."""
    package = tmp_path / "hot"
    package.mkdir()
    (package / "__init__.py").write_bytes(FACADE.read_bytes())
    modules: dict[str, list[str]] = {name: [] for module in _speedups.MODULES for name in (module, f"{module}_c")}
    for table in (modules, SHARED, PURE, COMPILED):
        for module, names in table.items():
            with (package / f"{module}.py").open("a", encoding="utf-8") as stand_in_module:
                stand_in_module.writelines(f"{name} = __name__\n" for name in names)
    return tmp_path


@dataclass(frozen=True, slots=True)
class Choice:
    compiled: bool
    imported: list[str]  # the compiled modules in sys.modules
    reason: str


def choose(where: Path, *, first: str = "", **switches: str) -> Choice:
    """Import the stand-in, after running `first`, and see which implementation its names came from."""
    names = [name for names in PURE.values() for name in names]
    code = f"""
import json, sys
{first}
import hot
origins = {{getattr(hot, name).endswith("_c") for name in {names}}}
imported = [name for name in sys.modules if name.startswith("hot.") and name.endswith("_c")]
print(json.dumps([hot.COMPILED, list(origins), imported, hot.REASON]))
"""
    done = python(code, where, **switches)
    assert done.returncode == 0, done.stderr
    compiled, origins, imported, reason = json.loads(done.stdout)
    assert origins == [compiled], "names from both implementations, or from the wrong one"
    return Choice(compiled, imported, reason)


def test_compiled_modules_are_taken_when_all_can_be_imported(stand_in: Path) -> None:
    choice = choose(stand_in)
    assert choice.compiled
    assert choice.reason == ""


@pytest.mark.parametrize("value", ["", "0"])
def test_empty_and_zero_leave_a_switch_off(stand_in: Path, value: str) -> None:
    assert choose(stand_in, **{NO: value, REQUIRE: value}).compiled
    assert choose(stand_in, **{NO: value, REQUIRE: "1"}).compiled
    assert not choose(stand_in, **{NO: "1", REQUIRE: value}).compiled


def test_no_extensions_imports_nothing_compiled(stand_in: Path) -> None:
    assert choose(stand_in, **{NO: "1"}) == Choice(False, [], "AIOREST_WS_NO_EXTENSIONS is set")


def test_both_switches_are_an_import_error(stand_in: Path) -> None:
    done = python("import hot", stand_in, **{NO: "1", REQUIRE: "1"})
    assert done.returncode == 1
    assert f"ImportError: {NO} and {REQUIRE} are both set: unset one of them" in done.stderr


@pytest.mark.parametrize("module", _speedups.MODULES)
def test_one_missing_module_makes_all_of_them_pure(stand_in: Path, module: str) -> None:
    (stand_in / "hot" / f"{module}_c.py").unlink()
    choice = choose(stand_in)
    assert not choice.compiled
    assert choice.reason == f"{module}_c is missing"


@pytest.mark.parametrize("fault", ["ImportError('undefined symbol')", "ValueError('size changed')"])
def test_one_broken_module_makes_all_of_them_pure(stand_in: Path, fault: str) -> None:
    (stand_in / "hot" / "trie_c.py").write_text(f"raise {fault}", "utf-8")
    choice = choose(stand_in)
    assert not choice.compiled
    assert choice.reason == "trie_c: " + fault.replace("('", ": ").replace("')", "")


def test_a_compiled_module_that_misses_its_dependency_is_broken_not_missing(stand_in: Path) -> None:
    (stand_in / "hot" / "codec_c.py").write_text("import no_such_library", "utf-8")
    assert choose(stand_in).reason == "codec_c: ModuleNotFoundError: No module named 'no_such_library'"


def test_an_installation_without_compiled_modules_says_so(stand_in: Path) -> None:
    for module in _speedups.MODULES:
        (stand_in / "hot" / f"{module}_c.py").unlink()
    assert choose(stand_in).reason == f"no compiled modules in this installation: {_speedups.CURE}"
    assert "pip install" in _speedups.CURE


@pytest.mark.parametrize("fault", ["missing", "broken"])
def test_require_extensions_raises_and_names_the_module(stand_in: Path, fault: str) -> None:
    extension = stand_in / "hot" / "wrappers_c.py"
    extension.write_text("raise ImportError('undefined symbol')", "utf-8")
    if fault == "missing":
        extension.unlink()
    done = python("import hot", stand_in, **{REQUIRE: "1"})
    assert done.returncode == 1
    assert f"ImportError: {REQUIRE} is set, but: " in done.stderr
    assert "wrappers_c" in done.stderr.splitlines()[-1]


def test_importing_a_pure_module_does_not_change_the_choice(stand_in: Path) -> None:
    pure_first = "; ".join(f"import hot.{module}" for module in _speedups.MODULES)
    assert choose(stand_in, first=pure_first).compiled


def test_the_extension_is_there_when_it_is_expected() -> None:
    """The guard: a run that should have tested the compiled path must not pass on the pure one."""
    built = [path.name for path in FACADE.parent.iterdir() if path.name.endswith(tuple(EXTENSION_SUFFIXES))]
    forbidden = os.environ.get(NO, "") not in ("", "0")
    required = os.environ.get(REQUIRE, "") not in ("", "0")
    assert _speedups.COMPILED is not bool(_speedups.REASON)
    assert aiorest_ws.COMPILED is _speedups.COMPILED
    if forbidden:
        assert not _speedups.COMPILED
    elif required or built:
        assert _speedups.COMPILED, f"pure Python ({_speedups.REASON}) although {built} were built"


def test_facade_takes_the_same_names_from_both_implementations() -> None:
    assert {f"{module}_c": names for module, names in PURE.items()} == COMPILED
    assert set(PURE) <= set(_speedups.MODULES)
    exported = [name for table in (SHARED, PURE) for names in table.values() for name in names]
    assert sorted([*exported, "COMPILED", "REASON"]) == sorted(_speedups.__all__)


def test_facade_takes_only_public_names() -> None:
    for module, names in (SHARED | PURE | (COMPILED if _speedups.COMPILED else {})).items():
        assert set(names) <= set(import_module(f"aiorest_ws._speedups.{module}").__all__)


@pytest.mark.compiled
@pytest.mark.parametrize("module", _speedups.MODULES)
def test_compiled_modules_are_extensions_with_compiled_neighbours(module: str) -> None:
    compiled = import_module(f"aiorest_ws._speedups.{module}_c")
    assert str(compiled.__file__).endswith(tuple(EXTENSION_SUFFIXES))
    pure = {f"aiorest_ws._speedups.{noun}" for noun in _speedups.MODULES}
    from_pure = [
        (name, value, import_module(f"{value.__module__}_c"))
        for name, value in vars(compiled).items()
        if getattr(value, "__module__", None) in pure
    ]
    # What both implementations share is no stranger.
    assert [name for name, value, neighbour in from_pure if getattr(neighbour, name, value) is not value] == []


def test_the_package_itself_obeys_no_extensions(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path[:0] = {[str(FACADE.parent.parent.parent)]!r}
import aiorest_ws
assert aiorest_ws.COMPILED is False
print([name for name in sys.modules if name.startswith("aiorest_ws.") and name.endswith("_c")])
"""
    done = python(code, tmp_path, **{NO: "1"})
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
