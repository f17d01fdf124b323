"""The end of a server: what is in flight is answered, new requests are refused, everybody is told."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from aiorest_ws import Application, SimpleRouter, endpoint
from tests.serving import CLOSE, LOOPS, Client, Gates, Program, asynchronous, factory_of, turn_over

on_each_loop = pytest.mark.parametrize("loop", LOOPS)
on_posix = os.name == "posix"


def make_router(gates: Gates) -> SimpleRouter:
    router = SimpleRouter()

    @endpoint("/wait/{name}", "GET")
    async def wait(request: Any, name: str) -> str:
        return await gates.wait(name)

    @endpoint("/hello", "GET")
    def hello(request: Any) -> str:
        return "Hello, world!"

    router.register_endpoint(wait)
    router.register_endpoint(hello)
    return router


async def started(gates: Gates, **options: Any) -> Application:
    app = Application(router=make_router(gates), port=0, **options)
    await app.start()
    return app


@on_each_loop
@asynchronous
async def test_requests_in_flight_are_answered_before_the_close(loop: str) -> None:
    gates = Gates()
    app = await started(gates)
    async with await Client.connect(app) as client:
        client.request(url="/wait/lane 1")
        client.request(url="/wait/lane 2")  # waits for the first, and is in flight all the same
        for n in range(3):
            client.request(url=f"/wait/{n}", id=n)
        await gates.until_started("lane 1", "0", "1", "2")
        stopping = asyncio.create_task(app.stop())
        await turn_over()
        assert not stopping.done()
        gates.open("0", "1", "2", "lane 1", "lane 2")
        replies = [await client.reply() for _ in range(5)]
        assert sorted(reply["id"] for reply in replies if "id" in reply) == [0, 1, 2]
        assert [reply["data"] for reply in replies if "id" not in reply] == ["lane 1", "lane 2"]
        closing = await client.left()
        assert (closing.close_code, closing.close_reason) == (1001, "server is shutting down")
        await stopping


@on_each_loop
@asynchronous
async def test_new_requests_are_refused_with_503_while_others_finish(loop: str) -> None:
    gates = Gates()
    app = await started(gates)
    async with await Client.connect(app) as client, await Client.connect(app) as other:
        await other.ask()
        client.request(url="/wait/a", id="a")
        await gates.until_started("a")
        stopping = asyncio.create_task(app.stop())
        await turn_over()
        refused = {"id": 1, "status": 503, "detail": "The server is shutting down."}
        assert await client.ask(id=1) == refused
        assert await other.ask(id=1) == refused
        assert await other.ask() == {"detail": "The server is shutting down.", "event_name": None}
        gates.open("a")
        assert await client.reply() == {"id": "a", "status": 200, "data": "a"}
        assert (await client.left()).close_code == (await other.left()).close_code == 1001
        await stopping


@on_each_loop
@asynchronous
async def test_nobody_can_connect_while_it_stops(loop: str) -> None:
    gates = Gates()
    app = await started(gates)
    where = app.addresses[0]
    async with await Client.connect(app) as client:
        client.request(url="/wait/a")
        await gates.until_started("a")
        stopping = asyncio.create_task(app.stop())
        await turn_over()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await Client.connect(where)
        gates.open("a")
        await client.reply()
        await client.left()
        await stopping


@on_each_loop
@asynchronous
async def test_who_takes_longer_than_the_shutdown_timeout_is_cancelled(loop: str) -> None:
    gates = Gates()
    app = await started(gates, shutdown_timeout=0.05)
    async with await Client.connect(app) as client:
        client.request(url="/wait/forever", id=1)
        await gates.until_started("forever")
        stopping = asyncio.create_task(app.stop())
        assert (await client.left()).close_code == 1001
        await stopping
    assert gates.cancelled == ["forever"]


@on_each_loop
@asynchronous
async def test_thousands_of_connections_are_all_told(loop: str) -> None:
    app = await started(Gates())
    clients = [await Client.connect(app) for _ in range(350)]
    stopping = asyncio.create_task(app.stop())
    codes = [(await client.left()).close_code for client in clients]
    await stopping
    assert codes == [1001] * 350


@on_each_loop
@asynchronous
async def test_client_that_does_not_answer_the_close_does_not_hold_it_up(loop: str) -> None:
    app = await started(Gates())
    async with await Client.connect(app) as client:
        await client.ask()
        await app.stop()
        assert (await client.receive()).opcode == CLOSE
        await client.eof()


SERVER = """
import asyncio
from aiorest_ws import Application, SimpleRouter, endpoint

@endpoint("/wait/{seconds}", "GET")
async def wait(request, seconds):
    print("begun", flush=True)
    await asyncio.sleep(float(seconds))
    return request.data

@endpoint("/hello", "GET")
def hello(request):
    return "Hello, world!"

router = SimpleRouter()
router.register_endpoint(wait)
router.register_endpoint(hello)
"""


def address_in(lines: list[str]) -> tuple[str, int]:
    (line,) = (line for line in lines if "ws://" in line)
    return "127.0.0.1", int(line.split(":")[-1].strip("/"))


@pytest.mark.skipif(not on_posix, reason="no SIGTERM to another process on Windows")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@on_each_loop
@asynchronous
async def test_signal_with_a_thousand_in_flight_loses_none(loop: str, number: signal.Signals) -> None:
    source = SERVER + f"Application(router=router).run(port=0, loop={loop!r})"
    async with await Program.start(source) as program:
        where = address_in(await program.started())
        clients = [await Client.connect(where) for _ in range(20)]
        for i, client in enumerate(clients):
            for n in range(50):
                client.request(url="/wait/0.3", id=n, data=f"{i} {n}")
        for _ in range(1000):
            assert await program.line() == "begun"
        program.signal(number)
        for i, client in enumerate(clients):
            replies = [await client.reply() for _ in range(50)]
            assert {reply["id"]: reply["data"] for reply in replies} == {n: f"{i} {n}" for n in range(50)}
            assert (await client.left()).close_code == 1001
        outcome = await program.end()
        assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.skipif(not on_posix, reason="no SIGTERM to another process on Windows")
@on_each_loop
@asynchronous
async def test_second_signal_waits_for_nobody(loop: str) -> None:
    source = SERVER + f"Application(router=router, shutdown_timeout=600).run(port=0, loop={loop!r})"
    async with await Program.start(source) as program:
        async with await Client.connect(address_in(await program.started())) as client:
            client.request(url="/wait/600", id=1)
            assert await program.line() == "begun"
            program.signal(signal.SIGTERM)
            while (await client.ask(id=2))["status"] != 503:
                pass  # until the first signal has arrived
            program.signal(signal.SIGTERM)
            frame = await client.receive()
            assert (frame.opcode, frame.close_code) == (CLOSE, 1001)
        outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.skipif(not on_posix, reason="no SIGTERM to another process on Windows")
@on_each_loop
@pytest.mark.parametrize(
    ("number", "requests", "line"),
    [
        (signal.SIGINT, 1, "shutting down: 1 request in flight; Ctrl-C again to stop at once"),
        (signal.SIGTERM, 3, "shutting down: 3 requests in flight; SIGTERM again to stop at once"),
    ],
)
@asynchronous
async def test_signal_says_what_is_waited_for(loop: str, number: signal.Signals, requests: int, line: str) -> None:
    source = SERVER + f"Application(router=router, shutdown_timeout=600).run(port=0, loop={loop!r})"
    async with await Program.start(source) as program:
        async with await Client.connect(address_in(await program.started())) as client:
            for n in range(requests):
                client.request(url="/wait/600", id=n)
                assert await program.line() == "begun"
            program.signal(number)
            assert await program.line() == line
            program.signal(number)
            assert (await client.receive()).close_code == 1001
        assert (await program.end()).code == 0


@asynchronous
async def test_what_comes_too_late_is_dropped_and_counted() -> None:
    gates = Gates()
    app = await started(gates)
    factory = factory_of(app)
    async with await Client.connect(app) as client:
        client.request(url="/wait/a", id=1)
        await gates.until_started("a")
        (connection,) = factory.connections
        client.send(b"\x03\xe8", CLOSE)
        assert (await client.receive()).opcode == CLOSE
        connection.send_event("news", 1)
        await client.eof()
    connection.send_event("news", 2)  # harmless on a connection that is gone
    assert factory.unsent == 2
    await app.stop()
