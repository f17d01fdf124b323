"""`app.openapi()`, and the command that prints it."""

from __future__ import annotations

import json
import logging
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct
from openapi_spec_validator import validate

from aiorest_ws import Application, Depends, SimpleRouter
from aiorest_ws.exceptions import RouterNotDefined
from aiorest_ws.schema.describe import describe


class Todo(Struct):
    title: Annotated[str, Meta(min_length=1)]


def make_app() -> Application:
    router = SimpleRouter()

    @router.get("/todos/{number:int}", response_model=Todo)
    def show(request: Any, number: int, db: Annotated[int, Depends(lambda: 1)], limit: int = 20) -> Any:
        """Show one.

        All of it.
        """

    @router.post("/todos")
    def add(request: Any, data: Todo) -> Any: ...

    @router.get("/files/{rest:path}")
    def bare(request, rest, mode): ...  # type: ignore[no-untyped-def]

    return Application(router)


def test_it_is_valid_and_says_what_a_route_takes() -> None:
    document = make_app().openapi(title="Todos", version="2")
    validate(document)
    show = document["paths"]["/todos/{number}/"]["get"]
    assert (show["summary"], show["description"]) == ("Show one", "All of it.")
    assert [(p["name"], p["in"], p["required"]) for p in show["parameters"]] == [
        ("number", "path", True),
        ("limit", "query", False),
    ]
    reference = {"$ref": "#/components/schemas/Todo"}
    assert show["responses"]["200"]["content"]["application/json"]["schema"] == reference
    body = document["paths"]["/todos/"]["post"]["requestBody"]
    assert (body["required"], body["content"]["application/json"]["schema"]) == (True, reference)
    assert document["components"]["schemas"]["Todo"]["required"] == ["title"]


def test_it_is_the_same_each_time() -> None:
    assert json.dumps(make_app().openapi()) == json.dumps(make_app().openapi())


def test_what_has_no_schema_is_empty_and_named(caplog: pytest.LogCaptureFixture) -> None:
    class Odd:
        pass

    router = SimpleRouter()
    router.get("/odd", response_model=None)(lambda request: 1)
    app = Application(router)
    from aiorest_ws.schema.openapi import Components

    components = Components()
    assert components.schema(Odd, "GET /odd/") == {}
    assert components.warnings[0].startswith("GET /odd/: ")
    with caplog.at_level(logging.WARNING):
        validate(app.openapi())


def test_without_a_router() -> None:
    with pytest.raises(RouterNotDefined):
        Application().openapi()


def test_500_routes() -> None:
    router = SimpleRouter()
    for at in range(500):
        router.get(f"/things{at}/{{number:int}}")(lambda request, number: number)
    assert len(list(describe(router.routes))) == 500
    validate(Application(router).openapi())
