"""What the blocks of `console` in docs/ show is what the commands print.

`…` stands for what differs from place to place, `; echo $?` asks for the exit code.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from typing import Any

import pytest

from tests.kit.cli import Cli
from tests.kit.pages import ROOT
from tests.serving import asynchronous

DOCS = ROOT / "docs"
PAGE = (DOCS / "reference" / "command-line.md").read_text("utf-8")
PAGES = ["reference/command-line.md", "tutorial/half-an-hour.md"]


def stories(page: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Give each program of a page, with the commands that follow it, and the text beneath each of these."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for language, block in re.findall(r"^```(python|console)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if language == "console":
            found[-1][1].extend(re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE))
        else:
            found.append((block, []))
    return [story for story in found if story[1]]


async def said(cli: Cli, line: str) -> str:
    """Give what a terminal shows of a command, which its output goes to without being one."""
    command, _, echo = line.partition("; ")
    name, *argv = shlex.split(command)
    assert (name, echo) in (("aiorest-ws", ""), ("aiorest-ws", "echo $?"))
    outcome = await asyncio.to_thread(cli, *argv)
    return f"{outcome.out}{outcome.err}{f'{outcome.code}' + chr(10) if echo else ''}"


@pytest.mark.parametrize("page", PAGES)
@asynchronous
async def test_commands_of_the_page_print_what_it_shows(cli: Cli, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    told = stories((DOCS / page).read_text("utf-8"))
    assert sum(len(commands) for _, commands in told) > 7
    for program, commands in told:
        cli.write(program, "main")
        namespace: dict[str, Any] = {"__name__": "docs"}
        exec(compile(program, page, "exec", dont_inherit=True), namespace)
        app = namespace["app"]
        await app.start(port=0)
        try:
            monkeypatch.setenv("AIOREST_WS_SERVER", f"ws://127.0.0.1:{app.addresses[0][1]}")
            for command, text in commands:
                like = re.escape(text).replace("…", ".*")
                assert re.fullmatch(like, await said(cli, command)), command
        finally:
            await app.stop()


def test_the_page_names_all_commands_and_exit_codes() -> None:
    from aiorest_ws.cli.commands import COMMANDS

    titles = re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)
    assert [title for title in titles if title.islower()] == list(COMMANDS)
