"""The command as a process of its own: signals, pipes, files that change."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from aiorest_ws import Live, SimpleRouter
from tests.kit.systems import needs_posix
from tests.serving import TIMEOUT, Outcome, Program, asynchronous, serving

pytestmark = needs_posix
SWITCHES = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "PYTHONSAFEPATH": "1"}  # safe: as of the script
ROOT = str(Path(__file__).parent.parent.parent)


@asynccontextmanager
async def command(
    folder: Path, *argv: str, module: str = "aiorest_ws_cli", **environment: str
) -> AsyncIterator[Program]:
    """Run `aiorest-ws argv` in `folder`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", module, *argv),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": ROOT, **SWITCHES} | environment,
    )
    try:
        yield Program(process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it has left behind: a test may have failed
        await process.communicate()


async def complaint(program: Program) -> str:
    """Give the next line on stderr, of which there must be one."""
    assert program.process.stderr is not None
    line = await asyncio.wait_for(program.process.stderr.readline(), TIMEOUT)
    assert line, "it has ended, and said nothing more"
    return line.decode().rstrip("\n")


async def ended(folder: Path, *argv: str, **options: str) -> Outcome:
    async with command(folder, *argv, **options) as program:
        return await program.end()


def write(folder: Path, value: str = "1") -> None:
    (folder / "main.py").write_text(
        f"from aiorest_ws import Application, SimpleRouter\nrouter = SimpleRouter()\n"
        f"@router.get('/value')\ndef value(request): return {value}\n"
        f"app = Application(router, on_startup=[lambda app: print('value', {value})])\n",
        "utf-8",
    )


@pytest.mark.parametrize("module", ["aiorest_ws_cli", "aiorest_ws"])
@asynchronous
async def test_a_server_is_asked_and_ends_with_ctrl_c(module: str, tmp_path: Path) -> None:
    write(tmp_path)
    async with command(tmp_path, "run", "main:app", "--port", "0", "--access-log", module=module) as program:
        lines = await program.started()
        url = re.search(r"ws://127\.0\.0\.1:\d+", "\n".join(lines))
        assert url
        outcome = await ended(tmp_path, "call", "GET", "/value", "--server", url[0])
        assert outcome == Outcome(0, "1\n", "")
        program.signal(signal.SIGINT)
        end = await program.end()
    assert end.code == 0
    assert " GET /value/ 200 " in end.err
    assert "Traceback" not in end.err


@asynchronous
async def test_workers(tmp_path: Path) -> None:
    write(tmp_path, "__import__('os').getpid()")
    async with command(tmp_path, "run", "main:app", "--port", "0", "--workers", "2") as program:
        lines = await program.started()
        assert "Workers: 2" in lines
        url = re.search(r"ws://127\.0\.0\.1:\d+", "\n".join(lines))
        assert url
        outcome = await ended(tmp_path, "call", "GET", "/value", "--server", url[0])
        assert (outcome.code, outcome.err) == (0, "")
        assert int(outcome.out) != program.process.pid
        program.signal(signal.SIGTERM)
        end = await program.end()
    assert (end.code, end.err) == (0, "")


@asynchronous
async def test_what_keeps_it_from_starting_is_one_line(tmp_path: Path) -> None:
    write(tmp_path)
    outcome = await ended(tmp_path, "run", "main:app", "--certificate", "nowhere.pem", "--key", "nowhere.pem")
    assert (outcome.code, outcome.out) == (1, "value 1\n" if outcome.out else "")
    assert outcome.err.startswith("aiorest-ws: ")
    assert outcome.err.count("\n") == 1


@asynchronous
async def test_a_pipe_that_nobody_reads_is_no_error(tmp_path: Path) -> None:
    write(tmp_path)
    program = f"{sys.executable} -W error -m aiorest_ws_cli routes main:app"
    process = await asyncio.create_subprocess_shell(
        f"({program}; echo $? >&2) | true",
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ROOT},
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await asyncio.wait_for(process.communicate(), TIMEOUT)
    assert err == b"141\n"


@asynchronous
async def test_an_output_that_is_closed_is_no_error(tmp_path: Path) -> None:
    write(tmp_path)
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m aiorest_ws_cli routes main:app >&-",
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ROOT},
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await asyncio.wait_for(process.communicate(), TIMEOUT)
    assert (process.returncode, err) == (0, b"")


@asynchronous
async def test_a_subscription_survives_its_connection_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    router = SimpleRouter()

    @router.get("/log", live=Live(mode="log", shared=True))
    def log(request: Any) -> list[str]:
        return ["é"]

    async with serving(router) as app:
        url = f"ws://127.0.0.1:{app.addresses[0][1]}"
        async with command(tmp_path, "subscribe", "/log", "--server", url) as program:
            assert json.loads(await program.line()) == ["é"]
            await app.live.publish("/log", {"n": 1})
            assert await program.line() == '{"n":1}'
            (connection,) = (each for factory in app._factories for each in factory.connections)
            connection.transport.abort()
            assert re.fullmatch(
                rf"aiorest-ws: the connection to {url} was lost: back in [01]\.\d s", await complaint(program)
            )
            await app.live.publish("/log", {"n": 2})  # while nobody is there
            assert await program.line() == '{"n":2}'
            program.signal(signal.SIGINT)
            end = await program.end()
    assert (end.code, end.err) == (130, "")


@asynchronous
async def test_ctrl_c_while_it_waits_for_a_reply(tmp_path: Path) -> None:
    arrived, router = asyncio.Event(), SimpleRouter()

    @router.get("/slow")
    async def slow(request: Any) -> None:
        arrived.set()
        await asyncio.Event().wait()

    async with serving(router) as app:
        url = f"ws://127.0.0.1:{app.addresses[0][1]}"
        async with command(tmp_path, "call", "GET", "/slow", "--server", url) as program:
            await arrived.wait()
            program.signal(signal.SIGINT)
            assert await program.end() == Outcome(130, "", "")


@asynchronous
async def test_reload_starts_anew_when_a_python_file_changes(tmp_path: Path) -> None:
    """And only then: a log or a database beside it would start it for ever (fasthtml#200)."""
    write(tmp_path)
    (tmp_path / "data.db").touch()
    async with command(tmp_path, "run", "--reload", "main:app", "--port", "0") as program:
        assert (await program.started())[0] == "value 1"
        (tmp_path / "data.db").write_text("of the program: no reason to start anew", "utf-8")
        write(tmp_path, "2")
        assert await complaint(program) == "aiorest-ws: main.py changed, starting anew"
        assert (await program.started())[0] == "value 2"
        program.signal(signal.SIGTERM)
        assert await program.end() == Outcome(0, "".join(program._lines), "")


@asynchronous
async def test_reload_serves_what_was_written_in_the_same_second_with_the_same_size(tmp_path: Path) -> None:
    """By these two Python tells whether the bytecode that it has kept is that of a file."""
    write(tmp_path)
    before = (tmp_path / "main.py").stat()
    async with command(tmp_path, "run", "--reload", "main:app", "--port", "0", PYTHONDONTWRITEBYTECODE="") as program:
        assert (await program.started())[0] == "value 1"
        write(tmp_path, "2")
        os.utime(tmp_path / "main.py", ns=(before.st_atime_ns, before.st_mtime_ns))
        assert await complaint(program) == "aiorest-ws: main.py changed, starting anew"
        assert (await program.started())[0] == "value 2"
        program.signal(signal.SIGTERM)
        assert (await program.end()).code == 0


@asynchronous
async def test_reload_has_one_worker_and_says_so(tmp_path: Path) -> None:
    write(tmp_path)
    async with command(tmp_path, "run", "main:app", "--reload", "--workers", "2", "--port", "0") as program:
        assert await complaint(program) == "aiorest-ws: --reload serves with one process, whatever --workers says"
        assert not [line for line in await program.started() if line.startswith("Workers")]


@asynchronous
async def test_reload_waits_for_a_file_that_works(tmp_path: Path) -> None:
    write(tmp_path, "broken(")
    async with command(tmp_path, "run", "--reload", "main:app", "--port", "0") as program:
        said = [await complaint(program)]
        while not said[-1].endswith("waiting for a change"):
            said.append(await complaint(program))
        assert said[-2].startswith("aiorest-ws: module 'main' fails, asked for as 'main:app': SyntaxError")
        assert said[-1] == "aiorest-ws: the server has ended, exit code 1: waiting for a change"
        write(tmp_path, "3")
        assert await complaint(program) == "aiorest-ws: main.py changed, starting anew"
        assert (await program.started())[0] == "value 3"


@asynchronous
async def test_a_server_ends_with_a_reloader_that_was_killed(tmp_path: Path) -> None:
    write(tmp_path)
    async with command(tmp_path, "run", "--reload", "main:app", "--port", "0") as program:
        await program.started()
        program.signal(signal.SIGKILL)
        assert program.process.stdout is not None
        await asyncio.wait_for(program.process.stdout.read(), TIMEOUT)  # to its end: nobody has it open any more


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@asynchronous
async def test_a_reloader_leaves_no_server_behind(number: signal.Signals, tmp_path: Path) -> None:
    write(tmp_path, "__import__('os').getpid()")
    async with command(tmp_path, "run", "main:app", "--reload", "--port", "0") as program:
        server = int((await program.started())[0].removeprefix("value "))
        assert server != program.process.pid
        program.signal(number)
        assert (await program.end()).code == 0
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


@asynchronous
async def test_reload_of_what_is_no_directory(tmp_path: Path) -> None:
    outcome = await ended(tmp_path, "run", "main:app", "--reload", "--reload-dir", "nowhere")
    assert outcome == Outcome(2, "", "aiorest-ws: run: --reload-dir: no directory 'nowhere'\n")
