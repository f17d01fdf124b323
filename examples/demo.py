"""`make demo`: starts method_based_api/server.py, sends it requests in several forms and prints what comes back."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any, NamedTuple

from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

SERVER = Path(__file__).parent / "method_based_api" / "server.py"
TIMEOUT = 15.0  # seconds for all of it; it takes one or two


class Message(NamedTuple):
    """One message, either way: its JSON and the form in which it travels."""

    json: str
    binary: bool
    base64: bool

    def payload(self) -> bytes:
        data = self.json.encode()
        return base64.b64encode(data) if self.base64 else data

    @classmethod
    def read(cls, payload: bytes, binary: bool) -> Message:
        """Tell the form by the first byte: base64 of an object begins with `e`, JSON with `{`."""
        encoded = payload[:1] == b"e"
        return cls((base64.b64decode(payload) if encoded else payload).decode(), binary, encoded)

    def lines(self, arrow: str) -> str:
        form = f"{'binary' if self.binary else 'text'}, {'base64' if self.base64 else 'JSON'}"
        shown = f"{arrow} {form:16}{self.json}"
        return f"{shown}\n{'':18}as {self.payload().decode()}" if self.base64 else shown


def request(*, binary: bool = False, base64: bool = False, **keys: Any) -> Message:
    return Message(json.dumps(keys, separators=(",", ":")), binary, base64)


STORY = (
    ("A request is a JSON object with a method and a url.", request(method="GET", url="/hello")),
    ("Path parameters.", request(method="GET", url="/hello/user/24")),
    ("`args` become keyword arguments, `event_name` comes back.", request(
        method="GET", url="/sum", args={"numbers": [2, 3, 4, 5]}, event_name="my-sum")),
    ("base64 in a binary frame: the reply comes in the same form.", request(
        method="GET", url="/hello", binary=True, base64=True)),
    ("base64 in a text frame.", request(method="GET", url="/hello", base64=True)),
    ("JSON in a binary frame.", request(method="GET", url="/hello", binary=True)),
    ("With an `id` the reply carries it and a status.", request(method="GET", url="/hello", id=1)),
    ("An unknown url.", request(method="GET", url="/nowhere", id=2)),
    ("A known url, but not this method.", request(method="PUT", url="/hello", id=3)),
    ("An argument is missing.", request(method="GET", url="/sum", id=4)),
    ("Not a request at all: that is answered too.", Message('{"method": "GET",', binary=False, base64=False)),
    ("And the connection goes on.", request(method="GET", url="/hello")),
)  # fmt: skip


class DemoClient(WebSocketClientProtocol):
    """Sends the next request when the reply to the last one is there."""

    def onOpen(self) -> None:
        self.story = iter(STORY)
        self.told = False
        self.send_next()

    def send_next(self) -> None:
        step = next(self.story, None)
        if step is None:
            self.told = True
            self.sendClose()
            return
        title, self.sent = step
        print(f"\n{title}\n{self.sent.lines('→')}")
        self.sendMessage(self.sent.payload(), isBinary=self.sent.binary)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        reply = Message.read(payload, isBinary)
        print(reply.lines("←"))
        if reply[1:] != self.sent[1:]:
            self.sendClose(reason="the reply is not in the form of the request")
        else:
            self.send_next()


async def listening(server: Process) -> str:
    """Wait for the server's start-up lines, print them and give its url."""
    assert server.stdout is not None
    url = ""
    async for line in server.stdout:
        text = line.decode().rstrip()
        if text.startswith("Quit the server"):
            return url
        print(text)
        found = re.search(r"wss?://\S+", text)
        url = found[0] if found else url
    raise RuntimeError(f"the server did not start, its exit code is {await server.wait()}")


async def talk(url: str) -> None:
    factory = WebSocketClientFactory(url)
    factory.protocol = DemoClient
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(factory, factory.host, factory.port)
    await client.is_closed
    if not getattr(client, "told", False):
        why = client.wasNotCleanReason or client.localCloseReason or client.remoteCloseReason
        raise RuntimeError(f"the connection ended too early: {why}")


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
            await talk(await listening(server))
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
    except (OSError, RuntimeError) as exc:
        print(f"demo failed: {exc}", file=sys.stderr)
    except KeyboardInterrupt:
        print("demo stopped", file=sys.stderr)
    else:
        print("\nThe server has stopped. README.md tells the rest.")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
