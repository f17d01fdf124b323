"""`exchange.Exchange`, an ASGI app, as a client for HTTP sees it: what becomes of requests, and of replies."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar
from unittest.mock import AsyncMock
from urllib.parse import quote, unquote

import httpx
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Meta
from pydantic import Field
from starlette.middleware.base import BaseHTTPMiddleware

from aiorest_ws import (
    Application,
    Depends,
    HTTPError,
    Live,
    MethodBasedView,
    RequestHandlerProtocol,
    Response,
    SimpleRouter,
)
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.exceptions import ConnectionRefused, ImproperlyConfigured
from aiorest_ws.exchange import Exchange, Page
from aiorest_ws.exchange import door as doors
from aiorest_ws.metrics import Metrics
from aiorest_ws.renderers import JSONRenderer, XMLRenderer
from aiorest_ws.testing import AsyncTestClient
from tests.kit.tokens import Manager
from tests.serving import TIMEOUT, asynchronous

_DOTS = {".", ".."}
router = SimpleRouter()


@router.get("/hello")
def hello(request: Any) -> str:
    return "hi"


@router.get("/echo/{text}")
def echo(request: Any, text: str) -> Any:
    return {"text": text, "url": request.url, "args": request.args}


@router.get("/rest/{rest:path}")
def rest(request: Any, rest: str) -> str:
    return rest


T = TypeVar("T")


class Point(msgspec.Struct, frozen=True):
    x: int


class Paged(msgspec.Struct, Generic[T]):
    items: list[T]


class Filter(msgspec.Struct):
    above: int


@router.get("/typed/{number:int}")
async def typed(
    request: Any,
    number: int,
    limit: int = 3,
    tag: list[str] = [],  # noqa: B006 (each request gets its own)
    exact: bool = False,
    price: Decimal = Decimal(0),
    where: Filter | None = None,
) -> Any:
    await asyncio.sleep(0)
    return {"id": number, "limit": limit, "tag": tag, "exact": exact, "price": str(price), "where": where}


@router.post("/typed")
def create(request: Any, data: dict[str, Decimal]) -> Any:
    return Response({name: str(value) for name, value in data.items()}, status=201)


@router.put("/any")
def put(request: Any) -> Any:
    return request.data


@router.delete("/any")
def delete(request: Any) -> Any:
    return Response(None, status=204)


@router.get("/state", live=True)
def state(request: Any) -> Any:
    return {"value": request.app.state.value}


@router.get("/log", live=Live(mode="log", shared=True))
def log(request: Any) -> Any:
    return []


@router.get("/boom")
def boom(request: Any) -> Any:
    raise ValueError("a secret")


@router.get("/teapot")
def teapot(request: Any) -> Any:
    raise HTTPError(418, {"short": True})


@router.get("/connection")
def connection(request: Any) -> Any:
    it = request.connection
    request.connection.session["seen"] = True
    return {
        "path": it.path,
        "query": it.query,
        "header": it.headers["x-one"],
        "cookies": it.cookies,
        "peer": it.peer,
        "sent": it.send_event("x", 1),
        "session": it.session,
        "user": it.user,
        "key": request.get_extra("idempotency_key"),
        "method": request.method,
    }


class Rendered(MethodBasedView):
    renderers = (JSONRenderer, XMLRenderer)

    def get(self, request: Any) -> Any:
        return {"a": 1}


router.register("/rendered", Rendered)


@asynccontextmanager
async def client_of(app: Application | None = None, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = app or Application(router, **options)
    app.state.value = 1
    transport = httpx.ASGITransport(Exchange(app.prepare()), raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


def as_json(response: httpx.Response) -> Any:
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.content)
    return response.json()


@asynchronous
async def test_a_reply_is_its_data_alone() -> None:
    async with client_of() as client:
        response = await client.get("/hello")
    assert (response.status_code, as_json(response)) == (200, "hi")
    assert response.headers["cache-control"] == "no-store"


@asynchronous
async def test_head_is_a_get_without_a_body() -> None:
    async with client_of() as client:
        response = await client.head("/hello")
        method = await client.head("/connection", headers={"X-One": "1"})
    assert (response.status_code, response.content, response.headers["content-length"]) == (200, b"", "4")
    assert method.status_code == 200


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("limit=7&exact=true", {"limit": 7, "exact": True}),
        ("tag=a", {"tag": ["a"]}),
        ("tag=a&tag=b+c", {"tag": ["a", "b c"]}),
        ("price=0.10000000000000000000001", {"price": "0.10000000000000000000001"}),
        ("where=%7B%22above%22%3A3%7D", {"where": {"above": 3}}),
    ],
)
@asynchronous
async def test_a_query_is_args_that_are_converted(query: str, expected: dict[str, Any]) -> None:
    plain = {"id": 5, "limit": 3, "tag": [], "exact": False, "price": "0", "where": None}
    async with client_of() as client:
        response = await client.get(f"/typed/5?{query}")
    assert as_json(response) == plain | expected


@pytest.mark.parametrize(
    ("query", "name"), [("limit=x", "limit"), ("limit=1&limit=2", "limit"), ("other=1", "other"), ("where=x", "where")]
)
@asynchronous
async def test_a_query_that_does_not_fit_says_where(query: str, name: str) -> None:
    async with client_of() as client:
        response = await client.get(f"/typed/5?{query}")
    assert response.status_code == 422
    assert [fault["loc"] for fault in as_json(response)["detail"]] == [["args", name]]


@pytest.mark.parametrize(
    ("hint", "query", "expected"),
    [
        (list[int], "it=1&it=2", [1, 2]),
        (list[int], "it=1", [1]),
        (list[float], "it=1&it=2.5", [1.0, 2.5]),
        (list[float], "it=1&it=nan", None),
        (list[bool], "it=true&it=0", [True, False]),
        (set[int], "it=1&it=1", {1}),
        (tuple[int, str], "it=1&it=2", (1, "2")),
        (tuple[int, ...], "it=1&it=x", None),
        (list[date], "it=2024-02-29", [date(2024, 2, 29)]),
        (list[Decimal], "it=0.10", [Decimal("0.10")]),
        (list[Literal[1, 2]], "it=1&it=2", [1, 2]),
        (list[int] | None, "it=1&it=2", [1, 2]),
        (Annotated[list[int], Meta(max_length=1)], "it=1&it=2", None),
        (list[Annotated[int, Field(gt=1)]], "it=2&it=3", [2, 3]),
        (list[Annotated[int, Field(gt=1)]], "it=2&it=1", None),
        (list[Any], "it=1", ["1"]),
        (bytearray, "it=aGk=", bytearray(b"hi")),
        (list[Point], 'it=[{"x":1}]', [Point(1)]),
        (list[Point] | None, 'it=[{"x":1}]', [Point(1)]),
        (list[Point], 'it={"x":1}', None),
        (list[list[int]], "it=[[1],[2]]", [[1], [2]]),
        (list[dict[str, int]], 'it=[{"a":1}]', [{"a": 1}]),
        (set[tuple[int, int]], "it=[[1,2]]", {(1, 2)}),
        (tuple[int, Point], 'it=[1,{"x":2}]', (1, Point(2))),
        (Paged[int], 'it={"items":[1]}', Paged([1])),
    ],
    ids=str,
)
@asynchronous
async def test_each_text_of_a_list_is_converted(hint: Any, query: str, expected: Any) -> None:
    seen = []

    def look(request: Any, it: Any) -> None:
        seen.append(it)

    look.__annotations__["it"] = hint
    lists = SimpleRouter()
    lists.get("/")(look)
    async with client_of(Application(lists)) as client:
        response = await client.get(f"/?{query}")
    assert (response.status_code, seen) == ((422, []) if expected is None else (200, [expected]))


@asynchronous
async def test_a_handler_without_annotations_gets_texts() -> None:
    async with client_of() as client:
        fits = await client.get("/echo/a?format=json")
        unexpected = await client.get("/echo/a?x=1")
    assert as_json(fits)["args"] == {"format": "json"}
    assert unexpected.status_code == 422


@pytest.mark.parametrize(
    ("path", "text"),
    [("a%2Fb", "a/b"), ("a%20b", "a b"), ("%C3%A4", "ä"), ("%252F", "%2F"), ("a+b", "a+b"), ("%2F%2f", "//")],
)
@asynchronous
async def test_a_path_is_split_and_then_decoded_once(path: str, text: str) -> None:
    async with client_of() as client:
        response = await client.get(f"/echo/{path}")
        rest = await client.get(f"/rest/x/{path}/y")
    assert as_json(response)["text"] == text
    assert as_json(rest) == f"x/{text}/y"


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(
        lambda text: not _DOTS & {*text.split("/")}
    )
)
@example(" ")
@example("a ")
@example("{a}")
@example("/ {} ")
@example("%20")
def test_any_text_is_a_segment(text: str) -> None:
    """But for control characters, and `.` and `..`, which are a 400; a message could not say all of them in a url."""

    async def check() -> None:
        async with client_of() as client:
            response = await client.get(f"/echo/{quote(text, safe='')}")
            rest = await client.get(f"/rest/x/{quote(text, safe='')}")
        assert (response.status_code, as_json(response)["text"], as_json(rest)) == (200, text, f"x/{text}")

    asyncio.run(check())


@pytest.mark.parametrize("path", ["/hello%20", "/hello%20%20", "/hello%7B%7D", "/he{}llo"])
@asynchronous
async def test_what_is_part_of_a_path_leads_nowhere_else(path: str) -> None:
    async with client_of() as client:
        response = await client.get(path)
    assert (response.status_code, response.json()) == (404, {"detail": f"no route {quote(unquote(path))}"})


@pytest.mark.parametrize("path", ["%00", "%zz", "%", "%2e%2e", ".%2e", "%2e", "..%2F..", "%FF", "%0a", "%ED%B0%AF"])
@asynchronous
async def test_a_path_that_is_none_is_refused(path: str) -> None:
    async with client_of() as client:
        responses = [await client.get(f"/echo/{path}"), await client.get(f"/rest/{path}")]
    assert [response.status_code for response in responses] == [400, 400]


@pytest.mark.parametrize("query", ["a=%zz", "a=%FF", "&" * 10_000, "&".join(["a=1"] * 10_000)])
@asynchronous
async def test_a_query_that_is_none_or_too_long_is_refused(query: str) -> None:
    async with client_of() as client:
        response = await client.get(f"/hello?{query}")
    assert response.status_code == 400


@asynchronous
async def test_a_body_is_not_compressed() -> None:
    async with client_of() as client:
        for coding, status in (("gzip", 415), ("identity", 201)):
            headers = {"Content-Type": "application/json", "Content-Encoding": coding}
            response = await client.post("/typed", content=b'{"a":0.1}', headers=headers)
            assert (response.status_code, "accept-encoding" in response.headers) == (status, status == 415)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"a":0.1}', "application/json", 201),
        (b'{"a":0.1}', "application/json; charset=UTF-8", 201),
        (b'{"a":0.1}', "application/merge-patch+json", 201),
        (b'{"a":0.1}', 'application/json; charset="latin-1"', 415),
        (b'{"a":0.1}', "text/plain", 415),
        (b'{"a":0.1}', "", 415),
        (b"a=1", "application/x-www-form-urlencoded", 415),
        (b"{", "application/json", 400),
        (b'1},"url":{"a":1', "application/json", 400),
        (b'{"a":"\xff"}', "application/json", 400),
        (b"\x81\xa1a\x01", "application/msgpack", 201),
        (b"\x81\xa1a", "application/msgpack", 400),
        (b"\x81\xa1a\x01\xc0", "application/msgpack", 400),
        (b"[]", "application/json", 422),
        (b"", "", 422),
    ],
)
@asynchronous
async def test_a_body_is_read_as_its_type_says(body: bytes, content_type: str, status: int) -> None:
    async with client_of() as client:
        response = await client.post("/typed", content=body, headers={"Content-Type": content_type})
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")


@asynchronous
async def test_a_decimal_keeps_its_digits() -> None:
    async with client_of() as client:
        body = b'{"a":0.10000000000000000000001}'
        response = await client.post("/typed", content=body, headers={"Content-Type": "application/json"})
    assert as_json(response) == {"a": "0.10000000000000000000001"}


@asynchronous
async def test_a_body_that_is_too_long_is_refused_before_it_comes() -> None:
    asked: list[str] = []

    async def receive() -> Any:
        asked.append("more")
        return {"type": "http.request", "body": b"x" * 60, "more_body": True}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    exchange = Exchange(Application(router, max_message_size=100).prepare())
    scope = {"type": "http", "method": "PUT", "path": "/any", "query_string": b"", "http_version": "1.1"}
    declared = [(b"host", b"t"), (b"content-length", b"1073741824")]
    await exchange(scope | {"headers": declared}, receive, send)
    assert (sent[0]["status"], asked) == (413, [])
    sent.clear()
    await exchange(scope | {"headers": [(b"host", b"t"), (b"transfer-encoding", b"chunked")]}, receive, send)
    assert (sent[0]["status"], len(asked)) == (413, 2)
    assert (b"connection", b"close") in sent[0]["headers"]


@pytest.mark.parametrize("version", ["1.1", "2"])
@asynchronous
async def test_a_body_whose_length_nobody_says_is_read(version: str) -> None:
    """As that of the test client of channels."""
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b'{"a":1}'}

    async def send(message: Any) -> None:
        said.append(message)

    scope = {"type": "http", "method": "PUT", "path": "/any", "query_string": b"", "http_version": version}
    headers = [(b"host", b"t"), (b"content-type", b"application/json")]
    await Exchange(Application(router).prepare())(scope | {"headers": headers}, receive, send)
    assert (said[0]["status"], said[1]["body"]) == (200, b'{"a":1}')


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("application/msgpack", "application/msgpack"),
        ("application/msgpack, application/json;q=0.5", "application/msgpack"),
        ("application/msgpack;q=0.5, application/json", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("application/msgpack, */*", "application/msgpack"),
        ("application/msgpack;q=0.5, */*", "application/json"),
        ("application/msgpack;q=0.5, application/*", "application/json"),
        ("application/msgpack;q=0.5, application/*;q=0.4", "application/msgpack"),
        ("application/msgpack;q=0", "application/json"),
        ("Application/MsgPack", "application/msgpack"),
        ("application/msgpack, application/json", "application/json"),
        (",;q=1, /*, application/msgpack;q=nan", "application/json"),
    ],
)
@asynchronous
async def test_accept_chooses_the_form(accept: str, media: str) -> None:
    async with client_of() as client:
        for path, expected in (("/echo/a", "a"), ("/nowhere", None), ("/teapot", None), ("/rendered", None)):
            response = await client.get(path, headers={"Accept": accept})
            assert response.headers["content-type"] == media
            read = msgspec.msgpack.decode if "msgpack" in media else json.loads
            assert read(response.content).get("text") == expected


@pytest.mark.parametrize(
    ("target", "accept", "media"),
    [
        ("/rendered", "application/xml", "application/xml"),
        ("/rendered?format=xml", "*/*", "application/xml"),
        ("/rendered", "application/xml;q=0.1, application/json", "application/json"),
        ("/rendered", "*/*", "application/json"),
        ("/rendered", "application/xml, */*", "application/xml"),
        ("/rendered", "application/xml, application/*", "application/xml"),
        ("/rendered", "application/xml, application/json", "application/json"),
        ("/rendered", "application/xml;q=0.9, */*", "application/json"),
        ("/rendered", "application/xml;q=0, */*;q=0.1", "application/json"),
        ("/rendered", "application/xml;q=0", "application/json"),
    ],
)
@asynchronous
async def test_renderers_are_chosen_by_accept(target: str, accept: str, media: str) -> None:
    async with client_of() as client:
        response = await client.get(target, headers={"Accept": accept})
    assert response.headers["content-type"] == media
    if media == "application/xml":
        assert response.text.endswith("<root><a>1</a></root>")
    else:
        assert response.json() == {"a": 1}


@asynchronous
async def test_errors_have_a_detail_and_a_status() -> None:
    async with client_of() as client:
        teapot = await client.get("/teapot")
        boom = await client.get("/boom")
        nowhere = await client.get("/nowhere")
    assert (teapot.status_code, as_json(teapot)) == (418, {"detail": {"short": True}})
    assert (boom.status_code, "secret" in boom.text) == (500, False)
    assert (nowhere.status_code, as_json(nowhere)) == (404, {"detail": "no route /nowhere"})


@asynchronous
async def test_204_has_no_body() -> None:
    async with client_of() as client:
        response = await client.delete("/any")
    assert (response.status_code, response.content) == (204, b"")
    assert "content-length" not in response.headers


@asynchronous
async def test_405_says_what_is_allowed() -> None:
    async with client_of() as client:
        for method in ("POST", "TRACE", "SUBSCRIBE", "PING", "subscribe", "QUERY"):
            response = await client.request(method, "/any")
            assert (response.status_code, response.headers["allow"]) == (405, "DELETE, OPTIONS, PUT")
        options = await client.options("/hello")
        assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
        assert (await client.request("TRACE", "/nowhere")).status_code == 404


@asynchronous
async def test_a_live_state_has_an_etag_of_value_and_form() -> None:
    app = Application(router)
    async with client_of(app) as client:
        first = await client.get("/state")
        etag = first.headers["etag"]
        assert etag.startswith('W/"')
        assert first.headers["cache-control"] == "private, no-cache"
        assert first.headers["vary"] == "Accept, Authorization, Cookie"
        for sent in (etag, etag.removeprefix("W/"), f'"x", {etag}', "*"):
            again = await client.get("/state", headers={"If-None-Match": sent})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        other = await client.get("/state", headers={"If-None-Match": etag, "Accept": "application/msgpack"})
        assert other.status_code == 200
        assert other.headers["etag"] != etag
        app.state.value = 2
        changed = await client.get("/state", headers={"If-None-Match": etag})
        assert (changed.status_code, changed.json()) == (200, {"value": 2})
        assert "etag" not in (await client.get("/log")).headers


@asynchronous
async def test_a_connection_has_the_names_of_a_websockets() -> None:
    async with client_of() as client:
        headers = {"X-One": "1", "Cookie": "a=b", "Idempotency-Key": '"abc"'}
        response = await client.get("/connection?x=1", headers=headers)
    assert response.status_code == 422  # the handler takes no `x`
    async with client_of() as client:
        response = await client.get("/connection?format=json", headers=headers)
    assert as_json(response) == {
        "path": "/connection",
        "query": {"format": "json"},
        "header": "1",
        "cookies": {"a": "b"},
        "peer": "tcp4:127.0.0.1:123",
        "sent": False,
        "session": {"seen": True},
        "user": None,
        "key": "abc",
        "method": "GET",
    }


@asynchronous
async def test_spaces_that_a_server_leaves_around_a_header_are_none_of_it() -> None:
    """uvicorn's httptools does, behind it."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    exchange = Exchange(Application(router).prepare())
    headers = [(b"host", b"t "), (b"accept", b" application/msgpack\t"), (b"origin", b"http://t ")]
    scope = {"type": "http", "method": "GET", "path": "/hello", "query_string": b"", "headers": headers}
    await exchange(scope, AsyncMock(), send)
    assert (sent[0]["status"], sent[1]["body"]) == (200, msgspec.msgpack.encode("hi"))


@asynchronous
async def test_every_name_that_users_know_is_there() -> None:
    """What a handler may ask of a connection, it may ask of each kind."""
    seen: list[Any] = []
    own = SimpleRouter()

    @own.get("/")
    def look(request: Any) -> None:
        seen.append(request.connection)

    app = Application(own)
    async with client_of(app) as client, AsyncTestClient(app) as websocket:
        await client.get("/")
        await websocket.get("/")
    names = ("path", "query", "headers", "cookies", "peer", "user", "session", "subprotocol", "send_event", "close")
    for connection in seen:
        for name in (*names, "close_code", "close_reason", "close_was_clean", "is_of", "subscriptions", "factory"):
            assert hasattr(connection, name), (connection, name)


# Who may ask


@asynchronous
async def test_a_hook_may_say_that_a_client_with_a_token_is_nobody() -> None:
    own = SimpleRouter()

    @own.get("/")
    def look(request: Any) -> Any:
        return request.connection.user

    def on_connect(connection: Any) -> None:
        assert connection.user is not None
        connection.user = None

    app = Application(own, middlewares=[JSONWebTokenMiddleware(Manager)], on_connect=on_connect)
    headers = {"Authorization": f"Bearer {Manager().generate({'sub': 'ada'})}"}
    async with client_of(app) as client, AsyncTestClient(app, headers=headers) as websocket:
        answers = [(await client.get("/", headers=headers)).json(), (await websocket.get("/")).data]
    assert answers == [None, None]


@asynchronous
async def test_on_connect_and_on_disconnect_see_each_request() -> None:
    told: list[Any] = []

    async def on_connect(connection: Any) -> None:
        told.append(("in", connection.path))
        connection.session["who"] = "ada"
        if "x-evil" in connection.headers:
            raise ConnectionRefused(418, "no", headers=[("X-Why", "evil")])

    def on_disconnect(connection: Any, code: int, reason: str) -> None:
        told.append(("out", connection.session, code))

    async with client_of(on_connect=on_connect, on_disconnect=on_disconnect) as client:
        response = await client.get("/hello")
        refused = await client.get("/hello", headers={"X-Evil": "1"})
    assert response.status_code == 200
    assert (refused.status_code, refused.json(), refused.headers["x-why"]) == (418, {"detail": "no"}, "evil")
    assert told == [("in", "/hello"), ("out", {"who": "ada"}, 1000), ("in", "/hello")]


@asynchronous
async def test_who_is_closed_before_it_is_let_in_is_refused() -> None:
    async with client_of(on_connect=lambda connection: connection.close(4000, "not you")) as client:
        response = await client.get("/hello")
    assert (response.status_code, response.json()) == (403, {"detail": "not you"})


@asynchronous
async def test_who_is_not_decided_on_in_time_is_refused() -> None:
    async def hangs(connection: Any) -> None:
        await asyncio.Event().wait()

    class Hanging:
        async def at_handshake(self, connection: Any) -> None:
            await hangs(connection)

        def process_request(self, request: Any, handler: Any) -> None:
            """Let it pass."""

    for options in ({"on_connect": hangs}, {"middlewares": [Hanging()]}):
        async with client_of(handshake_timeout=0.05, **options) as client:
            async with asyncio.timeout(TIMEOUT):
                response = await client.get("/hello")
        assert (response.status_code, response.json()) == (503, {"detail": "Service Unavailable"})


@asynchronous
async def test_a_timeout_of_the_applications_own_is_a_failure() -> None:
    async def late(connection: Any) -> None:
        raise TimeoutError

    async with client_of(on_connect=late) as client:
        assert (await client.get("/hello")).status_code == 500


@pytest.mark.parametrize(
    ("raised", "challenge"),
    [
        (ConnectionRefused(401), "Bearer"),
        (ConnectionRefused(401, headers=[("WWW-Authenticate", "Basic")]), "Basic"),
        (HTTPError(401, "who?"), "Bearer"),
        (HTTPError(403, "not you"), None),
    ],
)
@asynchronous
async def test_who_is_nobody_is_told_how_to_prove_who_it_is(raised: Exception, challenge: str | None) -> None:
    """RFC 9110 §15.5.2: a 401 has that header, whoever says it."""

    def refuse(connection: Any) -> None:
        raise raised

    async with client_of(on_connect=refuse) as client:
        response = await client.get("/hello")
    assert response.headers.get_list("www-authenticate") == ([] if challenge is None else [challenge])


@asynchronous
async def test_guards_and_dependencies_are_those_of_the_route() -> None:
    told: list[str] = []

    def guard(request: Any) -> None:
        told.append(request.method)
        if request.connection.headers.get("x-key") != "k":
            raise HTTPError(401, "no key")

    own = SimpleRouter(dependencies=[Depends(guard)])

    @own.get("/")
    def look(request: Any, seen: Annotated[str, Depends(lambda request: "dep")]) -> str:
        return seen

    async with client_of(Application(own)) as client:
        refused = await client.head("/")
        passed = await client.get("/", headers={"X-Key": "k"})
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert (passed.status_code, passed.json()) == (200, "dep")
    assert told == ["GET", "GET"]


@pytest.mark.parametrize(
    ("origin", "options", "status"),
    [
        ("http://testserver", {}, 200),
        ("http://evil.example", {}, 403),
        ("null", {}, 403),
        ("http://evil.example", {"allowed_origins": ["http://good.example"]}, 403),
        ("http://good.example", {"allowed_origins": ["http://good.example"]}, 200),
        ("http://any.example", {"allowed_origins": ["*"]}, 200),
    ],
)
@asynchronous
async def test_pages_of_others_are_refused(origin: str, options: dict[str, Any], status: int) -> None:
    async with client_of(**options) as client:
        response = await client.get("/hello", headers={"Origin": origin, "Cookie": "session=1"})
    assert response.status_code == status
    allowed = response.headers.get("access-control-allow-origin")
    credentials = response.headers.get("access-control-allow-credentials")
    if status == 403 or not options:
        assert (allowed, credentials) == (None, None)
    elif options["allowed_origins"] == ["*"]:
        assert (allowed, credentials) == ("*", None)
    else:
        assert (allowed, credentials, response.headers["vary"]) == (origin, "true", "Origin")


@asynchronous
async def test_a_page_may_read_what_it_is_refused_with() -> None:
    """Else its browser says that CORS failed, whatever is wrong."""
    async with client_of(allowed_origins=["https://good.example"], max_message_size=10) as client:
        origin = {"Origin": "https://good.example"}
        too_long = await client.put("/any", json="x" * 100, headers=origin)
        boom = await client.get("/boom", headers=origin)
        nowhere = await client.get("/nowhere", headers=origin)
    assert [response.status_code for response in (too_long, boom, nowhere)] == [413, 500, 404]
    for response in (too_long, boom, nowhere):
        assert response.headers["access-control-allow-origin"] == "https://good.example"


@asynchronous
async def test_a_protocol_with_a_say_of_its_own_is_not_passed_by() -> None:
    class Own(RequestHandlerProtocol):
        def onConnect(self, request: Any) -> Any:
            return None

    with pytest.raises(ImproperlyConfigured, match="Own has an onConnect of its own, which HTTP would not pass"):
        Exchange(Application(router, protocol=Own).prepare())


@asynchronous
async def test_a_form_of_another_page_is_refused() -> None:
    async with client_of() as client:
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            response = await client.put("/any", json={"a": 1}, headers={"Cookie": "session=1", **headers})
            assert response.status_code == 403


@pytest.mark.parametrize(
    ("origin", "cookies"),
    [
        ("https://evil.example", {}),
        ("null", {}),
        ("https://good.example", {"session": "1"}),
        ("http://testserver", {"session": "1"}),
        (None, {"session": "1"}),
    ],
)
@asynchronous
async def test_pages_of_any_origin_may_ask_but_not_with_cookies(origin: str | None, cookies: dict[str, str]) -> None:
    own = SimpleRouter()
    own.post("/do")(lambda request: [request.connection.cookies, request.connection.headers.get("cookie")])
    async with client_of(Application(own, allowed_origins=["*", "https://good.example"])) as client:
        headers = {"Cookie": "session=1"} | ({"Origin": origin} if origin else {})
        response = await client.post("/do", headers=headers)
    assert response.json() == [cookies, "session=1" if cookies else None]
    readable = response.headers.get("access-control-allow-origin")
    assert (readable, "access-control-allow-credentials" in response.headers) == (
        (None, False) if origin is None else (origin, True) if cookies else ("*", False)
    )


@asynchronous
async def test_a_preflight_is_answered_without_asking_anybody() -> None:
    asked: list[Any] = []
    async with client_of(allowed_origins=["https://good.example"], on_connect=asked.append) as client:
        wants = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
        good = await client.options("/any", headers={"Origin": "https://good.example", **wants})
        evil = await client.options("/any", headers={"Origin": "https://evil.example", **wants})
    assert (good.status_code, good.content, asked) == (204, b"", [])
    assert good.headers["access-control-allow-origin"] == "https://good.example"
    assert good.headers["access-control-allow-methods"] == "DELETE, OPTIONS, PUT"
    assert good.headers["access-control-allow-headers"] == "authorization"
    assert good.headers["access-control-allow-credentials"] == "true"
    assert (evil.status_code, "access-control-allow-origin" in evil.headers) == (403, False)


@asynchronous
async def test_hosts_are_checked() -> None:
    async with client_of(allowed_hosts=["good.example"]) as client:
        assert (await client.get("/hello")).status_code == 403
        assert (await client.get("/hello", headers={"Host": "good.example"})).status_code == 200
        assert (await client.get("/hello", headers={"Host": "a b"})).status_code == 400


# Its time


@asynchronous
async def test_a_client_that_leaves_has_its_handler_cancelled() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()
    own = SimpleRouter()

    @own.get("/")
    async def wait(request: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def receive() -> Any:
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message.get("status"))

    sent: list[Any] = []
    exchange = Exchange(Application(own).prepare())
    scope = {"type": "http", "method": "GET", "path": "/", "http_version": "1.1", "headers": [(b"host", b"t")]}
    await exchange(scope, receive, send)
    await ended.wait()
    assert sent == [499, None]  # for what is around it: Starlette's middlewares take no answer for an error


@asynchronous
async def test_a_client_that_leaves_is_no_error_behind_a_middleware_of_starlette() -> None:
    begun, said = asyncio.Event(), []

    own = SimpleRouter()

    @own.get("/")
    async def wait(request: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def passing(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        said.append(response.status_code)
        return response

    async def receive() -> Any:
        await begun.wait()
        return {"type": "http.disconnect"}

    asgi = Application(own).asgi()
    scope = {"type": "http", "method": "GET", "path": "/", "http_version": "1.1", "headers": [(b"host", b"t")]}
    async with asgi:
        await BaseHTTPMiddleware(asgi, dispatch=passing)(scope, receive, AsyncMock())
    assert said == [499]


@asynchronous
async def test_a_handler_that_takes_too_long_is_a_504() -> None:
    own = SimpleRouter()
    ended: list[str] = []

    @own.get("/")
    async def wait(request: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    async with client_of(Application(own, request_timeout=0.01)) as client:
        response = await client.get("/")
    assert (response.status_code, response.json()) == (504, {"detail": "The request took too long."})
    await asyncio.sleep(0)
    assert ended == ["ended"]


@asynchronous
async def test_a_handler_that_cancels_itself_is_a_500() -> None:
    own = SimpleRouter()

    @own.get("/")
    async def wait(request: Any) -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    async with client_of(Application(own)) as client:
        assert (await client.get("/")).status_code == 500


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "line"),
    [
        ("GET", "/hello", {}, b"", "GET /hello/ 200"),
        ("HEAD", "/hello", {}, b"", "GET /hello/ 200"),
        ("GET", "/nowhere", {}, b"", '"GET" "/nowhere" 404'),
        ("POST", "/typed", {}, b"1", '"POST" "/typed" 415'),
        ("POST", "/typed", {"Content-Type": "application/json"}, b"{", '"POST" "/typed" 400'),
        ("POST", "/typed", {"Content-Type": "application/json"}, b"1" * 2000, '"POST" "/typed" 413'),
        ("POST", "/typed", {"Content-Type": "application/json", "Expect": "a lot"}, b"1", '"POST" "/typed" 417'),
        ("PURGE", "/typed", {}, b"", '"PURGE" "/typed" 405'),
        ("OPTIONS", "/typed", {}, b"", '"OPTIONS" "/typed" 204'),
        ("GET", "/a%zz", {}, b"", '"GET" "/a%zz" 400'),
        ("GET", "/hello", {"Origin": "https://evil.example"}, b"", '"GET" "/hello" 403'),
        ("GET", "/hello", {"X-Who": "nobody"}, b"", '"GET" "/hello" 401'),
        ("GET", "/openapi.json", {}, b"", '"GET" "/openapi.json" 200'),
        ("GET", "/healthz", {}, b"", None),
    ],
)
@asynchronous
async def test_what_is_answered_is_a_line_of_the_log_and_counted(
    method: str, path: str, headers: dict[str, str], body: bytes, line: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    def ask(connection: Any) -> None:
        if "x-who" in connection.headers:
            raise ConnectionRefused(401)

    caplog.set_level(logging.INFO, "aiorest_ws.access")
    metrics = Metrics()
    options: dict[str, Any] = {
        "access_log": True,
        "metrics": metrics,
        "max_message_size": 1000,
        "health_path": "/healthz",
    }
    async with client_of(Application(router, on_connect=ask, **options)) as client:
        await client.request(method, path, headers=headers, content=body)
    lines = [record.getMessage() for record in caplog.records if record.name == "aiorest_ws.access"]
    assert [re.sub(r"^\S+ | [\d.]+ ms .*", "", text) for text in lines] == ([] if line is None else [line])
    counted = [status for _, meter in metrics.meters.items() for status in meter.statuses]
    assert counted == ([] if line is None else [int(line[-3:])])


@asynchronous
async def test_changes_are_told() -> None:
    own = SimpleRouter()
    state = {"n": 0}

    @own.get("/n", live=True)
    def look(request: Any) -> Any:
        return state["n"]

    @own.put("/n", changes=["/n"])
    def set_it(request: Any) -> None:
        state["n"] = request.data

    app = Application(own)
    async with AsyncTestClient(app) as websocket, client_of(app) as client:
        factory = websocket.connection.factory
        exchange = httpx.AsyncClient(transport=httpx.ASGITransport(Exchange(factory)), base_url="http://testserver")
        async with websocket.subscribe("/n") as subscription, exchange:
            assert (await exchange.put("/n", json=5)).status_code == 200
            assert (await subscription.receive()).data == 5
        assert (await client.get("/n")).json() == 5


@asynchronous
async def test_what_the_lifespan_sets_is_seen() -> None:
    from contextvars import ContextVar

    colour: ContextVar[str] = ContextVar("colour", default="none")
    own = SimpleRouter()
    own.get("/")(lambda request: colour.get())
    factory = Application(own).prepare()
    import contextvars

    context = contextvars.copy_context()
    context.run(colour.set, "red")
    factory.context = context
    transport = httpx.ASGITransport(Exchange(factory))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        assert (await client.get("/")).json() == "red"


@pytest.mark.parametrize("accept", ["application/json", "application/msgpack"])
@asynchronous
async def test_a_key_has_it_done_once(accept: str) -> None:
    done: list[int] = []
    own = SimpleRouter()

    @own.post("/")
    async def add(request: Any) -> Any:
        done.append(1)
        return Response({"n": len(done)}, status=201)

    app = Application(own, idempotency=lambda request: "ada")
    async with client_of(app) as client:
        headers = {"Idempotency-Key": '"0123456789abcdef"', "Accept": accept}
        first = await client.post("/", headers=headers)
        again = await client.post("/", headers=headers)
    assert (first.status_code, again.status_code, done) == (201, 201, [1])
    assert first.content == again.content
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")


@asynchronous
async def test_a_handler_with_a_key_outlives_its_client() -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    own = SimpleRouter()

    @own.post("/")
    async def add(request: Any) -> None:
        begun.set()
        await go_on.wait()
        done.set()

    async def receive() -> Any:
        await begun.wait()
        return {"type": "http.disconnect"}

    factory = Application(own, idempotency=lambda request: "ada").prepare()
    headers = [(b"host", b"t"), (b"content-length", b"0"), (b"idempotency-key", b"0123456789abcdef")]
    scope = {"type": "http", "method": "POST", "path": "/", "http_version": "1.1", "headers": headers}
    await Exchange(factory)(scope, receive, AsyncMock())
    assert len(factory.unfinished) == 1
    go_on.set()
    await done.wait()
    await asyncio.wait(factory.unfinished or [asyncio.ensure_future(asyncio.sleep(0))])
    assert factory.unfinished == []


# Pages


@asynchronous
async def test_a_page_is_served_beside_the_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"<p>"

    pages = {"/page": Page(make, "text/html", [("X-Frame-Options", "DENY")])}
    monkeypatch.setattr(doors, "pages_of", lambda *_: pages)
    async with client_of() as client:
        response = await client.get("/page")
        again = await client.get("/page", headers={"If-None-Match": response.headers["etag"]})
        other = await client.post("/page")
    assert (response.status_code, response.content, response.headers["x-frame-options"]) == (200, b"<p>", "DENY")
    assert response.headers["content-type"] == "text/html"
    assert (again.status_code, made) == (304, [1])
    assert (other.status_code, other.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@asynchronous
async def test_a_route_with_the_path_of_a_page_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "pages_of", lambda *_: {"/hello": Page(bytes, "text/html")})
    with pytest.raises(ImproperlyConfigured, match="route GET /hello/ has the path of the page /hello"):
        Exchange(Application(router).prepare())


@pytest.mark.parametrize("kind", ["openapi", "asyncapi"])
@asynchronous
async def test_the_schema_is_a_page(kind: str) -> None:
    app = Application(router)
    async with client_of(app) as client:
        response = await client.get(f"/{kind}.json")
        again = await client.get(f"/{kind}.json", headers={"If-None-Match": response.headers["etag"]})
    assert as_json(response) == getattr(app, kind)()
    assert (again.status_code, response.headers["cache-control"]) == (304, "no-cache")
