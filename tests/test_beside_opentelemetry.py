"""The middleware of docs/observability.md with the SDK of OpenTelemetry: however a request ends, its span says so."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from aiorest_ws import Application, HTTPError, SimpleRouter
from aiorest_ws.testing import AsyncTestClient
from tests.kit.pages import ROOT, blocks
from tests.serving import asynchronous

SPANS = InMemorySpanExporter()


@pytest.fixture(autouse=True)
def forget_spans() -> Iterator[None]:
    SPANS.clear()
    yield
    SPANS.clear()


def tracing() -> Any:
    """Give the middleware of the page, with a tracer whose spans come to `SPANS`."""
    (block,) = (
        block
        for block in blocks("python", (ROOT / "docs" / "observability.md").read_text("utf-8"))
        if "class Tracing" in block
    )
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(SPANS))
    names: dict[str, Any] = {"__name__": "documentation", "router": SimpleRouter(), "HTTPError": HTTPError}
    exec(compile(block, "observability.md", "exec"), names)
    names["tracer"] = provider.get_tracer("shop")
    return names["Tracing"]


@asynccontextmanager
async def client_of(entered: asyncio.Event, **options: Any) -> AsyncIterator[AsyncTestClient]:
    router = SimpleRouter()

    @router.get("/waits")
    async def waits(request: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    @router.get("/exits")
    async def exits(request: Any) -> None:
        raise SystemExit(3)

    @router.get("/ends/{status:int}")
    async def ends(request: Any, status: int) -> str:
        if status != 200:
            raise HTTPError(status, "so be it")
        return "fine"

    app = Application(router=router, middlewares=[tracing()], **options)
    async with AsyncTestClient(app) as client:
        yield client


def told(span: ReadableSpan) -> tuple[Any, StatusCode, str | None]:
    return dict(span.attributes or {}).get("aiorest_ws.status"), span.status.status_code, span.status.description


@pytest.mark.parametrize(
    ("url", "status", "code"),
    [
        ("/ends/200", 200, StatusCode.UNSET),
        ("/ends/404", 404, StatusCode.UNSET),
        ("/ends/503", 503, StatusCode.ERROR),
        ("/exits", 500, StatusCode.ERROR),
    ],
)
def test_reply_gives_its_span_a_status(url: str, status: int, code: StatusCode) -> None:
    async def ask() -> None:
        async with client_of(asyncio.Event()) as client:
            assert (await client.get(url)).status == status

    asyncio.run(ask())
    (span,) = SPANS.get_finished_spans()
    assert told(span)[:2] == (status, code)


@asynchronous
async def test_handler_that_takes_too_long_is_an_error_with_its_status() -> None:
    async with client_of(asyncio.Event(), request_timeout=0.01) as client:
        assert (await client.get("/waits")).status == 504
    (span,) = SPANS.get_finished_spans()
    assert told(span) == (504, StatusCode.ERROR, "the handler took too long")


@asynchronous
async def test_client_that_leaves_is_told_from_a_timeout() -> None:
    entered = asyncio.Event()
    async with client_of(entered) as client:
        async with client.connect() as leaving:
            await leaving.send('{"method":"GET","url":"/waits","id":1}')
            await entered.wait()
            leaving.abort()
        assert (await client.get("/ends/200")).ok
    left, fine = SPANS.get_finished_spans()
    assert told(left) == (499, StatusCode.ERROR, "the client has left")
    assert told(fine)[0] == 200


def test_page_says_what_499_is() -> None:
    page = (ROOT / "docs" / "observability.md").read_text("utf-8")
    assert re.search(r"status 499 is a client that has left", page)
