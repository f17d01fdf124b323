"""What is shipped: wheel and sdist with a compiler, without one, and with each switch; each installed and asked.

Slow, and needs PyPI: `make test-packaging`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiorest_ws import _speedups
from tests.kit.commands import NO, REQUIRE, run, succeed
from tests.kit.pages import ROOT

pytestmark = pytest.mark.packaging
# CI, on Linux, has one.
needs_compiler_on_path = pytest.mark.skipif(
    os.name == "nt", reason="A compiler that is found through PATH is missing on Windows: nothing takes MSVC away."
)

SMOKE = "import aiorest_ws; print(aiorest_ws.COMPILED, aiorest_ws.__version__); print(aiorest_ws.__file__)"
IMPORT_ALL = """
import importlib, os, pkgutil, aiorest_ws
pure = "AIOREST_WS_NO_EXTENSIONS" in os.environ
names = ["aiorest_ws", *(module.name for module in pkgutil.walk_packages(aiorest_ws.__path__, "aiorest_ws."))]
for name in names:
    if not (pure and name.endswith("_c")):
        print(importlib.import_module(name).__name__)
"""
# What could be missing or different in a wheel, and not in the checkout whose suite has passed: what is imported, which
# path, what stands on data and entry points of the package (pytest's plugin, the command line), on each extra (typed
# and msgpack: msgspec; jwt; metrics; uvloop; compress; cli), and some examples and pages as users run them.
SEEN = [
    f"tests/{name}"
    for name in (
        "test_imports.py",
        "_speedups/test_speedups.py",
        "test_gone.py",
        "test_exceptions.py",
        "testing/test_testing.py",
        "test_command_line.py",
        "handlers/test_parameters.py",
        "_speedups/test_msgpack.py",
        "auth/test_jwks.py",
        "test_metrics.py",
        "connection/test_compression.py",
        "test_app.py",
        "cli/test_call.py",
        "test_examples.py::test_example_client_gets_its_replies[hello]",
        "test_examples.py::test_example_client_gets_its_replies[chat]",
        "test_todo_api.py",
        "test_docs.py::test_code_of_the_page_runs_and_answers_as_shown",
        "test_docs.py::test_client_of_the_tutorial_prints_the_replies",
    )
]
# In the pure path of the same wheel: what asks which path there is. All else of SEEN is the same files.
SEEN_PURE = [
    f"tests/{name}.py"
    for name in ("test_imports", "_speedups/test_speedups", "testing/test_testing", "test_command_line", "test_app")
]
ROW = re.compile(r'^    "(\w+_c)": \(', re.MULTILINE)  # of the table of setup.py
WARNING = "the compiled hot path was NOT built"
# Of what is built here it is asked whether it is there and does the same: it need not be fast.
QUICKLY = {"CFLAGS": "-O0 -g0"}


class Environment:
    """A clean virtual environment that holds nothing of the checkout."""

    def __init__(self, where: Path) -> None:
        self.where = where
        venv.create(where)  # without pip: that of this Python works in it, and need not be unpacked
        self.python = where / ("Scripts" if os.name == "nt" else "bin") / "python"

    def pip(self, *arguments: str | Path, path: str | None = None, **switches: str) -> str:
        pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check"]
        return succeed(*pip, *arguments, cwd=self.where, path=path, **switches)

    def smoke(self, **switches: str) -> str:
        """Import the package far away from the checkout; give "COMPILED version"."""
        state, file = succeed(self.python, "-W", "error", "-c", SMOKE, cwd=self.where, **switches).splitlines()
        assert Path(file).is_relative_to(self.where)
        return state


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what git tracks or would track: a checkout as a user gets it, nothing built in it."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    assert listed.returncode == 0, listed.stdout
    copy = tmp_path_factory.mktemp("source") / "aiorest-ws"
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    built = [path.name for kind in ("*.so", "*.pyd", "aiorest_ws/**/*.c") for path in copy.glob(f"**/{kind}")]
    assert not built, "git would track build products"
    return copy


@pytest.fixture(scope="session")
def dist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with the sdist, and the wheel that is built from it, as `make wheel` makes them: isolated."""
    out = tmp_path_factory.mktemp("dist")
    succeed(sys.executable, "-m", "build", "-q", "--outdir", out, source, cwd=out, **{REQUIRE: "1"}, **QUICKLY)
    return out


@pytest.fixture(scope="session")
def sdist(dist: Path) -> Path:
    (archive,) = dist.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="session")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the sdist, to look at and to copy; nothing is built in it."""
    where = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(where, filter="data")
    (top,) = where.iterdir()
    return top


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    (archive,) = dist.glob("*.whl")
    return archive


@pytest.fixture(scope="session")
def pure_wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pure")
    command = (sys.executable, "-m", "build", "-q", "--no-isolation", "--wheel", "--outdir", out, source)
    succeed(*command, cwd=out, **{NO: "1"})
    (archive,) = out.iterdir()
    return archive


@pytest.fixture(scope="module")
def clean(pure_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Give an environment where a wheel brought what it depends on: the next one comes in its place, by itself."""
    environment = Environment(tmp_path_factory.mktemp("clean"))
    environment.pip("install", "-q", pure_wheel)
    return environment


REPLACE = ("install", "--force-reinstall", "--no-deps")


@pytest.fixture
def no_compiler(tmp_path: Path) -> str:
    """Give a PATH with everything but compilers, linkers and whatever could stand in for them."""
    path = tmp_path / "path"
    path.mkdir()
    compilers = ("cc", "gcc", "g++", "c++", "c89", "c99", "clang", "tcc", "cpp", "ld", "as", "x86_64-linux-gnu-")
    for directory in reversed(os.environ["PATH"].split(os.pathsep)):
        for tool in Path(directory).glob("*") if directory else ():
            if not tool.name.startswith(compilers):
                link = path / tool.name
                link.unlink(missing_ok=True)
                link.symlink_to(tool)
    assert shutil.which("gcc", path=str(path)) is None
    assert shutil.which("cc", path=str(path)) is None
    return str(path)


def contents(archive: Path) -> set[str]:
    with zipfile.ZipFile(archive) as opened:
        return set(opened.namelist())


def shipped_modules(source: Path) -> set[str]:
    return {path.relative_to(source).as_posix() for path in (source / "aiorest_ws").rglob("*.py")}


def pages(source: Path) -> set[str]:
    """Give the files of the console's pages."""
    found = {path.relative_to(source).as_posix() for path in (source / "aiorest_ws" / "console" / "static").iterdir()}
    assert len(found) >= 5
    return found


def table(source: Path) -> set[str]:
    """Read the names of the compiled modules from setup.py."""
    return set(ROW.findall((source / "setup.py").read_text("utf-8")))


def keep_of_table(source: Path, names: set[str]) -> None:
    """Let setup.py build these modules, and no others."""
    setup = source / "setup.py"
    lines = setup.read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if (row := ROW.match(line)) is None or row[1] in names]
    setup.write_text("".join(kept), "utf-8")
    assert table(source) == names


def compiled_modules(archive: Path) -> set[str]:
    return {name.split("/")[-1].split(".")[0] for name in contents(archive) if name.endswith((".so", ".pyd"))}


def test_wheel_holds_python_extensions_and_py_typed_and_no_c(wheel: Path, source: Path) -> None:
    assert not wheel.name.endswith("-none-any.whl")
    held = contents(wheel)
    assert shipped_modules(source) | {"aiorest_ws/py.typed"} | pages(source) <= held
    assert compiled_modules(wheel) == table(source) == {f"{module}_c" for module in _speedups.MODULES}
    package = {name for name in held if ".dist-info/" not in name}
    assert {Path(name).suffix for name in package - pages(source)} <= {".py", ".so", ".pyd", ".pyi", ".typed"}
    assert {name for name in package if not name.startswith("aiorest_ws/")} == {
        "aiorest_ws_cli.py",
        "pytest_aiorest_ws.py",
    }
    assert any(name.endswith("licenses/LICENSE") for name in held)


def test_sdist_holds_sources_and_nothing_generated(unpacked: Path, source: Path) -> None:
    held = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    wanted = {
        path.relative_to(source).as_posix()
        for directory in ("aiorest_ws", "tests", "bench", "conformance", "examples", "fuzz", "hold", "soak", "clients")
        for path in (source / directory).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted | {"pyproject.toml", "setup.py", "Makefile", "LICENSE", "README.md"} <= held
    generated = (".c", ".so", ".pyd", ".pyc", ".o")
    sources = {name for name in wanted if name.startswith("bench/peers/") and name.endswith(".c")}
    assert {name for name in held if name.endswith(generated)} == sources


def test_wheel_in_a_clean_environment_is_compiled(wheel: Path, clean: Environment) -> None:
    clean.pip(*REPLACE, "-q", wheel)
    assert clean.smoke(**{REQUIRE: "1"}).startswith("True ")
    assert clean.smoke().startswith("True ")
    assert clean.smoke(**{NO: "1"}).startswith("False ")


def test_pure_wheel_fits_every_python(pure_wheel: Path, source: Path, clean: Environment) -> None:
    assert pure_wheel.name.endswith("-py3-none-any.whl")
    assert compiled_modules(pure_wheel) == set()
    assert shipped_modules(source) | {"aiorest_ws/py.typed"} <= contents(pure_wheel)
    clean.pip(*REPLACE, "-q", pure_wheel)
    assert clean.smoke().startswith("False ")
    done = run(clean.python, "-c", "import aiorest_ws", cwd=clean.where, **{REQUIRE: "1"})
    assert done.returncode == 1
    assert "no compiled modules in this installation" in done.stdout


@needs_compiler_on_path
def test_install_without_a_compiler_is_pure_and_says_so(
    unpacked: Path, clean: Environment, no_compiler: str, tmp_path: Path
) -> None:
    source = shutil.copytree(unpacked, tmp_path / "source")
    log = clean.pip(*REPLACE, "-v", source, path=no_compiler)
    assert log.count(WARNING) == 1, log
    assert "Cause: CompileError: " in log
    assert "Cure:  install a C compiler" in log
    assert "-py3-none-any.whl" in log
    assert clean.smoke().startswith("False ")


@needs_compiler_on_path
def test_require_extensions_without_a_compiler_fails_the_build(
    unpacked: Path, no_compiler: str, tmp_path: Path
) -> None:
    source = shutil.copytree(unpacked, tmp_path / "source")
    command = (sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path / "out", source)
    done = run(*command, cwd=tmp_path, path=no_compiler, **{REQUIRE: "1"})
    assert done.returncode != 0
    assert f"{REQUIRE} is set and the extensions cannot be built: CompileError: " in done.stdout
    assert not list((tmp_path / "out").glob("*.whl"))


def test_one_module_that_cannot_be_built_ships_none(unpacked: Path, tmp_path: Path) -> None:
    """setuptools' own `optional` would ship the others."""
    source = shutil.copytree(unpacked, tmp_path / "source")
    keep_of_table(source, {"trie_c", "meter_c", "proof_c"})  # all of them would take half a minute
    with (source / "aiorest_ws" / "_speedups" / "trie_c.pyx").open("a", encoding="utf-8") as trie:
        trie.write('\ncdef extern from "no_such_header.h":\n    pass\n')
    out = tmp_path / "out"
    command = (sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", out, source)
    log = succeed(*command, cwd=tmp_path, **QUICKLY)
    assert log.count(WARNING) == 1, log
    assert "no_such_header.h" in log
    (archive,) = out.iterdir()
    assert compiled_modules(archive) == set()
    assert archive.name.endswith("-py3-none-any.whl")


def test_both_switches_fail_the_build(unpacked: Path, tmp_path: Path) -> None:
    command = (sys.executable, "setup.py", "--version")
    done = run(*command, cwd=unpacked, **{NO: "1", REQUIRE: "1"})
    assert done.returncode != 0
    assert done.stdout.strip() == f"{NO} and {REQUIRE} are both set: unset one of them"


def test_empty_and_zero_leave_the_build_switches_off(unpacked: Path) -> None:
    version = succeed(sys.executable, "setup.py", "--version", cwd=unpacked, **{NO: "0", REQUIRE: ""})
    assert version.splitlines()[-1].count(".") == 2


@pytest.fixture(scope="module")
def user(wheel: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Give an environment with the wheel, beside it `suite`, which has no package.

    What the tests need is that of this Python, after the environment's own: as a plain folder, where the `.pth` file
    that leads to the checkout is not read.
    """
    where = tmp_path_factory.mktemp("user")
    environment, suite = Environment(where / "environment"), where / "suite"
    suite.mkdir()
    for name in ("tests", "examples", "bench", "fuzz", "docs", "pyproject.toml"):
        copy: Callable[[Path, Path], Any] = shutil.copytree if (source / name).is_dir() else shutil.copy2
        copy(source / name, suite / name)
    environment.pip("install", "-q", "--no-deps", wheel)
    site = succeed(environment.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=where)
    Path(site.strip(), "tools.pth").write_text(f"{sysconfig.get_path('purelib')}\n", "utf-8")
    return environment


@pytest.mark.parametrize(("switch", "compiled"), [(REQUIRE, True), (NO, False)])
def test_every_module_of_the_wheel_can_be_imported(
    switch: str, compiled: bool, user: Environment, source: Path
) -> None:
    imported = set(succeed(user.python, "-W", "error", "-c", IMPORT_ALL, cwd=user.where, **{switch: "1"}).split())
    hot = {f"aiorest_ws._speedups.{name}" for name in table(source)}
    wanted = {name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in shipped_modules(source)}
    assert imported == (wanted | hot if compiled else wanted)


@pytest.mark.parametrize("switch", [REQUIRE, NO])
def test_the_command_of_the_wheel_is_there(switch: str, user: Environment) -> None:
    command = user.python.parent / ("aiorest-ws.exe" if os.name == "nt" else "aiorest-ws")
    for argv in ([command], [user.python, "-m", "aiorest_ws"]):
        assert "aiorest-ws run main:app" in succeed(*argv, "--help", cwd=user.where, **{switch: "1"})
        version = succeed(*argv, "--version", cwd=user.where, **{switch: "1"})
        path = "compiled" if switch == REQUIRE else "pure Python"
        assert re.match(rf"aiorest-ws \d+\.\d+\.\d+ \({path}, ", version)


@pytest.mark.parametrize(("switch", "seen"), [(REQUIRE, SEEN), (NO, SEEN_PURE)])
def test_installed_wheel_does_what_users_see(switch: str, seen: list[str], user: Environment) -> None:
    command: list[str | Path] = [user.python, "-m", "pytest", "-p", "no:cacheprovider", "--each-once", *seen]
    said = succeed(*command, cwd=user.where.parent / "suite", **{switch: "1"})
    assert f"from {user.where}" in said  # pytest's header says from where the package is
    assert " passed" in said
