"""What guards a route, as the schema says it: a requirement is true, and an optional one is called so."""

from __future__ import annotations

from typing import Any

import pytest

from aiorest_ws import MethodBasedView, SimpleRouter
from aiorest_ws.abstract import AbstractPermission
from aiorest_ws.auth.permissions import HasScope, IsAuthenticated
from aiorest_ws.auth.token.managers import JSONWebTokenManager
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.idempotency import Idempotency
from tests.schema.kit import document_of, operation_of


class IsKind(AbstractPermission):
    @staticmethod
    def check(request: Any, handler: Any) -> bool:
        return True


class Orders(MethodBasedView):
    def get(self, request: Any) -> Any: ...

    def post(self, request: Any) -> Any: ...


def tokens() -> JSONWebTokenMiddleware:
    return JSONWebTokenMiddleware(JSONWebTokenManager(secret_key="a" * 32))


TOKEN: Any = [{"token": []}]
OPTIONAL: Any = [{}, {"token": []}]


@pytest.mark.parametrize(
    ("said", "security", "refused"),
    [
        ({}, OPTIONAL, {"401"}),
        ({"auth_required": True}, TOKEN, {"401"}),
        ({"permission_classes": [IsAuthenticated]}, TOKEN, {"401"}),
        ({"permission_classes": [HasScope("read", "write")]}, [{"token": ["read", "write"]}], {"401", "403"}),
        ({"permission_classes": [IsKind]}, OPTIONAL, {"401", "403"}),
        ({"permission_classes": [IsKind & IsAuthenticated]}, TOKEN, {"401", "403"}),
        ({"permission_classes": [IsKind | IsAuthenticated]}, OPTIONAL, {"401", "403"}),
        ({"permission_classes": [HasScope("a") | HasScope("b")]}, TOKEN, {"401", "403"}),
        ({"permission_classes": [~IsAuthenticated]}, OPTIONAL, {"401", "403"}),
    ],
)
def test_what_needs_a_token_says_so(said: dict[str, Any], security: Any, refused: set[str]) -> None:
    router = SimpleRouter()
    router.get("/", **said)(lambda request: 1)
    operation = operation_of(router, middlewares=[tokens()])
    assert operation["security"] == security
    assert refused == {"401", "403"} & operation["responses"].keys()
    assert "429" in operation["responses"]


@pytest.mark.parametrize("where", ["application", "router", "include", "view"])
def test_a_middleware_is_seen_wherever_it_stands(where: str) -> None:
    found = [tokens()]
    inner = SimpleRouter(middlewares=found if where == "router" else [])
    inner.get("/a", middlewares=found if where == "view" else [])(lambda request: 1)
    outer = SimpleRouter(middlewares=found if where == "include" else [])
    outer.include(inner, "/in")
    document = document_of(outer, middlewares=found if where == "application" else [])
    assert document["paths"]["/in/a"]["get"]["security"] == OPTIONAL
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_without_guards_nothing_is_said() -> None:
    router = SimpleRouter()
    router.get("/")(lambda request: 1)
    document = document_of(router)
    assert "security" not in document["paths"]["/"]["get"]
    assert "securitySchemes" not in document["components"]
    assert not {"401", "403"} & document["paths"]["/"]["get"]["responses"].keys()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False),
        ({"middlewares": [tokens()]}, True),
        ({"middlewares": [tokens()], "idempotency": False}, False),
        ({"idempotency": lambda request: "ada"}, True),
        ({"idempotency": Idempotency(seconds=1)}, False),
        ({"idempotency": Idempotency(who=lambda request: "ada")}, True),
        ({"idempotency": Idempotency(seconds=1), "middlewares": [tokens()]}, True),
    ],
)
def test_a_key_is_said_where_it_is_known_who_asks(options: dict[str, Any], expected: bool) -> None:
    router = SimpleRouter()
    router.register("/", Orders, ["GET", "POST"])
    item = document_of(router, **options)["paths"]["/"]
    for verb, is_keyed in (("get", False), ("post", expected)):
        assert ("x-idempotent" in item[verb], "409" in item[verb]["responses"]) == (is_keyed, is_keyed)


def test_permissions_are_named() -> None:
    router = SimpleRouter()
    router.get("/", permission_classes=[IsKind & ~IsAuthenticated, HasScope("a")])(lambda request: 1)
    assert operation_of(router)["x-permissions"] == ["(IsKind & ~IsAuthenticated)", "HasScope('a')"]
