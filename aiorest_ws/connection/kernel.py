"""A transport → what the system knows of its socket: what the client has taken, whether it has gone; and its end."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import sys
from typing import Any

__all__ = ("close_behind", "descriptor", "hung_up", "keep_alive", "unacknowledged")

# Transports without TLS that keep the bytes in their own buffer, where `get_write_buffer_size` sees them.
_PLAIN_TRANSPORTS = frozenset(
    (
        ("asyncio.selector_events", "_SelectorSocketTransport"),
        *(("uvloop.loop", "TCPTransport"), ("uvloop.loop", "UnixTransport")),
    )
)

_ASKED = 4  # times that the system asks a client that does not answer
_LONGEST = 32767  # seconds that it takes


def descriptor(transport: asyncio.BaseTransport) -> int:
    """Give the descriptor of a transport that does no more than `send` with what is written to it, else -1."""
    if (type(transport).__module__, type(transport).__name__) not in _PLAIN_TRANSPORTS:
        return -1
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())


def unacknowledged(transport: asyncio.BaseTransport) -> int:
    """Give the bytes that have left a transport and are not acknowledged by the client's machine (tcp(7), SIOCOUTQ).

    0 where the system does not tell.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sys.platform != "linux":
        return 0
    import fcntl
    import termios

    try:
        (count,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
    except OSError:
        return 0
    return int(count)


def hung_up(transport: asyncio.BaseTransport) -> bool:
    """Tell whether the other end has closed its direction, whatever has not been read yet (poll(2), POLLRDHUP).

    False where the system does not tell.
    """
    sock = transport.get_extra_info("socket")
    event = getattr(select, "POLLRDHUP", 0)
    if sock is None or not event or sock.fileno() < 0:
        return False
    poller = select.poll()
    poller.register(sock.fileno(), event)
    return bool(poller.poll(0))


def keep_alive(transport: asyncio.BaseTransport, interval: float | None, patience: float | None) -> None:
    """Have the system ask a silent client whether it is there, as pings do of a WebSocket (tcp(7), SO_KEEPALIVE).

    interval    seconds of silence, None for never
    patience    seconds without an answer after which it is gone, None for as many as the system has
    """
    sock = transport.get_extra_info("socket")
    if sock is None or interval is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    wanted = {"TCP_KEEPIDLE": interval}
    if patience is not None:
        wanted |= {"TCP_KEEPINTVL": patience / _ASKED, "TCP_KEEPCNT": _ASKED}
    for name, number in wanted.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), min(_LONGEST, max(1, round(number))))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def close_behind(transport: Any, *, unread: bool) -> None:
    """Close a transport behind what was written to it.

    unread    the client may have sent what nobody has read: that would reset the connection, and take with it what was
              written, so it is read on until the client leaves. Who has reset it by now is dropped
    """
    if not unread or not transport.can_write_eof():
        transport.close()
        return
    try:
        transport.write_eof()
    except OSError:
        transport.abort()
    else:
        transport.resume_reading()
