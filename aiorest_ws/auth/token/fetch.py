"""A url → what is behind it, within one deadline for all of it, and a bound on its size.

A thread does the work, with the standard library's client, so that proxies of the environment count. When its time is
up its socket is shut down, wherever it is: a server that gives a byte now and then holds nobody.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

__all__ = ("check_url", "fetch")

T = TypeVar("T")

_LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))
_PIECE = 65536


def check_url(url: str) -> None:
    """Raise ValueError unless `url` is https, or http of this machine."""
    parts = urlsplit(url)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not is_safe or not parts.hostname:
        raise ValueError(f"must be fetched over https, got {url!r}")
    if parts.username is not None:
        raise ValueError(f"must be fetched without a user in their url, got one at {parts.hostname!r}")


async def fetch(url: str, read: Callable[[bytes], T], *, timeout: float, most: int) -> T:
    """Give what `read`, which is called in the thread, makes of at most `most` bytes behind `url`.

    Raises TimeoutError, OSError, http.client.HTTPException, ValueError, and what `read` raises.
    """
    job = _Job(url, read, timeout, most)
    done = asyncio.get_running_loop().create_future()
    # Not of the executor: a name that takes minutes to resolve must not hold the end of the loop.
    threading.Thread(target=job.run, args=(done,), name="aiorest-ws-fetch", daemon=True).start()
    try:
        async with asyncio.timeout(timeout):
            return await done  # type: ignore[no-any-return]
    finally:
        job.stop()


class _Job:
    """What the thread does."""

    def __init__(self, url: str, read: Callable[[bytes], Any], timeout: float, most: int) -> None:
        self._url = url
        self._read = read
        self._timeout = timeout
        self._most = most
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._stopped = False

    def run(self, done: asyncio.Future[Any]) -> None:
        result, fault = None, None
        try:
            result = self._read(self._body())
        except Exception as exc:  # raised where it is waited for
            fault = exc
        self._close()
        with suppress(RuntimeError):  # the loop is closed
            done.get_loop().call_soon_threadsafe(_settle, done, result, fault)

    def stop(self) -> None:
        """Shut down its connections, in whatever they are waiting."""
        with self._lock:
            self._stopped = True
            for each in self._sockets:
                with suppress(OSError, ValueError):
                    each.shutdown(socket.SHUT_RDWR)

    def connected(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.append(sock)
            if self._stopped:
                raise TimeoutError("took too long")

    def _close(self) -> None:
        """Close what a response that was not read to its end keeps open."""
        with self._lock:
            for each in self._sockets:
                descriptor = each.detach()
                if descriptor >= 0:
                    socket.close(descriptor)
            self._sockets.clear()

    def _body(self) -> bytes:
        opener = urllib.request.build_opener(_Plain(self), _Secure(self), _Redirects())
        request = urllib.request.Request(self._url, headers={"User-Agent": "aiorest-ws", "Accept": "application/json"})
        with opener.open(request, timeout=self._timeout) as response:
            body = bytearray()
            while piece := response.read1(_PIECE):
                body += piece
                if len(body) > self._most:
                    raise ValueError(f"is larger than {self._most} bytes")
        return bytes(body)


def _settle(done: asyncio.Future[Any], result: Any, fault: Exception | None) -> None:
    if done.done():
        return  # nobody waits any more
    if fault is None:
        done.set_result(result)
    else:
        done.set_exception(fault)


class _Connection(http.client.HTTPConnection):
    job: _Job

    def connect(self) -> None:
        super().connect()
        self.job.connected(self.sock)


class _SecureConnection(http.client.HTTPSConnection):
    job: _Job

    def connect(self) -> None:
        super().connect()
        self.job.connected(self.sock)


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, job: _Job) -> None:
        super().__init__()
        self._class = type("_Connection", (_Connection,), {"job": job})

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._class, req)  # type: ignore[arg-type]


class _Secure(urllib.request.HTTPSHandler):
    def __init__(self, job: _Job) -> None:
        super().__init__()
        self._class = type("_SecureConnection", (_SecureConnection,), {"job": job})

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._class, req)  # type: ignore[arg-type]


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 3

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
