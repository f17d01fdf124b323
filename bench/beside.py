"""Resume, HTTP, ASGI and two processes, aiorest-ws beside others, end to end: a part of bench/peers.py, and alone
`python bench/beside.py --help`. Linux with a C compiler.

What is measured is a visit: Python pays it once, looks at all that comes, and notes how many bytes that is;
bench/peers/visits.c repeats it. ASGI and two processes are measured by load.c, as requests are.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))

from bench.visits import (  # noqa: E402
    KEPT,
    Visit,
    begun_anew,
    greeted,
    hello,
    refetched,
    refetched_by_events,
    resumed,
)

peers = import_module("bench.peers")  # the script, not the directory of that name

BURN = peers.Workload("", 64, 4, {"method": "GET", "url": "/burn", "event_name": "e1"}, "Hello, world!")


# What is measured


@dataclass(frozen=True, slots=True)
class Row:
    server: Any
    visit: Callable[[int, ExitStack], Visit] | None = None
    processes: int = 0  # that say when they are ready


@dataclass(frozen=True, slots=True)
class Sample:
    rate: float  # visits, or messages, per second
    p99: float  # microseconds
    cpu: float | None = None  # microseconds of the server's CPU for each
    size: int = 0  # bytes that came for each


@dataclass(frozen=True, slots=True)
class Part:
    """A table and a plot, which the page has behind a comment with the name."""

    title: str
    heading: str  # of the plot
    unit: str
    rows: dict[str, Row]
    base: str = ""  # the row that others are compared with, else each with one process of it
    short: str = "one process"  # what that is called
    visitors: int = 64
    stays: bool = False
    workload: Any = None  # where there are no visits

    def base_of(self, name: str) -> str:
        return self.base or name.removesuffix("2") + "1" * name.endswith("2")

    def begin(self, name: str) -> str:
        return f"<!-- begin: {name}, make bench-peers WRITE=1 -->"


def _peer(label: str, script: str, loop: str = "uvloop", of: str = "") -> Any:
    return peers.Server(label, script, loop, of=of)


def _ours(label: str, script: str, loop: str = "uvloop") -> Any:
    return peers.Server(f"aiorest-ws{label}", script, loop, pure=False)


def _burns(name: str, script: str, make: Callable[[str, str, str], Any], label: str) -> dict[str, Row]:
    """Give a row for each number of processes, which the script is told in the place of its loop."""
    return {
        f"{name}-{number}": Row(make(f"{label}, {said}", script, str(number)), processes=number)
        for number, said in ((1, "one process"), (2, "two processes"))
    }


PARTS = {
    "resume": Part(
        f"coming back to a log of {KEPT} items, 64 at a time",
        "Clients that come back per second, and CPU of the server for each",
        "clients/s",
        {
            "ours": Row(_ours(", `since`: what was missed", "resume_ours.py"), resumed),
            "ours-anew": Row(_ours(", without `since`: all", "resume_ours.py"), begun_anew),
            "ours-bare": Row(_ours(", only the handshake", "resume_ours.py"), greeted),
            "picows": Row(_peer("picows: all", "picows_server.py"), refetched),
            "socketify": Row(_peer("socketify: all", "socketify_server.py", "its own loop"), refetched),
            "websockets": Row(_peer("websockets: all", "websockets_server.py"), refetched),
            "fastapi": Row(_peer("FastAPI on uvicorn: all", "fastapi_server.py"), refetched),
            "socketio": Row(
                _peer("python-socketio: all", "fan_socketio.py", of="python-socketio"), refetched_by_events
            ),
            "node-ws": Row(_peer("ws on node: all", "fan_ws.cjs", "node"), refetched),
        },
        "picows",
        "picows",
    ),
    "http": Part(
        "hello over HTTP, 64 connections × 1 in flight",
        "Requests over HTTP answered per second, and CPU of the server for each",
        "requests/s",
        {
            "ours": Row(_ours(", `http=True`", "http_ours.py"), hello),
            "fastapi": Row(_peer("FastAPI on uvicorn", "http_fastapi.py", of="fastapi"), hello),
            "uvicorn": Row(_peer("an ASGI app of two lines on uvicorn", "http_bare.py", of="uvicorn"), hello),
        },
        "uvicorn",
        "uvicorn",
        stays=True,
    ),
    "asgi": Part(
        "hello behind uvicorn, 64 connections × 16 in flight",
        "Requests over a WebSocket behind uvicorn answered per second",
        "msg/s",
        {
            "protocol": Row(_ours(", `aiorest_ws.asgi:Protocol`", "asgi_protocol.py")),
            "ours": Row(_ours(", `app.asgi()`", "asgi_ours.py")),
            "bare": Row(_peer("an ASGI app that says a constant", "asgi_bare.py", of="uvicorn")),
            "fastapi": Row(_peer("FastAPI on uvicorn", "fastapi_server.py")),
        },
        "fastapi",
        "FastAPI",
        workload=peers.WORKLOADS["hello-64x16"],
    ),
    "processes": Part(
        "handlers of 200 µs, 64 connections × 4 in flight",
        "Requests answered per second by one process and by two",
        "msg/s",
        _burns("ours", "burn_ours.py", _ours, "")
        | _burns("fastapi", "burn_fastapi.py", partial(_peer, of="fastapi"), "FastAPI on uvicorn"),
        workload=BURN,
    ),
}


class Generators:
    """The programs that load a server, made in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pin_server, self._pin = peers.pinning()
        self._visit, self._load = (peers.compiled(name, folder) for name in ("visits", "load"))

    def sample(self, part: Part, row: Row, seconds: float) -> Sample:
        """Run a server, and load it. Raises RuntimeError for what is wrong with it."""
        pin = [] if row.processes else self._pin_server
        way = self._visits if row.visit else self._requests
        with peers.running(row.server, pin, self._folder) as (port, pid):
            return way(part, row, port, pid, seconds)

    def _visits(self, part: Part, row: Row, port: int, pid: int, seconds: float) -> Sample:
        assert row.visit is not None
        with ExitStack() as stack:
            visit = row.visit(port, stack)
            stack.callback(visit.close)
            file = self._folder / "visit"
            file.write_bytes(visit.file())
            numbers = (port, part.visitors, int(part.stays), peers.WARMUP, seconds, pid)
            command = [*self._pin, self._visit, *map(str, numbers), str(file)]
            ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 + seconds)
        if ran.returncode:
            raise RuntimeError(ran.stderr.strip() or str(ran.returncode))
        visits, took, p99, cpu = map(float, ran.stdout.split())
        return Sample(visits / took, p99, cpu / visits * 1e6, sum(size for _, size in visit.steps))

    def _requests(self, part: Part, row: Row, port: int, pid: int, seconds: float) -> Sample:
        """Load a server, once each of its processes that does so has said that it is ready."""
        log, limit = self._folder / "server.log", monotonic() + 20
        while log.read_text().splitlines().count("ready") < row.processes:
            if monotonic() > limit:
                raise RuntimeError(f"not all processes are ready: {log.read_text()[-2000:]}")
            sleep(0.05)
        load = [self._load] if row.processes else [*self._pin, self._load]
        sample = peers.load(load, port, pid, part.workload, seconds, self._folder)
        return Sample(sample.rate, sample.p99)


Results = dict[str, list[Sample]]


def measure(part: Part, names: list[str], rounds: int, seconds: float) -> Results:
    """Give the samples; in each round each server runs once. A peer that fails leaves `names`."""
    results: Results = {name: [] for name in names}
    with TemporaryDirectory() as temporary:
        generators = Generators(Path(temporary))
        for number in range(1, rounds + 1):
            for name in names.copy():
                row = part.rows[name]
                peers.say(f"round {number} of {rounds}: {part.title}: {row.server.label}")
                try:
                    results[name].append(generators.sample(part, row, seconds))
                except (RuntimeError, OSError) as error:
                    if row.server.pure is not None:
                        raise
                    peers.say(f"{row.server.label} is left out: {error}")
                    names.remove(name)
    return results


# What is said of it


def middle(results: Results, name: str, what: str) -> float:
    return float(median(getattr(sample, what) for sample in results[name]))


def table(part: Part, results: Results, names: list[str]) -> str:
    """Give rates, and what they cost, beside the row that is the base: of CPU where that is known, else of rates."""
    has_cpu = results[names[0]][0].cpu is not None
    what, times = ("cpu", "CPU × ") if has_cpu else ("rate", "× ")
    more = "CPU µs each | bytes each | " if has_cpu else ""
    lines = [f"### {part.title}", "", f"| server | {part.unit} | p99 ms | {more}{times}{part.short} |"]
    lines.append("|---|--:|--:|--:|" + ("--:|--:|" if has_cpu else ""))
    for name in names:
        rate, p99, own = (middle(results, name, each) for each in ("rate", "p99", what))
        cells = [part.rows[name].server.label, f"{rate:,.0f}", f"{p99 / 1000:,.1f}"]
        if has_cpu:
            cells += [f"{own:.1f}", f"{results[name][0].size:,}"]
        base = part.base_of(name)
        cells.append(f"{own / middle(results, base, what):.2f}" if base in names else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def bars(part: Part, results: Results, names: list[str]) -> dict[str, list[Any]]:
    found = []
    for name in names:
        server, rates = part.rows[name].server, [sample.rate for sample in results[name]]
        cpu = "" if results[name][0].cpu is None else f"  ({middle(results, name, 'cpu'):.1f} µs of CPU)"
        found.append(peers.bar(server, rates, f"{median(rates):,.0f}{cpu}", is_base=name == part.base))
    return {part.title: found}


def main() -> None:
    options = peers.parser_of(__doc__, only=PARTS).parse_args()
    peers.make_venv()
    found = peers.versions()
    for name in peers.chosen(options.only, PARTS):
        part, before = PARTS[name], os.getloadavg()[0]
        names = [name for name, row in part.rows.items() if peers.is_there(row.server, found)]
        results = measure(part, names, options.rounds, options.secs)
        caption = peers.circumstances(options, (part.rows[name].server for name in names), before)
        report = f"{caption}\n{table(part, results, names)}"
        print(report)
        if options.write:
            peers.write(peers.PAGE, part.begin(name), report)
            plot = peers.plot(part.heading, bars(part, results, names), caption)
            (peers.PAGE.parent / f"{name}.svg").write_text(plot, encoding="utf-8")


if __name__ == "__main__":
    main()
