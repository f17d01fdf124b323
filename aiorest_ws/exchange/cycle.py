"""One request of a connection, and its response: uvicorn's, which can be given a whole one; and who has it read."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from aiorest_ws.exchange.replies import Headers
    from aiorest_ws.http.head import Handshake

__all__ = ("Cycle", "Flow")

_BARE = (204, 304)  # nobody waits for a body


class Cycle(RequestResponseCycle):
    """One request and its response.

    handshake    what it said before its body
    is_ours      our routes answer it, not the app beside them
    """

    handshake: Handshake
    is_ours: bool
    _ends_with_connection = False  # nothing else says where the response ends

    async def send(self, message: Any) -> None:
        """Send a part of a response of the app beside us, so that its end, and that of its request, are known."""
        if not self.response_started:
            message = self._begun(message)
        elif self._ends_with_connection and not message.get("more_body", False):
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)

    def _begun(self, message: Any) -> Any:
        """Give the first part of a response as it is for who asks."""
        if self.waiting_for_100_continue:
            self.keep_alive = False  # whether the body comes now is for the client to say
        if self.scope["http_version"] != "1.0" or message["type"] != "http.response.start":
            return message
        # RFC 9112 §6.1: no coding is for who speaks 1.0.
        headers = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"transfer-encoding"]
        if message["status"] not in _BARE and all(name.lower() != b"content-length" for name, _ in headers):
            self._ends_with_connection = True
            self.chunked_encoding, self.expected_content_length = False, sys.maxsize
        return {**message, "headers": headers}

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole response, in one write, so that it leaves as one; `body` has the length that `headers` say.

        Raises RuntimeError for headers that cannot be sent. Nothing is sent to who has left.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        head = self._head(status, headers)
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(head if self.scope["method"] == "HEAD" else head + body)
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _head(self, status: int, headers: Headers) -> bytes:
        """Give the head of a response, and note whether it is the last one. Raises RuntimeError."""
        said = dict(headers)
        if HEADER_RE.search(b"".join(said)) or HEADER_VALUE_RE.search(b"".join([value for _, value in headers])):
            raise RuntimeError("a header of the response has what no header may have")
        lines = [b"%b: %b\r\n" % pair for pair in (*self.default_headers, *headers)]
        if b"close" in said.get(b"connection", b"").lower():
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close\r\n")
        if b"content-length" not in said and status not in _BARE:
            lines.append(b"content-length: 0\r\n")
        return b"".join((STATUS_LINE[status], *lines, b"\r\n"))


class Flow(FlowControl):
    """Whether a connection is read: not while it is held, whoever wants more of a body, or looks for the client."""

    _is_held = False

    def hold(self) -> None:
        self._is_held = True
        self.pause_reading()

    def let_go(self) -> None:
        self._is_held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        if not self._is_held:
            super().resume_reading()
