"""The console's pages over the HTTP door: where they are, where they are not, and what is said where they cannot be."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from aiorest_ws import Application, SimpleRouter
from aiorest_ws.exceptions import ImproperlyConfigured
from tests.serving import asynchronous, make_router, serving

PATHS = [
    "/console",
    "/console/",
    "/console/console.js",
    "/console/console.css",
    "/docs",
    "/docs/docs.js",
    "/docs/swagger.js",
]


def client_of(app: Application) -> httpx.AsyncClient:
    host, port = app.addresses[0][:2]
    return httpx.AsyncClient(base_url=f"http://{host}:{port}")


@pytest.mark.parametrize("path", PATHS)
@asynchronous
async def test_a_page_comes_with_its_type_and_is_not_sent_twice(path: str) -> None:
    async with serving(make_router(), http=True, console=True) as app, client_of(app) as client:
        reply = await client.get(path)
        assert reply.status_code == 200
        assert reply.headers["content-type"].endswith("charset=utf-8")
        assert reply.headers["x-content-type-options"] == "nosniff"
        again = await client.get(path, headers={"If-None-Match": reply.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = await client.head(path)
        assert (head.status_code, head.content) == (200, b"")


@asynchronous
async def test_the_pages_themselves_are_guarded() -> None:
    async with serving(make_router(), http=True, console=True) as app, client_of(app) as client:
        for path in ("/console", "/console/console.js", "/docs"):  # the script is a worker's, too
            reply = await client.get(path)
            assert "default-src 'none'" in reply.headers["content-security-policy"]
            assert reply.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("options", "status"),
    [({}, 404), ({"debug": True}, 200), ({"debug": True, "console": False}, 404), ({"console": True}, 200)],
)
@asynchronous
async def test_the_console_is_where_it_is_wanted(options: dict[str, Any], status: int) -> None:
    async with serving(make_router(), http=True, **options) as app, client_of(app) as client:
        assert [(await client.get(path)).status_code for path in PATHS] == [status] * len(PATHS)


@asynchronous
async def test_on_connect_is_asked_about_pages_and_not_about_what_they_are_made_of() -> None:
    asked: list[str] = []

    def on_connect(connection: Any) -> bool:
        asked.append(connection.path)
        return bool(connection.query)

    async with (
        serving(make_router(), http=True, console=True, on_connect=on_connect) as app,
        client_of(app) as client,
    ):
        pages = ["/console", "/docs", "/openapi.json", "/asyncapi.json"]
        files = [
            "/console/console.js",
            "/console/console.css",
            "/docs/docs.js",
            "/docs/swagger.js",
            "/docs/swagger.css",
        ]
        assert [(await client.get(path)).status_code for path in pages] == [403] * len(pages)
        assert [(await client.get(path)).status_code for path in files] == [200] * len(files)
        assert [(await client.head(path)).status_code for path in files] == [200] * len(files)
        assert (await client.post(files[0])).status_code == 405
        assert asked == pages
        assert [(await client.get(f"{path}?a=1")).status_code for path in pages] == [200] * len(pages)


@asynchronous
async def test_the_console_knows_the_path_of_websockets() -> None:
    async with serving(make_router(), http=True, console=True, path="ws") as app, client_of(app) as client:
        assert 'name="path" content="./ws"' in (await client.get("/console")).text


@asynchronous
async def test_behind_a_server_of_asgi_the_path_is_the_one_that_is_served_there() -> None:
    asgi = Application(make_router(), console=True, path="elsewhere").asgi(path="ws")
    async with asgi, httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://testserver") as client:
        assert 'name="path" content="./ws"' in (await client.get("/console")).text
        assert (await client.get("/asyncapi.json")).json()["channels"]["connection"]["address"] == "/ws"
    assert asgi.app.asyncapi()["channels"]["connection"]["address"] == "/elsewhere"


async def site(scope: Any, receive: Any, send: Any) -> None:
    """Be the application beside ours."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@asynchronous
async def test_beside_another_application_the_pages_are_below_the_prefix() -> None:
    options: dict[str, Any] = {"http": site, "http_prefix": "/api", "console": True, "path": "ws"}
    async with serving(make_router(), **options) as app, client_of(app) as client:
        assert [(await client.get(path)).status_code for path in ("/console", "/docs")] == [418, 418]
        assert (await client.get("/api/console/console.js")).status_code == 200
        page = await client.get("/api/console")
        assert page.status_code == 200
        assert 'name="path" content="./../ws"' in page.text  # as WebSockets are not below it


@pytest.mark.parametrize("kind", ["openapi", "asyncapi"])
@asynchronous
async def test_what_the_console_reads_is_what_the_application_says(kind: str) -> None:
    async with serving(make_router(), http=True) as app, client_of(app) as client:
        reply = await client.get(f"/{kind}.json")
        assert reply.headers["content-type"] == "application/json"
        assert reply.json() == getattr(app, kind)()


@asynchronous
async def test_a_console_without_the_http_door_is_one_line_that_says_what_is_missing() -> None:
    app = Application(SimpleRouter(), port=0, console=True)
    with pytest.raises(ImproperlyConfigured, match=re.escape("pip install 'aiorest-ws[http]>=2'")) as caught:
        await app.start()
    assert "\n" not in str(caught.value)


@asynchronous
async def test_debug_without_the_http_door_says_nothing() -> None:
    async with serving(make_router(), debug=True) as app:
        assert app.is_running


@asynchronous
async def test_a_route_at_the_path_of_a_page_is_an_error_that_names_both() -> None:
    router = make_router(console=lambda request: None)
    app = Application(router, port=0, http=True, console=True)
    with pytest.raises(ImproperlyConfigured, match=r"route GET /console.* has the path of the page /console"):
        await app.start()


@pytest.mark.parametrize("wrong", [1.5, "yes", []])
def test_what_the_option_may_be(wrong: Any) -> None:
    with pytest.raises(TypeError, match="console must be True, False or None"):
        Application(SimpleRouter(), console=wrong)
