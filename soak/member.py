"""The clients of a soak: what they ask, how they check what comes back, and how the hostile ones behave."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import struct
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.serving import BINARY, CLOSE, PING, PONG, TEXT, Client, Frame, HandshakeRefused, dump

__all__ = ("Actor", "Member", "Question", "Tally")

PATIENCE = 30.0  # seconds that a reply may take
FAILED = "A server error occurred."
NOT_FOUND = "For URL, typed in request, handler not specified."


@dataclass
class Tally:
    """What all clients have seen."""

    asked: int = 0
    replies: int = 0
    pushes: int = 0
    connections: int = 0
    hostile: int = 0
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


@dataclass
class Question:
    """A request, and what the reply has to hold."""

    method: str
    url: str
    status: int = 200
    data: Any = None
    detail: Any = None
    pushes: int = 0
    rest: dict[str, Any] = field(default_factory=dict)


def questions(nonce: str, chance: random.Random) -> Question:
    """Make up a request that only `nonce` answers."""
    kind = chance.choices(range(len(_KINDS)), _WEIGHTS)[0]
    return _KINDS[kind](nonce, chance)


def _echo(nonce: str, chance: random.Random) -> Question:
    size = chance.choice((0, 10, 100, 100, 1000, 1000, 5000, 70_000))
    data: Any = {"nonce": nonce, "ä": chance.choice((None, 1.5, True, [])), "filling": "x" * chance.randrange(size + 1)}
    return Question("POST", chance.choice(("/echo", "/echo-async")), data=data, rest={"data": data})


def _hello(nonce: str, chance: random.Random) -> Question:
    return Question("GET", chance.choice(("/hello", "/hello-async")), data="Hello, world!")


def _sleep(nonce: str, chance: random.Random) -> Question:
    args = {"seconds": round(chance.uniform(0, 0.03), 4)}
    return Question("POST", "/sleep", data=nonce, rest={"data": nonce, "args": args})


def _params(nonce: str, chance: random.Random) -> Question:
    shelf, item = (str(chance.randrange(1000)) for _ in range(2))
    data = {"shelf": shelf, "item": item, "note": nonce}
    return Question("GET", f"/shelves/{shelf}/items/{item}", data=data, rest={"args": {"note": nonce}})


def _error(nonce: str, chance: random.Random) -> Question:
    when, status, detail = chance.choice(
        [("now", 500, FAILED), ("later", 500, FAILED), ("teapot", 418, "I'm a teapot.")]
    )
    return Question("POST", "/raise", status, detail=detail, rest={"data": nonce, "args": {"when": when}})


def _unknown(nonce: str, chance: random.Random) -> Question:
    return Question("GET", f"/nowhere/{nonce}", 404, detail=NOT_FOUND)


def _push(nonce: str, chance: random.Random) -> Question:
    times = chance.randrange(4)
    rest = {"data": nonce, "args": {"times": times}}
    return Question("POST", "/push", data=nonce, pushes=times, rest=rest)


_KINDS: list[Callable[[str, random.Random], Question]] = [_echo, _hello, _sleep, _params, _error, _unknown, _push]
_WEIGHTS = [8, 3, 4, 4, 2, 1, 1]


class Exchange:
    """One connection: what was asked, and what is still to come."""

    def __init__(self, client: Client, name: str, tally: Tally, chance: random.Random, *, ids: bool, form: str) -> None:
        self.client = client
        self.tally = tally
        self._name = name
        self._chance = chance
        self._ids = ids
        self._opcode = BINARY if form.startswith("binary") else TEXT
        self._base64 = form.endswith("base64")
        self._numbers = count()
        self._in_order: deque[tuple[str, Question]] = deque()
        self._by_id: dict[str, tuple[str, Question]] = {}
        self._pushes: dict[str, list[int]] = {}

    @property
    def waiting(self) -> list[str]:
        return [nonce for nonce, _ in [*self._in_order, *self._by_id.values()]]

    def ask(self, how_many: int) -> None:
        """Send requests, in one write."""
        frames = []
        for _ in range(how_many):
            nonce = f"{self._name}.{next(self._numbers)}"
            question = questions(nonce, self._chance)
            if question.pushes and not self._ids:
                question = _hello(nonce, self._chance)  # pushes are for clients that can tell them from replies
            frames.append(self._message(nonce, question))
            self.tally.asked += 1
        for payload in frames:
            self.client.send(payload, self._opcode)

    def _message(self, nonce: str, question: Question) -> bytes:
        envelope: dict[str, Any] = {"method": question.method, "url": question.url, **question.rest}
        if self._ids:
            envelope["id"] = nonce
            self._by_id[nonce] = nonce, question
            if question.pushes:
                self._pushes[nonce] = list(range(question.pushes))
        else:
            envelope["event_name"] = nonce
            self._in_order.append((nonce, question))
        payload = dump(envelope)
        return base64.b64encode(payload) if self._base64 else payload

    async def drain(self) -> None:
        await asyncio.wait_for(self.client.writer.drain(), PATIENCE)

    async def take(self, down_to: int = 0) -> None:
        """Check replies until no more than `down_to` are waited for."""
        while len(self._in_order) + len(self._by_id) > down_to:
            got = await self.client.receive(PATIENCE)
            if got.opcode == PING:
                self.client.send(got.payload, PONG)
            elif got.opcode == CLOSE:
                raise ConnectionError(f"closed with {got.close_code} {got.close_reason}")
            elif got.opcode != PONG:
                self._check(got)
        if not down_to and any(self._pushes.values()):
            self.tally.lost += [f"push {nonce}" for nonce, left in self._pushes.items() if left]
            self._pushes.clear()

    async def leave(self) -> None:
        """Do the closing handshake. Nothing but a ping may come before the server's close frame."""
        self.client.send(struct.pack("!H", 1000), CLOSE)
        while (got := await self.client.receive(PATIENCE)).opcode == PING:
            pass
        if got.opcode != CLOSE or got.close_code != 1000:
            self.tally.wrong.append(f"{self._name}: expected to be closed with 1000, got {got}")
        await self.client.eof()
        await self.client.drop()

    def _check(self, got: Frame) -> None:
        try:
            fault = self._judge(got)
        except ValueError as exc:
            fault = repr(exc)
        if fault:
            self.tally.wrong.append(f"{self._name}: {fault}, got {got.payload[:300]!r}")

    def _judge(self, got: Frame) -> str | None:
        """Tell what is wrong with a frame, and take its request from those that wait."""
        looks_pushed = got.opcode == TEXT and got.payload.startswith(b'{"event_name":"pushed"')
        if looks_pushed and self._ids:
            return self._judge_push(json.loads(got.payload))
        if got.opcode != self._opcode:
            return f"expected opcode {self._opcode}, got {got.opcode}"
        if got.payload.startswith(b"{") == self._base64:
            return "another form than the request"
        reply = json.loads(base64.b64decode(got.payload, validate=True) if self._base64 else got.payload)
        if self._ids:
            if reply.get("id") not in self._by_id:
                return "no such id, or for the second time"
            nonce, question = self._by_id.pop(reply["id"])
            expected: dict[str, Any] = {"id": nonce, "status": question.status}
        else:
            nonce, question = self._in_order.popleft()
            expected = {"event_name": nonce}
        if question.detail is None:
            expected["data"] = question.data
        else:
            expected["detail"] = question.detail
            if question.detail is NOT_FOUND and self._ids:
                expected["detail"] = f"no route {question.url}"
        self.tally.replies += 1
        return None if reply == expected else f"expected {str(expected)[:300]}"

    def _judge_push(self, event: Any) -> str | None:
        self.tally.pushes += 1
        left = self._pushes.get(event["data"]["nonce"], [])
        if not left or left.pop(0) != event["data"]["number"]:
            return "a push out of turn"
        if not left:
            del self._pushes[event["data"]["nonce"]]
        return None


class Actor:
    """One that acts, on one connection after another, until told to stop.

    think     seconds, about, between two things that it does
    chance    its own, so that a run can be repeated
    """

    def __init__(self, number: int, address: Any, tally: Any, stop: asyncio.Event, think: float) -> None:
        self.number = number
        self.address = address
        self.tally = tally
        self.stop = stop
        self.think = think
        self.chance = random.Random(number)


class Member(Actor):
    """A well-behaved client: one connection after another, until told to stop."""

    def __init__(self, number: int, address: tuple[str, int], tally: Tally, stop: asyncio.Event, think: float) -> None:
        super().__init__(number, address, tally, stop, think)
        self.connections = count()

    async def run(self) -> None:
        while not self.stop.is_set():
            await self.live()

    async def live(self) -> None:
        """Connect, ask, check, leave."""
        # One in three stays for the whole soak.
        rounds: Iterable[int] = count() if self.number % 3 == 0 else range(self.chance.randrange(5, 200))
        exchange: Exchange | None = None
        try:
            exchange = await self.connect()
            deep = self.chance.choice((1, 1, 2, 8, 16, 40))  # requests in a write
            for _ in rounds:
                exchange.ask(self.chance.randint(1, deep))
                await exchange.drain()
                await exchange.take(self.chance.randrange(deep))
                if self.stop.is_set():
                    break
                await asyncio.sleep(self.chance.expovariate(1 / self.think))
            await exchange.take()
            await exchange.leave()
        except (OSError, EOFError, AssertionError, HandshakeRefused) as exc:
            waiting = exchange.waiting if exchange is not None else []
            self.tally.lost += waiting or [f"connection {self.number}"]
            self.tally.wrong.append(f"{self.number}: {type(exc).__name__} {exc}, {len(waiting)} in flight")
            if exchange is not None:
                exchange.client.abort()
            await asyncio.sleep(0.1)

    async def connect(self) -> Exchange:
        client = await Client.connect(self.address)
        self.tally.connections += 1
        name = f"{self.number}.{next(self.connections)}"
        form = self.chance.choice(("text-json", "text-base64", "binary-json", "binary-base64"))
        return Exchange(client, name, self.tally, self.chance, ids=self.chance.random() < 0.5, form=form)
