"""What is said of how a route changes, and of what it changes, and cannot be: said at registration, or at start."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from aiorest_ws import Application, Live, MethodBasedView, Request, SimpleRouter
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.renderers import JSONRenderer, XMLRenderer
from aiorest_ws.testing import AsyncTestClient
from tests.serving import asynchronous


def nothing(request: Request, *path: Any) -> None:
    pass


def also_nothing(self: Any, request: Request, *path: Any) -> None:
    pass


def view(**body: Any) -> type[MethodBasedView]:
    return type("View", (MethodBasedView,), body)


def routed(verb: str, path: str = "/v/{id}", **options: Any) -> Callable[[], Any]:
    def register() -> None:
        getattr(SimpleRouter(), verb)(path, **options)(nothing)

    return register


def viewed(**body: Any) -> Callable[[], Any]:
    return lambda: SimpleRouter().register("/v", view(**body))


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "misspelt": (lambda: Live(histroy=3), "unknown keyword 'histroy' of Live, did you mean 'history'?"),  # type: ignore[call-arg]
    "mode": (lambda: Live(mode="lgo"), "mode of Live must be 'state' or 'log', got 'lgo'"),  # type: ignore[arg-type]
    "log of one": (lambda: Live(mode="log"), "expected Live(mode='log', shared=True)"),
    "log, again": (lambda: Live(mode="log", shared=True, refresh=1), "refresh of Live is for a state"),
    "no log": (lambda: Live(history=3), "history of Live is for a log"),
    "no number": (lambda: Live(interval="1"), "interval of Live must be a number of seconds from 0, got '1'"),  # type: ignore[arg-type]
    "less": (lambda: Live(interval=-1), "interval of Live must be a number of seconds from 0, got -1"),
    "no time": (lambda: Live(refresh=0), "refresh of Live must be a number of seconds"),
    "not a number": (lambda: Live(recheck=float("nan")), "recheck of Live must be a number of seconds"),
    "shared by 1": (lambda: Live(shared=1), "shared of Live must be True or False, got 1"),  # type: ignore[arg-type]
    "key": (lambda: Live(mode="log", shared=True, key=""), "key of Live must be the name of a key"),
    "option": (routed("get", lvie=Live()), "did you mean 'live'?"),
    "options": (routed("put", chagnes=["/"]), "did you mean 'changes'?"),
    "attribute": (viewed(get=also_nothing, lvie=Live()), "did you mean 'live'?"),
    "kind": (routed("get", live=Live), "must be Live(…) or True, got <class"),
    "dict": (viewed(get=also_nothing, live={"shared": True}), "must be Live(…) or True, got {'shared': True}"),
    "no GET": (routed("put", live=Live()), "has live=…, and does not answer GET"),
    "view without GET": (viewed(put=also_nothing, live=Live()), "has live=…, and does not answer GET"),
    "XML": (routed("get", live=True, renderers=[XMLRenderer, JSONRenderer]), "and other renderers"),
    "own renderer": (viewed(get=also_nothing, live=True, get_renderer=also_nothing), "and other renderers"),
    "string": (routed("put", changes="/v"), "must be a list of urls, got '/v'"),
    "no strings": (routed("put", changes=[7]), "must be a list of urls, got [7]"),
    "relative": (routed("put", changes=["v/{id}"]), "must begin with '/', got 'v/{id}'"),
    "parameter": (routed("put", changes=["/v/{ident}"]), "'ident', which its path /v/{id}/ does not have"),
    "brace": (routed("put", changes=["/v/{id"]), "must have parameters like {id}, got '/v/{id'"),
    "GET changes": (routed("get", changes=["/v/{id}"]), "has changes=…, and answers GET only"),
    "verb": (lambda: SimpleRouter().route("/v", ["SUBSCRIBE"])(nothing), "SUBSCRIBE is the framework's own verb"),
    "verbs": (lambda: SimpleRouter().register("/v", nothing, ["GET", "ping"]), "PING is the framework's own verb"),
    "method": (viewed(get=also_nothing, subscribe=also_nothing), "has a method 'subscribe', which nobody would call"),
    "methods": (viewed(get=also_nothing, ping=also_nothing), "has a method 'ping', which nobody would call"),
}


@pytest.mark.parametrize(("wrong", "why"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_is_refused_where_it_is_said(wrong: Callable[[], Any], why: str) -> None:
    with pytest.raises(Exception, match=re.escape(why)):
        wrong()


def test_what_can_be_is_taken() -> None:
    router = SimpleRouter()
    router.get("/a", live=True)(nothing)
    router.get("/b", live=Live(shared=True, interval=0, refresh=0.5, recheck=1), renderers=[JSONRenderer])(nothing)
    router.get("/c", live=Live(shared=True, mode="log", history=1, key="id"), renderers=[JSONRenderer, XMLRenderer])(
        nothing
    )
    router.register("/d", view(get=also_nothing, put=also_nothing, live=Live(), changes=["/d"]))


def starting(changes: list[str], **live: Any) -> Application:
    """Give an application whose orders are live as `live` says, below a prefix, and are changed."""
    router, api = SimpleRouter(), SimpleRouter()
    router.put("/orders/{id:int}", changes=changes)(nothing)
    router.get("/orders/{id:int}", live=Live(**live) if live else None)(nothing)
    router.get("/files/{name}/{rest:path}", live=Live())(nothing)
    api.include(router, prefix="/{tenant}/api")
    return Application(api)


@pytest.mark.parametrize("url", ["/orders/{id}", "/orders/{id:int}", "/orders/7", "/files/{id}/a/b", "/{id}/7"])
@asynchronous
async def test_what_may_lead_to_a_live_route_does_not_keep_an_application_from_starting(url: str) -> None:
    async with AsyncTestClient(starting([url], interval=1)) as client:
        assert client.is_open


@pytest.mark.parametrize(
    ("url", "live", "why"),
    [
        ("/order/{id}", {"interval": 1}, "leads to no live route: did you mean /{tenant}/api/orders/{id:int}?"),
        ("/orders", {"interval": 1}, "leads to no live route"),
        ("/orders/{id}/lines", {"interval": 1}, "leads to no live route"),
        ("/files/{id}", {}, "leads to no live route"),
        ("/orders/{id}", {}, "leads to no live route"),
        ("/orders/{id}", {"mode": "log", "shared": True}, "is a log: publish its items"),
    ],
)
@asynchronous
async def test_what_leads_to_none_does(url: str, live: dict[str, Any], why: str) -> None:
    with pytest.raises(Exception, match=re.escape(why)):
        async with AsyncTestClient(starting([url], **live)):
            raise AssertionError


@pytest.mark.parametrize(
    ("name", "later"), [("live", True), ("live", Live(shared=True)), ("live", None), ("changes", ["/live"])]
)
@asynchronous
async def test_what_is_said_once_a_route_is_registered_keeps_an_application_from_starting(
    name: str, later: Any
) -> None:
    router = SimpleRouter()
    router.get("/live", live=True)(nothing)
    body = {"get": also_nothing, "put": also_nothing, "live": Live(interval=1)}
    said = view(**body)
    router.register("/v", said, ["GET", "PUT"])
    setattr(said, name, later)
    with pytest.raises(InvalidHandler, match=f"{name} of view View at /v/ was .* when it was registered"):
        async with AsyncTestClient(Application(router)):
            pass
