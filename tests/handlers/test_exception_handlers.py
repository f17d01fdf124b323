"""Exception handlers of routers and applications, and `HTTPError`, over a real socket."""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from typing import Any

import pytest

from aiorest_ws import Application, HTTPError, MethodBasedView, Response, SimpleRouter, endpoint
from aiorest_ws.exceptions import (
    BaseAPIException,
    IncorrectArgument,
    MethodNotAllowed,
    NotSpecifiedHandler,
    PermissionDeniedException,
    SerializerError,
)
from aiorest_ws.renderers import XMLRenderer
from aiorest_ws.testing import AsyncTestClient
from aiorest_ws.wrappers import Request
from tests.serving import Client, asynchronous, make_router, turn_over

FAILED = "A server error occurred."


def failing(path: str, exc: BaseException, *, later: bool = False) -> Any:
    """Give an endpoint that raises `exc`, at once or after a turn of the loop."""

    @endpoint(path, "GET")
    async def raises_later(request: Request) -> None:
        await asyncio.sleep(0)
        raise exc

    @endpoint(path, "GET")
    def raises(request: Request) -> None:
        raise exc

    return raises_later if later else raises


async def answers(router: Any, *urls: str, prepare: Any = None, **options: Any) -> list[dict[str, Any]]:
    """Give the replies to a GET of each of `urls`, without their id."""
    app = Application(router=router, port=0, shutdown_timeout=0.1, **options)
    if prepare is not None:
        prepare(app)
    await app.start()
    try:
        async with await Client.connect(app) as client:
            replies = [await client.ask("GET", url, id=1) for url in urls]
            await client.leave()
    finally:
        await app.stop()
    return [{key: value for key, value in reply.items() if key != "id"} for reply in replies]


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# HTTPError


@pytest.mark.parametrize("later", [False, True], ids=["def", "async"])
@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (HTTPError(409, "name is taken"), 409, "name is taken"),
        (HTTPError(418), 418, "I'm a Teapot"),
        (HTTPError(499), 499, FAILED),
        (HTTPError(422, [{"loc": ["x"]}]), 422, [{"loc": ["x"]}]),
        (HTTPError(503, {"again": 5}), 503, {"again": 5}),
        (HTTPError(400, "naïve"), 400, "naïve"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_http_error_is_the_reply(
    error: HTTPError, status: int, detail: Any, later: bool, caplog: pytest.LogCaptureFixture
) -> None:
    @asynchronous
    async def test() -> None:
        router = SimpleRouter()
        router.register_endpoint(failing("/x", error, later=later))
        assert await answers(router, "/x") == [{"status": status, "detail": detail}]

    test()
    assert errors(caplog) == []


@pytest.mark.parametrize("status", [200, 399, 600, "404", None, True, 404.0])
def test_http_error_with_a_status_that_is_none_raises(status: Any) -> None:
    with pytest.raises(ValueError, match="status must be an integer from 400 to 599, got"):
        HTTPError(status)


def test_http_error_shows_its_detail_as_text() -> None:
    assert str(HTTPError(404, "no ada")) == "no ada"


# Handlers


def returns_data(request: Request, exc: KeyError) -> Any:
    return {"missing": exc.args[0]}


def returns_response(request: Request, exc: KeyError) -> Any:
    return Response({"missing": exc.args[0]}, status=203)


def returns_error(request: Request, exc: KeyError) -> Any:
    return HTTPError(404, f"no {exc.args[0]}")


def raises_error(request: Request, exc: KeyError) -> Any:
    raise HTTPError(404, f"no {exc.args[0]}") from exc


async def waits(request: Request, exc: KeyError) -> Any:
    await asyncio.sleep(0)
    return HTTPError(404, f"no {exc.args[0]}")


@pytest.mark.parametrize("where", ["router", "application"])
@pytest.mark.parametrize("later", [False, True], ids=["def", "async"])
@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (returns_data, {"status": 200, "data": {"missing": "ada"}}),
        (returns_response, {"status": 203, "data": {"missing": "ada"}}),
        (returns_error, {"status": 404, "detail": "no ada"}),
        (raises_error, {"status": 404, "detail": "no ada"}),
        (waits, {"status": 404, "detail": "no ada"}),
    ],
)
def test_handler_answers_for_the_exception(
    handler: Any, expected: Any, later: bool, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    @asynchronous
    async def test() -> None:
        router = SimpleRouter()
        router.register_endpoint(failing("/x", KeyError("ada"), later=later))
        if where == "router":
            assert router.exception_handler(KeyError)(handler) is handler
            assert await answers(router, "/x") == [expected]
        else:
            got = await answers(router, "/x", prepare=lambda app: app.exception_handler(KeyError)(handler))
            assert got == [expected]

    test()
    assert errors(caplog) == []


def naming(name: str) -> Any:
    return lambda request, exc: f"{name}: {type(exc).__name__}"


@asynchronous
async def test_nearest_class_answers() -> None:
    router = SimpleRouter()
    router.exception_handler(LookupError)(naming("lookup"))
    router.exception_handler(KeyError)(naming("key"))
    router.exception_handler(Exception)(naming("any"))
    for path, exc in {"/key": KeyError(), "/index": IndexError(), "/value": ValueError()}.items():
        router.register_endpoint(failing(path, exc))
    got = await answers(router, "/key", "/index", "/value")
    assert [reply["data"] for reply in got] == ["key: KeyError", "lookup: IndexError", "any: ValueError"]


@asynchronous
async def test_inner_router_answers_before_outer_and_application_last() -> None:
    inner, outer = SimpleRouter(), SimpleRouter()
    outer.include(inner, prefix="/in")  # what is registered later is kept too
    inner.register_endpoint(failing("/key", KeyError()))
    inner.register_endpoint(failing("/value", ValueError()))
    inner.register_endpoint(failing("/type", TypeError()))
    outer.register_endpoint(failing("/key", KeyError()))
    inner.exception_handler(LookupError)(naming("inner"))
    outer.exception_handler(KeyError)(naming("outer"))
    outer.exception_handler(ValueError)(naming("outer"))
    got = await answers(
        outer,
        *("/in/key", "/in/value", "/in/type", "/key"),
        prepare=lambda app: (
            app.exception_handler(TypeError)(naming("app")),
            app.exception_handler(KeyError)(naming("app")),
        ),
    )
    assert [reply["data"] for reply in got] == [
        "inner: KeyError",
        "outer: ValueError",
        "app: TypeError",
        "outer: KeyError",
    ]


class Denied:
    @staticmethod
    def check(request: Any, handler: Any) -> bool:
        return False


@asynchronous
async def test_errors_of_the_framework_can_be_answered_too() -> None:
    class Guarded(MethodBasedView):
        permission_classes = (Denied,)

        def get(self, request: Request) -> None: ...

    @endpoint("/args/{a}", "GET")
    def takes(request: Request, a: str, b: Any) -> None: ...

    @endpoint("/object", "GET")
    def gives(request: Request) -> object:
        return Response(object(), status=201)

    router = SimpleRouter()
    router.register("/guarded", Guarded, "GET")
    router.register("/post", type("V", (MethodBasedView,), {"post": lambda self, request: 1}), "POST")
    router.register_endpoint(takes)
    router.register_endpoint(gives)
    for error in (NotSpecifiedHandler, MethodNotAllowed, PermissionDeniedException, IncorrectArgument, SerializerError):
        router.exception_handler(error)(naming("handled"))
    got = await answers(router, "/none", "/post", "/guarded", "/args/1", "/object")
    assert got == [
        {"status": 200, "data": f"handled: {name}"}
        for name in (
            *("NotSpecifiedHandler", "MethodNotAllowed", "PermissionDeniedException"),
            *("IncorrectArgument", "SerializerError"),
        )
    ]


@asynchronous
async def test_handler_of_exception_leaves_errors_of_the_framework_as_they_are() -> None:
    router = SimpleRouter()
    router.exception_handler(Exception)(naming("any"))
    router.register_endpoint(failing("/own", HTTPError(409, "taken")))
    router.register_endpoint(failing("/bug", ZeroDivisionError()))
    got = await answers(router, "/own", "/none", "/bug")
    assert [reply["status"] for reply in got] == [409, 404, 200]


@asynchronous
async def test_handler_of_the_base_answers_for_all_errors_of_the_framework() -> None:
    router = SimpleRouter()
    router.exception_handler(BaseAPIException)(naming("base"))
    router.register_endpoint(failing("/own", HTTPError(409)))
    got = await answers(router, "/own", "/none")
    assert [reply["data"] for reply in got] == ["base: HTTPError", "base: NotSpecifiedHandler"]


@asynchronous
async def test_messages_that_are_no_requests_reach_no_handler() -> None:
    app = Application(router=SimpleRouter(), port=0, shutdown_timeout=0.1)
    app.exception_handler(BaseAPIException)(naming("base"))
    await app.start()
    async with await Client.connect(app) as client:
        client.send(b"{")
        assert "not valid JSON" in (await client.reply())["detail"]
        await client.leave()
    await app.stop()


@pytest.mark.parametrize("later", [False, True], ids=["def", "async"])
def test_handler_that_fails_is_a_500_and_logged_once(later: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def fails_later(request: Request, exc: Exception) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("secret")

    def fails(request: Request, exc: Exception) -> None:
        raise RuntimeError("secret")

    @asynchronous
    async def test() -> None:
        router = SimpleRouter()
        router.exception_handler(KeyError)(fails_later if later else fails)
        router.exception_handler(RuntimeError)(naming("not for what handlers raise"))
        router.register_endpoint(failing("/x", KeyError(), later=later))
        assert await answers(router, "/x") == [{"status": 500, "detail": FAILED}]

    test()
    assert errors(caplog) == ["'GET' '/x' failed: RuntimeError"]


@asynchronous
async def test_handler_whose_result_cannot_be_encoded_is_a_500() -> None:
    router = SimpleRouter()
    router.exception_handler(KeyError)(lambda request, exc: object())
    router.register_endpoint(failing("/x", KeyError()))
    (got,) = await answers(router, "/x")
    assert got["status"] == 500


@asynchronous
async def test_handler_answers_in_json_for_a_view_that_renders_otherwise() -> None:
    class Xml(MethodBasedView):
        renderers = (XMLRenderer,)

        def get(self, request: Request) -> None:
            raise KeyError("ada")

    router = SimpleRouter()
    router.exception_handler(KeyError)(returns_data)
    router.register("/x", Xml, "GET")
    assert await answers(router, "/x") == [{"status": 200, "data": {"missing": "ada"}}]


@asynchronous
async def test_status_of_a_reply_that_could_not_be_sent_is_forgotten() -> None:
    @endpoint("/x", "GET")
    def gives(request: Request) -> Response:
        return Response(object(), status=201)

    router = SimpleRouter()
    router.register_endpoint(gives)
    router.exception_handler(SerializerError)(lambda request, exc: "instead")
    assert await answers(router, "/x") == [{"status": 200, "data": "instead"}]


@asynchronous
async def test_exception_of_a_routers_own_process_request_is_handled() -> None:
    class Own(SimpleRouter):
        def process_request(self, request: Request) -> Any:
            if request.url == "/own":
                raise KeyError("ada")
            return super().process_request(request)

    router = Own()
    router.register_endpoint(failing("/x", KeyError("bob")))
    router.exception_handler(KeyError)(returns_data)
    got = await answers(router, "/own", "/x")
    assert [reply["data"] for reply in got] == [{"missing": "ada"}, {"missing": "bob"}]


@asynchronous
async def test_client_that_leaves_cancels_a_handler_that_waits() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def waits_for_ever(request: Request, exc: KeyError) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    app = Application(router=SimpleRouter(), port=0, shutdown_timeout=0.1)
    app._options["router"].register_endpoint(failing("/x", KeyError()))
    app.exception_handler(KeyError)(waits_for_ever)
    await app.start()
    async with await Client.connect(app) as client:
        client.request("GET", "/x")
        await began.wait()
        client.abort()
        await ended.wait()
    await turn_over()
    await app.stop()


# Registration


@pytest.mark.parametrize("place", [SimpleRouter, Application])
@pytest.mark.parametrize("exception", [KeyError("x"), "KeyError", BaseException, KeyboardInterrupt, int])
def test_handler_of_what_is_no_exception_class_raises(place: Any, exception: Any) -> None:
    with pytest.raises(TypeError, match="expected a subclass of Exception, got"):
        place().exception_handler(exception)


@pytest.mark.parametrize("place", [SimpleRouter, Application])
def test_second_handler_of_a_class_raises_and_names_the_first(place: Any) -> None:
    where = place()
    where.exception_handler(KeyError)(returns_data)
    with pytest.raises(ValueError, match="KeyError is already handled by <function returns_data"):
        where.exception_handler(KeyError)(returns_error)


def test_handler_that_is_no_function_raises() -> None:
    with pytest.raises(TypeError, match="an exception handler must be a function, got 404"):
        SimpleRouter().exception_handler(KeyError)(404)  # type: ignore[type-var]


WORKING_ON: ContextVar[str] = ContextVar("working_on", default="nothing")


@pytest.mark.parametrize("turns", [0, 1])
@asynchronous
async def test_exception_handler_sees_what_the_handler_set_in_its_context_and_runs_in_its_task(turns: int) -> None:
    tasks = []

    @endpoint("/x", "GET")
    async def fails(request: Request) -> None:
        WORKING_ON.set("x")
        tasks.append(asyncio.current_task())
        for _ in range(turns):
            await asyncio.sleep(0)
        raise KeyError

    def told(app: Application) -> None:
        @app.exception_handler(KeyError)
        async def answer(request: Request, exc: KeyError) -> str:
            await asyncio.sleep(0)
            tasks.append(asyncio.current_task())
            return WORKING_ON.get()

    router = SimpleRouter()
    router.register_endpoint(fails)
    assert await answers(router, "/x", prepare=told) == [{"status": 200, "data": "x"}]
    assert tasks[0] is tasks[1] is not None


# Groups, as task groups raise them


class OutOfStock(Exception):
    """What an application raises."""


async def in_a_task_group(*errors: BaseException) -> None:
    async def fail(error: BaseException) -> None:
        raise error

    async with asyncio.TaskGroup() as group:
        for error in errors:
            group.create_task(fail(error))


def nested(error: BaseException, depth: int) -> BaseException:
    for _ in range(depth):
        error = BaseExceptionGroup("of one", [error])
    return error


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("waits", [False, True])
@asynchronous
async def test_handler_of_the_only_exception_of_a_group_is_asked(depth: int, waits: bool) -> None:
    def now(request: Any) -> None:
        raise nested(OutOfStock("pens"), depth)

    async def later(request: Any) -> None:
        await in_a_task_group(nested(OutOfStock("pens"), depth - 1))

    app = Application(router=make_router(x=later if waits else now))
    seen: list[type] = []

    @app.exception_handler(OutOfStock)
    def answer(request: Any, exc: OutOfStock) -> HTTPError:
        seen.append(type(exc))
        return HTTPError(409, str(exc))

    async with AsyncTestClient(app) as client:
        reply = await client.get("/x")
    assert (reply.status, reply.detail, seen) == (409, "pens", [OutOfStock])


@pytest.mark.parametrize("depth", [1, 3])
@asynchronous
async def test_error_in_a_group_of_one_is_the_reply(depth: int, caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: Any) -> None:
        raise nested(HTTPError(402, "pay"), depth)

    async with AsyncTestClient(Application(router=make_router(x=fail))) as client:
        reply = await client.get("/x")
    assert (reply.status, reply.detail) == (402, "pay")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("errors", "name"),
    [
        ([OutOfStock("pens")], "OutOfStock"),
        ([SystemExit(3)], "SystemExit"),
        ([HTTPError(402), HTTPError(403)], "ExceptionGroup"),
    ],
)
@asynchronous
async def test_group_that_nobody_handles_is_a_failure_with_its_whole_traceback(
    errors: list[BaseException], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(request: Any) -> None:
        raise BaseExceptionGroup("some", errors)

    async with AsyncTestClient(Application(router=make_router(x=fail))) as client:
        assert (await client.get("/x")).status == 500
    (record,) = caplog.records
    assert record.getMessage() == f"'GET' '/x' failed: {name}"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], BaseExceptionGroup)


@asynchronous
async def test_handler_of_groups_is_asked_for_those_of_several() -> None:
    async def fail(request: Any, number: int) -> None:
        await in_a_task_group(*(OutOfStock(str(n)) for n in range(number)))

    app = Application(router=make_router(x=fail))

    @app.exception_handler(ExceptionGroup)
    def answer(request: Any, group: ExceptionGroup[Any]) -> int:
        return len(group.exceptions)

    @app.exception_handler(OutOfStock)
    def answer_one(request: Any, exc: OutOfStock) -> str:
        return "one"

    async with AsyncTestClient(app) as client:
        assert [(await client.get("/x", args={"number": n})).data for n in (1, 2)] == ["one", 2]


class Several(ExceptionGroup[Any]):
    pass


@pytest.mark.parametrize("asked", [ExceptionGroup, Several])
@asynchronous
async def test_handler_of_groups_is_asked_for_one_of_one_that_nobody_else_handles(asked: Any) -> None:
    def fail(request: Any) -> None:
        raise Several("several", [OutOfStock("pen")])

    app = Application(router=make_router(x=fail))

    @app.exception_handler(asked)
    def answer(request: Any, group: ExceptionGroup[Any]) -> Any:
        return [type(group).__name__, str(group.exceptions[0])]

    async with AsyncTestClient(app) as client:
        assert (await client.get("/x")).data == ["Several", str(OutOfStock("pen"))]
