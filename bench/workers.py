"""What workers cost and give, on this machine: `python bench/workers.py [spread|memory|cpu|burn|sighup|storm …]`.

All servers are real ones, on free ports. Compare ratios within one run; `burn` needs as many idle processors as
workers. `cpu` and `burn` take bench/peers/load.c, compiled, at the path in LOAD. Not for CI: it prints figures, and
fails only where a promise has no tolerance (what was begun is answered, nobody is refused).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from tests.serving import CLOSE, Client, HandshakeRefused  # noqa: E402

SECONDS = float(os.environ.get("SECONDS", "2"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
LOOP = os.environ.get("LOOP", "uvloop")

PROGRAM = """
import asyncio, os, sys, time
from aiorest_ws import Application, SimpleRouter, endpoint
router, begun = SimpleRouter(), []
def get(path):
    return lambda function: router.register_endpoint(endpoint(path, "GET")(function))
@get("/hello")
def hello(request):
    return "Hello, world!"
@get("/pid")
def pid(request):
    return os.getpid()
@get("/burn")
def burn(request):
    end = time.thread_time() + 200e-6
    while time.thread_time() < end:
        pass
    return "Hello, world!"
@get("/work/{n}")
async def work(request, n):
    begun.append(n)
    await asyncio.sleep(0.002)
    return n
def tell(app):
    with open(sys.argv[1], "a") as file:
        file.write("".join(f"{n}\\n" for n in begun))
options = eval(sys.argv[2])
Application(router=router, port=0, log_level="error", on_shutdown=[tell]).run(**options)
"""


class Server:
    """A program that serves; `workers` are its processes that do."""

    def __init__(self, process: subprocess.Popen[str], begun: Path) -> None:
        self.process = process
        self.begun = begun
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Server started at ws://"):
                self.port = int(line.rpartition(":")[2].strip().strip("/"))
            if line.startswith("Quit"):
                return
        raise SystemExit("it does not start")

    @property
    def workers(self) -> list[int]:
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in text.split()] or [self.process.pid]

    def cpu(self) -> float:
        """CPU seconds of all that serve."""
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self.workers)


@contextmanager
def serving(**options: Any) -> Iterator[Server]:
    options = {"loop": LOOP, "workers": 2} | options
    with tempfile.TemporaryDirectory() as folder:
        program, begun = Path(folder, "program.py"), Path(folder, "begun")
        program.write_text(PROGRAM)
        process = subprocess.Popen(
            [sys.executable, str(program), str(begun), repr(options)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        try:
            yield Server(process, begun)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


# Where connections go


async def shares(where: Any, count: int, *, at_once: bool) -> list[int]:
    """Give how many of `count` connections each worker has, in percent."""

    async def connect() -> tuple[Client, int]:
        client = await Client.connect(where)
        return client, (await client.ask(url="/pid"))["data"]

    made = (
        await asyncio.gather(*(connect() for _ in range(count))) if at_once else [await connect() for _ in range(count)]
    )
    pids = Counter(pid for _, pid in made)
    for client, _ in made:
        client.abort()
    return sorted(round(100 * number / count) for number in pids.values())


def spread() -> None:
    for loop in ("asyncio", "uvloop"):
        for what in ("port", "unix"):
            with tempfile.TemporaryDirectory() as folder:
                path = f"{folder}/s"
                with serving(loop=loop, **({"unix_path": path} if what == "unix" else {})) as server:
                    where = path if what == "unix" else ("127.0.0.1", server.port)
                    for at_once in (False, True):
                        found = [asyncio.run(shares(where, 400, at_once=at_once)) for _ in range(ROUNDS)]
                        print(f"spread {loop} {what} {'at once' if at_once else 'in turn'}: {found} %", flush=True)


# What they take


def memory_of(pid: int) -> tuple[int, int]:
    """Give RSS and what is the process's own, in KiB."""
    fields = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    kib = {name: int(text.split()[0]) for name, text in fields.items()}
    return kib["Rss"], kib["Private_Clean"] + kib["Private_Dirty"]


def memory() -> None:
    for loop in ("asyncio", "uvloop"):
        found: dict[int, list[tuple[int, int]]] = {1: [], 2: []}
        for _ in range(ROUNDS):
            for count, taken in found.items():
                with serving(workers=count, loop=loop) as server:
                    taken += [memory_of(pid) for pid in server.workers]
        one, many = ([median(each) for each in zip(*found[count], strict=True)] for count in (1, 2))
        for name, before, after in zip(("rss", "own"), one, many, strict=True):
            print(f"memory {loop} {name}: alone {before} KiB, a worker {after} KiB: {(after - before) / 1024:+.2f} MiB")


def load(server: Server, url: str, connections: int, window: int, seconds: float) -> tuple[int, float]:
    """Give the number of messages, and the CPU seconds of the server."""
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder, "request")
        request.write_text(f'{{"method": "GET", "url": "{url}"}}')
        command = [
            os.environ["LOAD"],
            *map(str, (server.port, connections, window, 0, seconds, server.process.pid, request)),
        ]
        before = server.cpu()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return int(done.stdout.split()[0]), server.cpu() - before


def compare(url: str, connections: int, window: int) -> tuple[list[float], list[float]]:
    """Give the ratios, two workers to one process, of messages a second and of CPU a message."""
    rates, costs = [], []
    with serving(workers=1) as one, serving(workers=2) as two:
        for _ in range(ROUNDS):
            (few, little), (many, much) = (load(each, url, connections, window, SECONDS) for each in (one, two))
            rates.append(many / few)
            costs.append((much / many) / (little / few))
    return rates, costs


def cpu() -> None:
    for window in (1, 16):
        # On one connection, which one worker has: two that share the load find fewer messages in each read.
        _, costs = compare("/hello", 1, window)
        print(
            f"cpu hello 1x{window}: a message {median(costs):.3f} of alone {[round(c, 3) for c in costs]}", flush=True
        )


def burn() -> None:
    rates, costs = compare("/burn", 64, 4)
    print(f"burn 200 µs: a message {median(costs):.3f} of alone in CPU", flush=True)
    print(f"burn 200 µs: {median(rates):.2f} times as many a second {[round(r, 2) for r in rates]}", flush=True)


# Replacement and death


class Load:
    """Connections that ask on and on; each request once, never again."""

    def __init__(self, port: int) -> None:
        self.where = ("127.0.0.1", port)
        self.asked = self.answered = self.refused = 0
        self.unanswered: set[int] = set()
        self.statuses: Counter[int] = Counter()
        self.goodbyes: Counter[Any] = Counter()
        self.is_over = False

    async def connection(self, window: int) -> None:
        while not self.is_over:
            try:
                client = await Client.connect(self.where)
            except (OSError, HandshakeRefused, asyncio.IncompleteReadError):
                self.refused += 1
                continue
            await self.converse(client, window)

    async def converse(self, client: Client, window: int) -> None:
        waits: set[int] = set()

        def ask() -> None:
            self.asked += 1
            waits.add(self.asked)
            client.request(url=f"/work/{self.asked}", id=self.asked)

        for _ in range(window):
            ask()
        try:
            while waits:
                frame = await client.receive()
                if frame.opcode == CLOSE:
                    self.goodbyes[frame.close_code] += 1
                    client.send(frame.payload[:2], CLOSE)
                    break
                reply = json.loads(frame.payload)
                waits.discard(reply["id"])
                self.statuses[reply["status"]] += 1
                self.answered += 1
                if not self.is_over:
                    ask()
        except (OSError, asyncio.IncompleteReadError):
            self.goodbyes["lost"] += 1
        self.unanswered |= waits
        client.abort()


async def under_load(port: int, seconds: float, disturb: Any) -> Load:
    load = Load(port)
    connections = [asyncio.ensure_future(load.connection(16)) for _ in range(64)]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await asyncio.sleep(1.0)
        disturb()
    await asyncio.sleep(2.0)
    load.is_over = True
    await asyncio.gather(*connections)
    return load


def sighup() -> None:
    for loop in ("asyncio", "uvloop"):
        with serving(loop=loop) as server:
            begun = server.begun

            def hang_up(server: Server = server) -> None:
                server.process.send_signal(signal.SIGHUP)

            done = asyncio.run(under_load(server.port, 5 * SECONDS, hang_up))
            server.process.send_signal(signal.SIGTERM)
            server.process.wait()
            ids = {int(line) for line in begun.read_text().split()}
        lost = done.unanswered & ids
        print(
            f"sighup {loop} 64x16: {done.asked} asked, {dict(done.statuses)}, {dict(done.goodbyes)}, "
            f"{len(done.unanswered)} without reply, {len(lost)} of them begun, {done.refused} refused",
            flush=True,
        )
        if lost or done.refused:
            raise SystemExit("a promise is broken")


def storm() -> None:
    for loop in ("asyncio", "uvloop"):
        with serving(loop=loop) as server:

            def kill(server: Server = server) -> None:
                for pid in random.sample(server.workers, random.choice((1, 2)) if len(server.workers) > 1 else 1):
                    if pid != server.process.pid:
                        os.kill(pid, signal.SIGKILL)

            done = asyncio.run(under_load(server.port, 10 * SECONDS, kill))
            serves = len(server.workers)
        print(
            f"storm {loop} 64x16: {done.asked} asked, {dict(done.statuses)}, {dict(done.goodbyes)}, "
            f"{done.refused} refused, {serves} workers in the end",
            flush=True,
        )


if __name__ == "__main__":
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # that clients write to who has been killed
    for name in sys.argv[1:] or ("spread", "memory", "cpu", "burn", "sighup", "storm"):
        {"spread": spread, "memory": memory, "cpu": cpu, "burn": burn, "sighup": sighup, "storm": storm}[name]()
