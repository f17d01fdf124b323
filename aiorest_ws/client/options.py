"""Keywords of a client, a call or a subscription → options; or which of them is none, and what is meant."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from numbers import Real
from typing import Any, Literal, NotRequired, TypedDict

from aiorest_ws import __version__
from aiorest_ws.client.link import LinkOptions
from aiorest_ws.client.wire import Address, check_url

__all__ = (
    "CallOptions",
    "ClientOptions",
    "SubscribeOptions",
    "address_of",
    "check_keywords",
    "link_options_of",
    "seconds",
)

_AGENT = f"aiorest-ws/{__version__}"
# What clients for HTTP call it; "": what is given to the client, else which option it is here.
_ELSEWHERE = {
    **dict.fromkeys(("json", "body", "content", "files"), ("data", "give the payload as data=")),
    **dict.fromkeys(("params", "query", "query_params"), ("args", "give arguments as args=")),
    **dict.fromkeys(("headers", "cookies"), ("", "it is of the handshake, give headers= to the client")),
    **dict.fromkeys(("auth", "token"), ("", "it is of the handshake, give token= to the client")),
}


class ClientOptions(TypedDict, total=False):
    """How a client behaves; times in seconds.

    headers            of the handshake: a mapping, or pairs
    ssl_context        of TLS; by default, whom the system trusts
    timeout            for a call that says nothing else: 30; None: no limit
    connect_timeout    for TCP, TLS and handshake, and for a function that gives a token: 10
    form               "json", or "msgpack", which takes the extra `msgpack`
    backoff            the first and the last bound of the wait until it connects again, of which a random part is
                       waited: (0.5, 20)
    ping_after         of silence, behind which the server is asked for a sign of life: 25
    dead_after         of silence behind that, after which the connection is given up: 10
    queue              calls that wait for the next connection, of GET or with an `idempotency_key`: 256
    max_in_flight      calls at a time, below the server's `max_concurrency` (64): 48. Others wait here
    max_size           bytes of a message that is taken: 64 MiB; None: no limit
    """

    headers: Mapping[str, str] | Iterable[tuple[str, str]]
    ssl_context: ssl.SSLContext | None
    timeout: float | None
    connect_timeout: float
    form: Literal["json", "msgpack"]
    backoff: tuple[float, float]
    ping_after: float
    dead_after: float
    queue: int
    max_in_flight: int
    max_size: int | None


class CallOptions(TypedDict):
    """What belongs to a call.

    args               keyword arguments of the handler
    data               `request.data`: anything that JSON can say; dataclasses, Structs and models of pydantic, too
    timeout            seconds, waiting here included; None: no limit
    idempotency_key    16 to 128 bytes that name this call: it is done once, however often it is sent, so that it waits
                       for the next connection, and is sent again after a lost one
    extra              further keys of the message: `request.extra`
    """

    args: NotRequired[Mapping[str, Any] | None]
    data: NotRequired[Any]
    timeout: NotRequired[float | None]
    idempotency_key: NotRequired[str | None]
    extra: NotRequired[Mapping[str, Any] | None]


class SubscribeOptions(TypedDict):
    """What belongs to a subscription.

    args        keyword arguments of the handler
    presence    what is shown of who subscribes, where the route lists that
    extra       further keys of the message: `request.extra`
    """

    args: NotRequired[Mapping[str, Any] | None]
    presence: NotRequired[Any]
    extra: NotRequired[Mapping[str, Any] | None]


def address_of(url: str, options: dict[str, Any]) -> Address:
    """Take from `options` what says how a server is reached. Raises TypeError, ValueError for what does not."""
    return Address(
        check_url(url),
        _pairs(options.pop("headers", ())),
        options.pop("ssl_context", None),
        seconds("connect_timeout", options.pop("connect_timeout", 10.0), may_be_none=False),
        options.pop("max_size", 64 * 1024 * 1024),
        _AGENT,
    )


def link_options_of(options: dict[str, Any]) -> LinkOptions:
    """Give what is left of `options`. Raises TypeError for one that there is not, with the nearest that there is."""
    for name in options:
        if name not in LinkOptions.__slots__:
            near = get_close_matches(name, list(ClientOptions.__annotations__), 1)
            raise TypeError(f"unknown option {name!r}" + (f", did you mean {near[0]!r}?" if near else ""))
    for name in ("ping_after", "dead_after", "queue", "max_in_flight"):
        _check_number(name, options.get(name, 1))
    backoff = options.get("backoff", (0, 0))
    if not isinstance(backoff, (tuple, list)) or len(backoff) != 2 or not all(map(_is_number, backoff)):
        raise TypeError(f"backoff must be two numbers of seconds, such as (0.5, 20), got {backoff!r:.100}")
    return LinkOptions(**options)


def seconds(name: str, value: Any, *, may_be_none: bool = True) -> Any:
    """Give `value` if it is a number of seconds, or None where that is no limit. Raises TypeError, ValueError."""
    if value is not None or not may_be_none:
        _check_number(name, value, " of seconds" + (", or None" if may_be_none else ""))
    return value


def check_keywords(given: Iterable[str], what: str, options: type) -> None:
    """Raise TypeError for a keyword of `what` that is none of `options`, with what is meant."""
    known = list(options.__annotations__)
    for name in given:
        if name not in known:
            own, cure = _ELSEWHERE.get(name, (None, ""))
            if own == "" or own in known:
                raise TypeError(f"{what} has no {name!r}: {cure}")
            near = get_close_matches(name, known, 1)
            there = f"did you mean {near[0]}=?" if near else f"there are {', '.join(known)}"
            raise TypeError(f"{what} has no {name!r:.100}: {there}")


def _pairs(headers: Any) -> tuple[tuple[str, str], ...]:
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers if isinstance(headers, Iterable) else "-")
    if isinstance(headers, (str, bytes)) or not all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs
    ):
        raise TypeError(f"headers must be a mapping, or pairs of name and value, got {type(headers).__name__}")
    return tuple((str(name), str(value)) for name, value in pairs)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_number(name: str, value: Any, more: str = "") -> None:
    if not _is_number(value):
        raise TypeError(f"{name} must be a number{more}, got {value!r:.100}")
