"""One publication → many subscribers, aiorest-ws beside others, end to end: a part of bench/peers.py, and alone
`python bench/fanout.py --help`. Linux with a C compiler.

Each server in bench/peers/fan_* does it as its documentation would write it. What it promises differs: ours keeps for a
while what a slow subscriber has not taken, the others leave it out or let memory grow.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))

peers = import_module("bench.peers")  # the script, not the directory of that name

NEWS = {"headline": "rain", "day": "2026-11-29", "towns": ["Oslo", "Bergen", "Troms\u00f8"], "mm": 4.5, "urgent": False}
PUSHES = '{"event_name"'
PLOT, BEGIN = HERE.parent / "docs" / "fanout.svg", "<!-- begin: fan-out, make bench-peers WRITE=1 -->"


@dataclass(frozen=True, slots=True)
class Peer:
    """A server, and what is said to it: see bench/peers/fan.c."""

    server: Any
    path: str = "/"
    answers: int = 1
    pushes: str = PUSHES
    joins: tuple[str, ...] = (json.dumps({"method": "SUBSCRIBE", "url": "/news", "id": 1}),)
    publishes: str = json.dumps({"method": "POST", "url": "/news", "data": NEWS})

    @property
    def is_ours(self) -> bool:
        return self.server.pure is not None

    def file(self) -> bytes:
        lines = (self.path, str(self.answers), self.pushes, "\0".join(self.joins), self.publishes, "")
        return "\n".join(lines).encode()


NAMED = {
    "ours": Peer(peers.Server("aiorest-ws", "fan_ours.py", pure=False)),
    "ours-asyncio": Peer(peers.Server("aiorest-ws, asyncio", "fan_ours.py", "asyncio", pure=False)),
    "ours-pure": Peer(peers.Server("aiorest-ws, pure Python, asyncio", "fan_ours.py", "asyncio", pure=True)),
    "picows": Peer(peers.Server("picows, a loop over transports", "fan_picows.py")),
    "socketify": Peer(peers.Server("socketify, topics of uWebSockets", "fan_socketify.py", "its own loop")),
    "websockets": Peer(peers.Server("websockets, broadcast", "fan_websockets.py")),
    "litestar": Peer(peers.Server("Litestar, channels", "fan_litestar.py")),
    "fastapi": Peer(peers.Server("FastAPI on uvicorn, ConnectionManager", "fan_fastapi.py")),
    "socketio": Peer(
        peers.Server("python-socketio, a room", "fan_socketio.py", of="python-socketio"),
        path="/socket.io/?EIO=4&transport=websocket",
        answers=3,
        pushes='42["news"',
        joins=("40", '42["subscribe"]'),
        publishes=f'42["publish",{json.dumps(NEWS)}]',
    ),
    "node-ws": Peer(peers.Server("ws on node", "fan_ws.cjs", "node")),
}
WORKLOADS = {"fan-1000x1": (1000, 1), "fan-1000x8": (1000, 8)}


Results = dict[tuple[str, str], list[Any]]  # samples by server and workload; p99 is of the last subscriber


def load(command: list[str], port: int, pid: int, workload: str, seconds: float, file: Path) -> Any:
    """Load a server once, and check that what its subscribers got is what was published."""
    numbers = (port, *WORKLOADS[workload], peers.WARMUP, seconds, pid, file)
    ran = subprocess.run([*command, *map(str, numbers)], capture_output=True, check=False, timeout=120 + seconds)
    if ran.returncode:
        raise RuntimeError(f"{workload}: {ran.stderr.decode().strip() or ran.returncode}")
    figures, push = ran.stdout.split(b"\n", 1)
    text = push.decode()
    got = json.loads(text.removeprefix("42"))
    if (got[1] if isinstance(got, list) else got["data"]) != NEWS:
        raise RuntimeError(f"{workload}: wrong push: {text[:200]!r}")
    deliveries, took, p99, cpu = map(float, figures.split())
    return peers.Sample(deliveries / took, p99, cpu / deliveries * 1e6)


def measure(names: list[str], workloads: list[str], rounds: int, seconds: float) -> Results:
    """Give the samples; in each round each server runs once for each workload. A peer that fails leaves `names`."""
    results: Results = {(name, workload): [] for name in names for workload in workloads}
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    pin_server, pin_generator = peers.pinning()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        command = [*pin_generator, peers.compiled("fan", folder)]
        for number in range(1, rounds + 1):
            for name in names.copy():
                peers.say(f"round {number} of {rounds}: {NAMED[name].server.label}")
                file = folder / "said"
                file.write_bytes(NAMED[name].file())
                try:
                    for workload in workloads:
                        with peers.running(NAMED[name].server, pin_server, folder) as (port, pid):
                            results[name, workload].append(load(command, port, pid, workload, seconds, file))
                except RuntimeError as error:
                    if NAMED[name].is_ours:
                        raise
                    peers.say(f"{NAMED[name].server.label} is left out: {error}")
                    names.remove(name)
    return results


def middle(results: Results, name: str, workload: str, what: str) -> float:
    return float(median(getattr(sample, what) for sample in results[name, workload]))


def tables(results: Results, names: list[str], workloads: list[str]) -> str:
    """Give a table for each workload; its last column compares the CPU of a delivery."""
    lines: list[str] = []
    for workload in workloads:
        lines += [f"### {title(workload)}", ""]
        lines += [f"| server | deliveries/s | p99 ms | CPU µs/delivery | CPU × {peers.BASE} |", "|---|--:|--:|--:|--:|"]
        for name in names:
            rate, p99, cpu = (middle(results, name, workload, what) for what in ("rate", "p99", "cpu"))
            base = middle(results, peers.BASE, workload, "cpu") if peers.BASE in names else 0
            ratio = f"{cpu / base:.2f}" if base else "–"
            lines.append(f"| {NAMED[name].server.label} | {rate:,.0f} | {p99 / 1000:,.1f} | {cpu:.2f} | {ratio} |")
        lines.append("")
    return "\n".join(lines)


def title(workload: str) -> str:
    subscribers, window = WORKLOADS[workload]
    return f"fan-out to {subscribers:,} subscribers, {window} under way"


def bars(results: Results, names: list[str], workloads: list[str]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for workload in workloads:
        groups[title(workload)] = []
        for name in names:
            rates = [sample.rate for sample in results[name, workload]]
            rate, cpu = median(rates), middle(results, name, workload, "cpu")
            words = f"{rate:,.0f}  ({cpu:.2f} µs of CPU)"
            groups[title(workload)].append(peers.bar(NAMED[name].server, rates, words, is_base=name == peers.BASE))
    return groups


def main() -> None:
    options = peers.parser_of(__doc__, only=NAMED, workloads=WORKLOADS).parse_args()
    names, workloads = peers.chosen(options.only, NAMED), peers.chosen(options.workloads, WORKLOADS)
    peers.make_venv()
    found = peers.versions()
    names = [name for name in names if peers.is_there(NAMED[name].server, found)]
    before = os.getloadavg()[0]
    results = measure(names, workloads, options.rounds, options.secs)
    caption = peers.circumstances(options, (NAMED[name].server for name in names), before)
    report = f"{caption}\n{tables(results, names, workloads)}"
    print(report)
    if options.write:
        peers.write(peers.PAGE, BEGIN, report)
        heading = "Deliveries per second, and CPU of the server for each"
        PLOT.write_text(peers.plot(heading, bars(results, names, workloads), caption), encoding="utf-8")


if __name__ == "__main__":
    main()
