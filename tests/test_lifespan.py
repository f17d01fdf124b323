"""What an application does before it listens and after its last connection, and the state of both."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from aiorest_ws import Application, SimpleRouter, endpoint
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.wrappers import Request
from tests.serving import LOOPS, Client, Gates, Program, asynchronous, run_program, serving

posix_only = pytest.mark.skipif(os.name != "posix", reason="signals")


class Story:
    """An application that tells what happens to it, in order."""

    def __init__(self, *, breaks: str = "") -> None:
        self.lines: list[str] = []
        self.breaks = breaks
        self.tasks: set[Any] = set()
        self.options: dict[str, Any] = {
            "lifespan": self.lifespan,
            "on_startup": [self.first, self.second],
            "on_shutdown": [self.third, self.fourth],
        }

    def tell(self, line: str) -> None:
        self.lines.append(line)
        self.tasks.add(asyncio.current_task())
        if line == self.breaks:
            raise ValueError(f"no\n{line}")

    @asynccontextmanager
    async def lifespan(self, app: Application) -> AsyncIterator[None]:
        self.tell("enter")
        app.state.story = self
        try:
            yield
        finally:
            self.tell("leave")

    def first(self, app: Application) -> None:
        assert app.state.story is self
        self.tell("first")

    async def second(self, app: Application) -> None:
        await asyncio.sleep(0)
        self.tell("second")

    def third(self, app: Application) -> None:
        self.tell("third")

    async def fourth(self, app: Application) -> None:
        await asyncio.sleep(0)
        self.tell("fourth")


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def router_of(*handlers: Any) -> SimpleRouter:
    router = SimpleRouter()
    for handler in handlers:
        router.register_endpoint(handler)
    return router


# Order


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_lifespan_is_around_all_connections(loop: str) -> None:
    story = Story()

    @endpoint("/told", "GET")
    def told(request: Request) -> list[str]:
        return list(request.app.state.story.lines)

    options = story.options | {"on_disconnect": lambda connection, code, reason: story.tell("disconnected")}
    async with serving(router_of(told), **options) as app, await Client.connect(app) as client:
        assert (await client.ask("GET", "/told"))["data"] == ["enter", "first", "second"]
        stopping = asyncio.ensure_future(app.stop())
        await client.left()
        await stopping
        assert story.lines[3:] == ["disconnected", "third", "fourth", "leave"]


@asynchronous
async def test_lifespan_is_entered_and_left_in_one_task() -> None:
    story = Story()
    app = Application(router=SimpleRouter(), port=0, **story.options)
    await asyncio.create_task(app.start())
    await asyncio.create_task(app.stop())
    assert len(story.tasks) == 1


@asynchronous
async def test_application_can_live_again() -> None:
    story = Story()
    app = Application(router=SimpleRouter(), port=0, **story.options)
    for _ in range(2):
        await app.start()
        with pytest.raises(RuntimeError, match="already running"):
            await app.start()
        await app.stop()
        await app.stop()
    assert story.lines == ["enter", "first", "second", "third", "fourth", "leave"] * 2


@asynchronous
async def test_serve_lives_until_it_is_cancelled() -> None:
    story, started = Story(), asyncio.Event()
    story.options["on_startup"].append(lambda app: started.set())
    serving = asyncio.create_task(Application(router=SimpleRouter(), port=0, **story.options).serve())
    await started.wait()
    serving.cancel()
    await asyncio.wait([serving])
    assert story.lines[-1] == "leave"


# Start


@pytest.mark.parametrize(
    ("breaks", "name", "lines"),
    [
        ("enter", "Story.lifespan", ["enter"]),
        ("first", "Story.first", ["enter", "first", "leave"]),
        ("second", "Story.second", ["enter", "first", "second", "leave"]),
    ],
)
def test_start_that_fails_raises_one_line_and_puts_away(
    breaks: str, name: str, lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    @asynchronous
    async def test() -> None:
        story = Story(breaks=breaks)
        app = Application(router=SimpleRouter(), port=0, **story.options)
        with pytest.raises(ImproperlyConfigured) as caught:
            await app.start()
        assert str(caught.value) == f"lifespan {name} failed at the start: ValueError: no {breaks}"
        assert isinstance(caught.value.__cause__, ValueError)
        assert story.lines == lines
        assert app.addresses == []
        story.breaks = ""
        await app.start()
        await app.stop()

    test()
    assert errors(caplog) == []


@asynchronous
async def test_lifespan_that_swallows_the_failure_of_startup_does_not_start() -> None:
    @asynccontextmanager
    async def swallows(app: Application) -> AsyncIterator[None]:
        try:
            yield
        except ValueError:
            pass

    def fails(app: Application) -> None:
        raise ValueError

    app = Application(router=SimpleRouter(), port=0, lifespan=swallows, on_startup=[fails])
    with pytest.raises(ImproperlyConfigured, match="swallows ended before the application started"):
        await app.start()


@asynchronous
async def test_lifespan_is_left_when_the_port_is_taken() -> None:
    story = Story()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        app = Application(router=SimpleRouter(), port=taken.getsockname()[1], **story.options)
        with pytest.raises(ImproperlyConfigured, match="cannot listen"):
            await app.start()
    assert story.lines == ["enter", "first", "second", "third", "fourth", "leave"]


@asynchronous
async def test_start_that_is_cancelled_cancels_the_lifespan() -> None:
    gates = Gates()

    async def waits(app: Application) -> None:
        await gates.wait("startup")

    app = Application(router=SimpleRouter(), port=0, on_startup=[waits])
    starting = asyncio.create_task(app.start())
    await gates.until_started("startup")
    starting.cancel()
    await asyncio.wait([starting])
    assert gates.cancelled == ["startup"]


# End


@pytest.mark.parametrize(
    ("breaks", "logged"),
    [
        ("third", ["lifespan Story.third failed at the end"]),
        ("fourth", ["lifespan Story.fourth failed at the end"]),
        ("leave", ["lifespan Story.lifespan failed at the end"]),
    ],
)
def test_failure_at_the_end_is_logged_and_the_rest_goes_on(
    breaks: str, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    @asynchronous
    async def test() -> None:
        story = Story(breaks=breaks)
        async with serving(SimpleRouter(), **story.options):
            pass
        assert story.lines == ["enter", "first", "second", "third", "fourth", "leave"]

    test()
    assert errors(caplog) == logged


# run()

PROGRAM = """
import asyncio
from contextlib import asynccontextmanager
from aiorest_ws import Application, SimpleRouter

@asynccontextmanager
async def lifespan(app):
    print("entered", flush=True)
    {inside}
    yield
    print("leaving", flush=True)
    {after}
    print("left", flush=True)

Application(router=SimpleRouter(), port=0, lifespan=lifespan).run()
"""


async def generator(app: Any) -> AsyncIterator[None]:
    yield


@contextmanager
def for_threads(app: Any) -> Iterator[None]:
    yield


async def coroutine(app: Any) -> None: ...


@pytest.mark.parametrize(
    ("lifespan", "kind"),
    [
        (generator, "async_generator"),
        (for_threads, "_GeneratorContextManager"),
        (coroutine, "coroutine"),
        (lambda app: None, "NoneType"),
    ],
    ids=["generator", "contextmanager", "coroutine", "nothing"],
)
def test_lifespan_that_is_no_asynchronous_context_manager_is_told_how_to_be_one(lifespan: Any, kind: str) -> None:
    @asynchronous
    async def test() -> None:
        app = Application(router=SimpleRouter(), port=0, lifespan=lifespan)
        with pytest.raises(ImproperlyConfigured) as caught:
            await app.start()
        assert str(caught.value).endswith(
            f"failed at the start: TypeError: expected an asynchronous context manager, got {kind}: "
            "lifespan is a function with one `yield`, under @asynccontextmanager"
        )

    test()


def test_run_says_in_one_line_why_the_lifespan_did_not_start() -> None:
    @asynchronous
    async def test() -> None:
        outcome = await run_program(PROGRAM.format(inside="raise OSError('no database')", after=""))
        assert outcome.code == 1
        assert outcome.out == "entered\n"
        assert outcome.err == "aiorest-ws: lifespan lifespan failed at the start: OSError: no database\n"

    test()


@posix_only
def test_run_leaves_the_lifespan_at_a_signal() -> None:
    @asynchronous
    async def test() -> None:
        async with await Program.start(PROGRAM.format(inside="", after="")) as program:
            assert (await program.started())[0] == "entered"
            program.signal(signal.SIGTERM)
            outcome = await program.end()
            assert (outcome.code, outcome.err) == (0, "")
            assert outcome.out.endswith("leaving\nleft\n")

    test()


@posix_only
@pytest.mark.parametrize(
    ("inside", "after", "line"),
    [("await asyncio.Event().wait()", "", "entered"), ("", "await asyncio.Event().wait()", "leaving")],
    ids=["start", "end"],
)
def test_lifespan_that_hangs_does_not_keep_run_from_ending(inside: str, after: str, line: str) -> None:
    @asynchronous
    async def test() -> None:
        async with await Program.start(PROGRAM.format(inside=inside, after=after)) as program:
            if line == "leaving":
                await program.started()
                program.signal(signal.SIGTERM)
            assert await program.line() == line
            program.signal(signal.SIGTERM)
            outcome = await program.end()
            assert (outcome.code, outcome.err) == (0, "")
            assert not outcome.out.endswith("left\n")

    test()


# State


@asynchronous
async def test_state_of_a_request_is_its_own() -> None:
    class Marks:
        def process_request(self, request: Request, handler: Any) -> None:
            assert vars(request.state) == {}
            request.state.mark = request.id

    @endpoint("/state", "GET")
    def state(request: Request) -> Any:
        assert request.state is request.state
        return vars(request.state)

    async with (
        serving(router_of(state), middlewares=[Marks]) as app,
        await Client.connect(app) as client,
    ):
        for number in (1, 2):
            reply = await client.ask("GET", "/state", id=number, state={"mark": "from the wire"}, app=1)
            assert reply["data"] == {"mark": number}
        await client.leave()


@asynchronous
async def test_request_knows_its_application() -> None:
    @endpoint("/app", "GET")
    def counts(request: Request) -> int:
        request.app.state.count = getattr(request.app.state, "count", 0) + 1
        return int(request.app.state.count)

    async with serving(router_of(counts)) as app, await Client.connect(app) as client:
        assert [(await client.ask("GET", "/app"))["data"] for _ in range(2)] == [1, 2]
        assert app.state.count == 2
        await client.leave()


def test_request_outside_a_connection_has_no_application() -> None:
    assert Request(method="GET", url="/", app="from the wire").app is None


# Options


@pytest.mark.parametrize("name", ["on_startup", "on_shutdown"])
@pytest.mark.parametrize("value", [print, [1], "print", None])
def test_hooks_that_are_no_list_of_functions_raise(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a list of functions, got"):
        Application(**{name: value})


def test_lifespan_that_is_no_function_raises() -> None:
    with pytest.raises(TypeError, match="lifespan must be a function, got 1"):
        Application(lifespan=1)
