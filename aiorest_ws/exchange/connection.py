"""What a handler has as `request.connection` where its request came over HTTP: the same names as on a WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from contextvars import Context
from dataclasses import replace
from typing import Any

from aiorest_ws._speedups import BINARY_MSGPACK
from aiorest_ws.connection.asking import Asking
from aiorest_ws.exceptions import BaseAPIException, ConnectionRefused
from aiorest_ws.exchange.accepting import preferred
from aiorest_ws.exchange.targets import as_sent, path_of, written
from aiorest_ws.http.head import Handshake, authority, client_address, decoded
from aiorest_ws.http.scopes import address_of, headers_of, path_below

__all__ = ("HttpConnection", "handshake_below", "handshake_of", "peer_of", "received")


class HttpConnection(Asking):
    """One request over HTTP, for who asks for its connection. It ends with its reply, and can be sent nothing more.

    path, query, headers, cookies, peer, user, session    as those of a WebSocket's handshake
    scope         what the server of ASGI says of the request; None without one
    close_code, close_reason, close_was_clean             1000 and "" once it is answered
    media_type    of the reply
    """

    STATE_CLOSED, STATE_CONNECTING, STATE_CLOSING, STATE_OPEN = 0, 1, 2, 3

    state = STATE_OPEN
    subprotocol = None
    websocket_protocols: Sequence[str] = ()
    subscriptions: tuple[str, ...] = ()
    transport = None
    tasks: frozenset[Any] = frozenset()
    may_be_read = False  # by the page that asks
    may_have_cookies = True  # with the request of that page
    is_observed = False  # the log has it
    closes = False  # what carries it is to be closed behind the reply
    media_type = ""
    marked = ""  # its url, if it is marked: see `targets`
    _early_close: tuple[int, str | None] | None = None
    _live: Any = None
    _context: Context | None = None
    put_off_to: Awaitable[bytes] | None = None

    def __init__(self, factory: Any, handshake: Handshake, peer: str, form: int, scope: Any = None) -> None:
        self.factory = factory
        self.scope = scope
        self.peer = peer
        self.form = form
        self._handshake = handshake
        self._pipeline = factory.pipeline

    def send_event(self, name: Any, data: Any = None) -> bool:
        """Tell that nothing can be sent beside the reply."""
        return False

    def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Have what carries the request closed behind the reply; before it is let in, refuse it."""
        self.closes = True
        self._early_close = self._early_close or (code, reason)

    def ended(self) -> None:
        """Take note that it is answered."""
        self.state = self.STATE_CLOSED
        self.close_code, self.close_reason, self.close_was_clean = 1000, "", True
        self._drop_credentials()

    def put_off(self, request: Any, coming: Awaitable[bytes]) -> None:
        """Have `request` answered with what comes of `coming`."""
        self.put_off_to = coming

    # What a reply is made of, where a view has renderers

    @property
    def over_http(self) -> HttpConnection:
        return self

    def found(self, pipeline: Any, request: Any, trie: Any) -> tuple[Any, Any] | None:
        """Give where `request` leads, and its path parameters, if its path is marked.

        None if it has none, leads nowhere, or is one that a router's own `process_request` has made of it.
        """
        url = self.marked
        if not url or request.url != written(url):
            return None
        try:
            plan, params = pipeline.find(trie, request.method, url)
        except BaseAPIException:
            return None
        return plan, as_sent(params)

    def preferred(self, renderers: Sequence[Any]) -> str | None:
        """Give the format of the renderer that the client wants."""
        return preferred(self.headers.get("accept", ""), renderers)

    def alone(self, body: Mapping[str, Any], renderer: Any) -> Any:
        """Give what the reply carries, alone: the status goes before it."""
        packed = self.form == BINARY_MSGPACK and renderer.format == "json"
        self.media_type = "application/msgpack" if packed else renderer.media_type
        return body["data"] if "data" in body else {"detail": body.get("detail")}


def received(scope: Mapping[str, Any]) -> Handshake:
    """Give what a request that a server of ASGI has read says before its body. Raises ConnectionRefused, HTTP 400."""
    return handshake_of(path_of(scope), scope.get("query_string", b"").decode("latin-1"), headers_of(scope))


def handshake_of(path: str, query: str, headers: Sequence[tuple[bytes, bytes]]) -> Handshake:
    """Give what a request says before its body. Raises ConnectionRefused, HTTP 400."""
    fields: dict[str, str] = {}
    for raw, value in headers:
        name = raw.decode("latin-1").lower()
        text = decoded(value)
        if name in fields:
            text = f"{fields[name]}{'; ' if name == 'cookie' else ', '}{text}"
        fields[name] = text
    asked = authority(fields["host"]) if fields.get("host") else ("", None)
    if asked is None:
        raise ConnectionRefused(400, "malformed header Host")
    return Handshake(_target(path, query), path, query, *asked, fields)


def handshake_below(handshake: Handshake, root: str) -> Handshake:
    """Give it as it is for who is mounted at `root`."""
    path = path_below(handshake.path.encode("ascii"), root).decode("ascii")
    return replace(handshake, target=_target(path, handshake.query), path=path)


def _target(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path


def peer_of(scope: Any, handshake: Handshake, proxies: int, line: Any) -> str:
    """Give the address of the client: as trusted proxies say, else that of the other end."""
    address = client_address(handshake, proxies) if proxies else None
    if address is not None:
        return address
    if line is not None:
        return line.peer  # type: ignore[no-any-return]
    end = address_of(scope.get("client"))
    return f"tcp{6 if ':' in end[0] else 4}:{end[0]}:{end[1]}" if end else "unix:"
