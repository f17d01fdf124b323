"""Permissions and `auth_required`, which the core checks without any middleware."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest

from aiorest_ws import Application, MethodBasedView, SimpleRouter, endpoint
from aiorest_ws.exceptions import ImproperlyConfigured, PermissionDeniedException
from tests.serving import Client, asynchronous, make_router, serving

DENIED = "Permission denied: user doesn't have enough rights."


class Allow:
    @staticmethod
    def check(request: Any, handler: Any) -> bool:
        return True


class AllowLater:
    @staticmethod
    async def check(request: Any, handler: Any) -> bool:
        await asyncio.sleep(0)
        return True


class Deny:
    @staticmethod
    def check(request: Any, handler: Any) -> Any:
        return None


class DenyLater:
    @staticmethod
    async def check(request: Any, handler: Any) -> Any:
        await asyncio.sleep(0)
        return 0


class DenyLoudly:
    @staticmethod
    def check(request: Any, handler: Any) -> Any:
        raise PermissionDeniedException("only for members")


class DenyLoudlyLater:
    @staticmethod
    async def check(request: Any, handler: Any) -> Any:
        raise PermissionDeniedException("only for members")


class Trip:
    @staticmethod
    def check(request: Any, handler: Any) -> Any:
        raise KeyError("secret")


class TripLater:
    @staticmethod
    async def check(request: Any, handler: Any) -> Any:
        await asyncio.sleep(0)
        raise KeyError("secret")


@pytest.mark.parametrize(
    ("classes", "detail"),
    [
        ((), None),
        ((Allow,), None),
        ((Allow, AllowLater, Allow()), None),
        ((Deny,), DENIED),
        ((DenyLater,), DENIED),
        ((Allow, Deny), DENIED),
        ((Deny, Allow), DENIED),
        ((AllowLater, DenyLater), DENIED),
        ((DenyLoudly,), "only for members"),
        ((DenyLoudlyLater,), "only for members"),
        ((Trip,), DENIED),
        ((TripLater,), DENIED),
    ],
    ids=lambda value: "+".join(getattr(c, "__name__", "instance") for c in value) if isinstance(value, tuple) else None,
)
@asynchronous
async def test_permissions_are_checked_by_the_core(classes: tuple[Any, ...], detail: str | None) -> None:
    """S4: without any middleware. False denies, and so does whatever is raised."""
    calls: list[str] = []

    class View(MethodBasedView):
        permission_classes = classes

        def get(self, request: Any) -> str:
            calls.append("called")
            return "in"

    @endpoint("/function", "GET", permission_classes=classes)
    def function(request: Any) -> str:
        calls.append("called")
        return "in"

    router = SimpleRouter()
    router.register("/view", View, "GET")
    router.register_endpoint(function)
    async with serving(router) as app, await Client.connect(app) as client:
        for url in ("/view", "/function"):
            if detail is None:
                assert await client.ask(url=url, id=1) == {"id": 1, "status": 200, "data": "in"}
            else:
                assert await client.ask(url=url, id=1) == {"id": 1, "status": 403, "detail": detail}
                assert await client.ask(url=url) == {"detail": detail, "event_name": None}
    assert bool(calls) == (detail is None)


class User(NamedTuple):
    is_authenticated: Any


class Login:
    authenticates = True

    def __init__(self, user: Any = None) -> None:
        self.user = user

    def process_request(self, request: Any, handler: Any) -> None:
        request.user = self.user


class Idle:
    def process_request(self, request: Any, handler: Any) -> None: ...


def private_router() -> SimpleRouter:
    router = make_router()
    router.register_endpoint(endpoint("/private", "GET", auth_required=True)(lambda request: "secret"))
    return router


@pytest.mark.parametrize(
    ("user", "status"),
    [
        (None, 401),
        (User(False), 401),
        (User(lambda: False), 401),
        (object(), 401),
        (User(True), 200),
        (User(lambda: True), 200),
    ],
    ids=["None", "flag-false", "method-false", "no-flag", "flag-true", "method-true"],
)
@asynchronous
async def test_auth_required_wants_an_authenticated_user(user: Any, status: int) -> None:
    """S4."""
    async with serving(private_router(), middlewares=[Login(user)]) as app, await Client.connect(app) as client:
        reply = await client.ask(url="/private", id=1, user={"is_authenticated": True})
        assert reply["status"] == status
        if status == 401:
            assert reply == {"id": 1, "status": 401, "detail": "Authentication is required."}
        assert (await client.ask(url="/hello"))["data"] == "Hello, world!"


@pytest.mark.parametrize("middlewares", [[], [Idle], [Idle()]], ids=["none", "class", "instance"])
@asynchronous
async def test_auth_required_without_an_authenticating_middleware_is_an_error_at_start(middlewares: Any) -> None:
    """S4."""
    with pytest.raises(
        ImproperlyConfigured,
        match=r"view private_router.<locals>.<lambda> at /private/ has auth_required, but no middleware",
    ):
        await Application(router=private_router(), middlewares=middlewares, port=0).start()


@asynchronous
async def test_auth_required_of_an_included_router_is_checked_at_start_too() -> None:
    router = SimpleRouter()
    router.include(private_router(), prefix="/v2")
    with pytest.raises(ImproperlyConfigured, match=r"/v2/private/ has auth_required"):
        await Application(router=router, port=0).start()


@asynchronous
async def test_auth_required_registered_after_start_is_still_enforced() -> None:
    router = make_router()
    async with serving(router) as app, await Client.connect(app) as client:
        router.register_endpoint(endpoint("/private", "GET", auth_required=True)(lambda request: "secret"))
        assert (await client.ask(url="/private", id=1))["status"] == 401
