"""Context variables: who sees which, and in whose context a request's lines are logged."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import pytest

from aiorest_ws import Application, Depends, HTTPError, SimpleRouter, endpoint
from aiorest_ws.middlewares import RequestId, request_id
from aiorest_ws.testing import AsyncTestClient, TestClient
from tests.kit.logs import heard_by
from tests.serving import LOOPS, Client, asynchronous, make_router, serving

on_each_loop = pytest.mark.parametrize("loop", LOOPS)
var: ContextVar[str] = ContextVar("var", default="-")


class Lines(logging.Handler):
    """Notes the value that `var` has where a line is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        kind = "access" if record.name == "aiorest_ws.access" else "error"
        self.seen[kind] = var.get() if var.get() != "-" else request_id.get() or "-"


@contextmanager
def noted() -> Iterator[dict[str, str]]:
    lines = Lines()
    with heard_by(lines):
        yield lines.seen


# Where lines are logged


def fails(request: Any) -> None:
    raise ZeroDivisionError


def sets(request: Any) -> None:
    var.set("handler")
    raise ZeroDivisionError


async def fails_at_once(request: Any) -> None:
    raise ZeroDivisionError


async def fails_later(request: Any) -> None:
    await asyncio.sleep(0)
    raise ZeroDivisionError


async def sets_later(request: Any) -> None:
    await asyncio.sleep(0)
    var.set("handler")
    await asyncio.sleep(0)
    raise ZeroDivisionError


def dependency() -> Iterator[int]:
    token = var.set("dependency")
    try:
        yield 1
    finally:
        var.reset(token)


async def asynchronous_dependency() -> AsyncIterator[int]:
    await asyncio.sleep(0)
    token = var.set("dependency")
    try:
        yield 1
    finally:
        await asyncio.sleep(0)
        var.reset(token)


def fails_with(request: Any, value: Annotated[int, Depends(dependency)]) -> None:
    raise ZeroDivisionError


def fails_with_asynchronous(request: Any, value: Annotated[int, Depends(asynchronous_dependency)]) -> None:
    raise ZeroDivisionError


async def fails_later_with(request: Any, value: Annotated[int, Depends(dependency)]) -> None:
    await asyncio.sleep(0)
    raise ZeroDivisionError


def works(request: Any) -> str:
    return "fine"


async def works_later(request: Any) -> str:
    await asyncio.sleep(0)
    var.set("handler")
    return "fine"


async def works_at_once(request: Any) -> str:
    var.set("handler")
    return "fine"


def works_with(request: Any, value: Annotated[int, Depends(dependency)]) -> str:
    return "fine"


def sets_in_thread(request: Any) -> str:
    var.set("thread")
    return "fine"


class Refusing:
    """An inner middleware that refuses by itself."""

    async def __call__(self, request: Any, call_next: Any) -> Any:
        raise HTTPError(403)


class Answering:
    """An inner middleware that answers by itself."""

    async def __call__(self, request: Any, call_next: Any) -> Any:
        await asyncio.sleep(0)
        return "cached"


class Again:
    """A middleware that asks twice."""

    async def __call__(self, request: Any, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except ZeroDivisionError:
            token = var.set("again")
            try:
                return await call_next(request)
            finally:
                var.reset(token)


@pytest.mark.parametrize(
    ("handler", "attrs", "middlewares", "where"),
    [
        (fails, {}, [RequestId], "id"),
        (fails_at_once, {}, [RequestId], "id"),
        (fails_later, {}, [RequestId], "id"),
        (fails, {"threaded": True}, [RequestId], "id"),
        (fails, {"middlewares": [RequestId]}, [], "id"),
        (sets, {}, [RequestId], "handler"),
        (sets_later, {}, [RequestId], "handler"),
        (sets, {"threaded": True}, [RequestId], "handler"),
        (sets_later, {}, [], "handler"),
        (sets, {"threaded": True}, [], "handler"),
        (fails_with, {}, [], "dependency"),
        (fails_with, {}, [RequestId], "dependency"),
        (fails_with, {"threaded": True}, [], "dependency"),
        (fails_with, {"threaded": True}, [RequestId], "dependency"),
        (fails_with_asynchronous, {}, [], "dependency"),
        (fails_with_asynchronous, {"threaded": True}, [], "dependency"),
        (fails_with_asynchronous, {"threaded": True}, [RequestId], "dependency"),
        (fails_later_with, {}, [RequestId], "dependency"),
        (works, {}, [RequestId], "id"),
        (works_later, {}, [RequestId], "handler"),
        (works_later, {}, [], "handler"),
        (works_at_once, {}, [], "handler"),
        (works_with, {}, [], "dependency"),
        (works_with, {}, [RequestId], "dependency"),
        (works_with, {"threaded": True}, [], "dependency"),
        (sets_in_thread, {"threaded": True}, [], "thread"),
        (works, {}, [RequestId, Answering], "id"),
        (works, {}, [RequestId, Refusing], "id"),
        (fails, {}, [Again], "again"),
    ],
)
@asynchronous
async def test_lines_of_a_request_are_logged_where_it_ended(
    handler: Any, attrs: dict[str, Any], middlewares: list[Any], where: str
) -> None:
    router = SimpleRouter()
    router.register_endpoint(endpoint("/x", "GET", **attrs)(handler))
    for rest in ({"id": 1}, {"id": None}):
        app = Application(router=router, middlewares=middlewares, access_log=True)
        with noted() as seen:
            async with AsyncTestClient(app) as client:
                await client.get("/x", request_id="id", **rest)
        assert seen.pop("access") == where
        assert seen == ({"error": where} if "fail" in handler.__name__ or handler.__name__ == "sets" else seen)
    assert var.get() == "-"


@on_each_loop
@asynchronous
async def test_line_of_a_request_that_takes_too_long_is_logged_where_it_is(loop: str) -> None:
    async def hang(request: Any) -> None:
        await asyncio.Event().wait()

    options = {"middlewares": [RequestId], "access_log": True, "request_timeout": 0.02}
    with noted() as seen:
        async with serving(make_router(hang=hang), **options) as app, await Client.connect(app) as client:
            for n in range(3):
                reply = await client.ask("GET", "/hang", id=n, request_id=f"id {n}")
                assert (reply["status"], seen["access"]) == (504, f"id {n}")


@asynchronous
async def test_error_is_logged_where_it_was_raised_without_an_access_log() -> None:
    with noted() as seen:
        async with AsyncTestClient(Application(router=make_router(x=sets_later), middlewares=[RequestId])) as client:
            await client.get("/x", request_id="id")
    assert seen == {"error": "handler"}


def test_request_in_a_context_variable_is_no_garbage() -> None:
    held: ContextVar[Any] = ContextVar("held")
    requests: list[weakref.ref[Any]] = []

    class Holding:
        async def __call__(self, request: Any, call_next: Any) -> Any:
            requests.append(weakref.ref(request.state))
            token = held.set(request)
            try:
                return await call_next(request)
            finally:
                held.reset(token)

    for access_log in (True, False):
        with TestClient(
            Application(router=make_router(x=works_later), middlewares=[Holding], access_log=access_log)
        ) as client:
            gc.disable()
            try:
                for _ in range(3):
                    client.get("/x")
                assert [state() for state in requests] == [None] * len(requests)
            finally:
                gc.enable()


# Whose variables are seen


@asynccontextmanager
async def lifespan(app: Application) -> AsyncIterator[None]:
    var.set("lifespan")
    yield


def show(request: Any) -> str:
    return var.get()


async def show_later(request: Any) -> str:
    await asyncio.sleep(0)
    return var.get()


@on_each_loop
@asynchronous
async def test_variables_of_the_lifespan_reach_every_handler(loop: str) -> None:
    router = make_router(now=show, later=show_later)
    router.register_endpoint(endpoint("/thread", "GET", threaded=True)(show))
    told: list[str] = []
    options: dict[str, Any] = {
        "lifespan": lifespan,
        "on_connect": lambda connection: told.append(var.get()),
        "on_disconnect": lambda *args: told.append(var.get()),
    }
    async with serving(router, **options) as app:
        async with await Client.connect(app) as client:
            for url in ("/now", "/later", "/thread"):
                assert (await client.ask("GET", url))["data"] == "lifespan"
            await client.leave()
        await app.stop()
    assert told == ["lifespan"] * 2
    assert var.get() == "-"


@asynchronous
async def test_variables_of_hooks_of_the_start_reach_handlers_of_a_test_client() -> None:
    app = Application(router=make_router(show=show), on_startup=[lambda app: (var.set("startup"), None)[1]])
    async with AsyncTestClient(app) as client, client.connect() as other:
        assert [(await one.get("/show")).data for one in (client, other)] == ["startup"] * 2


@on_each_loop
@pytest.mark.parametrize("way", ["def", "async def", "middleware"])
@asynchronous
async def test_variables_of_on_connect_reach_the_handlers_of_that_connection_alone(loop: str, way: str) -> None:
    def name(connection: Any) -> None:
        var.set(connection.query["name"])

    async def name_later(connection: Any) -> None:
        await asyncio.sleep(0)
        name(connection)

    class Gate:
        at_handshake = staticmethod(name)

        def process_request(self, request: Any, handler: Any) -> None:
            pass

    told: list[str] = []
    ways: dict[str, dict[str, Any]] = {
        "def": {"on_connect": name},
        "async def": {"on_connect": name_later},
        "middleware": {"middlewares": [Gate()]},
    }
    options = ways[way]
    options |= {"lifespan": lifespan, "on_disconnect": lambda *args: told.append(var.get())}
    async with (
        serving(make_router(now=show, later=show_later), **options) as app,
        await Client.connect(app, "/?name=ada") as ada,
        await Client.connect(app, "/?name=bob") as bob,
    ):
        for _ in range(2):
            for client, who in ((ada, "ada"), (bob, "bob")):
                for url in ("/now", "/later"):
                    assert (await client.ask("GET", url))["data"] == who
        await ada.leave()
        await bob.leave()
        await app.stop()
    assert told == ["ada", "bob"]


@on_each_loop
@asynchronous
async def test_what_a_request_sets_is_seen_by_no_other_client(loop: str) -> None:
    def name(request: Any, who: str) -> str:
        var.set(who)
        return who

    async with (
        serving(make_router(name=name, now=show, later=show_later)) as app,
        await Client.connect(app) as ada,
        await Client.connect(app) as bob,
    ):
        await ada.ask("GET", "/name", args={"who": "ada"})
        for url in ("/now", "/later"):
            assert (await bob.ask("GET", url))["data"] == "-"
        async with await Client.connect(app) as carl:
            assert (await carl.ask("GET", "/now"))["data"] == "-"
            await carl.leave()
        await ada.leave()
        await bob.leave()


@on_each_loop
@asynchronous
async def test_push_to_a_client_that_is_choked_lends_it_no_context(loop: str) -> None:
    connections: dict[str, Any] = {}

    async def push(request: Any) -> None:
        var.set("ada")
        bob = connections["bob"]
        while not bob._choked_at:
            bob.send_event("x", "x" * 500_000)
        bob.send_event("x", "x" * 500_000)

    def welcome(connection: Any) -> None:
        connections[connection.query["name"]] = connection

    async with (
        serving(make_router(push=push, now=show), on_connect=welcome, send_timeout=None) as app,
        await Client.connect(app, "/?name=ada") as ada,
        await Client.connect(app, "/?name=bob") as bob,
    ):
        await ada.ask("GET", "/push")
        for n in range(4):
            bob.request("GET", "/now", id=n)
        answers: list[Any] = []
        while len(answers) < 4:
            message = json.loads((await bob.receive()).payload)
            if "id" in message:
                answers.append(message["data"])
        assert answers == ["-"] * 4
        await ada.leave()
        bob.abort()
