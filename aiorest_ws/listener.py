"""An address and a factory → a server that listens there, whose connections the factory serves; with TLS or without."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ("Listener", "listen", "tls_context")

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener(socket.socket):
    """A socket that says once that there are no descriptors left, then that nobody is waiting.

    asyncio accepts up to `backlog` connections at a time, and up to CPython 3.14 does not end that when there are no
    descriptors left (python/cpython#151615): 1,024 tracebacks a second, half of the processor, and no service.
    """

    _exhausted = False

    def accept(self) -> tuple[socket.socket, object]:
        if self._exhausted:
            self._exhausted = False
            raise BlockingIOError(errno.EAGAIN, "no descriptors left, as was said")
        try:
            return super().accept()
        except OSError as exc:
            self._exhausted = exc.errno in _EXHAUSTED
            raise


async def listen(
    factory: Any, host: str | None, port: int, unix_path: str | os.PathLike[str] | None, context: SSLContext | None
) -> asyncio.Server:
    """Listen on a Unix socket if there is a path for one, else on host and port. Raises ImproperlyConfigured."""
    loop = asyncio.get_running_loop()
    secure: dict[str, Any] = {"ssl": context, "backlog": 1024}
    if context is not None and factory.openHandshakeTimeout > 0:
        secure["ssl_handshake_timeout"] = factory.openHandshakeTimeout
    bound = None
    try:
        if unix_path is not None:
            return await loop.create_unix_server(factory, os.fspath(unix_path), **secure)
        bound = _bound(host, port)
        where: dict[str, Any] = {"host": host, "port": port} if bound is None else {"sock": bound}
        return await loop.create_server(factory, **where, **secure)
    except OSError as exc:
        if bound is not None:
            bound.close()
        reason = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else str(exc)
        raise ImproperlyConfigured(f"cannot listen on {unix_path or f'{host}:{port}'}: {reason.lower()}") from exc


def tls_context(certificate: str | None, key: str | None) -> SSLContext | None:
    """Give what serves wss:// with these two PEM files, None if there is neither. Raises ImproperlyConfigured."""
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
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as exc:
        raise ImproperlyConfigured(f"cannot load certificate {certificate!r} with key {key!r}: {exc}") from exc
    return context


def _bound(host: str | None, port: int) -> socket.socket | None:
    """Give a socket that is bound to a numeric address, None for a host that has to be looked up.

    PERF: uvloop looks up every host in a pool of threads that stays, and each system call of a process with threads
    takes longer (bench/peers.py, 64 x 1: 5 %).
    """
    try:
        family = socket.AF_INET6 if ip_address(host or "").version == 6 else socket.AF_INET
    except ValueError:
        return None
    bound = Listener(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound
