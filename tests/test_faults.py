"""Faults: killed servers, clients that reset or stop, no descriptors left, clocks that jump. Nobody else notices."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import aiorest_ws
from aiorest_ws import SimpleRouter, endpoint
from tests.kit.systems import needs_linux, needs_posix
from tests.serving import (
    CLOSE,
    LOOPS,
    PING,
    PONG,
    TEXT,
    Client,
    Gates,
    Outcome,
    Program,
    asynchronous,
    dump,
    frame,
    serving,
)

on_each_loop = pytest.mark.parametrize("loop", LOOPS)
pytestmark = needs_posix

COMPLAINTS = ("Traceback", "never retrieved", "was destroyed", "never awaited", "Exception ignored")

SERVER = """
import asyncio, json, os, resource, time
from aiorest_ws import Application, SimpleRouter, endpoint

@endpoint("/hello", "GET")
def hello(request):
    return "Hello, world!"

@endpoint("/sleep", "GET")
async def sleep(request, seconds):
    await asyncio.sleep(seconds)
    return "slept"

@endpoint("/forever", "GET")
async def forever(request):
    await asyncio.Event().wait()

@endpoint("/large", "GET")
def large(request):
    return "x" * 1_000_000

@endpoint("/state", "GET")
def state(request):
    connections = request.connection.factory.connections
    return {
        "connections": len(connections),
        "tasks": len(asyncio.all_tasks()),
        "handlers": sum(len(connection.tasks) for connection in connections),
        "buffered": any(connection.transport.get_write_buffer_size() for connection in connections),
    }

@endpoint("/cpu", "GET")
def cpu(request):
    return time.process_time()

@endpoint("/room", "GET")
def room(request, descriptors):
    # Only `descriptors` more can be opened; as many as the system allows if it is null.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if descriptors is None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return
    listed = [int(name) for name in os.listdir("/proc/self/fd")]
    used = [number for number in listed if os.path.exists(f"/proc/self/fd/{number}")]  # but for the list's own
    limit = next(n for n in range(max(used) + descriptors + 2) if n - sum(u < n for u in used) == descriptors)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))

router = SimpleRouter()
for handler in (hello, sleep, forever, large, state, cpu, room):
    router.register_endpoint(handler)
Application(router=router).run(**{"log_level": "warn", "port": 0, **json.loads(os.environ["OPTIONS"])})
"""


async def start(**options: Any) -> tuple[Program, tuple[str, int]]:
    """Start a server in a process of its own; give it and its address."""
    program = await Program.start(SERVER, OPTIONS=dump(options).decode())
    try:
        (line,) = [line for line in await program.started() if line.startswith("Server started at ")]
    except BaseException:  # raised again: whoever is not given the program cannot end it
        await program.__aexit__()
        raise
    host, _, port = line.partition("//")[2].partition("/")[0].rpartition(":")
    return program, (host.strip("[]"), int(port))


async def ask(client: Client, url: str, **args: Any) -> Any:
    """Ask with an id, and give the data that comes back, whatever is pushed or pinged in between."""
    client.request("GET", url, id="ask", args=args)
    reply = await client.reply()
    assert (reply["id"], reply["status"]) == ("ask", 200), reply
    return reply["data"]


async def until(client: Client, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask for the state until it is as wanted: each answer is a turn of the server's loop."""
    state: dict[str, Any] = await ask(client, "/state")
    while not condition(state):
        state = await ask(client, "/state")
    return state


async def at_rest(client: Client) -> dict[str, Any]:
    """Give the state that the server is to come back to: the spare task for handlers is there."""
    await ask(client, "/sleep", seconds=0)
    return await until(client, lambda state: state["handlers"] == 0)


async def stopped(program: Program) -> Outcome:
    """Stop it with SIGTERM: it must end well, and have had no trouble inside."""
    program.signal(signal.SIGTERM)
    outcome = await program.end()
    assert outcome.code == 0, outcome
    assert [line for line in outcome.err.splitlines() if any(mark in line for mark in COMPLAINTS)] == []
    return outcome


# The server is killed


@on_each_loop
@asynchronous
async def test_server_killed_under_load_starts_again_on_its_port_at_once(loop: str) -> None:
    async with AsyncExitStack() as stack:
        program, address = await start(loop=loop)
        async with program:
            clients = [await stack.enter_async_context(await Client.connect(address)) for _ in range(8)]
            for client in clients:
                for number in range(50):
                    client.request(url="/hello", id=number)
                    client.request(url="/sleep", id=-1 - number, args={"seconds": 5})
            for client in clients:
                assert (await client.reply())["status"] == 200
            program.signal(signal.SIGKILL)
            assert (await program.end()).code == -signal.SIGKILL
        again, _ = await start(loop=loop, port=address[1])  # while its old connections still stand in the kernel
        async with again:
            async with await Client.connect(address) as client:
                assert await ask(client, "/hello") == "Hello, world!"
            await stopped(again)


# Clients that reset the connection, in every state of it


async def before_the_handshake(address: tuple[str, int], watcher: Client) -> Client:
    client = Client(*await asyncio.open_connection(*address), {})
    await until(watcher, lambda state: state["connections"] == 2)
    return client


async def in_the_handshake(address: tuple[str, int], watcher: Client) -> Client:
    client = await before_the_handshake(address, watcher)
    client.writer.write(b"GET / HTTP/1.1\r\nHost: loc")
    await client.writer.drain()
    await ask(watcher, "/hello")
    return client


async def open_and_idle(address: tuple[str, int], watcher: Client) -> Client:
    return await Client.connect(address)


async def after_a_request(address: tuple[str, int], watcher: Client) -> Client:
    client = await Client.connect(address)
    await ask(client, "/sleep", seconds=0)
    return client


async def in_a_header(address: tuple[str, int], watcher: Client) -> Client:
    client = await Client.connect(address)
    client.writer.write(b"\x81\xff\x00\x00")
    await ask(watcher, "/hello")
    return client


async def in_a_frame(address: tuple[str, int], watcher: Client) -> Client:
    client = await Client.connect(address)
    client.writer.write(frame(dump({"method": "GET", "url": "/hello"}))[:-5])
    await ask(watcher, "/hello")
    return client


async def in_a_fragmented_message(address: tuple[str, int], watcher: Client) -> Client:
    client = await Client.connect(address)
    client.send(b'{"method":', fin=False)
    client.send(b"", PING)
    assert (await client.receive()).opcode == PONG  # and so it was read
    return client


async def with_requests_in_flight(address: tuple[str, int], watcher: Client) -> Client:
    client = await Client.connect(address)
    for number in range(20):
        client.request(url="/forever", id=number)
        client.request(url="/forever")
    await until(watcher, lambda state: state["handlers"] == 21)
    return client


async def with_replies_buffered(address: tuple[str, int], watcher: Client) -> Client:
    client = await Client.connect(address)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    for number in range(60):
        client.request(url="/large", id=number)
    await until(watcher, lambda state: bool(state["buffered"]))
    return client


async def with_replies_buffered_and_requests_in_flight(address: tuple[str, int], watcher: Client) -> Client:
    client = await Client.connect(address)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.request(url="/forever")
    client.request(url="/forever", id="a")
    for number in range(60):
        client.request(url="/large", id=number)
    await until(watcher, lambda state: bool(state["buffered"]) and state["handlers"] == 2)
    return client


async def after_its_own_close_frame(address: tuple[str, int], watcher: Client) -> Client:
    client = await Client.connect(address)
    client.request(url="/forever", id=1)
    client.send(struct.pack("!H", 1000), CLOSE)
    return client


async def instead_of_answering_a_close_frame(address: tuple[str, int], watcher: Client) -> Client:
    client = await Client.connect(address)
    client.request(url="/forever", id=1)
    client.send(b"\xff", TEXT)
    assert (await client.receive()).close_code == 1007
    return client


STATES: list[Callable[[tuple[str, int], Client], Awaitable[Client]]] = [
    before_the_handshake,
    in_the_handshake,
    open_and_idle,
    after_a_request,
    in_a_header,
    in_a_frame,
    in_a_fragmented_message,
    with_requests_in_flight,
    with_replies_buffered,
    with_replies_buffered_and_requests_in_flight,
    after_its_own_close_frame,
    instead_of_answering_a_close_frame,
]


@pytest.mark.parametrize("reach", STATES, ids=[state.__name__ for state in STATES])
@on_each_loop
@asynchronous
async def test_reset_leaves_nothing_behind(loop: str, reach: Callable[..., Awaitable[Client]]) -> None:
    program, address = await start(loop=loop)
    async with program, await Client.connect(address) as watcher:
        before = await at_rest(watcher)
        for _ in range(3):
            (await reach(address, watcher)).reset()
        await until(watcher, lambda state: state == before)
        await watcher.leave()
        await stopped(program)


# Clients that are there no more, and did not say so

STOPPED_CLIENT = """
import asyncio, os
from tests.serving import PING, PONG, Client
async def main():
    client = await Client.connect((os.environ["HOST"], int(os.environ["PORT"])))
    client.request(url="/wait")
    while True:
        frame = await client.receive(60)
        if frame.opcode == PING:
            client.send(frame.payload, PONG)
            await client.writer.drain()
            print("ping")
asyncio.run(main())
"""


def waiting_router(gates: Gates) -> SimpleRouter:
    """Give a router with /wait, which is cancelled when the connection is lost, and /hello."""
    router = SimpleRouter()
    router.register_endpoint(endpoint("/wait", "GET")(lambda request: gates.wait("wait")))
    router.register_endpoint(endpoint("/hello", "GET")(lambda request: "Hello, world!"))
    return router


@on_each_loop
@asynchronous
async def test_stopped_client_is_found_by_ping_and_a_quiet_one_stays(loop: str) -> None:
    gates = Gates()
    async with serving(waiting_router(gates), ping_interval=0.2, ping_timeout=0.6) as app:
        host, port = app.addresses[0]
        async with await Program.start(STOPPED_CLIENT, HOST=host, PORT=str(port)) as program:
            await gates.until_started("wait")
            for _ in range(5):  # it stays for longer than an interval and a timeout
                assert await program.line() == "ping"
            assert not gates.finished
            program.signal(signal.SIGSTOP)
            await gates.until(lambda: gates.cancelled == ["wait"])


@on_each_loop
@asynchronous
async def test_client_that_vanished_with_its_window_full_is_found_by_ping(loop: str) -> None:
    # The connection is not read then, and a reset is not noticed; but a ping cannot be written to it.
    gates = Gates()
    limits = {"ping_interval": 0.2, "ping_timeout": 0.2, "max_concurrency": 2}
    async with serving(waiting_router(gates), **limits) as app, await Client.connect(app) as client:
        for number in range(3):
            client.request(url="/wait", id=number)
        await gates.until(lambda: len(gates.started) == 2)
        client.reset()
        await gates.until(lambda: len(gates.cancelled) == 2)


@on_each_loop
@asynchronous
async def test_client_whose_window_is_full_is_not_taken_for_dead(loop: str) -> None:
    # Its pongs are not read.
    gates = Gates()
    limits = {"ping_interval": 0.1, "ping_timeout": 0.1, "max_concurrency": 1}
    async with serving(waiting_router(gates), **limits) as app, await Client.connect(app) as client:
        client.request(url="/wait")
        for _ in range(4):
            got = await client.receive()
            assert got.opcode == PING
            client.send(got.payload, PONG)
        gates.open("wait")
        while (got := await client.receive()).opcode == PING:
            client.send(got.payload, PONG)
        assert got.payload == b'{"data":"wait","event_name":null}'


# No descriptors left


@needs_linux
@on_each_loop
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@asynchronous
async def test_without_descriptors_the_others_are_served_and_it_recovers(loop: str, host: str) -> None:
    program, address = await start(loop=loop, host=host)
    coming: list[asyncio.Task[Client]] = []
    async with program, await Client.connect(address) as watcher:
        try:
            before = await at_rest(watcher)
            await ask(watcher, "/room", descriptors=4)
            # Four get through; whether the others wait or are refused is the loop's business.
            coming += [asyncio.create_task(Client.connect(address)) for _ in range(12)]
            await until(watcher, lambda state: state["connections"] == 1 + 4)
            used = await ask(watcher, "/cpu")
            assert await ask(watcher, "/sleep", seconds=2) == "slept"
            for _ in range(100):
                assert await ask(watcher, "/hello") == "Hello, world!"
            assert await ask(watcher, "/cpu") - used < 1, "it is busy while it waits"
            through = [task for task in coming if task.done() and task.exception() is None]
            assert len(through) == 4
            for task in through:
                task.result().abort()
            await ask(watcher, "/room", descriptors=None)
            async with await Client.connect(address) as client:
                assert await ask(client, "/hello") == "Hello, world!"
        finally:
            for came in await asyncio.gather(*coming, return_exceptions=True):
                if isinstance(came, Client):
                    await came.drop()
        await until(watcher, lambda state: state == before)
        await watcher.leave()
        program.signal(signal.SIGTERM)
        outcome = await program.end()
    assert outcome.code == 0
    assert outcome.err.count("Too many open files") <= 10, "what it logs is bounded"


# The clock jumps


@contextmanager
def jumping_clock() -> Iterator[Callable[[float], None]]:
    """Give what sets the wall clock forward, or back."""
    real, real_ns, offset = time.time, time.time_ns, [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + offset[-1])
        patch.setattr(time, "time_ns", lambda: real_ns() + int(offset[-1] * 1e9))
        yield offset.append


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0], ids=["forward", "back"])
@on_each_loop
@asynchronous
async def test_clock_that_jumps_ends_no_request_and_no_connection(loop: str, jump: float) -> None:
    gates = Gates()
    seconds = {"idle_timeout": 60.0, "request_timeout": 60.0, "send_timeout": 60.0, "ping_timeout": 60.0}
    with jumping_clock() as move_clock:
        async with serving(waiting_router(gates), **seconds) as app, await Client.connect(app) as client:
            client.request(url="/wait", id=1)
            await gates.until_started("wait")
            move_clock(jump)
            for number in range(3):
                client.request(url="/hello", id=number)
                assert await _status(client) == 200
            gates.open("wait")
            assert await _status(client) == 200
            async with await Client.connect(app) as another:
                another.request(id=2)
                assert await _status(another) == 200


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0], ids=["forward", "back"])
@on_each_loop
@asynchronous
async def test_clock_that_jumps_stops_no_ping_and_fills_no_bucket(loop: str, jump: float) -> None:
    options = {"ping_interval": 0.1, "ping_timeout": 60.0, "requests_per_second": 0.001, "burst": 5}
    with jumping_clock() as move_clock:
        async with serving(waiting_router(Gates()), **options) as app, await Client.connect(app) as client:
            for _ in range(2):
                move_clock(jump)
                got = await client.receive()
                assert got.opcode == PING
                client.send(got.payload, PONG)
            statuses = []
            for number in range(7):
                client.request(url="/hello", id=number)
                statuses.append(await _status(client))
                move_clock(-jump)
            assert statuses == [200, 200, 200, 200, 200, 429, 429]


async def _status(client: Client) -> int:
    """Give the status of the next reply, pings answered."""
    while (got := await client.receive()).opcode == PING:
        client.send(got.payload, PONG)
    status: int = json.loads(got.payload)["status"]
    return status


WALL_CLOCK = re.compile(r"\btime\.time\b|\btime_ns\b|from time import .*\btime\b|datetime\.(now|utcnow|today)")


@pytest.mark.parametrize("path", sorted(Path(aiorest_ws.__file__).parent.rglob("*.py*")), ids=lambda path: path.name)
def test_nothing_in_the_package_looks_at_the_wall_clock(path: Path) -> None:
    # The time of day is shown (in the access log), and nothing depends on it: timeouts are those of the loop. But for
    # tokens, whose dates are of this clock (RFC 7519 §2): one place reads it, for all of them.
    if path.suffix in (".py", ".pyx"):
        # The last two in text and in JSON, and in the header Date.
        readings = {"managers.py": 1, "tokens.py": 1, "access.py": 2, "port.py": 1}
        expected = ["time.time"] * readings.get(path.name, 0)
        assert [found[0] for found in WALL_CLOCK.finditer(path.read_text("utf-8"))] == expected
