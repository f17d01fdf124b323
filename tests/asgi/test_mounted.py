"""Beside other people's applications, and under their test clients: FastAPI, Starlette, channels."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from asgiref.testing import ApplicationCommunicator
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from aiorest_ws import Application
from aiorest_ws.exceptions import ImproperlyConfigured
from tests.kit.asgi import uvicorn_of
from tests.kit.pages import ENVIRONMENT, PYTHON, ROOT, blocks
from tests.serving import TIMEOUT, asynchronous, make_router, within

HELLO = {"method": "GET", "url": "/hello", "id": 1}
REPLY = {"id": 1, "status": 200, "data": "Hello, world!"}


def noted(**options: Any) -> tuple[Application, list[str]]:
    said: list[str] = []
    hooks: dict[str, Any] = {
        "on_startup": [lambda _: said.append("up")],
        "on_shutdown": [lambda _: said.append("down")],
    }
    return Application(make_router(), **hooks | options), said


@pytest.mark.parametrize(
    ("path", "at"),
    [(None, "/live/"), ("/ws", "/live/ws"), ("/live/ws", "/live/ws"), ("/live", "/live/")],
)
def test_mounted_in_fastapi(path: str | None, at: str) -> None:
    app, said = noted()
    host = FastAPI()
    host.mount("/live", app.asgi(path=path))
    with TestClient(host) as client:
        for _ in range(2):
            with client.websocket_connect(at) as websocket:
                websocket.send_json(HELLO)
                assert websocket.receive_json() == REPLY
        assert client.get("/live/hello").json() == "Hello, world!"
        assert client.get("/live/nothing").status_code == 404
        assert client.get("/elsewhere").status_code == 404
    assert said == ["up", "down"]


@pytest.mark.parametrize("taken", ["", "/proxy"])
def test_mounted_behind_a_proxy_of_which_the_host_knows_the_path(taken: str) -> None:
    app, _ = noted()
    inner = Starlette(routes=[Mount("/live", app.asgi(path="/ws"))])

    async def host(scope: Any, receive: Any, send: Any) -> None:  # as FastAPI(root_path="/proxy") does
        await inner(scope | {"root_path": "/proxy"}, receive, send)

    left = "" if taken else "/proxy"  # what the proxy leaves of it in the path
    with TestClient(host) as client:
        assert client.get(f"{left}/live/hello").json() == "Hello, world!"
        with client.websocket_connect(f"{left}/live/ws") as websocket:
            websocket.send_json(HELLO)
            assert websocket.receive_json() == REPLY


def test_as_a_route_of_fastapi_whose_lifespan_is_around_it() -> None:
    app, said = noted()
    asgi = app.asgi(path="/ws")

    @contextlib.asynccontextmanager
    async def lifespan(host: FastAPI) -> AsyncIterator[None]:
        async with asgi:
            said.append("host")
            yield

    host = FastAPI(lifespan=lifespan)
    host.router.routes.append(WebSocketRoute("/ws", asgi))
    with TestClient(host) as client:
        assert said == ["up", "host"]
        with client.websocket_connect("/ws") as websocket:
            websocket.send_json(HELLO)
            assert websocket.receive_json() == REPLY
    assert said == ["up", "host", "down"]


def test_client_without_lifespan_and_its_loop_for_each_connection() -> None:
    app, said = noted()
    client = TestClient(app.asgi())
    for _ in range(2):
        with client.websocket_connect("/") as websocket:
            websocket.send_json(HELLO)
            assert websocket.receive_json() == REPLY
    assert said == ["up", "down"] * 2


def test_start_that_fails_in_their_client_is_raised() -> None:
    def fail(app: Application) -> None:
        raise ValueError("no database")

    app, said = noted(on_startup=[fail])
    with pytest.raises(ImproperlyConfigured, match="no database"), TestClient(app):
        raise AssertionError("nobody comes here")
    assert said == []


def test_refusal_in_their_client() -> None:
    app, _ = noted()
    with TestClient(app.asgi()) as client:
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/elsewhere"):
            pass
        headers = {"origin": "https://evil.example"}
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/", headers=headers):
            pass


def test_what_a_middleware_of_the_host_knows_is_in_the_scope() -> None:
    class Who:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app({**scope, "user": "ada"}, receive, send)

    router = make_router(me=lambda request: [request.connection.scope["user"], request.connection.scope["state"]["db"]])

    @contextlib.asynccontextmanager
    async def lifespan(host: Starlette) -> AsyncIterator[dict[str, Any]]:
        yield {"db": 7}

    mounts = [Mount("/", Application(router).asgi())]
    host = Starlette(routes=mounts, middleware=[Middleware(Who)], lifespan=lifespan)
    with TestClient(host) as client, client.websocket_connect("/") as websocket:
        websocket.send_json({**HELLO, "url": "/me"})
        assert websocket.receive_json()["data"] == ["ada", 7]
        assert client.get("/me").json() == ["ada", 7]


@asynchronous
async def test_communicator_of_asgiref() -> None:
    """That of channels sends neither Host nor client, and its subprotocols beside the headers."""
    app, said = noted(subprotocols=["b"])
    asgi = app.asgi()
    scope = {"type": "websocket", "path": "/", "query_string": b"", "headers": [], "subprotocols": ["a", "b"]}
    client = ApplicationCommunicator(asgi, scope)
    await client.send_input({"type": "websocket.connect"})
    accepted = await client.receive_output(TIMEOUT)
    assert (accepted["type"], accepted["subprotocol"]) == ("websocket.accept", "b")
    await client.send_input({"type": "websocket.receive", "text": json.dumps(HELLO)})
    assert json.loads((await client.receive_output(TIMEOUT))["text"]) == REPLY
    await client.send_input({"type": "websocket.disconnect", "code": 1000})
    await client.wait(TIMEOUT)
    await asgi.stop()
    assert said == ["up", "down"]


@within(30)
async def test_mounted_under_uvicorn_with_a_root_path() -> None:
    app, said = noted()
    host = FastAPI()
    host.mount("/live", app.asgi(path="/ws"))
    async with uvicorn_of(host, root_path="/api") as (address, port):
        async with websockets.connect(f"ws://{address}:{port}/live/ws") as client:
            await client.send(json.dumps(HELLO))
            assert json.loads(await client.recv()) == REPLY
        assert said == ["up"]


def test_project_of_django_with_the_asgi_file_of_the_page(tmp_path: Path) -> None:
    (block,) = blocks("py", (ROOT / "docs/asgi.md").read_text("utf-8"))
    files = {
        "asgi": block,
        "settings": "ROOT_URLCONF = 'shop.urls'\nALLOWED_HOSTS = ['*']\nSECRET_KEY = 'x'",
        "urls": "from django.http import HttpResponse\nfrom django.urls import path\n"
        "urlpatterns = [path('page', lambda request: HttpResponse('theirs'))]",
        "live": "from aiorest_ws import Application, SimpleRouter\nrouter = SimpleRouter()\n"
        "router.get('/hello')(lambda request: 'ours')\n"
        "app = Application(router, on_startup=[lambda app: print('up')], on_shutdown=[lambda app: print('down')])",
        "check": "from starlette.testclient import TestClient\nfrom shop.asgi import application\n"
        "with TestClient(application) as client, client.websocket_connect('/ws') as socket:\n"
        "    print(client.get('/page').text)\n"
        "    socket.send_json({'method': 'GET', 'url': '/hello'})\n"
        "    print(socket.receive_json()['data'])\n",
    }
    (tmp_path / "shop").mkdir()
    for name, text in files.items():
        (tmp_path / "shop" / f"{name}.py").write_text(text, "utf-8")
    path = os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "shop.check"],
        env=ENVIRONMENT | {"PYTHONPATH": path},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.stdout.split() == ["up", "theirs", "ours", "down"], done.stderr


def test_daphne_which_has_autobahn_for_twisted_is_told_why_not() -> None:
    program = "import txaio; txaio._explicit_framework = 'twisted'; from aiorest_ws import Application"
    done = subprocess.run([*PYTHON, "-c", program], env=ENVIRONMENT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert "ImportError: Autobahn is in use with Twisted in this process, as daphne does" in done.stderr
