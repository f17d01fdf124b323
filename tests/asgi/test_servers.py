"""Real servers of ASGI, and a real client: what works on our own port works there."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import websockets

from aiorest_ws import Application, Live, SimpleRouter
from aiorest_ws.exceptions import ConnectionRefused
from tests.kit.asgi import SERVERS
from tests.serving import CLOSE, TIMEOUT, Client, make_router, until, within

on_each = pytest.mark.parametrize("name", SERVERS)


def connect(address: tuple[str, int], path: str = "/", **options: Any) -> Any:
    return websockets.connect(f"ws://{address[0]}:{address[1]}{path}", open_timeout=TIMEOUT, **options)


async def ask(client: Any, url: str = "/hello", method: str = "GET", **parts: Any) -> Any:
    await client.send(json.dumps({"method": method, "url": url} | parts))
    return await reply(client)


async def reply(client: Any) -> Any:
    async with asyncio.timeout(TIMEOUT):
        return json.loads(await client.recv())


@on_each
@within(30)
async def test_requests_lifespan_and_close(name: str) -> None:
    said: list[Any] = []
    app = Application(
        make_router(),
        on_startup=[lambda _: said.append("up")],
        on_shutdown=[lambda _: said.append("down")],
        on_disconnect=lambda connection, code, reason: said.append(code),
    )
    async with SERVERS[name](app.asgi()) as address:
        async with connect(address) as client:
            assert (await ask(client))["data"] == "Hello, world!"
            assert (await ask(client, "/later/7", id=1)) == {"data": 7, "id": 1, "status": 200}
            for number in range(50):
                await client.send(json.dumps({"method": "GET", "url": f"/n/{number}"}).encode())
            answers = [await client.recv() for _ in range(50)]
            assert all(isinstance(answer, bytes) for answer in answers)
        await until(lambda: len(said) > 1)
    code = 1006 if name == "hypercorn" else 1000  # it says so of every client that leaves
    assert said == ["up", code, "down"]


@on_each
@within(30)
async def test_refusal_has_its_status(name: str) -> None:
    def nobody(connection: Any) -> None:
        raise ConnectionRefused(401, "who are you?")

    async with SERVERS[name](Application(make_router(), on_connect=nobody).asgi()) as address:
        with pytest.raises(websockets.InvalidStatus) as caught:
            await connect(address)
    # One that has no words for it refuses with the status that ASGI names.
    assert caught.value.response.status_code in ((401,) if name != "granian" else (401, 403))


@on_each
@within(30)
async def test_close_of_ours_has_its_code(name: str) -> None:
    router = SimpleRouter()
    router.register("/bye", lambda request: request.connection.close(4001, "enough"), "GET")
    async with SERVERS[name](Application(router).asgi()) as address, connect(address) as client:
        await client.send('{"method": "GET", "url": "/bye"}')
        async with asyncio.timeout(TIMEOUT):
            await client.wait_closed()
        assert client.close_code == 4001


@on_each
@within(30)
async def test_subscription_is_told_of_changes_and_resumes(name: str) -> None:
    router = SimpleRouter()
    value = {"n": 0}

    @router.get("/counter", live=Live(shared=True))
    async def counter(request: Any) -> dict[str, int]:
        return dict(value)

    app = Application(router)
    async with SERVERS[name](app.asgi()) as address:
        async with connect(address) as client:
            first = await ask(client, "/counter", "SUBSCRIBE", id=1)
            assert first["data"] == {"n": 0}
            value["n"] = 1
            app.live.changed("/counter")
            change = await reply(client)
            assert change["data"] == {"n": 1}
        async with connect(address) as client:
            again = await ask(client, "/counter", "SUBSCRIBE", id=1, since=change["version"])
            assert again["status"] == 304


@on_each
@within(30)
async def test_http_is_answered_by_the_same_routes(name: str) -> None:
    router = SimpleRouter()
    router.register("/add", lambda request: {"sum": request.data["a"] + request.data["b"]}, "POST")
    async with SERVERS[name](Application(router).asgi()) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        body = b'{"a":1,"b":2}'
        head = f"POST /add HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        async with asyncio.timeout(TIMEOUT):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b'{"sum":3}')
        writer.close()
        await writer.wait_closed()


@on_each
@within(30)
async def test_client_that_is_gone_while_much_is_said_is_no_error(name: str) -> None:
    left: list[int] = []
    raised: list[BaseException] = []

    async def flood(request: Any) -> None:
        while request.connection.state == request.connection.STATE_OPEN:
            request.connection.send_event("x", "x" * 1000)
            await asyncio.sleep(0)

    app = Application(make_router(flood=flood), on_disconnect=lambda connection, code, reason: left.append(code))
    asgi = app.asgi()

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asgi(scope, receive, send)
        except Exception as exc:
            raised.append(exc)
            raise

    async with SERVERS[name](watched) as address:
        for way in ("reset", "abort", "leave"):
            client = await Client.connect(address)
            client.request(url="/flood")
            await client.receive()
            if way == "leave":
                client.send(b"\x03\xe8", CLOSE)
                await client.drop()
            elif way == "reset":
                client.reset()
            else:
                client.abort()
        await until(lambda: len(left) == 3)
        assert not (await asgi.start()).factory.connections
    assert raised == []
