"""Our frame layer in front of Autobahn's protocol: the only file that knows Autobahn's internals.

Handshake, close handshake and fragments of what is not compressed stay Autobahn's; what reaches it comes one frame at a
time. What an ordinary connection does not need is not made for it: options are read from the factory,
helpers are made when they are used, and what only the handshake needs goes with it. Its test holds each
name that is relied on against the supported releases of Autobahn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

from autobahn.asyncio.util import create_transport_details, peer2str
from autobahn.asyncio.websocket import WebSocketServerProtocol
from autobahn.websocket.protocol import FrameHeader, Timings, TrafficStats, WebSocketProtocol
from autobahn.websocket.utf8validator import Utf8Validator

from aiorest_ws._speedups import COMPILED, Connection
from aiorest_ws.callables.calls import is_awaitable
from aiorest_ws.connection.complaining import Complaining
from aiorest_ws.connection.compression import Deflate
from aiorest_ws.connection.handshake import Lazy, Opening
from aiorest_ws.connection.kernel import descriptor, hung_up, unacknowledged

__all__ = ("AutobahnConnection", "ExactTimer")

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10

# Hooks of Autobahn that see single frames: a class that overrides one gets every frame Autobahn's way.
_FRAME_HOOKS = (
    *("onMessageBegin", "onMessageFrameBegin", "onMessageFrameData", "onMessageFrameEnd", "onMessageFrame"),
    *("onMessageEnd", "_onMessageBegin", "_onMessageFrameBegin", "_onMessageFrameData", "_onMessageFrameEnd"),
    *("_onMessageFrame", "_onMessageEnd", "onFrameBegin", "onFrameData", "onFrameEnd", "processData"),
    *("processControlFrame", "logRxFrame", "logRxOctets"),
)
_PING_HOOKS = ("onPing", "onPong", "_onPing", "_onPong", "sendPong", "onAutoPong")
_SENDING_HOOKS = ("sendFrame", "sendData", "logTxFrame", "logTxOctets")
_OPTIONS = frozenset((*WebSocketServerProtocol.CONFIG_ATTRS_COMMON, *WebSocketServerProtocol.CONFIG_ATTRS_SERVER))


class _Option:
    """A protocol option that is the factory's until an instance sets its own."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, protocol: Any, owner: type) -> Any:
        return self if protocol is None else getattr(protocol.factory, self.name)


class ExactTimer:
    """In the place of txaio's timer, which rounds down to whole seconds: a close handshake of one second took none."""

    def call_later(self, delay: float, function: Callable[..., Any], *args: Any) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay, function, *args)


def _future(protocol: Any) -> Any:
    return asyncio.get_event_loop().create_future()


def _ended(protocol: Any) -> Any:
    future = _future(protocol)
    if protocol._dropped:
        future.set_result(protocol)
    return future


def _opened(protocol: Any) -> Any:
    future = _future(protocol)
    if protocol.state in (protocol.STATE_OPEN, protocol.STATE_CLOSING) and protocol._wskey is None:
        future.set_result(None)  # what the handshake resolved went with it
    return future


class AutobahnConnection(Opening, Connection, WebSocketServerProtocol):
    """Autobahn's server protocol with our frame layer, and without a copy of every option in every connection."""

    # What Autobahn's `_connectionMade` and `__init__` would set on each instance.
    CONFIG_ATTRS: ClassVar[list[str]] = []
    _valid_events: ClassVar[list[str]] = ["message"]
    _perMessageCompress: Any = None
    trackedTimings: Any = None
    send_state = WebSocketServerProtocol.SEND_STATE_GROUND
    data = b""
    triggered = False
    wasMaxFramePayloadSizeExceeded = False
    wasMaxMessagePayloadSizeExceeded = False
    closedByMe = False
    failedByMe = False
    droppedByMe = False
    wasClean = False
    wasNotCleanReason: str | None = None
    wasServerConnectionDropTimeout = False
    wasOpenHandshakeTimeout = False
    wasCloseHandshakeTimeout = False
    wasServingFlashSocketPolicyFile = False
    localCloseCode: int | None = None
    localCloseReason: bytes | None = None
    remoteCloseCode: int | None = None
    remoteCloseReason: str | None = None
    openHandshakeTimeoutCall: Any = None
    closeHandshakeTimeoutCall: Any = None
    autoPingPending: bytes | None = None
    autoPingPendingCall: Any = None
    autoPingPendingSeq = 0
    autoPingPendingSent: int | None = None
    current_frame: Any = None

    # What Autobahn looks at when a frame with a fault comes inside of a message that is not its own.
    message_data_total_length = 0
    utf8validateIncomingCurrentMessage = False
    _isMessageCompressed = False

    send_queue = Lazy(lambda protocol: deque())
    utf8validator = Lazy(lambda protocol: Utf8Validator())
    is_open = Lazy(_opened)
    is_closed = Lazy(_ended)
    _results = Lazy(lambda protocol: {"message": None})
    _transport_details = Lazy(lambda protocol: create_transport_details(protocol.transport, True))

    _writes_frames = False
    _skips = False
    _gave_up: int | None = None  # the code for a connection that ends without the client's close frame, by us
    _stats: TrafficStats | None = None
    _complained = False
    _raw: Any = None  # the transport below that of TLS
    log = Complaining()
    _opening: Any = None
    _early_octets_out = 0

    def __init__(self) -> None:
        super().__init__()  # our own: the next in line is `Connection`, or what a subclass has in its place

    @property
    def trafficStats(self) -> TrafficStats:
        """Autobahn's statistics of this connection, with what the frame layer has counted since they were last read."""
        stats = self._stats
        if stats is None:
            stats = self._stats = TrafficStats()
        stats.preopenIncomingOctetsWireLevel += self._early_octets
        stats.preopenOutgoingOctetsWireLevel += self._early_octets_out
        stats.incomingOctetsWireLevel += self._octets_on_wire
        stats.outgoingOctetsWireLevel += self._octets_on_wire_out
        stats.incomingOctetsWebSocketLevel += self._octets - self._saved
        stats.incomingOctetsAppLevel += self._octets
        stats.incomingWebSocketFrames += self._messages + self._fragments_in
        stats.incomingWebSocketMessages += self._messages
        stats.outgoingOctetsWebSocketLevel += self._octets_out
        stats.outgoingOctetsAppLevel += self._octets_out + self._saved_out
        stats.outgoingWebSocketFrames += self._frames_out
        stats.outgoingWebSocketMessages += self._frames_out
        self._octets_on_wire = self._octets_on_wire_out = self._octets = self._octets_out = 0
        self._messages = self._frames_out = self._early_octets = self._early_octets_out = 0
        self._fragments_in = self._saved = self._saved_out = 0
        return stats

    def _traffic(self) -> tuple[int, int]:
        """Give the bytes received and sent since the handshake, without making statistics of them."""
        received, sent = self._octets_on_wire, self._octets_on_wire_out
        if self._stats is not None:
            received += self._stats.incomingOctetsWireLevel
            sent += self._stats.outgoingOctetsWireLevel
        return received, sent

    def sendMessage(
        self,
        payload: bytes,
        isBinary: bool = False,
        fragmentSize: int | None = None,
        sync: bool = False,
        doNotCompress: bool = False,
    ) -> None:
        """Send a message. Raises Autobahn's Disconnected when the connection is not open."""
        usual = self._writes_frames and fragmentSize is None and not sync and type(payload) is bytes
        if usual and self.state == self.STATE_OPEN and not (doNotCompress and self._packer is not None):
            self._write(payload, _BINARY if isBinary else _TEXT)
        else:
            self._send_unusual(payload, isBinary, fragmentSize, sync, doNotCompress)

    def _send_unusual(self, payload: Any, is_binary: bool, fragment_size: int | None, sync: bool, plain: bool) -> None:
        """Send a message Autobahn's way, who would hold the limit of what comes in against it."""
        deflate = self._perMessageCompress
        if isinstance(deflate, Deflate):
            plain = plain or len(payload) < self.factory.compress_threshold
            deflate.unsent = False
        own = {name: self.__dict__[name] for name in ("maxMessagePayloadSize",) if name in self.__dict__}
        self.maxMessagePayloadSize = 0
        try:
            super().sendMessage(payload, is_binary, fragment_size, sync, plain)
        except BaseException:  # raised again: whatever stopped it, the packer is ahead of what was sent
            if isinstance(deflate, Deflate) and deflate.unsent:
                self.dropConnection(abort=True)  # the next message would refer to one that the client does not have
            raise
        finally:
            del self.maxMessagePayloadSize
            self.__dict__.update(own)

    def _ping(self) -> None:
        """Send a ping, behind the replies that are gathered. Whatever the client sends then is an answer."""
        if self._writes_frames:
            self._write(b"", _PING)
        else:
            self.sendPing()

    # The handshake

    def connection_made(self, transport: Any) -> None:
        """Do what Autobahn's adapter and protocol do, without its receive queue and its copy of the options."""
        self.transport = transport
        self.peer = peer2str(transport)
        self.factory.countConnections += 1
        if self.trackTimings:
            self.trackedTimings = Timings()
        self._silent_since = asyncio.get_running_loop().time()

    def _onOpen(self) -> None:
        """Set up the frame layer as the class and its options ask, before anything is read."""
        self._open()
        if self.state != self.STATE_OPEN:
            return  # closed by who decided that it may connect
        opened: Any = self.onOpen()
        if not _OPTIONS.isdisjoint(self.__dict__):
            self._open()  # `onOpen` may have set options of this connection
        if is_awaitable(opened):
            self._opening = asyncio.ensure_future(self.factory.hooks.told("onOpen", opened))

    def _open(self) -> None:
        own = _overridden(type(self))
        watched = bool(self.logFrames or self.logOctets or self.trackTimings)
        self._loop = asyncio.get_running_loop()
        self._fast = not (own["reading"] or watched) and self.requireMaskedClientFrames and self.applyMask
        self._serves_pings = not own["pings"]
        self._checks_utf8 = self.utf8validateIncoming
        if COMPILED:  # else nobody uses it, and every idle connection has it
            self._socket = descriptor(self._transport)
        self._limit = min(filter(None, (self.maxMessagePayloadSize, self.maxFramePayloadSize)), default=0)
        compression = self._perMessageCompress
        is_ours = isinstance(compression, Deflate)
        foreign = compression is not None and not is_ours
        unusual = own["sending"] or watched or foreign or self.autoFragmentSize or self.maskServerFrames
        self._writes_frames = not unusual
        if is_ours:
            self._compress(compression)

    def _compress(self, deflate: Deflate) -> None:
        """Have the frame layer do as it was agreed on."""
        limits = self.maxMessagePayloadSize, deflate.max_message_size
        deflate.unpacker.limit = min(filter(None, limits), default=0)
        # A limit of frames is one of what is on the wire: Autobahn keeps it.
        self._unpacker = None if self.maxFramePayloadSize else deflate.unpacker
        self._packer = deflate.packer
        self._packs_from = self.factory.compress_threshold

    def consumeData(self) -> None:
        """Take the bytes that came behind the handshake."""
        rest, self.data = self.data, b""
        self.trafficStats.incomingOctetsWireLevel -= len(rest)  # counted as they came, before the connection was open
        self._feed(rest)
        if not self._held and not self._transport.is_closing():
            self._transport.resume_reading()

    # Frames that the frame layer does not serve, and what it finds

    def _on_message(self, payload: bytes, is_binary: bool) -> None:
        self._onMessage(payload, is_binary)

    def _on_unusual_frame(self) -> None:
        if self.state == self.STATE_CLOSING:
            # After a fault Autobahn may be left inside the frame that had it.
            self.data = b""
            self.current_frame = None
            self.inside_message = False
            self._skips = False

    def _on_unusual(self, data: bytes) -> None:
        if self.logOctets:
            self.logRxOctets(data)
        if self._skips:
            return
        was_open = self.state == self.STATE_OPEN
        self.data += data  # the header that is incomplete, at most
        opcode = self.data[0] & 0x0F if self.current_frame is None else self.current_frame.opcode
        while self.processData() and self.state != self.STATE_CLOSED:
            pass
        if was_open and self.failedByMe:
            self._skips = True  # looked at again, the rest of the frame would be a second fault, which drops the client
            if opcode == _CLOSE:
                self._end_at_faulty_close()

    def _end_at_faulty_close(self) -> None:
        """Wait for nothing more: no other close frame will come. Autobahn would take this one for an answer to ours."""
        self.wasClean = False
        self._gave_up = self.localCloseCode
        self.wasNotCleanReason = (self.localCloseReason or b"").decode()
        self.dropConnection()

    def _on_invalid_utf8(self, index: int) -> None:
        self._invalid_payload(f"encountered invalid UTF-8 while processing text message at payload octet index {index}")

    def _on_bad_message(self, wrong: Exception) -> None:
        if isinstance(wrong, OverflowError):
            self.wasMaxMessagePayloadSizeExceeded = True
            limit = self._perMessageCompress.unpacker.limit
            self._max_message_size_exceeded(limit + 1, limit, str(wrong))
        else:
            self._invalid_payload(str(wrong))

    def _on_pong(self, payload: bytes) -> None:
        if payload == self.autoPingPending:
            self.current_frame = FrameHeader(_PONG, True, 0, len(payload), None)
            self.control_frame_data = [payload]
            self.processControlFrame()
            self.current_frame = None

    def _on_traffic(self) -> None:
        if self.autoPingRestartOnAnyTraffic:
            self._cancelAutoPingTimeoutCall()

    # What Autobahn sends, and the end

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Send what Autobahn wrote, behind the replies that are gathered."""
        self._flush()
        if chopsize or sync or "send_queue" in self.__dict__:
            # From the first trickled send on, whatever is sent waits its turn in Autobahn's queue.
            self._writes_frames = self._writes_replies = self._serves_pings = False
            super().sendData(data, sync, chopsize)
            return
        # What Autobahn does, but for a log line that is formatted and never shown.
        self.transport.write(data)
        if self.state == self.STATE_OPEN:
            self._octets_on_wire_out += len(data)
        elif self.state == self.STATE_CONNECTING:
            self._early_octets_out += len(data)
        if self.logOctets:
            self.logTxOctets(data, False)

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        """Start nothing more once a close frame is sent, be it ours, a reply or the answer to a violation."""
        super().sendCloseFrame(code, reasonUtf8, isReply)
        if self.closeHandshakeTimeoutCall is not None:
            self.closeHandshakeTimeoutCall.cancel()  # the watch sees to it, and whether the client still reads
            self.closeHandshakeTimeoutCall = None
        self._leave_soon()

    def dropConnection(self, abort: bool = False) -> None:
        """Close the transport: at once, or when what is to be sent has left, as after a closing handshake."""
        self._flush()
        super().dropConnection(abort and not self.wasClean)
        self._leave_soon()

    def _leave_soon(self) -> None:
        self.factory.leaves(self)
        self._stop()

    def _waiting(self) -> int:
        """Give the bytes that were sent and have not left the transport. It may have to count them, write by write."""
        size = self._transport.get_write_buffer_size()  # of what is gathered nothing is written for it
        return int(size if self._raw is None else size + self._raw.get_write_buffer_size())

    def _taken(self) -> int:
        """Give the bytes that the client's machine has taken, where the system tells, else those that have left."""
        return self._traffic()[1] - self._waiting() - unacknowledged(self._transport)

    def _has_hung_up(self) -> bool:
        """Tell whether the client sends no more. Nobody hears that from a transport that does not read."""
        return hung_up(self._transport)

    def _connectionLost(self, reason: Any) -> None:
        WebSocketProtocol._connectionLost(self, reason)  # past the server's own, which adds a log line
        self.factory.countConnections -= 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._socket = -1  # the number may be another connection's next
        try:
            super().connection_lost(exc)
        finally:
            self._drop()
            # Its result is this connection: the two would hold each other until the garbage collector comes.
            self.__dict__.pop("is_closed", None)
            self._stop_deciding()


for _name in _OPTIONS:
    setattr(AutobahnConnection, _name, _Option(_name))


@cache
def _overridden(protocol: type) -> dict[str, bool]:
    """Tell which kinds of Autobahn's hooks a class overrides."""

    def any_of(names: tuple[str, ...]) -> bool:
        return any(getattr(protocol, name) is not getattr(AutobahnConnection, name) for name in names)

    return {"reading": any_of(_FRAME_HOOKS), "pings": any_of(_PING_HOOKS), "sending": any_of(_SENDING_HOOKS)}
