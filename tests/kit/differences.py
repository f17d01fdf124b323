"""What two readers make of one stream: the two implementations, or Autobahn's reader and ours behind its protocol."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable
from typing import Any

from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflateOfferAccept

from aiorest_ws import RequestHandlerFactory, RequestHandlerProtocol, SimpleRouter
from tests.kit.frames import (
    BINARY,
    CLOSE,
    CLOSED,
    CLOSING,
    OPEN,
    PING,
    Event,
    Packs,
    Transport,
    counters,
    echo,
    make,
    wire,
)
from tests.kit.streams import Case
from tests.swapping import Impl

__all__ = (
    "Ours",
    "Plain",
    "connect",
    "deliver",
    "difference",
    "difference_from_autobahn",
    "server_frames",
)


class Acting:
    """Echoes messages, and does what the case says with the number of the call."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.calls = -1

    def __call__(self, frames: Any, event: Event) -> None:
        self.calls += 1
        echo(frames, event)
        match self.case.actions.get(self.calls):
            case "hold":
                frames._held = 1
            case "closing":
                frames.state = CLOSING
            case "closed":
                frames.state = CLOSED
            case "gone":
                frames.state = CLOSED
                frames.transport = None
            case "abort":
                frames.transport.closing = True
            case "raise":
                raise LookupError(self.calls)
            case "write":
                frames._write(b"y" * 70_000, BINARY)
            case "read":
                frames._feed(wire(b"nested") + wire(b"nested", PING) + wire(b"cut")[: self.calls % 9])
            case "resume":
                frames._resume()
            case "flush":
                frames._flush()
            case "inside":
                frames.inside_message = not frames.inside_message
            case "slow":
                frames._fast = not frames._fast


def run(impl: Impl, case: Case) -> dict[str, Any]:
    """Give everything that can be seen of `case`."""
    frames = make(impl, Acting(case), **case.options)

    def attempt(act: Callable[[], None]) -> None:
        try:
            act()
        except LookupError as exc:
            frames.events.append(("raised", *exc.args))

    for number, piece in enumerate(case.pieces()):
        attempt(lambda piece=piece: frames._feed(piece))  # type: ignore[misc]
        frames.events.append(("fed", frames._held, frames.state))
        if number & 1:
            frames._held = 0
            attempt(frames._resume)
    while frames._held:
        frames._held = 0
        attempt(frames._resume)
    return counters(frames) | {"events": frames.events, "state": frames.state, "inside": frames.inside_message}


def difference(pure: Impl, compiled: Impl, case: Case) -> str | None:
    """Give where the two differ, or None."""
    one, other = run(pure, case), run(compiled, case)
    for number, (event, event_of_other) in enumerate(zip(one["events"], other["events"], strict=False)):
        if event != event_of_other:
            return f"event {number}: pure {event!r:.200}, compiled {event_of_other!r:.200}"
    for name in one:
        if one[name] != other[name]:
            return f"{name}: pure {one[name]!r:.200}, compiled {other[name]!r:.200}"
    return None


# With Autobahn's protocol behind it, against Autobahn's own reader


REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1:9000\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Echoing:
    """Notes messages and sends them back; closes with the one that `closes_at` numbers, counted from 1."""

    closes_at = 0
    seen: list[tuple[bytes, bool]]

    def onMessage(self: Any, payload: bytes, isBinary: bool) -> None:
        self.seen.append((payload, isBinary))
        self.sendMessage(payload, isBinary)
        if len(self.seen) == self.closes_at:
            self.sendCloseFrame(1000)


class Plain(Echoing, WebSocketServerProtocol):  # type: ignore[misc]
    """Autobahn's own, without the queue of its adapter."""

    def data_received(self, data: bytes) -> None:
        self._dataReceived(data)


class Ours(Echoing, RequestHandlerProtocol):
    pass


async def connect(protocol: type[Any], **options: Any) -> Any:
    """Give an open connection over a transport that notes."""
    url, loop = "ws://127.0.0.1:9000", asyncio.get_running_loop()
    factory: Any = WebSocketServerFactory(url, loop=loop)
    if protocol is Ours:
        factory = RequestHandlerFactory(url, loop=loop, router=SimpleRouter())
    factory.protocol = protocol
    factory.setProtocolOptions(
        failByDrop=False, echoCloseCodeReason=True, openHandshakeTimeout=0, closeHandshakeTimeout=0, **options
    )
    connection = factory()
    connection.seen = []
    connection.connection_made(Transport([]))
    offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    connection.data_received(REQUEST[:-2] + offer if "perMessageCompressionAccept" in options else REQUEST)
    for _ in range(10):
        if connection.state == OPEN:
            break
        await asyncio.sleep(0)
    assert connection.state == OPEN
    connection.transport.events.clear()
    return connection


def deliver(connection: Any, pieces: Iterable[bytes]) -> None:
    """Let `pieces` arrive for as long as a transport would deliver them."""
    transport = connection.transport
    for piece in pieces:
        if transport.closing:
            return
        try:
            connection.data_received(piece)
        except Exception:  # whatever Autobahn raises; of ours nothing may come
            if type(connection) is Ours:
                raise
            transport.abort()  # as Autobahn's adapter does


def server_frames(connection: Any) -> list[tuple[int, bytes]]:
    """Give opcode and payload of what was sent. The reason of 1007 tells a place: Autobahn counts it otherwise."""
    data = b"".join(event[1] for event in connection.transport.events if event[0] == "write")
    inflater = zlib.decompressobj(wbits=-15)
    found = []
    while data:
        size, start = data[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        payload = data[start : start + size]
        assert len(payload) == size
        if data[0] & 0x0F == CLOSE and payload[:2] == (1007).to_bytes(2, "big"):
            payload = payload[:2]
        if data[0] & 0x40:
            payload = inflater.decompress(payload + b"\x00\x00\xff\xff")
        found.append((data[0], payload))
        data = data[start + size :]
    return found


async def difference_from_autobahn(case: Case) -> str | None:
    """Give where we differ from Autobahn: in messages, in what is sent, or in the code that closes."""
    options: dict[str, Any] = {"maxMessagePayloadSize": case.options.get("_limit", 0)}
    packs: Packs | None = case.options.get("packs")
    if packs is not None:
        options["perMessageCompressionAccept"] = lambda offers: PerMessageDeflateOfferAccept(
            offers[0], mem_level=packs.level
        )
    plain, ours = await connect(Plain, **options), await connect(Ours, **options)
    if packs is not None:
        assert ours._packer.takes_over
        ours._packs_from = 0  # Autobahn compresses all
    assert ours._fast
    assert ours._serves_pings
    for connection in (plain, ours):
        deliver(connection, case.pieces())
    pairs: dict[str, tuple[Any, Any]] = {
        "messages": (plain.seen, ours.seen),
        "sent": (server_frames(plain), server_frames(ours)),
        "code sent": (plain.localCloseCode, ours.localCloseCode),
        "open": (plain.state == OPEN, ours.state == OPEN),
    }
    if not plain.failedByMe:
        # Behind a fault Autobahn drops the connection with the next one, or with more of a message that is not text;
        # we skip all that until a close frame comes, or the time for it is over.
        pairs["code received"] = plain.remoteCloseCode, ours.remoteCloseCode
        pairs["state"] = plain.state, ours.state
        pairs["transport"] = plain.transport.closing, ours.transport.closing
    for name, (of_autobahn, of_ours) in pairs.items():
        if of_autobahn != of_ours:
            return f"{name}: Autobahn {of_autobahn!r:.300}, ours {of_ours!r:.300}"
    return None
