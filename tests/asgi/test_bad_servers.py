"""Servers of ASGI that do what they must not: it is seen, and nothing stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aiorest_ws import Application
from aiorest_ws.asgi import AsgiApplication
from tests.kit.asgi import ByHand
from tests.serving import asynchronous, make_router, turn_over, until


def noted(**handlers: Any) -> tuple[Application, list[Any]]:
    left: list[Any] = []
    app = Application(make_router(**handlers), on_disconnect=lambda connection, code, reason: left.append(code))
    return app, left


async def accepted(app: Application, server: ByHand) -> AsgiApplication:
    """Have `server` serve `app`, and the connection accepted."""
    asgi = app.asgi()
    server.begin(asgi)
    assert (await server.told())["type"] == "websocket.accept"
    return asgi


def waiting(cancelled: list[str]) -> Callable[[Any], Awaitable[None]]:
    """Give a handler that waits for ever, and says when it is cancelled."""

    async def wait(request: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append("handler")

    return wait


async def decide(connection: Any) -> None:
    """Never come to a decision. It is an `on_connect`."""
    await asyncio.Event().wait()


@pytest.mark.parametrize("kind", ["websocket.receive", "websocket.accept", "lifespan.startup"])
@asynchronous
async def test_message_before_connect(kind: str) -> None:
    app, _ = noted()
    server = ByHand(begins=False)
    server.say(kind, text="{}")
    server.begin(app.asgi())
    with pytest.raises(RuntimeError, match=f"must send websocket.connect first, got '{kind}'"):
        await server.over()
    assert server.from_app.empty()


@asynchronous
async def test_disconnect_before_connect_is_a_client_that_left() -> None:
    app, _ = noted()
    server = ByHand(begins=False)
    server.say("websocket.disconnect", code=1006)
    server.begin(app.asgi())
    await server.over()
    assert server.from_app.empty()


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ({"type": "websocket.connect"}, "got 'websocket.connect'"),
        ({"type": "websocket.ping"}, "got 'websocket.ping'"),
        ({"type": "websocket.receive"}, "there is neither"),
        ({"type": "websocket.receive", "text": None, "bytes": None}, "there is neither"),
        ({"type": "websocket.receive", "text": b"{}"}, "there is neither"),
        ({"type": "websocket.receive", "bytes": 5}, "there is neither"),
    ],
)
@asynchronous
async def test_message_that_must_not_come(message: dict[str, Any], what: str) -> None:
    app, left = noted()
    server = ByHand()
    asgi = await accepted(app, server)
    server.to_app.put_nowait(message)
    with pytest.raises(RuntimeError, match=what):
        await server.over()
    assert left == [1006]
    assert not (await asgi.start()).factory.connections
    await asgi.stop()


@asynchronous
async def test_nothing_is_read_behind_a_disconnect() -> None:
    app, left = noted()
    server = ByHand()
    asgi = await accepted(app, server)
    for code in (1000, 4000):
        server.say("websocket.disconnect", code=code)
    server.ask()
    await server.over()
    assert server.to_app.qsize() == 2
    assert server.from_app.empty()
    assert left == [1000]
    await asgi.stop()


@pytest.mark.parametrize(("code", "seen"), [(None, 1005), (1005, 1005), (1006, 1006), (4000, 4000)])
@asynchronous
async def test_code_of_a_disconnect(code: int | None, seen: int) -> None:
    app, left = noted()
    server = ByHand()
    asgi = await accepted(app, server)
    server.say("websocket.disconnect", code=code, reason=None)
    await server.over()
    assert left == [seen]
    await asgi.stop()


class Broken(Exception):
    pass


@pytest.mark.parametrize("where", ["accept", "send", "close", "answer", "receive"])
@asynchronous
async def test_what_the_server_raises_is_raised_once_all_is_over(where: str) -> None:
    cancelled: list[str] = []
    app, _ = noted(wait=waiting(cancelled))
    asgi = app.asgi(path="/elsewhere" if where == "answer" else None)
    server = ByHand(extensions={"websocket.http.response": {}})

    async def send(message: dict[str, Any]) -> None:
        if message["type"].startswith(("websocket.http", f"websocket.{where}")):
            raise Broken
        await server.from_app.put(message)

    server.send = send
    server.begin(asgi)
    if where not in ("accept", "answer"):
        await server.told()
        server.ask("/wait", id=1)
        await turn_over()
        (connection,) = (await asgi.start()).factory.connections
        if where == "close":
            connection.close()
        elif where == "send":
            server.ask()
        else:
            server.to_app.put_nowait({})
    with pytest.raises(KeyError if where == "receive" else Broken):
        await server.over()
    await turn_over()
    assert cancelled == ([] if where in ("accept", "answer") else ["handler"])
    assert not (await asgi.start()).factory.connections
    await asgi.stop()


@pytest.mark.parametrize(
    ("failure", "says_so"),
    [(BrokenPipeError(), False), (RuntimeError("transport closed"), True)],
    ids=["as it is gone", "otherwise, and it is gone"],
)
@asynchronous
async def test_send_that_fails_ends_it_in_silence_if_the_client_is_gone(failure: Exception, says_so: bool) -> None:
    app, left = noted()
    server = ByHand()

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            if says_so:
                server.say("websocket.disconnect", code=1006)
            raise failure
        await server.from_app.put(message)

    server.send = send
    asgi = await accepted(app, server)
    server.ask()
    await server.over()
    assert left == [1006]
    await asgi.stop()


@asynchronous
async def test_server_that_cancels_cancels_the_handlers() -> None:
    cancelled: list[str] = []
    app, left = noted(wait=waiting(cancelled))
    server = ByHand()
    asgi = await accepted(app, server)
    server.ask("/wait")
    await turn_over()
    server.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server.over()
    await until(lambda: cancelled == ["handler"])
    assert left == [1006]
    await asgi.stop()


@asynchronous
async def test_decision_that_takes_too_long_is_a_refusal() -> None:
    app = Application(make_router(), on_connect=decide, handshake_timeout=0.05)
    asgi = app.asgi()
    server = ByHand(extensions={"websocket.http.response": {}})
    server.begin(asgi)
    assert (await server.told())["type"] in ("websocket.http.response.start", "websocket.close")
    await server.over()
    await asgi.stop()


@asynchronous
async def test_oldest_of_those_that_begin_goes_and_is_told() -> None:
    app = Application(make_router(), max_connections=1, on_connect=decide)
    asgi = app.asgi()
    servers = [ByHand(client=("203.0.113.7", port)) for port in (1, 2)]
    for server in servers:
        server.begin(asgi)
    assert await servers[1].told() == {"type": "websocket.close", "code": 1000}
    await servers[1].over()
    await asgi.stop()
    assert await servers[0].told() == {"type": "websocket.close", "code": 1000}
    await servers[0].over()


@asynchronous
async def test_many_small_messages_at_once_let_others_have_their_turn() -> None:
    app, _ = noted()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with ByHand().serving(app.asgi()) as server:
        for _ in range(5000):
            server.ask()
        counting = asyncio.ensure_future(count())
        assert [(await server.reply())["data"] for _ in range(5000)] == ["Hello, world!"] * 5000
        counting.cancel()
        assert turns > 10
