"""What handlers depend on: made before them, in order, and cleaned up behind the reply."""

# Without `from __future__ import annotations`: names of a test function could not be read from its text.

import asyncio
import functools
import gc
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from aiorest_ws import Application, Depends, HTTPError, MethodBasedView, SimpleRouter, endpoint
from aiorest_ws.dependencies import scope as scopes
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.renderers import JSONRenderer
from aiorest_ws.server import shutdown
from aiorest_ws.testing import AsyncTestClient, TestClient
from tests.kit.leaks import check
from tests.kit.servers import Server, at_once, data, detail, get
from tests.serving import LOOPS, TIMEOUT, Client, Gates, asynchronous, connection_of, serving, turn_over
from tests.swapping import Impl

FAILED = "A server error occurred."
log: list[Any] = []
who: ContextVar[str] = ContextVar("who", default="nobody")


@pytest.fixture(autouse=True)
def empty_log() -> None:
    log.clear()


def number() -> int:
    log.append("number")
    return 7


async def number_later() -> int:
    await asyncio.sleep(0)
    return 7


def number_opened() -> Iterator[int]:
    log.append("open")
    try:
        yield 7
    except BaseException as exc:
        log.append(type(exc))
        raise
    finally:
        log.append("close")


async def number_opened_later() -> AsyncIterator[int]:
    await asyncio.sleep(0)
    log.append("open")
    try:
        yield 7
    except BaseException as exc:
        log.append(type(exc))
        raise
    finally:
        await asyncio.sleep(0)
        log.append("close")


@dataclass
class Number:  # not hashable
    value: int = 7

    def __call__(self) -> int:
        return self.value


class Later:
    async def __call__(self) -> int:
        await asyncio.sleep(0)
        return 7

    def opened(self) -> Iterator[int]:
        yield 7


@functools.wraps(number_opened)
def wrapped() -> Any:
    return number_opened()


KINDS: dict[str, Any] = {
    "def": number,
    "async def": number_later,
    "generator": number_opened,
    "async generator": number_opened_later,
    "class": type("Seven", (int,), {"__new__": lambda cls: int.__new__(cls, 7)}),
    "instance": Number(),
    "async instance": Later(),
    "method": Later().opened,
    "partial": functools.partial(lambda value: value, value=7),
    "decorated": wrapped,
}


def handlers_of(kind: Any) -> list[Any]:
    """Give handlers of every kind that answer with what `kind` gives."""

    def plain(request: Any, value: Annotated[int, Depends(kind)]) -> Any:
        return value

    async def later(request: Any, value: Annotated[int, Depends(kind)]) -> Any:
        await asyncio.sleep(0)
        return value

    class View(MethodBasedView):
        def get(self, request: Any, value: Annotated[int, Depends(kind)]) -> Any:
            return value

    return [get(plain, "/plain"), get(later, "/later"), get(plain, "/threaded", threaded=True), ("/view", View, "GET")]


# What a handler gets


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("path", ["/plain", "/later", "/threaded", "/view"])
def test_every_kind_of_dependency_reaches_every_kind_of_handler(impl: Impl, kind: Any, path: str) -> None:
    server = Server(impl, *handlers_of(kind))
    assert server.ask(path) == data(7)
    assert server.reported() == []
    assert log.count("open") == log.count("close")


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@asynchronous
async def test_every_kind_of_dependency_reaches_a_handler_in_a_thread(kind: Any) -> None:
    router = SimpleRouter()

    @router.register_endpoint
    @endpoint("/x", "GET", threaded=True)
    def where(request: Any, value: Annotated[int, Depends(kind)]) -> list[Any]:
        return [value, threading.current_thread() is threading.main_thread()]

    async with serving(router) as app, await Client.connect(app) as client:
        assert (await client.ask("GET", "/x"))["data"] == [7, False]
        await client.leave()
    assert log.count("open") == log.count("close")


def of_request(request: Any) -> Any:
    return request.args["n"]


class Settings:
    def __init__(self, n: Annotated[int, Depends(of_request)], extra: int = 1, *args: Any, **kwargs: Any) -> None:
        self.sum = n + extra


def test_a_dependency_takes_the_request_and_dependencies_of_its_own(impl: Impl) -> None:
    def handler(request: Any, settings: Annotated[Settings, Depends(Settings)], n: int) -> list[int]:
        return [n, settings.sum]

    assert Server(impl, get(handler)).ask(args={"n": 2}) == data([2, 3])


def test_a_dependency_is_called_once_a_request_for_all_that_depend_on_it(impl: Impl) -> None:
    def one(n: Annotated[int, Depends(number)]) -> int:
        return n

    def handler(
        request: Any,
        a: Annotated[int, Depends(one)],
        b: Annotated[int, Depends(number)],
        c: Annotated[int, Depends(number, cache=False)],
    ) -> int:
        return a + b + c

    server = Server(impl, get(handler))
    for calls in (2, 4):
        assert server.ask() == data(21)
        assert log == ["number"] * calls


def test_dependencies_stand_anywhere_among_path_parameters(impl: Impl) -> None:
    Seven = Annotated[int, Depends(number)]

    def first(request: Any, n: Seven, a: str, b: str) -> Any:
        return [n, a, b]

    def middle(request: Any, a: str, n: Seven, b: str, *rest: Any, c: int = 3) -> Any:
        return [n, a, b, c, *rest]

    def before(n: Seven, request: Any, a: str, b: str, m: Annotated[int, Depends(Number(8))]) -> Any:
        return [n, a, b, m]

    def behind(request: Any, a: str, b: str, *, n: Seven, **kwargs: Any) -> Any:
        return [n, a, b, kwargs]

    class View(MethodBasedView):
        @staticmethod
        def get(request: Any, n: Seven, a: str, b: str) -> Any:
            return [n, a, b]

        @classmethod
        def put(cls, request: Any, a: str, n: Seven, b: str) -> Any:
            return [n, a, b]

    path = "/{a}/{b}"
    routes = [get(f, f"/{f.__name__}{path}") for f in (first, middle, before, behind)]
    server = Server(impl, *routes, (f"/view{path}", View, ["GET", "PUT"]))
    assert server.ask("/first/A/B") == data([7, "A", "B"])
    assert server.ask("/middle/A/B", args={"c": 4}) == data([7, "A", "B", 4])
    assert server.ask("/before/A/B") == data([7, "A", "B", 8])
    assert server.ask("/behind/A/B", args={"x": 1}) == data([7, "A", "B", {"x": 1}])
    assert server.ask("/view/A/B") == data([7, "A", "B"])
    assert server.ask("/view/A/B", method="PUT") == data([7, "A", "B"])


def test_a_decorated_handler_and_a_view_with_dispatch_get_theirs(impl: Impl) -> None:
    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @decorated
    def handler(request: Any, n: Annotated[int, Depends(number)], a: str) -> Any:
        return [n, a]

    class View(MethodBasedView):
        def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            return [*super().dispatch(request, *args, **kwargs), "dispatched"]

        def get(self, request: Any, a: str, n: Annotated[int, Depends(number)]) -> Any:
            return [n, a]

    server = Server(impl, get(handler, "/f/{a}"), ("/v/{a}", View, "GET"))
    assert server.ask("/f/A") == data([7, "A"])
    assert server.ask("/v/A") == data([7, "A", "dispatched"])


@pytest.mark.parametrize("kind", [number_opened, number_opened_later])
def test_args_never_give_a_dependency_and_are_checked_before_it(impl: Impl, kind: Any) -> None:
    def closed(request: Any, db: Annotated[int, Depends(kind)], limit: Any) -> int:
        return db

    def opened(request: Any, db: Annotated[int, Depends(kind)], **kwargs: Any) -> int:
        return db

    server = Server(impl, get(closed, "/closed"), get(opened, "/opened"))
    assert server.ask("/closed", args={"limit": 1, "db": 2}) == detail(422, "unexpected argument `db`")
    assert server.ask("/opened", args={"db": 2}) == detail(422, "unexpected argument `db`")
    assert server.ask("/closed") == detail(422, "missing argument `limit`")
    assert log == []


class Denies:
    @staticmethod
    def check(request: Any, handler: Any) -> bool:
        log.append("permission")
        return False


class Note:
    async def __call__(self, request: Any, call_next: Any) -> Any:
        log.append("in")
        try:
            return await call_next(request)
        finally:
            log.append("out")


class Before:
    def process_request(self, request: Any, handler: Any) -> None:
        log.append("before")


class BeforeLater:
    async def process_request(self, request: Any, handler: Any) -> None:
        await asyncio.sleep(0)
        log.append("before")


@pytest.mark.parametrize("kind", [number_opened, number_opened_later])
@pytest.mark.parametrize(
    "middlewares", [[Before()], [BeforeLater()], [Before(), Note()]], ids=["sync", "async", "onion"]
)
def test_dependencies_are_inside_of_middlewares_and_permissions(impl: Impl, kind: Any, middlewares: list[Any]) -> None:
    onion = len(middlewares) == 2
    denied = get(handlers_of(kind)[0].function, "/denied", permission_classes=(Denies,))
    server = Server(impl, *handlers_of(kind), denied, middlewares=middlewares)
    around = (["in"], ["out"]) if onion else ([], [])
    for path in ("/plain", "/later", "/view"):
        assert server.ask(path) == data(7)
        assert log == ["before", *around[0], "open", *around[1], "close"]
        log.clear()
    assert server.ask("/denied")["status"] == 403
    assert log == ["before", *around[0], "permission", *around[1]]


# Clean-up


class Lazy(JSONRenderer):
    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        log.append("render")
        return super().render(data, *args, **kwargs)


@pytest.mark.parametrize("kind", [number_opened, number_opened_later])
@pytest.mark.parametrize("path", ["/plain", "/later"])
def test_clean_up_comes_after_the_reply_is_rendered(impl: Impl, kind: Any, path: str) -> None:
    handlers = [get(h.function, h.path, renderers=[Lazy]) for h in handlers_of(kind)[:2]]
    assert Server(impl, *handlers).ask(path) == data(7)
    assert log == ["open", "render", "close"]


def test_clean_up_goes_backwards(impl: Impl) -> None:
    def opened(name: str, wrong: bool = False) -> Callable[[], Iterator[str]]:
        def generator() -> Iterator[str]:
            log.append(f"open {name}")
            yield name
            log.append(f"close {name}")

        return generator

    def handler(
        request: Any,
        a: Annotated[str, Depends(opened("a"))],
        b: Annotated[int, Depends(number_opened_later)],
        c: Annotated[str, Depends(opened("c"))],
    ) -> str:
        return a + c

    assert Server(impl, get(handler)).ask() == data("ac")
    assert log == ["open a", "open", "open c", "close c", "close", "close a"]


def failing(exc: BaseException, kind: Any, later: bool) -> Any:
    def plain(request: Any, value: Annotated[int, Depends(kind)]) -> Any:
        raise exc

    async def slow(request: Any, value: Annotated[int, Depends(kind)]) -> Any:
        await asyncio.sleep(0)
        raise exc

    return get(slow if later else plain)


@pytest.mark.parametrize("kind", [number_opened, number_opened_later])
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("onion", [False, True])
@pytest.mark.parametrize(
    ("exc", "expected", "reported"),
    [(HTTPError(409, "taken"), detail(409, "taken"), []), (KeyError("x"), detail(500, FAILED), [KeyError])],
)
def test_exception_of_the_handler_is_thrown_into_its_dependencies(
    impl: Impl, kind: Any, later: bool, onion: bool, exc: Exception, expected: Any, reported: Any
) -> None:
    server = Server(impl, failing(exc, kind, later), middlewares=[Note()] if onion else [])
    assert server.ask() == expected
    assert [entry for entry in log if entry not in ("in", "out")] == ["open", type(exc), "close"]
    assert server.reported() == reported


def test_exception_of_the_renderer_is_thrown_into_dependencies(impl: Impl) -> None:
    def handler(request: Any, value: Annotated[int, Depends(number_opened)]) -> Any:
        return object()

    server = Server(impl, get(handler))
    assert server.ask()["status"] == 500
    assert [getattr(entry, "__name__", entry) for entry in log] == ["open", "SerializerError", "close"]


def test_exception_that_a_middleware_answers_has_been_thrown_into_dependencies(impl: Impl) -> None:
    class Answers:
        async def __call__(self, request: Any, call_next: Any) -> Any:
            try:
                return await call_next(request)
            except KeyError:
                log.append("answered")
                return impl.wrappers.Response("instead")

    server = Server(impl, failing(KeyError("x"), number_opened, False), middlewares=[Answers()])
    assert server.ask() == data("instead")
    assert log == ["open", KeyError, "close", "answered"]


def swallows() -> Iterator[int]:
    try:
        yield 1
    except KeyError:
        log.append("swallowed")


async def swallows_later() -> AsyncIterator[int]:
    try:
        yield 1
    except KeyError:
        log.append("swallowed")


def translates() -> Iterator[int]:
    try:
        yield 1
    except KeyError as exc:
        raise HTTPError(404, "no such") from exc


async def translates_later() -> AsyncIterator[int]:
    try:
        yield 1
    except KeyError as exc:
        raise HTTPError(404, "no such") from exc


@pytest.mark.parametrize("kind", [swallows, swallows_later])
def test_dependency_that_swallows_the_exception_makes_no_success_of_it(impl: Impl, kind: Any) -> None:
    server = Server(impl, failing(KeyError("x"), kind, False))
    assert server.ask() == detail(500, FAILED)
    assert server.reported() == [KeyError]
    assert log == ["swallowed"]


@pytest.mark.parametrize("kind", [translates, translates_later])
def test_dependency_may_make_another_exception_of_it(impl: Impl, kind: Any) -> None:
    server = Server(impl, failing(KeyError("x"), kind, False))
    assert server.ask() == detail(404, "no such")
    assert server.reported() == []


def fails_at_the_end() -> Iterator[int]:
    yield 1
    raise LookupError("commit failed")


async def fails_at_the_end_later() -> AsyncIterator[int]:
    yield 1
    raise LookupError("commit failed")


@pytest.mark.parametrize("kind", [fails_at_the_end, fails_at_the_end_later])
@pytest.mark.parametrize("path", ["/plain", "/later", "/threaded"])
def test_clean_up_that_fails_fails_the_request_and_the_others_hear_of_it(impl: Impl, kind: Any, path: str) -> None:
    def outer(n: Annotated[int, Depends(number_opened)], m: Annotated[int, Depends(kind)]) -> int:
        return n

    server = Server(impl, *handlers_of(outer))
    assert server.ask(path) == detail(500, FAILED)
    assert server.reported() == [LookupError]
    assert log == ["open", LookupError, "close"]


def never() -> Iterator[int]:
    if log is None:
        yield 1


async def never_later() -> AsyncIterator[int]:
    if log is None:
        yield 1


def twice() -> Iterator[int]:
    try:
        yield 1
        yield 2
    finally:
        log.append("closed")


async def twice_later() -> AsyncIterator[int]:
    try:
        yield 1
        yield 2
    finally:
        log.append("closed")


@pytest.mark.parametrize("kind", [never, never_later, twice, twice_later])
@pytest.mark.parametrize("path", ["/plain", "/threaded"])
def test_generator_that_does_not_yield_once_fails_the_request(impl: Impl, kind: Any, path: str) -> None:
    server = Server(impl, *handlers_of(kind))
    assert server.ask(path) == detail(500, FAILED)
    (reported,) = server.reports
    words = "did not yield" if kind in (never, never_later) else "yielded more than once"
    assert str(reported[1]) == f"dependency {kind.__name__} {words}"
    assert log == ([] if kind in (never, never_later) else ["closed"])


def raises() -> int:
    raise HTTPError(409, "locked")


async def fails_later() -> int:
    await asyncio.sleep(0)
    raise KeyError("x")


@pytest.mark.parametrize("path", ["/plain", "/later", "/threaded", "/view"])
def test_exception_of_a_dependency_is_as_one_of_the_handler(impl: Impl, path: str) -> None:
    def both(n: Annotated[int, Depends(number_opened)], m: Annotated[int, Depends(raises)]) -> int:
        return n

    assert Server(impl, *handlers_of(both)).ask(path) == detail(409, "locked")
    assert log == ["open", HTTPError, "close"]
    server = Server(impl, *handlers_of(fails_later))
    assert server.ask(path) == detail(500, FAILED)
    assert server.reported() == [KeyError]
    recovering = Server(impl, *handlers_of(fails_later), recoveries=[{KeyError: lambda request, exc: "recovered"}])
    assert recovering.ask(path) == data("recovered")


# Context variables


def known() -> Iterator[None]:
    token = who.set("ada")
    yield
    log.append(who.get())
    who.reset(token)


async def known_later() -> AsyncIterator[None]:
    token = who.set("ada")
    await asyncio.sleep(0)
    yield
    log.append(who.get())
    who.reset(token)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", [known, known_later])
@asynchronous
async def test_context_variables_of_dependencies_reach_the_handler_and_can_be_reset(loop: str, kind: Any) -> None:
    def plain(request: Any, value: Annotated[None, Depends(kind)]) -> str:
        return who.get()

    async def later(request: Any, value: Annotated[None, Depends(kind)]) -> str:
        await asyncio.sleep(0)
        return who.get()

    router = SimpleRouter()
    for handler in (get(plain, "/plain"), get(later, "/later"), get(plain, "/threaded", threaded=True)):
        router.register_endpoint(handler)

    class Dispatched(MethodBasedView):
        def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            return super().dispatch(request, *args, **kwargs)

        async def get(self, request: Any, value: Annotated[None, Depends(kind)]) -> str:
            await asyncio.sleep(0)
            return who.get()

    router.register("/dispatched", Dispatched, "GET")
    async with serving(router) as app, await Client.connect(app) as client:
        for path in ("/plain", "/later", "/threaded", "/dispatched"):
            assert (await client.ask("GET", path))["data"] == "ada"
        await client.leave()
    assert log == ["ada"] * 4


# Threads


def thread() -> Iterator[int]:
    log.append(threading.get_ident())
    yield threading.get_ident()
    log.append(threading.get_ident())


@pytest.mark.parametrize("middlewares", [[], [Note()]], ids=["plain", "onion"])
@asynchronous
async def test_threaded_handler_shares_one_thread_with_its_dependencies(middlewares: list[Any]) -> None:
    def handler(request: Any, ident: Annotated[int, Depends(thread)]) -> bool:
        return ident == threading.get_ident() != threading.main_thread().ident

    router = SimpleRouter()
    router.register_endpoint(get(handler, threaded=True))
    async with serving(router, middlewares=middlewares) as app, await Client.connect(app) as client:
        assert (await client.ask("GET", "/"))["data"] is True
        await client.leave()
    first, last = (entry for entry in log if isinstance(entry, int))
    assert first == last


@asynchronous
async def test_threaded_handler_with_asynchronous_dependencies_leaves_the_others_in_threads() -> None:
    async def in_loop(ident: Annotated[int, Depends(thread)]) -> AsyncIterator[bool]:
        yield ident != threading.get_ident() == threading.main_thread().ident
        log.append("end")

    def handler(request: Any, ok: Annotated[bool, Depends(in_loop)]) -> bool:
        return ok and threading.current_thread() is not threading.main_thread()

    router = SimpleRouter()
    router.register_endpoint(get(handler, threaded=True))
    async with serving(router) as app, await Client.connect(app) as client:
        assert (await client.ask("GET", "/"))["data"] is True
        await client.leave()
    assert log[1] == "end"
    assert threading.main_thread().ident not in log


def session_until(ended: asyncio.Event) -> Callable[[], AsyncIterator[int]]:
    """Give a dependency that sets `ended` when it is cleaned up."""

    async def session() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            log.append("close")
            ended.set()

    return session


@asynchronous
async def test_clean_up_waits_for_a_thread_that_uses_what_it_cleans_up() -> None:
    begun, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    session = session_until(ended)

    def handler(request: Any, db: Annotated[int, Depends(session)]) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert gate.wait(TIMEOUT)
        log.append("used")

    router = SimpleRouter()
    router.register_endpoint(get(handler, threaded=True))
    async with serving(router, request_timeout=0.3) as app, await Client.connect(app) as client:
        client.request("GET", "/", id=1)
        await begun.wait()
        assert (await client.reply())["status"] == 504
        gate.set()
        await ended.wait()
        await client.leave()
    assert log == ["used", "close"]


@asynchronous
async def test_clean_up_waits_for_a_thread_though_it_is_cancelled_again() -> None:
    begun, gate, ended = asyncio.Event(), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    session = session_until(ended)

    def slow(n: Annotated[int, Depends(session)]) -> Iterator[int]:
        loop.call_soon_threadsafe(begun.set)
        assert gate.wait(TIMEOUT)
        log.append("used")
        try:
            yield n
        finally:
            log.append("put away")

    router = SimpleRouter()
    router.register_endpoint(handlers_of(slow)[2])
    async with serving(router, request_timeout=0.3) as app, await Client.connect(app) as client:
        client.request("GET", "/threaded", id=1)
        await begun.wait()
        assert (await client.reply())["status"] == 504  # that is once
        assert app._listening is not None
        (connection,) = app._listening.connections
        (task,) = connection.tasks
        client.abort()
        await app._listening.when_empty()
        while task.cancelling() < 2:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0)
        await turn_over()
        assert log == []
        gate.set()
        await ended.wait()
    assert log == ["used", "put away", "close"]


def test_clean_up_waits_for_a_thread_that_outlasts_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutdown, "_LEAVE", 0.01)
    gate = threading.Event()

    async def opens_the_gate() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:  # everything is cancelled, now
            await turn_over(20)
            gate.set()

    @asynchronous
    async def test() -> None:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def handler(
            request: Any,
            a: Annotated[int, Depends(number_opened)],
            b: Annotated[int, Depends(number_opened_later)],
        ) -> None:
            loop.call_soon_threadsafe(begun.set)
            assert gate.wait(TIMEOUT)
            log.append("used")

        router = SimpleRouter()
        router.register_endpoint(get(handler, threaded=True))
        async with serving(router) as app, await Client.connect(app) as client:
            client.request("GET", "/", id=1)
            await begun.wait()
        kept.append(loop.create_task(opens_the_gate()))
        await asyncio.sleep(0)

    kept: list[Any] = []
    test()
    assert log == ["open", "open", "used", *[asyncio.CancelledError, "close"] * 2]


@asynchronous
async def test_clean_up_that_waits_for_a_thread_is_not_forgotten_when_it_is_cancelled() -> None:
    go, gate, begun, blocked = threading.Event(), threading.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def handler(
        request: Any, a: Annotated[int, Depends(number_later)], b: Annotated[int, Depends(number_opened)]
    ) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert go.wait(TIMEOUT)

    def block(request: Any) -> None:
        loop.call_soon_threadsafe(blocked.set)
        assert gate.wait(TIMEOUT)

    router = SimpleRouter()
    router.register_endpoint(get(handler, "/work", threaded=True))
    router.register_endpoint(get(block, "/block", threaded=True))
    async with serving(router, threads=1) as app, await Client.connect(app) as client:
        client.request("GET", "/work", id=1)
        await begun.wait()
        client.request("GET", "/block", id=2)  # takes the thread before the clean-up does
        assert app._listening is not None
        (connection,) = app._listening.connections
        while len(connection.tasks) < 2:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0)
        tasks = connection.tasks
        go.set()
        await blocked.wait()
        await turn_over()
        client.abort()
        await app._listening.when_empty()
        await turn_over()
        gate.set()
        await asyncio.wait(tasks)
    assert log == ["open", "close"]


@asynchronous
async def test_clean_up_that_is_cancelled_before_it_begins_begins_all_the_same() -> None:
    async def session() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            log.append("closing")
            await asyncio.sleep(0)
            log.append("closed")

    async def clean_up() -> None:
        begun = asyncio.get_running_loop().create_future()
        await scopes._once_begun(asyncio.create_task(scopes._result(generator.aclose(), begun)), begun)

    generator: Any = session()
    await generator.__anext__()
    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["closing"]


@asynchronous
async def test_generator_that_a_thread_opens_for_nobody_is_cleaned_up() -> None:
    begun, gate, ended = asyncio.Event(), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(n: Annotated[int, Depends(number_later)]) -> Iterator[int]:
        loop.call_soon_threadsafe(begun.set)
        assert gate.wait(TIMEOUT)
        try:
            yield n
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        finally:
            loop.call_soon_threadsafe(ended.set)

    router = SimpleRouter()
    router.register_endpoint(handlers_of(slow)[2])
    async with serving(router, request_timeout=0.3) as app, await Client.connect(app) as client:
        client.request("GET", "/threaded", id=1)
        await begun.wait()
        assert (await client.reply())["status"] == 504
        gate.set()
        await ended.wait()
        await client.leave()
    assert log == ["cancelled"]


# The end of a request


def waiting(kind: Any, gates: Gates) -> SimpleRouter:
    async def handler(request: Any, value: Annotated[int, Depends(kind)]) -> str:
        return await gates.wait("handler")

    router = SimpleRouter()
    router.register_endpoint(get(handler))
    return router


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", [number_opened, number_opened_later])
@asynchronous
async def test_timeout_cleans_up(loop: str, kind: Any) -> None:
    gates = Gates()
    closed = asyncio.Event()

    def noted(value: Annotated[int, Depends(kind)]) -> int:
        return value

    async def signals() -> AsyncIterator[None]:
        try:
            yield
        finally:
            closed.set()

    def both(a: Annotated[None, Depends(signals)], b: Annotated[int, Depends(noted)]) -> int:
        return b

    async with serving(waiting(both, gates), request_timeout=0.01) as app, await Client.connect(app) as client:
        assert (await client.ask("GET", "/", id=1))["status"] == 504
        await closed.wait()
        assert log == ["open", asyncio.CancelledError, "close"]
        await client.leave()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", [number_opened, number_opened_later])
@asynchronous
async def test_client_that_leaves_and_a_server_that_stops_clean_up(loop: str, kind: Any) -> None:
    gates = Gates()
    async with serving(waiting(kind, gates)) as app:
        async with await Client.connect(app) as client:
            client.request("GET", "/", id=1)
            await gates.until_started("handler")
            connection = connection_of(app)
            tasks = connection.tasks
            client.abort()
            await asyncio.wait(tasks)
            assert log == ["open", asyncio.CancelledError, "close"]
        async with await Client.connect(app) as client:
            log.clear()
            client.request("GET", "/", id=2)
            await gates.until(lambda: len(gates.started) == 2)
            connection = connection_of(app)
            tasks = connection.tasks
            await asyncio.gather(app.stop(), client.left())
            if tasks:
                await asyncio.wait(tasks)
            assert log == ["open", asyncio.CancelledError, "close"]


@asynchronous
async def test_clean_up_that_is_cancelled_while_it_waits_keeps_no_other_from_its_own() -> None:
    gates = Gates()

    async def session() -> AsyncIterator[int]:
        yield 1
        log.append("closing")
        try:
            await gates.wait("close")
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    def handler(request: Any, a: Annotated[int, Depends(number_opened)], b: Annotated[int, Depends(session)]) -> str:
        return "done"

    router = SimpleRouter()
    router.register_endpoint(get(handler))
    async with serving(router) as app, await Client.connect(app) as client:
        client.request("GET", "/", id=1)
        await gates.until_started("close")
        assert app._listening is not None
        (connection,) = app._listening.connections
        tasks = connection.tasks
        client.abort()
        await asyncio.wait(tasks)
    assert log == ["open", "closing", "cancelled", asyncio.CancelledError, "close"]


def test_clean_up_that_fails_after_the_reply_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    @asynchronous
    async def test() -> None:
        ended = asyncio.Event()

        async def breaks() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                ended.set()
                raise LookupError("rollback failed")

        gates = Gates()
        async with serving(waiting(breaks, gates), request_timeout=0.01) as app, await Client.connect(app) as client:
            assert (await client.ask("GET", "/", id=1))["status"] == 504
            await ended.wait()
            assert (await client.ask("GET", "/", id=2))["status"] == 504
            await client.leave()

    test()
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert errors[0] == "'GET' '/' failed: LookupError"


def test_coroutine_that_is_closed_awaits_nothing_more(impl: Impl) -> None:
    """As by a loop that is torn down: there is no task any more."""

    @asynchronous
    async def test() -> None:
        gates = Gates()

        async def opened() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                log.append("collected")

        async def handler(
            request: Any, a: Annotated[int, Depends(number_opened)], b: Annotated[int, Depends(opened)]
        ) -> str:
            return await gates.wait("handler")

        pending: Any = Server(impl, get(handler)).pipeline.handle(b'{"method":"GET","url":"/"}', False)
        pending.send(None)
        assert gates.started == ["handler"]
        asyncio.get_running_loop().call_soon(pending.close)

    test()
    assert log[:3] == ["open", GeneratorExit, "close"]
    assert log[3:] == ["collected"]


# Memory


def opened_quietly(request: Any) -> Iterator[list[Any]]:
    yield [request]


async def opened_quietly_later(request: Any, n: Annotated[Any, Depends(opened_quietly)]) -> AsyncIterator[list[Any]]:
    yield [request, n]


def answers(request: Any, value: Annotated[Any, Depends(opened_quietly)]) -> str:
    return "Hello"


def answers_later(request: Any, value: Annotated[Any, Depends(opened_quietly_later)]) -> str:
    return "Hello"


def fails(request: Any, value: Annotated[Any, Depends(opened_quietly)]) -> str:
    raise LookupError("failed")


def fails_to_wait(request: Any, value: Annotated[Any, Depends(opened_quietly_later)]) -> str:
    raise LookupError("failed")


@pytest.mark.blocks
@pytest.mark.parametrize("handler", [answers, answers_later, fails, fails_to_wait])
def test_dependencies_leak_nothing_and_leave_nothing_to_the_collector(impl: Impl, handler: Any) -> None:
    handle = Server(impl, get(handler), report=None).pipeline.handle
    payload = b'{"id":1,"method":"GET","url":"/"}'
    assert (b"Hello" in at_once(handle(payload, False))) is (handler in (answers, answers_later))
    check(impl, lambda: at_once(handle(payload, False)), each=4)
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            at_once(handle(payload, False))
        assert gc.collect() < 100
    finally:
        gc.enable()


# Overrides


def fake() -> int:
    return 8


async def fake_later(request: Any, n: Annotated[int, Depends(number)]) -> AsyncIterator[int]:
    await asyncio.sleep(0)
    yield n + 1
    log.append("fake closed")


def nested(n: Annotated[int, Depends(number)]) -> int:
    return n


@pytest.mark.parametrize("path", ["/plain", "/later", "/threaded", "/view"])
@pytest.mark.parametrize("kind", [number, nested])
def test_override_takes_the_place_of_a_dependency_from_the_next_request_on(impl: Impl, path: str, kind: Any) -> None:
    overrides: dict[Any, Any] = {}
    server = Server(impl, *handlers_of(kind), overrides=overrides)
    assert server.ask(path) == data(7)
    overrides[number] = fake
    assert server.ask(path) == data(8)
    overrides[number] = lambda: 9
    assert server.ask(path) == data(9)
    overrides.clear()
    assert server.ask(path) == data(7)


@pytest.mark.parametrize("path", ["/plain", "/later", "/threaded", "/view"])
def test_override_may_be_of_another_kind_with_dependencies_of_its_own(impl: Impl, path: str) -> None:
    server = Server(impl, *handlers_of(raises), overrides={raises: fake_later})
    assert server.ask(path) == data(8)
    assert log == ["number", "fake closed"]


def test_override_that_cannot_be_fails_the_request_not_the_client(impl: Impl) -> None:
    def needs(x: int) -> int:
        return x

    server = Server(impl, *handlers_of(number), overrides={number: needs})
    assert server.ask("/plain") == detail(500, FAILED)
    assert "nothing provides parameter 'x'" in str(server.reports[0][1])


def test_application_has_overrides_and_the_test_client_sets_them_for_its_time() -> None:
    router = SimpleRouter()
    router.register_endpoint(handlers_of(nested)[0])
    app = Application(router=router)
    app.dependency_overrides[fake] = number
    with TestClient(app, overrides={number: lambda: 9, fake: raises}) as client:
        assert client.get("/plain").data == 9
        assert app.dependency_overrides[fake] is raises
        with client.connect(overrides={number: lambda: 10}):
            assert client.get("/plain").data == 10
        assert client.get("/plain").data == 9
        kept = app.dependency_overrides
        app.dependency_overrides = {number: lambda: 11}
        assert app.dependency_overrides is kept
        assert client.get("/plain").data == 11
    assert app.dependency_overrides == {fake: number}
    with TestClient(app) as client:
        assert client.get("/plain").data == 7


@asynchronous
async def test_asynchronous_test_client_takes_overrides() -> None:
    router = SimpleRouter()
    router.register_endpoint(handlers_of(number)[0])
    app = Application(router=router)
    async with AsyncTestClient(app, overrides={number: fake_later, raises: fake}) as client:
        assert (await client.get("/plain")).status == 500  # it depends on itself
        app.dependency_overrides[number] = fake
        assert (await client.get("/plain")).data == 8
    assert app.dependency_overrides == {}


@pytest.mark.parametrize("overrides", [{"number": fake}, {Depends(number): fake}, {number: 5}], ids=str)
def test_override_of_what_is_no_function_is_refused(overrides: Any) -> None:
    """Nobody would look at it, and the test would run with what it means to replace."""
    with pytest.raises(TypeError, match=r"overrides must be of functions by functions, got ('number'|Depends|5)"):
        TestClient(Application(), overrides=overrides)


# Registration


def circle(n: "Annotated[int, Depends(circle_back)]") -> int:
    return n


def circle_back(n: Annotated[int, Depends(circle)]) -> int:
    return n


EXPECTED = "expected n: Annotated[…, Depends(…)]"


@contextmanager
def managed() -> Iterator[int]:
    yield 1


@asynccontextmanager
async def managed_later() -> AsyncIterator[int]:
    yield 1


def bare_mark(n: Depends(1)) -> Any:  # type: ignore[valid-type]
    return n


def mark_without_call(n: Annotated[int, Depends]) -> int:
    return n


def lacking(session: Any) -> int:
    return 1


def positional(request: Any, /) -> int:
    return 1


def positional_need(n: Annotated[int, Depends(number)], /) -> int:
    return n


def old_style(n: int = Depends(number)) -> int:  # type: ignore[assignment]
    return n


def unreadable(n: "Annotated[Nowhere, Depends(number)]") -> int:  # type: ignore[name-defined]  # noqa: F821
    return int(n)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (5, "Depends expects a callable, got 5: without its parentheses, as Depends(get_db)"),
        (Depends(number), f"Depends expects a callable, got {Depends(number)!r}: one Depends is enough"),
        (None, "Depends expects a callable, got None"),
        (circle, "dependencies go in a circle: circle → circle_back → circle"),
        (
            lacking,
            (
                "nothing provides parameter 'session' of lacking: expected `request`, a default, or "
                "Annotated[…, Depends(…)]"
            ),
        ),
        (
            positional,
            (
                "nothing provides parameter 'request' of positional: expected `request`, a default, or "
                "Annotated[…, Depends(…)]"
            ),
        ),
        (positional_need, "parameter 'n' of positional_need is positional-only, and so cannot be provided"),
        *(
            (
                manager,
                (
                    f"{manager.__qualname__} is made a context manager by its decorator: leave that out, a generator "
                    "will do"
                ),
            )
            for manager in (managed, managed_later)
        ),
        (bare_mark, "parameter 'n' of bare_mark is annotated with Depends(call=1, cache=True), " + EXPECTED),
        (
            mark_without_call,
            f"parameter 'n' of mark_without_call is annotated with typing.Annotated[int, {Depends!r}], " + EXPECTED,
        ),
        (
            old_style,
            (
                "parameter 'n' of old_style has Depends as its default, expected it in the annotation: "
                "n: Annotated[…, Depends(…)]"
            ),
        ),
        (
            unreadable,
            ("annotation of parameter 'n' of unreadable cannot be resolved: name 'Nowhere' is not defined"),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None) or "" if not isinstance(value, str) else "",
)
def test_dependency_that_cannot_be_fails_at_registration(kind: Any, reason: str) -> None:
    def handler(request: Any, db: Annotated[int, Depends(kind)]) -> int:
        return db

    router = SimpleRouter()
    with pytest.raises(InvalidHandler) as caught:
        router.register_endpoint(get(handler))
    assert str(caught.value) == f"{handler.__qualname__} cannot get its parameter 'db': {reason}"
    assert router.routes == ()


def test_handler_whose_dependency_cannot_reach_it_fails_at_registration() -> None:
    def old(request: Any, db: int = Depends(number)) -> int:  # type: ignore[assignment]
        return db

    def positional_only(request: Any, db: Annotated[int, Depends(number)], /) -> int:
        return db

    def inner(request: Any, db: Annotated[int, Depends(number)]) -> int:
        return db

    @functools.wraps(inner)
    def hides(request: Any) -> Any:
        return inner(request, 1)

    class Dispatches(MethodBasedView):
        def dispatch(self, request: Any, db: Annotated[int, Depends(number)]) -> Any:
            return db

        def get(self, request: Any) -> None: ...

    for handler, reason in (
        (old, "has Depends as its default"),
        (positional_only, "is positional-only, and so cannot be provided"),
        (hides, "has a decorator that does not take its parameter 'db'"),
    ):
        with pytest.raises(InvalidHandler, match=reason):
            SimpleRouter().register_endpoint(get(handler))
    with pytest.raises(InvalidHandler, match="dispatch cannot have dependencies"):
        SimpleRouter().register("/", Dispatches, "GET")


def test_annotation_that_is_text_is_read_where_its_function_is_defined() -> None:
    source = (
        "from __future__ import annotations\n"
        "from typing import Annotated, TYPE_CHECKING\n"
        "from dataclasses import dataclass\n"
        "from aiorest_ws import Depends\n"
        "if TYPE_CHECKING: from nowhere import Nothing\n"
        "def seven(): return 7\n"
        "Seven = Annotated[int, Depends(seven)]\n"
        "@dataclass\n"
        "class Settings:\n"
        "    n: Seven\n"
        "def handler(request: Nothing, s: Annotated[Settings, Depends(Settings)], limit=1) -> Nothing:\n"
        "    return s.n + limit\n"
    )
    module = type(sys)("described")
    sys.modules["described"] = module
    try:
        exec(source, vars(module))
        router = SimpleRouter()
        router.register_endpoint(get(module.handler))
    finally:
        del sys.modules["described"]
    with TestClient(Application(router=router)) as client:
        assert client.get("/").data == 8
        assert client.get("/", args={"limit": 2}).data == 9
