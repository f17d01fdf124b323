"""What is done to several workers and their broker while a soak goes on: kills, replacements, in no order."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from hold.process import Server
from soak.many import Account

__all__ = ("Chaos", "workers_of")

_PAUSE = 4.0  # seconds between two acts, about


class Chaos:
    """Kills workers, replaces all of them, kills the broker and starts it anew; counts what it did.

    broker    a server of `tests.kit.valkeys`, None where the hub is the broker
    """

    def __init__(self, server: Server, tally: Account, broker: Any) -> None:
        self.server = server
        self.tally = tally
        self.broker = broker
        self.done: Counter[str] = Counter()
        self.most = 0  # processes of workers at one time
        self._chance = random.Random(1)

    async def run(self, stop: asyncio.Event) -> None:
        acts = [self._kill, self._kill, self._hang_up] + ([self._lose_broker] if self.broker else [])
        while not stop.is_set():
            await asyncio.sleep(self._chance.uniform(0.5, 1.5) * _PAUSE)
            self.most = max(self.most, len(workers_of(self.server.pid)))
            await self._chance.choice(acts)()

    async def _kill(self) -> None:
        """Kill a worker, one that starts too, but not the last that serves: somebody must be there to connect to."""
        there = workers_of(self.server.pid)
        serving = self.tally.serving.intersection(there)
        victim = self._chance.choice(there)
        if not serving - {victim}:
            return
        self.tally.killed[victim] = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        self.done["SIGKILL"] += 1

    async def _hang_up(self) -> None:
        os.kill(self.server.pid, signal.SIGHUP)
        self.done["SIGHUP"] += 1

    async def _lose_broker(self) -> None:
        self.done["broker killed"] += 1
        await asyncio.to_thread(self.broker.kill)
        await asyncio.sleep(self._chance.uniform(0, 1))
        await asyncio.to_thread(self.broker.start)


def workers_of(pid: int) -> list[int]:
    """Give the children of a supervisor."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
