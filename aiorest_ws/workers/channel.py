"""A connected pair of Unix sockets → messages between the supervisor and one worker, each whole and in order.

A message is two lengths (4 bytes each, the most significant first: of the head, of the body), the head as JSON
(`[kind, …]`), and the body as it is.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from struct import Struct
from typing import Any

import orjson

__all__ = ("HIGH", "LARGEST", "LARGEST_HEAD", "LOW", "Channel", "Handler", "open_channel")

logger = logging.getLogger("aiorest_ws")

LARGEST = 32 * 1024 * 1024  # bytes of a message, without its lengths
LARGEST_HEAD = 1024 * 1024
HIGH, LOW = 4 * 1024 * 1024, 1024 * 1024  # bytes on their way: with so many it is full, with so few there is room again
_AT_ONCE = 64 * 1024  # bytes that do not wait for the end of a turn of the loop
_LENGTHS = Struct("!II")
_BEFORE = _LENGTHS.size

Handler = Callable[[list[Any], bytes], None]


async def open_channel(sock: socket.socket, *, to: str = "the other process") -> Channel:
    """Give the channel over one end of `socket.socketpair()`, which is its own from now on.

    to    who is at the other end, for the log
    """
    channel = Channel(to)
    sock.setblocking(False)
    await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=sock)
    return channel


class Channel(asyncio.Protocol):
    """Messages to and from another process, in the loop that it was made in.

    What came is kept until a turn of the loop in which the first handler was given. A message that is not understood
    (too large, no JSON, of no kind that is taken here, refused by its handler with a ValueError) closes it, and is
    logged.
    """

    def __init__(self, to: str) -> None:
        self._to = to
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None  # a Transport, once it is connected
        self._handlers: dict[str, Handler] = {}
        self._lost: list[Callable[[], Any]] = []
        self._room: list[Callable[[], Any]] = []
        self._came = bytearray()  # the beginning of a message
        self._needed = _BEFORE  # bytes of it that tell more
        self._begun = False
        self._to_send: list[bytes] = []
        self._size = 0  # bytes of these
        self.is_full = False
        self.is_closed = False

    # To the other process

    @property
    def pending(self) -> int:
        """Bytes that the other side has not taken, but for what the system keeps."""
        return 0 if self._transport is None else self._size + int(self._transport.get_write_buffer_size())

    def send(self, kind: str, *head: Any, body: bytes = b"") -> None:
        """Send a message; those of one turn of the loop and the next leave together. A closed channel sends nothing.

        Raises ValueError for one that is too large, TypeError for a `head` that JSON cannot say; then nothing is sent.
        """
        if self.is_closed:
            return
        said = orjson.dumps((kind, *head))
        of_head, of_body = len(said), len(body)
        if of_head > LARGEST_HEAD or of_head + of_body > LARGEST:
            raise ValueError(
                f"a message to {self._to} must have at most {LARGEST} bytes, {LARGEST_HEAD} of them in its head, "
                f"got {of_head + of_body}, {of_head} of them in its head: send it in parts"
            )
        if not self._to_send:
            # Behind the next turn: of requests that come together the first begins at once, the others there.
            self._loop.call_soon(self._loop.call_soon, self._flush)
        self._to_send += (_LENGTHS.pack(of_head, of_body), said, body)
        self._size += _BEFORE + of_head + of_body
        if self._size >= _AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._to_send and not self.is_closed:
            data = b"".join(self._to_send)
            self._to_send.clear()
            self._size = 0
            self._transport.write(data)

    def on_room(self, function: Callable[[], Any]) -> None:
        """Call `function` whenever there is room again: the channel was full, with `HIGH` bytes, and has `LOW` now."""
        self._room.append(function)

    # From the other process

    def take(self, kind: str, handler: Handler) -> None:
        """Call `handler(head, body)` with each message of `kind`: what was given to `send` behind it."""
        if not self._handlers:
            self._loop.call_soon(self._begin)
        self._handlers[kind] = handler

    def _begin(self) -> None:
        self._begun = True
        if not self.is_closed:
            self._transport.resume_reading()
            self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        if self._came or not self._begun:
            self._came += data
            if not self._begun:
                self._transport.pause_reading()
                return
            if len(self._came) < self._needed:
                return
            data = bytes(self._came)
            self._came.clear()
        try:
            rest = data[self._take_all(data) :]
        except _NotUnderstood as exc:
            self._refuse(str(exc))
            return
        if not self.is_closed:
            self._came += rest

    def _take_all(self, data: bytes) -> int:
        """Take the messages that are whole; give where the next begins."""
        at, size = 0, len(data)
        while not self.is_closed:
            begin = at + _BEFORE
            self._needed = _BEFORE
            if begin > size:
                break
            of_head, of_body = _LENGTHS.unpack_from(data, at)
            if of_head > LARGEST_HEAD or of_head + of_body > LARGEST:
                raise _NotUnderstood(f"a message of {of_head} and {of_body} bytes is too large")
            between = begin + of_head
            end = between + of_body
            if end > size:
                self._needed = end - at
                break
            at = end
            self._take(data[begin:between], data[between:end])
        return at

    def _take(self, said: bytes, body: bytes) -> None:
        try:
            head = orjson.loads(said)
        except ValueError:
            raise _NotUnderstood(f"{said[:80]!r} is no JSON") from None
        if type(head) is not list or not head or type(head[0]) is not str:
            raise _NotUnderstood(f"{said[:80]!r} is no list that begins with a kind")
        handler = self._handlers.get(head.pop(0))
        if handler is None:
            raise _NotUnderstood(f"nobody takes {said[:80]!r}")
        try:
            handler(head, body)
        except ValueError as exc:
            raise _NotUnderstood(f"{said[:80]!r}: {exc}") from exc

    def _refuse(self, why: str) -> None:
        logger.error("what %s says is not understood, its channel is closed: %s", self._to, ascii(why)[1:-1][:400])
        self.abort()

    # Its end

    def on_lost(self, function: Callable[[], Any]) -> None:
        """Call `function` once, when nothing more comes or goes, whoever closed it; soon, if that is so already."""
        if self.is_closed and self._transport is None:
            self._loop.call_soon(function)
        else:
            self._lost.append(function)

    def close(self) -> None:
        """Take nothing more, send nothing more; what was sent still leaves, if the other side takes it."""
        self._flush()
        self._close()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close it at once, whatever waits."""
        self._close()
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        self.is_closed = True
        self._to_send.clear()
        self._came.clear()
        self._size = 0

    # What the loop says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.set_write_buffer_limits(high=HIGH, low=LOW)

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        for function in self._room:
            function()

    def connection_lost(self, exc: Exception | None) -> None:
        self._close()
        self._transport = None
        functions, self._lost = self._lost, []
        self._handlers.clear()
        self._room.clear()
        for function in functions:
            function()


class _NotUnderstood(Exception):
    """What closes a channel."""
