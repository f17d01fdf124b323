"""Bound sockets and a factory → servers whose connections the factory serves; with TLS or without."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.secure import SecureDoor
from aiorest_ws.sockets import Bound, Place, bind

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ("Listening", "listen", "tls_context")

_BACKLOG = 1024


class Listening:
    """What accepts connections, on every socket of one place.

    addresses   host and port of each socket, or what a Unix socket is called
    """

    def __init__(self, servers: list[asyncio.Server], bound: Bound) -> None:
        self.servers = servers
        self.addresses = bound.addresses
        self._file = bound.file

    def close(self) -> None:
        """Accept nothing more."""
        for server in self.servers:
            server.close()
        if self._file is not None:
            self._file.remove()

    async def wait_closed(self) -> None:
        for server in self.servers:
            await server.wait_closed()


async def listen(factory: Any, place: Place, context: SSLContext | None) -> Listening:
    """Listen at `place`. Raises ImproperlyConfigured, one line."""
    bound = await bind(place)
    servers: list[asyncio.Server] = []
    try:
        for sock in bound.sockets:
            servers.append(await _serve(factory, sock, context))  # noqa: PERF401 (those before it are closed)
        if bound.file is not None:
            bound.file.put()
    except BaseException as exc:
        for server in servers:
            server.close()
        bound.close()
        if isinstance(exc, OSError):
            raise ImproperlyConfigured(f"cannot listen on {place}: {exc}") from exc
        raise
    return Listening(servers, bound)


async def _serve(factory: Any, sock: socket.socket, context: SSLContext | None) -> asyncio.Server:
    options: dict[str, Any] = {"sock": sock, "backlog": _BACKLOG}
    made = factory if context is None else partial(SecureDoor, factory, context)
    loop = asyncio.get_running_loop()
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        return await loop.create_server(made, **options)
    if sys.version_info >= (3, 13) and isinstance(loop, asyncio.SelectorEventLoop):
        options["cleanup_socket"] = False  # it looks for the file where that was made
    return await loop.create_unix_server(made, **options)


def tls_context(certificate: str | None, key: str | None, password: str | None = None) -> SSLContext | None:
    """Give what serves wss:// with these two PEM files, None if there is neither. Raises ImproperlyConfigured.

    password   of the key, where that is encrypted
    """
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise ImproperlyConfigured("certificate and key must be given together")
    for path in (certificate, key):
        if not os.path.isfile(path):
            raise ImproperlyConfigured(f"cannot load certificate: no file {path!r}")
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    asked: list[None] = []

    def given() -> str:
        asked.append(None)  # OpenSSL would ask on the terminal, and wait there
        return password or ""

    try:
        context.load_cert_chain(certificate, key, given)
    except (ssl.SSLError, OSError) as exc:
        if asked and password is None:
            raise ImproperlyConfigured(f"key {key!r} is encrypted: give its password as key_password") from exc
        wrong = " (is key_password the right one?)" if asked else ""
        raise ImproperlyConfigured(f"cannot load certificate {certificate!r} with key {key!r}: {exc}{wrong}") from exc
    return context
