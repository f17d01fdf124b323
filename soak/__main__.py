"""Thirty clients, a tenth of them hostile, for as long as one likes, and a verdict. `make soak SECONDS=1800`.

    python -m soak --seconds 60 --path pure --loop asyncio
    python -m soak --of log
    python -m soak --of log --workers 2 --broker redis --seconds 120
    python -m soak --of client --workers 2 --seconds 120

Every request carries a nonce, and every reply is checked: the right one, on the right connection, exactly once. Of a
log, 200 clients drop and resume at random: every item comes to each of them, once. The server is looked at all along:
memory, descriptors, tasks. At the end everything must be as it was before.

With several workers some are killed all along, all are replaced, and so is a broker of its own (`--broker redis`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from hold.process import Server, serving
from hold.row import warm
from soak.chaos import Chaos, workers_of
from soak.hostile import Hostile
from soak.many import Account, Asker, Follower, Publisher
from soak.member import PATIENCE, Member, Tally
from soak.program import WRITERS, make_folder
from soak.readers import Reader, Writer
from tests.serving import PING, PONG, Client

CLIENTS = 30
READERS = 200  # of a log
ASKERS = 16  # beside them, where there are several workers
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


# Several workers


async def soak_many(server: Server, options: argparse.Namespace, folder: Path, broker: Any) -> list[str]:
    """Run the clients of several workers, some of which are killed, and give what is wrong."""
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # clients write to connections that were killed
    tally, stop = Account(), asyncio.Event()
    more = (server.address, tally, stop)
    followers = [Follower(number, *more, options.think * 10) for number in range(READERS)]
    publishers = [Publisher(number, *more, options.think) for number in range(WRITERS)]
    askers = [Asker(number, *more, options.think) for number in range(ASKERS)]
    chaos = Chaos(server, tally, broker)
    descriptors, rss = server.descriptors(), server.rss()
    clients: list[Any] = [*followers, *publishers, *askers]
    running = [asyncio.create_task(client.run()) for client in clients]
    running.append(asyncio.create_task(chaos.run(stop)))
    await asyncio.wait(running, timeout=options.seconds, return_when=asyncio.FIRST_EXCEPTION)
    stop.set()
    await asyncio.gather(*running)  # raises a fault of the soak itself
    await asyncio.gather(*(publisher.finish() for publisher in publishers))
    total = [publisher.total for publisher in publishers]
    await asyncio.gather(*(follower.finish(total) for follower in followers))
    tally.finish(folder / "begun")
    most = max(chaos.most, options.workers)
    return await _rest(server, descriptors, options.workers) + _count(tally, chaos, most, total, rss, server)


async def _rest(server: Server, descriptors: int, workers: int) -> list[str]:
    """Wait until the supervisor is as it was before, and give what is not."""
    end = time.monotonic() + 60  # a worker that died young may wait for half of that
    while time.monotonic() < end:
        found = (server.descriptors(), len(workers_of(server.pid)))
        if found == (descriptors, workers):
            return []
        await asyncio.sleep(0.2)
    return [f"{found} descriptors of the supervisor and workers at the end, {(descriptors, workers)} at the start"]


def _count(tally: Account, chaos: Chaos, most: int, total: list[int], rss: float, server: Server) -> list[str]:
    """Print the figures, and give what is wrong with them."""
    print(f"done         {dict(chaos.done)}, {most} workers at most")
    print(f"items        {sum(total)}, {len(tally.told)} told, {len(tally.seen)} seen")
    print(f"requests     {tally.asked}, replies {tally.replies}, pushes {tally.pushes}")
    print(f"connections  {tally.connections}")
    for outcome, times in sorted(tally.outcomes.items()):
        print(f"             {times} {outcome}")
    print(f"supervisor   RSS {rss:.0f} to {server.rss():.0f} KiB")
    print(f"wrong        {len(tally.wrong)}\nlost         {len(tally.lost)}")
    faults = [f"wrong: {text}" for text in tally.wrong[:_SHOWN]] + [f"lost: {text}" for text in tally.lost[:_SHOWN]]
    if not tally.pushes or not chaos.done:
        faults.append("too little happened: no pushes, or nothing that was done to the workers")
    return faults


@contextmanager
def serving_many(options: argparse.Namespace) -> Iterator[tuple[Server, Path, Any]]:
    """Run several workers, and a broker if one is wanted."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        make_folder(folder)
        broker, more = None, {}
        if options.broker == "redis":
            from tests.kit.valkeys import running

            broker = stack.enter_context(running())
            more = {"broker": broker.url}
        more |= {"folder": str(folder), "workers": options.workers} | options.options
        yield stack.enter_context(serving(options.path, options.loop, "soak.program", **more)), folder, broker


def main(arguments: list[str] | None = None) -> int:
    """Run, and give 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for how long (%(default)s)")
    parser.add_argument(
        "--of", choices=("requests", "log", "client"), default="requests", help="what is asked (%(default)s)"
    )
    parser.add_argument("--path", choices=("compiled", "pure"), default="compiled")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="uvloop")
    parser.add_argument("--think", type=float, default=0.05, help="seconds between a client's writes (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="of --of log; more than one are killed (%(default)s)")
    parser.add_argument("--broker", choices=("hub", "redis"), default="hub", help="of several workers (%(default)s)")
    parser.add_argument("--options", type=json.loads, default={}, help="of the application, as JSON")
    options = parser.parse_args(arguments)
    if options.workers > 1 and options.of == "requests":
        parser.error("--workers takes --of log or --of client")
    if options.broker != "hub" and options.workers == 1:
        parser.error("--broker takes --workers 2 or more")
    if options.of == "client":
        faults = _soak_clients(options)
    elif options.workers > 1:
        with serving_many(options) as (server, folder, broker):
            faults = asyncio.run(soak_many(server, options, folder, broker))
            faults += _ended(server)
    else:
        with serving(options.path, options.loop, **options.options) as server:
            warm(server)
            faults = asyncio.run(soak(server, options))
            faults += _ended(server)
    for fault in faults:
        print(fault)
    print("soak: FAILED" if faults else "soak: passed")
    return 1 if faults else 0


def _soak_clients(options: argparse.Namespace) -> list[str]:
    from aiorest_ws.auth.token.managers import JSONWebTokenManager
    from soak.clients import soak_clients

    secret = secrets.token_hex(32)
    options.options |= {"secret": secret}
    with serving_many(options) as (server, folder, _):
        manager = JSONWebTokenManager(secret_key=secret)
        return asyncio.run(soak_clients(server, options, folder, manager)) + _ended(server)


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
