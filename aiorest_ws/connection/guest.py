"""A connection whose messages somebody else carries, such as an ASGI server: its frames are not ours.

Who may connect, limits and the way of a message are those of every connection: the guards read the same head, which
is written from what the carrier says, and what they answer is read again for the carrier.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from aiorest_ws.connection.protocol import RequestHandlerProtocol
from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.status import WS_CLOSED_ABNORMALLY, WS_NORMAL

__all__ = ("Carrier", "Guest", "guest_of", "head_of")

_MOST_WAITING = 64 * 1024  # bytes that wait for the carrier, from which on nothing more is read
_TOO_BIG, _INVALID = 1009, 1007  # RFC 6455 §7.4.1
_FAULT = re.compile(rb"[\x00\r\n]")
_OF_THE_WIRE = frozenset(
    (b"upgrade", b"connection", b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions")
)
# A carrier may speak HTTP/2, which has none of these.
_UPGRADE = (
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


def head_of(target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Give the head of an opening request. Raises ConnectionRefused for what would be more than one line of it."""
    lines = [b"GET %b HTTP/1.1" % target, *_UPGRADE]
    lines += [b"%b: %b" % (name, value) for name, value in headers if name.lower() not in _OF_THE_WIRE]
    if any(map(_FAULT.search, lines)):
        raise ConnectionRefused(400, "malformed request")
    return b"\r\n".join((*lines, b"", b""))


class Carrier(asyncio.Transport):
    """The transport of a guest: what is to be said is held in order, for one who takes it away.

    An answer is (status, headers, body), a message bytes or str, a close (code, reason).
    """

    def __init__(self, peer: Any, server: Any = None) -> None:
        super().__init__({"peername": peer, "sockname": server})
        self.guest: Guest
        self.said: deque[Any] = deque()
        self.is_readable = asyncio.Event()
        self.is_readable.set()
        self._has_more = asyncio.Event()
        self._waiting = 0
        self._closing = False

    def say(self, what: Any) -> None:
        """Have `what` taken away, behind what waits."""
        if self._closing:
            return
        self.said.append(what)
        if isinstance(what, bytes | str):
            self._waiting += len(what)
            if self._waiting >= _MOST_WAITING and not self.guest._choked:
                self.guest.pause_writing()
        self._has_more.set()

    async def next(self) -> Any:
        """Give what was said next; None once there will be nothing more."""
        while not self.said:
            if self._closing:
                return None
            self._has_more.clear()
            await self._has_more.wait()
        return self.said[0]

    def taken(self) -> None:
        """Take note that what `next` gave has left."""
        if not self.said:
            return  # dropped meanwhile
        what = self.said.popleft()
        if isinstance(what, bytes | str):
            self._waiting -= len(what)
            if self._waiting < _MOST_WAITING // 4 and self.guest._choked:
                self.guest.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self._waiting

    def pause_reading(self) -> None:
        self.is_readable.clear()

    def resume_reading(self) -> None:
        self.is_readable.set()

    def is_reading(self) -> bool:
        return self.is_readable.is_set()

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self._closing = True
        self._has_more.set()

    def abort(self) -> None:
        self.said.clear()
        self._waiting = 0
        self.close()


class Guest(RequestHandlerProtocol):
    """One connection of a carrier. Hooks that see single frames are never called."""

    def begin(self, head: bytes) -> None:
        """Decide on the opening request, as far as that needs no waiting."""
        self._on_early(head)

    def take(self, message: bytes | str) -> None:
        """Take a message of the client, `str` from a text frame."""
        if self.state != self.STATE_OPEN:
            return  # it came behind our close
        is_binary = not isinstance(message, str)
        try:
            payload = message if isinstance(message, bytes) else str(message).encode()
        except UnicodeEncodeError:
            self.sendCloseFrame(_INVALID, b"invalid UTF-8")
            return
        limit = self.maxMessagePayloadSize
        if limit and len(payload) > limit:
            self.sendCloseFrame(_TOO_BIG, b"message too big")
            return
        self._octets_on_wire += len(payload)
        assert self._context is not None
        self._context.run(self._on_message, payload, is_binary)

    def leave(self, code: int | None, reason: str | None) -> None:
        """Take note that the client is gone."""
        if self.remoteCloseCode is None:
            self.remoteCloseCode, self.remoteCloseReason = code, reason
            self.wasClean = code not in (None, WS_CLOSED_ABNORMALLY)
        self.transport.abort()

    # What leaves

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Say the answer to the handshake, the only bytes that are written here."""
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        pairs = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        self.transport.say((int(first.split(b" ", 2)[1]), pairs, body))

    def sendMessage(
        self,
        payload: bytes,
        isBinary: bool = False,
        fragmentSize: int | None = None,
        sync: bool = False,
        doNotCompress: bool = False,
    ) -> None:
        if self.state == self.STATE_OPEN:
            self._octets_on_wire_out += len(payload)
            self.transport.say(bytes(payload) if isBinary else payload.decode())

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        if self.state != self.STATE_OPEN:
            return
        code = WS_NORMAL if code is None else code
        reason = (reasonUtf8 or b"").decode()
        self.transport.say((code, reason))
        self.state = self.STATE_CLOSING
        self.localCloseCode = self.remoteCloseCode = code
        self.remoteCloseReason = reason
        self.wasClean = self.closedByMe = True
        self.transport.close()
        self._leave_soon()

    def _ping(self) -> None:
        """Leave it to the carrier to ask whether the client is there."""
        self._octets_on_wire += 1

    def _compression(self) -> None:
        return None  # frames are the carrier's


@cache
def guest_of(protocol: type[RequestHandlerProtocol]) -> Callable[[], Any]:
    """Give the class of guests for an application with this class of connections."""
    return Guest if protocol is RequestHandlerProtocol else type(f"Guest{protocol.__name__}", (Guest, protocol), {})
