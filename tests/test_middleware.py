"""Middlewares that stand around the handler: on the application, on routers, on views; over a real socket."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from aiorest_ws import Application, HTTPError, MethodBasedView, Response, SimpleRouter, endpoint
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.middlewares import CallNext, RequestId, Timing, request_id
from aiorest_ws.renderers import XMLRenderer
from aiorest_ws.wrappers import Request
from tests.serving import LOOPS, Client, asynchronous, serving

FAILED = "A server error occurred."


class Around:
    """Tells on its way in and on its way out."""

    def __init__(self, lines: list[str], name: str) -> None:
        self.lines = lines
        self.name = name

    async def __call__(self, request: Request, call_next: CallNext) -> Any:
        self.lines.append(f"{self.name} in")
        await asyncio.sleep(0)
        try:
            return await call_next(request)
        finally:
            self.lines.append(f"{self.name} out")


class Before:
    """The original's kind."""

    authenticates = True

    def __init__(self, lines: list[str], name: str) -> None:
        self.lines = lines
        self.name = name

    def process_request(self, request: Request, handler: Any) -> None:
        assert isinstance(handler, MethodBasedView)
        request.user = type("User", (), {"is_authenticated": True})
        self.lines.append(self.name)


def hello(request: Request, *args: Any, **kwargs: Any) -> Any:
    return "hello"


def router_of(*middlewares: Any, handler: Any = hello, **attrs: Any) -> SimpleRouter:
    router = SimpleRouter(middlewares=list(middlewares))
    router.register_endpoint(endpoint("/x", "GET", **attrs)(handler))
    return router


async def answer(router: SimpleRouter, url: str = "/x", **options: Any) -> dict[str, Any]:
    """Give the reply to one GET, without its id."""
    async with serving(router, **options) as app, await Client.connect(app) as client:
        reply: dict[str, Any] = await client.ask("GET", url, id=1)
        await client.leave()
    del reply["id"]
    return reply


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# Order


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_order_is_application_outer_router_inner_router_view_permissions_handler(loop: str) -> None:
    lines: list[str] = []

    class Asks:
        @staticmethod
        async def check(request: Request, handler: Any) -> bool:
            await asyncio.sleep(0)
            lines.append("permission")
            return True

    class View(MethodBasedView):
        middlewares = (Around(lines, "view"), Before(lines, "view before"))
        permission_classes = (Asks, Asks)
        auth_required = True

        async def get(self, request: Request) -> str:
            await asyncio.sleep(0)
            lines.append("handler")
            return "hello"

    inner = SimpleRouter(middlewares=[Around(lines, "inner"), Before(lines, "inner before")])
    outer = SimpleRouter(middlewares=[Around(lines, "outer")])
    outer.include(inner, prefix="/in")
    inner.register("/x", View, "GET")
    middlewares = [Before(lines, "app before"), Around(lines, "app 1"), Around(lines, "app 2")]
    assert await answer(outer, "/in/x", middlewares=middlewares) == {"status": 200, "data": "hello"}
    assert lines == [
        *("app before", "app 1 in", "app 2 in", "outer in", "inner in", "inner before", "view in", "view before"),
        *("permission", "permission", "handler"),
        *("view out", "inner out", "outer out", "app 2 out", "app 1 out"),
    ]


@asynchronous
async def test_router_that_is_included_keeps_its_middlewares_and_gives_none_away() -> None:
    lines: list[str] = []
    inner, outer = router_of(Around(lines, "inner")), router_of(Around(lines, "outer"))
    outer.include(inner, prefix="/in")
    await answer(outer, "/x")
    assert lines == ["outer in", "outer out"]
    lines.clear()
    await answer(inner, "/x")
    assert lines == ["inner in", "inner out"]


@asynchronous
async def test_router_may_have_only_middlewares_of_the_originals_kind() -> None:
    lines: list[str] = []
    assert (await answer(router_of(Before(lines, "before"), auth_required=True)))["data"] == "hello"
    assert lines == ["before"]


@asynchronous
async def test_url_that_is_not_there_meets_no_middleware() -> None:
    lines: list[str] = []
    router = router_of(Around(lines, "router"))
    assert (await answer(router, "/none", middlewares=[Around(lines, "app")]))["status"] == 404
    assert lines == []


# What a middleware can do


async def short(request: Request, call_next: CallNext) -> Any:
    return "short"


async def created(request: Request, call_next: CallNext) -> Any:
    return Response("short", status=201)


async def refused(request: Request, call_next: CallNext) -> Any:
    raise HTTPError(429, "later")


@pytest.mark.parametrize("where", ["application", "router", "view"])
@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        (short, {"status": 200, "data": "short"}),
        (created, {"status": 201, "data": "short"}),
        (refused, {"status": 429, "detail": "later"}),
    ],
)
@asynchronous
async def test_short_circuit(middleware: Any, expected: Any, where: str) -> None:
    def never(request: Request) -> None:
        raise AssertionError("called")

    if where == "application":
        got = await answer(router_of(handler=never), middlewares=[middleware])
    elif where == "router":
        got = await answer(router_of(middleware, handler=never))
    else:
        got = await answer(router_of(handler=never, middlewares=[middleware]))
    assert got == expected


@asynchronous
async def test_reply_can_be_changed() -> None:
    async def changes(request: Request, call_next: CallNext) -> Any:
        response = await call_next(request)
        assert isinstance(response, Response)
        response.content["data"] = response.content["data"].upper()
        response.content["stale"] = True
        response.status = 203
        return response

    assert await answer(router_of(changes)) == {"status": 203, "data": "HELLO", "stale": True}


@asynchronous
async def test_exceptions_pass_through_and_can_be_mapped() -> None:
    async def maps(request: Request, call_next: CallNext) -> Any:
        try:
            return await call_next(request)
        except KeyError as exc:
            raise HTTPError(404, f"no {exc.args[0]}") from exc

    async def fails(request: Request) -> None:
        await asyncio.sleep(0)
        raise KeyError("ada")

    assert await answer(router_of(maps, handler=fails)) == {"status": 404, "detail": "no ada"}


@asynchronous
async def test_exception_handlers_answer_behind_the_outermost_middleware() -> None:
    lines: list[str] = []

    async def fails(request: Request) -> None:
        raise KeyError("ada")

    router = router_of(Around(lines, "router"), handler=fails)

    @router.exception_handler(KeyError)
    def missing(request: Request, exc: KeyError) -> HTTPError:
        lines.append("handled")
        return HTTPError(404)

    assert (await answer(router, middlewares=[Around(lines, "app")]))["status"] == 404
    assert lines == ["app in", "router in", "router out", "app out", "handled"]


@asynchronous
async def test_handler_may_be_called_again() -> None:
    calls: list[int] = []

    def fails_once(request: Request) -> str:
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError
        return "second"

    async def again(request: Request, call_next: CallNext) -> Any:
        try:
            return await call_next(request)
        except ConnectionError:
            return await call_next(request)

    assert (await answer(router_of(again, handler=fails_once)))["data"] == "second"


@asynchronous
async def test_refusals_of_permissions_and_arguments_pass_through() -> None:
    seen: list[str] = []

    class Denies:
        @staticmethod
        def check(request: Request, handler: Any) -> bool:
            return False

    async def sees(request: Request, call_next: CallNext) -> Any:
        try:
            return await call_next(request)
        except Exception as exc:
            seen.append(type(exc).__name__)
            raise

    assert (await answer(router_of(sees, permission_classes=(Denies,))))["status"] == 403
    assert (await answer(router_of(sees, handler=lambda request, a: a)))["status"] == 422
    assert seen == ["PermissionDeniedException", "IncorrectArgument"]


def test_middleware_that_fails_or_gives_nothing_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async def forgets(request: Request, call_next: CallNext) -> None:
        await call_next(request)

    async def fails(request: Request, call_next: CallNext) -> None:
        raise ZeroDivisionError

    @asynchronous
    async def test() -> None:
        for middleware in (forgets, fails):
            assert await answer(router_of(middleware)) == {"status": 500, "detail": FAILED}

    test()
    assert errors(caplog) == ["'GET' '/x' failed: TypeError", "'GET' '/x' failed: ZeroDivisionError"]
    assert "gave None, expected what call_next gives, or a Response" in caplog.text


@asynchronous
async def test_plain_function_may_pass_on_what_call_next_gives() -> None:
    assert (await answer(router_of(lambda request, call_next: call_next(request))))["data"] == "hello"


@asynchronous
async def test_threads_renderers_and_path_parameters_work_inside() -> None:
    def tells(request: Request, name: str, more: str = "") -> str:
        return name + more

    router = SimpleRouter(middlewares=[Timing])
    router.register_endpoint(endpoint("/threaded/{name}", "GET", threaded=True)(tells))
    router.register_endpoint(endpoint("/xml/{name}", "GET", renderers=(XMLRenderer,))(tells))
    async with serving(router) as app, await Client.connect(app) as client:
        assert (await client.ask("GET", "/threaded/ada", args={"more": "!"}))["data"] == "ada!"
        client.request("GET", "/xml/ada")
        assert b"<data>ada</data>" in (await client.receive()).payload
        await client.leave()


@asynchronous
async def test_client_that_leaves_cancels_what_is_inside() -> None:
    lines: list[str] = []
    began, ended = asyncio.Event(), asyncio.Event()

    async def waits(request: Request) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(router_of(Around(lines, "router"), handler=waits)) as app, await Client.connect(app) as client:
        client.request("GET", "/x")
        await began.wait()
        client.abort()
        await ended.wait()
        await asyncio.sleep(0)
    assert lines == ["router in", "router out"]


# Registration


class Both:
    def process_request(self, request: Any, handler: Any) -> None: ...

    async def __call__(self, request: Any, call_next: Any) -> None: ...


@pytest.mark.parametrize(
    ("middleware", "text"),
    [
        (Both, "has both 'process_request' and '__call__', expected one of them"),
        (object, "has no method 'process_request', and is not called with request and call_next"),
        (
            type("Theirs", (), {"dispatch": lambda self, request, call_next: None}),
            "did you mean `__call__` by `dispatch`",
        ),
        (5, "has no method 'process_request'"),
        (lambda request: None, "must take request and call_next"),
        (lambda request, call_next, more: None, "must take request and call_next"),
        (lambda *, request, call_next: None, "must take request and call_next"),
        (type("Asgi", (), {"__call__": lambda self, scope, receive, send: None}), "must take request and call_next"),
    ],
)
def test_what_is_no_middleware_raises(middleware: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        Application(middlewares=[middleware])
    with pytest.raises(TypeError, match=text):
        SimpleRouter(middlewares=[middleware])
    with pytest.raises(TypeError, match=text):
        router_of(middlewares=[middleware])


@pytest.mark.parametrize("middlewares", [Timing, "Timing", None])
def test_middlewares_that_are_no_list_raise(middlewares: Any) -> None:
    with pytest.raises(TypeError, match="middlewares must be a list, got"):
        SimpleRouter(middlewares=middlewares)


def test_class_is_made_once_for_all_methods_and_routers() -> None:
    class Counted:
        made = 0

        def __init__(self) -> None:
            type(self).made += 1

        async def __call__(self, request: Any, call_next: Any) -> Any: ...

    class View(MethodBasedView):
        middlewares = (Counted,)

        def get(self, request: Any) -> None: ...

        put = get

    inner, outer = SimpleRouter(), SimpleRouter()
    inner.register("/x", View, ["GET", "PUT"])
    outer.include(inner, prefix="/in")
    assert Counted.made == 1


@asynchronous
async def test_auth_required_needs_a_middleware_around_that_route() -> None:
    router = SimpleRouter()
    router.include(router_of(Before([], "in"), auth_required=True), prefix="/in")
    assert (await answer(router, "/in/x"))["data"] == "hello"
    router.include(router_of(auth_required=True), prefix="/out")
    with pytest.raises(ImproperlyConfigured, match="view hello at /out/x/ has auth_required"):
        await Application(router=router, port=0).start()


# Built in


@pytest.mark.parametrize(("slow", "logged"), [(0.0, 1), (1000.0, 0)])
def test_timing_logs_what_is_slow(slow: float, logged: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aiorest_ws.timing")

    @asynchronous
    async def test() -> None:
        assert (await answer(router_of(Timing(slow))))["data"] == "hello"

    test()
    lines = [record.getMessage() for record in caplog.records if record.name == "aiorest_ws.timing"]
    assert len(lines) == logged
    assert all(line.startswith("'GET' '/x/' took ") and line.endswith(" ms") for line in lines)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("abc-1", True), ("", False), ("x" * 129, False), ("a\nb", False), ("ü", False), (5, False), (None, False)],
)
@asynchronous
async def test_request_id_is_the_clients_or_a_new_one(sent: Any, kept: bool) -> None:
    def tells(request: Request) -> list[Any]:
        return [request.state.request_id, request_id.get()]

    async with serving(router_of(handler=tells), middlewares=[RequestId]) as app, await Client.connect(app) as client:
        first, second = (await client.ask("GET", "/x", request_id=sent))["data"]
        assert first == second
        assert first == sent if kept else len(first) == 32
        await client.leave()
    assert request_id.get() is None
