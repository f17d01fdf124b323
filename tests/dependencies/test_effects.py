"""`dependencies=` of each level: they run for their effect, outermost first, whatever is behind them."""

# Without `from __future__ import annotations`: names of a test function could not be read from its text.

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest

from aiorest_ws import Application, Depends, HTTPError, MethodBasedView, SimpleRouter, endpoint
from aiorest_ws.abstract import AbstractRouter
from aiorest_ws.exceptions import ImproperlyConfigured, InvalidHandler
from aiorest_ws.testing import TestClient

log: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    log.clear()


def note(name: str, kind: str = "def") -> Any:
    """Give a dependency that tells the log."""

    def plain() -> str:
        log.append(name)
        return name

    async def later() -> str:
        await asyncio.sleep(0)
        return plain()

    def opened() -> Iterator[str]:
        yield plain()
        log.append(f"{name} closed")

    async def opened_later() -> AsyncIterator[str]:
        yield plain()
        await asyncio.sleep(0)
        log.append(f"{name} closed")

    return {"def": plain, "async def": later, "generator": opened, "async generator": opened_later}[kind]


KINDS = ["def", "async def", "generator", "async generator"]
LEVELS = ["application", "outer", "include", "router", "handler", "own"]


class Onion:
    async def __call__(self, request: Any, call_next: Any) -> Any:
        log.append("onion")
        return await call_next(request)


class Allows:
    @staticmethod
    def check(request: Any, view: Any) -> bool:
        log.append("permission")
        return True


def application(kind: str, handler: str, *, onion: bool = False, late: bool = False, shared: Any = None) -> Application:
    """Give an application with something at every level, or with `shared` at each."""
    guards = {level: [Depends(shared or note(level, kind))] for level in LEVELS}
    own = guards["own"][0]
    outer = SimpleRouter(dependencies=guards["outer"])
    inner = SimpleRouter(dependencies=guards["router"])
    if not late:
        outer.include(inner, "/in", dependencies=guards["include"])
    options: dict[str, Any] = {"dependencies": guards["handler"], "permission_classes": [Allows]}
    if handler == "view":

        class View(MethodBasedView):
            dependencies = guards["handler"]
            permission_classes = (Allows,)

            def get(self, request: Any, it: Annotated[str, own]) -> str:
                log.append("called")
                return it

        inner.register("/x", View, "GET")
    elif handler == "async def":

        @inner.get("/x", **options)
        async def later(request: Any, it: Annotated[str, own]) -> str:
            await asyncio.sleep(0)
            log.append("called")
            return it

    else:

        @inner.get("/x", threaded=handler == "threaded", **options)
        def plain(request: Any, it: Annotated[str, own]) -> str:
            log.append("called")
            return it

    if late:
        outer.include(inner, "/in", dependencies=guards["include"])
    return Application(router=outer, dependencies=guards["application"], middlewares=[Onion] if onion else [])


@pytest.mark.parametrize("late", [False, True], ids=["", "late"])
@pytest.mark.parametrize("onion", [False, True], ids=["", "onion"])
@pytest.mark.parametrize("handler", ["def", "async def", "threaded", "view"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_level_runs_in_order_behind_the_permissions(kind: str, handler: str, onion: bool, late: bool) -> None:
    with TestClient(application(kind, handler, onion=onion, late=late)) as client:
        assert client.get("/in/x").data == "own"
    closed = [f"{level} closed" for level in reversed(LEVELS)] if "generator" in kind else []
    assert log == ["onion"] * onion + ["permission", *LEVELS, "called", *closed]


@pytest.mark.parametrize("handler", ["def", "async def", "threaded", "view"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_several_levels_and_a_parameter_name_runs_once(kind: str, handler: str) -> None:
    with TestClient(application(kind, handler, shared=note("shared", kind))) as client:
        assert client.get("/in/x").data == "shared"
    assert log == ["permission", "shared", "called", *(["shared closed"] if "generator" in kind else [])]


@pytest.mark.parametrize("level", ["application", "outer", "include", "router", "handler"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_that_refuses_refuses_at_every_level(kind: str, level: str) -> None:
    def plain() -> None:
        raise HTTPError(401, "who are you")

    async def later() -> None:
        plain()

    def opened() -> Iterator[None]:
        plain()
        yield

    async def opened_later() -> AsyncIterator[None]:
        plain()
        yield

    guard = {"def": plain, "async def": later, "generator": opened, "async generator": opened_later}[kind]
    at = {name: [Depends(guard)] if name == level else [] for name in LEVELS}
    outer, inner = SimpleRouter(dependencies=at["outer"]), SimpleRouter(dependencies=at["router"])
    called = []

    @inner.get("/bare", dependencies=at["handler"])
    def bare(request, *args, **kwargs):  # type: ignore[no-untyped-def]
        called.append(kwargs)

    @inner.get("/none", dependencies=at["handler"])
    def none(request: Any) -> None:
        called.append(request)

    class View(MethodBasedView):
        dependencies = at["handler"]

        def get(self, request: Any) -> None:
            called.append(request)

        async def post(self, request: Any, n: int = 1) -> None:
            called.append(request)

        def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            called.append(request)

    inner.register("/view", View)
    outer.include(inner, "/in", dependencies=at["include"])
    with TestClient(Application(router=outer, dependencies=at["application"])) as client:
        for path in ("/in/bare", "/in/none", "/in/view"):
            assert client.get(path, args={"guard": 1} if path == "/in/bare" else None).status == 401
        assert client.request("POST", "/in/view", args={}).status == 401
    assert called == []


def test_they_are_overridden_and_are_no_arguments() -> None:
    def guard(request: Any) -> None:
        raise HTTPError(401, "who are you")

    router = SimpleRouter(dependencies=[Depends(guard)])

    @router.get("/x")
    def handler(request: Any, **kwargs: Any) -> Any:
        return kwargs

    app = Application(router=router, dependencies=[Depends(guard)])
    with TestClient(app) as client:
        assert client.get("/x", args={"guard": None, "dependencies": []}).status == 401
        app.dependency_overrides[guard] = lambda: None
        assert client.get("/x", args={"guard": 1}).data == {"guard": 1}
        app.dependency_overrides.clear()
        assert client.get("/x").status == 401


def test_those_of_the_application_run_for_routes_that_come_later_and_for_each_application_its_own() -> None:
    router = SimpleRouter()
    first = Application(router=router, dependencies=[Depends(note("first"))])
    second = Application(router=router, dependencies=[Depends(note("second"))])
    third = Application(router=router)
    with TestClient(first) as one, TestClient(second) as two, TestClient(third) as three:

        @router.get("/x")
        def handler(request: Any) -> str:
            return "x"

        for client in (one, two, three, one):
            assert client.get("/x").data == "x"
    assert log == ["first", "second", "first"]


def test_cache_false_runs_each_time() -> None:
    counted = Depends(note("counted"), cache=False)
    router = SimpleRouter(dependencies=[counted])

    @router.get("/x", dependencies=(counted, counted))
    def handler(request: Any, it: Annotated[str, counted]) -> str:
        return it

    with TestClient(Application(router=router)) as client:
        assert client.get("/x").data == "counted"
    assert log == ["counted"] * 4


def guard() -> None:
    """Stand for a guard."""


def needy(who: str) -> None:
    """Need what nobody provides."""


class Foreign:
    Depends = type("Depends", (), {"__init__": lambda self, call: None, "__module__": "fastapi.params"})


WRONG: dict[str, tuple[Any, str]] = {
    "function": (guard, r"must be a list of Depends\(…\), got <function guard"),
    "one Depends": (Depends(guard), r"must be a list of Depends\(…\), got Depends\("),
    "set": ({1}, "must be a list"),
    "None": (None, "must be a list"),
    "bare function": ([guard], r"did you mean Depends\(guard\)\?"),
    "class": ([Foreign], r"did you mean Depends\(Foreign\)\?"),
    "Annotated": ([Annotated[str, Depends(guard)]], "must be a list of Depends"),
    "foreign": ([Foreign.Depends(guard)], "of fastapi.params in it"),
    "text": (["guard"], "got 'guard' in it"),
    "second": ([Depends(guard), guard], r"did you mean Depends\(guard\)\?"),
}


def at_every_level(dependencies: Any) -> list[Any]:
    class View(MethodBasedView):
        def get(self, request: Any) -> None: ...

    View.dependencies = dependencies
    return [
        lambda: SimpleRouter(dependencies=dependencies),
        lambda: Application(router=SimpleRouter(), dependencies=dependencies),
        lambda: SimpleRouter().include(SimpleRouter(), dependencies=dependencies),
        lambda: SimpleRouter().get("/x", dependencies=dependencies)(lambda request: None),
        lambda: SimpleRouter().register_endpoint(
            endpoint("/x", "GET", dependencies=dependencies)(lambda request: None)
        ),
        lambda: SimpleRouter().register("/x", View),
    ]


@pytest.mark.parametrize("level", range(6))
@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_what_is_no_list_of_depends_is_refused(case: tuple[Any, str], level: int) -> None:
    dependencies, reason = case
    with pytest.raises(TypeError, match=reason):
        at_every_level(dependencies)[level]()


@pytest.mark.parametrize("level", range(6))
@pytest.mark.parametrize("call", [needy, 5, lambda x: x], ids=["parameter", "number", "lambda"])
def test_what_cannot_run_is_refused_where_it_is_said(call: Any, level: int) -> None:
    with pytest.raises(InvalidHandler, match="a dependency of"):
        at_every_level([Depends(call)])[level]()


def test_a_router_that_would_not_run_those_of_the_application_is_refused() -> None:
    class Own(AbstractRouter):
        def process_request(self, request: Any) -> bytes:
            return b"{}"

    with pytest.raises(ImproperlyConfigured, match=r"its router is a .*Own, which would not run them"):
        TestClient(Application(router=Own(), dependencies=[Depends(guard)])).__enter__()
