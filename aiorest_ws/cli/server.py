"""Where a server is, as it was typed → a client of it; what went wrong there → one line and an exit code."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiorest_ws.cli.failures import CANNOT, NO_REPLY, USAGE, Failure, code_of
from aiorest_ws.client import AsyncClient, ClientError, HandshakeRefused, RequestFailed, TimedOut
from aiorest_ws.client.wire import Address

__all__ = ("Server", "line_of", "told")

_START = "nothing listens there: aiorest-ws run main:app starts a server, --server names one elsewhere"


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is, and how to come in.

    url        ws://host:port/path, wss://…, or unix:/path/of/socket
    token      goes with the handshake, and with each message
    headers    of the handshake
    ca         PEM file of whom to trust; None: whom the system trusts
    insecure   trust any certificate
    timeout    seconds for the handshake, and for a reply
    """

    url: str
    token: str | None = None
    headers: Sequence[tuple[str, str]] = ()
    ca: str | None = None
    insecure: bool = False
    timeout: float = 30.0

    @property
    def extra(self) -> dict[str, Any] | None:
        """Give what each message has besides."""
        return None if self.token is None else {"token": self.token}

    def client(self) -> AsyncClient:
        """Give a client that is not connected yet. Raises Failure for what it cannot be made of."""
        logging.getLogger("aiorest_ws.client").addHandler(logging.NullHandler())  # what is wrong is said once
        try:
            return AsyncClient(
                self.url,
                token=self.token,
                headers=self.headers,
                ssl_context=self._context(),
                timeout=self.timeout,
                connect_timeout=self.timeout,
                max_size=None,
            )
        except ValueError as exc:  # of the token: what else it is given was looked at as it was typed
            raise Failure(str(exc), USAGE) from None

    def _context(self) -> ssl.SSLContext | None:
        if not self.url.startswith("wss:"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as exc:
            raise Failure(f"--ca: {self.ca}: {exc.strerror or exc}", USAGE) from None
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Make a Failure of what goes wrong in the block."""
        try:
            yield
        except ImportError:
            raise Failure("this needs websockets: pip install 'aiorest-ws[cli]>=2'", CANNOT) from None
        except TypeError as exc:  # of what JSON has no word for
            raise Failure(str(exc), USAGE) from None
        except ClientError as exc:
            raise self._failure(exc) from None

    def _failure(self, exc: ClientError) -> Failure:
        if isinstance(exc, RequestFailed):
            return Failure(told(exc.message), code_of(exc.status) or CANNOT)
        if isinstance(exc, TimedOut):
            return Failure(f"no reply from {Address(self.url).shown} within {self.timeout:g} s", NO_REPLY)
        code = code_of(exc.status) if isinstance(exc, HandshakeRefused) else 0
        cure = f" ({_START})" if isinstance(exc.__cause__, ConnectionRefusedError) else ""
        return Failure(f"{line_of(exc)}{cure}", code or NO_REPLY)


def told(reply: dict[str, Any]) -> str:
    """Say in one line what a reply says that is an error."""
    detail = reply.get("detail")
    return f"{reply['status']}: {detail if isinstance(detail, str) else json.dumps(detail, ensure_ascii=False)}"


def line_of(exc: BaseException | None) -> str:
    """Say in one line why a client has no connection, or a subscription is not told of changes."""
    if isinstance(exc, RequestFailed):
        return told(exc.message)
    is_of_certificate = isinstance(getattr(exc, "__cause__", None), ssl.SSLCertVerificationError)
    return f"{exc}{' (--ca FILE trusts another authority, --insecure any)' if is_of_certificate else ''}"
