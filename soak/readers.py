"""The clients of a soak of a log: they come, read, lag, vanish and come back, and count what they got."""

from __future__ import annotations

import asyncio
import random
from itertools import count
from typing import Any

from aiorest_ws.testing.messages import FORMS, form_of, pack, unpack
from soak.member import PATIENCE, Actor, Tally
from tests.serving import BINARY, CLOSE, PING, PONG, TEXT, Client, Frame, HandshakeRefused

__all__ = ("FEED", "Closed", "Reader", "Writer")

FEED = "/feed"
_AGAIN = (200, 206, 304)  # what a SUBSCRIBE may be answered


class Closed(ConnectionError):
    """The server has closed the connection, with `code`."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(f"closed with {frame.close_code} {frame.close_reason}")
        self.code = frame.close_code


class Reader(Actor):
    """One client of the log of the numbers 0, 1, 2, …; on one connection after another, until it is told to stop.

    Its first `data` says how many there are; each push must be the next one.

    next      the number that is to come
    version   what it would go on from
    """

    feed = FEED

    def __init__(self, number: int, address: tuple[str, int], tally: Tally, stop: asyncio.Event, think: float) -> None:
        super().__init__(number, address, tally, stop, think)
        self.form = self.chance.choice(list(FORMS))
        self.next: Any = 0
        self.version: str | None = None
        self._known = 0  # so many came with the first `data`, and may come once more
        self._ids = count(1)
        self._coming: asyncio.Future[Frame] | None = None

    async def run(self) -> None:
        while not self.stop.is_set():
            await self._with_connection(self._live)

    async def finish(self, total: int) -> None:
        """Come back once more, and get what is missing: all of `total`."""
        await self._with_connection(lambda client: self._read_up_to(client, total))
        if self.next != total:
            self.tally.lost.append(f"{self.number}: items from {self.next} of {total}")

    async def _with_connection(self, use: Any) -> None:
        client: Client | None = None
        try:
            client = await Client.connect(self.address)
            self.tally.connections += 1
            await use(client)
        except (OSError, EOFError, AssertionError, HandshakeRefused, TimeoutError) as exc:
            self.tally.wrong.append(f"{self.number}: {type(exc).__name__} {exc}")
            await asyncio.sleep(0.1)
        finally:
            if client is not None:
                await self._leave(client)

    async def _leave(self, client: Client) -> None:
        """End the connection in one of the ways in which it ends."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.wait([self._coming])
            self._coming = None
        how = self.chance.randrange(4)
        if how == 0 and not client.writer.is_closing():
            client.reset()
        elif how == 1:
            client.abort()
        elif how == 2:
            client.send(b"\x03\xe8", CLOSE)
        await client.drop()

    async def _live(self, client: Client) -> None:
        """Read for a while; now and then do not, or subscribe anew."""
        await self._subscribe(client)
        for _ in range(self.chance.randrange(1, 6)):
            act = self.chance.random()
            if act < 0.2:
                await asyncio.sleep(self.chance.expovariate(1 / self.think))  # what comes waits
            elif act < 0.3:
                await self._subscribe(client)
            elif act < 0.4:
                await self._ask(client, "UNSUBSCRIBE")
                await self._subscribe(client)
            await self._read(client, self.chance.expovariate(1 / self.think))
            if self.stop.is_set():
                return

    async def _read(self, client: Client, seconds: float) -> None:
        end = asyncio.get_running_loop().time() + seconds
        while (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                message = await self._next(client, left)
            except TimeoutError:
                return
            if self._take(message):
                await self._subscribe(client)

    async def _read_up_to(self, client: Client, total: int) -> None:
        await self._subscribe(client)
        while self.next < total:
            if self._take(await self._next(client, PATIENCE)):
                await self._subscribe(client)

    async def _subscribe(self, client: Client) -> None:
        """Go on from what is there, whatever that takes."""
        reply = await self._ask(client, "SUBSCRIBE", since=self.version)
        status = reply["status"]
        if status not in _AGAIN:
            self.tally.wrong.append(f"{self.number}: {reply} since {self.version}")
        elif status == 200:
            self.version = reply["version"]
            self.next = max(self.next, reply["data"])
            self._known = self.next
        self.tally.replies += 1

    async def _ask(self, client: Client, verb: str, url: str | None = None, **more: Any) -> dict[str, Any]:
        """Ask, and give the reply; what comes before it is taken."""
        own = next(self._ids)
        parts = {"method": verb, "url": url or self.feed, "id": own} | {
            key: value for key, value in more.items() if value
        }
        payload, is_binary = pack(parts, form_of(self.form))
        client.send(payload, BINARY if is_binary else TEXT)
        self.tally.asked += 1
        while (message := await self._next(client, PATIENCE)).get("id") != own:
            self._take(message)
        return message

    async def _next(self, client: Client, seconds: float) -> dict[str, Any]:
        """Give the next message; what has come in part when the time is over is there the next time."""
        while True:
            self._coming = self._coming or asyncio.ensure_future(client.receive(PATIENCE))
            if not (await asyncio.wait([self._coming], timeout=seconds))[0]:
                raise TimeoutError
            got, self._coming = self._coming.result(), None
            if got.opcode == CLOSE:
                raise Closed(got)
            if got.opcode != PING:
                break
            client.send(got.payload, PONG)
        message, _ = unpack(got.payload)
        assert isinstance(message, dict)
        return message

    def _take(self, message: dict[str, Any]) -> bool:
        """Take a push; True if it is the end."""
        if "status" in message:
            return True
        self.tally.pushes += 1
        item = message["data"]
        if item == self.next:
            self.next += 1
        elif item > self.next:
            self.tally.lost.append(f"{self.number}: items from {self.next} to {item}")
            self.next = item + 1
        elif item >= self._known and not self._is_old(message["version"]):
            self.tally.wrong.append(f"{self.number}: item {item} twice, {self.next} was to come")
        if not self._is_old(message["version"]):
            self.version = message["version"]
        return False

    def _is_old(self, version: str) -> bool:
        """Tell whether an item was asked for before it came, and comes once more."""
        epoch, _, number = (self.version or "").partition(".")
        return version.startswith(f"{epoch}.") and int(version.partition(".")[2]) <= int(number or 0)


class Writer:
    """The client that publishes, a few items at a time."""

    def __init__(self, address: tuple[str, int], tally: Tally, stop: asyncio.Event, think: float) -> None:
        self.address = address
        self.tally = tally
        self.stop = stop
        self.think = think
        self.chance = random.Random(0)
        self.total = 0

    async def run(self) -> None:
        client = await Client.connect(self.address)
        while not self.stop.is_set():
            client.request("POST", FEED, id=1, args={"times": self.chance.choice((1, 1, 2, 3, 20))})
            while (got := await client.receive(PATIENCE)).opcode == PING:
                client.send(got.payload, PONG)
            message, _ = unpack(got.payload)
            self.total = message["data"]
            self.tally.asked += 1
            await asyncio.sleep(self.chance.expovariate(1 / self.think))
        await client.drop()
