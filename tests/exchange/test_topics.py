"""The path of a stream → its topic: that of a SUBSCRIBE with the same text, whatever is percent-encoded in it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from aiorest_ws import Application, Live, SimpleRouter
from tests.kit.events import source
from tests.serving import TIMEOUT, Client, asynchronous, serving


def client_of(app: Application) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url="http://{}:{}".format(*app.addresses[0]), timeout=TIMEOUT)


def router_of(told: dict[str, Any]) -> SimpleRouter:
    """Give a router whose routes say which value is in their path, and what they are `told`."""
    router = SimpleRouter()
    router.get("/named/{name}", live=Live(shared=True, interval=0))(lambda request, name: [name, told["value"]])
    router.get("/files/{rest:path}", live=Live(interval=0))(lambda request, rest: [rest, told["value"]])
    return router


@pytest.mark.parametrize(
    "path",
    [
        *("/named/a%20b", "/named/caf%C3%A9", "/named/%e2%82%ac", "/named/a+b", "/named/a%2Bb", "/named/100%25"),
        *("/named/a%252Fb", "/named/a%252fb", "/named/a%26b=c", "/named/a%23b", "/named/a%5Cb"),
        *("/named/a%3Fb", "/named/a%00b", "/named/a%0Ab", "/named/%61", "/named/a/", "/named/%20a", "/n%61med/a"),
        *("/files/a/b%20c", "/files/a%252Fb", "/files/a%3Fb", "/files/a/b/", "/files/a//"),
        *("/files/a%2Fb", "/files/a%2fb/c", "/files/a%2Fb/"),
    ],
)
@asynchronous
async def test_a_stream_is_told_of_what_a_message_with_the_same_text_is(path: str) -> None:
    told = {"value": 1}
    async with (
        serving(router_of(told), http=True) as app,
        client_of(app) as client,
        await Client.connect(app) as websocket,
    ):
        reply = await websocket.ask(method="SUBSCRIBE", url=unquote(path), id=1)
        plain = await client.get(path)
        async with source(client, path) as events:
            if reply["status"] != 200:
                assert events.response.status_code == reply["status"]
                assert (await events.response.aread(), events.response.json())[1] == {"detail": reply["detail"]}
                return
            first = await events.next()
            assert first.data == reply["data"] == plain.json()
            told["value"] = 2
            await app.live.changed(reply["topic"])
            push, event = json.loads((await websocket.receive()).payload), await events.next()
            assert (push["event_name"], push["data"]) == (reply["topic"], event.data)
            assert (event.id, event.data[1]) == (push["version"], 2)


@pytest.mark.parametrize("path", ["/named/a%2Fb", "/named/%2f", "/named/%2Fa%252F", "/named/a%20", "/named/%7Ba%7D"])
@asynchronous
async def test_what_no_message_can_name_is_read_and_not_subscribed_to(path: str) -> None:
    async with serving(router_of({"value": 1}), http=True) as app, client_of(app) as client:
        assert (await client.get(path)).json() == [unquote(path.removeprefix("/named/")), 1]
        async with source(client, path) as events:
            assert events.response.status_code == 422
            assert events.response.headers["content-type"] == "application/json"
            assert "this url cannot be subscribed to: " in (await events.response.aread()).decode()
        async with source(client, "/named/a") as events:  # the connection goes on
            assert (await events.next()).data == ["a", 1]


@pytest.mark.parametrize(
    ("path", "value", "url"), [("/of/a%2Fb", "a/b", "/of/a/b"), ("/of/a/b/c%2F", "a/b/c/", "/of/a/b/c/")]
)
@asynchronous
async def test_a_slash_that_would_lead_elsewhere_is_none_of_a_topic(path: str, value: str, url: str) -> None:
    router = SimpleRouter()
    router.get("/of/{rest:path}", live=True)(lambda request, rest: rest)
    router.get("/of/{name}/{part}", live=True)(lambda request, name, part: [name, part])
    async with serving(router, http=True) as app, client_of(app) as client:
        assert (await client.get(path)).json() == value
        async with source(client, path) as events:
            assert events.response.status_code == 422
            assert f"'{url}' leads elsewhere" in (await events.response.aread()).decode()
