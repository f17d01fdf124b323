"""What is released names one version, as `make release-check` asks, too, and no test of it is left out everywhere."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import aiorest_ws
from tests.kit.pages import ROOT

MARK = re.compile(r"^(?:pytestmark = |@)pytest\.mark\.(browser|packaging|proxies)$", re.MULTILINE)
MARKED = sorted(
    (mark, path.relative_to(ROOT).as_posix())
    for path in (ROOT / "tests").rglob("test_*.py")
    for mark in MARK.findall(path.read_text("utf-8"))
)


def check(folder: Path) -> int:
    """Ask the program of the release about what stands in `folder`."""
    (folder / ".ci").mkdir()
    (folder / ".ci/versions.py").write_text((ROOT / ".ci/versions.py").read_text("utf-8"), "utf-8")
    verdict: int = runpy.run_path(str(folder / ".ci/versions.py"))["main"]()
    return verdict


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("aiorest_ws", "clients/typescript", "dist"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "aiorest_ws/__init__.py").write_text('__version__ = "2.1.0"\n', "utf-8")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 2.1.0\n\n## 2.0.0\n", "utf-8")
    (tmp_path / "clients/typescript/package.json").write_text('{"version": "2.1.0"}', "utf-8")
    (tmp_path / "dist/aiorest_ws-2.1.0-cp311-cp311-linux_x86_64.whl").touch()
    (tmp_path / "dist/aiorest_ws-2.1.0.tar.gz").touch()
    return tmp_path


def test_this_tree_names_one_version(capsys: pytest.CaptureFixture[str]) -> None:
    versions = runpy.run_path(str(ROOT / ".ci/versions.py"))["named"]()
    named = {where: version for where, version in versions.items() if not where.startswith("dist/")}
    assert set(named.values()) == {aiorest_ws.__version__}, named


def test_equal_versions_pass(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(folder) == 0
    assert capsys.readouterr().out.startswith("ok: version 2.1.0 in aiorest_ws/__init__.py, CHANGELOG.md, ")


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("CHANGELOG.md", "# Changelog\n\n## 2.0.0\n"),
        ("CHANGELOG.md", "# Changelog\n"),
        ("clients/typescript/package.json", '{"version": "2.0.9"}'),
        ("dist/aiorest_ws-2.0.0.tar.gz", ""),
    ],
)
def test_one_that_differs_is_named(where: str, text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / where).write_text(text, "utf-8")
    assert check(folder) == 1
    assert f"  {where}: " in capsys.readouterr().out


@pytest.mark.parametrize(("mark", "path"), MARKED)
def test_what_is_left_out_of_the_other_runs_is_in_one_of_its_own(mark: str, path: str) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    (files,) = re.findall(rf"-m pytest -q -m {mark} (.*)", makefile)
    assert path in files.split()


def test_there_are_tests_that_are_left_out() -> None:
    assert {mark for mark, _ in MARKED} == {"browser", "packaging", "proxies"}
