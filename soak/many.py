"""Clients of several workers, some of which are killed: every item of a log is counted, and every request.

A reply may be missing where the process was killed that had the request; and of one that had not begun when its worker
was replaced, which closes with 1012. Everything else is a fault.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from soak.member import PATIENCE, Actor, Tally
from soak.program import WRITERS
from soak.readers import Closed, Reader
from tests.serving import CLOSE, PING, PONG, Client, HandshakeRefused

__all__ = ("Account", "Asker", "Follower", "Publisher")

FEED = "/numbers"
_GOODBYES = (1001, 1012)
_RESET = 1.0  # seconds, about: who connects when a worker is killed may be in its queue
_LATER = 0.05  # seconds to the next try

Item = tuple[int, int]  # number of the writer, and of its item


@dataclass
class Account(Tally):
    """What all clients have seen, and what was done to what serves them.

    serving     processes that have answered
    killed      processes, and when, by `time.monotonic`
    told        items of which the writer has a version
    seen        version → item, as anybody has had it
    unbegun     notes without a reply whose connection was closed in order
    outcomes    what became of a SUBSCRIBE, a subscription, a connection, a publication: how often
    """

    serving: set[int] = field(default_factory=set)
    killed: dict[int, float] = field(default_factory=dict)
    told: dict[Item, str] = field(default_factory=dict)
    seen: dict[str, Item] = field(default_factory=dict)
    unbegun: set[str] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)

    def has(self, version: str, item: Item) -> None:
        """Take note of a version; whoever sees it sees the same."""
        if self.seen.setdefault(version, item) != item:
            self.wrong.append(f"{version} is {item} for one, {self.seen[version]} for another")

    def ended(self, who: str, pid: int | None, exc: Exception, began: float) -> None:
        """Judge how a connection ended that was begun at `began` and served by `pid`, if that is known."""
        if isinstance(exc, Leaving):
            self.outcomes["a worker that drained"] += 1
        elif isinstance(exc, Closed) and exc.code in _GOODBYES:
            self.outcomes[f"closed {exc.code}"] += 1
        elif pid in self.killed:
            self.outcomes["killed"] += 1
        elif pid is None and isinstance(exc, OSError | EOFError) and self._was_any_killed_since(began - _RESET):
            self.outcomes["killed before it was served"] += 1
        else:
            self.wrong.append(f"{who}: {type(exc).__name__} {exc} at process {pid}")

    def _was_any_killed_since(self, moment: float) -> bool:
        return any(at >= moment for at in self.killed.values())

    def finish(self, begun: Path) -> None:
        """Find items that are two, and requests that began and have no reply."""
        for item, version in self.told.items():
            self.has(version, item)
        for item, times in Counter(self.seen.values()).items():
            if times > 1:
                versions = [version for version, seen in self.seen.items() if seen == item]
                self.wrong.append(f"{item} was published twice: {versions}")
        both = self.unbegun.intersection(begun.read_text().split())
        self.lost += [f"{note} began, and has no reply" for note in sorted(both)]


class Leaving(ConnectionError):
    """The worker drains: it refuses everything with 503."""


def _pid_in(reply: dict[str, Any]) -> int:
    if reply["status"] == 503:
        raise Leaving
    pid: int = reply["data"]
    return pid


class Follower(Reader):
    """A reader of the items of several writers: each comes once, and in order, unless nobody knows that it was told.

    next       of each writer, the number that is to come
    missing    numbers that were left out, by writer: there must be none that was told
    """

    tally: Account
    feed = FEED

    def __init__(self, number: int, address: Any, tally: Account, stop: asyncio.Event, think: float) -> None:
        super().__init__(number, address, tally, stop, think)
        self.next: list[int] = [1] * WRITERS
        self.missing: list[set[int]] = [set() for _ in range(WRITERS)]
        self._given = [0] * WRITERS  # as the last 200 said
        self._at = ("", 0)  # what came last on this connection: the next is one more
        self._pid: int | None = None

    async def finish(self, total: Any) -> None:
        """Come back until all is there that was told; `total` is the last item of each writer."""
        end = time.monotonic() + PATIENCE
        while (late := self._late(total)) and time.monotonic() < end:
            await self._with_connection(lambda client: self._read_up_to(client, total))
        self.tally.lost += [f"{self.number}: items of {writer} from {self.next[writer]} on" for writer in late]
        for writer, numbers in enumerate(self.missing):
            lost = sorted(number for number in numbers if (writer, number) in self.tally.told)
            if lost:
                self.tally.lost.append(f"{self.number}: items {lost[:10]} of {writer}")

    def _late(self, total: list[int]) -> list[int]:
        return [writer for writer in range(WRITERS) if self.next[writer] <= total[writer]]

    async def _with_connection(self, use: Any) -> None:
        self._pid, client, began = None, None, time.monotonic()
        self._at = ("", 0)
        try:
            client = await Client.connect(self.address)
            self.tally.connections += 1
            self._pid = _pid_in(await self._ask(client, "GET", url="/pid"))
            self.tally.serving.add(self._pid)
            await use(client)
        except (OSError, EOFError, AssertionError, HandshakeRefused, TimeoutError) as exc:
            self.tally.ended(f"reader {self.number}", self._pid, exc, began)
            await asyncio.sleep(_LATER)
        finally:
            if client is not None:
                await self._leave(client)

    async def _read_up_to(self, client: Client, total: Any) -> None:
        await self._subscribe(client)
        while self._late(total):
            if self._take(await self._next(client, PATIENCE)):
                await self._subscribe(client)

    async def _subscribe(self, client: Client) -> None:
        while True:
            since = self.version
            reply = await self._ask(client, "SUBSCRIBE", since=since)
            status = reply["status"]
            self.tally.outcomes[f"SUBSCRIBE {status}"] += 1
            if status != 503:
                break
            await asyncio.sleep(_LATER)  # the broker is away, or this worker leaves
        if status == 200:
            self.version = reply["version"]
            self._begin_anew(reply["data"])
            self._at = self._parts(reply["version"])
        elif status in (206, 304) and since is not None:
            epoch, at = self._parts(since)
            if self._at[0] != epoch or self._at[1] < at:  # what had come before the reply does not come again
                self._at = epoch, at
        else:
            self.tally.wrong.append(f"{self.number}: {reply} since {since}")

    def _begin_anew(self, data: list[int]) -> None:
        """Forget what there was: this is the beginning, all behind it comes."""
        self._given = data
        self.next = [last + 1 for last in data]
        self.missing = [set() for _ in data]

    def _take(self, message: dict[str, Any]) -> bool:
        if "status" in message:
            self.tally.outcomes[f"ended {message['status']}"] += 1
            return True
        if "id" in message:
            self.tally.wrong.append(f"{self.number}: a reply to nothing: {message}")
            return False
        self.tally.pushes += 1
        version, (writer, number) = message["version"], message["data"]
        self.tally.has(version, (writer, number))
        epoch, at = self._parts(version)
        if (epoch, at - 1) != self._at:
            self.tally.lost.append(f"{self.number}: {version} behind {self._at}")
        self._at = epoch, at
        if not self._is_old(version):
            self._count(writer, number)
            self.version = version
        return False

    def _count(self, writer: int, number: int) -> None:
        """Count an item that is new."""
        expected = self.next[writer]
        if number >= expected:
            self.missing[writer].update(range(expected, number))
            self.next[writer] = number + 1
        elif number in self.missing[writer]:
            self.missing[writer].remove(number)  # its writer's worker was killed meanwhile
        elif number > self._given[writer]:
            self.tally.wrong.append(f"{self.number}: item {number} of {writer} twice, {expected} was to come")

    def _parts(self, version: str) -> tuple[str, int]:
        epoch, _, number = version.partition(".")
        return epoch, int(number)


class _Caller(Actor):
    """A client that calls, on one connection after another, and knows who serves it."""

    def __init__(self, number: int, address: Any, tally: Account, stop: asyncio.Event, think: float) -> None:
        super().__init__(number, address, tally, stop, think)
        self._ids = count(1)

    async def run(self) -> None:
        while not self.stop.is_set():
            await self.with_connection(self.live)

    async def live(self, client: Client) -> None:
        raise NotImplementedError

    async def with_connection(self, use: Any) -> None:
        pid, client, began = None, None, time.monotonic()
        try:
            client = await Client.connect(self.address)
            self.tally.connections += 1
            pid = _pid_in(await self.ask(client, "GET", "/pid"))
            self.tally.serving.add(pid)
            await use(client)
        except (OSError, EOFError, AssertionError, HandshakeRefused, TimeoutError) as exc:
            self.tally.ended(f"{type(self).__name__} {self.number}", pid, exc, began)
            await asyncio.sleep(_LATER)
        finally:
            if client is not None:
                await client.drop()

    async def ask(self, client: Client, verb: str, url: str, **more: Any) -> dict[str, Any]:
        own = self.send(client, verb, url, **more)
        reply = await self.receive(client)
        assert reply["id"] == own
        return reply

    def send(self, client: Client, verb: str, url: str, **more: Any) -> int:
        own = next(self._ids)
        client.request(verb, url, id=own, **more)
        self.tally.asked += 1
        return own

    async def receive(self, client: Client) -> dict[str, Any]:
        while (got := await client.receive(PATIENCE)).opcode == PING:
            client.send(got.payload, PONG)
        if got.opcode == CLOSE:
            client.send(got.payload[:2], CLOSE)
            raise Closed(got)
        self.tally.replies += 1
        reply: dict[str, Any] = json.loads(got.payload)
        return reply


class Publisher(_Caller):
    """Publishes one item after another, and knows which of them have been told."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.last = 0
        self.total = 0  # the last that was told

    async def live(self, client: Client) -> None:
        while not self.stop.is_set():
            await self.publish(client)
            await asyncio.sleep(self.chance.expovariate(1 / self.think))

    async def publish(self, client: Client) -> None:
        self.last += 1
        number = self.last
        reply = await self.ask(client, "POST", FEED, args={"writer": self.number, "number": number})
        self.tally.outcomes[f"publish {reply['status']}"] += 1
        if reply["status"] == 200:
            self.tally.told[self.number, number] = reply["data"]
            self.total = number
        elif reply["status"] == 503:
            await asyncio.sleep(_LATER)
        else:
            self.tally.wrong.append(f"publisher {self.number}: {reply}")

    async def finish(self) -> None:
        """Publish an item more: behind it nothing comes."""
        before, end = self.total, time.monotonic() + PATIENCE
        while self.total == before and time.monotonic() < end:
            await self.with_connection(self.publish)
        if self.total == before:
            self.tally.wrong.append(f"publisher {self.number} publishes nothing any more")


class Asker(_Caller):
    """Keeps some requests on their way, and leaves when all have their replies."""

    def __init__(self, number: int, address: Any, tally: Account, stop: asyncio.Event, think: float) -> None:
        super().__init__(number, address, tally, stop, think)
        self._window = self.chance.choice((1, 4, 16))

    async def live(self, client: Client) -> None:
        waiting: dict[int, str] = {}
        left = self.chance.randrange(50, 2000)
        try:
            while waiting or left:
                while left and len(waiting) < self._window:
                    left = 0 if self.stop.is_set() else left - 1
                    self._note(client, waiting)
                self._take(await self.receive(client), waiting)
        except Closed:
            self.tally.unbegun.update(waiting.values())
            self.tally.outcomes["requests that were not begun"] += len(waiting)
            raise

    def _note(self, client: Client, waiting: dict[int, str]) -> None:
        seconds = self.chance.choice((0, 0, self.chance.uniform(0, self.think)))
        note = f"{self.number}.{self.tally.asked}"
        waiting[self.send(client, "POST", "/notes", data=note, args={"seconds": seconds})] = note

    def _take(self, reply: dict[str, Any], waiting: dict[int, str]) -> None:
        note = waiting.pop(reply["id"])
        if reply["status"] == 503:  # the worker leaves
            self.tally.outcomes["requests refused with 503"] += 1
            self.tally.unbegun.add(note)
        elif (reply["status"], reply["data"]) != (200, note):
            self.tally.wrong.append(f"asker {self.number}: {reply} to {note}")
