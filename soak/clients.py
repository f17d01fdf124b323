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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiorest_ws.auth.token.managers import JSONWebTokenManager
from aiorest_ws.client import AsyncClient, ClientError, ConnectionLost, State, TimedOut
from aiorest_ws.client.wire import Address, Wire
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
LATE = 1.5  # times the wait that it drew, when the next try has to begin
SLACK = 0.05  # seconds besides: a wait may be of none
HANDSHAKE = 3.0  # seconds that a try may take, as the line may be swallowing


class Figures:
    """What came of it."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self.wrong: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.items = self.calls = self.drops = 0
        self.acts: Counter[str] = Counter()
        self.late: list[str] = []
        self.overdue: list[float] = []  # seconds by which each try began later than it should
        self.tries: list[float] = []  # seconds of each that gave a connection, line and server included


class Timed(AsyncClient):
    """A client that takes note of when its tries should have begun, did, and gave a connection.

    A wait is as long as a plain timer for it takes: how late the loop comes to that is not the client's, as all of
    them, the line and the machine share it.
    """

    def __init__(self, url: str, figures: Figures, **options: Any) -> None:
        self._figures = figures
        self._lost = 0.0  # when it went offline
        self._over: float | None = None  # when the timer for its wait had its turn
        self._timer: asyncio.Handle | None = None
        self._began: float | None = None
        super().__init__(url, **options)
        connector = self._link.connector
        address = connector._address
        noted = _Noted(**{name: getattr(address, name) for name in address.__slots__})
        object.__setattr__(noted, "begins", self._begins)
        connector._address = noted

    def on_state(self, state: State) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        self._over = self._timer = None
        if state.status == "open" and self._began is not None:
            self._figures.tries.append(loop.time() - self._began)
        elif state.status == "offline":
            self._figures.drops += 1
            if state.retry_in is not None:
                self._lost = loop.time()
                self._timer = loop.call_at(self._lost + state.retry_in, loop.call_soon, self._is_over)
        super().on_state(state)

    def _is_over(self) -> None:
        self._over = asyncio.get_running_loop().time()

    def _begins(self) -> None:
        self._began = asyncio.get_running_loop().time()
        if self._timer is None:
            return
        took = self._began - self._lost
        wait = took if self._over is None else self._over - self._lost
        self._figures.overdue.append(took - wait)
        if took > LATE * wait + SLACK:
            self._figures.late.append(f"a try began after {took:.3f} s, a wait of {wait:.3f} s was drawn")


class _Noted(Address):
    """An address that says when a connection to it is tried."""

    begins: Callable[[], None]

    async def connect(self, token: str | None) -> Wire:
        self.begins()
        return await super().connect(token)


class User:
    """One client: it follows /numbers, and some of them call."""

    def __init__(self, number: int, url: str, manager: JSONWebTokenManager, figures: Figures) -> None:
        self.number = number
        self.figures = figures
        self.position: tuple[str, int] | None = None  # epoch and number of the last item
        self._unsent: set[str] = set()
        self.api = Timed(
            url,
            figures,
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
        await asyncio.gather(*following)
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
    print(f"late         {len(figures.late)} of {len(figures.overdue)} tries, beyond {LATE} x the wait that was drawn")
    print(f"             begun {_shares(figures.overdue)} behind it; open {_shares(figures.tries)} later")
    print(f"clients      RSS {rss} KiB")
    print(f"wrong        {len(figures.wrong)}\nlost         {len(figures.lost)}\nbehind       {len(behind)}")
    faults = [f"wrong: {text}" for text in figures.wrong[:5]] + [f"lost: {text}" for text in figures.lost[:5]]
    faults += [f"late: {text}" for text in figures.late[:5]]
    if behind:
        faults.append(f"clients {behind[:5]} have not got all")
    if left or sum(figures.outcomes.values()) != figures.calls:
        faults.append(f"{left} calls have no outcome")
    if not figures.items or not figures.drops or figures.outcomes["done"] < 10:
        faults.append("too little happened")
    return faults


def _shares(seconds: list[float]) -> str:
    found = sorted(seconds) or [0.0]
    half, most, last = (1000 * found[min(int(len(found) * share), len(found) - 1)] for share in (0.5, 0.99, 1))
    return f"{half:.0f} ms (p99 {most:.0f}, at most {last:.0f})"
