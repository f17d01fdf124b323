"""structlog and sentry-sdk: what a middleware, a lifespan or `on_connect` says of a request is on each of its lines."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sentry_sdk
import structlog
from sentry_sdk.transport import Transport

from aiorest_ws import Application, Depends, SimpleRouter
from aiorest_ws.testing import TestClient
from tests.kit.logs import heard_by

URLS = ["/plain", "/later", "/threaded", "/dependent"]


class Lines(logging.Handler):
    """Keeps the context variables of structlog that each line would have, by its logger's name."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        event = structlog.contextvars.merge_contextvars(None, "", {})
        self.lines.append((record.name, dict(event)))


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    with heard_by(handler):
        yield handler


class Bound:
    async def __call__(self, request: Any, call_next: Any) -> Any:
        with structlog.contextvars.bound_contextvars(request_id=request.id):
            return await call_next(request)


class Scoped:
    async def __call__(self, request: Any, call_next: Any) -> Any:
        with sentry_sdk.isolation_scope() as scope:
            scope.set_tag("request_id", request.id)
            with sentry_sdk.start_transaction(op="websocket.server", name=f"{request.method} {request.route.path}"):
                return await call_next(request)


def failing(*_: Any) -> None:
    raise LookupError("no such thing")


def make_router() -> SimpleRouter:
    router = SimpleRouter()

    @router.get("/plain")
    def plain(request: Any) -> None:
        failing()

    @router.get("/later")
    async def later(request: Any) -> None:
        failing()

    @router.get("/threaded", threaded=True)
    def threaded(request: Any) -> None:
        failing()

    @router.get("/dependent", dependencies=[Depends(failing)])
    def dependent(request: Any) -> None: ...

    @router.get("/seen")
    def seen(request: Any) -> dict[str, Any]:
        return dict(structlog.contextvars.get_contextvars())

    @router.get("/seen/later")
    async def seen_later(request: Any) -> dict[str, Any]:
        return dict(structlog.contextvars.get_contextvars())

    return router


@pytest.mark.parametrize("url", URLS)
def test_lines_of_a_request_that_failed_have_the_context_of_its_middlewares(url: str, lines: Lines) -> None:
    app = Application(router=make_router(), middlewares=[Bound], access_log=True)
    with TestClient(app) as client:
        assert client.get(url, id=7).status == 500
        assert client.get(url, id=8).status == 500
    said = [line for line in lines.lines if line[1] or line[0] == "aiorest_ws.access"]
    assert sorted(said, key=str) == sorted(
        [(name, {"request_id": number}) for name in ("aiorest_ws", "aiorest_ws.access") for number in (7, 8)], key=str
    )


@pytest.mark.parametrize("url", ["/seen", "/seen/later"])
def test_line_of_a_request_that_went_well_has_it_too(url: str, lines: Lines) -> None:
    app = Application(router=make_router(), middlewares=[Bound], access_log=True)
    with TestClient(app) as client:
        assert client.get(url, id=7).data == {"request_id": 7}
    assert ("aiorest_ws.access", {"request_id": 7}) in lines.lines


def test_context_of_lifespan_and_on_connect_reaches_every_handler() -> None:
    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[None]:
        structlog.contextvars.bind_contextvars(release="2.0")
        yield

    def on_connect(connection: Any) -> None:
        structlog.contextvars.bind_contextvars(tenant=connection.query.get("tenant", ["none"])[0])

    app = Application(router=make_router(), lifespan=lifespan, on_connect=on_connect)
    with TestClient(app, query={"tenant": "a"}) as client, client.connect(query={"tenant": "b"}) as other:
        for url in ("/seen", "/seen/later"):
            assert client.get(url).data == {"release": "2.0", "tenant": "a"}
            assert other.get(url).data == {"release": "2.0", "tenant": "b"}
    assert structlog.contextvars.get_contextvars() == {}


class Kept(Transport):
    """Sends nothing, and keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.events += [event for item in envelope.items if (event := item.get_event()) is not None]


@pytest.fixture
def sentry() -> Iterator[Kept]:
    kept = Kept()
    sentry_sdk.init("http://key@127.0.0.1/1", transport=kept, traces_sample_rate=1.0, auto_session_tracking=False)
    try:
        yield kept
    finally:
        sentry_sdk.get_global_scope().set_client(None)
        sentry_sdk.get_isolation_scope().clear()


@pytest.mark.parametrize("url", URLS)
def test_event_of_sentry_has_tags_and_transaction_of_its_request(url: str, sentry: Kept) -> None:
    with TestClient(Application(router=make_router(), middlewares=[Scoped])) as client:
        assert client.get(url, id=7).status == 500
        assert client.get(url, id=8).status == 500
    assert [event["tags"]["request_id"] for event in sentry.events] == [7, 8]
    for event in sentry.events:
        assert event["transaction"] == f"GET {url}/"
        assert event["exception"]["values"][-1]["value"] == "no such thing"
