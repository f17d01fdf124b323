"""Handlers of views that are `threaded` run in a bounded pool, over a real socket."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from aiorest_ws import Application, Depends, HTTPError, MethodBasedView, SimpleRouter, endpoint
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.server.threads import Threads
from aiorest_ws.testing import TestClient
from aiorest_ws.wrappers import Request
from tests.serving import LOOPS, TIMEOUT, Client, asynchronous, factory_of, serving, turn_over

FAILED = "A server error occurred."
who: ContextVar[str] = ContextVar("who", default="nobody")


@dataclass
class Blocker:
    """A handler that blocks its thread until the test lets it go."""

    running: int = 0
    most: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    gate: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    wanted: int = 1

    def __call__(self) -> str:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            if self.running == self.wanted:
                self.loop.call_soon_threadsafe(self.begun.set)
        assert self.gate.wait(TIMEOUT)
        with self.lock:
            self.running -= 1
            if not self.running:
                self.loop.call_soon_threadsafe(self.ended.set)
        return "free"


def router_of(function: Callable[..., Any], path: str = "/x", **attrs: Any) -> SimpleRouter:
    router = SimpleRouter()
    router.register_endpoint(endpoint(path, "GET", **{"threaded": True} | attrs)(function))
    return router


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("rest", [{}, {"id": 1}], ids=["in-order", "with-id"])
@asynchronous
async def test_blocked_handler_holds_up_nobody_else(loop: str, rest: dict[str, Any]) -> None:
    blocker = Blocker()
    router = router_of(lambda request: blocker())

    @endpoint("/other", "GET")
    def other(request: Request) -> str:
        blocker.gate.set()
        return "other"

    router.register_endpoint(other)
    async with (
        serving(router) as app,
        await Client.connect(app) as client,
        await Client.connect(app) as another,
    ):
        client.request("GET", "/x", **rest)
        await blocker.begun.wait()
        assert (await another.ask("GET", "/other"))["data"] == "other"
        assert (await client.reply())["data"] == "free"
        await client.leave()
        await another.leave()


@asynchronous
async def test_only_plain_handlers_of_threaded_views_leave_the_loop() -> None:
    def where() -> str:
        return "loop" if threading.current_thread() is threading.main_thread() else "thread"

    class Threaded(MethodBasedView):
        threaded = True

        def get(self, request: Request, name: str, suffix: str = "") -> str:
            return name + suffix + where()

        async def put(self, request: Request, name: str) -> str:
            return name + where()

    class Plain(MethodBasedView):
        def get(self, request: Request) -> str:
            return where()

    class Dispatched(Threaded):
        def dispatch(self, request: Request, *args: Any, **kwargs: Any) -> Any:
            return super().dispatch(request, *args, **kwargs)

    router = SimpleRouter()
    router.register("/threaded/{name}", Threaded, ["GET", "PUT"])
    router.register("/dispatched/{name}", Dispatched, ["GET", "PUT"])
    router.register("/plain", Plain, "GET")
    async with serving(router) as app, await Client.connect(app) as client:
        assert (await client.ask("GET", "/threaded/a", args={"suffix": "-"}))["data"] == "a-thread"
        assert (await client.ask("PUT", "/threaded/a"))["data"] == "aloop"
        assert (await client.ask("GET", "/dispatched/a"))["data"] == "athread"
        assert (await client.ask("PUT", "/dispatched/a"))["data"] == "aloop"
        assert (await client.ask("GET", "/plain"))["data"] == "loop"
        await client.leave()


@asynchronous
async def test_middlewares_and_permissions_stay_on_the_loop_and_their_context_reaches_the_thread() -> None:
    seen: list[threading.Thread] = []

    class Says:
        async def process_request(self, request: Request, handler: Any) -> None:
            seen.append(threading.current_thread())
            await asyncio.sleep(0)
            who.set("ada")

    class Allows:
        @staticmethod
        def check(request: Request, handler: Any) -> bool:
            seen.append(threading.current_thread())
            return True

    def tells(request: Request) -> str:
        try:
            return who.get()
        finally:
            who.set("changed in the thread")

    router = router_of(tells, permission_classes=(Allows,))
    async with serving(router, middlewares=[Says]) as app, await Client.connect(app) as client:
        assert (await client.ask("GET", "/x"))["data"] == "ada"
        assert (await client.ask("GET", "/x"))["data"] == "ada"
        await client.leave()
    assert set(seen) == {threading.main_thread()}
    assert who.get() == "nobody"


@pytest.mark.parametrize(
    ("exc", "status", "detail", "logged"),
    [
        (HTTPError(409, "taken"), 409, "taken", []),
        (KeyError("secret"), 500, FAILED, ["'GET' '/x' failed: KeyError"]),
        (StopIteration("secret"), 500, FAILED, ["'GET' '/x' failed: RuntimeError"]),
        (SystemExit(3), 500, FAILED, ["'GET' '/x' failed: SystemExit"]),
        (asyncio.CancelledError(), 500, FAILED, ["'GET' '/x' failed: CancelledError"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_exception_in_a_thread_is_answered(
    exc: BaseException, status: int, detail: str, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    def raises(request: Request) -> None:
        raise exc

    @asynchronous
    async def test() -> None:
        async with serving(router_of(raises)) as app, await Client.connect(app) as client:
            assert await client.ask("GET", "/x", id=1) == {"id": 1, "status": status, "detail": detail}
            await client.leave()

    test()
    assert errors(caplog) == logged


@asynchronous
async def test_exception_handler_answers_for_a_thread() -> None:
    def raises(request: Request) -> None:
        raise KeyError("ada")

    router = router_of(raises)
    router.exception_handler(KeyError)(lambda request, exc: exc.args[0])
    async with serving(router) as app, await Client.connect(app) as client:
        assert (await client.ask("GET", "/x"))["data"] == "ada"
        await client.leave()


@asynchronous
async def test_awaitable_from_a_thread_is_awaited_in_the_loop() -> None:
    async def later() -> bool:
        await asyncio.sleep(0)
        return threading.current_thread() is threading.main_thread()

    async with serving(router_of(lambda request: later())) as app, await Client.connect(app) as client:
        assert (await client.ask("GET", "/x"))["data"] is True
        await client.leave()


@asynchronous
async def test_wrong_arguments_are_refused() -> None:
    async with serving(router_of(lambda request, a: a)) as app, await Client.connect(app) as client:
        assert (await client.ask("GET", "/x", id=1))["status"] == 422
        await client.leave()


@asynchronous
async def test_threads_are_bounded_and_what_comes_then_waits() -> None:
    blocker = Blocker(wanted=2)
    async with (
        serving(router_of(lambda request: blocker()), threads=2) as app,
        await Client.connect(app) as client,
    ):
        for number in range(5):
            client.request("GET", "/x", id=number)
        await blocker.begun.wait()
        blocker.gate.set()
        assert sorted([(await client.reply())["id"] for _ in range(5)]) == list(range(5))
        assert blocker.most == 2
        await client.leave()


@pytest.mark.parametrize("loop", LOOPS)
def test_client_that_leaves_drops_the_result_quietly(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    @asynchronous
    async def test(*, loop: str) -> None:
        blocker = Blocker()
        called: list[Any] = []

        def blocks(request: Request) -> str:
            called.append(request.id)
            return blocker()

        async with serving(router_of(blocks), threads=1) as app:
            async with await Client.connect(app) as client:
                client.request("GET", "/x", id=1)
                await blocker.begun.wait()
                client.request("GET", "/x", id=2)  # waits for the one thread, and will never run
                client.send(b"", 9)
                assert (await client.receive()).opcode == 10
                client.abort()
            await factory_of(app).when_empty()
            await turn_over()  # its tasks are cancelled
            blocker.gate.set()
            await blocker.ended.wait()
            async with await Client.connect(app) as client:
                assert (await client.ask("GET", "/x", id=3))["data"] == "free"
                await client.leave()
        assert called == [1, 3]

    test(loop=loop)
    assert errors(caplog) == []


def test_request_timeout_answers_in_the_place_of_a_thread(caplog: pytest.LogCaptureFixture) -> None:
    @asynchronous
    async def test() -> None:
        blocker = Blocker()
        async with (
            serving(router_of(lambda request: blocker()), request_timeout=0.01) as app,
            await Client.connect(app) as client,
        ):
            assert (await client.ask("GET", "/x", id=1))["status"] == 504
            blocker.gate.set()
            await client.leave()
            await blocker.ended.wait()

    test()
    assert errors(caplog) == []


@asynchronous
async def test_stop_waits_for_a_thread_and_leaves_none_behind() -> None:
    blocker = Blocker()
    app = Application(router=router_of(lambda request: blocker()), port=0, shutdown_timeout=TIMEOUT)
    await app.start()
    async with await Client.connect(app) as client:
        client.request("GET", "/x", id=1)
        await blocker.begun.wait()
        stopping = asyncio.ensure_future(app.stop())
        await asyncio.sleep(0)
        blocker.gate.set()
        assert (await client.reply())["data"] == "free"
        await client.left()
        await stopping
    mine = [thread for thread in threading.enumerate() if thread.name.startswith("aiorest-ws")]
    for thread in mine:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def test_thread_that_outlives_the_application_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiorest_ws.server.shutdown._LEAVE", 0.05)

    @asynchronous
    async def test() -> None:
        blocker = Blocker()
        async with (
            serving(router_of(lambda request: blocker()), shutdown_timeout=0.01) as app,
            await Client.connect(app) as client,
        ):
            client.request("GET", "/x", id=1)
            await blocker.begun.wait()
            client.abort()
        blocker.gate.set()
        await blocker.ended.wait()

    test()
    assert errors(caplog) == ["1 threaded handlers still run: the program cannot end before they do"]


def test_no_thread_is_made_without_work_for_it() -> None:
    before = set(threading.enumerate())

    @asynchronous
    async def test() -> None:
        async with serving(router_of(lambda request: 1)):
            assert set(threading.enumerate()) <= before

    test()


# Registration


def test_async_endpoint_cannot_be_threaded() -> None:
    async def waits(request: Request) -> None: ...

    with pytest.raises(InvalidHandler, match="waits is `async def`, which runs in the loop: it cannot be threaded"):
        router_of(waits)


def test_threaded_must_be_a_bool() -> None:
    with pytest.raises(InvalidHandler, match=r"threaded of view .*lambda> must be True or False, got 'yes'"):
        router_of(lambda request: 1, threaded="yes")


@pytest.mark.parametrize("threads", [0, -1, 1.5, "4", True])
def test_threads_that_are_no_number_raise(threads: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="threads must be"):
        Application(threads=threads)


def test_default_is_four_more_than_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    for processors, threads in ((1, 5), (2, 6), (64, 32), (None, 5)):
        monkeypatch.setattr("os.cpu_count", lambda processors=processors: processors)
        assert Threads().most == threads


# From a thread to the loop


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_thread_calls_into_the_loop_that_serves(loop: str) -> None:
    async def loop_thread(name: str) -> list[Any]:
        await asyncio.sleep(0)
        return [threading.get_ident(), name, who.get()]

    def work(request: Request) -> list[Any]:
        who.set("ada")
        request.app.call_soon(request.connection.send_event, "progress", 50)
        return request.app.run_coroutine(loop_thread("x")).result(TIMEOUT)  # type: ignore[no-any-return]

    async with serving(router_of(work)) as app, await Client.connect(app) as client:
        client.request("GET", "/x", id=1)
        assert await client.reply() == {"event_name": "progress", "data": 50}
        assert (await client.reply())["data"] == [threading.get_ident(), "x", "ada"]


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), SystemExit(3), asyncio.CancelledError()], ids=repr)
@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_what_fails_in_the_loop_ends_nothing(
    loop: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error

    async def fail_later() -> None:
        raise error

    def work(request: Request) -> Any:
        request.app.call_soon(fail)
        return request.app.run_coroutine(fail_later()).result(TIMEOUT)

    async with serving(router_of(work)) as app, await Client.connect(app) as client:
        assert (await client.ask("GET", "/x", id=1))["status"] == 500
        assert [line for line in errors(caplog) if "call_soon" in line]
        assert len(errors(caplog)) == 2


def test_without_a_loop_that_serves_it_says_so() -> None:
    async def never() -> None: ...

    app = Application(router=SimpleRouter())

    def refuses() -> None:
        with pytest.raises(RuntimeError, match="the application is not running, there is no loop for"):
            app.call_soon(print)
        with pytest.raises(RuntimeError, match="the application is not running, there is no loop for"):
            app.run_coroutine(never())

    refuses()
    with TestClient(app):
        app.call_soon(lambda: None)
    refuses()

    @asynchronous
    async def test() -> None:
        async with serving() as other:
            other.call_soon(lambda: None)
            with pytest.raises(TypeError, match=r"expected a coroutine, got .*never.*: call the function"):
                other.run_coroutine(never)  # type: ignore[arg-type]
            with pytest.raises(RuntimeError, match="run_coroutine is for threads: here, `await`"):
                other.run_coroutine(never())
        with pytest.raises(RuntimeError, match="not running"):
            other.call_soon(print)

    test()


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), KeyError("x")], ids=repr)
@pytest.mark.parametrize("when", ["before", "behind", "function"])
@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_asynchronous_dependency_of_a_thread_that_ends_the_program_does_not(
    loop: str, when: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def around() -> Any:
        if when == "before":
            raise error
        yield 1
        raise error

    async def function() -> Any:
        raise error

    def work(request: Request, value: Any) -> Any:
        return value

    work.__annotations__["value"] = Annotated[int, Depends(function if when == "function" else around)]
    async with serving(router_of(work)) as app, await Client.connect(app) as client:
        assert (await client.ask("GET", "/x", id=1))["status"] == 500
        assert errors(caplog) == [f"'GET' '/x' failed: {type(error).__name__}"]


# Between clients


@dataclass
class Turns:
    """Blocking calls, each of which ends when the test lets it go; `begun` has their names in order."""

    begun: list[Any] = field(default_factory=list)
    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, name: Any) -> Any:
        self.begun.append(name)
        self.loop.call_soon_threadsafe(self.changed.set)
        assert self.gate.acquire(timeout=TIMEOUT)
        return name

    async def until(self, number: int) -> None:
        while len(self.begun) < number:
            self.changed.clear()
            await self.changed.wait()


async def one_later() -> int:
    return 1


def names_router(turns: Turns, kind: str) -> SimpleRouter:
    """Give a router whose GET /x blocks, by itself or by what it depends on."""

    def blocks(request: Request, name: Any) -> Any:
        return turns(name)

    def blocks_with_plain(request: Request, name: Any, one: Annotated[int, Depends(lambda: 1)]) -> Any:
        return turns(name)

    def blocks_with_asynchronous(request: Request, name: Any, one: Annotated[int, Depends(one_later)]) -> Any:
        return turns(name)

    kinds: dict[str, Callable[..., Any]] = {
        "alone": blocks,
        "plain": blocks_with_plain,
        "asynchronous": blocks_with_asynchronous,
    }
    return router_of(kinds[kind])


async def all_in_flight(client: Client) -> None:
    """Wait until the server has read what `client` sent."""
    client.send(b"", 9)
    assert (await client.receive()).opcode == 10


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", ["alone", "plain", "asynchronous"])
@asynchronous
async def test_one_client_with_many_does_not_hold_up_another(loop: str, kind: str) -> None:
    turns = Turns()
    async with (
        serving(names_router(turns, kind), threads=4, max_concurrency=100) as app,
        await Client.connect(app) as many,
        await Client.connect(app) as one,
        await Client.connect(app) as third,
    ):
        for number in range(64):
            many.request("GET", "/x", args={"name": number}, id=number)
        await all_in_flight(many)
        await turns.until(4)
        one.request("GET", "/x", args={"name": "one"}, id=1)
        await all_in_flight(one)
        third.request("GET", "/x", args={"name": "third"}, id=1)
        await all_in_flight(third)
        await turn_over(20)
        turns.gate.release()
        await turns.until(5)
        assert turns.begun[4] == "one"
        turns.gate.release()
        await turns.until(6)
        assert turns.begun[5] == "third"
        turns.gate.release(80)
        assert (await one.reply())["data"] == "one"
        assert (await third.reply())["data"] == "third"
        for _ in range(64):
            assert (await many.reply())["status"] == 200
        begun = [name for name in turns.begun if type(name) is int]
        assert sorted(begun) == list(range(64))
        # They are taken in order; in which order four threads then say that they have begun is the system's to decide.
        for at, number in enumerate(begun):
            assert len(set(range(number)).difference(begun[:at])) <= 3, begun


@asynchronous
async def test_what_is_cancelled_before_its_turn_is_forgotten_at_once() -> None:
    turns = Turns()
    gone: list[Any] = []

    class Document:
        def __init__(self, text: str) -> None:
            weakref.finalize(self, gone.append, text)

    def blocks(request: Request, text: str) -> None:
        turns(text)

    class Opens:
        def process_request(self, request: Request, handler: Any) -> None:
            request.state.document = Document(request.args["text"])

    router = router_of(blocks)
    async with serving(router, threads=1, middlewares=[Opens]) as app, await Client.connect(app) as busy:
        busy.request("GET", "/x", args={"text": "busy"}, id=1)
        await turns.until(1)
        for round_ in range(3):
            async with await Client.connect(app) as client:
                for number in range(20):
                    client.request("GET", "/x", args={"text": f"{round_}-{number}"}, id=number)
                await all_in_flight(client)
                client.abort()
        while len(factory_of(app).connections) > 1:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0)
        await turn_over(20)
        gc.collect()
        assert len(gone) == 60
        assert turns.begun == ["busy"]
        turns.gate.release()
        assert (await busy.reply())["status"] == 200
        turns.gate.release()
        assert (await busy.ask("GET", "/x", args={"text": "next"}, id=2))["status"] == 200
        await busy.leave()


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_request_timeout_answers_those_that_wait_for_a_thread(loop: str) -> None:
    turns = Turns()
    async with (
        serving(names_router(turns, "alone"), threads=1, request_timeout=0.3) as app,
        await Client.connect(app) as client,
    ):
        for number in range(30):
            client.request("GET", "/x", args={"name": number}, id=number)
        async with asyncio.timeout(2):
            replies = [await client.reply() for _ in range(30)]
        assert {reply["status"] for reply in replies} == {504}
        assert turns.begun == [0]
        turns.gate.release(2)
        assert (await client.ask("GET", "/x", args={"name": "next"}, id=99))["data"] == "next"
        await client.leave()
