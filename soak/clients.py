"""200 clients of `aiorest_ws.client` over a line that is cut, swallows and holds back, before workers that are killed.

Of a log every item comes to each of them, in order and once; every call has an outcome, and those that were not sent
are not done; a token lives for some seconds. `python -m soak --of client --workers 2 --seconds 120`.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aiorest_ws.auth.token.managers import JSONWebTokenManager
from aiorest_ws.client import AsyncClient, ClientError, ConnectionLost, TimedOut
from hold.process import Server, rss_of
from soak.chaos import Chaos
from soak.many import Account, Publisher
from soak.program import WRITERS
from tests.kit.cuts import Line, line_to

__all__ = ("soak_clients",)

CLIENTS = 200
CALLERS = 40  # of them, which ask, too
TOKEN_LIFE = 8  # seconds
PATIENCE = 60.0  # seconds until all must have all
LATE = 1.5  # times the wait that it drew
HANDSHAKE = 3.0  # seconds that a try may take besides, as the line may be swallowing
SLACK = 1.0  # seconds that a busy machine may take


class Figures:
    """What came of it."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self.wrong: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.items = self.calls = self.drops = self.late = 0
        self.acts: Counter[str] = Counter()


class User:
    """One client: it follows /numbers, and some of them call."""

    def __init__(self, number: int, url: str, manager: JSONWebTokenManager, figures: Figures) -> None:
        self.number = number
        self.figures = figures
        self.position: tuple[str, int] | None = None  # epoch and number of the last item
        self._unsent: set[str] = set()
        self.api = AsyncClient(
            url,
            token=lambda: manager.generate({}, sub=f"user {number}", exp=TOKEN_LIFE),
            backoff=(0.2, 2.0),
            ping_after=2.0,
            dead_after=1.0,
            connect_timeout=HANDSHAKE,
        )

    async def follow(self) -> None:
        async for change in self.api.subscribe("/numbers"):
            epoch, _, number = change.version.partition(".")
            before, self.position = self.position, (epoch, int(number))
            if not change.is_item:
                if before is not None:
                    self.figures.lost.append(f"client {self.number}: begins anew at {change.version}, had {before}")
                continue
            assert before is not None
            self.figures.items += 1
            if self.position != (before[0], before[1] + 1):
                kind = self.figures.wrong if self.position <= before else self.figures.lost
                kind.append(f"client {self.number}: {change.version} behind {before}")

    async def watch(self) -> None:
        """Take note of how long it is away, beside how long it wanted to be."""
        since, wait = 0.0, None
        async for state in self.api.statuses():
            now = time.monotonic()
            if wait is not None and now - since > LATE * wait + HANDSHAKE + SLACK:
                self.figures.late += 1
            since, wait = now, state.retry_in
            self.figures.drops += state.status == "offline"

    async def call(self, stop: asyncio.Event) -> None:
        chance = random.Random(self.number)
        for turn in range(1_000_000):
            if stop.is_set():
                return
            name = f"{self.number}-{turn}"
            self.figures.calls += 1
            try:
                if turn % 2:
                    await self.api.get("/pid", type=int, timeout=20.0)
                else:
                    assert await self.api.post("/notes", data=name, timeout=20.0) == name
            except (ConnectionLost, TimedOut) as exc:
                self.figures.outcomes[f"{type(exc).__name__}, may_have_run {exc.may_have_run}"] += 1
                if not exc.may_have_run:
                    self._unsent.add(name)
            except ClientError as exc:
                self.figures.outcomes[f"{type(exc).__name__} {exc}"[:60]] += 1
            else:
                self.figures.outcomes["done"] += 1
            await asyncio.sleep(chance.expovariate(5.0))

    def has(self, number: int) -> bool:
        return self.position is not None and self.position[1] >= number

    def check_unsent(self, begun: set[str]) -> None:
        for name in self._unsent & begun:
            self.figures.wrong.append(f"{name} was said not to have been sent, and was done")


class Weather:
    """What the line does."""

    def __init__(self, line: Line, figures: Figures) -> None:
        self._line = line
        self._figures = figures
        self._chance = random.Random(2)

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await asyncio.sleep(self._chance.uniform(0.5, 3.0))
            act = self._chance.choice((self._cut, self._cut, self._hold, self._swallow))
            self._figures.acts[act.__name__.strip("_")] += 1
            await act()
        self._line.flow()

    async def _cut(self) -> None:
        self._line.cut()

    async def _hold(self) -> None:
        self._line.hold()
        await asyncio.sleep(self._chance.uniform(0.1, 1.0))
        self._line.flow()

    async def _swallow(self) -> None:
        self._line.swallow()
        await asyncio.sleep(self._chance.uniform(1.0, 4.0))
        self._line.cut()  # what was swallowed does not come any more
        self._line.flow()


async def soak_clients(server: Server, options: Any, folder: Path, manager: JSONWebTokenManager) -> list[str]:
    """Run the clients, and give what is wrong."""
    figures, tally, stop = Figures(), Account(), asyncio.Event()
    publishers = [Publisher(number, server.address, tally, stop, options.think) for number in range(WRITERS)]
    async with line_to(server.address) as line:
        users = [User(number, f"ws://127.0.0.1:{line.port}", manager, figures) for number in range(CLIENTS)]
        following = [asyncio.create_task(user.follow()) for user in users]
        watching = [asyncio.create_task(user.watch()) for user in users]
        calling = [asyncio.create_task(user.call(stop)) for user in users[:CALLERS]]
        chaos = Chaos(server, tally, None)
        around = [Weather(line, figures).run(stop), *(each.run() for each in publishers)]
        if options.workers > 1:
            around.append(chaos.run(stop))
        running = [asyncio.create_task(work) for work in around]
        rss = await _wait(running + following + calling, options.seconds)
        stop.set()
        await asyncio.gather(*running)
        await asyncio.gather(*(publisher.finish() for publisher in publishers))
        left = (await asyncio.wait(calling, timeout=PATIENCE))[1]
        total = max((int(version.partition(".")[2]) for version in tally.told.values()), default=0)
        behind = await _caught_up(users, total)
        for user in users:
            await user.api.close()
        await asyncio.gather(*following, *watching)
    begun = set((folder / "begun").read_text().split())
    for user in users:
        user.check_unsent(begun)
    return _verdict(figures, chaos, users, total, behind, len(left), rss)


async def _wait(tasks: list[asyncio.Task[Any]], seconds: float) -> list[int]:
    """Wait; give the memory of this process along the way, in KiB. Raises what one of them fails with."""
    rss = []
    end = time.monotonic() + seconds
    while (rest := end - time.monotonic()) > 0:
        done, _ = await asyncio.wait(tasks, timeout=min(rest, seconds / 12), return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        gc.collect()
        rss.append(int(rss_of()))
    return rss


async def _caught_up(users: list[User], total: int) -> list[int]:
    """Wait until all have all; give who has not."""
    end = time.monotonic() + PATIENCE
    while (behind := [user.number for user in users if not user.has(total)]) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    return behind


def _verdict(
    figures: Figures, chaos: Chaos, users: list[User], total: int, behind: list[int], left: int, rss: list[int]
) -> list[str]:
    """Print the figures, and give what is wrong with them."""
    print(f"done         {dict(figures.acts)} to the line, {dict(chaos.done)} to the workers")
    print(f"items        {total}, {figures.items} told to {len(users)} clients; drops {figures.drops}")
    print(f"calls        {figures.calls}, {left} without an outcome")
    for outcome, times in figures.outcomes.most_common():
        print(f"             {times} {outcome}")
    print(f"late         {figures.late} times back later than {LATE} x the wait that was drawn")
    print(f"clients      RSS {rss} KiB")
    print(f"wrong        {len(figures.wrong)}\nlost         {len(figures.lost)}\nbehind       {len(behind)}")
    faults = [f"wrong: {text}" for text in figures.wrong[:5]] + [f"lost: {text}" for text in figures.lost[:5]]
    if behind:
        faults.append(f"clients {behind[:5]} have not got all")
    if left or sum(figures.outcomes.values()) != figures.calls:
        faults.append(f"{left} calls have no outcome")
    if not figures.items or not figures.drops or figures.outcomes["done"] < 10:
        faults.append("too little happened")
    return faults
