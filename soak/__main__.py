"""Thirty clients, a tenth of them hostile, for as long as one likes, and a verdict. `make soak SECONDS=1800`.

    python -m soak --seconds 60 --path pure --loop asyncio
    python -m soak --of log

Every request carries a nonce, and every reply is checked: the right one, on the right connection, exactly once. Of a
log, 200 clients drop and resume at random: every item comes to each of them, once. The server is looked at all along:
memory, descriptors, tasks. At the end everything must be as it was before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

from hold.process import Server, serving
from hold.row import warm
from soak.hostile import Hostile
from soak.member import PATIENCE, Member, Tally
from soak.readers import Reader, Writer
from tests.serving import PING, PONG, Client

CLIENTS = 30
READERS = 200  # of a log
SLOPE = 1.0  # KB/s, to reach
JUDGED_FROM = 600  # seconds: what a shorter run says of the slope is mostly noise

_SHOWN = 5  # of what went wrong


@dataclass
class Samples:
    """The server as it was seen along the way."""

    seconds: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    most: dict[str, int] = field(default_factory=dict)

    def slope(self, warm_up: float) -> float:
        """Give what the memory grew by from `warm_up` on, in KB/s: the line that fits best."""
        points = [(x, y) for x, y in zip(self.seconds, self.rss, strict=True) if x >= warm_up]
        if len(points) < 2:
            return 0.0
        middle = sum(x for x, _ in points) / len(points)
        mean = sum(y for _, y in points) / len(points)
        spread = sum((x - middle) ** 2 for x, _ in points)
        return sum((x - middle) * (y - mean) for x, y in points) / spread * 1.024


class Watcher:
    """Looks at the server through a connection of its own, which is counted in what it sees."""

    def __init__(self, server: Server, client: Client) -> None:
        self.server = server
        self.client = client
        self.samples = Samples()
        self.began = time.monotonic()

    async def state(self) -> dict[str, int]:
        self.client.request("GET", "/state", id="watcher")
        while (got := await self.client.receive(PATIENCE)).opcode == PING:
            self.client.send(got.payload, PONG)
        state: dict[str, int] = json.loads(got.payload)["data"]
        return state | {"descriptors": self.server.descriptors()}

    async def sample(self) -> dict[str, int]:
        state = await self.state()
        self.samples.seconds.append(time.monotonic() - self.began)
        self.samples.rss.append(self.server.rss())
        for name, value in state.items():
            self.samples.most[name] = max(self.samples.most.get(name, 0), value)
        return state


async def soak(server: Server, options: argparse.Namespace) -> list[str]:
    """Run the clients, and give what is wrong."""
    tally, stop = Tally(), asyncio.Event()
    watcher = Watcher(server, await Client.connect(server.address))
    at_rest = await watcher.state()
    members = _members(server.address, tally, stop, options)
    running = {asyncio.create_task(member.run()): member for member in members}
    every = max(1.0, min(5.0, options.seconds / 60))
    said = 0.0
    while (left := watcher.began + options.seconds - time.monotonic()) > 0:
        done, _ = await asyncio.wait(running, timeout=min(every, left), return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()  # a fault of the soak itself
        state = await watcher.sample()
        if time.monotonic() > said + options.seconds / 10:
            said = time.monotonic()
            rss = watcher.samples.rss[-1]
            print(f"{said - watcher.began:6.0f} s: {tally.replies} replies, RSS {rss:.0f} KiB, {state}", flush=True)
    stop.set()
    hostile = [task for task, member in running.items() if isinstance(member, Hostile)]
    for task in hostile:
        task.cancel()
    await asyncio.gather(*hostile, return_exceptions=True)
    await asyncio.gather(*(task for task in running if task not in hostile))
    await _finish(members)
    at_end = await _settled(watcher, at_rest)
    await watcher.client.drop()
    return _verdict(tally, watcher.samples, at_rest, at_end, options.seconds)


def _members(address: tuple[str, int], tally: Tally, stop: asyncio.Event, options: argparse.Namespace) -> list[Any]:
    if options.of == "log":
        readers = [Reader(number, address, tally, stop, options.think * 10) for number in range(READERS)]
        return [Writer(address, tally, stop, options.think), *readers]
    kinds = islice(cycle([Hostile] + [Member] * 9), CLIENTS)
    return [kind(number, address, tally, stop, options.think) for number, kind in enumerate(kinds)]


async def _finish(members: list[Any]) -> None:
    """Let every reader get what is missing."""
    for writer in members:
        if isinstance(writer, Writer):
            print(f"items        {writer.total}")
            await asyncio.gather(*(each.finish(writer.total) for each in members if isinstance(each, Reader)))


async def _settled(watcher: Watcher, at_rest: dict[str, int]) -> dict[str, int]:
    """Give the state once it is what it was before, or after 40 s (`send_timeout` and a bit)."""
    end = time.monotonic() + 40
    while (state := await watcher.state()) != at_rest and time.monotonic() < end:  # noqa: ASYNC110 (another process)
        await asyncio.sleep(0.2)
    return state


def _verdict(
    tally: Tally, samples: Samples, at_rest: dict[str, int], at_end: dict[str, int], seconds: float
) -> list[str]:
    """Print the figures, and give what is wrong with them."""
    warm_up = min(120.0, seconds / 5)
    slope = samples.slope(warm_up)
    judged = "" if seconds >= JUDGED_FROM else f" (not judged: less than {JUDGED_FROM} s)"
    print(f"requests     {tally.asked}, some by clients that vanished")
    print(f"replies      {tally.replies}, pushes {tally.pushes}")
    print(f"connections  {tally.connections}, hostile acts {tally.hostile}")
    print(f"wrong        {len(tally.wrong)}\nlost         {len(tally.lost)}")
    first, last = samples.rss[0], samples.rss[-1]
    print(f"RSS          {first:.0f} to {last:.0f} KiB, {slope:+.2f} KB/s after {warm_up:.0f} s{judged}")
    for name, value in at_rest.items():
        print(f"{name:12} {value} at the start, {samples.most.get(name, value)} at most, {at_end[name]} at the end")
    faults = [f"wrong: {text}" for text in tally.wrong[:_SHOWN]] + [f"lost: {text}" for text in tally.lost[:_SHOWN]]
    if not tally.replies:
        faults.append("no replies at all")
    if slope >= SLOPE and not judged:
        faults.append(f"RSS grows by {slope:.2f} KB/s, expected less than {SLOPE:g}")
    faults += [
        f"{name}: {at_end[name]} at the end, {value} at the start"
        for name, value in at_rest.items()
        if at_end[name] != value
    ]
    return faults


def main(arguments: list[str] | None = None) -> int:
    """Run, and give 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for how long (%(default)s)")
    parser.add_argument("--of", choices=("requests", "log"), default="requests", help="what is asked (%(default)s)")
    parser.add_argument("--path", choices=("compiled", "pure"), default="compiled")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="uvloop")
    parser.add_argument("--think", type=float, default=0.05, help="seconds between a client's writes (%(default)s)")
    parser.add_argument("--options", type=json.loads, default={}, help="of the application, as JSON")
    options = parser.parse_args(arguments)
    with serving(options.path, options.loop, **options.options) as server:
        warm(server)
        faults = asyncio.run(soak(server, options))
        faults += _ended(server)
    for fault in faults:
        print(fault)
    print("soak: FAILED" if faults else "soak: passed")
    return 1 if faults else 0


def _ended(server: Server) -> list[str]:
    """Stop the server, and give what is wrong with its end and its stderr."""
    server.terminate()
    code = server.wait(20)
    lines = server.stderr().splitlines()
    complaints = server.complaints()
    print(f"stderr       {len(lines)} lines, {len(complaints)} complaints; exit code {code}")
    for line in lines[:_SHOWN]:
        print(f"             {line[:150]}")
    faults: list[str] = [f"stderr: {line}" for line in complaints[:_SHOWN]]
    if code != 0:
        faults.append(f"exit code {code}, expected 0: {lines[-_SHOWN:]}")
    return faults


if __name__ == "__main__":
    sys.exit(main())
