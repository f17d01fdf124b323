"""Whose connection one is, and how to find and close those of a user."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aiorest_ws import Application
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.auth.user.models import User
from aiorest_ws.testing import TestClient
from tests.kit.tokens import NOW, Clock, Manager, api, bearer, claims, clock, signed

__all__ = ("clock",)


class Database(JSONWebTokenMiddleware):
    manager: Any = Manager

    def get_user(self, payload: dict[str, Any]) -> Any:
        return SimpleNamespace(id=int(payload["sub"]), is_authenticated=True)


def of(subject: str, **more: Any) -> dict[str, str]:
    return bearer(signed(claims(sub=subject, **more)))


@pytest.mark.parametrize("middleware", [JSONWebTokenMiddleware(Manager), Database()])
@pytest.mark.parametrize("user", [7, "7", User(id=7), User(id="7"), SimpleNamespace(id=7)])
def test_connections_are_found_by_user_and_closed(clock: Clock, middleware: Any, user: Any) -> None:
    app = Application(router=api(), middlewares=[middleware])
    with (
        TestClient(app, headers=of("7")) as one,
        one.connect(headers=of("7")) as two,
        one.connect() as nobody,
        one.connect(headers=of("77")) as other,
    ):
        assert set(app.connections_of(user)) == {one.connection, two.connection}
        assert app.close_connections_of(user, 4403, "banned") == 2
        assert (one.wait_closed(), two.wait_closed(), two.close_reason) == (4403, 4403, "banned")
        assert (other.get("/me").status, nobody.get("/hello").status) == (200, 200)
        assert app.connections_of(user) == []
        assert app.close_connections_of(user) == 0


def test_a_handler_may_close_them(clock: Clock) -> None:
    router = api()
    router.post("/ban")(lambda request: request.app.close_connections_of("7"))
    app = Application(router=router, middlewares=[JSONWebTokenMiddleware(Manager)])
    with TestClient(app) as admin, admin.connect(headers=of("7")) as client:
        assert admin.post("/ban").data == 1
        assert client.wait_closed() == 4401


def test_who_a_connection_is_of(clock: Clock) -> None:
    app = Application(router=api(), middlewares=[JSONWebTokenMiddleware(Manager)])
    with TestClient(app) as client:
        assert client.get("/me", token=signed(claims(sub="7"))).data == "7"
        assert client.connection.user is None
        assert app.connections_of("7") == []  # the token was for that message
        with client.connect(headers=of("7")) as known:
            assert known.connection.user.id == "7"
            clock.now = NOW + 60
            assert app.connections_of("7") == [known.connection]
            known.get("/me", token=signed(claims(sub="8", exp=int(NOW) + 90)))
            assert (app.connections_of("7"), app.connections_of("8")) == ([], [known.connection])


def test_a_hook_may_say_who_it_is() -> None:
    def welcome(connection: Any) -> None:
        connection.user = "ada"

    app = Application(router=api(), on_connect=welcome, middlewares=[JSONWebTokenMiddleware(Manager)])
    with TestClient(app) as client:
        assert app.connections_of("ada") == [client.connection]
        assert app.connections_of("bob") == []


@pytest.mark.parametrize("user", [None, User()])
def test_nobody_has_no_connections(user: Any) -> None:
    app = Application(router=api(), middlewares=[JSONWebTokenMiddleware(Manager)])
    with TestClient(app), pytest.raises(TypeError, match="user must be a user who has an id, or the id of one, got"):
        app.connections_of(user)
