"""docs/deploy/ and the files that it shows: what can be checked of them where nothing of theirs is installed.

tests/test_deployed.py runs those that can be run.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from aiorest_ws.cli.commands import COMMANDS, whole
from aiorest_ws.conf.environment import parsed
from aiorest_ws.conf.options import TABLE, checked
from aiorest_ws.limits import Limits
from aiorest_ws.testing import AsyncTestClient
from tests.kit.pages import ROOT, blocks
from tests.kit.proxies import DEPLOY
from tests.kit.units import values_of
from tests.serving import asynchronous, factory_of, serving

DOCS = ROOT / "docs"
PAGES = sorted((DOCS / "deploy").glob("*.md"))
FILES = sorted(path for path in DEPLOY.iterdir() if path.is_file())
NOT_SHOWN = {"Dockerfile.dockerignore", "main.py"}  # the page leads to it; stands there, where it is run
OF_THE_COMMAND_LINE = {"SERVER", "TOKEN", "SECRET"}
SWITCHES = {"NO_EXTENSIONS", "REQUIRE_EXTENSIONS"}
LIMITS = Limits()
_END = set("();<>|&")


def text_of(path: Path) -> str:
    return path.read_text("utf-8")


# What is shown


def test_pages_show_the_files_as_they_are() -> None:
    shown = [name for page in PAGES for name in re.findall(r'^--8<-- "(.*)"$', text_of(page), re.MULTILINE)]
    assert sorted(shown) == sorted(f"examples/deploy/{path.name}" for path in FILES if path.name not in NOT_SHOWN)
    assert blocks("python", text_of(DOCS / "deploy" / "index.md")) == [text_of(DEPLOY / "main.py")]


# Commands


def commands() -> Iterator[tuple[str, list[str]]]:
    """Give where there is an `aiorest-ws …`, and its words, in each shell block of the docs, and in the files."""
    for page in sorted(DOCS.rglob("*.md")):
        for block in re.findall(r"^```sh\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                yield from ((str(page.relative_to(ROOT)), words) for words in commands_of(line))
    for path in FILES:
        for line in text_of(path).splitlines():
            if path.name == "Dockerfile" and line.startswith("CMD "):
                yield path.name, json.loads(line.removeprefix("CMD "))[1:]
            elif line.startswith("ExecStart="):
                yield from ((path.name, words) for words in commands_of(line.partition("=")[2]))


def commands_of(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    for place, (word, after) in enumerate(pairwise(words)):
        if word.rpartition("/")[2] == "aiorest-ws" and after in COMMANDS:
            rest = words[place + 1 :]
            end = next((at for at, each in enumerate(rest) if _END.issuperset(each)), len(rest))
            yield rest[:end]


ALL = list(commands())


def test_there_are_commands() -> None:
    assert {where for where, _ in ALL} >= {"Dockerfile", "shop.service", "docs/deploy/proxies.md"}
    assert list(commands_of("A=b /x/aiorest-ws call GET /a k=v | jq '.x' && aiorest-ws token  # c")) == [
        ["call", "GET", "/a", "k=v"],
        ["token"],
    ]


@pytest.mark.parametrize(("where", "words"), ALL, ids=lambda value: value if isinstance(value, str) else value[0])
def test_commands_are_such_as_it_takes(where: str, words: list[str]) -> None:
    name, *argv = words
    parser: Any = whole()
    (inside,) = (action for action in parser._actions if action.dest == "command")
    inside.choices[name].parse(argv)


# Variables


def settings() -> Iterator[tuple[str, str, str]]:
    """Give what is set to what, and where."""
    for path in FILES:
        for name, value in re.findall(r'AIOREST_WS_(\w+)(?:=|, value: )"?([^\s"}]+)', text_of(path)):
            yield path.name, name, value


@pytest.mark.parametrize(("where", "name", "value"), list(settings()))
def test_variables_have_values_that_can_be(where: str, name: str, value: str) -> None:
    if name not in SWITCHES:
        option = name.lower()
        assert checked({option: parsed(option, value)})


def test_variables_that_are_named_are_there() -> None:
    named = {name for path in (*PAGES, *FILES) for name in re.findall(r"AIOREST_WS_([A-Z_]+)", text_of(path))}
    assert len(named) > 8
    assert named <= {name.upper() for name in TABLE} | OF_THE_COMMAND_LINE | SWITCHES


# Times


def test_silence_lasts_longer_than_a_ping_and_its_answer() -> None:
    assert LIMITS.ping_interval is not None
    assert LIMITS.ping_timeout is not None
    times = {
        path.name: re.findall(
            r"(?:proxy_(?:read_)?timeout|timeout (?:client|server|tunnel)|proxy-(?:read|send)-timeout:) +\"?(\d+)",
            text_of(path),
        )
        for path in FILES
    }
    assert {name for name in times if times[name]} == {
        *("haproxy.cfg", "haproxy-tcp.cfg", "nginx.conf", "nginx-stream.conf", "kubernetes.yaml")
    }
    shortest = min(int(seconds) for found in times.values() for seconds in found)
    assert shortest > LIMITS.ping_interval + LIMITS.ping_timeout


def test_systemd_waits_for_the_end() -> None:
    (seconds,) = values_of(DEPLOY / "shop.service", "TimeoutStopSec")
    assert int(seconds) > LIMITS.shutdown_timeout + LIMITS.close_timeout


# Docker


def instructions() -> list[tuple[str, str]]:
    """Give each instruction of the Dockerfile."""
    text = re.sub(r"^#.*\n", "", text_of(DEPLOY / "Dockerfile"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line.strip()]


def test_image_has_two_stages_and_runs_as_nobody_in_particular() -> None:
    found = instructions()
    assert [rest.partition(" AS ")[2] for name, rest in found if name == "FROM"] == ["build", ""]
    last = found[max(place for place, (name, _) in enumerate(found) if name == "FROM") :]
    names = [name for name, _ in last]
    assert dict(last)["USER"].isdecimal()
    assert int(dict(last)["USER"]) > 0
    assert "RUN" not in names[names.index("USER") :]
    assert "gcc" not in " ".join(rest for _, rest in last)
    assert {"HEALTHCHECK", "CMD", "EXPOSE"} <= set(names)


def test_what_is_copied_reaches_the_builder() -> None:
    """What the second stage copies, and what the wheel is built of: README and LICENSE, too."""
    let_in = {line[1:] for line in text_of(DEPLOY / "Dockerfile.dockerignore").splitlines() if line.startswith("!")}
    assert all((ROOT / name).exists() for name in let_in)
    copied = [rest.split()[0] for name, rest in instructions() if name == "COPY"]
    assert copied == [".", "examples/deploy/main.py"]
    project = text_of(ROOT / "pyproject.toml")
    modules = re.findall(r'"(\w+)"', re.findall(r"^py-modules = (.*)$", project, re.MULTILINE)[0])
    assert let_in >= {f"{module}.py" for module in modules} | {"aiorest_ws", "setup.py", "pyproject.toml"}
    assert let_in >= {"README.md", "LICENSE", "examples/deploy/main.py"}


@asynchronous
async def test_health_check_of_the_image() -> None:
    options, _, command = dict(instructions())["HEALTHCHECK"].partition(" CMD ")
    assert "--timeout=3s" in options
    python, *argv = json.loads(command)
    assert python == "python"

    async def is_healthy(port: int) -> bool:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *argv, env={"AIOREST_WS_PORT": str(port)}, stderr=asyncio.subprocess.DEVNULL
        )
        return await process.wait() == 0

    async with serving(health_path="/healthz") as app:
        port = app.addresses[0][1]
        assert await is_healthy(port)
        factory_of(app).stopping = True
        assert not await is_healthy(port)
        factory_of(app).stopping = False
    assert not await is_healthy(port)


# The program


@asynchronous
async def test_program_of_the_pages() -> None:
    namespace: dict[str, Any] = {"__name__": "main"}
    exec(compile(text_of(DEPLOY / "main.py"), "main.py", "exec", dont_inherit=True), namespace)
    async with AsyncTestClient(namespace["app"]) as client:
        assert (await client.get("/hello", args={"name": "Ada"})).data == "Hello, Ada!"
        subscription = await client.subscribe("/news")
        await client.post("/news", data="rain")
        assert (await subscription.receive()).data == "rain"
        assert set((await client.get("/who")).data) == {"host", "process", "client"}


def test_probes_are_answered_where_the_files_ask() -> None:
    assert 'health_path="/healthz"' in text_of(DEPLOY / "main.py")
    asked = re.findall(r"/health\w*", "".join(text_of(path) for path in FILES))
    assert len(asked) > 5
    assert set(asked) == {"/healthz"}
