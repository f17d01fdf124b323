"""What the hub costs: publications a second, what each takes of hub and workers, and how long one is on its way.

    python -m bench.hub [--loop uvloop] [--seconds 3]

Hub and workers are processes of their own, joined as the supervisor joins them. Of a rate: one worker publishes in
turns of `--batch`, of which four are on their way; it subscribes itself (`one worker`), or only another does (`two
workers`). Of a delay: one publishes at a steady rate, the other has the time from `publish` to its node's `on_item`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from aiorest_ws.realtime.brokers import Item, Retention
from aiorest_ws.realtime.brokers.hub import HubBroker
from aiorest_ws.realtime.brokers.hub_server import Hub
from aiorest_ws.realtime.versions import Mark
from aiorest_ws.workers.channel import open_channel

URL = "/rooms/5/messages"
KEPT = Retention(100, 300.0, 1024 * 1024)
TURNS = 4
_FORK = multiprocessing.get_context("fork")


class Counting:
    """A node that counts, and notes how old each item is that says when it was published."""

    def __init__(self) -> None:
        self.items = 0
        self.returns = 0
        self.delays: list[float] = []

    def on_item(self, url: str, mark: Mark, item: Item) -> None:
        self.items += 1
        if item.json[0] == 123:  # {
            self.delays.append(time.monotonic() - json.loads(item.json)["at"])

    def on_changed(self, url: str, mark: Mark, value: Item | None) -> None: ...
    def on_recheck(self, url: str | None) -> None: ...

    def on_return(self, url: str, mark: Mark) -> None:
        self.returns += 1


def run(main: Callable[..., Coroutine[Any, Any, Any]], loop: str, *args: Any) -> Any:
    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main(*args))


def processor_seconds() -> float:
    return time.process_time()


async def serve(socks: list[socket.socket], pipe: Any) -> None:
    """Be the hub, until all workers are gone."""
    hub, ends = Hub(), []
    for number, sock in enumerate(socks):
        channel = await open_channel(sock, to=f"worker {number}")
        hub.add(channel, number)
        ends.append(asyncio.get_running_loop().create_future())
        channel.on_lost(lambda end=ends[-1]: end.set_result(None))  # type: ignore[misc]
    begun = processor_seconds()
    await asyncio.gather(*ends)
    pipe.send(("hub", processor_seconds() - begun, {}))


async def joined(sock: socket.socket, subscribes: bool) -> tuple[HubBroker, Counting]:
    broker, node = HubBroker(await open_channel(sock, to="the hub")), Counting()
    await broker.start()
    given = broker.subscribe(URL, node) if subscribes else broker.history(URL, Mark("", 0))
    await given  # type: ignore[misc]
    return broker, node


async def publish_much(sock: socket.socket, pipe: Any, subscribes: bool, seconds: float, batch: int) -> None:
    broker, node = await joined(sock, subscribes)
    data = json.dumps(["x" * 96]).encode()
    begun, start, count = processor_seconds(), time.monotonic(), 0
    turns: deque[Any] = deque()
    while time.monotonic() < start + seconds:
        turns.append([broker.publish(URL, Item(0, data), KEPT) for _ in range(batch)][-1])
        count += batch
        if len(turns) == TURNS:
            await turns.popleft()
    await asyncio.gather(*turns)
    found = {"count": count, "a second": round(count / (time.monotonic() - start)), "items": node.items}
    pipe.send(("publisher", processor_seconds() - begun, found))


async def publish_steadily(sock: socket.socket, pipe: Any, rate: int, seconds: float) -> None:
    broker, _ = await joined(sock, False)
    begun, start, count = processor_seconds(), time.monotonic(), 0
    while (now := time.monotonic()) < start + seconds:
        if count < (now - start) * rate:
            text = json.dumps({"at": time.monotonic(), "text": "x" * 70})
            broker.publish(URL, Item(0, text.encode()), KEPT)
            count += 1
        else:
            await asyncio.sleep(0.0005)
    await broker.history(URL, Mark("", 0))
    pipe.send(("publisher", processor_seconds() - begun, {"count": count}))


async def listen(sock: socket.socket, pipe: Any, seconds: float) -> None:
    _, node = await joined(sock, True)
    begun = processor_seconds()
    pipe.send("ready")
    await asyncio.sleep(seconds + 1)
    delays = sorted(node.delays)
    found: dict[str, Any] = {"items": node.items, "returns": node.returns}
    if delays:
        found |= {f"p{at}": f"{delays[int(len(delays) * at / 100)] * 1000:.2f} ms" for at in (50, 99)}
        found["most"] = f"{delays[-1] * 1000:.2f} ms"
    pipe.send(("listener", processor_seconds() - begun, found))


def measure(loop: str, title: str, publisher: tuple[Any, ...], listener: tuple[Any, ...] | None) -> None:
    pairs = [socket.socketpair() for _ in range(2 if listener else 1)]
    here, there = _FORK.Pipe()

    def start(main: Any, *args: Any, keep: list[socket.socket]) -> Any:
        def child() -> None:
            for pair in pairs:
                for sock in pair:
                    if sock not in keep:
                        sock.close()
            run(main, loop, *args)

        process = _FORK.Process(target=child)
        process.start()
        return process

    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    processes = [start(serve, ours, there, keep=ours)]
    if listener:
        processes.append(start(listen, theirs[1], there, *listener, keep=[theirs[1]]))
        assert here.recv() == "ready"
    main, *args = publisher
    processes.append(start(main, theirs[0], there, *args, keep=[theirs[0]]))
    for sock in (*ours, *theirs):
        sock.close()
    told = {name: (used, found) for name, used, found in (here.recv() for _ in processes)}
    for process in processes:
        process.join()
    count = told["publisher"][1]["count"]
    print(title)
    for name, (used, found) in sorted(told.items()):
        print(f"  {name:9} {used / count * 1e6:6.1f} µs of processor for each", *found.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", default="asyncio", choices=("asyncio", "uvloop"))
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rate", type=int, default=1000)
    args = parser.parse_args()
    much = (publish_much, True, args.seconds, args.batch)
    measure(args.loop, f"one worker, in turns of {args.batch}", much, None)
    much = (publish_much, False, args.seconds, args.batch)
    measure(args.loop, f"two workers, in turns of {args.batch}", much, (args.seconds,))
    measure(
        args.loop, f"two workers, {args.rate} a second", (publish_steadily, args.rate, args.seconds), (args.seconds,)
    )


if __name__ == "__main__":
    os.environ.pop("PYTHONASYNCIODEBUG", None)
    main()
