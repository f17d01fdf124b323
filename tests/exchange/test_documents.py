"""`/openapi.json` and `/asyncapi.json`: what describes the routes, as clients of HTTP get it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from aiorest_ws import Application, SimpleRouter
from aiorest_ws.abstract import AbstractRouter
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.exchange import Exchange
from tests.serving import asynchronous


def make_app(**options: Any) -> Application:
    router = SimpleRouter()
    router.get("/hello")(lambda request: "hi")
    return Application(router, **options)


def client_of(app: Application) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Exchange(app.prepare()), raise_app_exceptions=True)
    return httpx.AsyncClient(transport=transport, base_url="http://testserver")


@asynchronous
async def test_documents_are_served_with_an_etag() -> None:
    app = make_app(api_title="Greetings")
    async with client_of(app) as client:
        for kind, expected in (("openapi", app.openapi()), ("asyncapi", app.asyncapi())):
            response = await client.get(f"/{kind}.json")
            assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
            assert json.loads(response.content) == expected
            assert expected["info"]["title"] == "Greetings"
            again = await client.get(f"/{kind}.json", headers={"If-None-Match": response.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert (await client.post(f"/{kind}.json")).status_code == 405
    validate(app.openapi())


@pytest.mark.parametrize(
    ("root", "servers"), [("/m", [{"url": "/m"}]), ("/a b/", [{"url": "/a%20b"}]), ("", None), ("/", None)]
)
@asynchronous
async def test_a_document_says_where_it_is_mounted(root: str, servers: Any) -> None:
    app = make_app()
    exchange = Exchange(app.prepare())

    async def host(scope: Any, receive: Any, send: Any) -> None:
        await exchange(scope | {"root_path": root}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(host), base_url="http://testserver") as client:
        response = await client.get(f"{root.rstrip('/')}/openapi.json")
        again = await client.get(
            f"{root.rstrip('/')}/openapi.json", headers={"If-None-Match": response.headers["etag"]}
        )
        described = await client.get(f"{root.rstrip('/')}/asyncapi.json")
    validate(response.json())
    assert response.json() == app.openapi() | ({"servers": servers} if servers else {})
    assert again.status_code == 304
    expected = app.asyncapi()
    expected["channels"]["connection"]["address"] = f"{servers[0]['url'] if servers else ''}/"
    assert described.json() == expected


@asynchronous
async def test_a_route_that_comes_later_is_described() -> None:
    app = make_app()
    async with client_of(app) as client:
        before = await client.get("/openapi.json")
        app._options["router"].get("/later")(lambda request: "late")
        assert (await client.get("/later")).json() == "late"
        for kind in ("openapi", "asyncapi"):
            after = await client.get(f"/{kind}.json", headers={"If-None-Match": before.headers["etag"]})
            assert "/later" in after.text


@asynchronous
async def test_an_application_may_keep_them_to_itself() -> None:
    async with client_of(make_app(schema=False)) as client:
        assert (await client.get("/openapi.json")).status_code == 404
        assert (await client.get("/asyncapi.json")).status_code == 404


@asynchronous
async def test_a_router_that_does_not_tell_its_routes_has_none() -> None:
    class Other(AbstractRouter):
        def process_request(self, request: Any) -> bytes:
            raise ImproperlyConfigured("nobody asks")

    exchange = Exchange(Application(Other()).prepare())
    assert exchange.pages == {}


@asynchronous
async def test_a_route_of_ones_own_is_not_hidden() -> None:
    router = SimpleRouter()
    router.get("/openapi.json")(lambda request: {})
    with pytest.raises(ImproperlyConfigured, match=r"route GET /openapi\.json/ has the path of the page"):
        Exchange(Application(router).prepare())
    async with client_of(Application(router, schema=False)) as client:
        assert (await client.get("/openapi.json")).json() == {}
