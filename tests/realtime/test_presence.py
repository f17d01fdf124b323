"""Who subscribes to a url, as `<url>/presence` says it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from aiorest_ws import Application, HTTPError, Live, MethodBasedView, Request, SimpleRouter
from aiorest_ws.exceptions import EndpointValueError
from aiorest_ws.testing import AsyncTestClient
from tests.serving import asynchronous

NOBODY = {"count": 0, "members": []}


class Names:
    """Believes what a client says who it is; some may not come in."""

    authenticates = True

    def __init__(self) -> None:
        self.refused: set[str] = set()

    def process_request(self, request: Any, handler: Any) -> None:
        request.user = request.get_extra("name")
        if request.user is None or request.user in self.refused:
            raise HTTPError(403, "not here")


def who(request: Request) -> dict[str, Any]:
    return {"id": request.user, "title": f"the {request.user}"}


def rooms(names: Names, **live: Any) -> Application:
    router = SimpleRouter()

    @router.get("/rooms/{id:int}", live=Live(presence=who, **live), middlewares=[names])
    def room(request: Request, id: int) -> list[str]:  # noqa: A002
        return []

    return Application(router)


async def later(client: AsyncTestClient, seconds: float) -> None:
    """Let so much time pass for subscriptions, and what is due then be done."""
    client.connection._live.node.timers.advance(seconds)
    await client.request("PING", "/")


async def subscribe(client: AsyncTestClient, name: str, url: str = "/rooms/1", **more: Any) -> None:
    reply = await client.request("SUBSCRIBE", url, name=name, **more)
    assert (reply.status, reply.detail) == (200, None)


async def listed(client: AsyncTestClient, url: str = "/rooms/1/presence") -> Any:
    return (await client.get(url, name="who looks")).data


KINDS = pytest.mark.parametrize(
    "live", [{}, {"shared": True}, {"shared": True, "mode": "log"}], ids=["private", "shared", "log"]
)


@KINDS
@asynchronous
async def test_who_subscribes_is_listed_and_counted_once_however_many_tabs_they_have(live: dict[str, Any]) -> None:
    app = rooms(Names(), **live)
    async with AsyncTestClient(app) as one, AsyncTestClient(app) as two, AsyncTestClient(app) as three:
        assert await listed(one) == NOBODY
        await subscribe(one, "ada")
        await subscribe(two, "ada", url="/rooms/001")
        await subscribe(three, "bob", presence={"mood": "good"})
        bob = {"id": "bob", "title": "the bob", "given": {"mood": "good"}}
        assert await listed(one) == {"count": 2, "members": [{"id": "ada", "title": "the ada"}, bob]}
        assert await listed(one, "/rooms/2/presence") == NOBODY
        await one.request("UNSUBSCRIBE", "/rooms/1")
        assert (await listed(one))["count"] == 2
        await two.request("UNSUBSCRIBE", "/rooms/1")
        assert await listed(one) == {"count": 1, "members": [bob]}


@asynchronous
async def test_a_subscriber_of_presence_is_told_once_a_second_at_most() -> None:
    app = rooms(Names())
    async with AsyncTestClient(app) as looker, AsyncTestClient(app) as other:
        reply = await looker.request("SUBSCRIBE", "/rooms/1/presence", name="looker")
        assert reply.data == NOBODY
        for name in ("ada", "bob", "cid"):
            await subscribe(other, name)  # each takes the place of the one before
        await later(looker, 0.9)
        assert looker.events() == []
        await later(looker, 0.2)
        event = await looker.receive_event()
        assert looker.events() == []
        assert (event.name, event.data["members"]) == ("/rooms/1/presence", [{"id": "cid", "title": "the cid"}])


@asynchronous
async def test_who_loses_the_connection_may_come_back_before_anybody_sees() -> None:
    app = rooms(Names())
    async with AsyncTestClient(app) as looker:
        await looker.request("SUBSCRIBE", "/rooms/1/presence", name="looker")
        async with AsyncTestClient(app) as first:
            await subscribe(first, "ada")
            first.abort()
            await first.wait_closed()
        await later(looker, 4)
        assert (await listed(looker))["count"] == 1
        async with AsyncTestClient(app) as again:
            await subscribe(again, "ada")
            await later(looker, 6)
            assert (await listed(looker))["count"] == 1
        await later(looker, 4.9)
        assert (await listed(looker))["count"] == 1
        await later(looker, 0.2)
        assert await listed(looker) == NOBODY


@KINDS
@asynchronous
async def test_whom_the_guards_refuse_on_a_recheck_is_gone_at_once(live: dict[str, Any]) -> None:
    names = Names()
    app = rooms(names, **live)
    async with AsyncTestClient(app) as one, AsyncTestClient(app) as two:
        await subscribe(one, "ada")
        await subscribe(two, "bob")
        names.refused.add("ada")
        await app.live.recheck("/rooms/1")
        assert '"status":403' in str(await one.receive())
        assert (await listed(two))["members"] == [{"id": "bob", "title": "the bob"}]


@asynchronous
async def test_presence_stands_behind_the_guards_of_its_url() -> None:
    names = Names()
    names.refused.add("eve")
    async with AsyncTestClient(rooms(names)) as client:
        for verb in ("GET", "SUBSCRIBE"):
            reply = await client.request(verb, "/rooms/1/presence", name="eve")
            assert (reply.status, reply.detail) == (403, "not here")


@pytest.mark.parametrize(
    ("given", "says"),
    [("x", "must be an object"), ([], "must be an object"), ({"x": "y" * 1024}, "at most 1024 bytes")],
)
@asynchronous
async def test_what_a_client_says_of_itself_is_bounded_and_never_instead(given: Any, says: str) -> None:
    async with AsyncTestClient(rooms(Names())) as client:
        reply = await client.request("SUBSCRIBE", "/rooms/1", name="ada", presence=given)
        assert reply.status == 422
        assert says in str(reply.detail)
        await subscribe(client, "ada", presence={"id": "bob", "title": "king"})
        (member,) = (await listed(client))["members"]
        assert member == {"id": "ada", "title": "the ada", "given": {"id": "bob", "title": "king"}}


@asynchronous
async def test_at_most_200_are_listed_and_all_are_counted() -> None:
    app = rooms(Names())
    async with AsyncTestClient(app) as client:
        for number in range(201):
            async with client.connect() as one:
                await subscribe(one, f"n{number}")
        found = await listed(client)
        assert (found["count"], len(found["members"])) == (201, 200)


@pytest.mark.parametrize("said", [None, {}, {"id": None}, {"id": True}, {"id": 1.5}, [("id", 1)]])
@asynchronous
async def test_a_function_that_names_nobody_is_the_applications_fault(
    said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    router = SimpleRouter()
    router.get("/x", live=Live(presence=lambda request: said))(lambda request: 1)
    async with AsyncTestClient(Application(router)) as client:
        assert (await client.request("SUBSCRIBE", "/x")).status == 500
        assert "presence must give a dict with an 'id'" in caplog.text
        assert client.connection.subscriptions == ()


def _function(router: SimpleRouter, path: str) -> None:
    router.get(path, live=Live(presence=who))(lambda request, *args: 1)


def _view(router: SimpleRouter, path: str) -> None:
    class Room(MethodBasedView):
        live = Live(presence=who)

        def get(self, request: Request, *args: Any) -> int:
            return 1

    router.register(path, Room)


@pytest.mark.parametrize("register", [_function, _view])
def test_a_route_in_its_place_is_refused_whichever_comes_first(register: Callable[[SimpleRouter, str], None]) -> None:
    router = SimpleRouter()
    register(router, "/rooms/{id}")
    with pytest.raises(EndpointValueError, match="already registered"):
        router.get("/rooms/{other}/presence")(lambda request, other: 1)
    router = SimpleRouter()
    router.get("/rooms/{id}/presence")(lambda request, id: 1)  # noqa: A006
    with pytest.raises(EndpointValueError, match="already registered"):
        register(router, "/rooms/{id}")
    assert len(router.routes) == 1


@asynchronous
async def test_presence_goes_with_its_route_into_other_routers() -> None:
    inner, outer = SimpleRouter(), SimpleRouter()
    _view(inner, "/{id:int}")
    outer.include(inner, prefix="/v1/rooms")
    async with AsyncTestClient(Application(outer)) as client:
        reply = await client.get("/v1/rooms/7/presence")
        assert reply.data == NOBODY


@pytest.mark.parametrize("presence", ["user", 1, {}])
def test_presence_is_a_function(presence: Any) -> None:
    with pytest.raises(TypeError, match="presence of Live must be a function"):
        Live(presence=presence)


def test_presence_is_no_coroutine_function() -> None:
    async def later(request: Request) -> dict[str, Any]:
        return {"id": 1}

    with pytest.raises(TypeError, match="not `async def`"):
        Live(presence=later)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not `async def`"):
        Live(presence=partial(later))  # type: ignore[arg-type]


@pytest.mark.parametrize("presence", [lambda: {"id": 1}, lambda request, user: {"id": user}])
def test_presence_takes_the_request(presence: Any) -> None:
    with pytest.raises(TypeError, match="presence of Live must take the request, and nothing else, got <lambda>"):
        Live(presence=presence)


@asynchronous
async def test_the_application_may_go_on_with_what_it_gave() -> None:
    mine: dict[str, Any] = {"id": 1}
    router = SimpleRouter()
    router.get("/x", live=Live(presence=lambda request: mine))(lambda request: 1)
    async with AsyncTestClient(Application(router)) as client, client.connect() as other:
        assert (await client.request("SUBSCRIBE", "/x")).status == 200
        mine["id"] = 2
        assert (await other.request("SUBSCRIBE", "/x")).status == 200
        assert await listed(client, "/x/presence") == {"count": 2, "members": [{"id": 1}, {"id": 2}]}
        mine.clear()
        assert (await client.request("UNSUBSCRIBE", "/x")).status == 200
        assert await listed(client, "/x/presence") == {"count": 1, "members": [{"id": 2}]}


@asynchronous
async def test_who_cannot_be_told_is_refused_and_takes_the_list_from_nobody(caplog: pytest.LogCaptureFixture) -> None:
    titles = {"ada": "countess", "bob": object()}
    router = SimpleRouter()
    router.get("/x", live=Live(presence=lambda request: {"id": request.name, "title": titles[request.name]}))(
        lambda request: 1
    )
    async with AsyncTestClient(Application(router)) as client, client.connect() as other:
        assert (await client.request("SUBSCRIBE", "/x", name="ada")).status == 200
        assert (await other.request("SUBSCRIBE", "/x", name="bob")).status == 500
        assert "presence must give what JSON can say: `.title`: `object` is not JSON serializable" in caplog.text
        assert await listed(client, "/x/presence") == {"count": 1, "members": [{"id": "ada", "title": "countess"}]}
