"""`app.openapi()`: what it says of each route."""

from __future__ import annotations

import enum
import functools
import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest
from msgspec import Meta, Struct
from openapi_spec_validator import validate

from aiorest_ws import Application, Arg, Depends, Live, MethodBasedView, Response, SimpleRouter
from aiorest_ws.abstract import AbstractRouter
from aiorest_ws.exceptions import ImproperlyConfigured, InvalidHandler, RouterNotDefined
from aiorest_ws.renderers import JSONRenderer, XMLRenderer
from aiorest_ws.schema.openapi import openapi
from aiorest_ws.testing import AsyncTestClient, TestClient
from tests.schema.kit import TEXT_OF_URL, document_of, operation_of
from tests.serving import asynchronous

REFERENCE = {"$ref": "#/components/schemas/Todo"}
ANYTHING: Any = {"application/json": {"schema": {}}}


class Todo(Struct):
    title: Annotated[str, Meta(min_length=1, examples=["milk"])]


class Order(enum.Enum):
    UP = "up"
    DOWN = "down"


def make_app() -> Application:
    router = SimpleRouter()

    @router.get("/todos/{number:int}", response_model=Todo)
    def show(request: Any, number: int, db: Annotated[int, Depends(lambda: 1)], limit: int = 20) -> Any:
        """Show one,
        if it is there.

        All of it.
        """

    @router.post("/todos", response_model=Todo, status=201)
    def add(request: Any, data: Todo) -> Any: ...

    @router.get("/files/{rest:path}")
    def bare(request, rest, mode): ...  # type: ignore[no-untyped-def]

    return Application(router)


def refusals(operation: dict[str, Any]) -> set[str]:
    return {status for status, answer in operation["responses"].items() if "$ref" in answer}


def test_it_is_valid_and_says_what_a_route_takes() -> None:
    document = make_app().openapi(title="Todos", version="2")
    validate(document)
    assert document["info"] == {"title": "Todos", "version": "2"}
    show = document["paths"]["/todos/{number}"]["get"]
    assert (show["summary"], show["description"]) == ("Show one, if it is there", "All of it.")
    assert show["parameters"] == [
        {"name": "number", "in": "path", "required": True, "schema": {"type": "integer"}},
        {"name": "limit", "in": "query", "required": False, "schema": {"type": "integer", "default": 20}},
    ]
    assert show["responses"]["200"]["content"]["application/json"]["schema"] == REFERENCE
    assert refusals(show) == {"400", "404", "422", "default"}
    add = document["paths"]["/todos"]["post"]
    assert add["requestBody"] == {"required": True, "content": {"application/json": {"schema": REFERENCE}}}
    assert refusals(add) == {"400", "413", "415", "422", "default"}
    assert document["components"]["schemas"]["Todo"]["properties"]["title"]["examples"] == ["milk"]
    bare = document["paths"]["/files/{rest}"]["get"]
    assert [(p["name"], p["in"], p["required"], p["schema"]) for p in bare["parameters"]] == [
        ("rest", "path", True, TEXT_OF_URL),
        ("mode", "query", True, {}),
    ]
    assert bare["responses"]["200"]["content"] == ANYTHING


def test_every_component_of_a_refusal_is_there_and_nothing_else() -> None:
    document = make_app().openapi()
    named = {f"#/components/responses/{name}" for name in document["components"]["responses"]}
    used = {
        answer["$ref"]
        for item in document["paths"].values()
        for operation in item.values()
        for answer in operation["responses"].values()
        if "$ref" in answer
    }
    assert named == used


def test_it_is_the_same_each_time() -> None:
    assert json.dumps(make_app().openapi()) == json.dumps(make_app().openapi())


# Statuses


def test_a_status_that_is_declared_is_described_and_sent() -> None:
    router = SimpleRouter()

    @router.post("/things", status=201, response_model=Todo)
    async def add(request: Any) -> Any:
        return {"title": "a", "more": 1}

    @router.delete("/things", status=204)
    def remove(request: Any) -> Any: ...

    @router.put("/things", status=202)
    def put(request: Any) -> Any:
        return Response("other", status=203)

    item = document_of(router)["paths"]["/things"]
    assert next(iter(item["post"]["responses"])) == "201"
    assert item["delete"]["responses"]["204"] == {"description": "done"}
    with TestClient(Application(router)) as client:
        assert (client.post("/things").status, client.post("/things").data) == (201, {"title": "a"})
        assert (client.delete("/things").status, client.delete("/things").data) == (204, None)
        assert (client.put("/things").status, client.put("/things").data) == (203, "other")


def test_a_handler_that_chooses_its_status_may_answer_with_any() -> None:
    router = SimpleRouter()

    @router.post("/")
    def add(request: Any) -> Any:
        return Response(1, status=201)

    answers = operation_of(router)["responses"]
    assert answers["2XX"] == answers["200"] == {"description": "what is asked for", "content": ANYTHING}


@pytest.mark.parametrize("status", [199, 300, True, "201", None])
def test_a_status_that_cannot_be_is_refused(status: Any) -> None:
    with pytest.raises(InvalidHandler, match=r"status of view .* must be an integer from 200 to 299, got"):
        SimpleRouter().get("/", status=status)(lambda request: 1)


@pytest.mark.parametrize("model", [None, Any, object])
def test_what_may_be_anything_is_no_fault(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    router = SimpleRouter()
    router.get("/", response_model=model)(lambda request: 1)
    assert operation_of(router)["responses"]["200"]["content"] == ANYTHING
    assert caplog.records == []


def test_a_limit_of_requests_is_said() -> None:
    router = SimpleRouter()
    router.get("/")(lambda request: 1)
    assert "429" not in refusals(operation_of(router))
    assert "429" in refusals(operation_of(router, requests_per_second=5.0))


# Parameters


def test_a_decorator_is_seen_as_requests_see_it() -> None:
    def paged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function, assigned=("__name__", "__qualname__", "__doc__"))
        def call(request: Any, page: int = 1, **more: Any) -> Any:
            return function(request, **more)

        return call

    router = SimpleRouter()

    @router.get("/")
    @paged
    def show(request: Any, size: int = 3) -> Any: ...

    names = {p["name"]: p["schema"] for p in operation_of(router)["parameters"]}
    assert names == {"size": {"type": "integer", "default": 3}, "page": {"default": 1}}


def test_names_on_the_wire_and_words_of_meta_are_those_of_parameters() -> None:
    router = SimpleRouter()

    @router.get("/")
    def show(
        request: Any,
        sender: Annotated[str, Arg("from"), Meta(description="who sent it", examples=["ada"])],
        order: Order = Order.UP,
        many: list[int] | None = None,
    ) -> Any: ...

    document = document_of(router)
    sender, order, many = document["paths"]["/"]["get"]["parameters"]
    assert (sender["name"], sender["description"], sender["schema"]["examples"]) == ("from", "who sent it", ["ada"])
    assert order["schema"] == {"$ref": "#/components/schemas/Order", "default": "up"}
    assert (many["required"], "default" in many["schema"]) == (False, False)
    assert document["components"]["schemas"]["Order"]["enum"] == ["down", "up"]


class Filter(Struct):
    above: int


def test_an_argument_with_members_is_json() -> None:
    router = SimpleRouter()

    @router.get("/")
    def show(request: Any, where: Filter, sizes: dict[str, int] = {}, tags: list[str] = []) -> Any: ...  # noqa: B006

    where, sizes, tags = operation_of(router)["parameters"]
    assert where["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Filter"}
    assert sizes["content"]["application/json"]["schema"]["default"] == {}
    assert tags["schema"] == {"type": "array", "items": {"type": "string"}, "default": []}


NOBODY = object()


@pytest.mark.parametrize(
    ("hint", "default", "said"),
    [
        (list[int], [1], [1]),
        (set[str], {"b", "a"}, ["a", "b"]),
        (date, date(2024, 2, 29), "2024-02-29"),
        (datetime, datetime(2024, 2, 29, tzinfo=UTC), "2024-02-29T00:00:00+00:00"),
        (UUID, UUID(int=1), str(UUID(int=1))),
        (Decimal, Decimal("1.50"), "1.50"),
        (Order, Order.UP, "up"),
        (Filter, Filter(1), {"above": 1}),
        (int | None, None, None),
        (Any, NOBODY, None),
        (float, float("inf"), None),
    ],
)
def test_a_default_is_what_a_client_would_send(hint: Any, default: Any, said: Any) -> None:
    def show(request: Any, it: Any = default) -> Any: ...

    show.__annotations__["it"] = hint
    router = SimpleRouter()
    router.get("/")(show)
    (parameter,) = operation_of(router)["parameters"]
    schema = parameter.get("schema") or parameter.get("content", {}).get("application/json", {}).get("schema", {})
    assert (parameter["required"], schema.get("default")) == (False, said)
    (message,) = (m for k, m in Application(router).asyncapi()["components"]["messages"].items() if k == "get.request")
    assert message["payload"]["properties"]["args"]["properties"]["it"].get("default") == said


@pytest.mark.parametrize(
    ("hint", "is_required"), [(Filter, True), (int, True), (list[int], True), (Filter | None, False), (Any, False)]
)
@asynchronous
async def test_a_body_may_be_missing_where_it_may_be_null(hint: Any, is_required: bool) -> None:
    def add(request: Any, data: Any) -> Any:
        return data

    add.__annotations__["data"] = hint
    router = SimpleRouter()
    router.post("/", status=201)(add)
    assert operation_of(router)["requestBody"]["required"] is is_required
    messages = Application(router).asyncapi()["components"]["messages"]
    assert ("data" in messages["post.request"]["payload"]["required"]) is is_required
    async with AsyncTestClient(Application(router)) as client:
        assert (await client.post("/")).status == (422 if is_required else 201)


def test_a_converter_says_the_type_where_nobody_else_does() -> None:
    router = SimpleRouter()
    router.add_converter("hex", Path, str)
    router.get("/{a:uuid}/{b:date}/{c:float}/{d:hex}/{e}")(lambda request, a, b, c, d, e: 1)
    assert [p["schema"] for p in operation_of(router)["parameters"]] == [
        {"type": "string", "format": "uuid"},
        {"type": "string", "format": "date"},
        {"type": "number"},
        TEXT_OF_URL,
        TEXT_OF_URL,
    ]


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, TEXT_OF_URL),
        (Annotated[str, Meta(max_length=3)], {"maxLength": 3} | TEXT_OF_URL),
        (Annotated[str, Meta(pattern="^a")], {"type": "string", "pattern": "^a"}),
        (str | None, {"anyOf": [TEXT_OF_URL, {"type": "null"}]}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (Order, {"$ref": "#/components/schemas/Order"}),
    ],
)
def test_a_text_in_a_url_has_no_control_characters(hint: Any, schema: Any) -> None:
    def show(request: Any, it: Any, other: Any = None) -> Any: ...

    show.__annotations__.update(it=hint, other=hint)
    router = SimpleRouter()
    router.get("/{it}")(show)
    it, other = operation_of(router)["parameters"]
    assert it["schema"] == schema
    assert "x00" not in str(other["schema"])  # of a query it may
    asked = Application(router).asyncapi()["components"]["messages"]["get_it.request"]["payload"]["properties"]
    for text, status in (("a", 200), ("a\nb", 400), ("\x7f", 400)):
        assert (re.search(asked["url"]["pattern"], f"/{text}") is not None) == (status != 400)
        with TestClient(Application(router)) as client:
            assert (client.get(f"/{text}").status == 400) == (status == 400)


def test_a_body_that_nobody_describes_may_be_sent() -> None:
    router = SimpleRouter()
    router.post("/")(lambda request: request.data)
    router.get("/")(lambda request: 1)
    item = document_of(router)["paths"]["/"]
    assert item["post"]["requestBody"] == {"required": False, "content": ANYTHING}
    assert "requestBody" not in item["get"]


def test_renderers_are_media_types() -> None:
    router = SimpleRouter()
    router.get("/", renderers=[XMLRenderer, JSONRenderer], response_model=int)(lambda request: 1)
    operation = operation_of(router)
    content = operation["responses"]["200"]["content"]
    assert content["application/json"] == {"schema": {"type": "integer"}}
    assert [name.rpartition("/")[2] for name in content] == ["xml", "json"]
    assert operation["parameters"][0]["schema"]["enum"] == ["xml", "json"]


# Words


class Described(MethodBasedView):
    """Of the view."""

    def get(self, request: Any) -> Any:
        """Of the method."""

    def put(self, request: Any) -> Any: ...


class Bare(MethodBasedView):
    def get(self, request: Any) -> Any: ...


def test_docstrings_are_those_of_the_user() -> None:
    router = SimpleRouter()
    router.register("/described", Described)
    router.register("/bare", Bare)
    router.get("/partial")(functools.partial(lambda request, a: 1, a=1))
    paths = document_of(router)["paths"]
    assert paths["/described"]["get"]["summary"] == "Of the method"
    assert paths["/described"]["put"]["summary"] == "Of the view"
    assert "summary" not in paths["/bare"]["get"]
    assert "summary" not in paths["/partial"]["get"]


def test_tags_come_from_views_or_routers() -> None:
    top, users, orders = SimpleRouter(), SimpleRouter(), SimpleRouter()
    users.get("/{key}")(lambda request, key: 1)
    users.get("/all", tags=["people", "lists"])(lambda request: 1)
    orders.get("/")(lambda request, *ids: 1)
    users.include(orders, "/{key}/orders")
    top.include(users, "/users", name="v1")
    top.include(orders, "/shop/orders")
    top.get("/")(lambda request: 1)
    paths = document_of(top)["paths"]
    assert {path: item["get"].get("tags") for path, item in paths.items()} == {
        "/users/{key}": ["v1"],
        "/users/all": ["people", "lists"],
        "/users/{key}/orders": ["v1"],
        "/shop/orders": ["shop/orders"],
        "/": None,
    }


def test_what_is_deprecated_is_called_so() -> None:
    from typing_extensions import deprecated

    router = SimpleRouter()
    router.get("/a", deprecated=True)(lambda request: 1)
    router.get("/b")(deprecated("use c")(lambda request: 1))
    router.get("/c")(lambda request: 1)
    paths = document_of(router)["paths"]
    assert [item["get"].get("deprecated") for item in paths.values()] == [True, True, None]


def test_operations_have_ids_of_their_own() -> None:
    router, inside = SimpleRouter(), SimpleRouter()
    inside.get("/", name="users")(lambda request: 1)
    router.include(inside, "/users", name="v1")
    router.route("/things/{key}", ["GET", "DELETE"])(lambda request, key: 1)
    router.get("/a-b")(lambda request: 1)
    router.get("/a_b")(lambda request: 1)
    router.get("/")(lambda request: 1)
    ids = [o["operationId"] for item in document_of(router)["paths"].values() for o in item.values()]
    assert ids == ["get_v1_users", "get_things_key", "delete_things_key", "get_a_b", "get_a_b_2", "get"]


# Live


def test_live_modes_and_changes() -> None:
    router = SimpleRouter()
    router.get("/board", live=True)(lambda request: 1)
    router.get(
        "/rooms/{room}",
        live=Live(mode="log", shared=True, key="number", presence=lambda request: {"id": 1}),
        response_model=list[Todo],
    )(lambda request, room, since: [])
    router.post("/rooms/{room}", changes=["/rooms/{room}", "/board"])(lambda request, room: 1)
    paths = document_of(router)["paths"]
    assert paths["/board"]["get"]["x-live"] == {"mode": "state", "shared": False}
    assert "304" in paths["/board"]["get"]["responses"]
    room = paths["/rooms/{room}"]
    assert room["get"]["x-live"] == {
        "mode": "log",
        "shared": True,
        "key": "number",
        "presence": "/rooms/{room}/presence",
    }
    assert [p["name"] for p in room["get"]["parameters"]] == ["room", "since"]
    assert room["post"]["x-changes"] == ["/rooms/{room}", "/board"]
    assert paths["/rooms/{room}/presence"]["get"]["x-live"]["shared"] is True


# The whole


def test_without_a_router_that_tells_its_routes() -> None:
    class Other(AbstractRouter):
        def process_request(self, request: Any) -> bytes:
            return b""

    with pytest.raises(RouterNotDefined):
        Application().openapi()
    with pytest.raises(ImproperlyConfigured, match=r"a test_.*Other does not tell its routes"):
        Application(Other()).openapi()


def test_the_application_says_what_it_is_called() -> None:
    router = SimpleRouter()
    app = Application(router, api_title="Todos", api_version="2.1")
    assert app.openapi()["info"] == {"title": "Todos", "version": "2.1"}
    assert app.asyncapi(title="Other")["info"]["title"] == "Other"
    assert Application(router).openapi()["info"] == {"title": "API", "version": "1"}


def test_a_prefix_of_http_is_that_of_the_server() -> None:
    router = SimpleRouter()
    router.get("/hello")(lambda request: 1)
    document = document_of(router, http_prefix="/api")
    assert document["servers"] == [{"url": "/api"}]
    assert list(document["paths"]) == ["/hello"]
    assert "servers" not in document_of(router)


def test_it_is_made_once_until_something_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        made.append(args)
        return openapi(*args, **kwargs)

    monkeypatch.setattr("aiorest_ws.schema.documents.openapi", counted)
    app = make_app()
    app.openapi()["paths"].clear()  # a copy of one's own
    assert len(app.openapi()["paths"]) == 3
    assert len(made) == 1
    app._options["router"].get("/new")(lambda request: 1)
    assert "/new" in app.openapi()["paths"]
    assert len(made) == 2
    app.openapi(title="Other")
    assert len(made) == 3


def test_a_warning_names_the_route_once(caplog: pytest.LogCaptureFixture) -> None:
    router = SimpleRouter()
    router.get("/{key:int}")(lambda request, key: 1)
    router.get("/{name}")(lambda request, name: 1)
    app = Application(router)
    with caplog.at_level(logging.WARNING):
        app.openapi()
        app.openapi()
    assert [record.getMessage() for record in caplog.records] == [
        "schema: GET /{name}/ and GET /{key:int}/ are the same path to OpenAPI: they are described as one"
    ]
