"""What a newcomer meets: one line for what is missing, and installing commands that give this version."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

from tests.kit.pages import ROOT


@pytest.fixture(scope="module")
def compiler() -> ModuleType:
    """Give `.ci/compiler.py` as a module."""
    spec = importlib.util.spec_from_file_location("compiler", ROOT / ".ci" / "compiler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def script(path: Path, lines: str) -> str:
    path.write_text(f"#!/bin/sh\n{lines}\n", "utf-8")
    path.chmod(0o755)
    return str(path)


# CI, on Linux, has both.
@pytest.mark.skipif(os.name == "nt", reason="A shell for make and .ci/compiler.py is missing on Windows.")
class TestWhatIsMissing:
    HEADERS = Path(sysconfig.get_path("include"))

    def test_nothing_is_said_of_what_compiles(self, compiler: ModuleType, tmp_path: Path) -> None:
        (tmp_path / "Python.h").touch()
        assert compiler.missing(script(tmp_path / "cc", "exit 0"), tmp_path) == ""

    def test_compiler(self, compiler: ModuleType, tmp_path: Path) -> None:
        said = compiler.missing(f"{tmp_path}/gcc -pthread", self.HEADERS)
        assert said.startswith(
            f"no C compiler, {tmp_path}/gcc is not there (Debian, Ubuntu: apt-get install gcc python3-dev;"
        )

    def test_headers(self, compiler: ModuleType, tmp_path: Path) -> None:
        said = compiler.missing(script(tmp_path / "cc", "exit 0"), tmp_path)
        assert said.startswith(
            f"no headers of Python, {tmp_path}/Python.h is not there (Debian, Ubuntu: apt-get install"
        )

    def test_libraries_of_the_compiler(self, compiler: ModuleType, tmp_path: Path) -> None:
        (tmp_path / "Python.h").touch()
        cause = "/usr/include/python3.11/Python.h:23:12: fatal error: stdlib.h: No such file or directory"
        said = compiler.missing(script(tmp_path / "cc", f"echo 'In file:' >&2; echo '{cause}' >&2; exit 1"), tmp_path)
        assert said.startswith(f"the C compiler cannot compile: {cause} (Debian, Ubuntu: apt-get install libc6-dev")

    def test_one_line_names_what_needs_no_compiler(self) -> None:
        command = [sys.executable, ".ci/compiler.py"]
        environment = os.environ | {"CC": "/nowhere/gcc"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(r"no C compiler, .*; make test-pure and make demo need none\n", done.stderr)

    def test_make_asks_before_it_builds(self) -> None:
        done = subprocess.run(
            ["make", "-n", "-B", "test-compiled"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.index(".ci/compiler.py") < done.stdout.index("'pip >= ")  # the first that is installed


# `pip install aiorest-ws` is 1.1.1 of 2017, which has no extras, and pip says so in a mere warning.

SUFFIXES = {".py", ".pyx", ".md", ".html", ""}
READ = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "setup.py", "Makefile")),
    *(path for folder in ("aiorest_ws", "docs", "examples") for path in (ROOT / folder).rglob("*")),
]


def lines_that_install() -> list[tuple[str, str]]:
    texts = [
        (path, path.read_text("utf-8"))
        for path in READ
        if path.suffix in {".py", ".pyx", ".md", ".html", ""} and path.is_file()
    ]
    return [
        (str(path.relative_to(ROOT)), line.strip())
        for path, text in texts
        for line in text.splitlines()
        if re.search(r"pip3? install|aiorest-ws\[", line) and "aiorest-ws" in line
    ]


@pytest.mark.parametrize(("where", "line"), lines_that_install())
def test_what_is_installed_by_name_is_this_version(where: str, line: str) -> None:
    named = re.findall(r"(?<![\w/.-])aiorest-ws(?![\w/-])(\[[\w,]+\])?(>=2)?", line)
    assert all(version == ">=2" for _, version in named), f"{where}: pip would install 1.1.1: {line}"


def test_there_are_lines_that_install() -> None:
    assert len(lines_that_install()) > 8
