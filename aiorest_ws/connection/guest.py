"""A connection whose messages somebody else carries, such as an ASGI server: its frames are not ours.

Who may connect, limits and the way of a message are those of every connection: the guards read the same head, which
is written from what the carrier says, and what they answer is read again for the carrier.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from contextvars import Context
from functools import cache
from typing import Any, NamedTuple

from autobahn.exception import Disconnected

from aiorest_ws._speedups import Carried, Outgoing
from aiorest_ws.connection.protocol import RequestHandlerProtocol
from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.http.refusals import phrase
from aiorest_ws.status import WS_CLOSED_ABNORMALLY, WS_NORMAL

__all__ = ("Answer", "Carrier", "Close", "Guest", "answer_in", "guest_of", "head_of")

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


Said = Answer | Close | str | bytes


def head_of(target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Give the head of an opening request. Raises ConnectionRefused for what would be more than one line of it."""
    lines = [b"GET %b HTTP/1.1" % target, *_UPGRADE]
    lines += [b"%b: %b" % (name, value) for name, value in headers if name.lower() not in _OF_THE_WIRE]
    if any(map(_FAULT.search, lines)):
        raise ConnectionRefused(400, "malformed request")
    return b"\r\n".join((*lines, b"", b""))


def answer_in(response: bytes) -> Answer:
    """Read the HTTP response to an opening request. A reason of our own is its body: carriers have no place for it."""
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    pairs = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    _, code, reason = first.split(b" ", 2)
    status = int(code)
    if not body and status >= 400 and reason.decode() != phrase(status):
        body = reason + b"\n"
        if all(name != b"content-type" for name, _ in pairs):
            pairs.append((b"content-type", b"text/plain; charset=utf-8"))
    return Answer(status, pairs, body)


class Carrier(asyncio.Transport):
    """The transport of a guest: what is to be said is held in order, for one who takes it away.

    guest           who speaks by it
    peer, server    the two ends, as a socket names them
    outgoing        what waits to be taken away
    taker           takes it, and lets it `breathe`; cancelled in the middle of that when nothing more is to be said
    """

    def __init__(self, guest: Guest, peer: Any, server: Any) -> None:
        super().__init__({"peername": peer, "sockname": server})
        self._guest = guest
        self.taker: asyncio.Future[None] | None = None
        self.outgoing = Outgoing()
        self._is_reading = True

    # What is said

    def say(self, what: Said, size: int = 0) -> None:
        """Have `what` taken away, behind what waits; a message has a size: how long it is."""
        if self.outgoing.say(what, size):
            self._guest.pause_writing()

    def breathe(self) -> None:
        """Take note that what was too much has become little."""
        self._guest.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.outgoing.waiting

    # Whether more is wanted

    def pause_reading(self) -> None:
        self._is_reading = False
        self._guest.is_held = True

    def resume_reading(self) -> None:
        self._is_reading = True
        self._guest.go_on()

    def is_reading(self) -> bool:
        return self._is_reading

    # The end

    def is_closing(self) -> bool:
        return self.outgoing.is_over

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        """Close behind what waits."""
        self.outgoing.end()

    def abort(self) -> None:
        """Close at once."""
        if self.taker is not None and not self.outgoing.is_awaited():
            self.taker.cancel()
        self.outgoing.drop()


class Guest(RequestHandlerProtocol, Carried):
    """One connection of a carrier. Hooks that see single frames are never called, and pings are the carrier's."""

    autoPingInterval = 0  # Autobahn's own, which would wait for the answers to pings
    has_left = False  # the client is known to be gone
    _octets_held = 0
    _room: asyncio.Event | None = None

    def begin(self, carrier: Carrier, head: bytes, context: Context) -> None:
        """Decide on the opening request, as far as that needs no waiting; all of the connection is in `context`."""
        self._outgoing = carrier.outgoing
        self.connection_made(carrier)
        self._context = context
        if not carrier.is_closing():
            self.data_received(head)

    # What comes

    async def _wait_for_room(self, message: bytes | str) -> None:
        """Wait, where messages are held, until one more than `message` may be taken."""
        self._octets_held += len(message) + _OF_A_MESSAGE
        while self.is_held and self._octets_held >= _MOST_AHEAD and not self._transport.is_closing():
            self._room = asyncio.Event()
            await self._room.wait()

    def go_on(self) -> None:
        """Hold nothing any more, but while it is decided who may connect."""
        if self.state != self.STATE_CONNECTING:
            self.is_held = False
            self._octets_held = 0
            self.wake()
            if self._room is not None:
                self._room.set()

    async def caught_up(self) -> None:
        """Wait until all that has come is served, or held."""
        while self.is_due:  # noqa: ASYNC110 (it takes few turns, and for an Event each message would have to look)
            await asyncio.sleep(0)

    def _most_of_message(self) -> int:
        return int(self.maxMessagePayloadSize or 0)

    def _count_held(self) -> None:
        self._octets_held = sum(map(len, self.ahead)) + _OF_A_MESSAGE * len(self.ahead)

    def _fail_text(self) -> None:
        if self.state == self.STATE_OPEN:
            self._invalid_payload("encountered invalid UTF-8 while processing text message")

    def _exceed(self, most: int) -> None:
        if self.state == self.STATE_OPEN:
            self.wasMaxMessagePayloadSizeExceeded = True
            self._max_message_size_exceeded(most + 1, most, f"message exceeds payload limit of {most} octets")

    def leave(self, code: int | None, reason: str | None) -> None:
        """Take note that the client is gone."""
        self.has_left = True
        if self.remoteCloseCode is None:
            self.remoteCloseCode, self.remoteCloseReason = code, reason
            self.wasClean = code not in (None, WS_CLOSED_ABNORMALLY)
        self.transport.abort()

    def _onOpen(self) -> None:
        super()._onOpen()
        if self._transport.is_reading():
            self.go_on()

    def _open(self) -> None:
        super()._open()
        of_class = type(self)
        self._is_plain = (
            of_class.sendMessage is Guest.sendMessage
            and of_class._encode_message is RequestHandlerProtocol._encode_message
            and of_class._send_reply is RequestHandlerProtocol._send_reply
        )

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
        self._note_sent(len(payload))
        message = bytes(payload) if isBinary else bytes(payload).decode()
        self._transport.say(message, len(message))

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
