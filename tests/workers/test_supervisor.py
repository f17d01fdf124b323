"""`run(workers=…)`, in processes of its own: one that supervises, and those that serve."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.kit.systems import needs_posix
from tests.kit.terminals import closable_terminal
from tests.kit.workers import PROGRAM, address_in, client_of, ended, pid_of, program_of, running, two_clients
from tests.serving import LOOPS, Client, HandshakeRefused, Outcome, within

pytestmark = needs_posix

patiently = within(60.0)  # seconds: up to seven programs start

on_each_loop = pytest.mark.parametrize("loop", LOOPS)


# Start


def command_of(way: str, folder: Path) -> list[str]:
    """Give the command line of a program that is run in this way."""
    source = PROGRAM + "app.run()\nprint('and on')\n"
    (folder / "served.py").write_text(source)
    return {"-c": ["-c", source], "-m": ["-m", "served"], "file": [str(folder / "served.py")]}[way]


@pytest.mark.parametrize("way", ["-c", "-m", "file"])
@patiently
async def test_two_processes_serve_one_port_however_the_program_is_run(way: str, tmp_path: Path) -> None:
    async with running(*command_of(way, tmp_path), PYTHONPATH=f"{tmp_path}:{os.getcwd()}") as program:
        lines = await program.started()
        assert "Workers: 2" in lines
        (first, pid), (second, other) = await two_clients(address_in(lines))
        assert program.process.pid not in (pid, other)
        program.signal(signal.SIGTERM)
        for client in (first, second):
            assert (await client.left()).close_code == 1001
        outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith("Quit the server with CONTROL-C.\nand on\n")


@patiently
async def test_workers_of_a_unix_socket_share_it(tmp_path: Path) -> None:
    path = str(tmp_path / "served")
    async with program_of(f"app.run(unix_path={path!r})") as program:
        assert f"Server started at unix:{path}" in await program.started()
        (first, _), (second, _) = await two_clients(path)
        program.signal(signal.SIGTERM)
        for client in (first, second):
            assert (await client.left()).close_code == 1001
        assert (await program.end()).code == 0
    assert os.listdir(tmp_path) == []


@patiently
async def test_the_program_may_have_gone_elsewhere_and_served_before(tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(
        PROGRAM
        + "Application(router=router, port=0, on_listening=[lambda app: app.shut_down()]).run()  # ends at once\n"
        "os.chdir('/')\napp.run()\n"
    )
    command = [
        "-c",
        f"import os, sys; os.chdir({str(tmp_path)!r}); os.execv(sys.executable, [sys.executable, 'served.py'])",
    ]
    async with running(*command) as program:
        client, pid = await client_of(address_in(await program.started()))
        assert pid != program.process.pid
        await client.drop()
        program.signal(signal.SIGTERM)
        assert (await program.end()).code == 0


def one_line(outcome: Outcome) -> str:
    assert (outcome.code, outcome.out) == (1, "")
    (line,) = outcome.err.splitlines()
    return line


async def outcome_of(source: str, **environment: str) -> Outcome:
    async with program_of(source, **environment) as program:
        return await program.end()


@patiently
async def test_a_port_that_is_taken_is_one_line_once() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as another supervisor's would be
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        outcome = await outcome_of(f"app.run(port={port})")
    assert one_line(outcome) == (
        f"aiorest-ws: cannot listen on 127.0.0.1:{port}: address already in use: stop what listens there, or choose "
        "another `port` (0 takes a free one)"
    )


FAILING = "def fail(app):\n    raise ValueError('no database')\n"
DYING = "def fail(app):\n    os._exit(3)\n"
KILLED = "def fail(app):\n    os.kill(os.getpid(), signal.SIGKILL)\n"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (FAILING, "aiorest-ws: <function fail at 0x> failed at the start: ValueError: no database"),
        (DYING, "aiorest-ws: worker 1 ended with exit code 3 before it served"),
        (KILLED, "aiorest-ws: worker 1 was killed by SIGKILL before it served"),
    ],
    ids=["fails", "ends", "killed"],
)
@patiently
async def test_a_worker_that_cannot_start_ends_all_with_one_line(source: str, line: str) -> None:
    outcome = await outcome_of(source + "app.run(on_startup=[fail])")
    said = re.sub("lifespan fail|<function fail at 0x[0-9a-f]*>", "<function fail at 0x>", one_line(outcome))
    assert said == line


@patiently
async def test_a_worker_that_fails_as_nobody_foresaw_shows_its_traceback_once() -> None:
    source = (
        "class Broken(Application):\n"
        "    def prepare(self, **options):\n"
        "        raise LookupError('broken')\n"
        "Broken(router=router, port=0, workers=2).run()"
    )
    outcome = await outcome_of(source)
    assert outcome.code == 1
    assert outcome.err.count("LookupError: broken") == outcome.err.count("Traceback") == 1


@patiently
async def test_a_program_from_standard_input_cannot_be_run_again() -> None:
    async with running() as program:
        assert (await program.end()).code == 0  # an empty one
    source = PROGRAM + "sys.argv[0] = '-'\napp.run()"
    async with running("-c", source) as program:
        line = one_line(await program.end())
    assert line.startswith("aiorest-ws: workers run the command line of this program again, and it was read from stan")


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("4", "is what a supervisor tells its workers, nobody else may set it: did you mean AIOREST_WS_WORKERS?"),
        (
            '{"number": 1}',
            "is what a supervisor told another process: do not pass it on, and do not set it yourself",
        ),
    ],
    ids=["number", "other"],
)
@patiently
async def test_what_workers_are_told_is_not_for_others(value: str, line: str) -> None:
    outcome = await outcome_of("app.run()", AIOREST_WS_WORKER=value)
    assert one_line(outcome) == f"aiorest-ws: environment variable AIOREST_WS_WORKER {line}"


@patiently
async def test_what_a_worker_starts_itself_is_no_worker_and_has_none_of_its_sockets() -> None:
    source = (
        "import subprocess\n"
        'code = \'import os; print("AIOREST_WS_WORKER" in os.environ, len(os.listdir("/dev/fd")))\'\n'
        "def look(app):\n"
        "    for inherits in (True, False):\n"
        "        subprocess.run([sys.executable, '-c', code], close_fds=not inherits)\n"
        "app.run(workers=2, on_startup=[look])\n"
    )
    async with program_of(source) as program:
        lines = await program.started()
        assert set(lines[:4]) == {lines[0]}
        assert lines[0].startswith("False ")
        program.signal(signal.SIGTERM)
        assert (await program.end()).code == 0


# Ends of workers


@on_each_loop
@patiently
async def test_a_worker_that_dies_is_started_again_and_nobody_else_notices(loop: str) -> None:
    async with program_of(f"app.run(loop={loop!r})") as program:
        where = address_in(await program.started())
        (first, pid), (second, other) = await two_clients(where)
        os.kill(pid, signal.SIGKILL)
        said = await program.error(f"(process {pid}) was killed by SIGKILL, another is started at once")
        assert re.search(r"worker [12] \(process", said)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await first.receive()
        third, _ = await client_of(where, lambda found: found not in (pid, other))
        assert await pid_of(second) == other
        for client in (first, second, third):
            await client.drop()
        program.signal(signal.SIGTERM)
        assert (await program.end()).code == 0


@patiently
async def test_while_a_worker_starts_anew_the_others_serve_all_who_come(tmp_path: Path) -> None:
    """However long that takes: the system would have every other client wait for it."""
    source = (
        f"def starting(app):\n    slow = {str(tmp_path / 'slow')!r}\n"
        "    if os.path.exists(slow):\n        print('starting', flush=True)\n"
        "    while os.path.exists(slow):\n        pass\n"
        "app.run(on_startup=[starting])"
    )
    async with program_of(source) as program:
        where = address_in(await program.started())
        client, pid = await client_of(where)
        await client.drop()
        other, other_pid = await client_of(where, lambda found: found != pid)
        (tmp_path / "slow").touch()
        os.kill(pid, signal.SIGKILL)
        assert await program.line() == "starting"
        for _ in range(20):
            client, found = await client_of(where)
            assert found == other_pid
            await client.drop()
        (tmp_path / "slow").unlink()
        client, _ = await client_of(where, lambda found: found not in (pid, other_pid))
        for each in (client, other):
            await each.drop()


@patiently
async def test_a_worker_that_is_stuck_is_shown_killed_and_replaced() -> None:
    async with program_of("app.run(worker_timeout=0.4)") as program:
        where = address_in(await program.started())
        client, pid = await client_of(where)
        client.request(url="/stuck")
        await program.error(f"(process {pid}) does not answer, it is killed. What it does:")
        assert "in stuck" in await program.error("in stuck")
        await program.error(f"(process {pid}) did not answer, and was killed, another is started at once")
        other, _ = await client_of(where, lambda found: found != pid)
        for each in (client, other):
            await each.drop()
        program.signal(signal.SIGTERM)
        assert (await program.end()).code == 0


@patiently
async def test_a_worker_that_shuts_down_ends_all() -> None:
    source = "get('/end')(lambda request: app.shut_down())\napp.run()\nprint('and on')"
    async with program_of(source) as program:
        where = address_in(await program.started())
        (first, _), (second, _) = await two_clients(where)
        assert (await first.ask(url="/end"))["data"] is None
        for client in (first, second):
            assert (await client.left()).close_code == 1001
        outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith("and on\n")


# The supervisor's signals


@on_each_loop
@patiently
async def test_sighup_replaces_every_worker_and_answers_what_was_begun(loop: str) -> None:
    async with program_of(f"app.run(loop={loop!r})") as program:
        where = address_in(await program.started())
        (first, pid), (second, other) = await two_clients(where)
        for client in (first, second):
            client.request(url="/wait")
            assert await program.line() == "waiting"
        program.signal(signal.SIGHUP)
        for client, of in ((first, pid), (second, other)):
            assert (await client.reply())["data"] == of
            goodbye = await client.left()
            assert (goodbye.close_code, goodbye.close_reason) == (1012, "server is restarting")
        await ended(pid, other)
        client, _ = await client_of(where, lambda found: found not in (pid, other))
        await client.drop()
        program.signal(signal.SIGTERM)
        outcome = await program.end()
    assert outcome.code == 0
    assert outcome.err.count("in the place of") == 2


@patiently
async def test_a_worker_stays_when_who_is_to_replace_it_cannot_start(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    source = f"def fail(app):\n    if os.path.exists({str(broken)!r}):\n        raise ValueError('no database')\n"
    async with program_of(source + "app.run(on_startup=[fail])") as program:
        where = address_in(await program.started())
        client, pid = await client_of(where)
        broken.touch()
        program.signal(signal.SIGHUP)
        said = await program.error("stays: ")
        assert re.search(
            r"worker 1 .* ended with exit code 1 before it served, worker 1 .* stays: .*: no database$", said
        )
        assert await pid_of(client) == pid
        broken.unlink()
        program.signal(signal.SIGHUP)
        assert (await client.left()).close_code == 1012
        program.signal(signal.SIGTERM)
        assert (await program.end()).code == 0


def doomed_while(path: Path, then: str = "pass") -> str:
    """Give source of a program whose processes, while `path` is there, are killed before they serve."""
    die = f"    if os.path.exists({str(path)!r}):\n        {then}\n        os.kill(os.getpid(), signal.SIGKILL)\n"
    return f"def die(app):\n{die}app.run(on_startup=[die])"


@patiently
async def test_who_is_killed_while_it_is_to_replace_a_worker_is_followed_by_another(tmp_path: Path) -> None:
    """A signal says nothing about the new version: memory may have been short."""
    doomed = tmp_path / "doomed"
    async with program_of(doomed_while(doomed, f"os.unlink({str(doomed)!r})")) as program:
        (first, pid), (second, other) = await two_clients(address_in(await program.started()))
        doomed.touch()
        program.signal(signal.SIGHUP)
        said = await program.error("stays")
        assert re.search(
            r"worker 1 .* was killed by SIGKILL before it served, worker 1 .* stays, another is started in 0.25 s", said
        )
        for client in (first, second):  # by one signal alone
            assert (await client.left()).close_code == 1012
        await ended(pid, other)
        program.signal(signal.SIGTERM)
        assert (await program.end()).code == 0


@patiently
async def test_a_new_version_that_always_crashes_leaves_the_old_one_in_place(tmp_path: Path) -> None:
    doomed = tmp_path / "doomed"
    async with program_of(doomed_while(doomed)) as program:
        client, pid = await client_of(address_in(await program.started()))
        doomed.touch()
        program.signal(signal.SIGHUP)
        for seconds in ("0.25", "0.5", "1", "2"):
            await program.error(f"stays, another is started in {seconds} s")
        assert (await program.error("stays")).endswith("stays")
        await program.error("the other workers stay as they are: send SIGHUP again when this is mended")
        assert await pid_of(client) == pid
        doomed.unlink()
        program.signal(signal.SIGHUP)
        assert (await client.left()).close_code == 1012
        program.signal(signal.SIGTERM)
        assert (await program.end()).code == 0


@patiently
async def test_sighup_while_a_worker_is_killed_again_and_again_still_replaces_the_others(tmp_path: Path) -> None:
    doomed = tmp_path / "doomed"
    async with program_of(doomed_while(doomed)) as program:
        (first, pid), (second, other) = await two_clients(address_in(await program.started()))
        await first.drop()
        doomed.touch()
        os.kill(pid, signal.SIGKILL)
        await program.error("was killed by SIGKILL, another is started in")
        program.signal(signal.SIGHUP)
        await program.error("was killed by SIGKILL")
        doomed.unlink()
        assert (await second.left()).close_code == 1012
        await ended(other)
        program.signal(signal.SIGTERM)
        assert (await program.end()).code == 0


@patiently
async def test_a_worker_that_dies_while_its_predecessor_drains_is_started_again_at_once() -> None:
    """Whoever comes meanwhile would wait in its queue. Here the predecessor never ends, and has no time limit."""
    source = (
        "from aiorest_ws.workers import supervisor\n"
        "assert supervisor._ONE_BY_ONE\n"
        "supervisor._ONE_BY_ONE = None\n"
        "@get('/hold')\n"
        "async def hold(request):\n"
        "    print('holding', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "app.run(shutdown_timeout=600)"
    )
    async with program_of(source) as program:
        clients = await two_clients(address_in(await program.started()))
        for client, _ in clients:
            client.request(url="/hold")
            assert await program.line() == "holding"
        program.signal(signal.SIGHUP)
        said = await program.error("in the place of")
        found = re.search(r"\(process (\d+)\) serves in the place of worker 1 \(process (\d+)\), which drains$", said)
        assert found
        os.kill(int(found[1]), signal.SIGKILL)
        await program.error(f"(process {found[1]}) was killed by SIGKILL, another is started at once")
        os.kill(int(found[2]), 0)  # it is still there
        for client, _ in clients:
            await client.drop()


@patiently
async def test_ctrl_c_in_a_terminal_reaches_all_and_lets_requests_finish() -> None:
    async with program_of("app.run()") as program:
        where = address_in(await program.started())
        client, pid = await client_of(where)
        client.request(url="/wait")
        assert await program.line() == "waiting"
        os.killpg(program.process.pid, signal.SIGINT)
        assert await program.line() == "shutting down: 1 request in flight; Ctrl-C again to stop at once"
        assert (await client.reply())["data"] == pid
        assert (await client.left()).close_code == 1001
        outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, "")


@patiently
async def test_a_signal_to_every_process_counts_once() -> None:
    """As systemd sends SIGTERM: to the supervisor, and to its workers, whom the supervisor tells as well."""
    async with program_of("app.run()") as program:
        client, pid = await client_of(address_in(await program.started()))
        client.request(url="/wait")
        assert await program.line() == "waiting"
        os.killpg(program.process.pid, signal.SIGTERM)
        assert (await client.reply())["data"] == pid
        assert (await client.left()).close_code == 1001
        outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, "")


@patiently
async def test_ctrl_c_while_workers_start_ends_them_without_a_word() -> None:
    source = "async def start(app):\n    print('starting', flush=True)\n    await asyncio.sleep(60)\n"
    async with program_of(source + "app.run(on_startup=[start])") as program:
        assert await program.line() == "starting"
        os.killpg(program.process.pid, signal.SIGINT)
        outcome = await program.end()
    assert (outcome.code, outcome.out, outcome.err) == (0, "starting\n", "")


@patiently
async def test_ctrl_c_twice_ends_even_who_is_stuck() -> None:
    async with program_of("app.run()") as program:
        where = address_in(await program.started())
        (client, pid), (other, other_pid) = await two_clients(where)
        client.request(url="/stuck")
        assert await program.line() == "stuck"
        other.request(url="/wait")
        assert await program.line() == "waiting"
        os.killpg(program.process.pid, signal.SIGINT)
        assert "1 request in flight" in await program.line()
        os.killpg(program.process.pid, signal.SIGINT)
        await program.end()
        await ended(pid, other_pid)
        for each in (client, other):
            await each.drop()


@patiently
async def test_workers_end_with_a_supervisor_that_is_killed_even_when_they_are_stuck() -> None:
    async with program_of("app.run(shutdown_timeout=0.1)") as program:
        where = address_in(await program.started())
        (client, pid), (other, other_pid) = await two_clients(where)
        client.request(url="/stuck")
        assert await program.line() == "stuck"
        program.signal(signal.SIGKILL)
        assert (await other.left()).close_code == 1001
        await ended(pid, other_pid)
        await client.drop()


@patiently
async def test_a_terminal_that_goes_takes_the_program_with_it() -> None:
    """SIGHUP is also what everybody in a terminal gets when its window is closed."""
    with closable_terminal() as (source, close):
        async with program_of(source + "app.run()") as program:
            client, _ = await client_of(address_in(await program.started()))
            close()
            assert (await client.left()).close_code == 1001
            assert (await program.end()).code == 0


@patiently
async def test_behind_nohup_it_goes_on_without_its_terminal_and_can_still_be_replaced() -> None:
    with closable_terminal() as (source, close):
        async with program_of(source + "signal.signal(signal.SIGHUP, signal.SIG_IGN)\napp.run()") as program:
            (first, pid), (second, other) = await two_clients(address_in(await program.started()))
            close()
            await program.error("the terminal has gone, and SIGHUP was ignored at the start (nohup): going on")
            assert {await pid_of(first), await pid_of(second)} == {pid, other}
            program.signal(signal.SIGHUP)
            for client in (first, second):
                assert (await client.left()).close_code == 1012
            program.signal(signal.SIGTERM)
            assert (await program.end()).code == 0


# What counts for all


@patiently
async def test_connections_are_counted_for_all_workers_together() -> None:
    async with program_of("app.run(max_connections=3)") as program:
        where = address_in(await program.started())
        (first, pid), (second, _) = await two_clients(where)
        third, _ = await client_of(where)
        for _ in range(2):
            with pytest.raises(HandshakeRefused, match="503"):
                await Client.connect(where)
        await third.leave()
        fourth, _ = await client_of(where)
        os.kill(pid, signal.SIGKILL)
        await program.error(f"(process {pid}) was killed by SIGKILL")  # who comes before may be in its queue
        for client in (first, second, fourth):
            await client.drop()
        for client in [await until_there_is_room(where) for _ in range(3)]:
            await client.drop()
        program.signal(signal.SIGTERM)
        assert (await program.end()).code == 0


async def until_there_is_room(where: tuple[str, int]) -> Client:
    """Connect as soon as the server knows that others have gone; a process that is being killed may take one, too."""
    while True:
        try:
            return await Client.connect(where)
        except ConnectionError:
            pass
        except HandshakeRefused as exc:
            if exc.status != 503:
                raise


@patiently
async def test_probes_are_told_while_workers_drain() -> None:
    async with program_of("app.run(health_path='/healthz')") as program:
        where = address_in(await program.started())
        (first, _), (second, _) = await two_clients(where)
        for client in (first, second):
            client.request(url="/wait")
            assert await program.line() == "waiting"
        assert await health_of(where) == 200
        program.signal(signal.SIGTERM)
        assert "2 requests in flight" in await program.line()
        assert await health_of(where) == 503
        for client in (first, second):
            await client.reply()
            assert (await client.left()).close_code == 1001
        assert (await program.end()).code == 0


async def health_of(where: tuple[str, int]) -> int:
    reader, writer = await asyncio.open_connection(*where)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n")
    status = int((await reader.readline()).split()[1])
    writer.close()
    await writer.wait_closed()
    return status


# One face


def counted(page: str, sample: str) -> float:
    (line,) = [line for line in page.splitlines() if line.startswith(f"{sample} ")]
    return float(line.rpartition(" ")[2])


@patiently
async def test_one_page_has_the_sums_of_all_workers_and_they_do_not_fall() -> None:
    asked = 'aiorest_ws_requests_total{method="GET",route="/pid/",status="200"}'
    async with program_of("app.run(metrics_port=0)") as program:
        lines = await program.started()
        (url,) = [line.removeprefix("Metrics at ") for line in lines if line.startswith("Metrics at ")]

        async def page() -> str:
            return await asyncio.to_thread(lambda: urlopen(url, timeout=10).read().decode())

        (first, pid), (second, other) = await two_clients(address_in(lines))
        before = counted(await page(), asked)
        for client in (first, second, second):
            await pid_of(client)
        text = await page()
        assert counted(text, asked) == before + 3
        assert counted(text, "aiorest_ws_connections") == 2
        assert counted(text, "aiorest_ws_workers") == 2
        for worker in ("1", "2", "supervisor"):
            assert counted(text, f'process_start_time_seconds{{worker="{worker}"}}') > 0
        os.kill(pid, signal.SIGKILL)
        await program.error(f"(process {pid}) was killed by SIGKILL")
        await first.drop()
        assert counted(await page(), asked) == before + 3
        await pid_of(second)
        assert counted(await page(), asked) == before + 4
        program.signal(signal.SIGTERM)
        assert (await second.left()).close_code == 1001
        assert (await program.end()).code == 0
    assert other != pid
