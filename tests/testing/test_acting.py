"""Test clients that are somebody: by a token, or because the test says so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aiorest_ws import Application, SimpleRouter
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.testing import AsyncTestClient, HandshakeRefused, TestClient
from tests.kit.keys import Around, Overwriting, Strict
from tests.kit.tokens import MISSING, Clock, Manager, api, claims, clock, signed
from tests.serving import asynchronous

__all__ = ("clock",)


def application(*middlewares: Any, on_router: bool = False) -> Application:
    inner = SimpleRouter(middlewares=list(middlewares) if on_router else [])
    inner.include(api())
    router = SimpleRouter()
    router.include(inner)
    return Application(router=router, middlewares=[] if on_router else list(middlewares))


def jwt() -> JSONWebTokenMiddleware:
    return JSONWebTokenMiddleware(Manager)


@pytest.mark.parametrize("user", ["ada", SimpleNamespace(id="ada", is_authenticated=True)])
@pytest.mark.parametrize("on_router", [False, True])
@pytest.mark.parametrize("kinds", [(jwt,), (Overwriting,), (Strict, jwt), (jwt, Around)])
def test_a_client_is_whom_the_test_says(clock: Clock, user: Any, on_router: bool, kinds: Any) -> None:
    app = application(*(kind() for kind in kinds), on_router=on_router)
    with TestClient(app, user=user, claims={"scope": "read"}) as client, client.connect() as nobody:
        for _ in range(2):
            assert client.get("/me").data == "ada"
            assert client.get("/claims").data == ["scope", "seen", "sub"]
            assert (client.get("/read").data, client.get("/members").data) == ("in", "in")
            assert nobody.get("/me").status == 401
        assert app.connections_of("ada") == [client.connection]
        with client.connect(user=7) as other:
            assert other.get("/me").data == 7
            assert client.get("/me").data == "ada"


def test_a_client_brings_a_token(clock: Clock) -> None:
    with TestClient(application(jwt()), token=signed(claims())) as client, client.connect() as nobody:
        assert client.get("/me").data == "ada"
        assert nobody.get("/me").detail == MISSING
    with pytest.raises(HandshakeRefused):
        TestClient(application(jwt()), token="nonsense").__enter__()


@asynchronous
async def test_an_async_client_too(clock: Clock) -> None:
    async with AsyncTestClient(application(jwt()), user="ada") as client, client.connect(user="bob") as other:
        assert ((await client.get("/me")).data, (await other.get("/me")).data) == ("ada", "bob")
        assert (await client.get("/me", token=signed(claims(sub="cyd")))).data == "cyd"


@pytest.mark.parametrize(
    "options",
    [
        {"token": "t", "user": "ada"},
        {"token": "t", "headers": {"authorization": "Basic x"}},
        {"claims": {"scope": "read"}},
    ],
)
def test_what_contradicts_itself_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must"):
        TestClient(application(jwt()), **options)
