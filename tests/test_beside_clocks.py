"""freezegun and time-machine: a clock that stands still stops no client, and one that is put forward ends a token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import freezegun
import pytest
import time_machine

from aiorest_ws import Application, SimpleRouter
from aiorest_ws.auth.token.managers import JSONWebTokenManager
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.testing import AsyncTestClient, Event, TestClient

NOW = datetime(2024, 2, 29, 12, tzinfo=UTC)

Frozen = Callable[[datetime], AbstractContextManager[Any]]


def by_freezegun(when: datetime) -> AbstractContextManager[Any]:
    return freezegun.freeze_time(when)


def by_time_machine(when: datetime) -> AbstractContextManager[Any]:
    return time_machine.travel(when, tick=False)


both_tools = pytest.mark.parametrize("frozen", [by_freezegun, by_time_machine])


class Manager(JSONWebTokenManager):
    SECRET_KEY = "0123456789abcdef0123456789abcdef"


class Tokens(JSONWebTokenMiddleware):
    manager = Manager()


def make_router() -> SimpleRouter:
    router = SimpleRouter()

    @router.get("/sleeps")
    async def sleeps(request: Any) -> float:
        await asyncio.sleep(0.01)
        return time.time()

    @router.get("/never")
    async def never(request: Any) -> None:
        await asyncio.Event().wait()

    @router.post("/news")
    async def news(request: Any) -> None:
        asyncio.get_running_loop().call_later(0.01, request.connection.send_event, "news", "rain")

    @router.get("/mine", auth_required=True)
    def mine(request: Any) -> Any:
        return request.user.id

    return router


@both_tools
def test_client_waits_in_real_time(frozen: Frozen) -> None:
    with frozen(NOW), TestClient(Application(router=make_router(), middlewares=[Tokens])) as client:
        assert client.get("/sleeps").data == NOW.timestamp()
        client.post("/news")
        assert client.receive_event() == Event("news", "rain")
        with pytest.raises(TimeoutError):
            client.get("/never", timeout=0.01)


@both_tools
def test_time_that_is_frozen_while_the_client_is_there_stops_nothing(frozen: Frozen) -> None:
    with TestClient(Application(router=make_router(), middlewares=[Tokens])) as client:
        with frozen(NOW):
            assert client.get("/sleeps").data == NOW.timestamp()
        assert client.get("/sleeps").data > NOW.timestamp()


def test_request_timeout_goes_on_while_time_stands_still() -> None:
    with (
        freezegun.freeze_time(NOW),
        TestClient(Application(router=make_router(), middlewares=[Tokens], request_timeout=0.02)) as client,
    ):
        assert client.get("/never").status == 504


@freezegun.freeze_time(NOW, real_asyncio=True)
def test_asynchronous_client_needs_the_switch_of_freezegun_for_its_loop() -> None:
    async def ask() -> Any:
        async with AsyncTestClient(Application(router=make_router(), middlewares=[Tokens])) as client:
            return (await client.get("/sleeps")).data

    assert asyncio.run(ask()) == NOW.timestamp()


@both_tools
@pytest.mark.parametrize("place", ["message", "handshake"])
def test_token_ends_when_the_clock_says_so(frozen: Frozen, place: str) -> None:
    app = Application(router=make_router(), middlewares=[Tokens])
    with frozen(NOW):
        token = Manager().generate({}, sub="ada", exp=300)
        sent = {"token": token} if place == "message" else {}
        headers = {} if sent else {"Authorization": f"Bearer {token}"}
        with TestClient(app, headers=headers) as client:
            for seconds, status in ((0, 200), (299, 200), (301, 401)):
                with frozen(NOW + timedelta(seconds=seconds)):
                    assert client.get("/mine", **sent).status == status, seconds
