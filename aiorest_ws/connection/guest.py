"""A connection whose messages somebody else carries, such as an ASGI server: its frames are not ours.

Who may connect, limits and the way of a message are those of every connection: the guards read the same head, which
is written from what the carrier says, and what they answer is read again for the carrier.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterable
from contextvars import Context
from functools import cache
from typing import Any, NamedTuple

from autobahn.exception import Disconnected

from aiorest_ws._speedups import read
from aiorest_ws.connection.protocol import RequestHandlerProtocol
from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.status import WS_CLOSED_ABNORMALLY, WS_NORMAL

__all__ = ("Answer", "Carrier", "Close", "Guest", "answer_in", "guest_of", "head_of")

_MOST_WAITING = 64 * 1024  # bytes that wait for the carrier, from which on nothing more is read
_MOST_AHEAD = 64 * 1024  # bytes that are taken from a carrier before their turn: behind them, it may say who is gone
_OF_A_MESSAGE = 64  # bytes that each of them counts for, if it is empty, too
_NO_FRAMES = "frames are the server's here: use sendMessage"
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


class Answer(NamedTuple):
    """What an opening request is answered; names of headers in lower case. 101 accepts it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""


class Close(NamedTuple):
    """The end that we ask for."""

    code: int
    reason: str


def head_of(target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Give the head of an opening request. Raises ConnectionRefused for what would be more than one line of it."""
    lines = [b"GET %b HTTP/1.1" % target, *_UPGRADE]
    lines += [b"%b: %b" % (name, value) for name, value in headers if name.lower() not in _OF_THE_WIRE]
    if any(map(_FAULT.search, lines)):
        raise ConnectionRefused(400, "malformed request")
    return b"\r\n".join((*lines, b"", b""))


def answer_in(response: bytes) -> Answer:
    """Read the HTTP response to an opening request."""
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    pairs = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    return Answer(int(first.split(b" ", 2)[1]), pairs, body)


class Carrier(asyncio.Transport):
    """The transport of a guest: what is to be said is held in order, for one who takes it away.

    guest           who speaks by it
    peer, server    the two ends, as a socket names them
    taker           takes away what is said; cancelled in the middle of something when nothing more is to be said
    """

    def __init__(self, guest: Guest, peer: Any, server: Any) -> None:
        super().__init__({"peername": peer, "sockname": server})
        self._guest = guest
        self.taker: asyncio.Future[None] | None = None
        self._is_idle = False  # the taker waits here
        self._said: deque[Answer | Close | str | bytes] = deque()
        self._sizes: deque[int] = deque()
        self._waiting = 0
        self._is_choked = False
        self._is_reading = True
        self._is_closing = False
        self._has_more = asyncio.Event()

    # What is said

    def say(self, what: Answer | Close | str | bytes, size: int = 0) -> None:
        """Have `what` taken away, behind what waits; `size` bytes of it are the client's to read."""
        if self._is_closing:
            return
        self._said.append(what)
        self._sizes.append(size)
        self._waiting += size
        if self._waiting >= _MOST_WAITING and not self._is_choked:
            self._is_choked = True
            self._guest.pause_writing()
        self._has_more.set()

    async def next(self) -> Answer | Close | str | bytes | None:
        """Give what was said next; None once there will be nothing more. It stays the next until it is `taken`."""
        while not self._said:
            if self._is_closing:
                return None
            self._has_more.clear()
            self._is_idle = True
            await self._has_more.wait()
            self._is_idle = False
        return self._said[0]

    def taken(self) -> None:
        """Take note that what `next` gave has left."""
        if not self._said:
            return  # dropped meanwhile
        self._said.popleft()
        self._waiting -= self._sizes.popleft()
        if self._is_choked and self._waiting < _MOST_WAITING // 4:
            self._is_choked = False
            self._guest.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self._waiting

    # Whether more is wanted

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        self._guest.wake()

    def is_reading(self) -> bool:
        return self._is_reading

    # The end

    def is_closing(self) -> bool:
        return self._is_closing

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        """Close behind what waits."""
        self._is_closing = True
        self._has_more.set()

    def abort(self) -> None:
        """Close at once."""
        self._said.clear()
        self._sizes.clear()
        self._waiting = 0
        self.close()
        if self.taker is not None and not self._is_idle:
            self.taker.cancel()


class Guest(RequestHandlerProtocol):
    """One connection of a carrier. Hooks that see single frames are never called, and pings are the carrier's."""

    autoPingInterval = 0  # Autobahn's own, which would wait for the answers to pings
    _ahead: deque[bytes | str] | None = None  # what came before its turn
    _octets_ahead = 0
    _room: asyncio.Event | None = None

    def begin(self, carrier: Carrier, head: bytes, context: Context) -> None:
        """Decide on the opening request, as far as that needs no waiting; all of the connection is in `context`."""
        self.connection_made(carrier)
        self._context = context
        if not carrier.is_closing():
            self.data_received(head)

    # What comes

    async def has_room(self) -> None:
        """Wait until more may be taken from the carrier."""
        while self._octets_ahead >= _MOST_AHEAD and not self._transport.is_closing():
            self._room = asyncio.Event()
            await self._room.wait()

    def take(self, message: bytes | str) -> None:
        """Take a message of the client, `str` from a text frame; at once, or when its turn comes."""
        self._heard = True
        if self._ahead or not self._may_serve():
            if self._ahead is None:
                self._ahead = deque()
            self._ahead.append(message)
            self._octets_ahead += len(message) + _OF_A_MESSAGE
        else:
            self._serve_message(message)

    def wake(self) -> None:
        """Go on with what came before its turn, soon: whoever wants it is in the middle of something."""
        if self._ahead:
            asyncio.get_running_loop().call_soon(self._catch_up)

    def _catch_up(self) -> None:
        ahead = self._ahead
        while ahead and self._may_serve():
            message = ahead.popleft()
            self._octets_ahead -= len(message) + _OF_A_MESSAGE
            self._serve_message(message)
        if self._room is not None:
            self._room.set()

    def _may_serve(self) -> bool:
        """Tell whether a message is served or dropped, rather than held."""
        state = self.state
        return state != self.STATE_CONNECTING and (state != self.STATE_OPEN or self._transport.is_reading())

    def _serve_message(self, message: bytes | str) -> None:
        if self.state != self.STATE_OPEN:
            return  # it came behind our close
        is_binary = not isinstance(message, str)
        try:
            payload = message if isinstance(message, bytes) else message.encode()
        except UnicodeEncodeError:
            self._invalid_payload("encountered invalid UTF-8 while processing text message")
            return
        size, limit = len(payload), self.maxMessagePayloadSize
        self._octets_on_wire += size
        if limit and size > limit:
            self.wasMaxMessagePayloadSizeExceeded = True
            self._max_message_size_exceeded(size, limit, f"message of {size} bytes exceeds the limit of {limit}")
            return
        self._messages += 1
        self._octets += size
        assert self._context is not None
        self._context.run(self._answer_message, payload, is_binary)

    def _answer_message(self, payload: bytes, is_binary: bool) -> None:
        if self._reads_requests:
            self._receive(read(payload, is_binary, self))
        else:
            self._on_message(payload, is_binary)

    @property
    def has_left(self) -> bool:
        """Tell whether the client is known to be gone."""
        return self.remoteCloseCode is not None

    def leave(self, code: int | None, reason: str | None) -> None:
        """Take note that the client is gone."""
        if self.remoteCloseCode is None:
            self.remoteCloseCode, self.remoteCloseReason = code, reason
            self.wasClean = code not in (None, WS_CLOSED_ABNORMALLY)
        self.transport.abort()

    def _onOpen(self) -> None:
        super()._onOpen()
        self.wake()

    # What leaves

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Say the answer to the handshake, the only bytes that are written here."""
        if self.state != self.STATE_CONNECTING:
            raise RuntimeError(_NO_FRAMES)
        self.transport.say(answer_in(data))

    def sendMessage(
        self,
        payload: bytes,
        isBinary: bool = False,
        fragmentSize: int | None = None,
        sync: bool = False,
        doNotCompress: bool = False,
    ) -> None:
        """Say a message. Raises Autobahn's Disconnected when the connection is not open."""
        if self.state != self.STATE_OPEN:
            raise Disconnected("the connection is not open")
        size = len(payload)
        self._octets_on_wire_out += size
        self._octets_out += size
        self._frames_out += 1
        self._transport.say(bytes(payload) if isBinary else bytes(payload).decode(), size)

    def sendPreparedMessage(self, preparedMsg: Any) -> None:
        self.sendMessage(preparedMsg.payload, preparedMsg.binary)

    def sendFrame(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(_NO_FRAMES)

    def sendPing(self, payload: bytes | None = None) -> None:
        """Leave it to the carrier to ask whether the client is there."""

    def sendPong(self, payload: bytes | None = None) -> None:
        """Leave it to the carrier to answer pings."""

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        if self.state != self.STATE_OPEN:
            return
        code = WS_NORMAL if code is None else code
        reason = (reasonUtf8 or b"").decode()
        self.transport.say(Close(code, reason))
        self.state = self.STATE_CLOSING
        self.localCloseCode = self.remoteCloseCode = code
        self.remoteCloseReason = reason
        self.wasClean = self.closedByMe = True
        self.transport.close()
        self._leave_soon()

    def _ping(self) -> None:
        """Leave it to the carrier, which says so when nobody answers."""
        self._heard = True

    def _compression(self) -> None:
        return None  # frames are the carrier's


@cache
def guest_of(protocol: Any) -> type[Guest]:
    """Give the class of guests for an application with this class of connections, whose overrides come first."""
    return Guest if protocol is RequestHandlerProtocol else type(f"Guest{protocol.__name__}", (protocol, Guest), {})
