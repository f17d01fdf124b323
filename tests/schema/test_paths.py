"""Routes whose templates differ in their parameters alone are one path in OpenAPI: nothing is dropped."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from aiorest_ws import SimpleRouter
from aiorest_ws.auth.permissions import IsAuthenticated
from tests.schema.kit import TEXT_OF_URL, document_of


class One(Struct):
    a: int


class Other(Struct):
    b: int


def test_two_verbs_share_the_path() -> None:
    router = SimpleRouter()
    router.get("/things/{key:int}")(lambda request, key: 1)
    router.delete("/things/{name}")(lambda request, name: 1)
    paths = document_of(router)["paths"]
    assert list(paths) == ["/things/{key}"]
    item = paths["/things/{key}"]
    assert item["get"]["parameters"][0]["schema"] == {"type": "integer"}
    assert item["delete"]["parameters"][0] == {
        "name": "key",
        "in": "path",
        "required": True,
        "schema": TEXT_OF_URL,
    }


def test_one_verb_is_described_as_either() -> None:
    router = SimpleRouter()

    @router.post("/things/{key:int}", response_model=One, permission_classes=[IsAuthenticated], tags=["a"])
    def by_number(request: Any, key: Annotated[int, Meta(ge=1)], data: One, limit: int, page: int = 0) -> Any:
        """By number."""

    @router.post("/things/{name}", response_model=Other, status=201, deprecated=True, tags=["b"])
    def by_name(request: Any, name: str, data: Other, limit: str, size: int, page: dict[str, int]) -> Any:
        """By name."""

    @router.post("/things/{uid:uuid}", response_model=Other)
    def by_key(request: Any, uid: UUID) -> Any: ...

    operation = document_of(router)["paths"]["/things/{key}"]["post"]
    assert operation["operationId"] == "post_things_key"
    assert operation["description"] == "By number\n\nor\n\nBy name"
    assert operation["tags"] == ["a", "b"]
    assert operation["deprecated"] is False
    assert {(p["name"], p["in"], p["required"]) for p in operation["parameters"]} == {
        ("key", "path", True),
        ("limit", "query", False),  # the last one does not need it
        ("page", "query", False),
        ("size", "query", False),
    }
    by_name_of = {p["name"]: p.get("schema") for p in operation["parameters"]}
    assert by_name_of["key"]["anyOf"] == [
        {"type": "integer", "minimum": 1},
        TEXT_OF_URL,
        {"type": "string", "format": "uuid"},
    ]
    assert by_name_of["limit"] == {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    page = next(p for p in operation["parameters"] if p["name"] == "page")
    assert page == {
        "name": "page",
        "in": "query",
        "required": False,
        "content": {"application/json": {"schema": {}}},
    }
    assert operation["requestBody"] == {"required": False, "content": {"application/json": {"schema": {}}}}
    one, other = ({"$ref": f"#/components/schemas/{name}"} for name in ("One", "Other"))
    assert operation["responses"]["200"]["content"]["application/json"]["schema"] == {"anyOf": [one, other]}
    assert operation["responses"]["201"]["content"]["application/json"]["schema"] == other
    assert operation["security"] == [{"token": []}, {}]
