"""The first thing of all: help, version, which command; and what that takes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

import aiorest_ws
from aiorest_ws.cli.commands import COMMANDS, whole
from aiorest_ws.cli.parser import Parser
from aiorest_ws_cli import HELP, main
from tests.kit.cli import Cli
from tests.serving import asynchronous, run_program


@asynchronous
async def test_help_imports_nothing_at_all() -> None:
    source = """
import sys
before = set(sys.modules)
from aiorest_ws_cli import main
code = main(["--help"])
imported = sorted(set(sys.modules) - before)
import json
print(json.dumps([code, imported]))
"""
    outcome = await run_program(source)
    assert (outcome.code, outcome.err) == (0, "")
    *told, last = outcome.out.splitlines(keepends=True)
    assert "".join(told) == HELP
    assert json.loads(last) == [0, ["aiorest_ws_cli"]]


def test_help_is_that_of_the_commands(cli: Cli) -> None:
    for argv in (["-h"], ["--help"], ["help"]):
        assert cli(*argv) == (0, HELP, "")
    for name in COMMANDS:
        title = (import_module(f"aiorest_ws.cli.{name}").__doc__ or "").partition("\n")[0]
        assert f"\n  {name:<11}{title}" in HELP
    assert all(len(line) <= 80 for line in HELP.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_examples_that_it_takes(name: str, cli: Cli) -> None:
    said = cli(name, "--help")
    assert (said.code, said.err) == (0, "")
    assert said.out == cli("help", name).out
    examples = [line.strip() for line in said.out.partition("examples:\n")[2].splitlines() if "export" not in line]
    assert examples
    parser = Parser(prog=f"aiorest-ws {name}")
    import_module(f"aiorest_ws.cli.{name}").fill(parser)
    for line in examples:
        program, command, *argv = shlex.split(line.partition(" | ")[0].partition(" > ")[0])
        assert (program, command) == ("aiorest-ws", name)
        parser.parse(argv)  # raises for what it does not take


def test_the_version_tells_what_runs(cli: Cli) -> None:
    said = cli("--version")
    assert (said.code, said.err) == (0, "")
    path = "compiled" if aiorest_ws.COMPILED else "pure Python"
    assert said.out.startswith(f"aiorest-ws {aiorest_ws.__version__} ({path}, ")
    assert cli("-V") == said


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ([], "which command? One of run, routes, schema, call, subscribe, token: see aiorest-ws --help"),
        (["rnu"], "unknown command 'rnu', did you mean run?"),
        (["serve"], "unknown command 'serve', did you mean run?"),
        (["GET", "/hello"], "unknown command 'GET', did you mean call GET?"),
        (["openapi"], "unknown command 'openapi', did you mean schema?"),
        (["quite", "else"], "unknown command 'quite', expected one of run, routes, schema, call, subscribe, token"),
        (["run", "a:b", "-p", "80"], "run: unknown option -p, did you mean --port?"),
        (["run", "a:b", "-b", "::"], "run: unknown option -b, did you mean --host?"),
        (["run", "a:b", "--ssl-keyfile", "k"], "run: unknown option --ssl-keyfile, did you mean --key?"),
        (["run", "a:b", "-d", "{}"], "run: unknown option -d, see aiorest-ws run --help"),
        (["call", "GET", "/", "-d", "{}"], "call: unknown option -d, did you mean --data?"),
        (["call", "GET", "/", "--port", "1"], "call: --port: it is in the url of the server, --server ws://host:port"),
        (["call", "/hello"], "call: METHOD: expected one such as GET, got '/hello', did you mean GET /hello?"),
        (["--versoin"], "unknown option '--versoin', expected one of run, routes, schema, call, subscribe, token"),
        (["run"], "run: the following arguments are required: MODULE:ATTRIBUTE"),
        (["call", "GET"], "call: the following arguments are required: URL"),
        (["token", "--sbject", "ada"], "token: unknown option --sbject, did you mean --subject?"),
        (["token", "--sub", "ada"], "token: unknown option --sub, see aiorest-ws token --help"),
        (["routes", "a:b", "c"], "routes: one too many: 'c'"),
    ],
)
def test_wrong_usage_is_one_line(argv: list[str], line: str, cli: Cli) -> None:
    assert cli(*argv) == (2, "", f"aiorest-ws: {line}\n")


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(argv: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("aiorest_ws.cli.commands.run", interrupted)
    assert main(["call", "GET", "/"]) == 130


def test_completions_know_commands_and_flags() -> None:
    import shtab

    for shell in ("bash", "zsh"):
        script = shtab.complete(whole(), shell)
        for word in (*COMMANDS, "--max-connections", "--no-compress", "--reload-dir", "--subject"):
            assert word in script, (shell, word)


ASK = """
source "$1"
complete_it() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    "$(complete -p aiorest-ws | sed 's/.*-F \\([^ ]*\\).*/\\1/')"
    echo "${COMPREPLY[@]}"
}
complete_it aiorest-ws r
complete_it aiorest-ws run --max-conn
complete_it aiorest-ws call --to
"""


# CI, on Linux, has it. That of Windows may be one of WSL, to which paths of Windows say nothing.
@pytest.mark.skipif(
    os.name == "nt" or shutil.which("bash") is None, reason="A bash that takes the paths of this system is missing."
)
def test_bash_completes(tmp_path: Path) -> None:
    import shtab

    script = tmp_path / "completion"
    script.write_text(shtab.complete(whole(), "bash"), "utf-8")
    done = subprocess.run(["bash", "-c", ASK, "-", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["run routes", "--max-connections --max-connections-per-address", "--token"]
