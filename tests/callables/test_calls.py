"""Whatever a user writes as a callable: what comes back is awaited where it has to be, wherever it is called."""

# Without `from __future__ import annotations`: names of a test function could not be read from its text.

import asyncio
import functools
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Annotated, Any
from unittest.mock import AsyncMock, Mock

import pytest

from aiorest_ws import Application, Depends, HTTPError, SimpleRouter, endpoint
from aiorest_ws.callables.calls import call, is_awaitable, layers_of, may_wait
from aiorest_ws.exceptions import ImproperlyConfigured, InvalidHandler
from aiorest_ws.middlewares import Middleware
from aiorest_ws.testing import AsyncTestClient, HandshakeRefused, TestClient
from tests.serving import asynchronous


def refuse(*args: Any) -> None:
    raise HTTPError(401, "who are you")


async def refuse_later(*args: Any) -> None:
    await asyncio.sleep(0)
    refuse()


class Instance:
    async def __call__(self, *args: Any) -> None:
        refuse()

    def method(self, *args: Any) -> Any:
        return refuse_later()


@functools.wraps(refuse)
async def async_around_def(*args: Any) -> None:
    refuse()


@functools.wraps(refuse_later)
def def_around_async(*args: Any) -> Any:
    return refuse_later(*args)


@functools.wraps(refuse_later)
async def async_without_await(*args: Any) -> Any:
    return refuse_later(*args)


CALLABLES: dict[str, Callable[..., Any]] = {
    "def": refuse,
    "async def": refuse_later,
    "partial": functools.partial(refuse_later, 1),
    "partial of partial": functools.partial(functools.partial(async_around_def, 1), 2),
    "instance": Instance(),
    "method": Instance().method,
    "lambda": lambda *args: refuse_later(),
    "async around def": async_around_def,
    "def around async": def_around_async,
    "async without await": async_without_await,
    "mock": Mock(side_effect=HTTPError(401, "who are you")),
    "async mock": AsyncMock(side_effect=HTTPError(401, "who are you")),
    "future": lambda *args: asyncio.ensure_future(refuse_later()),
}
every = pytest.mark.parametrize("refuses", CALLABLES.values(), ids=CALLABLES)


def hello(request: Any) -> str:
    return "hello"


class Before:
    def __init__(self, function: Callable[..., Any]) -> None:
        self.process_request = function


class Around:
    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, request: Any, call_next: Any) -> Any:
        return self.function(request, call_next)


class Free:
    async def process_request(self, request: Any, view: Any) -> None:
        pass


@every
@asynchronous
async def test_a_middleware_that_refuses_refuses_however_it_is_written(refuses: Any) -> None:
    before, around, free = Before(refuses), Around(refuses), Free()
    lists: list[list[Middleware]] = [[before], [free, before], [around], [around, free]]
    for middlewares in lists:
        router = SimpleRouter()
        router.register_endpoint(endpoint("/hello", "GET")(hello))
        async with AsyncTestClient(Application(router=router, middlewares=middlewares)) as client:
            assert (await client.get("/hello")).status == 401


@every
@asynchronous
async def test_an_exception_handler_that_refuses_refuses_however_it_is_written(refuses: Any) -> None:
    def fails(request: Any) -> None:
        raise KeyError

    router = SimpleRouter()
    router.exception_handlers[KeyError] = refuses
    router.register_endpoint(endpoint("/fails", "GET")(fails))
    async with AsyncTestClient(Application(router=router)) as client:
        assert (await client.get("/fails")).status == 401


@every
@asynchronous
async def test_a_start_that_fails_fails_however_it_is_written(refuses: Any) -> None:
    router = SimpleRouter()
    router.register_endpoint(endpoint("/hello", "GET")(hello))
    with pytest.raises(ImproperlyConfigured, match="who are you"):
        await AsyncTestClient(Application(router=router, on_startup=[refuses])).__aenter__()


@every
@asynchronous
async def test_on_connect_that_fails_lets_nobody_in_however_it_is_written(refuses: Any) -> None:
    router = SimpleRouter()
    router.register_endpoint(endpoint("/hello", "GET")(hello))
    with pytest.raises(HandshakeRefused):
        await AsyncTestClient(Application(router=router, on_connect=refuses)).__aenter__()


class Proxy:
    """Has every attribute that one asks for, as proxies and providers do; its class has none."""

    def __getattr__(self, name: str) -> Any:
        return self


@types.coroutine
def old_coroutine() -> Any:
    yield from asyncio.sleep(0).__await__()
    return 7


class Pool:
    """Gives itself when it is awaited, as those of asyncpg and redis do."""

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return self


@asynchronous
async def test_what_is_awaited_is_what_can_be() -> None:
    pool = Pool()
    assert [is_awaitable(value) for value in (Proxy(), Pool, 7, None, (n for n in [7]), Mock())] == [False] * 6
    assert is_awaitable(pool)
    assert await call(lambda: pool) is pool
    assert await call(old_coroutine) == 7
    assert await call(AsyncMock(return_value=7)) == 7


def test_a_hint_of_waiting_sees_through_what_is_around() -> None:
    assert [name for name, function in CALLABLES.items() if not may_wait(function)] == [
        "def",
        "method",
        "lambda",
        "mock",
        "future",
    ]
    assert layers_of(functools.partial(async_around_def))[1:] == [async_around_def, refuse]


def in_a_pool(function: Callable[..., Any], *args: Any) -> Future[Any]:
    """Give what a pool of threads gives for a call of `function`."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(function, *args)
    pool.shutdown(wait=False)
    return future


def refuse_in_a_pool(*args: Any) -> Any:
    return in_a_pool(refuse)


def seven_in_a_pool() -> Any:
    return in_a_pool(lambda: 7)


def taking_seven(seven: Annotated[int, Depends(seven_in_a_pool)]) -> int:
    return seven


def opened(seven: Annotated[int, Depends(seven_in_a_pool)]) -> Iterator[int]:
    yield seven


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("given", [seven_in_a_pool, taking_seven, opened, functools.partial(seven_in_a_pool)])
def test_a_dependency_may_give_a_future_of_a_pool(given: Any, threaded: bool) -> None:
    def handler(request: Any, value: Annotated[int, Depends(given)]) -> int:
        return value + 1

    router = SimpleRouter()
    router.get("/", threaded=threaded)(handler)
    with TestClient(Application(router)) as client:
        assert client.get("/").data == 8


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("whose", ["value", "effect", "override", "cancelled"])
def test_what_is_raised_in_a_pool_for_a_dependency_is_seen(whose: str, threaded: bool) -> None:
    called = []

    def cancelled() -> Any:
        future: Future[Any] = Future()
        future.cancel()
        return future

    kinds: dict[str, Any] = {"value": refuse_in_a_pool, "override": taking_seven, "cancelled": cancelled}
    refuses = kinds.get(whose, seven_in_a_pool)

    def handler(request: Any, value: Annotated[int, Depends(refuses)]) -> None:
        called.append(value)

    router = SimpleRouter()
    effects = [Depends(refuse_in_a_pool)] if whose == "effect" else []
    router.get("/", threaded=threaded, dependencies=effects)(handler)
    application = Application(router)
    if whose == "override":
        application.dependency_overrides[seven_in_a_pool] = refuse_in_a_pool
    with TestClient(application) as client:
        assert client.get("/").status == (500 if whose == "cancelled" else 401)
    assert not called


@pytest.mark.parametrize("threaded", [False, True])
def test_a_handler_with_a_model_or_in_a_thread_may_give_a_future_of_a_pool(threaded: bool) -> None:
    def handler(request: Any, seven: Annotated[int, Depends(seven_in_a_pool)]) -> Any:
        return in_a_pool(lambda: str(seven))

    router = SimpleRouter()
    router.get("/", threaded=threaded, response_model=str)(handler)
    router.get("/plain", threaded=threaded)(handler)
    with TestClient(Application(router)) as client:
        assert client.get("/").data == client.get("/plain").data == "7"


def test_a_handler_without_anything_and_a_router_of_ones_own_may_give_a_future_of_a_pool() -> None:
    class Own(SimpleRouter):
        def process_request(self, request: Any) -> Any:
            return in_a_pool(lambda: b'{"id":1,"status":200,"data":"8"}')

    router = SimpleRouter()
    router.get("/")(lambda request: in_a_pool(lambda: "7"))
    with TestClient(Application(router)) as client:
        assert client.get("/").data == "7"
    with TestClient(Application(Own())) as client:
        assert client.get("/").data == "8"


@pytest.mark.parametrize("kinds", [[Before], [Free, Before], [Around], [Around, Free], [Free, Around, Before]])
def test_what_is_raised_in_a_pool_for_a_guard_lets_nobody_in(kinds: Any) -> None:
    called: list[Any] = []
    for middlewares in ([Free() if kind is Free else kind(refuse_in_a_pool) for kind in kinds],):
        router = SimpleRouter()
        router.get("/")(called.append)
        with TestClient(Application(router, middlewares=middlewares)) as client:
            assert client.get("/").status == 401
    assert not called


@asynchronous
async def test_hooks_and_exception_handlers_may_give_a_future_of_a_pool() -> None:
    def fails(request: Any) -> None:
        raise KeyError

    router = SimpleRouter()
    router.exception_handlers[KeyError] = refuse_in_a_pool
    router.get("/")(fails)
    async with AsyncTestClient(Application(router)) as client:
        assert (await client.get("/")).status == 401
    with pytest.raises(HandshakeRefused):
        await AsyncTestClient(Application(router, on_connect=refuse_in_a_pool)).__aenter__()
    with pytest.raises(ImproperlyConfigured, match="who are you"):
        await AsyncTestClient(Application(router, on_startup=[refuse_in_a_pool])).__aenter__()


@functools.singledispatch
def chooses(request: Any) -> str:
    return "any"


class Chooses:
    @functools.singledispatchmethod
    def method(self, request: Any) -> str:
        return "any"


@pytest.mark.parametrize("call", [chooses, functools.partial(chooses), Chooses().method], ids=range(3))
def test_a_dependency_that_chooses_by_an_argument_it_does_not_get_is_refused(call: Any) -> None:
    with pytest.raises(InvalidHandler, match=r"by its first positional argument.*a function that calls it will do"):

        @SimpleRouter().get("/")
        def handler(request: Any, value: Annotated[str, Depends(call)]) -> str:
            return value


def test_one_that_has_what_it_chooses_by_is_a_dependency_as_any() -> None:
    router = SimpleRouter()

    @router.get("/")
    def handler(request: Any, value: Annotated[str, Depends(functools.partial(chooses, 7))]) -> str:
        return value

    with TestClient(Application(router)) as client:
        assert client.get("/").data == "any"


def passing(function: Any) -> Any:
    @functools.wraps(function)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return decorated


def naming(function: Any) -> Any:
    @functools.wraps(function)
    async def decorated(request: Any, *args: Any, **kwargs: Any) -> Any:
        return function(request, *args, **kwargs)

    return decorated


def sized(request: Any, size: int, unit: str, who: Annotated[str, Depends(lambda: "real")]) -> Any:
    return [size, unit, who]


@pytest.mark.parametrize(
    "handler",
    [
        functools.partial(sized, unit="cm"),
        passing(functools.partial(sized, unit="cm")),
        functools.partial(passing(sized), unit="cm"),
        functools.partial(naming(sized), unit="cm"),
        functools.partial(functools.partial(passing(sized), unit="m"), unit="cm"),
        passing(functools.partial(naming(sized), unit="cm")),
        functools.partial(passing(functools.partial(naming(sized))), unit="cm"),
    ],
    ids=range(7),
)
def test_annotations_count_under_partials_of_decorators_of_partials(handler: Any) -> None:
    router = SimpleRouter()
    router.get("/")(handler)
    with TestClient(Application(router)) as client:
        assert client.get("/", args={"size": 1}).data == [1, "cm", "real"]
        reply = client.get("/", args={"size": 1, "who": "EVIL"})
        assert reply.status == 422 or reply.data == [1, "cm", "real"]
        assert client.get("/", args={"size": "a"}).detail[0]["loc"] == ["args", "size"]
        assert client.get("/").status == 422
