"""Where a server is → one connection to it, over `websockets`: bytes out, bytes in, and why it ended."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiorest_ws.client.errors import ConnectionLost, HandshakeRefused

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ("Address", "Wire", "check_url")

_NEEDS_WEBSOCKETS = "the client needs websockets: pip install 'aiorest-ws[client]>=2'"
_FAREWELL = 1.0  # seconds that the closing handshake may take
_LONGEST_LINE = 300  # characters of what a server says to a handshake
_ERRNO = re.compile(r"\[Errno (\d+)\]")
_KINDS = {"ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")  # what answered speaks no TLS
_HTML = ("<!doctype", "<html")


def check_url(url: str) -> str:
    """Give a url of a server as it is asked. Raises ValueError with the one that may be meant, TypeError for no str."""
    if not isinstance(url, str):
        raise TypeError(f"url must be a str such as 'ws://host:port', got {type(url).__name__}")
    scheme, _, rest = url.partition(":")
    if scheme == "unix" and rest:
        return url
    scheme = scheme.lower()
    if scheme in ("ws", "wss") and rest.startswith("//"):
        parts = urlsplit(url)
        if parts.port is not None or parts.hostname:  # reading the port raises for what is none
            if parts.fragment:
                raise ValueError(f"expected a url without #, got {url!r:.200}")
            return f"{scheme}:{rest}"
    raise ValueError(f"expected ws://…, wss://… or unix:…, got {url!r:.200}, did you mean {_near(url)}?")


def _near(url: str) -> str:
    """Give the url that may be meant."""
    scheme, colon, rest = url.strip().partition(":")
    kind = _KINDS.get(scheme.lower())
    host = (rest if kind is not None else scheme + colon + rest).lstrip("/")
    if not host or scheme == "unix" or (kind is None and "//" in url):
        return "ws://host:port"
    return f"{kind or 'ws'}://{host}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and how to come in.

    url         ws://host:port/path, wss://…, or unix:/path/of/socket
    headers     of the handshake
    context     of TLS; None: whom the system trusts
    timeout     seconds for TCP, TLS and handshake
    max_size    bytes of a message that is taken; a larger one ends the connection
    agent       what the handshake says that we are
    """

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    context: ssl.SSLContext | None = None
    timeout: float = 10.0
    max_size: int | None = None
    agent: str = "aiorest-ws"

    @property
    def shown(self) -> str:
        """Give the url as it is told: without what may be a secret in it."""
        url = self.url.partition("?")[0]
        scheme, slashes, rest = url.partition("//")
        host, slash, path = rest.partition("/")
        return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"

    async def connect(self, token: str | None) -> Wire:
        """Open a connection. Raises HandshakeRefused, ConnectionLost; ImportError without websockets."""
        try:
            from websockets.exceptions import InvalidStatus, WebSocketException
        except ImportError:
            raise ImportError(_NEEDS_WEBSOCKETS) from None
        try:
            return Wire(await self._connection(token), self.shown)
        except InvalidStatus as exc:
            raise self._refused(exc.response) from None
        except TimeoutError:
            raise ConnectionLost(f"no connection to {self.shown} within {self.timeout:g} s") from None
        except (OSError, WebSocketException, EOFError, ImportError) as exc:  # ImportError: a library for SOCKS
            raise ConnectionLost(f"no connection to {self.shown}: {self._reason(exc)}") from exc

    async def _connection(self, token: str | None) -> ClientConnection:
        from websockets.asyncio.client import connect, unix_connect

        headers = list(self.headers)
        if token is not None and not any(name.lower() == "authorization" for name, _ in headers):
            headers.append(("Authorization", f"Bearer {token}"))
        options: dict[str, Any] = {
            "additional_headers": headers,
            "user_agent_header": self.agent,
            "compression": None,
            "max_size": self.max_size,
            "open_timeout": self.timeout,
            "close_timeout": _FAREWELL,
            "ping_interval": None,  # silence is what `alive` looks at
            "create_connection": _listening(),
        }
        if self.url.startswith("unix:"):
            return await unix_connect(self.url.removeprefix("unix:"), "ws://localhost/", **options)
        if self.url.startswith("wss:") and self.context is not None:
            options["ssl"] = self.context
        if _is_here(urlsplit(self.url).hostname or ""):
            options["proxy"] = None
        return await connect(self.url, **options)

    def _reason(self, exc: BaseException) -> str:
        if isinstance(exc, ssl.SSLError) and exc.reason in _NOT_TLS and self.shown.startswith("wss:"):
            said = _reason(exc)
            return f"no TLS there ({said}), did you mean {self.shown.replace('wss:', 'ws:', 1)}?"
        return _reason(exc)

    def _refused(self, response: Any) -> HandshakeRefused:
        said = (response.body or b"").decode("utf-8", "replace").strip()
        line = said.partition("\n")[0][:_LONGEST_LINE].strip()
        if said[:20].lower().startswith(_HTML):
            line = "a page of HTML: is it the url of a server of aiorest-ws?"
        retry = response.headers.get("Retry-After", "")
        return HandshakeRefused(
            f"{self.shown} refuses the connection: {response.status_code} {line or response.reason_phrase}",
            response.status_code,
            line or response.reason_phrase,
            float(retry) if retry.isascii() and retry.isdecimal() and len(retry) < 6 else None,
        )


class Wire:
    """One connection.

    heard    time of the loop at which the last bytes came, whatever they were
    """

    def __init__(self, connection: ClientConnection, url: str) -> None:
        from websockets.exceptions import ConnectionClosed

        self._connection = connection
        self._closed = ConnectionClosed
        self._url = url
        self._why: ConnectionLost | None = None

    @property
    def heard(self) -> float:
        return self._connection.heard  # type: ignore[attr-defined,no-any-return]

    async def send(self, payload: bytes, *, is_text: bool) -> None:
        """Send a message. Raises ConnectionLost."""
        try:
            await self._connection.send(payload, text=is_text)
        except self._closed:
            raise self.loss() from None

    async def receive(self) -> bytes:
        """Give the next message. Raises ConnectionLost."""
        try:
            return await self._connection.recv(decode=False)
        except self._closed:
            raise self.loss() from None

    async def ping(self) -> None:
        """Ask for a sign of life, which `heard` shows."""
        try:
            await self._connection.ping()
        except self._closed:
            pass  # the reader is told

    def end(self, why: ConnectionLost) -> None:
        """End it at once, without a word."""
        self._why = self._why or why
        self._connection.transport.abort()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Do the closing handshake, for a second at most."""
        await self._connection.close(code, reason)

    def loss(self) -> ConnectionLost:
        """Give why it ended."""
        if self._why is not None:
            return self._why
        protocol = self._connection.protocol
        theirs, ours = protocol.close_rcvd, protocol.close_sent
        if theirs is not None and (protocol.close_rcvd_then_sent or ours is None):
            said = f"{theirs.code} {theirs.reason}".rstrip()
            return ConnectionLost(f"{self._url} closed the connection: {said}", code=theirs.code)
        if ours is not None and ours.code != 1000:
            said = f"{ours.code} {ours.reason}".rstrip()
            return ConnectionLost(f"the connection to {self._url} was closed here: {said}", code=ours.code)
        return ConnectionLost(f"the connection to {self._url} was lost", code=1006)


@lru_cache(maxsize=1)
def _listening() -> type[ClientConnection]:
    """Give a connection that takes note of all that comes: a large message is a sign of life before it is whole."""
    from websockets.asyncio.client import ClientConnection

    class Listening(ClientConnection):
        heard = 0.0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.heard = self.loop.time()
            super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            self.heard = self.loop.time()
            super().data_received(data)

    return Listening


def _is_here(host: str) -> bool:
    """Tell whether a host is this machine, which no proxy is asked for, whatever the environment says."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _reason(exc: BaseException) -> str:
    """Say in one line what was the matter, without the numbers of the system."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return exc.verify_message
    if isinstance(exc, ssl.SSLError) and exc.reason:  # its number is none of the system
        return exc.reason.replace("_", " ").lower()
    if isinstance(exc, OSError):
        number = exc.errno or next(iter(_ERRNO.findall(str(exc))), 0)  # of the first of several addresses
        said = os.strerror(int(number)) if int(number) > 0 else exc.strerror
        if said:
            return said
    cause = exc.__cause__
    text = str(exc).partition("\n")[0] or type(exc).__name__
    return f"{text} ({cause})" if cause is not None and str(cause) else text
