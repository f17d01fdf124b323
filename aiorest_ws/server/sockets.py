"""Where to listen → sockets that are bound there, and the file of a Unix socket, which comes last and goes first."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.server.acceptor import EXHAUSTED, Ahead
from aiorest_ws.server.reasons import reason_of

__all__ = ("Bound", "Listener", "Place", "SocketFile", "bind", "bind_each", "check_host", "check_mode", "check_sock")

logger = logging.getLogger("aiorest_ws")

_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # a family that this machine has no address of
_FIRST_OF_SYSTEMD = 3  # descriptor, see sd_listen_fds(3)
_TRIES = 10  # to find a port that is free in every family

Address = tuple[socket.AddressFamily, tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to listen. Of several the first counts: `sock`, `fd`, `unix_path`, what systemd hands over, host and port.

    host         name or address, in brackets or not; None for all of the machine's
    port         0 takes one that is free, the same for every address of the host
    unix_path    a file, or behind a NUL a name in Linux's abstract namespace
    unix_mode    permissions of that file; None for what the umask leaves
    sock, fd     a socket that is bound, or its descriptor. It stays the caller's: a copy of it is closed in the end
    reuse_port   let other processes listen on the port, too (SO_REUSEPORT)
    """

    host: str | None = "127.0.0.1"
    port: int = 0
    unix_path: str | os.PathLike[str] | None = None
    unix_mode: int | None = None
    sock: socket.socket | None = None
    fd: int | None = None
    reuse_port: bool = False

    @property
    def is_of_port(self) -> bool:
        return self.sock is None and self.fd is None and self.unix_path is None

    def __str__(self) -> str:
        if self.sock is not None:
            return "the given sock"
        if self.fd is not None:
            return f"descriptor {self.fd}"
        if self.unix_path is not None:
            return _shown(os.fspath(self.unix_path))
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Bound:
    """Sockets that are bound, and the file that leads to them, where it is not there yet.

    is_shared    others listen there, or will once we are gone: the sockets are copies, or the port may be taken again
    is_of_port   they were made for host and port: more of them can be bound there
    called       what the addresses are, where the sockets do not know
    others       who knows about the processes that accept from the very same sockets, None where there are none
    """

    sockets: list[socket.socket]
    file: SocketFile | None = None
    is_shared: bool = False
    is_of_port: bool = False
    called: list[Any] | None = None
    others: Ahead | None = None

    @property
    def addresses(self) -> list[Any]:
        """Give host and port of each, the path of a Unix socket, or its abstract name behind an @."""
        if self.called is not None:
            return self.called
        if self.file is not None:
            return [self.file.path]
        return [_address(bound) for bound in self.sockets]

    def close_sockets(self) -> None:
        """Close them; the file stays."""
        for bound in self.sockets:
            bound.close()

    def close(self) -> None:
        self.close_sockets()
        if self.file is not None:
            self.file.remove()


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
            self._exhausted = exc.errno in EXHAUSTED
            raise


async def bind(place: Place) -> Bound:
    """Give sockets that are bound to `place`. Raises ImproperlyConfigured, one line."""
    _check_mode_has_file(place)
    try:
        if place.sock is not None:
            return Bound([_copy(place.sock.fileno())], is_shared=True)
        if place.fd is not None:
            return Bound([_copy(place.fd)], is_shared=True)
        if place.unix_path is not None:
            return _unix(os.fspath(place.unix_path), place.unix_mode)
        inherited = [_copy(descriptor) for descriptor in _handed_over()]
        if inherited:
            return Bound(inherited, is_shared=True)
        addresses = await _resolved(place.host, place.port)
        return Bound(_each(addresses, place.reuse_port), is_shared=place.reuse_port, is_of_port=True)
    except (OSError, UnicodeError) as exc:  # the latter of a name that no host can have
        raise ImproperlyConfigured(f"cannot listen on {place}: {reason_of(exc, of_port=place.is_of_port)}") from exc


async def bind_each(place: Place, count: int) -> list[Bound]:
    """Give what each of `count` processes listens on: sockets of its own, where the system spreads connections over
    those of one port, else the same for all. Raises ImproperlyConfigured, one line.
    """
    first = await bind(place)
    if not first.is_of_port or sys.platform != "linux":
        return [first] * count
    each: list[Bound] = []
    try:
        for bound in first.sockets:
            # Only now: the first was bound as one that shares the port with nobody, so that it is free or refused.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        for _ in range(count):
            sockets: list[socket.socket] = []
            each.append(Bound(sockets, is_shared=first.is_shared))
            for bound in first.sockets:
                # By its number: one that the system has chosen is lost when a socket stops to listen for a while.
                sockets.append(_bound(bound.family, bound.getsockname(), reuse_port=True))  # noqa: PERF401
    except OSError as exc:
        for bound_there in each:
            bound_there.close()
        raise ImproperlyConfigured(f"cannot listen on {place}: {reason_of(exc, of_port=True)}") from exc
    finally:
        first.close()
    return each


def _check_mode_has_file(place: Place) -> None:
    """Raise ImproperlyConfigured where permissions are asked for, and nothing would have them."""
    if place.unix_mode is not None and (place.unix_path is None or os.fspath(place.unix_path).startswith("\0")):
        raise ImproperlyConfigured(
            "unix_mode are the permissions of the file of unix_path, and there is none: give unix_path as a path"
        )


# Sockets that somebody else bound


def _copy(descriptor: int) -> socket.socket:
    copy = Listener(fileno=os.dup(descriptor))
    name = copy.getsockname()
    if copy.type != socket.SOCK_STREAM or not (name if isinstance(name, (str, bytes)) else name[1]):
        copy.close()
        raise OSError("expected a stream socket that is bound")
    return copy


def _handed_over() -> Iterable[int]:
    """Give the descriptors that systemd opened for this very process (sd_listen_fds(3)); to no child of it."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return ()
    count = os.environ.pop("LISTEN_FDS", "")
    for name in ("LISTEN_PID", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    if not count.isdecimal():
        raise ImproperlyConfigured(f"LISTEN_FDS must be a number of sockets, got {count!r}")
    return range(_FIRST_OF_SYSTEMD, _FIRST_OF_SYSTEMD + int(count))


# Hosts and ports


async def _resolved(host: str | None, port: int) -> list[Address]:
    """Give the addresses that `host` stands for.

    PERF: uvloop looks up every host in a pool of threads that stays, and each system call of a process with threads
    takes longer (bench/peers.py, 64 x 1: 5 %). What needs no network is looked up here.
    """
    options: dict[str, Any] = {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE}
    host = _bare(host) if host else None
    if host is None or host == "localhost" or _is_address(host):
        found = socket.getaddrinfo(host, port, **options)
    else:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, **options)
    return list(dict.fromkeys((info[0], info[4]) for info in found))


def _bare(host: str) -> str:
    """Give an IPv6 address without the brackets that it has in a url (RFC 3986 §3.2.2)."""
    inside = host[1:-1]
    return inside if host == f"[{inside}]" and ":" in inside else host


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _each(addresses: list[Address], reuse_port: bool) -> list[socket.socket]:
    """Bind a socket to each address; where the port is free to choose, all to the same."""
    for left in reversed(range(_TRIES)):
        sockets: list[socket.socket] = []
        try:
            _bind_all(addresses, reuse_port, sockets)
        except OSError as exc:
            for bound in sockets:
                bound.close()
            if not left or exc.errno != errno.EADDRINUSE or addresses[0][1][1] or not sockets:
                raise
        else:
            return sockets
    raise AssertionError("unreachable")


def _bind_all(addresses: list[Address], reuse_port: bool, sockets: list[socket.socket]) -> None:
    missing: OSError | None = None
    for family, (host, port, *rest) in addresses:
        if sockets and not port:
            port = sockets[0].getsockname()[1]
        try:
            sockets.append(_bound(family, (host, port, *rest), reuse_port))
        except OSError as exc:
            if exc.errno not in _NOT_HERE:
                raise
            missing = exc
    if missing is not None and not sockets:
        raise missing


def _bound(family: socket.AddressFamily, address: tuple[Any, ...], reuse_port: bool) -> socket.socket:
    # asyncio has what it accepts send at once (TCP_NODELAY) only where the protocol is named, and not 0.
    bound = Listener(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except BaseException:  # raised again: no address stays taken, whatever stopped it
        bound.close()
        raise
    return bound


# Unix sockets


class SocketFile:
    """The file of a Unix socket: made beside its place, with its mode, and put there when the server is ready.

    path    absolute, so that a change of the directory leads to nobody else's
    """

    def __init__(self, path: str, mode: int | None) -> None:
        self.path = os.path.abspath(path)
        self._mode = mode
        self._made = os.path.join(os.path.dirname(self.path), f".{os.urandom(3).hex()}")
        self._is: tuple[int, int] | None = None  # device and inode

    def bind(self, bound: socket.socket) -> None:
        _refuse_taken(self.path)
        bound.bind(self._made)
        try:
            if self._mode is not None:
                os.chmod(self._made, self._mode)
            made = os.stat(self._made)
        except BaseException:  # raised again: no file stays, whatever stopped it
            os.unlink(self._made)
            raise
        self._is = (made.st_dev, made.st_ino)

    def put(self) -> None:
        """Let clients find it. Raises ImproperlyConfigured if another server has become ready there meanwhile."""
        _refuse_taken(self.path)
        os.rename(self._made, self.path)
        self._made = self.path

    def remove(self) -> None:
        """Remove it, unless another has taken its place. It is not said here that it cannot be done: that is logged."""
        try:
            found = os.lstat(self._made)
            if (found.st_dev, found.st_ino) == self._is:
                os.unlink(self._made)
        except (FileNotFoundError, NotADirectoryError):
            pass  # its folder may be gone, too
        except OSError as exc:
            # Whoever closes has more to do: nothing else is kept from its end by a file that stays.
            logger.warning("cannot remove %s: %s", self._made, (exc.strerror or str(exc)).lower())


def _unix(path: str, mode: int | None) -> Bound:
    bound = Listener(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.startswith("\0"):
            bound.bind(path)
            return Bound([bound])
        file = SocketFile(path, mode)
        file.bind(bound)
    except BaseException:  # raised again: no address stays taken, whatever stopped it
        bound.close()
        raise
    return Bound([bound], file)


def _refuse_taken(path: str) -> None:
    """Raise ImproperlyConfigured where a server listens on `path`, or where something is that is no socket."""
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise ImproperlyConfigured(f"cannot listen on {path}: there is a file of that name, which is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return  # left behind by a server that is gone
        except OSError as exc:
            if exc.errno not in (errno.EAGAIN, errno.EPROTOTYPE):
                raise
    raise ImproperlyConfigured(f"cannot listen on {path}: another server listens there")


# How they are shown


def _address(bound: socket.socket) -> Any:
    name = bound.getsockname()
    return name[:2] if isinstance(name, tuple) else _shown(os.fsdecode(name))


def _shown(path: str) -> str:
    return f"@{path[1:]}" if path.startswith("\0") else path


# Options


def check_host(name: str, value: Any) -> None:
    """Raise TypeError or ValueError for what the option `name`, a host, cannot be."""
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string or None, got {value!r}")
    bare = _bare(value)
    if any(mark in bare for mark in " /[]@?#") or (":" in bare and not _is_address(bare)):
        raise ValueError(f"{name} must be a name or an address, without scheme and port, got {value!r}")


def check_mode(name: str, value: Any) -> None:
    """Raise TypeError or ValueError for what the option `name`, permissions of a file, cannot be."""
    if value is None:
        return
    if type(value) is not int:
        raise TypeError(f"{name} must be an integer as of chmod, such as 0o660, got {value!r}")
    if not 0 <= value <= 0o777:
        raise ValueError(f"{name} must be from 0 to 0o777, got {value:#o}")


def check_sock(name: str, value: Any) -> None:
    """Raise TypeError for what the option `name`, a socket, cannot be."""
    if value is not None and not isinstance(value, socket.socket):
        raise TypeError(f"{name} must be a socket.socket or None, got {value!r}")
