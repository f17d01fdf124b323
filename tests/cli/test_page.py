"""docs/reference/command-line.md: what its blocks of `console` show is what the commands print.

`…` stands for what differs from place to place, `; echo $?` asks for the exit code.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from typing import Any

import pytest

from tests.kit.cli import Cli
from tests.kit.pages import ROOT, blocks
from tests.serving import asynchronous

PAGE = (ROOT / "docs" / "reference" / "command-line.md").read_text("utf-8")


def shown() -> list[tuple[str, str]]:
    """Give each command, with the text beneath it."""
    found = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(blocks("console", PAGE)), re.MULTILINE)
    assert len(found) > 8
    return found


async def said(cli: Cli, line: str) -> str:
    """Give what a terminal shows of a command, which its output goes to without being one."""
    command, _, echo = line.partition("; ")
    name, *argv = shlex.split(command)
    assert (name, echo) in (("aiorest-ws", ""), ("aiorest-ws", "echo $?"))
    outcome = await asyncio.to_thread(cli, *argv)
    return f"{outcome.out}{outcome.err}{f'{outcome.code}' + chr(10) if echo else ''}"


@asynchronous
async def test_commands_of_the_page_print_what_it_shows(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = blocks("python", PAGE)
    cli.write(program, "main")
    namespace: dict[str, Any] = {"__name__": "docs"}
    exec(compile(program, "command-line.md", "exec", dont_inherit=True), namespace)
    app = namespace["app"]
    await app.start(port=0)
    try:
        monkeypatch.setenv("AIOREST_WS_SERVER", f"ws://127.0.0.1:{app.addresses[0][1]}")
        for command, text in shown():
            like = re.escape(text).replace("…", ".*")
            assert re.fullmatch(like, await said(cli, command)), command
    finally:
        await app.stop()


def test_the_page_names_all_commands_and_exit_codes() -> None:
    from aiorest_ws.cli.commands import COMMANDS

    titles = re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)
    assert [title for title in titles if title.islower()] == list(COMMANDS)
