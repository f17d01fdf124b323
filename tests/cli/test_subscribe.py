"""`subscribe`: a line per change, through lost connections, until there is no more to come."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aiorest_ws import Live, SimpleRouter
from aiorest_ws.cli.client import Lost, Refused
from aiorest_ws.cli.subscribe import Follower, Turned
from aiorest_ws.permissions import AbstractPermission
from tests.kit.cli import Cli
from tests.serving import asynchronous, serving, until

LOST = Lost("lost")


class Script:
    """A server that answers as it was told: a list of messages for each connection, or an exception instead of one."""

    def __init__(self, *connections: Any) -> None:
        self.connections = list(connections)
        self.asked: list[Any] = []
        self.shown: list[Any] = []
        self.slept: list[float] = []
        self.now = 0.0

    @contextmanager
    def connect(self) -> Iterator[Script]:
        self._messages = self.connections.pop(0)
        if isinstance(self._messages, Exception):
            raise self._messages
        yield self

    def send(self, method: str, url: str, *, args: Any = None, since: Any = None) -> int:
        self.asked.append(since)
        assert (method, url) == ("SUBSCRIBE", "/x")
        return 1

    def reply_to(self, number: int) -> Any:
        return self.receive()

    def receive(self) -> Any:
        message = self._messages.pop(0)
        if isinstance(message, Exception):
            raise message
        if isinstance(message, float):
            self.now += message
            return self.receive()
        return message

    def follow(self) -> Exception:
        """Follow to the end, and give it."""
        follower = Follower(
            self.connect,  # type: ignore[arg-type]
            "/x",
            None,
            self.shown.append,
            sleep=self.slept.append,
            clock=lambda: self.now,
            jitter=lambda low, high: high,
        )
        with pytest.raises((Lost, Refused, Turned)) as caught:
            follower.run()
        assert not self.connections
        return caught.value


def reply(version: str, status: int = 200, **more: Any) -> dict[str, Any]:
    return {"id": 1, "status": status, "topic": "/x", "version": version} | more


def push(version: str, *data: Any) -> dict[str, Any]:
    return {"event_name": "/x", "version": version} | ({"data": data[0]} if data else {})


def end(status: int, **more: Any) -> dict[str, Any]:
    return {"event_name": "/x", "status": status, "detail": "over"} | more


def test_the_value_and_each_change_and_nothing_else() -> None:
    others = [{"event_name": "/y", "version": "e.9", "data": 9}, {"event_name": "/x", "data": "an event"}, {"id": 7}]
    script = Script([reply("e.1", data=None), push("e.2", 2), push("e.3"), *others, push("e.4", 4), end(404)])
    assert str(script.follow()) == "404: over"
    assert script.shown == [None, 2, 4]
    assert script.slept == []


def test_it_comes_back_to_where_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    script = Script(
        [reply("e.1", data=1), push("e.2", 2), LOST],
        [reply("e.5", 206), push("e.3", 3), LOST],
        [reply("e.3", 304), LOST],
        [reply("f.1", data="anew"), LOST],
        [reply("f.1", 304), end(403)],
    )
    assert script.follow().args == ("403: over",)
    assert script.asked == [None, "e.2", "e.3", "e.3", "f.1"]
    assert script.shown == [1, 2, 3, "anew"]
    assert capsys.readouterr().err.count("may be missing") == 1


def test_waits_grow_to_twenty_seconds_and_a_long_life_ends_that() -> None:
    def short() -> list[Any]:
        return [reply("e.1", 304), 29.9, LOST]

    long = [reply("e.1", 304), 30.0, LOST]
    script = Script([reply("e.1", data=1), LOST], *(short() for _ in range(6)), long, short(), Refused(403, "no"))
    assert isinstance(script.follow(), Refused)
    assert script.slept == [1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0, 1.0, 2.0]


def test_what_the_server_asks_for_is_waited_besides() -> None:
    script = Script([reply("e.1", data=1), end(503, retry=1500)], [reply("e.1", 304), end(405)])
    script.follow()
    assert script.slept == [1.0 + 1.5]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 422])
def test_what_is_for_good_ends_it(status: int) -> None:
    for connections in ([end(status) | {"id": 1}], [reply("e.1", data=1), end(status)]):
        exc = Script(connections).follow()
        assert isinstance(exc, Turned)
        assert exc.code == 4


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_what_is_not_for_good_does_not(status: int) -> None:
    script = Script(
        [reply("e.1", data=1), end(status)],
        [end(status) | {"id": 1}],
        Refused(503, "busy"),
        [reply("e.1", 304), end(404)],
    )
    assert str(script.follow()) == "404: over"
    assert len(script.slept) == 3


@pytest.mark.parametrize(("first", "code"), [(LOST, 3), (Refused(503, "busy"), 5), (Refused(401, "who"), 4)])
def test_the_first_connection_is_tried_once(first: Exception, code: int) -> None:
    exc = Script(first).follow()
    assert exc.code == code  # type: ignore[attr-defined]


def test_a_first_reply_of_an_error_ends_it_too() -> None:
    exc = Script([end(503) | {"id": 1}]).follow()
    assert exc.code == 5  # type: ignore[attr-defined]


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
