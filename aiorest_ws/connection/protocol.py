"""One connection, as people know and subclass it: the messages of a client in, the replies to it out.

Who may connect is in `gate`, what it stands on in `autobahn`, which joins Autobahn's protocol and our frame layer.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import copy_context
from functools import cache
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import (
    BINARY_BASE64,
    BINARY_JSON,
    BINARY_MSGPACK,
    TEXT_JSON,
    Request,
    decode,
    dumps,
    encode,
    failed,
    recognise,
    wrap,
)
from aiorest_ws._speedups.unsendable import why_not
from aiorest_ws.callables.failures import PASSED_ON
from aiorest_ws.connection.gate import Gate
from aiorest_ws.connection.handshake import Derived
from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.http.proxy_protocol import other_end
from aiorest_ws.limits import Limits
from aiorest_ws.limits.bucket import Rate
from aiorest_ws.status import WS_MESSAGE_VIOLATE_POLICY, WS_NO_STATUS_CODE, WS_NORMAL

if TYPE_CHECKING:
    from aiorest_ws.connection.listener import Listener

__all__ = ("RequestHandlerProtocol",)

_MAX_CLOSE_REASON = 123  # RFC 6455 §5.5: a control frame carries 125 bytes, two of them are the code


class RequestHandlerProtocol(Gate):
    """One connection. Handlers reach it as `request.connection`.

    Users may override Autobahn's hooks (`onConnect`, `onOpen`, `onMessage`, `onClose`, `sendMessage`, …) and
    `_decode_message`, `_encode_message`; none of them has to call `super()` for the rest to work.

    factory            what it belongs to: the `RequestHandlerFactory` of the listener
    peer               address of the client: "tcp4:203.0.113.7:51234", or what trusted proxies say: "203.0.113.7"
    session            dict for the application, one per connection; it may set something else instead
    path, query        of the handshake: "/api", {"token": "1"}; of several values of one name the last
    headers, cookies   of the handshake, names of headers in lower case; of several cookies of one name the first
    user               whom the token of the handshake names, or its renewal; None for nobody. A hook may set another
    subprotocol        what was agreed on, or None
    scope              what the server of ASGI says of the connection, its `state` too; None without one
    close_code, close_reason, close_was_clean    why the connection ended; None while it is up
    """

    subprotocol = Derived(lambda connection: connection.websocket_protocol_in_use)

    _unpushed = 0  # events that were left out
    _left_once = 0  # bytes that had left the transport when it was last asked for a push

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """The topics that it is told of, sorted."""
        return () if self._live is None else tuple(sorted(self._live.by_topic))

    def send_event(self, name: Any, data: Any = None) -> bool:
        """Push `{"event_name": name, "data": data}` as text; tell whether it is on its way.

        It is not, but counted, when the connection is not open, and when the client is behind: with this one more than
        `max_push_buffer` bytes would wait for it. One that nothing is before is sent, whatever its size.

        Where it is decided whether the client may connect, this is sent once it is.
        """
        factory = self.factory
        is_open = self.state == self.STATE_OPEN
        if not is_open and not (self._is_being_decided and self._early_close is None):
            factory.unsent += 1
            return False
        message = _event(name, data)
        most = factory.limits.max_push_buffer
        if most is not None and self._is_behind(len(message), most):
            factory.unpushed += 1
            self._unpushed += 1
            return False
        if is_open:
            self.sendMessage(message, False)
        else:
            self._early_messages += (message,)
        return True

    def _is_behind(self, size: int, most: int) -> bool:
        """Tell whether anything waits for the client, and with `size` bytes more than `most` would."""
        if self.state != self.STATE_OPEN:
            waiting = sum(map(len, self._early_messages))
        else:
            sent = self._traffic()[1] + self._gathered()
            waiting = sent - self._left_once  # at most: the transport is asked when that is too much
            if waiting + size > most:
                waiting = self._waiting() + self._gathered()
                self._left_once = sent - waiting
        return waiting > 0 and waiting + size > most

    def close(self, code: int = WS_NORMAL, reason: str | None = None) -> None:
        """Start the close handshake (RFC 6455 §7.1.2). `reason` is cut to 123 bytes of UTF-8.

        Where it is decided whether the client may connect, this is done once it is, and nothing of the client is run.
        Raises ValueError for a code that may not be sent, TypeError for what is none.
        """
        if not isinstance(code, int) or isinstance(code, bool):
            raise TypeError(f"close code must be an integer, got {code!r:.200}")
        if reason is not None and not isinstance(reason, str):
            raise TypeError(f"reason must be a string or None, got {reason!r:.200}")
        if code not in self.CLOSE_STATUS_CODES_ALLOWED and not 3000 <= code <= 4999:
            raise ValueError(f"close code must be one of RFC 6455 §7.4.1 or 3000 to 4999, got {code!r}")
        if self.state == self.STATE_OPEN:
            text = None if reason is None else _cut(reason, _MAX_CLOSE_REASON)
            self.sendCloseFrame(code=code, reasonUtf8=text, isReply=False)
        elif self._is_being_decided and self._early_close is None:
            self._early_close = (code, reason)

    @property
    def _is_being_decided(self) -> bool:
        """Tell whether the client waits for the answer to a handshake that is right."""
        return self.state == self.STATE_CONNECTING and self._wskey is not None

    def _send_early(self) -> None:
        """Do what the application asked for before the connection was open."""
        messages, close = self._early_messages, self._early_close
        self._early_messages, self._early_close = (), None
        for message in messages:
            self.sendMessage(message, False)
        if close is not None:
            RequestHandlerProtocol.close(self, *close)

    # The way of a message

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        """Answer one message. An override takes over entirely."""
        if self.state == self.STATE_OPEN and not self._transport.is_closing():
            self._receive(self._request_in(payload, isBinary))

    def _decode_message(self, payload: bytes, isBinary: bool = False) -> Request:
        """Give the request in `payload`. Raises InvalidMessage; what an override raises becomes the reply."""
        form = recognise(payload, isBinary)
        return wrap(decode(payload, form), form, self)

    def _encode_message(self, response: bytes, isBinary: bool = False) -> bytes:
        """Give the payload for a rendered reply: in binary frames base64, but for MessagePack.

        An override's result is sent as is.
        """
        if isBinary and recognise(response, True) == BINARY_MSGPACK:
            return response
        return encode(response, BINARY_BASE64 if isBinary else TEXT_JSON)

    def _request_in(self, payload: bytes, is_binary: bool) -> Request:
        try:
            request = self._decode_message(payload, is_binary)
            if not isinstance(request, Request):
                raise TypeError(f"_decode_message must give a Request, got {type(request).__qualname__}")
            return self.factory.pipeline.adopt(request, BINARY_BASE64 if is_binary else TEXT_JSON, self, payload)
        except PASSED_ON:
            raise
        except BaseException as exc:  # of an override: who asks is answered all the same
            return failed(exc, recognise(payload, is_binary), self)

    def _send_reply(self, request: Request, rendered: bytes) -> None:
        is_binary = request.form >= BINARY_JSON
        try:
            payload = self._encoded(rendered, request.form)
        except PASSED_ON:
            raise
        except BaseException as exc:  # of an override, as above
            payload = encode(self.factory.pipeline.refuse(request, exc), request.form)
        try:
            self.sendMessage(payload, is_binary)
        except PASSED_ON:
            raise
        except BaseException as exc:
            # An override failed: a client that is not answered must not wait either.
            self.factory.failures.write(logging.ERROR, f"cannot answer {self.peer}, dropping the connection", exc)
            self.dropConnection(abort=True)

    def _encoded(self, rendered: bytes, form: int) -> bytes:
        """Give what is sent for a rendered message; raises what an override does."""
        if type(self)._encode_message is RequestHandlerProtocol._encode_message:
            return encode(rendered, form)
        payload = self._encode_message(rendered, form >= BINARY_JSON)
        if type(payload) is not bytes:
            raise TypeError(f"_encode_message must give bytes, got {type(payload).__qualname__}")
        return payload

    def _send_push(self, rendered: bytes, form: int) -> None:
        try:
            self.sendMessage(self._encoded(rendered, form), form >= BINARY_JSON)
        except PASSED_ON:
            raise
        except BaseException as exc:  # of an override: what is told next would build on what did not come
            self.factory.failures.write(logging.ERROR, f"cannot tell {self.peer}, dropping the connection", exc)
            self.dropConnection(abort=True)

    def _log_reply(self, request: Request, size: int, seconds: float) -> None:
        factory = self.factory
        factory.access.write(self.peer, request, size, seconds, request._ended_in)

    # The handshake, and the end

    def _refuse(self, why: BaseException, exc: BaseException) -> None:
        if isinstance(why, ConnectionRefused) and why.close is not None:
            self.close(why.close, why.reason)
            self._accept(self._subprotocol())
        else:
            super()._refuse(why, exc)

    # Ends that we bring about

    def _give_up(self, reason: str, code: int | None = None) -> None:
        """Drop the connection without a close frame, which would not be read. `onClose` gets `code`, else 1006."""
        self._gave_up = code
        self.wasNotCleanReason = reason
        self.dropConnection(abort=True)

    def _on_abuse(self) -> None:
        self.close(WS_MESSAGE_VIOLATE_POLICY, "too many requests")

    def _on_fragments(self) -> None:
        # Not `self.close`: an override that leaves the connection open would have the reader ask for ever.
        RequestHandlerProtocol.close(self, WS_MESSAGE_VIOLATE_POLICY, "too many fragments")

    def connection_made(self, transport: Any) -> None:
        factory = self.factory
        self._context = copy_context() if factory.context is None else factory.context.copy()
        factory.take(self)
        super().connection_made(transport)
        if self._announced is not None:
            self.peer = self._announced.peer or self.peer
        self.factory.arrive(self, other_end(transport, self._announced))

    def given_away(self) -> None:
        """Take note that another protocol has the transport, for good."""
        self.factory.countConnections -= 1
        self.state = self.STATE_CLOSED
        self.transport = None
        self.factory.forget(self)

    def begin_with(self, data: bytes) -> None:
        """Take bytes that somebody else has read."""
        self.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        factory = self.factory
        try:
            super().connection_lost(exc)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as raised:  # of a hook; it would end the loop
            factory.failures.write(logging.ERROR, f"{self.peer}: cannot end its connection", raised)
        finally:
            was_accepted = self._pipeline is not None
            if self._live is not None:
                self._live.close()
                self._live = None  # which has this connection
            if was_accepted and factory.on_disconnect is not None:
                hook = ("on_disconnect", factory.on_disconnect, self, self.close_code, self.close_reason)
                (self._context or copy_context()).copy().run(factory.hooks.tell, *hook)
            if was_accepted and factory.metrics is not None:
                factory.metrics.closed(self)
            self._drop_credentials()
            self._unsent += len(self._early_messages)
            factory.forget(self)

    def _on_message(self, payload: bytes, is_binary: bool) -> None:
        try:
            super()._on_message(payload, is_binary)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as exc:  # of an override; it would end the loop
            self.factory.failures.write(logging.ERROR, f"{self.peer}: cannot take a message, dropping it", exc)
            self.dropConnection(abort=True)

    def _open(self) -> None:
        self._pipeline = self.factory.pipeline
        self._spare_tasks = self.factory.spare_tasks
        self._set_limits(self.factory.limits)
        self._set_observers(self.factory)
        super()._open()
        self._reads_requests = not _overrides(self, "onMessage", "_onMessage", "_decode_message")
        self._writes_replies = self._writes_frames and not _overrides(self, "sendMessage", "_encode_message")
        if self._early_messages or self._early_close is not None:
            self._send_early()

    def _set_observers(self, factory: Listener) -> None:
        if factory.metrics is not None:
            self._meters = factory.metrics.meters
            factory.metrics.opened(self)
        self._logs_replies = bool(factory.access_log)
        self._observes = self._logs_replies or self._meters is not None

    def _set_limits(self, limits: Limits) -> None:
        self._limit_in_flight = limits.max_concurrency
        self._limit_octets = limits.max_in_flight_bytes or 0
        self._max_fragments = limits.max_fragments or 0
        self._request_timeout = limits.request_timeout or 0.0
        self._stopping = self.factory.stopping
        per_second = limits.requests_per_second
        if per_second is not None:
            clock = asyncio.get_running_loop().time
            self._rate = Rate(per_second, limits.burst or max(1.0, per_second), clock=clock, abused=self._on_abuse)

    def _onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        code = self._gave_up or code
        self.close_was_clean = wasClean
        self.close_code = WS_NO_STATUS_CODE if code is None else code
        self.close_reason = reason
        super()._onClose(wasClean, code, reason)


def _event(name: Any, data: Any) -> bytes:
    """Give the text of a push; what cannot be encoded is noted in the exception."""
    event = {"event_name": name, "data": data}
    try:
        return dumps(event)
    except Exception as exc:  # raised again
        exc.add_note(why_not(event))
        raise


@cache
def _overridden(protocol: type, names: tuple[str, ...]) -> bool:
    return any(getattr(protocol, name) is not getattr(RequestHandlerProtocol, name) for name in names)


def _overrides(protocol: RequestHandlerProtocol, *names: str) -> bool:
    """Tell whether the class of `protocol` brings its own of one of these methods."""
    cls: type = type(protocol)
    return _overridden(cls, names)


def _cut(text: str, size: int) -> bytes:
    """Give `text` in UTF-8, cut at a character so that it has at most `size` bytes."""
    return text.encode("utf-8", "replace")[:size].decode("utf-8", "ignore").encode()
