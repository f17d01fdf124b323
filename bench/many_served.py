"""What `bench.many` measures: `python -m bench.many_served '{"workers": 2}'`."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from aiorest_ws import Application, Live, Request, SimpleRouter

router = SimpleRouter()
_runs = [0, 0]  # of the handlers of the log and of the state, in this process
_begun: list[int] = [0]


@router.get("/pid")
def pid(request: Request) -> int:
    return os.getpid()


@router.get("/hello")
def hello(request: Request) -> str:
    return "Hello, world!"


@router.get("/burn")
def burn(request: Request) -> None:
    """Use the processor for 200 µs."""
    end = time.thread_time_ns() + 200_000
    while time.thread_time_ns() < end:
        pass


@router.post("/notes")
def note(request: Request, data: Any) -> Any:
    os.write(_begun[0], f"{data}\n".encode())
    return data


@router.get("/news", live=Live(mode="log", shared=True, history=1000))
def news(request: Request) -> list[int]:
    _runs[0] += 1
    return []


@router.post("/news")
async def publish(request: Request) -> str | None:
    version: str | None = await request.app.live.publish("/news", request.data)
    return version


@router.get("/state", live=Live(shared=True, interval=1.0))
def state(request: Request) -> str:
    _runs[1] += 1
    return "as ever"


@router.get("/runs")
def runs(request: Request) -> list[int]:
    return [os.getpid(), *_runs]


@router.get("/connections")
def connections(request: Request) -> list[int]:
    return [os.getpid(), len(request.connection.factory.connections)]


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    if begun := options.pop("begun", None):
        _begun[0] = os.open(begun, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    Application(router=router).run(**{"port": 0, "log_level": "warn", "max_connections": None} | options)
