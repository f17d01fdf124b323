"""What users subclass: each refuses to be half-made and shares no state."""

from __future__ import annotations

from typing import Any

import pytest

from aiorest_ws.abstract import AbstractEndpoint, AbstractMiddleware, AbstractPermission, AbstractRouter
from aiorest_ws.views import MethodBasedView


class Endpoint(AbstractEndpoint):
    def match(self, path: str) -> tuple[str, ...] | None:
        return () if path == self.path else None


class Router(AbstractRouter):
    def process_request(self, request: Any) -> bytes:
        return b"{}"


class Middleware(AbstractMiddleware):
    def process_request(self, request: Any, handler: Any) -> None:
        request.seen = handler


class Permission(AbstractPermission):
    @staticmethod
    def check(request: Any, handler: Any) -> bool:
        return bool(request)


@pytest.mark.parametrize(
    ("cls", "args"),
    [
        (AbstractEndpoint, ("/", object, ["GET"])),
        (AbstractRouter, ()),
        (AbstractMiddleware, ()),
        (AbstractPermission, ()),
    ],
)
def test_an_abstract_class_cannot_be_instantiated(cls: type, args: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="abstract"):
        cls(*args)


def test_an_endpoint_keeps_what_it_is_given() -> None:
    point = Endpoint("/a/", MethodBasedView, ["GET", "PUT"], "name")
    assert (point.path, point.handler, point.methods, point.name) == ("/a/", MethodBasedView, ("GET", "PUT"), "name")
    assert Endpoint(path="/", handler=MethodBasedView, methods=["GET"]).name is None
    assert (point.match("/a/"), point.match("/b/")) == ((), None)


def test_endpoints_do_not_share_their_methods() -> None:
    """R3: a list on the class collected the methods of all of them."""
    methods = ["GET"]
    first, second = Endpoint("/a/", MethodBasedView, methods), Endpoint("/b/", MethodBasedView, ["PUT"])
    methods.append("POST")
    assert (first.methods, second.methods) == (("GET",), ("PUT",))
    assert not hasattr(Endpoint, "methods")


def test_a_router_takes_any_argument() -> None:
    assert Router(1, 2, key=3).process_request(None) == b"{}"


def test_a_middleware_authenticates_only_if_it_says_so() -> None:
    assert Middleware.authenticates is False

    class Login(Middleware):
        authenticates = True

    assert (Login().authenticates, Middleware().authenticates) == (True, False)


def test_a_permission_is_checked_on_the_class() -> None:
    assert Permission.check(1, None) is True
    assert Permission.check(0, None) is False
