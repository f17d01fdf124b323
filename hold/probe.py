"""The well-behaved client beside an attack: `python -m hold.probe HOST PORT` asks /hello every few milliseconds.

Ends with its standard input, and prints when each question was asked, by the clock that all processes share, and how
many milliseconds its answer took, as JSON.
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
    asked: list[float] = field(default_factory=list)  # when, in seconds
    fault: str = ""

    @property
    def worst(self) -> float:
        return max(self.samples, default=math.inf) if not self.fault else math.inf

    def worst_between(self, since: float, until: float) -> float:
        """Give the longest wait that began before `until` and ended after `since`."""
        waits = zip(self.asked, self.samples, strict=True)
        seen = [wait for asked, wait in waits if asked < until and asked + wait / 1000 > since]
        is_there = self.samples and not self.fault
        return max(seen, default=0.0) if is_there else math.inf  # 0: it was over between two questions

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
                said = {"answers": [], "fault": "no answer within 60 s"}
            latency.asked, latency.samples = [[answer[at] for answer in said["answers"]] for at in (0, 1)]
            latency.fault = said["fault"]


def main() -> None:
    question = frame(dump({"method": "GET", "url": "/hello"}))
    answers: list[tuple[float, float]] = []
    fault = ""
    try:
        with Wire((sys.argv[1], int(sys.argv[2]))) as wire:
            for _ in range(100):  # so that what runs for the first time has run
                wire.send(question)
                wire.receive()
            print("ready", flush=True)
            while not select.select([sys.stdin], [], [], _EVERY)[0]:
                start = time.monotonic()
                wire.send(question)
                wire.receive(60)
                answers.append((start, round((time.monotonic() - start) * 1000, 3)))
    except OSError as exc:
        fault = f"{type(exc).__name__} after {len(answers)} answers"
        print("ready", flush=True)
    sys.stdin.read()
    print(json.dumps({"answers": answers, "fault": fault}))


if __name__ == "__main__":
    main()
