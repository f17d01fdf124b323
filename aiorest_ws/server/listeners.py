"""Bound sockets and a factory → servers whose connections the factory serves; with TLS or without."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.server.acceptor import Acceptor, Ahead
from aiorest_ws.server.proxies import ProxyDoor
from aiorest_ws.server.sockets import Bound, Place, bind
from aiorest_ws.server.tls import SecureDoor

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiorest_ws.server.factory import RequestHandlerFactory

__all__ = ("Listening", "listen", "reload_certificates", "tls_context", "tls_of")

_BACKLOG = 1024
_TURNS = 3  # of the loop from the moment that it accepts a connection until the protocol knows
_INTERNET = (socket.AF_INET, socket.AF_INET6)


class Listening:
    """What accepts connections, on every socket of one place.

    addresses   host and port of each socket, or what a Unix socket is called
    is_shared   others listen there, too, or will once we are gone
    """

    def __init__(self, servers: Sequence[asyncio.Server | Acceptor], bound: Bound) -> None:
        self.servers = servers
        self.addresses = bound.addresses
        self.is_shared = bound.is_shared
        self._file = bound.file

    def close(self) -> None:
        """Accept nothing more."""
        for server in self.servers:
            server.close()
        if self._file is not None:
            self._file.remove()
            self._file = None

    async def leave(self) -> None:
        """Accept nothing more, but for what the loop has accepted by now: that still gets its protocol."""
        loop = asyncio.get_running_loop()
        for server in self.servers:
            if isinstance(server, Acceptor):
                server.pause()
            elif isinstance(loop, asyncio.SelectorEventLoop):
                for sock in server.sockets:
                    loop.remove_reader(sock.fileno())
        for _ in range(_TURNS):  # asyncio would drop what is accepted, and has no transport yet, when it closes
            await asyncio.sleep(0)
        self.close()

    async def wait_closed(self) -> None:
        for server in self.servers:
            await server.wait_closed()


async def listen(factory: Any, place: Place, bound: Bound | None = None, *, trusted_proxies: int = 0) -> Listening:
    """Listen at `place`, on sockets that are `bound` there already, if any. Raises ImproperlyConfigured, one line."""
    if bound is None:
        bound = await bind(place)
    servers: list[asyncio.Server | Acceptor] = []
    try:
        if factory.proxy_protocol and not trusted_proxies:
            _check_trusted(bound)
        for sock in bound.sockets:
            servers.append(await _serve(factory, sock, bound.others))  # noqa: PERF401 (those before it are closed)
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


def _check_trusted(bound: Bound) -> None:
    """Raise ImproperlyConfigured where the PROXY protocol would be taken from anybody."""
    for sock in bound.sockets:
        if sock.family in _INTERNET:
            raise ImproperlyConfigured(
                "proxy_protocol needs trusted_proxies of at least 1, or a Unix socket: "
                "else any client could name any address"
            )


async def _serve(factory: Any, sock: socket.socket, others: Ahead | None) -> asyncio.Server | Acceptor:
    options: dict[str, Any] = {"sock": sock, "backlog": _BACKLOG}
    made = factory if factory.tls is None else lambda: SecureDoor(factory, factory.tls)
    if factory.proxy_protocol:
        made = partial(ProxyDoor, factory, made)
    if others is not None:
        return Acceptor(sock, made, others, _BACKLOG)
    loop = asyncio.get_running_loop()
    if sock.family in _INTERNET:
        return await loop.create_server(made, **options)
    if sys.version_info >= (3, 13) and isinstance(loop, asyncio.SelectorEventLoop):
        options["cleanup_socket"] = False  # it looks for the file where that was made
    return await loop.create_unix_server(made, **options)


def tls_context(certificate: str | None, key: str | None, password: str | None = None) -> SSLContext | None:
    """Give what serves wss:// with these two PEM files, None if there is neither. Raises ImproperlyConfigured.

    password   of the key, where that is encrypted
    """
    if not certificate and not key:
        if password is not None:
            raise ImproperlyConfigured("key_password is that of a key: give certificate and key, too")
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
    except ValueError as exc:  # what OpenSSL does not even try
        raise ImproperlyConfigured(f"key_password cannot be the password of a key: {_fault(exc)}") from exc
    except (ssl.SSLError, OSError) as exc:
        if asked and password is None:
            raise ImproperlyConfigured(f"key {key!r} is encrypted: give its password as key_password") from exc
        wrong = " (is key_password the right one?)" if asked else ""
        raise ImproperlyConfigured(f"cannot load certificate {certificate!r} with key {key!r}: {exc}{wrong}") from exc
    return context


def tls_of(options: Mapping[str, Any]) -> SSLContext | None:
    """Give what serves wss:// as `options` of an application say, None for ws://. Raises ImproperlyConfigured."""
    files = options["certificate"], options["key"], options["key_password"]
    given: SSLContext | None = options["ssl_context"]
    if given is None:
        return tls_context(*files)
    if any(file is not None for file in files):
        raise ImproperlyConfigured("ssl_context has its own certificate: leave certificate, key and key_password out")
    return given


def reload_certificates(factory: RequestHandlerFactory | None, options: Mapping[str, Any]) -> None:
    """Let `factory`, None if nothing is served, serve who connects from now on with what the files hold now.

    Raises RuntimeError and ImproperlyConfigured; see `Application.reload_certificates`.
    """
    if factory is None:
        raise RuntimeError("the application is not running, there is nothing to reload: start it first")
    if options["ssl_context"] is not None:
        raise ImproperlyConfigured("ssl_context is yours: call its load_cert_chain, new connections will use it")
    context = tls_of(options)
    if context is None:
        raise ImproperlyConfigured("there is no certificate to reload: give certificate and key")
    factory.tls = context


def _fault(exc: ValueError) -> str:
    return "it is no text in UTF-8" if isinstance(exc, UnicodeError) else str(exc)  # the former shows what is secret
