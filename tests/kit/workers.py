"""A program with workers, in a process group of its own: none of its processes is there when its block is left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.serving import TIMEOUT, Client, Program

__all__ = ("PROGRAM", "address_in", "client_of", "ended", "pid_of", "program_of", "running", "two_clients")

Where = tuple[str, int] | str

PROGRAM = """
import asyncio, os, signal, sys
from aiorest_ws import Application, SimpleRouter, endpoint
router = SimpleRouter()
def get(path):
    return lambda function: router.register_endpoint(endpoint(path, "GET")(function))
@get("/pid")
def pid(request):
    return os.getpid()
@get("/wait")
async def wait(request):
    print("waiting", flush=True)
    await asyncio.sleep(0.3)
    return os.getpid()
@get("/stuck")
def stuck(request):
    print("stuck", flush=True)
    while True:
        pass
app = Application(router=router, port=0, workers=2)
"""


@asynccontextmanager
async def running(*command: str, **environment: str) -> AsyncIterator[Program]:
    """Run Python with `command`, and kill what is left of it in the end."""
    program = await Program.launch(*command, **environment)
    try:
        async with program:
            yield program
    finally:
        try:
            os.killpg(program.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def program_of(source: str, **environment: str) -> AbstractAsyncContextManager[Program]:
    """Run `PROGRAM`, with `source` behind it."""
    return running("-c", PROGRAM + source, **environment)


def address_in(lines: list[str]) -> tuple[str, int]:
    """Give the address in the start-up lines."""
    (line,) = [line for line in lines if line.startswith("Server started at ")]
    host, _, port = line.partition("//")[2].partition("/")[0].rpartition(":")
    return host, int(port)


async def pid_of(client: Client) -> int:
    """Give the process that serves `client`."""
    reply = await client.ask(url="/pid")
    assert isinstance(reply["data"], int)
    return reply["data"]


async def client_of(where: Where, wanted: Callable[[int], bool] = lambda pid: True) -> tuple[Client, int]:
    """Give a client of a worker whose process is `wanted`, and that; the system chooses, so it may take some tries."""
    async with asyncio.timeout(5 * TIMEOUT):
        while True:
            client = await Client.connect(where)
            pid = await pid_of(client)
            if wanted(pid):
                return client, pid
            await client.leave()  # it is counted no more when that is done


async def two_clients(where: Where) -> tuple[tuple[Client, int], tuple[Client, int]]:
    """Give a client of each of two workers, with its process."""
    first, pid = await client_of(where)
    return (first, pid), await client_of(where, lambda found: found != pid)


async def ended(*pids: int) -> None:
    """Wait until none of these processes is there any more, though nobody of ours has waited for them."""
    async with asyncio.timeout(3 * TIMEOUT):
        while any(map(_is_there, pids)):  # noqa: ASYNC110 (nobody tells of processes that are not one's own)
            await asyncio.sleep(0.01)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"  # nobody has asked yet how it ended
    except OSError:
        return sys.platform != "linux"
