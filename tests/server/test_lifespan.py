"""What an application does before it listens and after its last connection, and the state of both."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
import sys
from collections import UserDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from textwrap import dedent
from types import MappingProxyType
from typing import Any

import pytest

from aiorest_ws import Application, SimpleRouter, endpoint
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.testing import AsyncTestClient
from aiorest_ws.wrappers import Request
from tests.kit.systems import needs_linux, needs_posix
from tests.serving import LOOPS, Client, Gates, Program, asynchronous, make_router, run_program, serving, until


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
        app = Application(router=make_router(), port=0, **story.options)
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

    app = Application(router=make_router(), port=0, lifespan=swallows, on_startup=[fails])
    with pytest.raises(ImproperlyConfigured, match="swallows ended before the application started"):
        await app.start()


@asynchronous
async def test_lifespan_is_left_when_the_port_is_taken() -> None:
    story = Story()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        app = Application(router=make_router(), port=taken.getsockname()[1], **story.options)
        with pytest.raises(ImproperlyConfigured, match="cannot listen"):
            await app.start()
    assert story.lines == ["enter", "first", "second", "third", "fourth", "leave"]


@asynchronous
async def test_start_that_is_cancelled_cancels_the_lifespan() -> None:
    gates = Gates()

    async def waits(app: Application) -> None:
        await gates.wait("startup")

    app = Application(router=make_router(), port=0, on_startup=[waits])
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
        async with serving(make_router(), **story.options):
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

router = SimpleRouter()
router.get("/hello")(lambda request: "Hello, world!")
Application(router=router, port=0, lifespan=lifespan).run()
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


@needs_posix
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


@needs_posix
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
        Application(lifespan=1)  # type: ignore[arg-type]


# What it shares


@pytest.mark.parametrize("kind", [dict, MappingProxyType, UserDict])
@asynchronous
async def test_what_the_lifespan_yields_is_in_the_state_as_long_as_it_lasts(kind: Any) -> None:
    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[Any]:
        yield kind({"db": "pool", "_cache": 1})

    @endpoint("/db", "GET")
    def db(request: Request) -> Any:
        return [request.app.state.db, request.app.state._cache]

    seen: list[Any] = []
    app = Application(router=router_of(db), lifespan=lifespan, on_startup=[lambda app: seen.append(app.state.db)])
    for _ in range(2):
        async with AsyncTestClient(app) as client, AsyncTestClient(app) as other:
            assert (await client.get("/db")).data == ["pool", 1]
            assert (await other.get("/db")).data == ["pool", 1]
        assert vars(app.state) == {}
    assert seen == ["pool"] * 4


@pytest.mark.parametrize("given", [None, "itself"])
@asynchronous
async def test_manager_that_gives_nothing_or_itself_shares_nothing(given: Any) -> None:
    class Manager:
        async def __aenter__(self) -> Any:
            return self if given == "itself" else None

        async def __aexit__(self, *exc_info: object) -> None:
            pass

    async with AsyncTestClient(Application(router=make_router(), lifespan=lambda app: Manager())) as client:
        assert vars(client.app.state) == {}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("pool", "expected nothing or a dict of names for app.state behind `yield`, got 'pool'"),
        (["db"], "expected nothing or a dict"),
        (False, "expected nothing or a dict"),
        ((("db", 1),), "expected nothing or a dict"),
        ({1: 2}, "expected nothing or a dict"),
        ({"a b": 2}, "expected nothing or a dict"),
        ({"mine": 2}, "app.state.mine is there already"),
        ({"other": 1, "mine": 2}, "app.state.mine is there already"),
    ],
)
@asynchronous
async def test_what_cannot_be_shared_keeps_it_from_starting(given: Any, says: str) -> None:
    left = []

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[Any]:
        try:
            yield given
        finally:
            left.append(True)

    app = Application(router=make_router(), port=0, lifespan=lifespan)
    app.state.mine = 1
    with pytest.raises(ImproperlyConfigured, match=f"lifespan .* failed at the start: .*{re.escape(says)}"):
        await app.start()
    assert (vars(app.state), left) == ({"mine": 1}, [True])


@asynchronous
async def test_what_the_lifespan_sets_it_may_also_yield() -> None:
    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[Any]:
        app.state.db = pool = object()
        yield {"db": pool}

    app = Application(router=make_router(), lifespan=lifespan)
    async with AsyncTestClient(app):
        assert app.state.db


# An end before its time


@asynccontextmanager
async def with_task_group(app: Application) -> AsyncIterator[None]:
    """End when a task fails that runs beside the application."""

    async def consume() -> None:
        await app.state.go.wait()
        raise ConnectionError("the broker is gone")

    async with asyncio.TaskGroup() as group:
        group.create_task(consume())
        yield


@asynccontextmanager
async def with_cancel(app: Application) -> AsyncIterator[None]:
    """Be cancelled from elsewhere."""
    asyncio.ensure_future(app.state.go.wait()).add_done_callback(asyncio.current_task().cancel)  # type: ignore[union-attr]
    yield


@asynccontextmanager
async def with_return(app: Application) -> AsyncIterator[None]:
    """Be cancelled, and return all the same."""
    asyncio.ensure_future(app.state.go.wait()).add_done_callback(asyncio.current_task().cancel)  # type: ignore[union-attr]
    try:
        yield
    except asyncio.CancelledError:
        pass


@asynccontextmanager
async def with_exit(app: Application) -> AsyncIterator[None]:
    """Be cancelled, and end the program."""
    asyncio.ensure_future(app.state.go.wait()).add_done_callback(asyncio.current_task().cancel)  # type: ignore[union-attr]
    try:
        yield
    except asyncio.CancelledError:
        raise SystemExit(3) from None


LOST = pytest.mark.parametrize(
    ("lifespan", "cause"),
    [
        (with_task_group, ExceptionGroup),
        (with_cancel, type(None)),
        (with_return, type(None)),
        (with_exit, SystemExit),
    ],
)


def losing(lifespan: Any, **options: Any) -> tuple[Application, list[str]]:
    hooks: list[str] = []
    app = Application(
        router=make_router(), port=0, lifespan=lifespan, on_shutdown=[lambda app: hooks.append("shutdown")], **options
    )
    app.state.go = asyncio.Event()
    return app, hooks


@LOST
@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_serve_raises_when_the_lifespan_ends_before_its_time(
    loop: str, lifespan: Any, cause: type, caplog: pytest.LogCaptureFixture
) -> None:
    app, hooks = losing(lifespan, on_listening=[lambda app: app.state.go.set()])
    with pytest.raises(RuntimeError, match="ended while the application was serving") as raised:
        await app.serve()
    assert isinstance(raised.value.__cause__, cause)
    assert len(errors(caplog)) == 1
    assert not app.is_running
    assert hooks == ["shutdown"]


@LOST
@asynchronous
async def test_started_application_stops_by_itself_when_the_lifespan_ends(
    lifespan: Any, cause: type, caplog: pytest.LogCaptureFixture
) -> None:
    app, hooks = losing(lifespan)
    await app.start()
    async with await Client.connect(app) as client:
        app.state.go.set()
        assert (await client.left()).close_code == 1001
    await until(lambda: not app.is_running)
    assert len(errors(caplog)) == 1
    assert hooks == ["shutdown"]
    await app.stop()


class CleanUp:
    """What a lifespan does after its task group has failed, until it may."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.may = asyncio.Event()
        self.failure = failure

    @asynccontextmanager
    async def lifespan(self, app: Application) -> AsyncIterator[None]:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail_when(app.state.go))
                yield
        finally:
            await self.may.wait()
            if self.failure is not None:
                raise self.failure


async def fail_when(go: asyncio.Event) -> None:
    await go.wait()
    raise ConnectionError("the broker is gone")


@pytest.mark.parametrize("failure", [None, ValueError("not closed")], ids=["", "fails"])
@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_nobody_is_served_on_while_a_lifespan_that_failed_cleans_up(
    loop: str, failure: BaseException | None, caplog: pytest.LogCaptureFixture
) -> None:
    clean_up = CleanUp(failure)
    app, _ = losing(clean_up.lifespan)
    await app.start()
    port = app.addresses[0][1]
    async with await Client.connect(app) as client:
        app.state.go.set()
        assert (await client.left()).close_code == 1001
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: errors(caplog) != [])
        assert errors(caplog)[0].endswith("ended while the application was serving")
        clean_up.may.set()
        await until(lambda: not app.is_running)
    assert [line.split(" lifespan ")[-1][-17:] for line in errors(caplog)[1:]] == ["failed at the end"]


@asynchronous
async def test_test_client_tells_of_a_lifespan_that_ended() -> None:
    app, _ = losing(with_task_group)
    with pytest.raises(RuntimeError, match="ended while the application was serving"):
        async with AsyncTestClient(app):
            app.state.go.set()


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_run_ends_with_code_1_when_the_lifespan_ends(loop: str) -> None:
    source = f"""
        import asyncio
        from contextlib import asynccontextmanager
        from aiorest_ws import Application, SimpleRouter

        @asynccontextmanager
        async def lifespan(app):
            app.state.go = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(fail(app))
                yield {{"db": 1}}

        async def fail(app):
            await app.state.go.wait()
            raise ConnectionError("the broker is gone")

        def listening(app):
            app.state.go.set()

        options = {{"lifespan": lifespan, "on_listening": [listening], "loop": {loop!r}}}
        Application(router=SimpleRouter(), port=0, **options).run()
        """
    outcome = await run_program(dedent(source))
    assert outcome.code == 1
    assert outcome.err.count("lifespan lifespan ended while the application was serving") == 1
    assert "ConnectionError: the broker is gone" in outcome.err


@pytest.mark.parametrize("where", ["on_startup", "lifespan", "on_shutdown", "end"])
@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_exit_in_the_lifespan_is_a_failure_of_it(loop: str, where: str, caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[None]:
        if where == "lifespan":
            sys.exit(3)
        yield
        if where == "end":
            sys.exit(3)

    hooks: dict[str, Any] = {where: [lambda app: sys.exit(3)]} if where.startswith("on_") else {}
    app = Application(router=make_router(), port=0, lifespan=lifespan, **hooks)
    if where in ("on_startup", "lifespan"):
        with pytest.raises(ImproperlyConfigured, match="failed at the start: SystemExit: 3"):
            await app.start()
    else:
        await app.start()
        await app.stop()
        assert [line.endswith("failed at the end") for line in errors(caplog)] == [True]


# Listening


@asynchronous
async def test_on_listening_is_called_when_it_is_known_where() -> None:
    heard: list[Any] = []

    async def hear(app: Application) -> None:
        async with await Client.connect(app) as client:
            heard.append(app.addresses[0])
            await client.leave()

    async with serving(make_router(), on_listening=[hear, lambda app: heard.append("second")]) as app:
        assert heard == [app.addresses[0], "second"]


@pytest.mark.parametrize("error", [OSError("no registry"), SystemExit("no registry")], ids=repr)
@asynchronous
async def test_on_listening_that_fails_keeps_it_from_starting(error: BaseException) -> None:
    def fail(app: Application) -> None:
        raise error

    app = Application(router=make_router(), port=0, on_listening=[fail])
    with pytest.raises(ImproperlyConfigured, match=r"on_listening .*fail.* failed: .*no registry"):
        await app.start()
    assert not app.is_running
    assert app.addresses == []


# systemd


@needs_posix
@pytest.mark.parametrize("abstract", [False, pytest.param(True, marks=needs_linux)])
@asynchronous
async def test_who_started_it_is_told_when_it_is_ready_and_when_it_stops(
    abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = f"aiorest-ws-{os.getpid()}" if abstract else str(tmp_path / "notify")
        listening.bind(f"\0{name}" if abstract else name)
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        async with serving(make_router()):
            assert listening.recv(100) == b"READY=1"
        assert listening.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("where", ["/nowhere/at/all", "@nowhere-at-all", "vsock:2:1", "relative"])
@asynchronous
async def test_nobody_who_can_be_told_is_no_failure(
    where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", where)
    async with serving(make_router()) as app, await Client.connect(app) as client:
        assert (await client.ask())["data"] == "Hello, world!"
        await client.leave()
    assert [line.startswith("cannot tell NOTIFY_SOCKET") for line in errors(caplog)] == [True] * 2 * (where[0] in "/@")


# Logging


@pytest.mark.parametrize(
    ("when", "client"),
    # Test clients do not listen.
    [("before", True), ("before", False), ("on_startup", True), ("on_startup", False), ("on_listening", False)],
)
@asynchronous
async def test_loggers_that_a_configuration_disabled_are_enabled_at_the_start(when: str, client: bool) -> None:
    def configure(app: Any = None) -> None:
        for name in ("aiorest_ws", "aiorest_ws.access", "aiorest_ws.timing", "aiorest_ws_other"):
            logging.getLogger(name).disabled = True

    if when == "before":
        configure()
    hooks: Any = {when: [configure]} if when != "before" else {}
    if client:
        async with AsyncTestClient(Application(router=make_router(), **hooks)):
            pass
    else:
        async with serving(make_router(), **hooks):
            pass
    names = ("aiorest_ws", "aiorest_ws.access", "aiorest_ws.timing", "aiorest_ws_other")
    assert [logging.getLogger(name).disabled for name in names] == [False, False, False, True]


@asynchronous
async def test_failure_is_logged_whatever_logging_was_configured_after_the_import() -> None:
    source = """
        import logging.config
        from aiorest_ws import Application, SimpleRouter, endpoint
        from aiorest_ws.testing import TestClient

        @endpoint("/", "GET")
        def fail(request):
            raise ZeroDivisionError

        router = SimpleRouter()
        router.register_endpoint(fail)
        logging.config.dictConfig({
            "version": 1,
            "handlers": {"out": {"class": "logging.StreamHandler"}},
            "root": {"handlers": ["out"], "level": "INFO"},
        })
        with TestClient(Application(router=router, access_log=True)) as client:
            assert client.get("/").status == 500
        """
    outcome = await run_program(dedent(source))
    assert "'GET' '/' failed: ZeroDivisionError" in outcome.err
    assert " GET / 500 " in outcome.err
