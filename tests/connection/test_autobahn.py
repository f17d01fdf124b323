"""What our protocol and factory rely on in Autobahn, though it is private: a release that moves it fails here.

Run against the lowest and the newest supported release by `make test-packaging`.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import sys
import tomllib
import venv
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import txaio
from autobahn.asyncio.util import create_transport_details, peer2str
from autobahn.asyncio.websocket import WebSocketAdapterProtocol, WebSocketServerProtocol
from autobahn.exception import Disconnected
from autobahn.wamp.types import TransportDetails
from autobahn.websocket.compress import (
    PERMESSAGE_COMPRESSION_EXTENSION,
    PerMessageDeflate,
    PerMessageDeflateOffer,
    PerMessageDeflateOfferAccept,
)
from autobahn.websocket.protocol import FrameHeader, Timings, TrafficStats, WebSocketProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from autobahn.websocket.utf8validator import Utf8Validator

from aiorest_ws import RequestHandlerProtocol, _speedups
from aiorest_ws._speedups import frames
from aiorest_ws.connection import autobahn as adapter
from aiorest_ws.connection import handshake as opening
from aiorest_ws.connection.kernel import descriptor
from tests.kit.commands import NO, run, succeed
from tests.kit.pages import ROOT
from tests.kit.transports import REQUEST, Transport, made, opened, our_factory, plain_factory
from tests.serving import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LOOPS,
    PING,
    PONG,
    TEXT,
    Client,
    asynchronous,
    connection_of,
    frame,
    serving,
    turn_over,
)

# What Autobahn's adapter sets for the receive queue that the frame layer replaces.
QUEUE = {"receive_queue", "waiter"}


async def ended(*protocols: Any) -> None:
    for protocol in protocols:
        protocol.connection_lost(None)
        if hasattr(protocol, "waiter"):
            protocol.waiter.cancel()
    await turn_over()


def comparable(value: Any) -> Any:
    """Give what makes `value` the same as another: itself where it compares, else its type and attributes."""
    if isinstance(value, TrafficStats):
        return vars(value)
    if isinstance(value, asyncio.Future):
        return "future", value.done()
    if isinstance(value, TransportDetails):
        fields = ("peer", "is_secure", "channel_type", "channel_framing", "channel_id")  # 26.10.1 has no `is_server`
        return [getattr(value, field) for field in fields]
    if inspect.isfunction(value):
        return value.__qualname__
    if hasattr(value, "cancel"):
        return "timer"  # Autobahn's are kept in batches, ours is the loop's
    if isinstance(value, Utf8Validator):
        return type(value)
    return value


def differing(plain: Any, ours: Any, without: set[str] | frozenset[str]) -> dict[str, Any]:
    """Give the attributes of the instance `plain` that `ours` has not, or not with the same value."""
    found = {}
    for name, value in vars(plain).items():
        if name in without:
            continue
        missing = object()
        other = getattr(ours, name, missing)
        if other is missing:
            found[name] = f"Autobahn sets it to {value!r}, connection/autobahn.py neither sets nor defaults it"
        elif comparable(other) != comparable(value):
            found[name] = f"Autobahn sets it to {value!r}, ours is {other!r}"
    return found


# What the watch does with its own timers, and what differs of old (RFC 6455 §5.5.1).
OTHERWISE = {"closeHandshakeTimeout", "echoCloseCodeReason", "openHandshakeTimeoutCall"}


# (a) What is defaulted instead of being set


@asynchronous
async def test_every_attribute_that_autobahn_sets_on_a_connection_has_a_default_of_the_same_value() -> None:
    plain, ours = made(plain_factory()), made(our_factory())
    try:
        assert differing(plain, ours, QUEUE | OTHERWISE | {"factory", "transport"}) == {}
    finally:
        await ended(plain, ours)


@asynchronous
async def test_every_attribute_that_autobahn_sets_in_the_handshake_is_there_after_it() -> None:
    plain, ours = await opened(plain_factory()), await opened(our_factory())
    try:
        gone = {"http_response_data", "_wskey", "is_open"}
        assert not opening._ONLY_FOR_HANDSHAKE & set(vars(ours))
        assert differing(plain, ours, QUEUE | OTHERWISE | gone | {"factory", "transport"}) == {}
    finally:
        await ended(plain, ours)


@asynchronous
async def test_no_default_is_of_an_attribute_that_autobahn_has_no_more() -> None:
    plain = await opened(plain_factory())
    plain._dataReceived(frame(b"x"))  # some are made for the first message
    own = {"_complained", "_writes_frames", "_skips", "_stats", "_opening", "_early_octets", "_early_octets_out"}
    own |= {"_handshake", "_deciding", "_early_messages", "_early_close", "_is_head", "_raw", "_announced", "_gave_up"}
    defaulted = {
        name
        for name, value in [*vars(adapter.AutobahnConnection).items(), *vars(opening.Opening).items()]
        if name not in own and not name.startswith("__") and not inspect.isfunction(value)
    }
    try:
        assert {name for name in defaulted if not hasattr(plain, name)} == set()
        # None of the names of the frame layer may come to mean something in Autobahn: only these are meant.
        shared = {"state", "transport", "autoPingTimeoutCall", "inside_message", "data_received"}
        layer = {name for name in dir(frames.Frames) + dir(_speedups.Connection) if not name.startswith("__")}
        writing = {"pause_writing", "resume_writing"}  # of asyncio.BaseProtocol, which Autobahn does not override
        assert {name for name in layer if hasattr(plain, name)} == shared | writing
        assert all(getattr(WebSocketServerProtocol, n) is getattr(asyncio.BaseProtocol, n) for n in writing)
        assert {name for name in own if hasattr(plain, name)} == set()
        ours = {name for name in vars(RequestHandlerProtocol) if not name.startswith("__")}
        theirs = {"onMessage", "connection_made", "connection_lost", "_onClose"}
        assert {name for name in ours if hasattr(plain, name)} == theirs
    finally:
        await ended(plain)


def test_server_options_are_those_of_both_lists_and_every_factory_has_them() -> None:
    common, server = WebSocketServerProtocol.CONFIG_ATTRS_COMMON, WebSocketServerProtocol.CONFIG_ATTRS_SERVER
    assert common + server == WebSocketServerProtocol.CONFIG_ATTRS
    for name in common + server:
        assert isinstance(vars(adapter.AutobahnConnection)[name], adapter._Option), name
    read = {
        *("logFrames", "logOctets", "trackTimings", "requireMaskedClientFrames", "applyMask", "utf8validateIncoming"),
        *("maxMessagePayloadSize", "maxFramePayloadSize", "autoFragmentSize", "maskServerFrames"),
        *("openHandshakeTimeout", "autoPingRestartOnAnyTraffic"),
    }
    assert read <= set(common + server)


@asynchronous
async def test_factory_has_every_option_from_the_start() -> None:
    for factory in (plain_factory(), our_factory()):
        for name in WebSocketServerProtocol.CONFIG_ATTRS:
            assert hasattr(factory, name), name


@asynchronous
async def test_option_set_on_class_or_instance_wins_in_both() -> None:
    class Plain(WebSocketServerProtocol):
        autoPingInterval = 7

    class Ours(RequestHandlerProtocol):
        autoPingInterval = 7

    factory = our_factory()
    factory.protocol = Ours
    plain, ours = made(plain_factory(Plain)), made(factory)
    try:
        for protocol in (plain, ours):
            protocol.closeHandshakeTimeout = 3
            assert (protocol.autoPingInterval, protocol.closeHandshakeTimeout) == (7, 3)
    finally:
        await ended(plain, ours)


# (b) Names, signatures, order


OFFER = (
    "self, accept_no_context_takeover=True, accept_max_window_bits=True, request_no_context_takeover=False, "
    "request_max_window_bits=0"
)
ACCEPT = (
    "self, offer, request_no_context_takeover=False, request_max_window_bits=0, no_context_takeover=None, "
    "window_bits=None, mem_level=None, max_message_size=None"
)


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (WebSocketServerProtocol.__init__, "self"),
        (WebSocketServerProtocol.connection_made, "self, transport"),
        (WebSocketServerProtocol.connection_lost, "self, exc"),
        (WebSocketServerProtocol._connectionMade, "self"),
        (WebSocketServerProtocol._connectionLost, "self, reason"),
        (PerMessageDeflateOffer.__init__, OFFER),
        (PerMessageDeflateOfferAccept.__init__, ACCEPT),
        (PerMessageDeflate.start_compress_message, "self"),
        (PerMessageDeflate.compress_message_data, "self, data"),
        (PerMessageDeflate.end_compress_message, "self"),
        (PerMessageDeflate.start_decompress_message, "self"),
        (PerMessageDeflate.decompress_message_data, "self, data, max_output_len=None"),
        (PerMessageDeflate.end_decompress_message, "self"),
        (WebSocketServerProtocol._max_message_size_exceeded, "self, msg_size, max_msg_size, reason"),
        (WebSocketServerProtocol.succeedHandshake, "self, res"),
        (WebSocketServerProtocol.failHandshake, "self, reason, code=400, responseHeaders=None"),
        (WebSocketServerProtocol.onOpenHandshakeTimeout, "self"),
        (WebSocketServerProtocol.consumeData, "self"),
        (WebSocketServerProtocol.processData, "self"),
        (WebSocketServerProtocol.processControlFrame, "self"),
        (WebSocketServerProtocol.sendCloseFrame, "self, code=None, reasonUtf8=None, isReply=False"),
        (
            WebSocketServerProtocol.sendFrame,
            "self, opcode, payload=b'', fin=True, rsv=0, mask=None, payload_len=None, chopsize=None, sync=False",
        ),
        (WebSocketServerProtocol.sendData, "self, data, sync=False, chopsize=None"),
        (
            WebSocketServerProtocol.sendMessage,
            "self, payload, isBinary=False, fragmentSize=None, sync=False, doNotCompress=False",
        ),
        (WebSocketServerProtocol.dropConnection, "self, abort=False"),
        (WebSocketServerProtocol._invalid_payload, "self, reason"),
        (WebSocketServerProtocol._cancelAutoPingTimeoutCall, "self"),
        (WebSocketServerProtocol._onOpen, "self"),
        (WebSocketServerProtocol._onMessage, "self, payload, isBinary"),
        (WebSocketServerProtocol._onClose, "self, wasClean, code, reason"),
        (WebSocketServerProtocol.onMessage, "self, payload, isBinary"),
        (WebSocketServerProtocol.onClose, "self, wasClean, code, reason"),
        (WebSocketServerProtocol.onAutoPong, "self, ping_sent, ping_seq, pong_received, pong_rtt, payload"),
        (WebSocketServerProtocol.logRxOctets, "self, data"),
        (WebSocketServerProtocol.logTxOctets, "self, data, sync"),
        (WebSocketServerProtocol.logRxFrame, "self, frameHeader, payload"),
        (WebSocketServerProtocol.logTxFrame, "self, frameHeader, payload, repeatLength, chopsize, sync"),
        (FrameHeader.__init__, "self, opcode, fin, rsv, length, mask"),
        (ConnectionDeny.__init__, "self, code, reason=None"),
        (
            ConnectionRequest.__init__,
            "self, peer, headers, host, path, params, version, origin, protocols, extensions",
        ),
        (peer2str, "transport"),
        (create_transport_details, "transport, is_server"),
        (Timings.__init__, "self"),
        (TrafficStats.__init__, "self"),
        (Utf8Validator.__init__, "self"),
    ],
    ids=lambda value: getattr(value, "__qualname__", "") if callable(value) else "",
)
def test_signature_is_as_we_call_or_override_it(function: Callable[..., Any], parameters: str) -> None:
    if function is Utf8Validator.__init__:  # it may be compiled
        Utf8Validator()
        return
    plain = [
        parameter.name if parameter.default is parameter.empty else f"{parameter.name}={parameter.default!r}"
        for parameter in inspect.signature(function).parameters.values()
    ]
    assert ", ".join(plain) == parameters


def test_signatures_of_our_overrides_are_autobahns() -> None:
    for name in ("sendMessage", "sendData", "sendCloseFrame", "dropConnection", "succeedHandshake", "consumeData"):
        ours, theirs = (
            [(p.name, p.default) for p in inspect.signature(getattr(cls, name)).parameters.values()]
            for cls in (adapter.AutobahnConnection, WebSocketServerProtocol)
        )
        assert ours == theirs, name


@pytest.mark.parametrize("name", [*adapter._FRAME_HOOKS, *adapter._PING_HOOKS, *adapter._SENDING_HOOKS])
def test_hook_is_still_autobahns(name: str) -> None:
    assert inspect.isfunction(getattr(WebSocketServerProtocol, name))


def test_states_have_the_numbers_of_the_frame_layer() -> None:
    states = (WebSocketProtocol.STATE_CLOSED, WebSocketProtocol.STATE_CONNECTING)
    assert (*states, WebSocketProtocol.STATE_CLOSING, WebSocketProtocol.STATE_OPEN) == (0, 1, 2, 3)
    assert (frames.CLOSED, frames.CONNECTING, frames.CLOSING, frames.OPEN) == (0, 1, 2, 3)
    assert WebSocketProtocol.SEND_STATE_GROUND == 0
    assert WebSocketProtocol.MESSAGE_TYPE_TEXT == TEXT
    assert WebSocketProtocol.MESSAGE_TYPE_BINARY == BINARY


def test_close_codes_that_may_be_sent_are_those_of_the_rfc() -> None:
    assert sorted(WebSocketProtocol.CLOSE_STATUS_CODES_ALLOWED) == [
        *(1000, 1001, 1002, 1003),
        *range(1007, 1014),
    ]


def test_statistics_have_the_fields_that_are_kept() -> None:
    levels = ("OctetsWireLevel", "OctetsWebSocketLevel", "OctetsAppLevel", "WebSocketFrames", "WebSocketMessages")
    fields = {way + level for way in ("incoming", "outgoing") for level in levels}
    fields |= {"preopenIncomingOctetsWireLevel", "preopenOutgoingOctetsWireLevel"}
    assert vars(TrafficStats()) == dict.fromkeys(fields, 0)


@pytest.mark.parametrize(
    "head",
    [
        REQUEST,
        REQUEST.replace(b"/?b=c", b"/a/b?x=1&x=2&y=%20&z").replace(b"X-A: b", b"Origin: http://h\r\nx-a: c\r\nX-A:b "),
        REQUEST.replace(b"X-A: b", b"Sec-WebSocket-Protocol: b,a , c\r\nCookie: a=b"),
        REQUEST.replace(b"127.0.0.1:80", b"[::1]:80"),
        REQUEST.replace(b"127.0.0.1:80", b"localhost"),
        REQUEST.replace(
            b"X-A: b",
            b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=10, x-b; c",
        ),
    ],
)
@asynchronous
async def test_opening_request_means_the_same_to_autobahn(head: bytes) -> None:
    """`opening` takes the place of `processHandshake`: what it leaves and what `onConnect` sees is the same."""

    def noting(base: type) -> Any:
        class Noting(base):  # type: ignore[misc]
            def onConnect(self, request: Any) -> None:
                self.seen = [getattr(request, name) for name in ConnectionRequest.__slots__]

        return Noting

    ours_of = our_factory()
    ours_of.protocol, ours_of.allowed_origins = noting(RequestHandlerProtocol), ["*"]
    plain, ours = made(plain_factory(noting(WebSocketServerProtocol))), made(ours_of)
    for protocol in (plain, ours):
        protocol.data_received(head)
    await turn_over()
    assert plain.state == ours.state == plain.STATE_OPEN
    assert ours.seen == plain.seen
    names = [name for name in vars(plain) if name.startswith(("http_", "websocket_")) and name != "http_response_data"]
    assert len(names) > 10
    for name in names:
        assert getattr(ours, name) == getattr(plain, name), name
    await ended(plain, ours)


def test_malformed_offers_of_other_compressions_raise_as_we_expect() -> None:
    """The server has to decline them, Autobahn would refuse the handshake."""
    known: Any = PERMESSAGE_COMPRESSION_EXTENSION["permessage-bzip2"]
    known["Offer"].parse({"client_max_compress_level": [True]})
    for parameters in ({"x": [True]}, {"client_max_compress_level": ["99"]}):
        with pytest.raises(Exception, match="permessage-bzip2"):
            known["Offer"].parse(parameters)
    assert callable(known["PMCE"].create_from_offer_accept)


def test_adapter_does_no_more_on_connection_made_than_ours_does() -> None:
    """What `connection_made` leaves out is a receive queue and a waiter; ours must follow whatever joins them."""
    assert set(WebSocketAdapterProtocol.connection_made.__code__.co_names) == {
        *("log", "debug", "hltype", "connection_made", "transport", "create_transport_details", "is_server"),
        *("_transport_details", "peer", "receive_queue", "deque", "_consume", "_connectionMade"),
    }
    assert set(WebSocketServerProtocol._connectionMade.__code__.co_names) == {
        *("log", "debug", "hltype", "_connectionMade", "peer", "WebSocketProtocol", "factory", "countConnections"),
    }


def test_what_ours_does_in_the_place_of_autobahns_is_all_that_autobahn_does() -> None:
    """`onConnect`, `_connectionLost` and `sendData` are done again without their log lines."""
    server = WebSocketServerProtocol
    assert set(server.onConnect.__code__.co_names) == {"log", "debug", "hltype", "onConnect"}
    assert set(server._connectionLost.__code__.co_names) == {
        *("log", "debug", "hltype", "hlval", "_connectionLost", "peer"),
        *("WebSocketProtocol", "factory", "countConnections"),
    }
    assert set(server.sendData.__code__.co_names) == {
        *("len", "send_queue", "append", "_trigger", "transport", "write", "log", "debug", "hltype", "hlval", "peer"),
        *("sendData", "state", "WebSocketProtocol", "STATE_OPEN", "STATE_CONNECTING", "STATE_PROXY_CONNECTING"),
        *("trafficStats", "outgoingOctetsWireLevel", "preopenOutgoingOctetsWireLevel", "logOctets", "logTxOctets"),
    }


@asynchronous
async def test_sends_that_are_chopped_or_synchronous_keep_the_order_of_the_plain_ones() -> None:
    for factory in (plain_factory(), our_factory()):
        protocol = await opened(factory)
        protocol.transport.written.clear()
        protocol.sendFrame(opcode=BINARY, payload=b"abcd", chopsize=3)
        protocol.sendMessage(b"1", sync=True)
        protocol.sendMessage(b"2")
        protocol.sendPing(b"3")
        while protocol.triggered:
            await turn_over(1)
        assert b"".join(protocol.transport.written) == b"\x82\x04abcd\x81\x011\x81\x012\x89\x013"
        await ended(protocol)


@asynchronous
async def test_is_open_is_done_whenever_it_is_asked_for() -> None:
    for factory in (plain_factory(), our_factory()):
        early = made(factory)
        waiting = early.is_open
        assert not waiting.done()
        early.data_received(REQUEST)
        await turn_over()
        assert waiting.done()
        assert early.is_open.done()
        late = await opened(factory)
        assert late.is_open.done()
        await ended(early, late)


@asynchronous
async def test_peer_is_that_of_the_transport_details() -> None:
    details = create_transport_details(Transport(), True)
    assert details.peer == peer2str(Transport()) == "tcp4:127.0.0.1:1234"


@asynchronous
async def test_factory_calls_protocol_without_arguments_and_counts_its_connections() -> None:
    factory = plain_factory()
    protocol = factory()
    assert type(protocol) is WebSocketServerProtocol
    assert protocol.factory is factory  # type: ignore[attr-defined]
    assert factory.countConnections == 0
    protocol.connection_made(Transport())
    assert factory.countConnections == 1
    await ended(protocol)
    assert factory.countConnections == 0
    assert protocol.transport is None


@asynchronous
async def test_timers_run_on_the_loop_that_runs() -> None:
    called = asyncio.Event()
    call = plain_factory()._batched_timer.call_later(0, called.set)
    await called.wait()
    later = plain_factory()._batched_timer.call_later(60, called.set)
    later.cancel()
    assert callable(call.cancel)


class Tracing(WebSocketServerProtocol):
    """Notes the calls that matter, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def onConnect(self, request: Any) -> Any:
        self.calls.append(("onConnect", self._wskey is not None, bytes(self.data)))

    def succeedHandshake(self, res: Any) -> None:
        self.calls.append(("succeedHandshake", self.state, res))
        super().succeedHandshake(res)
        self.calls.append(("succeeded", self.state))

    def _onOpen(self) -> None:
        self.calls.append(("_onOpen", self.state, bytes(self.data), self.inside_message, self.current_frame))
        super()._onOpen()

    def consumeData(self) -> None:
        self.calls.append(("consumeData", self.state, bytes(self.data)))
        super().consumeData()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.calls.append(("onMessage", payload))

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        self.calls.append(("sendData", self.state, data))
        super().sendData(data, sync, chopsize)

    def sendFrame(self, opcode: int, *args: Any, **kwargs: Any) -> None:
        self.calls.append(("sendFrame", opcode))
        super().sendFrame(opcode, *args, **kwargs)

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        self.calls.append(("sendCloseFrame", code, isReply))
        super().sendCloseFrame(code, reasonUtf8, isReply)

    def dropConnection(self, abort: bool = False) -> None:
        self.calls.append(("dropConnection", abort))
        super().dropConnection(abort)

    def _onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.calls.append(("_onClose", wasClean, code))


def names(protocol: Any) -> list[str]:
    return [call[0] for call in protocol.calls]


@asynchronous
async def test_open_comes_before_the_bytes_behind_the_handshake_are_consumed() -> None:
    behind = frame(b"abc")
    protocol = await opened(plain_factory(Tracing), behind)
    _, connected, succeeding, sent, opening, consuming, message, done = protocol.calls
    assert protocol.calls[0] == ("consumeData", protocol.STATE_CONNECTING, REQUEST + behind)
    assert connected == ("onConnect", True, behind)
    assert succeeding == ("succeedHandshake", protocol.STATE_CONNECTING, None)
    assert sent[:2] == ("sendData", protocol.STATE_CONNECTING)
    assert opening == ("_onOpen", protocol.STATE_OPEN, behind, False, None)
    assert consuming == ("consumeData", protocol.STATE_OPEN, behind)
    assert message == ("onMessage", b"abc")
    assert done == ("succeeded", protocol.STATE_OPEN)
    await ended(protocol)


@asynchronous
async def test_succeeded_handshake_consumes_only_what_is_there() -> None:
    protocol = await opened(plain_factory(Tracing))
    assert names(protocol) == ["consumeData", "onConnect", "succeedHandshake", "sendData", "_onOpen", "succeeded"]
    assert protocol.is_open.done()
    assert not protocol.is_closed.done()
    await ended(protocol)
    assert protocol.is_closed.done()


@asynchronous
async def test_handshake_is_answered_in_a_later_turn_and_the_key_says_that_it_is_complete() -> None:
    protocol = made(plain_factory())
    protocol.data_received(REQUEST[:-1])
    await turn_over()
    assert not hasattr(protocol, "_wskey")
    protocol.data = b""
    protocol._dataReceived(REQUEST)
    assert protocol._wskey == "dGhlIHNhbXBsZSBub25jZQ=="
    assert protocol.http_request_data == REQUEST
    assert protocol.state == protocol.STATE_CONNECTING  # what arrives now must be held
    await turn_over()
    assert protocol.state == protocol.STATE_OPEN
    await ended(protocol)


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"\r\n\r\n", REQUEST.replace(b"==", b"!!")])
@asynchronous
async def test_refused_handshake_leaves_no_key_and_is_closed(head: bytes) -> None:
    protocol = made(plain_factory(Tracing, webStatus=False))
    protocol.data_received(head)
    await turn_over()
    assert not hasattr(protocol, "_wskey")
    assert protocol.state == protocol.STATE_CLOSED
    assert names(protocol) == ["consumeData", "sendData", "dropConnection"]
    await ended(protocol)


@asynchronous
async def test_denied_connection_gets_its_status_through_fail_handshake() -> None:
    class Denying(Tracing):
        def onConnect(self, request: Any) -> None:
            raise ConnectionDeny(403, "no")

    protocol = made(plain_factory(Denying))
    protocol.data_received(REQUEST)
    await turn_over()
    assert protocol.transport.written[0].startswith(b"HTTP/1.1 403 no\r\n")
    assert names(protocol)[-2:] == ["sendData", "dropConnection"]
    await ended(protocol)


@asynchronous
async def test_results_of_on_connect_may_be_futures_and_plain_values() -> None:
    future = txaio.as_future(lambda: 1)  # type: ignore[attr-defined]
    assert isinstance(future, asyncio.Future)
    assert future.done()


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG])
@asynchronous
async def test_process_data_consumes_one_header_or_the_payload_that_is_there(opcode: int) -> None:
    protocol = await opened(plain_factory())
    rest = frame(b"next")
    data = frame(b"abc", opcode)
    protocol.data = data + rest
    assert protocol.processData() is True
    assert protocol.data == data[6:] + rest
    assert protocol.current_frame.opcode == opcode
    assert protocol.current_frame.length == 3
    assert protocol.processData() is True
    assert protocol.data == rest
    assert protocol.current_frame is None
    await ended(protocol)


@asynchronous
async def test_process_data_takes_a_frame_in_any_pieces() -> None:
    protocol = await opened(plain_factory(Tracing))
    protocol.calls.clear()
    data = frame(b"abcd")
    for piece, kept in ((data[:1], data[:1]), (data[1:5], data[:5]), (data[5:6], b""), (data[6:8], b"")):
        protocol.data += piece
        assert protocol.processData() is False
        assert protocol.data == kept
    assert protocol.calls == []
    protocol.data += data[8:]
    assert protocol.processData() is False
    assert protocol.calls == [("onMessage", b"abcd")]
    await ended(protocol)


@asynchronous
async def test_process_data_serves_an_empty_frame_in_two_steps() -> None:
    protocol = await opened(plain_factory(Tracing))
    protocol.calls.clear()
    protocol.data = frame(b"")
    assert protocol.processData() is True
    assert protocol.calls == []
    assert protocol.processData() is False
    assert protocol.calls == [("onMessage", b"")]
    await ended(protocol)


@pytest.mark.parametrize(
    "head",
    [b"\xf1\x81", b"\x81\x01", b"\x83\x81", b"\x8b\x80", b"\x09\x80", b"\x89\xfe", b"\x88\x81", b"\x80\x81"],
    ids=["rsv", "unmasked", "opcode", "control-opcode", "fragmented", "long", "close-of-one", "continuation"],
)
@asynchronous
async def test_faulty_header_is_refused_by_its_first_two_bytes(head: bytes) -> None:
    protocol = await opened(plain_factory(Tracing))
    protocol.calls.clear()
    protocol.data = head
    protocol.processData()
    assert protocol.calls[0] == ("sendCloseFrame", 1002, False)
    assert protocol.state == protocol.STATE_CLOSING
    assert protocol.failedByMe
    await ended(protocol)


@asynchronous
async def test_fragments_are_inside_a_message_until_the_last() -> None:
    protocol = await opened(plain_factory(Tracing))
    protocol.calls.clear()
    protocol.data_received(frame(b"ab", fin=False))
    await turn_over()
    assert protocol.inside_message is True
    protocol.data_received(frame(b"c", CONTINUATION))
    await turn_over()
    assert protocol.inside_message is False
    assert [call for call in protocol.calls if call[0] == "onMessage"] == [("onMessage", b"abc")]
    await ended(protocol)


@asynchronous
async def test_frame_goes_through_no_hooks_but_the_known_ones() -> None:
    """A new hook that sees single frames must join those that switch the frame reader off."""
    looked_up: set[str] = set()

    class Watched(WebSocketServerProtocol):
        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            if inspect.ismethod(value):
                looked_up.add(name)
            return value

    protocol = await opened(plain_factory(Watched, autoPingInterval=60, autoPingTimeout=60))
    protocol.logFrames = protocol.logOctets = True
    known = {*adapter._FRAME_HOOKS, *adapter._PING_HOOKS, *adapter._SENDING_HOOKS}
    whole = {"_dataReceived", "consumeData", "_consume", "onMessage", "_onMessage", "fire"}
    for opcode in (TEXT, BINARY, PING, PONG):
        looked_up.clear()
        protocol._dataReceived(frame(b"abc", opcode))
        assert looked_up <= known | whole, opcode
        assert {"processData", "onFrameBegin", "onFrameData", "onFrameEnd", "logRxFrame", "logRxOctets"} <= looked_up
    looked_up.clear()
    protocol.sendMessage(b"abc")
    assert looked_up <= known | {"sendMessage", "_trigger"}
    assert {"sendFrame", "sendData", "logTxFrame", "logTxOctets"} <= looked_up
    await ended(protocol)


@asynchronous
async def test_all_that_is_sent_goes_through_send_data() -> None:
    protocol = await opened(plain_factory(Tracing))
    for send in (
        lambda: protocol.sendMessage(b"a"),
        lambda: protocol.sendPing(b"b"),
        lambda: protocol.sendPong(b"c"),
        lambda: protocol.sendClose(1000, "d"),
    ):
        protocol.calls.clear()
        send()
        assert names(protocol)[-2:] == ["sendFrame", "sendData"]
    await ended(protocol)


@asynchronous
async def test_stream_of_a_message_goes_through_send_data() -> None:
    protocol = await opened(plain_factory(Tracing))
    protocol.calls.clear()
    protocol.beginMessage()
    protocol.sendMessageFrame(b"ab")
    protocol.endMessage()
    assert names(protocol) == ["sendData", "sendData", "sendFrame", "sendData"]
    assert protocol.transport.written[-3:] == [b"\x01\x02", b"ab", b"\x80\x00"]
    await ended(protocol)


@pytest.mark.parametrize("is_reply", [False, True])
@asynchronous
async def test_close_frame_is_sent_while_open_then_the_state_moves(is_reply: bool) -> None:
    protocol = await opened(plain_factory(Tracing))
    protocol.calls.clear()
    protocol.sendCloseFrame(code=1000, reasonUtf8=b"x", isReply=is_reply)
    assert [call[:2] for call in protocol.calls[1:]] == [("sendFrame", CLOSE), ("sendData", protocol.STATE_OPEN)]
    assert protocol.state == protocol.STATE_CLOSING
    assert protocol.closedByMe is not is_reply
    assert (protocol.localCloseCode, protocol.localCloseReason) == (1000, b"x")
    protocol.sendCloseFrame(code=1001)  # a second one is ignored
    assert len(protocol.transport.written) == 2
    await ended(protocol)


@asynchronous
async def test_close_frame_of_the_client_is_answered_then_the_connection_dropped() -> None:
    protocol = await opened(plain_factory(Tracing))
    protocol.calls.clear()
    protocol._dataReceived(frame(b"\x03\xe8", CLOSE))
    assert names(protocol) == ["consumeData", "sendCloseFrame", "sendFrame", "sendData", "dropConnection"]
    assert protocol.calls[1] == ("sendCloseFrame", 1000, True)
    assert protocol.calls[-1] == ("dropConnection", False)
    assert protocol.transport.calls == ["close"]
    assert protocol.state == protocol.STATE_CLOSED
    await ended(protocol)
    assert protocol.calls[-1] == ("_onClose", True, 1000)


@asynchronous
async def test_close_reply_of_the_client_drops_the_connection() -> None:
    protocol = await opened(plain_factory(Tracing))
    protocol.sendCloseFrame(code=4000)
    protocol._dataReceived(frame(b"\x0f\xa0", CLOSE))
    assert protocol.calls[-1] == ("dropConnection", True)
    assert protocol.wasClean
    await ended(protocol)


@pytest.mark.parametrize(("fail_by_drop", "last"), [(False, "sendData"), (True, "dropConnection")])
@asynchronous
async def test_invalid_payload_closes_or_drops_as_the_option_says(fail_by_drop: bool, last: str) -> None:
    protocol = await opened(plain_factory(Tracing, failByDrop=fail_by_drop))
    assert protocol._invalid_payload("why") is fail_by_drop
    assert names(protocol)[-1] == last
    if not fail_by_drop:
        assert protocol.transport.written[-1] == b"\x88\x05\x03\xefwhy"
    await ended(protocol)


@asynchronous
async def test_invalid_text_has_the_reason_that_ours_gives() -> None:
    plain, ours = await opened(plain_factory()), await opened(our_factory())
    for protocol in (plain, ours):
        protocol.data_received(frame(b"ab\xff"))
    await turn_over()
    assert ours.transport.written[-1] == plain.transport.written[-1]
    assert b"invalid UTF-8" in ours.transport.written[-1]
    await ended(plain, ours)


@asynchronous
async def test_pong_of_an_auto_ping_is_matched_by_process_control_frame() -> None:
    seen: list[Any] = []

    class Pinging(WebSocketServerProtocol):
        def onAutoPong(self, *args: Any) -> None:
            seen.append(args)

        def onPong(self, payload: bytes) -> None:
            seen.append(payload)

    protocol = await opened(plain_factory(Pinging, autoPingInterval=60, autoPingTimeout=60))
    assert protocol.autoPingPendingCall is not None
    protocol.autoPingPendingCall.cancel()
    protocol._sendAutoPing()
    pending = protocol.autoPingPending
    assert protocol.transport.written[-1] == b"\x89\x0c" + pending
    assert protocol.autoPingTimeoutCall is not None
    protocol.current_frame = FrameHeader(PONG, True, 0, len(pending), None)  # type: ignore[arg-type]
    protocol.control_frame_data = [pending]
    protocol.processControlFrame()
    assert [len(call) for call in seen] == [5, 12]
    assert (protocol.autoPingPending, protocol.autoPingTimeoutCall) == (None, None)
    assert protocol.autoPingPendingCall is not None
    await ended(protocol)


@asynchronous
async def test_traffic_takes_the_place_of_a_pong() -> None:
    protocol = await opened(plain_factory(autoPingInterval=60, autoPingTimeout=60))
    protocol.autoPingPendingCall.cancel()
    protocol._sendAutoPing()
    protocol._cancelAutoPingTimeoutCall()
    assert (protocol.autoPingPending, protocol.autoPingTimeoutCall) == (None, None)
    assert protocol.autoPingPendingCall is not None
    await ended(protocol)


@asynchronous
async def test_sending_when_it_is_not_open_raises_disconnected() -> None:
    for factory in (plain_factory(), our_factory()):
        protocol = await opened(factory)
        await ended(protocol)
        with pytest.raises(Disconnected):
            protocol.sendMessage(b"a")


@asynchronous
async def test_timings_are_tracked_under_these_names() -> None:
    protocol = await opened(plain_factory(Tracing))
    protocol.setTrackTimings(True)
    assert isinstance(protocol.trackedTimings, Timings)
    protocol._dataReceived(frame(b"abc"))
    protocol.sendMessage(b"a")
    assert set(protocol.trackedTimings._timings) == {"onMessageBegin", "onMessage", "sendMessage"}
    await ended(protocol)


@asynchronous
async def test_connection_lost_calls_on_close_before_the_transport_is_gone() -> None:
    seen: list[Any] = []

    class Leaving(WebSocketServerProtocol):
        def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
            seen.append((self.transport is not None, wasClean, code, self.state))

    protocol = await opened(plain_factory(Leaving))
    await ended(protocol)
    assert seen == [(True, False, 1006, protocol.STATE_CLOSED)]


# (c) The supported range


def supported() -> str:
    """Give the requirement in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (found,) = [line for line in project["dependencies"] if line.startswith("autobahn")]
    return str(found)


def lowest() -> str:
    found = re.search(r">=\s*([\d.]+)", supported())
    assert found
    return found[1]


def test_installed_release_is_a_supported_one() -> None:
    low, high = ([int(part) for part in found.split(".")] for found in re.findall(r"[\d.]+", supported()))
    installed = [int(part) for part in version("autobahn").split(".")]
    assert low <= installed < high


@pytest.mark.packaging
@pytest.mark.parametrize("requirement", [f"autobahn == {lowest()}", supported()], ids=["lowest", "newest"])
def test_contract_holds_with_the_release(requirement: str, tmp_path: Path) -> None:
    venv.create(tmp_path)  # without pip: that of this Python works in it, and need not be unpacked
    python = tmp_path / ("Scripts" if os.name == "nt" else "bin") / "python"
    packages = ("orjson", "pybase64", "pytest", "hypothesis", "pytest-benchmark")
    succeed(sys.executable, "-m", "pip", "--python", python, "install", "-q", requirement, *packages, cwd=tmp_path)
    done = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, cwd=ROOT, **{NO: "1"})
    assert done.returncode == 0, f"{requirement}\n{done.stdout}"
    assert " passed" in done.stdout


# (d) The transports that the compiled path sends past


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_descriptor_of_a_plain_transport_is_known(loop: str) -> None:
    async with serving() as app, await Client.connect(app) as client:
        await client.ask()
        connection = connection_of(app)
        assert descriptor(connection.transport) == connection.transport.get_extra_info("socket").fileno()


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_plain_transport_tells_of_what_it_keeps(loop: str) -> None:
    async with serving() as app, await Client.connect(app) as client:
        await client.ask()
        connection = connection_of(app)
        transport = connection.transport
        assert transport.get_write_buffer_size() == 0
        big = b"x" * 8_000_000
        transport.write(big)
        assert 0 < transport.get_write_buffer_size() <= len(big)
        transport.abort()
        assert transport.is_closing()


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_plain_transport_that_keeps_nothing_has_sent_everything(loop: str) -> None:
    async with serving() as app, await Client.connect(app) as client:
        await client.ask()
        connection = connection_of(app)
        transport = connection.transport
        transport.write(frame_of(b"first"))
        if transport.get_write_buffer_size() == 0:
            os.write(descriptor(transport), frame_of(b"second"))
        else:
            transport.write(frame_of(b"second"))
        assert [(await client.receive()).payload for _ in range(2)] == [b"first", b"second"]


def frame_of(payload: bytes) -> bytes:
    return bytes([0x80 | TEXT, len(payload)]) + payload
