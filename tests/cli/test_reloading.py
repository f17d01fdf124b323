"""`run --reload`: which command line its servers have. What it does is in test_processes.py."""

from __future__ import annotations

import os
import sys

import pytest

from aiorest_ws.cli.reloading import command_again
from tests.kit.cli import Cli

ENDS = ["--reloaded-by", str(os.getpid()), "--workers", "1"]


@pytest.mark.parametrize(
    ("before", "argv0"),
    [
        (["python", "/venv/bin/aiorest-ws"], "/venv/bin/aiorest-ws"),
        (["python", "-X", "dev", "-m", "aiorest_ws"], "/site/aiorest_ws/__main__.py"),
        (["python", "-W", "error", "serve.py"], "serve.py"),
    ],
)
@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (["run", "--reload", "main:app"], ["run", "main:app"]),
        (["run", "main:app", "--reload", "--reload-dir", "src", "--port", "1"], ["run", "main:app", "--port", "1"]),
        (["run", "main:app", "--reload-dir=a b", "--reload-dir", "--x", "--reload"], ["run", "main:app"]),
    ],
)
def test_the_same_interpreter_and_command_without_what_reloads(
    before: list[str], argv0: str, typed: list[str], kept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", [*before, *typed])
    monkeypatch.setattr(sys, "argv", [argv0, *typed])
    assert command_again() == [sys.executable, *before[1:], *kept, *ENDS]


def test_what_it_watches_has_to_be_there(cli: Cli) -> None:
    for argv in (["--reload-dir", "nowhere"], ["--reload-dir", ".", "--reload-dir", "nowhere"]):
        said = cli("run", "main:app", "--reload", *argv)
        assert said == (2, "", "aiorest-ws: run: --reload-dir: no directory 'nowhere'\n")


def test_without_watchfiles_it_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    line = "aiorest-ws: run: --reload needs watchfiles: pip install 'aiorest-ws[reload]>=2'\n"
    assert cli("run", "main:app", "--reload") == (1, "", line)
