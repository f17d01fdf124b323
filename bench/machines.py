"""What the broker of many machines costs: publications a second, what each takes, and how long one is on its way.

    python -m bench.machines [--url redis://…] [--seconds 3]

Without a url it starts a Valkey. Of a rate: 64 coroutines of one process publish items of 100 bytes to 20 logs that
keep 100, each the next when it has its mark; nobody subscribes, or the process does itself. Of a delay: one process
publishes 1,000 a second, another has the time from `publish` to its node's `on_item`. Processor times are those of the
process and of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import time
from typing import Any

import redis

from aiorest_ws.realtime.brokers import Item, Retention
from aiorest_ws.realtime.brokers.redis import RedisBroker
from aiorest_ws.realtime.versions import Mark

URLS = [f"/rooms/{number}/messages" for number in range(20)]
KEPT = Retention(100, 300.0, 1024 * 1024)
AT_ONCE = 64
PER_SECOND = 1000
_SPAWN = multiprocessing.get_context("spawn")


class Counting:
    """A node that counts, and notes how old each item is."""

    def __init__(self) -> None:
        self.items = 0
        self.delays: list[float] = []

    def on_item(self, url: str, mark: Mark, item: Item) -> None:
        self.items += 1
        self.delays.append(time.monotonic() - float(item.json[:20]))

    def on_changed(self, url: str, mark: Mark, value: Item | None) -> None: ...
    def on_recheck(self, url: str | None) -> None: ...
    def on_return(self, url: str, mark: Mark) -> None: ...


def item() -> Item:
    return Item(0, b"%020.9f%s" % (time.monotonic(), b"x" * 80))


def processor_of(url: str) -> float:
    """Give the seconds of processor that the server has taken."""
    with redis.Redis.from_url(url) as client:
        info = client.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def rate(url: str, seconds: float, *, subscribes: bool) -> str:
    broker, node = RedisBroker(url), Counting()
    await broker.start()
    for each in URLS if subscribes else ():
        await broker.subscribe(each, node)
    count = 0
    end = time.monotonic() + seconds

    async def publish(at: int) -> None:
        nonlocal count
        while time.monotonic() < end:
            at += 1
            await broker.publish(URLS[at % len(URLS)], item(), KEPT)
            count += 1

    own, server = time.process_time(), processor_of(url)
    await asyncio.gather(*(publish(number) for number in range(AT_ONCE)))
    own, server = time.process_time() - own, processor_of(url) - server
    await broker.stop()
    who = "itself" if subscribes else "nobody"
    return (
        f"{who:7} subscribes: {count / seconds:8,.0f}/s; per publication {own / count * 1e6:5.1f} µs of the process, "
        f"{server / count * 1e6:5.1f} µs of the server"
    )


def listen(url: str, count: int, pipe: Any) -> None:
    async def main() -> list[float]:
        broker, node = RedisBroker(url), Counting()
        await broker.start()
        for each in URLS:
            await broker.subscribe(each, node)
        pipe.send("ready")
        while node.items < count and not pipe.poll():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await broker.stop()
        return node.delays

    pipe.send(asyncio.run(main()))


async def delay(url: str, seconds: float) -> str:
    count = int(PER_SECOND * seconds)
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=listen, args=(url, count, theirs))
    process.start()
    await asyncio.to_thread(ours.recv)
    broker = RedisBroker(url)
    await broker.start()
    begun = time.monotonic()
    for number in range(count):
        await asyncio.sleep(begun + number / PER_SECOND - time.monotonic())
        broker.publish(URLS[number % len(URLS)], item(), KEPT)
    delays = sorted(await asyncio.to_thread(ours.recv))
    process.join()
    await broker.stop()
    p50, p99 = (delays[int(len(delays) * part)] * 1000 for part in (0.5, 0.99))
    return f"to another process at {PER_SECOND:,}/s: p50 {p50:.2f} ms, p99 {p99:.2f} ms ({len(delays)} of {count})"


async def measure(url: str, seconds: float) -> None:
    for subscribes in (False, True):
        print(await rate(url, seconds, subscribes=subscribes), flush=True)
    print(await delay(url, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="of a server; without it one is started")
    parser.add_argument("--seconds", type=float, default=3.0)
    args = parser.parse_args()
    if args.url:
        asyncio.run(measure(args.url, args.seconds))
        return
    from tests.kit.valkeys import running

    with running() as valkey:
        asyncio.run(measure(valkey.url, args.seconds))


if __name__ == "__main__":
    main()
