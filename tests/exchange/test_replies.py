"""What a handler gives → the body of an HTTP response, byte for byte, also when it is asked again."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from aiorest_ws import Application, MethodBasedView, Response, SimpleRouter
from aiorest_ws._speedups import BINARY_MSGPACK, dumps, write
from aiorest_ws.exchange import Exchange
from aiorest_ws.exchange.replies import of_router
from aiorest_ws.renderers import JSONRenderer, XMLRenderer
from tests.serving import asynchronous

KEY = "0123456789abcdef"
PACKED = "application/msgpack"


def client_of(router: Any, **options: Any) -> httpx.AsyncClient:
    app = Application(router, idempotency=lambda request: "ada", **options)
    transport = httpx.ASGITransport(Exchange(app.prepare()))
    return httpx.AsyncClient(transport=transport, base_url="http://testserver")


def read(response: httpx.Response) -> Any:
    packed = response.headers["content-type"] == PACKED
    return (msgspec.msgpack if packed else msgspec.json).decode(response.content)


@pytest.mark.parametrize("accept", ["application/json", PACKED])
@pytest.mark.parametrize(
    "given", [{"n": 1, "replayed": True}, {"n": {"replayed": True}}, "replayed", {"replayed": True}]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
@asynchronous
async def test_data_that_looks_like_a_mark_is_none(accept: str, given: Any, method: str) -> None:
    router = SimpleRouter()
    router.get("/")(lambda request: given)
    router.post("/")(lambda request: given)
    async with client_of(router) as client:
        headers = {"Idempotency-Key": KEY, "Accept": accept}
        for expected in (None, "true" if method == "POST" else None):
            response = await client.request(method, "/", headers=headers)
            assert (read(response), response.headers.get("idempotent-replayed")) == (given, expected)


@asynchronous
async def test_integers_keep_their_digits_beside_any_key() -> None:
    router = SimpleRouter()
    router.get("/")(lambda request: {"x": 2**70, "y": {"a": 1, "detail": "y"}, "detail": "z"})
    async with client_of(router) as client:
        assert (await client.get("/")).text == '{"x":1180591620717411303424,"y":{"a":1,"detail":"y"},"detail":"z"}'


def with_event_name(request: Any) -> Response:
    response = Response({"a": 2**60})
    response.append_request(request)
    return response


def with_detail(request: Any) -> Response:
    response = Response({"a": 2**60})
    response.wrap_exception(Wrong)
    return response


def with_data_last(request: Any) -> Response:
    response = Response()
    response.append_request(request)
    response.wrap_exception(Wrong)
    response.content = {"a": 2**60}
    return response


class Wrong:
    detail = "no"


@pytest.mark.parametrize("accept", ["application/json", PACKED])
@pytest.mark.parametrize("handler", [with_event_name, with_detail, with_data_last])
@asynchronous
async def test_of_a_response_with_more_members_the_body_is_its_data(handler: Any, accept: str) -> None:
    router = SimpleRouter()
    router.get("/")(handler)
    router.post("/")(handler)
    async with client_of(router) as client:
        assert read(await client.get("/", headers={"Accept": accept})) == {"a": 2**60}
        for _ in range(2):
            response = await client.post("/", headers={"Accept": accept, "Idempotency-Key": KEY})
            assert (response.status_code, read(response)) == (200, {"a": 2**60})


@asynchronous
async def test_a_response_with_a_detail_alone_has_that() -> None:
    def refuse(request: Any) -> Response:
        response = Response()
        response.append_request(request)
        response.wrap_exception(Wrong)
        return response

    router = SimpleRouter()
    router.get("/")(refuse)
    async with client_of(router) as client:
        for accept in ("application/json", PACKED):
            assert read(await client.get("/", headers={"Accept": accept})) == {"detail": "no"}


@pytest.mark.parametrize("handler", [with_event_name, with_detail, lambda request: {"detail": 1}, lambda request: [1]])
@pytest.mark.parametrize("accept", ["application/json", "application/xml", PACKED])
@asynchronous
async def test_what_a_view_with_renderers_gave_is_there_again(handler: Any, accept: str) -> None:
    class Rendered(MethodBasedView):
        renderers = (JSONRenderer, XMLRenderer)

        def post(self, request: Any) -> Any:
            return handler(request)

    router = SimpleRouter()
    router.register("/", Rendered)
    async with client_of(router) as client:
        headers = {"Idempotency-Key": KEY, "Accept": accept}
        first = await client.post("/", headers=headers)
        again = await client.post("/", headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert (again.content, again.headers["content-type"]) == (first.content, first.headers["content-type"])
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")


@pytest.mark.parametrize(
    ("written", "body"),
    [
        ('{"id":0,"status":200,"data":{"x":1180591620717411303424}}', '{"x":1180591620717411303424}'),
        (' { "event_name" : "data" ,\n"data" : [1.10, "}"] , "id":0 } ', '[1.10, "}"]'),
        ('{"detail":"no","id":0}', '{"detail":"no"}'),
        ('{"id":0,"status":200,"data":1,"event_name":null}', "1"),
        ('{"a":1}', '{"a":1}'),
        ('{"data":1', '{"data":1'),
        ('{"data":1}x', '{"data":1}x'),
        ('{"data":1,}', '{"data":1,}'),
        ('{"data" 1}', '{"data" 1}'),
        ("{}", "{}"),
        ("[1]", "[1]"),
        ("", ""),
    ],
)
def test_of_what_a_router_has_written_itself_data_is_taken_as_it_is(written: str, body: str) -> None:
    assert of_router(written.encode(), 0) == body.encode()


def test_of_what_a_router_has_written_itself_in_messagepack_too() -> None:
    for whole, body in (
        ({"id": 0, "status": 200, "data": {"a": 2**63}, "event_name": None}, {"a": 2**63}),
        ({"detail": "no"}, {"detail": "no"}),
        ({"a": 1}, {"a": 1}),
    ):
        assert of_router(write(whole, BINARY_MSGPACK), BINARY_MSGPACK) == write(body, BINARY_MSGPACK)
    assert of_router(dumps([1]), BINARY_MSGPACK) == b"[1]"


@asynchronous
async def test_a_routers_own_reply_is_alone() -> None:
    class Own(SimpleRouter):
        def process_request(self, request: Any) -> bytes:
            return b'{"id":0,"status":200,"data":{"a":1},"event_name":null}'

    async with client_of(Own()) as client:
        assert (await client.get("/x")).text == '{"a":1}'


@asynchronous
async def test_a_router_that_looks_at_requests_itself_gives_handlers_the_slashes_of_a_segment() -> None:
    class Own(SimpleRouter):
        def process_request(self, request: Any) -> Any:
            return super().process_request(request)

    own = Own()
    own.get("/f/{name}/{number:int}")(lambda request, name, number: [name, number, request.url])
    async with client_of(own) as client:
        assert (await client.get("/f/a%2Fb/3")).json() == ["a/b", 3, "/f/a%2Fb/3"]
        assert (await client.get("/f/a%252Fb/3")).json() == ["a%2Fb", 3, "/f/a%2Fb/3"]
        assert (await client.get("/f/a%2Fb/x")).status_code == 404
        assert (await client.post("/f/a%2Fb/3")).status_code == 405


# Keys


@asynchronous
async def test_a_slash_in_a_segment_and_its_name_are_different_resources() -> None:
    done: list[str] = []
    router = SimpleRouter()

    @router.post("/f/{name}")
    def add(request: Any, name: str) -> str:
        done.append(name)
        return name

    async with client_of(router) as client:
        for path in (
            "/f/a%2Fb",
            "/f/a%252Fb",
            "/f/a%2fb",
            "/f/a%20",
            "/f/a%2520",
            "/f/a",
            "/f/%7Ba%7D",
            "/f/%257Ba%257D",
        ):
            await client.post(path, headers={"Idempotency-Key": KEY})
    assert done == ["a/b", "a%2Fb", "a ", "a%20", "a", "{a}", "%7Ba%7D"]
