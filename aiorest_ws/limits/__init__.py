"""Every limit and its default: what one client, or many, may take of the server."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypedDict

from aiorest_ws.exceptions import ImproperlyConfigured

__all__ = ("LimitOptions", "Limits", "check_limit")

_ALWAYS = ("max_concurrency", "close_timeout", "shutdown_timeout", "max_live_runs")


class LimitOptions(TypedDict, total=False):
    """The limits as options of an application."""

    max_message_size: int | None
    max_fragments: int | None
    max_concurrency: int
    max_in_flight_bytes: int | None
    max_event_name: int | None
    max_push_buffer: int | None
    requests_per_second: float | None
    burst: int | None
    request_timeout: float | None
    send_timeout: float | None
    ping_interval: float | None
    ping_timeout: float | None
    idle_timeout: float | None
    handshake_timeout: float | None
    max_handshake_size: int | None
    max_headers: int | None
    max_connections: int | None
    max_connections_per_address: int | None
    close_timeout: float
    shutdown_timeout: float
    max_subscriptions: int | None
    max_live_runs: int
    max_history: int | None


def _number(default: Any, least: int, why: str) -> Any:
    """Make the field of a whole number that may be `least`, or more."""
    return field(default=default, metadata={"least": least, "help": why})


def _seconds(default: Any, why: str) -> Any:
    """Make the field of a number that is greater than 0."""
    return field(default=default, metadata={"least": None, "help": why})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one listener. Times are in seconds, sizes in bytes; docs/reference/options.md has a table of them.

    None switches one off, except `max_concurrency`, `close_timeout` and `shutdown_timeout`. Raises TypeError or
    ValueError for what a limit cannot be.
    """

    max_message_size: int | None = _number(
        1024 * 1024, 1, "bytes of a message, decompressed: close 1009, as soon as they are declared"
    )
    max_fragments: int | None = _number(1024, 1, "fragments of a message, empty ones too: close 1008")
    max_concurrency: int = _number(
        64, 1, "requests in flight on a connection, running or waiting: it is not read (cannot be `None`)"
    )
    max_in_flight_bytes: int | None = _number(
        4 * 1024 * 1024,
        1,
        "bytes of the messages of these requests, and eight times as many of memory, 64 more for each array and "
        "object: it is not read; one request is always taken",
    )
    max_event_name: int | None = _number(
        4 * 1024, 1, "bytes of the JSON of an `event_name`, or 32 levels: a reply with status 400"
    )
    max_push_buffer: int | None = _number(
        1024 * 1024,
        1,
        "bytes that wait for a client, with the event that `send_event` is to add: the event is left out, `send_event` "
        "gives `False`",
    )
    requests_per_second: float | None = _seconds(
        None,
        "requests on a connection: a reply with status 429; close 1008 when ten times `burst` was refused within 10 s",
    )
    burst: int | None = _number(None, 1, "how many of them may come at once; `requests_per_second` if not given")
    request_timeout: float | None = _seconds(None, "seconds of a handler: it is cancelled, a reply with status 504")
    send_timeout: float | None = _seconds(
        30.0, "seconds in which the client takes neither 32 KiB of what it is sent nor all of it: dropped"
    )
    ping_interval: float | None = _seconds(20.0, "seconds of silence: a ping")
    ping_timeout: float | None = _seconds(20.0, "seconds without an answer to it: dropped")
    idle_timeout: float | None = _seconds(None, "seconds without a message, and none in flight: close 1001")
    handshake_timeout: float | None = _seconds(5.0, "seconds for the opening handshake: 408, or dropped")
    max_handshake_size: int | None = _number(
        16 * 1024,
        128,
        "bytes of its request: HTTP 431; bytes behind it while `on_connect` decides: it is not read",
    )
    max_headers: int | None = _number(100, 5, "headers in it: HTTP 431")
    max_connections: int | None = _number(
        10_000,
        1,
        "accepted connections: HTTP 503 (as many again may be in their handshake, then they are dropped)",
    )
    max_connections_per_address: int | None = _number(None, 1, "connections from one address: HTTP 503")
    close_timeout: float = _seconds(
        10.0,
        "the same as `send_timeout` for a connection that is closing, and for the answer to our close frame (cannot be "
        "`None`)",
    )
    shutdown_timeout: float = _seconds(
        10.0, "seconds that requests in flight get when the server stops: close 1001 (cannot be `None`)"
    )

    max_subscriptions: int | None = _number(128, 1, "subscriptions on a connection: a reply with status 429")
    max_live_runs: int = _number(
        64, 1, "handlers that run again for subscriptions and wait for something, at once (cannot be `None`)"
    )
    max_history: int | None = _number(
        64 * 1024 * 1024, 1, "bytes of the items of all logs: those of the log that was silent longest go first"
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            check_limit(each.name, getattr(self, each.name))
        if self.burst is not None and self.requests_per_second is None:
            raise ImproperlyConfigured("burst limits nothing by itself: give requests_per_second, too")


_LEAST: dict[str, int | None] = {each.name: each.metadata["least"] for each in fields(Limits)}


def check_limit(name: str, value: Any) -> None:
    """Raise TypeError or ValueError for a value that the limit `name` cannot have."""
    if value is None and name not in _ALWAYS:
        return
    least = _LEAST[name]
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
