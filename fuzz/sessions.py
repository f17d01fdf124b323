"""Steps of two clients who subscribe, and of whoever changes things → every message that each of them gets, in order.

Time stands still and chance has a seed: the same steps give the same messages, compiled or pure, which takes a process
of its own: what is compiled is subclassed when it is imported.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import random
import subprocess
import sys
from random import Random
from typing import Any

from aiorest_ws import Application, HTTPError, Live, Request, SimpleRouter
from aiorest_ws._speedups import write
from aiorest_ws.realtime.brokers import memory
from aiorest_ws.testing import AsyncTestClient
from fuzz import payloads

__all__ = ("STEPS", "Elsewhere", "outcome", "steps")

STEPS = 40
_LIVE = ("/own/7", "/own/007", "/own/8", "/all", "/all/", "/news", "/later", "/alllater")
_URLS = (*_LIVE * 3, "/plain", "/none", "/own/x", "/own/7?a")
_VERBS = (*["SUBSCRIBE"] * 10, *["UNSUBSCRIBE"] * 3, "PING", "GET", "PUT", "subscribe")
_ODD_ARGS: tuple[Any, ...] = ({"b": None, "a": [1, {"y": 1, "x": 2}]}, {"a": "é" * 200}, [], 7)
_ARGS: tuple[Any, ...] = (*[None] * 20, {}, {"a": 1}, {"a": 1.0}, {"a": "1"}, *_ODD_ARGS)
_NOTHING = "e.0.N0lx8SDQtT2GBWyYCcAaNg"
_SINCE: tuple[Any, ...] = (*[None] * 4, "", "e.0", "e.1", "e.2", "e.0.x", "x.1", "x" * 200, 7, {"a": 1}, _NOTHING)
_IDS: tuple[Any, ...] = (*range(30), "a", "é", None, 1.5, "x" * 300)

Step = list[Any]


def steps(source: Random) -> list[Step]:
    """Give what happens: `[who, what, …]`; bytes are in base64."""
    return [_step(source) for _ in range(STEPS)]


def _step(source: Random) -> Step:
    kind = source.random()
    who = int(source.random() * 2)
    if kind < 0.62:
        payload, is_binary = _message(source)
        return [who, "send", base64.b64encode(payload).decode(), is_binary]
    if kind < 0.72:
        return [who, "turns", 1 + int(source.random() * 3)]
    if kind < 0.82:
        return [who, "changed", source.choice(("/own/7", "/all", "/later", "/alllater", "/own/8"))]
    if kind < 0.92:
        return [who, "publish", source.choice(("/all", "/news", "/news")), source.choice((1, None, "é", {"a": [1.5]}))]
    return [who, source.choice(("let", "recheck", "value", "value", "pause", "resume", "resume"))]


def _message(source: Random) -> tuple[bytes, bool]:
    members = {
        "method": source.choice(_VERBS),
        "url": source.choice(_URLS),
        "id": source.choice(_IDS),
        "args": source.choice(_ARGS),
        "since": source.choice(_SINCE),
        "event_name": source.choice((None, None, "e")),
        "data": 1 if source.random() < 0.03 else None,
        "topic": source.choice(("/own/7", "/news", '/own/7?{"a":1}', 7)) if source.random() < 0.1 else None,
        "refused": True if source.random() < 0.05 else None,
    }
    members = {name: member for name, member in members.items() if member is not None}
    form = int(source.random() * 5)
    if form == 4:
        return write(members, 4), True
    payload = json.dumps(members, ensure_ascii=source.random() < 0.5).encode()
    if source.random() < 0.1:
        payload = payloads.mutant(source, payload)
    if form & 1:
        payload = base64.b64encode(payload)
    is_binary = form >= 2 or not _is_text(payload)
    return payload, is_binary


def _is_text(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Still(asyncio.SelectorEventLoop):
    """A loop in which no time passes."""

    def time(self) -> float:
        return 1.0


class _Gate:
    def process_request(self, request: Any, handler: Any) -> None:
        if request.get_extra("refused"):
            raise HTTPError(403, "refused")


class _World:
    def __init__(self) -> None:
        self.value = 0
        self.door = asyncio.Event()
        router = SimpleRouter(middlewares=[_Gate])
        own, shared = Live(interval=0.0), Live(interval=0.0, shared=True)

        def get(request: Request, *path: Any, a: Any = None, b: Any = None) -> Any:
            return [self.value, a, b]

        async def later(request: Request, a: Any = None) -> Any:
            before = self.value
            await self.door.wait()
            return [before, self.value, a]

        router.get("/own/{id:int}", live=own)(get)
        router.get("/all", live=shared)(get)
        router.get("/later", live=own)(later)
        router.get("/alllater", live=shared)(later)
        router.get("/news", live=Live(mode="log", shared=True, history=3, key="id"))(lambda request: [self.value])
        router.get("/plain")(lambda request: 1)
        router.put("/all", changes=["/all", "/own/7"])(lambda request: self.change())
        self.app = Application(router)

    def change(self) -> None:
        self.value += 1

    def do(self, clients: list[AsyncTestClient], who: int, what: str, *args: Any) -> None:
        live, connection = self.app.live, clients[who].connection
        if what in ("changed", "publish"):
            getattr(live, what)(*args)
        elif what == "let":
            self.door.set()
            self.door = asyncio.Event()
        elif what == "recheck":
            live.recheck()
        elif what == "value":
            self.change()
        elif what == "pause":
            connection.pause_writing()
        else:
            connection.resume_writing()


async def _session(given: list[Step]) -> Any:
    world = _World()
    async with AsyncTestClient(world.app) as one, one.connect() as two:
        clients = [one, two]
        for who, what, *args in given:
            if what == "send":
                payload = base64.b64decode(args[0])
                await clients[who].send(payload if args[1] else payload.decode())
            elif what == "turns":
                await _turns(args[0])
            else:
                world.do(clients, who, what, *args)
        for client in clients:
            client.connection.resume_writing()
        world.door.set()
        await _turns(20)
        got = [
            [(payload.decode("latin-1"), is_binary) for payload, is_binary in each._exchange.unasked]
            for each in clients
        ]
        meter = world.app.live.meter
        counts = [meter.subscriptions, meter.publications, meter.runs, meter.deliveries, sorted(meter.ends.items())]
        return [got, world.app.live.topics(), [each.connection.subscriptions for each in clients], counts]


async def _turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def outcome(given: list[Step]) -> Any:
    """Give everything that can be seen of a session."""
    random.seed(7)  # of when to come back
    setattr(memory, "new_epoch", lambda: "e")  # noqa: B010 (it is nobody's but here)
    with asyncio.Runner(loop_factory=_Still) as runner:
        return json.loads(json.dumps(runner.run(_session(given))))


class Elsewhere:
    """The pure implementation, in a process of its own."""

    def __init__(self) -> None:
        pure = {**os.environ, "AIOREST_WS_NO_EXTENSIONS": "1"}
        pure.pop("AIOREST_WS_REQUIRE_EXTENSIONS", None)
        program = [sys.executable, "-m", "fuzz.sessions"]
        self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=pure, text=True)

    def outcome(self, given: list[Step]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(given), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


def main() -> None:
    """Answer each session on a line of its own."""
    logging.disable(logging.CRITICAL)  # what clients do wrong is what this is about
    for line in sys.stdin:
        print(json.dumps(outcome(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
