"""Messages as dicts ↔ a server, over `websockets`: as little of a client as the command line needs."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiorest_ws import __version__
from aiorest_ws.cli.failures import CANNOT, NO_REPLY, USAGE, Failure, code_of

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

__all__ = ("Address", "Lost", "Refused", "Wire")

_FAREWELL = 1.0  # seconds that the closing handshake may take


class Lost(Failure):
    """There is no connection, or no reply on it in time."""

    def __init__(self, line: str) -> None:
        super().__init__(line, NO_REPLY)


class Refused(Failure):
    """The server answered the handshake with an HTTP status."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line, code_of(status) or NO_REPLY)
        self.status = status


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and how to come in.

    server     ws://host:port/path, wss://…, or unix:/path/of/socket
    token      goes with the handshake, and with each message
    headers    of the handshake
    ca         PEM file of whom to trust; None: whom the system trusts
    insecure   trust any certificate
    timeout    seconds for the handshake, and for a reply
    """

    server: str
    token: str | None = None
    headers: Sequence[tuple[str, str]] = ()
    ca: str | None = None
    insecure: bool = False
    timeout: float = 30.0

    @contextmanager
    def connect(self) -> Iterator[Wire]:
        """Open a connection, and close it behind the block. Raises Refused, Lost; Failure for what is no address."""
        with ExitStack() as stack:
            yield Wire(self._opened(stack), self)

    def _opened(self, stack: ExitStack) -> ClientConnection:
        try:
            from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException
        except ImportError:
            raise Failure("this needs websockets: pip install 'aiorest-ws[cli]>=2'", CANNOT) from None
        try:
            return stack.enter_context(self._connection())
        except InvalidURI as exc:
            raise Failure(f"--server: {exc}", USAGE) from None
        except InvalidStatus as exc:
            response = exc.response
            said = (response.body or b"").decode("utf-8", "replace").strip().partition("\n")[0]
            line = f"{self.server} refuses the connection: {response.status_code} {said or response.reason_phrase}"
            raise Refused(response.status_code, line) from None
        except TimeoutError:
            raise Lost(f"no connection to {self.server} within {self.timeout:g} s") from None
        except (OSError, WebSocketException, EOFError, ImportError) as exc:  # ImportError: a library for SOCKS
            raise Lost(f"no connection to {self.server}: {_reason(exc)}") from None

    def _connection(self) -> AbstractContextManager[ClientConnection]:
        from websockets.sync import client

        connect: Callable[..., AbstractContextManager[ClientConnection]] = client.connect
        headers = list(self.headers)
        if self.token is not None and not any(name.lower() == "authorization" for name, _ in headers):
            headers.append(("Authorization", f"Bearer {self.token}"))
        options: dict[str, Any] = {
            "additional_headers": headers,
            "user_agent_header": f"aiorest-ws/{__version__}",
            "compression": None,
            "max_size": None,
            "open_timeout": self.timeout,
            "close_timeout": _FAREWELL,
        }
        if self.server.startswith("unix:"):
            unix_connect: Callable[..., AbstractContextManager[ClientConnection]] = client.unix_connect
            return unix_connect(self.server.removeprefix("unix:"), "ws://localhost/", **options)
        if self.server.startswith("wss:"):
            options["ssl"] = self._context()
        if _is_here(urlsplit(self.server).hostname or ""):
            options["proxy"] = None
        return connect(self.server, **options)

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as exc:
            raise Failure(f"--ca: {self.ca}: {_reason(exc)}", USAGE) from None
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Wire:
    """One connection."""

    def __init__(self, connection: ClientConnection, address: Address) -> None:
        self._connection = connection
        self._address = address
        self._last = 0

    def send(self, method: str, url: str, **more: Any) -> int:
        """Send a request; give its id. What of `more` is None is left out."""
        from websockets.exceptions import ConnectionClosed

        self._last += 1
        message = {"id": self._last, "method": method, "url": url, "token": self._address.token} | more
        text = json.dumps({name: value for name, value in message.items() if value is not None})
        try:
            self._connection.send(text)
        except ConnectionClosed as exc:
            raise self._lost(exc) from None
        return self._last

    def receive(self, timeout: float | None = None) -> dict[str, Any]:
        """Give the next message; wait for it so many seconds, or as long as it takes. Raises Lost."""
        from websockets.exceptions import ConnectionClosed

        try:
            message = json.loads(self._connection.recv(timeout))
        except TimeoutError:
            raise Lost(f"no reply from {self._address.server} within {self._address.timeout:g} s") from None
        except ConnectionClosed as exc:
            raise self._lost(exc) from None
        except ValueError:
            raise Lost(f"{self._address.server} does not speak JSON: is it a server of aiorest-ws?") from None
        if not isinstance(message, dict):
            raise Lost(f"{self._address.server} sent no object: is it a server of aiorest-ws?")
        return message

    def reply_to(self, number: int) -> dict[str, Any]:
        """Give the reply to the request of this id; what comes before it is passed over. Raises Lost."""
        until = monotonic() + self._address.timeout
        while True:
            message = self.receive(max(0.0, until - monotonic()))
            if message.get("id") == number:
                return message

    def _lost(self, exc: Any) -> Lost:
        frame = exc.rcvd
        said = "" if frame is None else f": {frame.code} {frame.reason}".rstrip()
        return Lost(f"{self._address.server} closed the connection{said}")


def _is_here(host: str) -> bool:
    """Tell whether a host is this machine, which no proxy is asked for, whatever the environment says."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _reason(exc: BaseException) -> str:
    """Say in one line what was the matter, without the numbers of the system."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"{exc.verify_message} (--ca FILE trusts another authority, --insecure any)"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return str(exc).partition("\n")[0] or type(exc).__name__
