"""The end of a server: what is in flight is answered, new requests are refused, everybody is told."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from aiorest_ws import Application, SimpleRouter, endpoint
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.server.patience import Patience
from aiorest_ws.server.shutdown import shut_down
from aiorest_ws.testing import AsyncTestClient
from tests.kit.systems import needs_linux, needs_posix
from tests.kit.transports import REQUEST, Skipping, Transport, our_factory
from tests.serving import (
    CLOSE,
    LOOPS,
    TIMEOUT,
    Certificate,
    Client,
    Gates,
    Program,
    asynchronous,
    client_context,
    factory_of,
    gated_router,
    loop_factory,
    make_router,
    turn_over,
)

on_each_loop = pytest.mark.parametrize("loop", LOOPS)


async def started(gates: Gates, **options: Any) -> Application:
    app = Application(router=gated_router(gates), port=0, **options)
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
async def test_client_that_does_not_answer_the_close_does_not_hold_it_up(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiorest_ws.server.shutdown._LEAVE", 0.1)
    app = await started(Gates())
    async with await Client.connect(app) as client:
        await client.ask()
        await app.stop()
        assert (await client.receive()).opcode == CLOSE
        await client.eof()


class Silent(Transport):
    """A client that takes the close frame, or not even that, and says nothing."""

    looks = 0

    def __init__(self, waiting: int) -> None:
        super().__init__()
        self.waiting = waiting
        self.protocol: Any = None

    def get_write_buffer_size(self) -> int:
        Silent.looks += 1
        return self.waiting

    def abort(self) -> None:
        if not self.is_closing():
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)
        super().abort()


@pytest.mark.parametrize(("waiting", "seconds"), [(0, 2.5), (1, 10.5)], ids=["reads", "reads nothing"])
def test_thousands_who_do_not_answer_hold_it_up_no_longer_than_one(waiting: int, seconds: float) -> None:
    """By the loop's own clock, which here counts nothing but what is waited for."""
    count = 2000

    async def stop() -> None:
        factory = our_factory()
        transports = [Silent(waiting) for _ in range(count)]
        for transport in transports:
            transport.protocol = factory()
            transport.protocol.connection_made(transport)
            transport.protocol.data_received(REQUEST)
            transport.written.clear()
        Silent.looks = 0
        await shut_down(factory, grace=10, patience=Patience())
        assert not factory.connections
        assert all(transport.written[0][2:4] == b"\x03\xe9" for transport in transports)
        assert all(len(transport.written) == transport.calls.count("abort") == 1 for transport in transports)

    with asyncio.Runner(loop_factory=Skipping) as runner:
        runner.run(stop())
        loop: Any = runner.get_loop()
        assert 0 < loop.now <= seconds
    assert Silent.looks <= count * seconds * 10  # two kinds of looks, each five times a second


# One end for all who ask for it


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT / 2):
        while not condition():  # noqa: ASYNC110 (what is waited for tells nobody)
            await asyncio.sleep(0.001)


def others() -> set[Any]:
    return asyncio.all_tasks() - {asyncio.current_task()}


class Story:
    """An application with a handler that waits, and cleans up for some turns when it is cancelled."""

    def __init__(self, **options: Any) -> None:
        self.told: list[str] = []
        self.begun = asyncio.Event()
        self.before = others()
        hooks: dict[str, Any] = {
            "on_shutdown": [self.shut_down],
            "on_disconnect": lambda *_: self.told.append("disconnected"),
        }
        self.app = Application(router=make_router(wait=self.wait), port=0, **(hooks | options))

    async def wait(self, request: Any) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await turn_over(20)
            self.told.append("handler ended")

    async def shut_down(self, app: Application) -> None:
        await turn_over()
        self.told.append("shut down")

    async def connect(self) -> Client:
        client = await Client.connect(self.app)
        client.request(url="/wait", id=1)
        await self.begun.wait()
        return client

    async def nothing_is_left(self) -> None:
        assert not self.app.is_running
        assert self.app.addresses == []
        assert self.told.count("shut down") == self.told.count("handler ended") == 1
        assert self.told[-1] == "shut down"
        await turn_over()
        assert others() <= self.before


async def wait_for_stop(app: Application) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(app.stop(), 0.05)


async def stop_cancelled_often(app: Application) -> None:
    stopping = asyncio.create_task(app.stop())
    for _ in range(5):
        await turn_over()
        stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping


async def one_of_two_cancelled(app: Application) -> None:
    patient, stopping = asyncio.create_task(app.stop()), asyncio.create_task(app.stop())
    await turn_over()
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert not app.is_running
    await patient


@on_each_loop
@pytest.mark.parametrize("stop", [wait_for_stop, stop_cancelled_often, one_of_two_cancelled])
@asynchronous
async def test_cancelled_stop_goes_on_at_once_and_leaves_nothing(
    loop: str, stop: Callable[[Application], Awaitable[None]]
) -> None:
    story = Story(shutdown_timeout=600)
    await story.app.start()
    async with await story.connect() as client:
        await stop(story.app)
        await story.nothing_is_left()
        assert (await client.receive()).close_code == 1001
    await story.app.stop()


@on_each_loop
@pytest.mark.parametrize("times", [2, 3, 5])
@asynchronous
async def test_serve_that_is_cancelled_more_than_once_leaves_nothing(loop: str, times: int) -> None:
    listening = asyncio.Event()
    story = Story(shutdown_timeout=600, on_listening=[lambda app: listening.set()])
    serving = asyncio.create_task(story.app.serve())
    await listening.wait()
    async with await story.connect():
        for _ in range(times):
            serving.cancel()
            await turn_over()
        with pytest.raises(asyncio.CancelledError):
            await serving
        await story.nothing_is_left()


@on_each_loop
@asynchronous
async def test_everybody_who_stops_waits_for_the_same_end(loop: str) -> None:
    story = Story(shutdown_timeout=0.05)
    await story.app.start()
    async with await story.connect() as client:
        stops = [asyncio.create_task(story.app.stop()) for _ in range(3)]
        story.app.shut_down()
        assert (await client.left()).close_code == 1001
        await asyncio.wait(stops, return_when=asyncio.FIRST_COMPLETED)
        await story.nothing_is_left()
        await asyncio.gather(*stops)


@on_each_loop
@asynchronous
async def test_handler_whose_client_has_gone_is_waited_for_too(loop: str) -> None:
    story = Story()
    await story.app.start()
    client = await story.connect()
    connections = factory_of(story.app).connections
    client.abort()
    await until(lambda: not connections)
    await story.app.stop()
    assert story.told == ["disconnected", "handler ended", "shut down"]


@on_each_loop
@asynchronous
async def test_handler_that_ignores_its_cancellation_is_left_and_said(
    loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    gate = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []

    async def stubborn(request: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                pass

    app = Application(router=make_router(stubborn=stubborn), port=0, shutdown_timeout=600)
    await app.start()
    async with await Client.connect(app) as client:
        client.request(url="/stubborn", id=1)
        await until(lambda: bool(tasks))
        with caplog.at_level(logging.WARNING, "aiorest_ws"):
            await wait_for_stop(app)
    assert not app.is_running
    assert "1 handlers go on although they were cancelled" in caplog.text
    gate.set()
    await asyncio.wait(tasks)


# From the inside


async def plain(app: Application) -> None:
    await app.stop()


async def with_time_limit(app: Application) -> None:
    await asyncio.wait_for(app.stop(), 600)


async def together(app: Application) -> None:
    await asyncio.gather(app.stop(), app.stop())


async def in_a_task(app: Application) -> None:
    await asyncio.create_task(app.stop())


async def in_a_thread(app: Application) -> None:
    await asyncio.to_thread(lambda: app.run_coroutine(app.stop()).result())


async def in_another_loop(app: Application) -> None:
    await asyncio.to_thread(lambda: asyncio.run(app.stop()))


async def asked(app: Application) -> None:
    app.shut_down()


async def asked_in_a_thread(app: Application) -> None:
    await asyncio.to_thread(app.shut_down)


INSIDE = pytest.mark.parametrize(
    "stop", [plain, with_time_limit, together, in_a_task, in_a_thread, in_another_loop, asked, asked_in_a_thread]
)
Stop = Callable[[Application], Awaitable[None]]


@on_each_loop
@INSIDE
@asynchronous
async def test_handler_that_stops_the_server_is_answered_and_serve_returns(loop: str, stop: Stop) -> None:
    async def end(request: Any) -> str:
        await stop(request.app)
        return "ended"

    listening = asyncio.Event()
    app = Application(router=make_router(end=end), port=0, shutdown_timeout=600)
    serving = asyncio.create_task(app.serve(on_listening=[lambda app: listening.set()]))
    await listening.wait()
    async with await Client.connect(app) as client, await Client.connect(app) as other:
        assert (await client.ask(url="/end", id=1))["data"] == "ended"
        assert (await client.left()).close_code == (await other.left()).close_code == 1001
    await serving
    assert not app.is_running


@on_each_loop
@asynchronous
async def test_threaded_handler_that_stops_the_server_does_not_wait_for_itself(loop: str) -> None:
    @endpoint("/end", "GET", threaded=True)
    def end(request: Any) -> str:
        request.app.run_coroutine(request.app.stop()).result()
        return "ended"

    router = SimpleRouter()
    router.register_endpoint(end)
    app = Application(router=router, port=0, shutdown_timeout=600)
    await app.start()
    async with await Client.connect(app) as client:
        assert (await client.ask(url="/end", id=1))["data"] == "ended"
        assert (await client.left()).close_code == 1001
    await app.stop()


@on_each_loop
@pytest.mark.parametrize("where", ["on_connect", "on_disconnect", "lifespan", "on_shutdown"])
@INSIDE
@asynchronous
async def test_hook_that_stops_the_server_does_not_wait_for_itself(loop: str, where: str, stop: Stop) -> None:
    told: list[str] = []
    go = asyncio.Event()

    async def hook(*args: Any) -> None:
        await stop(app)
        told.append(where)

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            if where == "lifespan":
                group.create_task(when_told())
            yield
            go.set()

    async def when_told() -> None:
        await go.wait()
        await hook()

    hooks: dict[str, Any] = {"lifespan": lifespan}
    if where != "lifespan":
        hooks[where] = [hook] if where == "on_shutdown" else hook
    app = Application(router=make_router(), port=0, shutdown_timeout=600, **hooks)
    await app.start()
    with suppress(ConnectionError, asyncio.IncompleteReadError):  # of on_connect, which is not waited for
        async with await Client.connect(app) as client:
            if where == "on_disconnect":
                await client.leave()
            go.set()
            if where == "on_shutdown":
                await asyncio.gather(app.stop(), client.left())
    await until(lambda: not app.is_running)
    assert told == [where] or (told == [] and where == "on_connect")


# Around the start


@on_each_loop
@pytest.mark.parametrize("stop", [plain, asked, in_another_loop, wait_for_stop], ids=lambda stop: stop.__name__)
@asynchronous
async def test_stop_ends_a_start_that_takes_long(loop: str, stop: Stop) -> None:
    told: list[str] = []
    begun = asyncio.Event()

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[None]:
        begun.set()
        try:
            await asyncio.Event().wait()
            yield
        finally:
            told.append("left")

    app = Application(router=make_router(), port=0, lifespan=lifespan)
    starting = asyncio.create_task(app.start())
    await begun.wait()
    if stop is wait_for_stop:
        await app.stop()
    else:
        await stop(app)
    with pytest.raises(RuntimeError, match="stopped before it had started"):
        await starting
    assert told == ["left"]
    assert not app.is_running

    begun.clear()
    serving = asyncio.create_task(app.serve())  # who serves wants the end, and has it
    await begun.wait()
    app.shut_down()
    await serving


@on_each_loop
@asynchronous
async def test_an_end_that_is_asked_for_before_the_first_step_of_the_start_comes(loop: str) -> None:
    app = Application(router=make_router(), port=0)
    starting = asyncio.create_task(app.start())
    await turn_over(1)
    assert app.is_running
    await app.stop()
    with pytest.raises(RuntimeError, match="stopped before it had started"):
        await starting
    assert not app.is_running
    await app.start()
    await app.stop()


@on_each_loop
@pytest.mark.parametrize("where", ["on_startup", "on_listening"])
@asynchronous
async def test_hook_of_the_start_that_stops_ends_it(loop: str, where: str) -> None:
    async def hook(app: Application) -> None:
        await app.stop()
        await asyncio.Event().wait()

    hooks: dict[str, Any] = {where: [hook]}
    app = Application(router=make_router(), port=0, **hooks)
    with pytest.raises(RuntimeError, match="stopped before it had started"):
        await app.start()
    assert not app.is_running
    await app.serve()


@on_each_loop
@asynchronous
async def test_on_listening_that_will_not_be_cancelled_does_not_hold_stop(
    loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun, release, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stubborn(app: Application) -> None:
        begun.set()
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        ended.set()

    app = Application(router=make_router(), port=0, on_listening=[stubborn])
    starting = asyncio.create_task(app.start())
    await begun.wait()
    await app.stop()
    assert not ended.is_set()
    with pytest.raises(RuntimeError, match="stopped before it had started"):
        await starting
    assert [record.getMessage() for record in caplog.records if "left to itself" in record.getMessage()] == [
        "on_listening goes on although it was cancelled: it is left to itself"
    ]
    release.set()
    await ended.wait()
    await turn_over()


@on_each_loop
@asynchronous
async def test_on_listening_that_fails_when_it_is_cancelled_is_why_it_does_not_start(loop: str) -> None:
    begun = asyncio.Event()

    async def fails(app: Application) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("no registry") from None

    app = Application(router=make_router(), port=0, on_listening=[fails])
    starting = asyncio.create_task(app.start())
    await begun.wait()
    stopping = asyncio.create_task(app.stop())
    with pytest.raises(ImproperlyConfigured, match=r"on_listening .*fails.* failed: .*no registry"):
        await starting
    await asyncio.wait([stopping])
    stopping.exception()


@on_each_loop
@asynchronous
async def test_start_while_it_stops_says_what_to_do(loop: str) -> None:
    story = Story(shutdown_timeout=600)
    await story.app.start()
    async with await story.connect():
        stopping = asyncio.create_task(story.app.stop())
        await turn_over()
        with pytest.raises(RuntimeError, match=r"still stopping: `await app\.stop\(\)` first"):
            await story.app.start()
        stopping.cancel()
        await asyncio.wait([stopping])
    await story.app.start()
    await story.app.stop()


@needs_linux
@on_each_loop
@asynchronous
async def test_restarts_leave_nothing_behind(loop: str) -> None:
    app = Application(router=make_router(), port=0, lifespan=None, on_shutdown=[lambda app: None])

    async def once() -> None:
        await app.start()
        async with await Client.connect(app) as client:
            await client.ask()
            stopping = asyncio.create_task(app.stop())
            await client.left()
            await stopping
        await turn_over()

    await once()
    gc.collect()
    tasks, descriptors, threads = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")), threading.active_count()
    factories = len(app._factories)
    for _ in range(30):
        await once()
    gc.collect()
    assert len(asyncio.all_tasks()) == tasks
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert threading.active_count() == threads
    assert len(app._factories) == factories


@pytest.mark.parametrize("loop", LOOPS)
def test_loop_that_was_closed_takes_its_server_along(loop: str) -> None:
    app = Application(router=make_router(), port=0)
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(app.start())
        assert app.is_running
    assert not app.is_running
    app.shut_down()
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(app.stop())
        runner.run(app.start())
        runner.run(app.stop())
    assert not app.is_running


@pytest.mark.parametrize("loop", LOOPS)
def test_stop_in_another_loop_does_not_wait_for_one_that_stands_still(loop: str) -> None:
    app = Application(router=make_router(), port=0)
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(app.start())

        def elsewhere() -> None:
            with pytest.raises(RuntimeError, match="of a loop that does not run"):
                asyncio.run(app.stop())

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(TIMEOUT)
        assert not thread.is_alive()
        runner.run(app.stop())
    assert not app.is_running


@pytest.mark.parametrize("loop", LOOPS)
def test_program_that_leaves_its_loop_without_a_stop_ends_it_all_the_same(
    loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[None]:
        try:
            yield
        finally:
            told.append("left")

    async def main() -> None:
        await app.start()

    app = Application(router=make_router(), port=0, lifespan=lifespan, on_shutdown=[lambda app: told.append("hook")])
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(main())
    assert sorted(told) == ["hook", "left"]
    assert caplog.text == ""


@asynchronous
async def test_stop_of_an_application_that_a_test_client_uses_does_nothing() -> None:
    async def end(request: Any) -> str:
        await request.app.stop()
        return "ended"

    async with AsyncTestClient(Application(router=make_router(end=end))) as client:
        assert (await client.get("/end")).data == "ended"
        assert (await client.get("/hello")).ok


# What is no connection yet


@on_each_loop
@pytest.mark.parametrize(
    ("secure", "sent"), [(False, b""), (False, b"GET / HTTP/1.1\r\n"), (True, b""), (True, b"\x16\x03\x01")]
)
@asynchronous
async def test_half_a_handshake_does_not_hold_up_the_stop(
    loop: str, sent: bytes, secure: bool, certificate: Certificate
) -> None:
    tls: dict[str, Any] = certificate.options if secure else {}
    app = Application(router=make_router(), port=0, handshake_timeout=None, shutdown_timeout=600, **tls)
    await app.start()
    host, port = app.addresses[0]
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(sent)
    await until(lambda: bool(factory_of(app).admissions.half_open))
    context = client_context(certificate) if secure else None
    async with await Client.connect(app, tls=context) as client:
        stopping = asyncio.create_task(app.stop())
        assert (await client.left()).close_code == 1001
        await stopping
    with suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    with socket.socket() as late, pytest.raises(ConnectionError):
        late.connect((host, port))


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
    (line,) = (line for line in lines if "://" in line)
    return "127.0.0.1", int(line.split(":")[-1].strip("/"))


@needs_posix
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


@needs_posix
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


def client_hello(certificate: Certificate) -> bytes:
    """Give what a TLS handshake begins with."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context(certificate).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@needs_posix
@pytest.mark.parametrize("half", [0, 3, 100], ids=lambda size: f"{size} bytes")
@on_each_loop
@asynchronous
async def test_half_a_tls_handshake_holds_up_no_signal(loop: str, half: int, certificate: Certificate) -> None:
    """Not a stop that waits for a request, nor its end, nor a second signal; and what follows of it opens nothing."""
    options = f"certificate={certificate.path!r}, key={certificate.key!r}, handshake_timeout=None, shutdown_timeout=600"
    source = SERVER + f"Application(router=router, {options}).run(port=0, loop={loop!r})"
    async with await Program.start(source) as program:
        where = address_in(await program.started())
        hello = client_hello(certificate)
        reader, writer = await asyncio.open_connection(*where)
        writer.write(hello[:half])
        async with await Client.connect(where, tls=client_context(certificate)) as client:  # accepted behind it
            client.request(url="/wait/600", id=1)
            assert await program.line() == "begun"
            program.signal(signal.SIGTERM)
            assert (await program.line()).startswith("shutting down: 1 request in flight")
            writer.write(hello[half:])
            with suppress(ConnectionError):
                await reader.read()  # up to its end; the server may have begun to answer before it got the signal
            writer.close()
            assert (await client.ask(id=2))["status"] == 503
            program.signal(signal.SIGTERM)
            assert (await client.receive()).close_code == 1001
        outcome = await program.end()
    assert (outcome.code, outcome.err) == (0, "")


@needs_posix
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
