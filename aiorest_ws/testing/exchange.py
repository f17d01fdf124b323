"""A request's parts → the message that is sent; a message that comes → a reply, a subscription's push, or nobody's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aiorest_ws.testing.messages import End, Event, Reply, event_of, reply_of, unpack

if TYPE_CHECKING:
    from aiorest_ws.testing.subscribing import AsyncSubscription

__all__ = ("OWN_ID", "Exchange", "event_in")

OWN_ID: Any = type("OwnId", (), {"__repr__": lambda self: "OWN_ID"})()  # the client gives the request an id
_PARTS = ("args", "data", "event_name")
_OF_THE_HANDSHAKE = "it is of the handshake, give it to the client, or to `connect` for another one"
# What clients for HTTP call it. As keys of a request they would be read by nobody.
_ELSEWHERE = {
    **dict.fromkeys(("json", "body", "content", "files"), "give the payload as `data=`"),
    **dict.fromkeys(("params", "query_params"), "give arguments as `args=`"),
    **dict.fromkeys(("headers", "cookies"), _OF_THE_HANDSHAKE),
}


class _Expected:
    """A request that is not answered yet."""

    def __init__(self, request_id: Any, answered: Callable[[Reply], None]) -> None:
        self.id = request_id  # None if the server cannot give it back
        self.answered = answered
        self.reply: Reply | None = None


class Exchange:
    """Of one client: requests that wait for their replies, subscriptions, and what has come for none of them.

    feeds     by topic, the subscriptions that take their pushes themselves
    unasked   the messages that are left: payload, and whether it is a binary one
    """

    def __init__(self) -> None:
        self.feeds: dict[str, AsyncSubscription] = {}
        self.unasked: list[tuple[bytes, bool]] = []
        self._last_id = 0
        self._expected: list[_Expected] = []

    def compose(
        self, method: str, url: str | None, keys: Mapping[str, Any], answered: Callable[[Reply], None]
    ) -> tuple[dict[str, Any], _Expected]:
        """Give a request's message, and what to `expect` when it is sent; `answered` is called with the reply.

        Raises TypeError for a key that no request has, ValueError for an id that another one waits with.
        """
        for name in keys:
            if name in _ELSEWHERE:
                raise TypeError(f"a request has no {name!r}: {_ELSEWHERE[name]}")
        own_id = keys.get("id", OWN_ID)
        if own_id is OWN_ID:
            self._last_id += 1
            own_id = self._last_id
        sent = {"method": method, "url": url} | {name: keys.get(name) for name in _PARTS} | {"id": own_id}
        message = {name: value for name, value in sent.items() if value is not None}
        message |= {name: value for name, value in keys.items() if name not in sent}
        expected = _Expected(own_id if _comes_back(own_id) else None, answered)
        if expected.id is not None and any(other.id == expected.id for other in self._expected):
            raise ValueError(f"id {own_id!r} is that of a request which waits for its reply")
        return message, expected

    def expect(self, expected: _Expected) -> None:
        """Take note that its request is sent."""
        self._expected.append(expected)

    def arrived(self, payload: bytes, is_binary: bool) -> None:
        """Give a message to whom it is for."""
        message, raw = unpack(payload)
        for expected in self._expected:
            if message is None or expected.id == message.get("id"):
                expected.reply = reply_of(message, raw)
                self._expected.remove(expected)
                expected.answered(expected.reply)
                return
        event = event_of(message)
        if isinstance(event, End) or (event is not None and event.version is not None):
            feed = self.feeds.get(event.topic if isinstance(event, End) else event.name)
            if feed is not None:
                feed._on_message(event)
                return
        self.unasked.append((payload, is_binary))


def event_in(payload: bytes) -> Event:
    """Give the event that a message is. Raises ValueError if it is something else."""
    message, _ = unpack(payload)
    event = event_of(message)
    if not isinstance(event, Event):
        raise ValueError(f"expected an event, got {payload!r:.200}")
    return event


def _comes_back(request_id: Any) -> bool:
    """Tell whether the server gives an id back: what is none gets a reply without."""
    if isinstance(request_id, str):
        return len(request_id.encode("utf-8", "replace")) <= 256
    return type(request_id) is int and -(1 << 63) <= request_id < 1 << 64
