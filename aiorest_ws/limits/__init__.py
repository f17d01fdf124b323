"""Every limit and its default: what one client, or many, may take of the server."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

__all__ = ("Limits", "check_limit")

_ALWAYS = ("max_concurrency", "close_timeout", "shutdown_timeout")

# The least that each may be; those that are not named here are numbers of seconds, greater than 0.
_LEAST = {
    "max_message_size": 1,
    "max_fragments": 1,
    "max_handshake_size": 128,
    "max_headers": 5,
    "max_connections": 1,
    "max_connections_per_address": 1,
    "max_concurrency": 1,
    "max_in_flight_bytes": 1,
    "max_push_buffer": 1,
    "max_event_name": 1,
    "burst": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one listener. Times are in seconds, sizes in bytes.

    None switches one off, except `max_concurrency`, `close_timeout` and `shutdown_timeout`.

    max_message_size             of one message, after decompression; refused by the length that it declares: 1009
    max_fragments                of one message, empty ones too: 1008
    handshake_timeout            for the whole opening handshake: the connection is dropped
    max_handshake_size           of the opening request: HTTP 431
    max_headers                  in the opening request: HTTP 431
    max_connections              of the listener: HTTP 503
    max_connections_per_address  from one address: HTTP 503
    max_concurrency              requests in flight on a connection, running or waiting: reading pauses
    max_in_flight_bytes          of the messages of those requests, and eight times as much of memory that they take,
                                 counted as their bytes and 64 for each array and object: reading pauses. One request
                                 is always taken
    max_event_name               of the JSON of an `event_name`, which may have 32 levels: a reply with status 400
    max_push_buffer              that wait for a client when `send_event` is called, with the event: it is left out
    requests_per_second, burst   of one connection, a token bucket: a reply with status 429; 1008 when ten times the
                                 burst was refused within ten seconds. `burst` is `requests_per_second` if not given
    ping_interval, ping_timeout  silence before a ping, and what an answer to it may take: dropped
    idle_timeout                 without a message from the client, none in flight: 1001
    request_timeout              of one handler: a reply with status 504, the handler is cancelled
    send_timeout                 in which a client takes neither 32 KiB of what it is sent nor all of it: dropped
    close_timeout                the same once a connection is closing, and for the answer to our close frame: dropped
    shutdown_timeout             for requests in flight when the server stops: 1001
    """

    max_message_size: int | None = 1024 * 1024
    max_fragments: int | None = 1024
    handshake_timeout: float | None = 5.0
    max_handshake_size: int | None = 16 * 1024
    max_headers: int | None = 100
    max_connections: int | None = 10_000
    max_connections_per_address: int | None = None
    max_concurrency: int = 64
    max_in_flight_bytes: int | None = 4 * 1024 * 1024
    max_event_name: int | None = 4 * 1024
    max_push_buffer: int | None = 1024 * 1024
    requests_per_second: float | None = None
    burst: int | None = None
    ping_interval: float | None = 20.0
    ping_timeout: float | None = 20.0
    idle_timeout: float | None = None
    request_timeout: float | None = None
    send_timeout: float | None = 30.0
    close_timeout: float = 10.0
    shutdown_timeout: float = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            check_limit(field.name, getattr(self, field.name))


def check_limit(name: str, value: Any) -> None:
    """Raise TypeError or ValueError for a value that the limit `name` cannot have."""
    if value is None and name not in _ALWAYS:
        return
    least = _LEAST.get(name)
    if least is None:
        if type(value) not in (int, float):
            raise TypeError(f"{name} must be a number, got {value!r}")
        if not 0 < value < 1e9:
            raise ValueError(f"{name} must be greater than 0, got {value!r}")
    else:
        if type(value) is not int:
            raise TypeError(f"{name} must be an integer, got {value!r}")
        if not least <= value <= 2**31:
            raise ValueError(f"{name} must be from {least} to {2**31}, got {value}")
