"""Typed handlers beside FastAPI's own WebSocket, end to end: `python bench/typed_peers.py [rounds [seconds]]`.

Both check two integers of the url, three arguments and a body of ten fields, and answer with a number; they take turns.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

peers = import_module("bench.peers")  # the script, not the directory of that name

SERVERS = {
    "ours": peers.Server("aiorest-ws, typed", "ours_typed_server.py", pure=False),
    "fastapi": peers.Server("FastAPI on uvicorn, pydantic", "fastapi_typed_server.py"),
}
REQUEST = {
    "method": "POST",
    "url": "/users/17/orders/23",
    "args": {"limit": 20, "offset": 5, "order": "name"},
    "data": {
        "number": 1,
        "customer": 2,
        "reference": "A-17",
        "city": "Oslo",
        "weight": 1.5,
        "express": True,
        "note": "ring twice",
        "priority": 9,
        "articles": ["pen", "ink"],
        "voucher": None,
    },
    "event_name": "e1",
}
WORKLOADS = [peers.Workload(f"64 connections × {window} in flight", 64, window, REQUEST, 61) for window in (1, 16)]
AT_LEAST = 5.0


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0
    peers.make_venv()
    generator, _ = peers.make_generator()
    pin_server, pin_generator = peers.pinning()
    samples: dict[tuple[str, str], list[Any]] = {}
    with TemporaryDirectory() as folder:
        for number in range(1, rounds + 1):
            for name, server in SERVERS.items():
                peers.say(f"round {number} of {rounds}: {server.label}")
                with peers.running(server, pin_server, Path(folder)) as (port, pid):
                    for workload in WORKLOADS:
                        sample = peers.load([*pin_generator, *generator], port, pid, workload, seconds, Path(folder))
                        samples.setdefault((name, workload.title), []).append(sample)
    print(f"{'':<32}{'messages/s':>24}{'CPU µs a message':>24}")
    for workload in WORKLOADS:
        line = f"{workload.title:<32}"
        for what, power in (("rate", 1), ("cpu", -1)):
            ours, theirs = (
                median(getattr(sample, what) or 0.0 for sample in samples[n, workload.title]) for n in SERVERS
            )
            times = (ours / theirs) ** power if ours and theirs else 0.0
            line += f"{ours:>9,.1f}{theirs:>9,.1f}{times:>5.1f}×"
            line += "!" if times < AT_LEAST else " "
        print(line)
    print(f"!: not {AT_LEAST:.0f} times as fast")


if __name__ == "__main__":
    main()
