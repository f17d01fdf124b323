"""Calls of `AsyncClient` beside those of a bare `websockets` client that matches ids by hand: `python -m bench.client`.

Both ask `hold.server` for /hello, 64 calls at a time; in turns, so that a busy machine slows both. It prints the rates
of each round, and the middle one of their ratios; then what subscriptions that come and go leave behind in memory
(`--subscribe 100000`).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import time
from itertools import count
from typing import Any

from websockets.asyncio.client import connect

from aiorest_ws.client import AsyncClient
from hold.process import rss_of, serving

AT_ONCE = 64
CALLS = 300  # of each of them, a round


async def bare(url: str) -> float:
    """Give the calls a second of a client by hand."""
    waiting: dict[int, asyncio.Future[Any]] = {}
    numbers = count(1)
    async with connect(url, compression=None, proxy=None) as socket:

        async def read() -> None:
            async for text in socket:
                message = json.loads(text)
                waiting.pop(message["id"]).set_result(message)

        async def call() -> Any:
            number = next(numbers)
            waiting[number] = asyncio.get_running_loop().create_future()
            await socket.send(json.dumps({"id": number, "method": "GET", "url": "/hello"}))
            reply = await waiting[number]
            if reply["status"] >= 400:
                raise RuntimeError(reply)
            return reply["data"]

        reading = asyncio.create_task(read())
        try:
            return await _rate(call)
        finally:
            reading.cancel()


async def ours(url: str) -> float:
    async with AsyncClient(url) as api:
        return await _rate(lambda: api.get("/hello"))


async def _rate(call: Any) -> float:
    async def calls() -> None:
        for _ in range(CALLS):
            await call()

    begin = time.perf_counter()
    await asyncio.gather(*(calls() for _ in range(AT_ONCE)))
    return AT_ONCE * CALLS / (time.perf_counter() - begin)


async def rates(url: str, rounds: int) -> None:
    ratios = []
    for _ in range(rounds):
        by_hand, with_ours = await bare(url), await ours(url)
        ratios.append(with_ours / by_hand)
        print(f"by hand {by_hand:8,.0f}/s   AsyncClient {with_ours:8,.0f}/s   {ratios[-1]:.2f}", flush=True)
    print(f"the middle one of {rounds}: {statistics.median(ratios):.2f}")


async def subscriptions(url: str, times: int) -> None:
    async with AsyncClient(url) as api:
        before = 0.0
        for turn in range(times + 5000):
            async with api.subscribe("/feed" if turn % 2 else f"/room/{turn % 50}") as changes:
                await anext(changes)
            if turn == 5000:
                gc.collect()
                before = rss_of()
        gc.collect()
        print(f"{times:,} subscriptions that came and went: {rss_of() - before:+.0f} KiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="of each client (%(default)s)")
    parser.add_argument("--subscribe", type=int, default=0, help="how many subscriptions come and go (%(default)s)")
    options = parser.parse_args()
    with serving("compiled", "uvloop") as server:
        url = "ws://{}:{}".format(*server.address)
        asyncio.run(rates(url, options.rounds))
        if options.subscribe:
            asyncio.run(subscriptions(url, options.subscribe))


if __name__ == "__main__":
    main()
