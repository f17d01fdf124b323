"""What several workers cost, and what they give, beside one process: `python -m bench.many [FIGURE …]`.

    cpu      processor time of a plain request: of one process, and of a worker
    burn     requests whose handler takes 200 µs of processor, 2 workers to 1; says something on a quiet machine only
    spread   400 connections over two workers, with a socket each and with one that they share
    fan      a publication to 1000 subscribers, 8 on their way: processor time of all processes for each delivery
    delay    from the POST at one worker to the subscriber at the other, at 1,000 a second (--broker for another)
    back     --clients come back with `since` when all workers were replaced, beside as many bare handshakes
    memory   of one process, and of each with workers
    hup      SIGHUP under 64 connections with 16 requests on their way: what has begun has its reply, nobody is refused

One and several take turns, --rounds times; medians. Processor time is what the system says of the server's processes,
and the figure to compare; clocks on a wall say as much of what else runs. Linux only, as `hold` is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import statistics
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hold.process import Server, rss_of, serving
from soak.chaos import workers_of
from tests.serving import CLOSE, Client, dump, frame

_HELLO = frame(dump({"method": "GET", "url": "/hello"}))
_BURN = frame(dump({"method": "GET", "url": "/burn"}))
_NEWS = {"text": "0123456789" * 8 + "0123456"}


class Wire(asyncio.Protocol):
    """A connection that calls `on_frames` with the number of frames that have come; it looks at none of them."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.client: Any = None  # kept: a StreamWriter that nobody has closes its transport
        self.on_frames: Callable[[int], None] = lambda count: None
        self._data = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        have = self._data
        have += data
        at, count = 0, 0
        while len(have) >= at + 2:
            size, head = have[at + 1], 2
            if size == 126:
                if len(have) < at + 4:
                    break
                size, head = struct.unpack_from("!H", have, at + 2)[0], 4
            if len(have) < at + head + size:
                break
            at += head + size
            count += 1
        del have[:at]
        if count:
            self.on_frames(count)


async def wire_of(client: Client) -> Wire:
    """Go on with the connection of `client`, whose handshake is done, as a Wire."""
    wire = Wire()
    transport: Any = client.writer.transport
    transport.set_protocol(wire)
    wire.transport, wire.client = transport, client
    if left := bytes(client.reader._buffer):  # type: ignore[attr-defined]
        wire.data_received(left)
    return wire


async def pid_of(client: Client) -> int:
    pid: int = (await client.ask(url="/pid", id=0))["data"]
    return pid


def cpu_of(pid: int) -> float:
    """Give the seconds of processor time of a process, all threads that it has and had, in steps of nanoseconds."""
    return time.clock_gettime(~pid << 3 | 2)  # of a process its clock of the scheduler: clock_getcpuclockid(3)


def processes_of(server: Server, workers: int) -> list[int]:
    return [server.pid] if workers == 1 else [server.pid, *workers_of(server.pid)]


@contextmanager
def served(workers: int, options: argparse.Namespace, **more: Any) -> Iterator[Server]:
    with serving("compiled", options.loop, "bench.many_served", workers=workers, **more) as server:
        yield server


def run(main: Any) -> Any:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def medians(options: argparse.Namespace, measure: Callable[[int], float]) -> tuple[float, float]:
    """Give what one process takes, and what two workers do; they take turns."""
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(options.rounds):
        for workers, values in found.items():
            values.append(measure(workers))
    return statistics.median(found[1]), statistics.median(found[2])


# Requests


async def load(server: Server, payload: bytes, count: int, connections: int = 64, window: int = 16) -> float:
    """Send `count` requests over `connections`, and give the seconds that took."""
    wires = [await wire_of(await Client.connect(server.address)) for _ in range(connections)]
    left, done, start = count, 0, time.monotonic()
    end = asyncio.get_running_loop().create_future()

    def take(wire: Wire, came: int) -> None:
        nonlocal left, done
        done += came
        more = min(came, left)
        left -= more
        wire.transport.write(payload * more)
        if done >= count and not end.done():
            end.set_result(None)

    for wire in wires:
        wire.on_frames = lambda came, wire=wire: take(wire, came)  # type: ignore[misc]
        left -= window
        wire.transport.write(payload * window)
    await end
    seconds = time.monotonic() - start
    for wire in wires:
        wire.transport.abort()
    return seconds


def cpu(options: argparse.Namespace) -> None:
    def measure(workers: int) -> float:
        with served(workers, options) as server:
            serves = processes_of(server, workers)
            run(load(server, _HELLO, 20_000))
            before = sum(map(cpu_of, serves))
            run(load(server, _HELLO, options.requests))
            return (sum(map(cpu_of, serves)) - before) / float(options.requests) * 1e6

    one, two = medians(options, measure)
    print(f"cpu     {one:.2f} µs of a request, {two:.2f} with two workers, supervisor and all: {two / one:.3f} ×")


def burn(options: argparse.Namespace) -> None:
    def measure(workers: int) -> float:
        with served(workers, options) as server:
            run(load(server, _BURN, 2_000))
            count = options.requests // 20
            rate: float = count / run(load(server, _BURN, count))
            return rate

    one, two = medians(options, measure)
    busy = os.getloadavg()[0]
    print(f"burn    {one:,.0f} requests a second, {two:,.0f} with two workers: {two / one:.2f} × (load {busy:.1f})")


# Connections


def spread(options: argparse.Namespace) -> None:
    async def count(where: Any) -> str:
        clients = [await Client.connect(where) for _ in range(400)]
        found = Counter([await pid_of(client) for client in clients])
        for client in clients:
            client.abort()
        return " + ".join(f"{times / 4:.0f}" for times in found.values()) + " %"

    for _ in range(options.rounds):
        with served(2, options) as server:
            own = run(count(server.address))
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/served"
            with served(2, options, unix_path=path) as server:
                print(f"spread  {own} with a socket each, {run(count(path))} with one that they share")


# Subscriptions


async def subscribed(where: Any, count: int, since: str | None = None) -> list[tuple[Client, dict[str, Any]]]:
    found = []
    more = {"since": since} if since else {}
    for _ in range(count):
        client = await Client.connect(where)
        found.append((client, await client.ask("SUBSCRIBE", "/news", id=1, **more)))
    return found


def fan(options: argparse.Namespace) -> None:
    subscribers, window, first = 1000, options.window, 20

    async def publish(server: Server, serves: list[int]) -> float:
        """Give the seconds of processor time of what comes behind the first publications, which fill what is kept."""
        wires = [await wire_of(client) for client, _ in await subscribed(server.address, subscribers)]
        publisher = await wire_of(await Client.connect(server.address))
        payload = frame(dump({"method": "POST", "url": "/news", "id": 1, "data": _NEWS}))
        whole = first + options.publications
        reached = [0] * (whole + 1)
        sent, used, end = 0, 0.0, asyncio.get_running_loop().create_future()

        def send(count: int) -> None:
            nonlocal sent
            count = min(count, whole - sent)
            sent += count
            publisher.transport.write(payload * count)

        def all_have(number: int) -> None:
            nonlocal used
            send(1)
            if number == first:
                used -= sum(map(cpu_of, serves))
            elif number == whole:
                used += sum(map(cpu_of, serves))
                end.set_result(None)

        def taking() -> Callable[[int], None]:
            got = 0

            def take(came: int) -> None:
                nonlocal got
                for got in range(got + 1, got + came + 1):  # noqa: B020 (it goes on where it was)
                    reached[got] += 1
                    if reached[got] == subscribers:
                        all_have(got)

            return take

        for wire in wires:
            wire.on_frames = taking()
        send(window)
        await end
        for wire in (*wires, publisher):
            wire.transport.abort()
        return used

    def measure(workers: int) -> float:
        with served(workers, options) as server:
            used: float = run(publish(server, processes_of(server, workers)))
            return used / float(options.publications * subscribers) * 1e6

    one, two = medians(options, measure)
    print(f"fan     {one:.3f} µs of a delivery, {two:.3f} with two workers, supervisor and all: {two / one:.2f} ×")


def delay(options: argparse.Namespace) -> None:
    async def measure(server: Server) -> list[float]:
        publisher = await Client.connect(server.address)
        pid = await pid_of(publisher)
        while True:
            subscriber = await Client.connect(server.address)
            if await pid_of(subscriber) != pid:
                break
        await subscriber.ask("SUBSCRIBE", "/news", id=1)
        delays: list[float] = []
        seconds = options.seconds

        async def listen() -> None:
            while len(delays) < 1000 * seconds:
                message = json.loads((await subscriber.receive()).payload)
                delays.append(time.monotonic() - message["data"]["at"])

        async def replies() -> None:
            while True:
                assert json.loads((await publisher.receive()).payload)["status"] == 200

        listening, reading = asyncio.create_task(listen()), asyncio.create_task(replies())
        start, count = time.monotonic(), 0
        while count < 1000 * seconds:
            while count < min((time.monotonic() - start) * 1000, 1000 * seconds):
                publisher.request("POST", "/news", id=count, data={"at": time.monotonic(), "text": "x" * 70})
                count += 1
            await asyncio.sleep(0.0005)
        await listening
        reading.cancel()
        return sorted(delays)

    more = {"broker": options.broker} if options.broker else {}
    for _ in range(options.rounds):
        with served(2, options, **more) as server:
            delays = run(measure(server))
        p50, p99 = (delays[int(len(delays) * at / 100)] * 1000 for at in (50, 99))
        name = "broker" if options.broker else "hub"
        load = os.getloadavg()[0]
        print(f"delay   {name}: p50 {p50:.2f} ms, p99 {p99:.2f}, most {delays[-1] * 1000:.2f} (load {load:.1f})")


# Workers that are replaced


async def replaced(server: Server) -> None:
    """Send SIGHUP, and wait until there are two other workers, and only they."""
    before = set(workers_of(server.pid))
    os.kill(server.pid, signal.SIGHUP)
    while len(now := workers_of(server.pid)) != len(before) or before.intersection(now):  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def emptied(server: Server, clients: list[Client]) -> None:
    """Drop `clients`, and wait until the server has: what their ends take is not the next figure's."""
    for client in clients:
        client.abort()
    held: dict[int, int] = {}
    while len(held) < 2 or max(held.values()) > 10:
        client = await Client.connect(server.address)
        pid, count = (await client.ask(url="/connections", id=1))["data"]
        held[pid] = count
        client.abort()


def back(options: argparse.Namespace) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(options.clients, hard - 200)

    async def many(what: Callable[[], Any]) -> tuple[float, list[Any]]:
        """Have all come, 100 at a time; give how many came in a second, and what they got."""
        left, start = iter(range(count)), time.monotonic()

        async def some() -> list[Any]:
            return [await what() for _ in left]

        found = await asyncio.gather(*(some() for _ in range(100)))
        return count / (time.monotonic() - start), [each for part in found for each in part]

    async def measure(server: Server) -> None:
        publisher = await Client.connect(server.address)
        first, reply = (await subscribed(server.address, 1))[0]
        version = reply["version"]
        for _ in range(3):
            version_now = (await publisher.ask("POST", "/news", id=1, data=_NEWS))["data"]
        watcher = await Client.connect(server.address)
        state = (await watcher.ask("SUBSCRIBE", "/state", id=1))["version"]
        await replaced(server)
        serves = processes_of(server, 2)

        async def handshake() -> Client:
            return await Client.connect(server.address)

        async def resume() -> tuple[Client, int, int]:
            client = await Client.connect(server.address)
            news = await client.ask("SUBSCRIBE", "/news", id=1, since=version)
            for _ in range(3):
                pushed = await client.reply()
            assert pushed["version"] == version_now
            other = await client.ask("SUBSCRIBE", "/state", id=2, since=state)
            return client, news["status"], other["status"]

        async def resume_log() -> tuple[Client, int, int]:
            client = await Client.connect(server.address)
            news = await client.ask("SUBSCRIBE", "/news", id=1, since=version_now)
            return client, news["status"], 304

        kinds = {"bare": handshake, "log": resume_log, "log and state": resume}
        await emptied(server, (await many(handshake))[1])  # the first fills what is kept
        rates: dict[str, list[float]] = {name: [] for name in kinds}
        used: dict[str, list[float]] = {name: [] for name in kinds}
        statuses: dict[str, Counter[Any]] = {name: Counter() for name in kinds}
        for _ in range(options.rounds):
            for name, what in kinds.items():
                before = sum(map(cpu_of, serves))
                rate, got = await many(what)
                used[name].append((sum(map(cpu_of, serves)) - before) / count * 1e6)
                rates[name].append(rate)
                if name != "bare":
                    statuses[name].update(each[1:] for each in got)
                    got = [each[0] for each in got]
                await emptied(server, got)
        for name in kinds:
            rate, each = statistics.median(rates[name]), statistics.median(used[name])
            print(f"back    {count} {name}: {rate:,.0f} a second, {each:.0f} µs of processor each", end="")
            print(f", {dict(statuses[name])}" if name != "bare" else "")
        runs: dict[int, list[int]] = {}
        while len(runs) < 2:
            client = await Client.connect(server.address)
            pid, *counts = (await client.ask(url="/runs", id=1))["data"]
            runs[pid] = counts
        log = statistics.median(used["bare"]) / statistics.median(used["log"])
        allowed = int(sum(count / rate + 2 for rate in rates["log and state"]))
        print(f"        log {log:.2f} × the rate of bare handshakes, by processor time;", end=" ")
        print(f"runs of log and state, by worker: {list(runs.values())}, expected 0 and at most {allowed}")
        first.abort()

    with served(2, options) as server:
        run(measure(server))


def hup(options: argparse.Namespace) -> None:
    async def measure(server: Server) -> tuple[Counter[str], set[int]]:
        clients = [await Client.connect(server.address) for _ in range(64)]
        told: Counter[str] = Counter()
        unanswered: set[int] = set()
        serial = iter(range(1 << 60))

        async def ask(client: Client) -> None:
            waiting: set[int] = set()
            while True:
                while len(waiting) < 16:
                    number = next(serial)
                    waiting.add(number)
                    client.request("POST", "/notes", id=number, data=number)
                got = await client.receive()
                if got.opcode == CLOSE:
                    told[f"closed {got.close_code}"] += 1
                    unanswered.update(waiting)
                    client.abort()
                    return
                reply = json.loads(got.payload)
                waiting.remove(reply["id"])
                told[f"replies {reply['status']}"] += 1
                if reply["status"] == 503:
                    unanswered.add(reply["id"])

        async def knock(stop: asyncio.Event) -> None:
            while not stop.is_set():
                try:
                    client = await Client.connect(server.address)
                    client.abort()
                    told["new connections"] += 1
                except (OSError, EOFError) as exc:
                    told[f"refused: {exc!r}"] += 1

        stop = asyncio.Event()
        asking = [asyncio.create_task(ask(client)) for client in clients]
        knocking = asyncio.create_task(knock(stop))
        await asyncio.sleep(0.5)
        await replaced(server)
        await asyncio.gather(*asking)
        stop.set()
        await knocking
        return told, unanswered

    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            begun = Path(folder, "begun")
            with served(2, options, begun=str(begun)) as server:
                told, unanswered = run(measure(server))
            both = unanswered.intersection(map(int, begun.read_text().split()))
            print(
                f"hup     {dict(told)}; {len(unanswered)} without a reply or with 503, of which {len(both)} had begun"
            )


def memory(options: argparse.Namespace) -> None:
    async def use(server: Server) -> None:
        for _ in range(20):
            client = await Client.connect(server.address)
            await client.ask()
            await client.drop()

    rss: dict[int, list[float]] = {1: [], 2: []}

    def measure(workers: int) -> float:
        with served(workers, options) as server:
            run(use(server))
            serves = processes_of(server, workers)[-workers:]
            rss[workers] += [int(rss_of(pid)) for pid in serves]
            return max(map(private_of, serves))

    one, two = medians(options, measure)
    ones, twos = statistics.median(rss[1]), statistics.median(rss[2])
    print(f"memory  own {one:,.0f} KiB of one process, {two:,.0f} of a worker: {two - one:+,.0f}", end="; ")
    print(f"RSS {ones:,.0f} and {twos:,.0f}: {twos - ones:+,.0f}")


def private_of(pid: int) -> int:
    """Give the memory of a process that is no other's, in KiB: PSS would be less for each of several."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


FIGURES = {each.__name__: each for each in (cpu, burn, spread, fan, delay, back, memory, hup)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)} (all)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--loop", default="uvloop", choices=("asyncio", "uvloop"))
    parser.add_argument("--requests", type=int, default=200_000, help="of cpu; a twentieth of burn (%(default)s)")
    parser.add_argument("--publications", type=int, default=400, help="of fan (%(default)s)")
    parser.add_argument("--window", type=int, default=8, help="of fan: publications on their way (%(default)s)")
    parser.add_argument("--seconds", type=int, default=5, help="of delay (%(default)s)")
    parser.add_argument("--clients", type=int, default=10_000, help="of back (%(default)s)")
    parser.add_argument("--broker", help="of delay: the url of one, in the place of the hub")
    options = parser.parse_args()
    unknown = set(options.figures) - set(FIGURES)
    if unknown:
        parser.error(f"there is no figure {', '.join(sorted(unknown))}: it is one of {', '.join(FIGURES)}")
    for name in options.figures or FIGURES:
        FIGURES[name](options)


if __name__ == "__main__":
    main()
