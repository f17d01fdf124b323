"""`Client`: the same for programs without asyncio; its connection is read in a thread of its own."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from aiorest_ws import Application, HTTPError, Live, SimpleRouter
from aiorest_ws.client import (
    AsyncClient,
    Client,
    ClientClosed,
    Conflict,
    ConnectionLost,
    MethodNotAllowed,
    TimedOut,
    UnexpectedReply,
)
from tests.kit.cuts import Line, line_to
from tests.kit.systems import needs_posix
from tests.serving import TIMEOUT, asynchronous, factory_of, run_program, serving

QUICK: dict[str, Any] = {"backoff": (0.0, 0.01)}


class World:
    """A server, and a line to it, in a loop of another thread."""

    def __init__(self) -> None:
        self.value = 1
        self.router = SimpleRouter()
        self.url = ""
        self.line: Line
        self.loop: asyncio.AbstractEventLoop
        self.app: Application

        @self.router.get("/state", live=Live(shared=True, interval=0))
        def state(request: Any) -> int:
            return self.value

        @self.router.put("/state", changes=["/state"])
        def change(request: Any) -> None:
            self.value = request.data

        @self.router.get("/fails")
        def fails(request: Any) -> None:
            raise HTTPError(409, "no")

        @self.router.get("/token")
        def token(request: Any) -> Any:
            return request.connection.headers.get("authorization")

        @self.router.get("/forever")
        async def forever(request: Any) -> None:
            await asyncio.Event().wait()

        @self.router.post("/news")
        def news(request: Any) -> None:
            request.connection.send_event("news", request.data)

    def do(self, function: Any, *args: Any) -> None:
        """Do something in the server's loop."""

        async def call() -> None:
            function(*args)

        asyncio.run_coroutine_threadsafe(call(), self.loop).result(TIMEOUT)

    async def _serve(self, begun: threading.Event) -> None:
        self.loop, done = asyncio.get_running_loop(), asyncio.Event()
        self.end = lambda: self.loop.call_soon_threadsafe(done.set)
        async with serving(self.router) as app, line_to(app.addresses[0]) as line:
            self.app, self.line, self.url = app, line, f"ws://127.0.0.1:{line.port}"
            begun.set()
            await done.wait()


@contextmanager
def a_world() -> Iterator[World]:
    world, begun = World(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(world._serve(begun)))
    thread.start()
    assert begun.wait(TIMEOUT)
    try:
        yield world
    finally:
        world.end()
        thread.join(TIMEOUT)
    assert not thread.is_alive()


class Late:
    """What is called gives what is awaited."""

    async def __call__(self) -> str:
        return "d.e.f"


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("aiorest_ws.client")]


def test_both_clients_have_the_same_methods() -> None:
    def names(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith(("_", "on_"))}

    assert names(Client) == names(AsyncClient)


def test_calls_give_values_and_raise_errors() -> None:
    with a_world() as world, Client(world.url, form="msgpack") as api:
        assert api.status == "open"
        assert api.get("/state", type=int) == 1
        assert api.put("/state", data=5) is None
        assert api.exchange("GET", "/state").data == 5
        with pytest.raises(Conflict, match="409: no"):
            api.get("/fails")
        with pytest.raises(UnexpectedReply):
            api.get("/state", type=str)
        with pytest.raises(TimeoutError):
            api.get("/forever", timeout=0.05)
        assert api.request("GET", "/state") == 5
    assert threads() == []


def test_several_threads_use_one_client() -> None:
    with a_world() as world, Client(world.url) as api:
        found: list[Any] = []
        users = [threading.Thread(target=lambda: found.extend(api.get("/state") for _ in range(20))) for _ in range(8)]
        for user in users:
            user.start()
        for user in users:
            user.join(TIMEOUT)
        assert found == [1] * 160


def test_changes_are_iterated() -> None:
    with a_world() as world, Client(world.url, **QUICK) as api:
        with api.subscribe("/state", type=int) as changes:
            assert next(changes).data == 1
            api.put("/state", data=2)
            assert changes.next(timeout=TIMEOUT).data == 2
            with pytest.raises(TimedOut, match=r"^nothing came within 0\.01 s$"):
                changes.next(timeout=0.01)
            states = api.statuses()
            world.do(world.line.cut)
            assert [next(states).status for _ in range(3)] == ["open", "offline", "open"]
            api.put("/state", data=3)
            assert next(changes).data == 3
            assert changes.status == "live"
        assert changes.status == "ended"
        assert list(changes) == []
        with pytest.raises(MethodNotAllowed):
            next(api.subscribe("/fails"))


def test_events_and_statuses_are_iterated() -> None:
    with a_world() as world, Client(world.url, **QUICK) as api:
        events, states = api.events(), api.statuses()
        api.post("/news", data="rain")
        event = next(events)
        assert (event.name, event.data) == ("news", "rain")
        world.do(world.line.cut)
        assert [next(states).status for _ in range(3)] == ["open", "offline", "open"]
        of_it = api.subscribe("/state").statuses()
        assert next(of_it).status in ("stale", "live", "ended")
    assert list(states) == []
    assert list(events) == []


def test_a_token_may_be_fetched_by_what_blocks() -> None:
    """It has a thread of its own: calls go on meanwhile, and the connection is read."""
    names = []

    def fetch() -> str:
        names.append(threading.current_thread().name)
        return "a.b.c"

    async def later() -> str:
        return "d.e.f"

    with a_world() as world:
        for give, token in ((fetch, "a.b.c"), (later, "d.e.f"), (Late(), "d.e.f"), ("g.h.i", "g.h.i")):
            with Client(world.url, token=give) as api:
                assert api.get("/token") == f"Bearer {token}"
        with Client(world.url) as api:
            api.sign_in(fetch)
            assert api.get("/token") == "Bearer a.b.c"
    assert set(names) == {"aiorest_ws.client token"}


def test_a_function_for_tokens_that_raises_is_raised() -> None:
    with a_world() as world, pytest.raises(ZeroDivisionError), Client(world.url, token=lambda: 1 // 0):  # type: ignore[arg-type, return-value]
        pass
    assert threads() == []


@pytest.mark.parametrize("exc", [StopIteration("x"), SystemExit("x"), KeyboardInterrupt("x"), GeneratorExit("x")])
def test_what_neither_a_future_nor_a_loop_takes_is_told_all_the_same(exc: BaseException) -> None:
    def fetch() -> str:
        raise exc

    told = pytest.raises(RuntimeError, match=f"raised {type(exc).__name__}")
    with a_world() as world, told as raised, Client(world.url, token=fetch):
        pass
    assert raised.value.__cause__ is exc
    assert threads() == []


def test_a_first_connection_that_cannot_be_had_leaves_no_thread() -> None:
    with pytest.raises(ConnectionLost, match="no connection to"), Client("ws://127.0.0.1:9"):
        pass
    assert threads() == []


def test_what_waits_is_told_when_it_is_closed() -> None:
    with a_world() as world:
        api = Client(world.url)
        failures: list[BaseException] = []
        begun = threading.Event()

        def wait() -> None:
            begun.set()
            try:
                api.get("/forever")
            except ClientClosed as exc:
                failures.append(exc)

        api.connect()
        user = threading.Thread(target=wait)
        user.start()
        assert begun.wait(TIMEOUT)
        api.close()
        user.join(TIMEOUT)
        assert len(failures) == 1
        api.close()
        for ask in (api.connect, api.statuses, lambda: api.get("/state"), lambda: api.subscribe("/state")):
            with pytest.raises(ClientClosed, match="the client is closed: make another one"):
                ask()
        assert api.status == "closed"
    assert threads() == []


def test_one_that_is_forgotten_ends_its_thread() -> None:
    with a_world() as world:
        gone = forgotten(world.url)
        gc.collect()
        assert gone() is None
    assert threads() == []


def forgotten(url: str, **options: Any) -> weakref.ref[Client]:
    """Have a client that nobody has any more, but for itself; it may have failed to connect."""
    api: Any = Client(url, **options)
    with suppress(ConnectionLost, ZeroDivisionError):
        api.connect()
    api.itself = api
    return weakref.ref(api)


@pytest.mark.parametrize("token", [None, lambda: 1 // 0])
def test_one_that_is_forgotten_though_it_could_not_connect_ends_its_thread(
    token: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What it failed with is kept as the reason, and must not keep whoever was told."""
    with caplog.at_level("ERROR", "aiorest_ws.client"):  # pytest would keep what is logged, and its traceback
        gone = forgotten("ws://127.0.0.1:9", token=token, backoff=(3600, 3600))
    gc.collect()
    assert gone() is None
    assert threads() == []


def test_one_that_is_forgotten_behind_the_end_of_all_ends_its_thread() -> None:
    def follow() -> weakref.ref[Client]:
        api = Client(world.url)
        changes = api.subscribe("/state")
        next(changes)
        (connection,) = factory_of(world.app).connections
        world.do(connection.close, 1008, "no more")
        with pytest.raises(ConnectionLost, match="1008 no more"):
            next(changes)
        return weakref.ref(api)

    with a_world() as world:
        gone = follow()
        gc.collect()
        assert gone() is None
    assert threads() == []


def test_one_whose_own_thread_finds_it_forgotten_ends_it() -> None:
    """Garbage is collected wherever something is made; nothing can be waited for there."""
    gc.disable()
    try:
        with a_world() as world:
            gone = forgotten(world.url)
            (thread,) = [thread for thread in threading.enumerate() if thread.name == "aiorest_ws.client"]
            loop = gone()._thread._loop  # type: ignore[union-attr]
            loop.call_soon_threadsafe(gc.collect)
            thread.join(TIMEOUT)
            assert gone() is None
    finally:
        gc.enable()
    assert threads() == []


def test_one_that_would_wait_for_itself_says_so() -> None:
    with a_world() as world:
        api: Any = None
        said: list[str] = []

        async def fetch() -> str:
            try:
                api.get("/state")
            except RuntimeError as exc:
                said.append(str(exc))
            return "a.b.c"

        api = Client(world.url, token=fetch)
        api.connect()
        assert said == ["this client would wait for itself: call it from another thread"]
        api.close()


@needs_posix
def test_another_process_is_told_to_make_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_world() as world, Client(world.url) as api:
        with monkeypatch.context() as patch:
            patch.setattr("aiorest_ws.client.threads.os.getpid", os.getppid)
            with pytest.raises(RuntimeError, match="made in another process: make one after the fork"):
                api.get("/state")
        assert api.get("/state") == 1


@needs_posix
@asynchronous
async def test_a_fork_neither_hangs_nor_closes_the_connection_of_its_parent() -> None:
    outcome = await run_program(
        """
import asyncio, os, threading, warnings
from aiorest_ws import Application, SimpleRouter
from aiorest_ws.client import Client
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork where there are threads, from 3.12 on
router = SimpleRouter()
router.get("/hello")(lambda request: "hello")
app, begun = Application(router=router), threading.Event()
async def serve():
    await app.start(port=0)
    begun.set()
    await asyncio.Event().wait()
threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
begun.wait()
api = Client(f"ws://127.0.0.1:{app.addresses[0][1]}")
print(api.get("/hello"), flush=True)
if os.fork() == 0:
    try:
        api.get("/hello")
    except RuntimeError as exc:
        print(exc, flush=True)
    api.close()
    os._exit(0)
os.wait()
print(api.get("/hello"), flush=True)
api.close()
os._exit(0)
"""
    )
    said = ["hello", "this client was made in another process: make one after the fork", "hello"]
    assert (outcome.code, outcome.out.splitlines(), outcome.err) == (0, said, "")


@asynchronous
async def test_a_program_that_forgets_to_close_it_ends() -> None:
    outcome = await run_program(
        "from aiorest_ws.client import Client, ConnectionLost\n"
        "api = Client('ws://127.0.0.1:9', backoff=(3600, 3600))\n"
        "try:\n    api.connect()\nexcept ConnectionLost:\n    print('lost')\n"
    )
    assert (outcome.code, outcome.out, outcome.err) == (0, "lost\n", "")
