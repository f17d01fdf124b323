"""`subscribe`: a line per change, through lost connections, until there is no more to come."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from aiorest_ws import Live, SimpleRouter
from aiorest_ws.permissions import AbstractPermission
from tests.kit.cli import Cli, Said
from tests.kit.peers import Peer, peer
from tests.serving import asynchronous, serving, until


async def following(cli: Cli, *talks: Any) -> tuple[Said, list[Any]]:
    """Subscribe to /x at a server that talks so; give how it ended, and what was shown."""
    async with peer(*talks) as script:
        said = await asyncio.to_thread(cli, "subscribe", "/x", "--server", script.url)
    return said, [json.loads(line) for line in said.out.splitlines()]


def push(version: str, *data: Any) -> dict[str, Any]:
    return {"event_name": "/x", "version": version} | ({"data": data[0]} if data else {})


def end(status: int, **more: Any) -> dict[str, Any]:
    return {"event_name": "/x", "status": status, "detail": "over"} | more


@asynchronous
async def test_the_value_and_each_item_and_nothing_else(cli: Cli) -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer([], topic="/x", version="e.1")
        await connection.say(
            {"event_name": "/y", "version": "e.9", "data": 9}, {"event_name": "/x", "data": "an event"}
        )
        await connection.say(push("e.2", 2), push("e.3", None), end(404))

    said, shown = await following(cli, talk)
    assert shown == [[], 2, None]
    assert (said.code, said.err) == (4, "aiorest-ws: 404: over\n")


@asynchronous
async def test_it_comes_back_to_where_it_was_and_says_so(cli: Cli) -> None:
    asked = []

    async def first(connection: Peer) -> None:
        await connection.answer([], topic="/x", version="e.1")
        await connection.say(push("e.2", 2))
        await connection.close(1012, "replaced")

    async def second(connection: Peer) -> None:
        asked.append((await connection.answer(status=206, topic="/x", version="e.3"))["since"])
        await connection.say(push("e.3", 3))
        await connection.close(1012)

    async def third(connection: Peer) -> None:
        asked.append((await connection.answer(["anew"], topic="/x", version="f.1"))["since"])
        await connection.say(end(403))

    said, shown = await following(cli, first, second, third)
    assert (said.code, shown, asked) == (4, [[], 2, 3, ["anew"]], ["e.2", "e.3"])
    lines = said.err.splitlines()
    assert len(lines) == 4
    assert "closed the connection: 1012 replaced: back in " in lines[0]
    assert lines[2:] == [
        "aiorest-ws: this is the value of now; what came in between may be missing",
        "aiorest-ws: 403: over",
    ]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 422])
@asynchronous
async def test_what_is_for_good_ends_it(cli: Cli, status: int) -> None:
    async def at_once(connection: Peer) -> None:
        await connection.answer(status=status, detail="no")

    async def later(connection: Peer) -> None:
        await connection.answer(1, topic="/x", version="e.1.d")
        await connection.say(end(status))

    for talk, shown, detail in ((at_once, [], "no"), (later, [1], "over")):
        said, lines = await following(cli, talk)
        assert (said.code, lines, said.err) == (4, shown, f"aiorest-ws: {status}: {detail}\n")


@pytest.mark.parametrize("status", [409, 429, 500, 503])
@asynchronous
async def test_what_is_not_for_good_does_not(cli: Cli, status: int) -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer(1, topic="/x", version="e.1.d")
        await connection.say(end(status, retry=1))
        await connection.answer(2, topic="/x", version="e.2.d")
        await connection.say(end(404))

    said, shown = await following(cli, talk)
    assert (said.code, shown) == (4, [1, 2])
    assert said.err.startswith(f"aiorest-ws: {status}: over: back in ")


@pytest.mark.parametrize(("status", "code"), [(503, 5), (401, 4)])
@asynchronous
async def test_the_first_connection_is_tried_once(cli: Cli, status: int, code: int) -> None:
    said, shown = await following(cli, status)
    assert (said.code, shown) == (code, [])
    assert f"refuses the connection: {status} refused with {status}" in said.err


@pytest.mark.parametrize("status", [409, 503])
@asynchronous
async def test_a_first_reply_of_an_error_ends_it_too(cli: Cli, status: int) -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer(status=status, detail="busy", retry=10_000)

    said, _ = await following(cli, talk)
    assert (said.code, said.err) == (status // 100, f"aiorest-ws: {status}: busy\n")


@asynchronous
async def test_the_token_goes_with_the_message(cli: Cli) -> None:
    messages = []

    async def talk(connection: Peer) -> None:
        messages.append(await connection.answer(status=404, detail="no"))

    async with peer(talk) as script:
        argv = ("subscribe", "/x", "a=1", "--token", "a.b.c", "--server", script.url)
        assert (await asyncio.to_thread(cli, *argv)).code == 4
    assert (messages[0]["token"], messages[0]["args"]) == ("a.b.c", {"a": "1"})
    assert script.tokens == ["Bearer a.b.c"]


class Allowed(AbstractPermission):
    """Lets everybody in, until it does not."""

    def __init__(self) -> None:
        self.is_open = True

    def check(self, request: Any, handler: Any) -> bool:  # type: ignore[override]
        return self.is_open


@asynchronous
async def test_a_real_server_that_has_enough(cli: Cli) -> None:
    allowed = Allowed()
    router = SimpleRouter()

    @router.get("/plain")
    def plain(request: Any) -> None: ...

    @router.get("/state", live=Live(shared=True), permission_classes=[allowed])
    def state(request: Any, room: str) -> str:
        return room

    async with serving(router) as app:
        url = f"ws://127.0.0.1:{app.addresses[0][1]}"
        said = await asyncio.to_thread(cli, "subscribe", "/plain", "--server", url)
        assert (said.code, said.out) == (4, "")
        assert said.err.startswith("aiorest-ws: 405: ")
        asking = asyncio.ensure_future(asyncio.to_thread(cli, "subscribe", "/state", "room=a", "--server", url))
        connections = app._factories
        await until(lambda: any(each.subscriptions for factory in connections for each in factory.connections))
        allowed.is_open = False
        await app.live.recheck()
        said = await asking
        assert (said.code, said.out) == (4, '"a"\n')
        assert said.err.startswith("aiorest-ws: 403: ")
