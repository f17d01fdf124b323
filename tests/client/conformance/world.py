"""What a scenario happens to: a server, and a line to it that is cut, holds back and swallows.

    python -m tests.client.conformance.world

reads commands from stdin, one JSON object a line, and answers each with one: what it gives, or {"error": "…"}. First
comes {"do": "begin"}, which makes a world and gives its url; a later one makes another in its place. README.md beside
this has all of them.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

from aiorest_ws import Application, HTTPError, Live, SimpleRouter
from aiorest_ws.auth.token.managers import JSONWebTokenManager
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.permissions import AbstractPermission
from tests.kit.cuts import Line, line_to
from tests.serving import factory_of

__all__ = ("World", "a_world")

HISTORY = 5
PATIENCE = 10.0  # seconds; the end of a scenario that hangs


class Members(AbstractPermission):
    """Lets everybody in, until it is told not to."""

    def __init__(self) -> None:
        self.is_open = True
        self.looks = 0  # so often somebody was looked at

    def check(self, request: Any, handler: Any) -> bool:  # type: ignore[override]
        self.looks += 1
        return self.is_open


class Tokens(JSONWebTokenMiddleware):
    """Takes back the first token that was given, once it is told to."""

    has_revoked = False

    def is_revoked(self, payload: dict[str, Any]) -> bool:
        return self.has_revoked and payload["number"] == 1


def who(request: Any) -> dict[str, Any]:
    return {"id": "somebody"}


class World:
    """See the module. Each public method is a command."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.value: Any = 1
        self._items: deque[dict[str, int]] = deque(maxlen=3)
        self._numbers = count(1)
        self._members = Members()
        self._tokens = Tokens(JSONWebTokenManager(secret_key=secrets.token_bytes(32)), grace=0)
        self._given = count(1)
        self._refusals: deque[int] = deque()
        self._gates: dict[str, asyncio.Event] = {}
        self._waiting: Counter[str] = Counter()
        self._paid = 0
        self._pays = 0
        self._changed = asyncio.Event()
        self._app: Application | None = None
        self._connections = 0
        self._port = 0

    # Its server

    async def open(self) -> None:
        app = self._app = Application(
            router=self._router(),
            middlewares=[self._tokens],
            on_connect=self._judge,
            idempotency=lambda request: "everybody",
            port=self._port,
            shutdown_timeout=0.1,
        )
        await app.start()
        self.line.target = app.addresses[0]
        self._port = app.addresses[0][1]

    async def close(self) -> None:
        if self._app is not None:
            await self._app.stop()
            self._app = None

    async def _judge(self, connection: Any) -> None:
        if self._refusals:
            raise ConnectionRefused(self._refusals.popleft())
        self._connections += 1
        self._turn()

    def _router(self) -> SimpleRouter:
        router = SimpleRouter()

        @router.get("/value", live=Live(shared=True, interval=0, presence=who), permission_classes=[self._members])
        def value(request: Any) -> Any:
            return self.value

        @router.put("/value", changes=["/value"])
        def change(request: Any) -> None:
            self.value = request.data

        @router.get("/log", live=Live(mode="log", shared=True, key="n", history=HISTORY, interval=0))
        def log(request: Any) -> list[dict[str, int]]:
            return list(self._items)

        @router.get("/me", auth_required=True)
        def me(request: Any) -> str:
            return str(request.user.id)

        @router.get("/mine", live=True, auth_required=True)
        def mine(request: Any) -> str:
            return str(request.user.id)

        @router.get("/plain")
        def plain(request: Any) -> str:
            return "plain"

        @router.get("/echo")
        def echo(request: Any, **args: Any) -> dict[str, Any]:
            return {"args": args, "data": request.data}

        @router.get("/fails/{status:int}")
        def fails(request: Any, status: int) -> None:
            raise HTTPError(status, {"why": status})

        @router.route("/wait/{name}", ["GET", "POST"])
        async def wait(request: Any, name: str) -> str:
            return await self._wait(name)

        @router.post("/pay/{name}")
        async def pay(request: Any, name: str) -> int:
            self._pays += 1
            self._paid += request.data
            await self._wait(name)
            return self._paid

        @router.post("/news")
        def news(request: Any) -> None:
            request.connection.send_event("news", request.data)

        return router

    async def _wait(self, name: str) -> str:
        self._waiting[name] += 1
        self._turn()
        await self._gates.setdefault(name, asyncio.Event()).wait()
        return name

    def _turn(self) -> None:
        self._changed.set()

    # Commands: what is done to the line

    async def cut(self) -> None:
        """End all connections without a word."""
        self.line.cut()

    async def away(self) -> None:
        """End all connections, and let none be made until `flow`."""
        self.line.hold()
        self.line.cut()

    async def hold(self) -> None:
        """Hold back what goes over the line, until `flow`."""
        self.line.hold()

    async def swallow(self) -> None:
        """Lose what goes over the line, until `flow`."""
        self.line.swallow()

    async def flow(self) -> None:
        self.line.flow()

    # Commands: what the server does

    async def set(self, value: Any) -> None:
        """Change what /value gives."""
        self.value = value
        assert self._app is not None
        await self._app.live.changed("/value")

    async def add(self, times: int = 1) -> None:
        """Publish the next items of /log: {"n": 1}, {"n": 2} …"""
        assert self._app is not None
        for _ in range(times):
            item = {"n": next(self._numbers)}
            self._items.append(item)
            await self._app.live.publish("/log", item)

    async def forbid(self) -> None:
        """Let nobody GET /value any more."""
        self._members.is_open = False
        assert self._app is not None
        await self._app.live.recheck("/value")

    async def release(self, name: str) -> None:
        """Let those go on who wait at /wait/name or /pay/name, now and later."""
        self._gates.setdefault(name, asyncio.Event()).set()

    async def restart(self) -> None:
        """Stop the server as one stops it, and start it again: with the same values, and other epochs."""
        await self.close()
        await self.open()

    async def shut(self, code: int) -> None:
        """Close all connections with a code."""
        for connection in self._of_all():
            connection.close(code, "closed by the scenario")

    async def refuse(self, *statuses: int) -> None:
        """Refuse the next handshakes with these."""
        self._refusals.extend(statuses)

    async def token(self, sub: str, exp: int = 300) -> str:
        """Give a token of a user that is valid for so many seconds."""
        given: str = self._tokens.manager.generate({"number": next(self._given)}, sub=sub, exp=exp)
        return given

    async def revoke(self) -> None:
        """Take back the first token that was given; a connection that was opened with it may go on with another."""
        self._tokens.has_revoked, self._tokens.grace = True, 60

    async def until(self, **wanted: int) -> dict[str, int]:
        """Wait until `seen` has at least what is wanted, of `subscriptions` just so many."""
        async with asyncio.timeout(PATIENCE):
            while not self._has(wanted):
                self._changed.clear()
                try:
                    async with asyncio.timeout(0.01):  # the server tells nobody of its subscriptions
                        await self._changed.wait()
                except TimeoutError:
                    pass
        return await self.seen()

    def _has(self, wanted: dict[str, int]) -> bool:
        seen = self._seen()
        return all(
            seen.get(name, 0) == least if name == "subscriptions" else seen.get(name, 0) >= least
            for name, least in wanted.items()
        )

    async def seen(self) -> dict[str, int]:
        """Give what it saw: `connections`, `lines`, `looks`, `pays` so far, `subscriptions` now, and who came where."""
        return self._seen()

    def _seen(self) -> dict[str, int]:
        subscriptions = sum(len(each.subscriptions) for each in self._of_all())
        return {
            "connections": self._connections,
            "lines": self.line.connections,
            "subscriptions": subscriptions,
            "looks": self._members.looks,
            "pays": self._pays,
            **self._waiting,
        }

    def _of_all(self) -> list[Any]:
        return [] if self._app is None else list(factory_of(self._app).connections)


COMMANDS = tuple(name for name in vars(World) if not name.startswith("_") and name not in ("open", "close"))


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    async with line_to(("127.0.0.1", 0)) as line:
        world = World(line)
        await world.open()
        try:
            yield world
        finally:
            line.flow()
            line.cut()
            await world.close()


async def obey(world: World, command: dict[str, Any]) -> Any:
    """Do a command. Raises ValueError for what is none."""
    given = dict(command)
    name = given.pop("do", None)
    if name not in COMMANDS:
        raise ValueError(f"expected one of {', '.join(COMMANDS)}, got {name!r}")
    return await getattr(world, name)(*given.pop("all", ()), **given)


async def main() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with AsyncExitStack() as stack:
        world: World | None = None
        while line := await reader.readline():
            try:
                command = json.loads(line)
                if command.get("do") == "begin":
                    await stack.aclose()
                    world = await stack.enter_async_context(a_world())
                    given: Any = {"url": f"ws://127.0.0.1:{world.line.port}"}
                elif world is None:
                    raise ValueError('the first command is {"do": "begin"}')
                else:
                    given = await obey(world, command)
            except Exception as exc:  # whoever said it is told, and may say something else
                print(json.dumps({"error": f"{type(exc).__name__}: {exc}"}), flush=True)
            else:
                print(json.dumps({"gives": given}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
