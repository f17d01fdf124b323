"""A server's port → a visit, done once, that bench/peers/visits.c can repeat: what is sent, how many bytes come."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from time import sleep
from typing import Any

from tests.serving import frame

__all__ = (
    "KEPT",
    "MISSED",
    "Visit",
    "begun_anew",
    "greeted",
    "hello",
    "refetched",
    "refetched_by_events",
    "resumed",
)

KEPT, MISSED = 100, 5  # items of a log, and how many of them were missed
RUN_AGAIN = 0.05  # seconds after which our server asks for the beginning of its log again
HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
HELLO = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n"


class Visit:
    """A connection, and what has been sent over it with the number of bytes that came for it, step by step."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 5)
        self.steps: list[tuple[bytes, int]] = []

    def step(self, sent: bytes, size_of: Callable[[bytes], int]) -> bytes:
        """Send, and give what comes, whose size `size_of` knows as soon as enough is there; until then it gives 0."""
        self._socket.sendall(sent)
        came = b""
        while not (size := size_of(came)) or len(came) < size:
            chunk = self._socket.recv(1 << 16)
            if not chunk:
                raise RuntimeError(f"the server hung up behind {came[-200:]!r}")
            came += chunk
        if len(came) != size:
            raise RuntimeError(f"more came than was asked for: {came[size:][:200]!r}")
        self.steps.append((sent, size))
        return came

    def open(self, path: str = "/", greetings: int = 0) -> None:
        """Make it a WebSocket, behind whose handshake come so many messages."""
        head = self.step(HANDSHAKE % path.encode(), lambda came: _head_size(came) and _size(came, greetings))
        if not head.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(f"handshake refused: {head[:200]!r}")

    def ask(self, *texts: str, answers: int = 1) -> list[Any]:
        """Send messages at once, and give the JSON of those that come."""
        came = self.step(b"".join(frame(text.encode()) for text in texts), partial(_size, messages=answers))
        return [json.loads(text.lstrip(b"0123456789") or b"null") for text in _messages(came)]

    def file(self) -> bytes:
        """Give it to visits.c."""
        return b"".join(b"%d %d\n%b" % (len(sent), size, sent) for sent, size in self.steps)

    def close(self) -> None:
        self._socket.close()


def _head_size(came: bytes) -> int:
    return came.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in came else 0


def _parts(came: bytes) -> list[tuple[int, int]]:
    """Give where the payloads of the frames are, behind a head of HTTP if there is one."""
    at, parts = _head_size(came) if came.startswith(b"HTTP/") else 0, []
    while len(came) >= at + 2:
        small = came[at + 1] & 0x7F
        start = at + (2 if small < 126 else 4 if small == 126 else 10)
        size = small if small < 126 else int.from_bytes(came[at + 2 : start], "big")
        if len(came) < start or len(came) < start + size:
            break
        at = start + size
        parts.append((start, at))
    return parts


def _size(came: bytes, messages: int) -> int:
    """Give how many bytes so many messages are, 0 as long as they are not there."""
    parts = _parts(came)
    if not messages:
        return _head_size(came)
    return parts[messages - 1][1] if len(parts) >= messages else 0


def _messages(came: bytes) -> list[bytes]:
    return [came[start:end] for start, end in _parts(came)]


def _response_size(came: bytes) -> int:
    head = _head_size(came)
    lengths = [line for line in came[:head].lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + int(lengths[0].partition(b":")[2]) if head and lengths else 0


# What is visited, and how: each gives the visit, once all that came is right


def resumed(port: int, stack: ExitStack) -> Visit:
    """Come back with `since`; somebody else has subscribed all the time."""
    return _subscribed(port, stack, missed=MISSED)


def begun_anew(port: int, stack: ExitStack) -> Visit:
    """Subscribe without `since`."""
    return _subscribed(port, stack, missed=None)


def _subscribed(port: int, stack: ExitStack, missed: int | None) -> Visit:
    message: dict[str, Any] = {"method": "SUBSCRIBE", "url": "/news", "id": 1}
    there = Visit(port)
    stack.callback(there.close)
    there.open()
    there.ask(json.dumps(message))
    came = there.ask(json.dumps({"method": "POST", "url": "/news", "id": 2}), answers=KEPT + 1)
    versions = [each["version"] for each in came if "version" in each]
    visit = Visit(port)
    visit.open()
    if missed is None:
        sleep(5 * RUN_AGAIN)
        (reply,) = visit.ask(json.dumps(message))
        _check([item["number"] for item in reply["data"]], KEPT, reply)
        return visit
    message["since"] = versions[-1 - missed]
    reply, *pushes = visit.ask(json.dumps(message), answers=1 + missed)
    _check([push["data"]["number"] for push in pushes if reply["status"] == 206], missed, reply)
    return visit


def greeted(port: int, stack: ExitStack) -> Visit:
    """Open a WebSocket, and that is all."""
    visit = Visit(port)
    visit.open()
    return visit


def refetched(port: int, stack: ExitStack) -> Visit:
    """Ask for all anew."""
    visit = Visit(port)
    visit.open()
    (reply,) = visit.ask(json.dumps({"method": "GET", "url": "/news"}))
    _check([item["number"] for item in reply["data"]], KEPT, reply)
    return visit


def refetched_by_events(port: int, stack: ExitStack) -> Visit:
    """Ask for all anew, as Socket.IO does: it greets, has its own handshake, and answers by an event."""
    visit = Visit(port)
    visit.open("/socket.io/?EIO=4&transport=websocket", greetings=1)
    *_, reply = visit.ask("40", '42["missed"]', answers=2)
    _check([item["number"] for item in reply[1]], KEPT, reply)
    return visit


def _check(numbers: list[int], expected: int, reply: Any) -> None:
    if numbers != list(range(KEPT - expected + 1, KEPT + 1)):
        raise RuntimeError(f"expected the last {expected} items, got {numbers} with {str(reply)[:200]}")


def hello(port: int, stack: ExitStack) -> Visit:
    """Send a request of HTTP over a connection that stays."""
    visit = Visit(port)
    came = visit.step(HELLO, _response_size)
    if not came.startswith(b"HTTP/1.1 200") or json.loads(came[_head_size(came) :]) != "Hello, world!":
        raise RuntimeError(f"wrong response: {came[:300]!r}")
    return visit
