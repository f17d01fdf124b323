"""`Application.run()`, in a process of its own: signals, start-up lines, what keeps it from starting."""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec

import pytest

import aiorest_ws
from tests.kit.systems import needs_posix
from tests.kit.terminals import HEARS_HANGUPS, closable_terminal
from tests.serving import LOOPS, Client, Outcome, Program, asynchronous, run_program

on_each_loop = pytest.mark.parametrize("loop", LOOPS)

FAILED = "A server error occurred."

PROGRAM = """
from aiorest_ws import Application, MethodBasedView, SimpleRouter, endpoint
@endpoint("/hello", "GET")
def hello(request):
    return "Hello, world!"
router = SimpleRouter()
router.register_endpoint(hello)
class Private(MethodBasedView):
    auth_required = True
    def get(self, request):
        return "secret"
"""


def address_in(lines: list[str]) -> tuple[str, int]:
    """Give the address in the start-up lines."""
    (line,) = [line for line in lines if line.startswith("Server started at ")]
    host, _, port = line.partition("//")[2].partition("/")[0].rpartition(":")
    return host, int(port)


@needs_posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@on_each_loop
@asynchronous
async def test_signal_ends_run_with_code_0_and_says_nothing(loop: str, number: signal.Signals) -> None:
    source = PROGRAM + f"Application(router=router).run(port=0, loop={loop!r}, log_level='warn')"
    async with await Program.start(source, PYTHONASYNCIODEBUG="1") as program:
        async with await Client.connect(address_in(await program.started())) as client:
            assert (await client.ask())["data"] == "Hello, world!"
            program.signal(number)
            assert (await client.left()).close_code == 1001
        outcome = await program.end()
    # asyncio's debug mode tells of each turn of more than 0.1 seconds, too: that is how busy the machine is.
    said = re.sub(r"^.* Executing <.* took [\d.]+ seconds\n", "", outcome.err, flags=re.MULTILINE)
    assert (outcome.code, said) == (0, "")


@needs_posix
@asynchronous
async def test_signal_without_connections_ends_at_once_and_the_program_goes_on() -> None:
    source = PROGRAM + "Application(router=router).run(port=0)\nprint('and on')"
    async with await Program.start(source) as program:
        await program.started()
        program.signal(signal.SIGINT)
        outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith("Quit the server with CONTROL-C.\nand on\n")


@needs_posix
@on_each_loop
@asynchronous
async def test_sighup_to_one_process_is_one_line_and_it_goes_on(loop: str) -> None:
    source = PROGRAM + HEARS_HANGUPS + f"Application(router=router).run(port=0, loop={loop!r})"
    async with await Program.start(source) as program:
        async with await Client.connect(address_in(await program.started())) as client:
            program.signal(signal.SIGHUP)
            await program.error("SIGHUP: nothing is replaced, there is one process")
            assert (await client.ask())["data"] == "Hello, world!"
            program.signal(signal.SIGTERM)
            assert (await client.left()).close_code == 1001
        outcome = await program.end()
    assert outcome.code == 0
    assert len(outcome.err.splitlines()) == 1


@needs_posix
@pytest.mark.parametrize(
    ("handler", "said"),
    [("lambda number, frame: print('mine', file=sys.stderr)", "mine\n"), ("signal.SIG_IGN", "")],
    ids=["own", "nohup"],
)
@asynchronous
async def test_sighup_is_left_to_who_has_it_already(handler: str, said: str) -> None:
    source = PROGRAM + (
        f"import signal, sys\nsignal.signal(signal.SIGHUP, {handler})\nApplication(router=router).run(port=0)\n"
    )
    async with await Program.start(source) as program:
        await program.started()
        program.signal(signal.SIGHUP)
        if said:
            await program.error(said.rstrip())
        program.signal(signal.SIGTERM)
        outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, said)


@needs_posix
@asynchronous
async def test_a_terminal_that_goes_takes_one_process_with_it() -> None:
    with closable_terminal() as (source, close):
        async with await Program.start(PROGRAM + source + "Application(router=router).run(port=0)") as program:
            async with await Client.connect(address_in(await program.started())) as client:
                assert (await client.ask())["data"] == "Hello, world!"
                close()
                assert (await client.left()).close_code == 1001
            outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, "")


@needs_posix
@asynchronous
async def test_run_may_be_called_again_after_it_ended() -> None:
    source = PROGRAM + "app = Application(router=router)\napp.run(port=0)\napp.run(port=0)\n"
    async with await Program.start(source) as program:
        for _ in range(2):
            async with await Client.connect(address_in(await program.started())) as client:
                assert (await client.ask())["data"] == "Hello, world!"
                await client.leave()
            program.signal(signal.SIGINT)
        outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, "")


@needs_posix
@asynchronous
async def test_signal_cancels_handlers_that_run() -> None:
    source = PROGRAM + (
        "import asyncio\n"
        "@endpoint('/wait', 'GET')\n"
        "async def wait(request):\n"
        "    print('waiting')\n"
        "    try:\n"
        "        await asyncio.Event().wait()\n"
        "    finally:\n"
        "        print('cancelled')\n"
        "router.register_endpoint(wait)\n"
        "Application(router=router).run(port=0, shutdown_timeout=0.1)\n"
    )
    async with await Program.start(source) as program:
        async with await Client.connect(address_in(await program.started())) as client:
            client.request(url="/wait")
            assert await program.line() == "waiting"
            program.signal(signal.SIGTERM)
            assert (await client.left()).close_code == 1001
        outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith("cancelled\n")


@needs_posix
@asynchronous
async def test_start_up_lines_say_what_runs_and_where() -> None:
    source = PROGRAM + "Application(router=router).run(ip='127.0.0.1', port=0, path='api')"
    async with await Program.start(source) as program:
        date, version, hot_path, url, hint = await program.started()
        program.signal(signal.SIGINT)
        await program.end()
    datetime.strptime(date, "%d %b, %Y - %X")
    assert version == f"aiorest-ws version {aiorest_ws.__version__}"
    if aiorest_ws.COMPILED:
        assert hot_path == f"hot path: compiled (cpython {sys.version_info[0]}.{sys.version_info[1]})"
    else:
        assert hot_path.startswith("hot path: pure Python (")
    assert url.startswith("Server started at ws://127.0.0.1:")
    assert url.endswith("/api")
    assert not url.endswith(":0/api")
    assert hint == "Quit the server with CONTROL-C."


@asynchronous
async def test_start_up_lines_tell_why_the_hot_path_is_pure() -> None:
    source = PROGRAM + (
        "from aiorest_ws.server.program import Program\n"
        "app = Application(router=router)\n"
        "print(*Program(app, app._options).banner(), sep='\\n')"
    )
    outcome = await run_program(source, AIOREST_WS_NO_EXTENSIONS="1", AIOREST_WS_REQUIRE_EXTENSIONS="")
    assert "hot path: pure Python (AIOREST_WS_NO_EXTENSIONS is set)\n" in outcome.out


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def one_line(outcome: Outcome) -> str:
    """Give the only line on stderr of a program that could not start."""
    assert outcome.code == 1, outcome
    assert outcome.out == ""
    (line,) = outcome.err.splitlines()
    return line


@asynchronous
async def test_port_in_use_is_one_line(busy_port: int) -> None:
    outcome = await run_program(PROGRAM + f"Application(router=router).run(port={busy_port})")
    assert one_line(outcome) == (
        f"aiorest-ws: cannot listen on 127.0.0.1:{busy_port}: address already in use: stop what listens there, or "
        "choose another `port` (0 takes a free one)"
    )


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ("Application().run(port=0)", "aiorest-ws: Argument `router` must be defined for the Application."),
        (
            "Application(certificate='no/cert.pem', key='no/key.pem').run(port=0, router=router)",
            "aiorest-ws: cannot load certificate: no file 'no/cert.pem'",
        ),
        (
            "Application(certificate='cert.pem').run(port=0, router=router)",
            "aiorest-ws: certificate and key must be given together",
        ),
        (
            "router.register('/me', Private, 'GET'); Application(router=router).run(port=0)",
            "aiorest-ws: view Private at /me/ has auth_required, but no middleware of the application authenticates: ",
        ),
        (
            "import sys; sys.modules['uvloop'] = None\nApplication(router=router).run(port=0, loop='uvloop')",
            "aiorest-ws: loop='uvloop', but uvloop is not installed: pip install 'aiorest-ws[uvloop]>=2'",
        ),
        (
            "Application(router=router).run(port=0, host='no-such-host.invalid')",
            "aiorest-ws: cannot listen on no-such-host.invalid:0: ",
        ),
        (
            "Application(router=router).run(port=0, unix_path='no/such/folder')",
            "aiorest-ws: cannot listen on no/such/folder: no such file or directory",
        ),
    ],
    ids=["router", "certificate", "key", "authentication", "uvloop", "host", "unix-path"],
)
@asynchronous
async def test_what_keeps_run_from_starting_is_one_line(call: str, line: str) -> None:
    assert one_line(await run_program(PROGRAM + call)).startswith(line)


@needs_posix
@pytest.mark.parametrize(
    ("name", "module"), [("auto", "uvloop" if find_spec("uvloop") else "asyncio"), ("asyncio", "asyncio")]
)
@asynchronous
async def test_loop_auto_takes_uvloop_where_it_is_installed(name: str, module: str) -> None:
    source = PROGRAM + (
        "import asyncio\n"
        "@endpoint('/loop', 'GET')\n"
        "def loop(request):\n"
        "    return type(asyncio.get_running_loop()).__module__.partition('.')[0]\n"
        "router.register_endpoint(loop)\n"
        f"Application(router=router).run(port=0, loop={name!r})\n"
    )
    async with await Program.start(source) as program:
        async with await Client.connect(address_in(await program.started())) as client:
            assert (await client.ask(url="/loop"))["data"] == module
            await client.leave()
        program.signal(signal.SIGINT)
        assert (await program.end()).code == 0


@needs_posix
@asynchronous
async def test_failed_handler_shows_in_a_program_that_sets_up_no_logging() -> None:
    source = PROGRAM + (
        "router.register_endpoint(endpoint('/boom', 'GET')(lambda request: {}['secret']))\n"
        "Application(router=router).run(port=0)\n"
    )
    async with await Program.start(source) as program:
        async with await Client.connect(address_in(await program.started())) as client:
            assert (await client.ask(url="/boom"))["detail"] == FAILED
            await client.leave()
        program.signal(signal.SIGINT)
        outcome = await program.end()
    assert outcome.code == 0
    assert outcome.err.count("'GET' '/boom' failed: KeyError") == 1
    assert outcome.err.count("KeyError: 'secret'") == 1


# Asked from the inside, and in a thread


@pytest.mark.parametrize("how", ["await request.app.stop()", "request.app.shut_down()"])
@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_handler_that_stops_the_application_lets_run_return(loop: str, how: str) -> None:
    source = PROGRAM + (
        "@endpoint('/end', 'GET')\n"
        "async def end(request):\n"
        f"    {how}\n"
        "    return 'ended'\n"
        "router.register_endpoint(end)\n"
        f"Application(router=router, shutdown_timeout=600).run(port=0, loop={loop!r})\n"
        "print('and on')\n"
    )
    async with await Program.start(source) as program:
        async with await Client.connect(address_in(await program.started())) as client:
            assert (await client.ask(url="/end", id=1))["data"] == "ended"
            assert (await client.left()).close_code == 1001
        outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith("and on\n")


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_run_in_a_thread_is_ended_by_shut_down(loop: str) -> None:
    source = PROGRAM + (
        "import threading\n"
        "listening = threading.Event()\n"
        "app = Application(router=router, on_listening=[lambda app: listening.set()])\n"
        f"thread = threading.Thread(target=app.run, kwargs=dict(port=0, loop={loop!r}))\n"
        "thread.start(); listening.wait(); app.shut_down(); thread.join()\n"
        "print('and on', app.is_running)\n"
    )
    outcome = await run_program(source)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith("and on False\n")


# Signals


@needs_posix
@on_each_loop
@pytest.mark.parametrize("own", ["lambda *_: print('own')", "signal.SIG_DFL", "signal.SIG_IGN"])
@asynchronous
async def test_run_puts_the_signal_handlers_back(loop: str, own: str) -> None:
    source = PROGRAM + (
        "import os, signal\n"
        f"own = {own}\n"
        "numbers = (signal.SIGTERM, signal.SIGINT)\n"
        "for number in numbers:\n"
        "    signal.signal(number, own)\n"
        "fd = signal.set_wakeup_fd(-1)\n"
        "app = Application(router=router, on_listening=[lambda app: os.kill(os.getpid(), signal.SIGTERM)])\n"
        f"app.run(port=0, loop={loop!r})\n"
        "assert signal.set_wakeup_fd(-1) == fd\n"
        "assert [signal.getsignal(number) for number in numbers] == [own, own]\n"
        "print('back', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    outcome = await run_program(source)
    assert outcome.err == ""
    assert outcome.code == (-signal.SIGTERM if own == "signal.SIG_DFL" else 0)
    assert outcome.out.endswith("back\nown\n" if own.startswith("lambda") else "back\n")


# And does not take long over the second: what hangs here would hang for ever.
TELLS_OF_SIGNALS = """
from aiorest_ws.server import process
from aiorest_ws.server.process import Signals
process._AT_ONCE = 0.2
take = Signals._take
def tell(self, number, frame):
    take(self, number, frame)
    print("taken", flush=True)
Signals._take = tell
"""

HANGS = {
    "handler": "async def hang(request):\n    begun()\n    while True:\n        try: await asyncio.sleep(600)\n"
    "        except asyncio.CancelledError: pass\n",
    "loop": "def hang(request):\n    begun(); time.sleep(600)\n",
    "thread": "async def hang(request):\n    await asyncio.to_thread(lambda: (begun(), time.sleep(600)))\n",
    "lock": "async def hang(request):\n    begun(); threading.Lock().__enter__(); lock.acquire()\n",
}


@needs_posix
@on_each_loop
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("hang", HANGS)
@asynchronous
async def test_second_signal_ends_it_whatever_hangs(loop: str, number: signal.Signals, hang: str) -> None:
    source = (
        PROGRAM
        + TELLS_OF_SIGNALS
        + (
            "import asyncio, threading, time\n"
            "lock = threading.Lock(); lock.acquire()\n"
            "def begun(): print('begun', flush=True)\n"
            f"{HANGS[hang]}"
            "router.register_endpoint(endpoint('/hang', 'GET')(hang))\n"
            f"Application(router=router, shutdown_timeout=600).run(port=0, loop={loop!r})\n"
        )
    )
    async with await Program.start(source) as program:
        client = await Client.connect(address_in(await program.started()))
        client.request(url="/hang", id=1)
        assert await program.line() == "begun"
        program.signal(number)
        assert await program.line() == "taken"
        program.signal(number)
        outcome = await program.end()
        await client.drop()
    assert outcome.code in (0, -number)


@needs_posix
@on_each_loop
@pytest.mark.parametrize("workers", [1, 2])
@asynchronous
async def test_one_signal_ends_it_though_a_handler_ignores_that_it_is_cancelled(loop: str, workers: int) -> None:
    source = (
        PROGRAM
        + "import asyncio\n"
        + "def begun(): print('begun', flush=True)\n"
        + HANGS["handler"]
        + "router.register_endpoint(endpoint('/hang', 'GET')(hang))\n"
        + f"Application(router=router, shutdown_timeout=0.1).run(port=0, loop={loop!r}, workers={workers})\n"
        + "print('and on')\n"
    )
    async with await Program.start(source) as program:
        client = await Client.connect(address_in(await program.started()))
        client.request(url="/hang", id=1)
        assert await program.line() == "begun"
        program.signal(signal.SIGTERM)
        outcome = await program.end()
        await client.drop()
    assert outcome.code == 0
    assert outcome.out.endswith("and on\n")
    assert "ignores that it is cancelled, and is left behind" in outcome.err


@needs_posix
@on_each_loop
@pytest.mark.parametrize("where", ["on_startup", "on_shutdown"])
@asynchronous
async def test_second_signal_ends_it_though_a_hook_hangs(loop: str, where: str) -> None:
    source = (
        PROGRAM
        + TELLS_OF_SIGNALS
        + (
            "import asyncio\n"
            "async def hang(app):\n"
            "    print('hangs', flush=True)\n"
            "    while True:\n"
            "        try: await asyncio.sleep(600)\n"
            "        except asyncio.CancelledError: pass\n"
            f"app = Application(router=router, {where}=[hang])\n"
            f"app.run(port=0, loop={loop!r})\n"
        )
    )
    async with await Program.start(source) as program:
        if where == "on_shutdown":
            await program.started()
            program.signal(signal.SIGTERM)
            assert await program.line() == "taken"
        assert await program.line() == "hangs"
        if where == "on_startup":
            program.signal(signal.SIGTERM)
            assert await program.line() == "taken"
        program.signal(signal.SIGTERM)
        outcome = await program.end()
    assert outcome.code in (0, -signal.SIGTERM)


# Logging


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        (
            "aiorest_ws",
            "NOTSET",
            {"own: root of ours": 1, "own: access": 1, "root of ours": 1, "access": 1, "theirs": 1},
        ),
        ("aiorest_ws.access", "NOTSET", {"own: access": 1, "access": 1, "root of ours": 1, "theirs": 1}),
        ("aiorest_ws", "CRITICAL", {"root of ours": 1, "access": 1, "theirs": 1}),
    ],
)
@asynchronous
async def test_each_line_is_logged_once(name: str, level: str, expected: dict[str, int]) -> None:
    source = PROGRAM + (
        "import logging\n"
        "handler = logging.StreamHandler()\n"
        "handler.setFormatter(logging.Formatter('own: %(message)s'))\n"
        f"handler.setLevel(logging.{level})\n"
        f"logging.getLogger({name!r}).addHandler(handler)\n"
        "def say(app):\n"
        "    logging.getLogger('aiorest_ws').warning('root of ours')\n"
        "    logging.getLogger('aiorest_ws.access').warning('access')\n"
        "    logging.getLogger('theirs').warning('theirs')\n"
        "    app.shut_down()\n"
        "Application(router=router, on_listening=[say]).run(port=0)\n"
    )
    outcome = await run_program(source)
    assert outcome.code == 0
    lines = outcome.err.splitlines()
    assert {text: sum(text in line for line in lines) for text in expected} == expected
    assert len(lines) == 3
