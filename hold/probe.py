"""The well-behaved client beside an attack: `python -m hold.probe HOST PORT` asks /hello every few milliseconds.

Ends with its standard input, and prints the time of each answer in milliseconds, as JSON.
"""

from __future__ import annotations

import json
import math
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hold.process import ROOT, Server
from hold.wire import Wire
from tests.serving import dump, frame

__all__ = ("Latency", "probing")

_EVERY = 0.003  # seconds from an answer to the next question


@dataclass
class Latency:
    """What a well-behaved client saw, in milliseconds."""

    samples: list[float] = field(default_factory=list)
    fault: str = ""

    @property
    def worst(self) -> float:
        return max(self.samples, default=math.inf) if not self.fault else math.inf

    @property
    def median(self) -> float:
        return sorted(self.samples)[len(self.samples) // 2] if self.samples else math.inf

    def __str__(self) -> str:
        if self.fault:
            return f"another client: {self.fault}"
        return f"another client {self.worst:.1f} ms at worst, {self.median:.1f} in the middle"


@contextmanager
def probing(server: Server) -> Iterator[Latency]:
    """Run a probe for as long as the block lasts; what it saw is there afterwards."""
    latency = Latency()
    command = [sys.executable, "-m", "hold.probe", *map(str, server.address)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has its first answers
        try:
            yield latency
        finally:
            try:
                said: Any = json.loads(process.communicate(timeout=60)[0])
            except subprocess.TimeoutExpired:
                process.kill()
                said = {"samples": [], "fault": "no answer within 60 s"}
            latency.samples, latency.fault = said["samples"], said["fault"]


def main() -> None:
    question = frame(dump({"method": "GET", "url": "/hello"}))
    samples: list[float] = []
    fault = ""
    try:
        with Wire((sys.argv[1], int(sys.argv[2]))) as wire:
            for _ in range(100):  # so that what runs for the first time has run
                wire.send(question)
                wire.receive()
            print("ready", flush=True)
            while not select.select([sys.stdin], [], [], _EVERY)[0]:
                start = time.perf_counter()
                wire.send(question)
                wire.receive(60)
                samples.append(round((time.perf_counter() - start) * 1000, 3))
    except OSError as exc:
        fault = f"{type(exc).__name__} after {len(samples)} answers"
        print("ready", flush=True)
    sys.stdin.read()
    print(json.dumps({"samples": samples, "fault": fault}))


if __name__ == "__main__":
    main()
