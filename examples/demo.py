"""`make demo`: starts chat/server.py, talks to it by the Python client, cuts a connection, and prints what comes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from aiorest_ws.client import AsyncClient, AsyncStatuses, Change, ClientError, RequestFailed, State

SERVER = Path(__file__).parent / "chat" / "server.py"
TIMEOUT = 15.0  # seconds for all of it; it takes one or two
MESSAGES = "/rooms/lobby/messages"

TITLE, ASKED, GIVEN, WRONG, SEEN, QUIET, PLAIN = (f"\x1b[{code}m" for code in ("1", "36", "32", "31", "33", "2", "0"))


# What is printed


def has_colours() -> bool:
    """Tell whether what is printed goes to a terminal that shows colours, and nobody minds (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def tell(text: str, colour: str = PLAIN) -> None:
    print(f"{colour}{text}{PLAIN}" if has_colours() else text)


def begin(title: str) -> None:
    tell(f"\n{title}", TITLE)


async def ask(api: AsyncClient, method: str, url: str, data: Any = None) -> None:
    """Call a url, and tell what was asked and what came."""
    tell(f"→ {method} {url}" + ("" if data is None else f" {shown(data)}"), ASKED)
    try:
        reply = await api.exchange(method, url, data=data)
    except RequestFailed as exc:
        tell(f"← {exc.status} {exc.detail}", WRONG)
    else:
        tell(f"← {reply.status} {shown(reply.data)}", GIVEN)


def shown(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False)


async def read(changes: AsyncIterator[Change[Any]], times: int = 1) -> None:
    """Tell the next items of a log. Raises RuntimeError if it begins anew, or says that some are missing."""
    for _ in range(times):
        change = await anext(changes)
        if not change.is_item or change.lost:
            raise RuntimeError(f"expected the next message, got {change}")
        tell(f"  Bob reads message {change.data['number']}: {change.data['text']}", SEEN)


# Bob's line


class Line:
    """What is between Bob and the server: bytes go over it until it is cut, and again when it is mended."""

    def __init__(self, target: int) -> None:
        self.target = target  # the port of the server
        self.is_cut = False
        self.ends: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Let go of all connections without a word, and take none."""
        self.is_cut = True
        for end in self.ends:
            end.transport.abort()

    def mend(self) -> None:
        self.is_cut = False

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.is_cut:
                raise ConnectionError("the line is cut")
            theirs, ours = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, ours}
        self.ends |= ends
        await asyncio.gather(pass_on(reader, ours), pass_on(theirs, writer))
        self.ends -= ends


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass  # it was cut meanwhile
    finally:
        writer.close()


@asynccontextmanager
async def line_to(port: int) -> AsyncIterator[tuple[Line, str]]:
    """Give a line to a server, and the url at its other end."""
    line = Line(port)
    listening = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    try:
        yield line, f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        line.cut()
        listening.close()


# The story


async def talk(url: str, port: int) -> None:
    async with line_to(port) as (line, bobs_url):
        bob = AsyncClient(f"{bobs_url}/?name=bob")
        async with AsyncClient(f"{url}?name=ada") as ada, bob, bob.subscribe(MESSAGES) as changes:
            begin("A request has a method and a url, its reply a status. Ada says something:")
            first = await anext(changes)
            await ask(ada, "POST", MESSAGES, "hello")
            begin("Bob has subscribed to that url, and is told:")
            tell(f"  Bob begins with {shown(first.data)}", SEEN)
            await read(changes)
            begin("An error has a status, too, and says what is wrong:")
            await ask(ada, "POST", MESSAGES, {"text": "hello"})
            await ask(ada, "GET", "/rooms/attic/messages")
            await ask(ada, "PUT", MESSAGES, "hello")
            begin("The line to Bob is cut. Ada does not know, and goes on:")
            async with bob.statuses() as states:
                await drop(line, states, ada)
            begin("Bob's client has gone on where it was: nothing is lost, nothing comes twice.")
            await read(changes, 2)
            await ask(ada, "POST", MESSAGES, "welcome back")
            await read(changes)


async def drop(line: Line, states: AsyncStatuses, ada: AsyncClient) -> None:
    """Cut the line, let Ada talk, mend it, and wait until Bob is back."""
    await until(states, "open")
    line.cut()
    gone, began = await until(states, "offline"), monotonic()
    tell(f"  Bob is offline: {gone.reason}; tries again in {gone.retry_in or 0.0:.2f} s", WRONG)
    await ask(ada, "POST", MESSAGES, "are you there?")
    await ask(ada, "POST", MESSAGES, "I will wait")
    line.mend()
    await until(states, "open")
    tell(f"  Bob is back after {monotonic() - began:.2f} s", SEEN)


async def until(states: AsyncStatuses, status: str) -> State:
    async for state in states:
        if state.status == status:
            return state
    raise RuntimeError(f"the client has ended before it was {status}")


# The server


async def listening(server: Process) -> tuple[str, int]:
    """Wait for the server's start-up lines, print them and give its url and port."""
    assert server.stdout is not None
    found = None
    async for line in server.stdout:
        text = line.decode().rstrip()
        if text.startswith("Quit the server") and found is not None:
            return found[0], int(found[1])
        tell(text, QUIET)
        found = re.search(r"ws://[^:]+:(\d+)/", text) or found
    raise RuntimeError(f"the server did not start, its exit code is {await server.wait()}")


async def stop(server: Process) -> None:
    """Press Ctrl-C, so to speak."""
    if os.name == "nt":
        server.terminate()
        await server.wait()
        return
    server.send_signal(signal.SIGINT)
    if await server.wait():
        raise RuntimeError(f"the server ended with exit code {server.returncode}")


async def demo() -> None:
    command = (sys.executable, str(SERVER), "-port", "0")  # port 0: a free one
    server = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE)
    try:
        async with asyncio.timeout(TIMEOUT):
            await talk(*await listening(server))
            await stop(server)
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()


def main() -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)  # the arrows, also into a pipe on Windows
    try:
        asyncio.run(demo())
    except TimeoutError:
        print(f"demo failed: not done after {TIMEOUT:g} seconds", file=sys.stderr)
    except (ClientError, ImportError, OSError, RuntimeError) as exc:
        print(f"demo failed: {exc}", file=sys.stderr)
    except KeyboardInterrupt:
        print("demo stopped", file=sys.stderr)
    else:
        print("\nThe server has stopped. README.md tells the rest.")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
