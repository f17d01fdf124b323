"""What a worker and the hub say to each other, over a channel: how it is named, and how items are in it.

| the worker says | head | body |
|---|---|---|
| `subscribe` | number, url | |
| `unsubscribe` | number | |
| `publish` | number, url, items, seconds, bytes to keep; bytes of JSON | JSON, MessagePack |
| `change` | number, url, topic, bytes of JSON | the value, if there is one: JSON, MessagePack |
| `recheck` | url or null | |
| `history` | number, url, epoch, number of the item | |
| `members` | number, url | |
| `present` | url, whether the hub says that it changed, sizes of each (id, entry; 0 of who left) | ids and entries |
| `leave` | | |

| the hub says | head | body |
|---|---|---|
| `answer` | number; number of a subscription here that is told by that, or 0; epoch, number | |
| `item` | number of the subscription, number, bytes of JSON | JSON, MessagePack |
| `changed` | number of the subscription, number, topic, bytes of JSON | the value, if there is one |
| `returned` | number of the subscription, number | |
| `rechecked` | url or null | |
| `items` | number, whether that is all, number of the first, sizes of each (JSON, MessagePack) or null | items |
| `listed` | number, whether that is all | JSON: `[id, entry]` of each |

The number of a `subscribe` is that of the subscription. Ids and entries are JSON, which the hub keeps as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from aiorest_ws.realtime.brokers import Item

__all__ = ("MOST_OF_ITEM", "MOST_OF_MEMBER", "MOST_PENDING", "Channel", "body_of", "checked", "in_parts", "item_of")

MOST_OF_ITEM = 16 * 1024 * 1024  # bytes of what is published, so that it fits into one message
MOST_OF_MEMBER = 1024 * 1024  # bytes of what is listed of one who is there, with the id
MOST_PENDING = 32 * 1024 * 1024  # bytes that wait for the hub to take them; what comes then is refused
_PART = 512 * 1024  # bytes of what is sent at once, of what is large; the last piece may be beyond them
_WHAT = 32  # bytes in which it is said what a piece is, at most


class Channel(Protocol):
    """Messages to and from another process: see `aiorest_ws.workers.channel`."""

    is_full: bool

    @property
    def pending(self) -> int: ...
    def send(self, kind: str, *head: Any, body: bytes = b"") -> None: ...
    def take(self, kind: str, handler: Callable[[list[Any], bytes], None]) -> None: ...
    def on_lost(self, function: Callable[[], Any]) -> None: ...
    def on_room(self, function: Callable[[], Any]) -> None: ...


def checked(
    types: tuple[type, ...], handler: Callable[..., None], *, takes_body: bool = False
) -> Callable[[list[Any], bytes], None]:
    """Give what calls `handler` with what is in a head, if it is of these types; with the body, too, if it takes one.

    Raises ValueError for what else was said, which closes the channel.
    """

    def take(head: list[Any], body: bytes) -> None:
        if tuple(map(type, head)) != types:
            raise ValueError(f"expected {', '.join(each.__name__ for each in types) or 'nothing'}")
        if takes_body:
            handler(*head, body)
        elif body:
            raise ValueError("expected no body")
        else:
            handler(*head)

    return take


def body_of(item: Item) -> bytes:
    """Give an item as it is sent: both its forms, one behind the other."""
    return item.json if item.msgpack is None else item.json + item.msgpack


def item_of(body: bytes, size: int, number: int = 0, topic: str = "") -> Item:
    """Give the item that was sent as `body`, its first `size` bytes as JSON. Raises ValueError if that cannot be."""
    if not 0 < size <= len(body) <= MOST_OF_ITEM:
        raise ValueError(f"expected an item of at most {MOST_OF_ITEM} bytes, got {len(body)}, {size} of them JSON")
    if size == len(body):
        return Item(number, body, None, topic)
    return Item(number, body[:size], body[size:], topic)


def in_parts(pieces: Iterable[tuple[Any, bytes]]) -> Iterator[tuple[bool, list[Any], list[bytes]]]:
    """Give what is known of pieces, and their bytes, in parts of some size; and whether a part is the last."""
    known: list[Any] = []
    data: list[bytes] = []
    size = 0
    for what, piece in pieces:
        if size > _PART:
            yield False, known, data
            known, data, size = [], [], 0
        known.append(what)
        data.append(piece)
        size += len(piece) + _WHAT
    yield True, known, data
