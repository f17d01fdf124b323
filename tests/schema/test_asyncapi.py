"""`app.asyncapi()`: valid by AsyncAPI's own schema, and true: what goes over a connection is what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from jsonschema import Draft7Validator
from msgspec import Meta, Struct

from aiorest_ws import Application, HTTPError, Live, Response, SimpleRouter
from aiorest_ws.auth.permissions import HasScope
from aiorest_ws.auth.token.managers import JSONWebTokenManager
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.schema.draft import as_draft_07
from aiorest_ws.testing import TestClient
from tests.schema.kit import asyncapi_faults


def document_of(app: Application) -> dict[str, Any]:
    document = app.asyncapi()
    assert asyncapi_faults(document) == []
    for reference in references(document):
        found: Any = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in found, reference
            found = found[step]
    return document


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for each in node.values():
            yield from references(each)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def fits(document: dict[str, Any], key: str, message: Any) -> bool:
    schema = document["components"]["messages"][key]["payload"] | {"components": document["components"]}
    return bool(Draft7Validator(schema).is_valid(message))


class Cat(Struct, tag=True):
    lives: int


class Dog(Struct, tag=True):
    name: str


class Card(Struct):
    number: int
    title: Annotated[str, Meta(min_length=1)]
    place: tuple[int, str] = (0, "")
    pet: Cat | Dog | None = None


def make_app() -> Application:
    router = SimpleRouter()
    cards = {1: Card(1, "a")}

    @router.get("/cards/{number:int}", response_model=Card, live=Live(shared=True, interval=0), tags=["cards"])
    def show(request: Any, number: int) -> Any:
        """Show one."""
        if number not in cards:
            raise HTTPError(404, "no card")
        return cards[number]

    @router.put("/cards/{number:int}", response_model=Card, changes=["/cards/{number}"])
    def change(request: Any, number: int, data: Card, quiet: bool = False) -> Any:
        cards[number] = data
        return data

    @router.post("/cards", status=201)
    def add(request: Any) -> Any:
        return 1

    @router.post("/any")
    def choose(request: Any, **more: Any) -> Any:
        return Response(1, status=202)

    @router.get("/log", response_model=list[Card], live=Live(mode="log", shared=True, key="number"))
    def log(request: Any) -> Any:
        return []

    return Application(router)


def test_it_is_valid_and_names_what_one_may_do() -> None:
    document = document_of(make_app())
    assert document["asyncapi"] == "3.0.0"
    assert list(document["operations"]) == [
        *("get_cards_number", "subscribe_cards_number", "receive_cards_number"),
        *("put_cards_number", "post_cards", "post_any"),
        *("get_log", "subscribe_log", "receive_log", "unsubscribe", "ping"),
    ]
    for operation in document["operations"].values():
        assert operation["channel"] == {"$ref": "#/channels/connection"}
        assert (operation["action"] == "send") == ("reply" in operation)
    show = document["operations"]["get_cards_number"]
    assert (show["summary"], show["tags"]) == ("Show one", [{"name": "cards"}])
    assert show["reply"]["messages"] == [
        {"$ref": "#/channels/connection/messages/get_cards_number.reply"},
        {"$ref": "#/channels/connection/messages/refusal"},
    ]
    assert show["x-path"] == {"template": "/cards/{number}", "parameters": {"number": {"type": "integer"}}}
    received = document["operations"]["receive_cards_number"]
    assert (received["action"], received["x-live"]) == ("receive", {"mode": "state", "shared": True})
    for key, message in document["components"]["messages"].items():
        is_answer = key.endswith((".request", ".reply")) or key == "refusal"
        assert message.get("correlationId") == ({"location": "$message.payload#/id"} if is_answer else None)


def test_it_is_stable_and_made_once() -> None:
    app = make_app()
    assert json.dumps(app.asyncapi()) == json.dumps(app.asyncapi()) == json.dumps(make_app().asyncapi())
    assert app.openapi()["openapi"] == "3.1.0"  # another document of the same application


def test_the_validator_sees_what_is_wrong() -> None:
    document = make_app().asyncapi()
    document["operations"]["ping"]["action"] = "shout"
    assert asyncapi_faults(document)


def test_what_goes_over_a_connection_is_what_it_says() -> None:
    app = make_app()
    document = document_of(app)
    sent: list[tuple[str, dict[str, Any]]] = [
        ("get_cards_number", {"method": "GET", "url": "/cards/1"}),
        (
            "put_cards_number",
            {"method": "PUT", "url": "/cards/1", "data": {"number": 1, "title": "b", "place": [1, "x"]}},
        ),
        ("post_cards", {"method": "POST", "url": "/cards", "data": 7}),
        ("post_any", {"method": "POST", "url": "/any", "args": {"a": 1}}),
        ("subscribe_log", {"method": "SUBSCRIBE", "url": "/log"}),
        ("subscribe_cards_number", {"method": "SUBSCRIBE", "url": "/cards/1/"}),
        ("put_cards_number", {"method": "PUT", "url": "/cards/1", "data": {"number": 1, "title": "c"}}),
        ("ping", {"method": "PING"}),
        ("unsubscribe", {"method": "UNSUBSCRIBE", "topic": "/cards/1"}),
    ]
    with TestClient(app) as client:
        for at, (name, members) in enumerate(sent):
            message = members | {"id": at}
            assert fits(document, f"{name}.request", message), message
            client.send(json.dumps(message))
            reply = json.loads(client.receive())
            while "id" not in reply:  # a push: below
                reply = json.loads(client.receive())
            assert fits(document, f"{name}.reply", reply), reply
            assert not fits(document, "refusal", reply)
        client.send(json.dumps({"method": "GET", "url": "/cards/2", "id": "x"}))
        reply = json.loads(client.receive())
        assert fits(document, "refusal", reply), reply
        assert not fits(document, "get_cards_number.reply", reply)


def test_what_is_pushed_is_what_it_says() -> None:
    app = make_app()
    document = document_of(app)
    found: dict[str, Any] = {}
    with TestClient(app) as client:
        for at, url in enumerate(("/log", "/cards/1")):
            client.send(json.dumps({"method": "SUBSCRIBE", "url": url, "id": at}))
            assert json.loads(client.receive())["status"] == 200
        app.live.publish("/log", Card(7, "new"))
        client.put("/cards/1", data={"number": 1, "title": "c", "pet": {"type": "Cat", "lives": 9}})
        client.advance(1.0)
        while len(found) < 2:
            push = json.loads(client.receive())
            found[push["event_name"]] = push
    assert fits(document, "subscribe_log.push", found["/log"])
    assert not fits(document, "subscribe_log.push", found["/cards/1"] | {"data": [found["/log"]["data"]]})
    assert fits(document, "subscribe_cards_number.push", found["/cards/1"])


@pytest.mark.parametrize(
    "message",
    [
        {"method": "GET", "url": "/cards/1", "id": 1},
        {"method": "PUT", "url": "/cards/x", "data": {"number": 1, "title": "b"}, "id": 1},
        {"method": "PUT", "url": "/cards/1", "id": 1},
        {"method": "PUT", "url": "/cards/1", "data": {"number": 1, "title": ""}, "id": 1},
        {"method": "PUT", "url": "/cards/1", "data": {"number": 1, "title": "b", "place": [1]}, "id": 1},
        {"method": "PUT", "url": "/cards/1", "data": {"number": 1, "title": "b"}, "args": {"loud": True}, "id": 1},
        {"method": "PUT", "url": "/cards/1", "data": {"number": 1, "title": "b"}},
    ],
)
def test_what_would_be_refused_does_not_fit(message: Any) -> None:
    assert not fits(document_of(make_app()), "put_cards_number.request", message)


def test_tokens() -> None:
    router = SimpleRouter()
    router.get("/open")(lambda request: 1)
    router.get("/closed", permission_classes=[HasScope("a")], deprecated=True)(lambda request: 1)
    middleware = JSONWebTokenMiddleware(JSONWebTokenManager(secret_key="a" * 32))
    document = document_of(Application(router, middlewares=[middleware]))
    assert "security" not in document["operations"]["get_open"]
    closed = document["operations"]["get_closed"]
    assert closed["security"] == [{"$ref": "#/components/securitySchemes/token"}]
    assert closed["x-deprecated"] is True
    asked = document["components"]["messages"]["get_open.request"]["payload"]
    assert "token" in asked["properties"]
    assert "token" not in asked["required"]


def test_a_request_with_a_key_and_its_replayed_reply_fit() -> None:
    router = SimpleRouter()
    router.post("/orders", status=201)(lambda request: 1)
    document = document_of(app := Application(router, idempotency=lambda request: "ada"))
    with TestClient(app) as client:
        key = "0123456789abcdef"
        assert not client.post("/orders", idempotency_key=key).replayed
        again = client.post("/orders", idempotency_key=key)
    assert (again.status, again.replayed) == (201, True)
    request: dict[str, Any] = {"id": 1, "method": "POST", "url": "/orders", "idempotency_key": key}
    assert fits(document, "post_orders.request", request)
    assert not fits(document, "post_orders.request", request | {"idempotency_key": "short"})
    assert fits(document, "post_orders.reply", {"id": 1, "status": 201, "data": 1, "replayed": True})


def test_a_bare_application() -> None:
    router = SimpleRouter()
    router.get("/")(lambda request: 1)
    document = document_of(Application(router, path="/ws/"))
    assert document["channels"]["connection"]["address"] == "/ws"
    assert list(document["operations"]) == ["get", "ping"]


def test_keywords_that_only_look_like_those_of_a_schema_stay() -> None:
    schema = {"properties": {"discriminator": {"type": "string"}, "$ref": {"type": "string"}, "prefixItems": {}}}
    assert as_draft_07(schema) == schema
    assert as_draft_07({"$ref": "#/a", "description": "b"}) == {"allOf": [{"$ref": "#/a"}], "description": "b"}
