"""Clients that all come back in one moment, to one process: `python -m bench.returning [--clients 10000]`.

    resumes   connected already, they send their SUBSCRIBE with `since` at once: to a log of which they missed three
              items, and to a shared state
    storm     they connect at once, too, and have one connection after the other answered; each is 304

What came is counted: replies by status, items by what they should be, and how often the handlers ran.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections import Counter
from typing import Any

from bench.many import cpu_of, run, served
from hold.process import Server
from tests.serving import Client

_NEWS = [{"text": f"item {number}"} for number in range(4)]


async def since_of(server: Server) -> tuple[str, str, str]:
    """Publish; give a version of the log, the one three items behind it, and that of the state."""
    publisher = await Client.connect(server.address)
    versions = [(await publisher.ask("POST", "/news", id=1, data=item))["data"] for item in _NEWS]
    state = (await publisher.ask("SUBSCRIBE", "/state", id=2))["version"]
    publisher.abort()
    return versions[0], versions[-1], state


async def runs_of(server: Server) -> list[int]:
    client = await Client.connect(server.address)
    counts: list[int] = (await client.ask(url="/runs", id=1))["data"][1:]
    client.abort()
    return counts


async def resumes(server: Server, count: int) -> None:
    old, new, state = await since_of(server)
    clients = [await Client.connect(server.address) for _ in range(count)]
    before, used, start = await runs_of(server), cpu_of(server.pid), time.monotonic()
    for client in clients:
        client.request("SUBSCRIBE", "/news", id=1, since=old)
        client.request("SUBSCRIBE", "/state", id=2, since=state)
    statuses: Counter[Any] = Counter()
    wrong = 0
    for client in clients:
        got = [json.loads((await client.receive()).payload) for _ in range(5)]
        replies = {each["id"]: each for each in got if "id" in each}
        items = [each for each in got if each.get("event_name") == "/news" and "id" not in each]
        statuses[replies[1]["status"], replies[2]["status"]] += 1
        wrong += [each["data"] for each in items] != _NEWS[1:] or items[-1]["version"] != new
    seconds = time.monotonic() - start
    runs = [now - then for then, now in zip(before, await runs_of(server), strict=True)]
    each = (cpu_of(server.pid) - used) / count * 1e6
    print(f"resumes {count}: (log, state) {dict(statuses)}, {wrong} with other items; in {seconds:.1f} s", end=", ")
    print(f"{each:.0f} µs of processor each; runs {runs}, at most 0 and {int(seconds) + 2}")
    for client in clients:
        client.abort()


async def storm(server: Server, count: int) -> None:
    _, new, state = await since_of(server)
    before, start = await runs_of(server), time.monotonic()
    places: list[tuple[float, int]] = []

    async def come(number: int) -> tuple[Any, ...]:
        try:
            client = await Client.connect(server.address)
        except (OSError, EOFError) as exc:
            return (repr(exc),)
        places.append((time.monotonic() - start, number))
        log = await client.ask("SUBSCRIBE", "/news", id=1, since=new)
        value = await client.ask("SUBSCRIBE", "/state", id=2, since=state)
        clients.append(client)
        return log["status"], value["status"]

    clients: list[Client] = []
    came = Counter(await asyncio.gather(*map(come, range(count))))
    seconds = time.monotonic() - start
    runs = [now - then for then, now in zip(before, await runs_of(server), strict=True)]
    late = sum(abs(place - number) for place, (_, number) in enumerate(places)) / max(1, len(places))
    slowest = max(places)[0] if places else 0.0
    print(f"storm   {count}: {dict(came)} in {seconds:.1f} s, the last opened after {slowest:.1f}", end="; ")
    print(f"off the order of arrival by {late:.0f} places on average; runs {runs}, at most 0 and {int(seconds) + 2}")
    for client in clients:
        client.abort()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help="of resumes, storm (both)")
    parser.add_argument("--clients", type=int, default=10_000, help="of resumes, half of them of storm (%(default)s)")
    parser.add_argument("--loop", default="uvloop", choices=("asyncio", "uvloop"))
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name in options.figures or ("resumes", "storm"):
        measure, count = {"resumes": (resumes, options.clients), "storm": (storm, options.clients // 2)}[name]
        with served(1, options) as server:
            run(measure(server, count))


if __name__ == "__main__":
    main()
