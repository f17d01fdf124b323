"""An item → the bytes that are kept of it and told of it, and back."""

from __future__ import annotations

from struct import Struct

from aiorest_ws.realtime.brokers import Item
from aiorest_ws.realtime.versions import Mark

__all__ = ("MOST", "Told", "decoded", "encoded", "item_of")

MOST = 1024 * 1024  # bytes of one publication

_LENGTHS = Struct("!II")  # of its topic and of its JSON; the rest is MessagePack

Told = tuple[str, Mark, bytes]  # a letter (i: item, v: value, c: changed, e: another epoch), the mark, and the rest


def encoded(url: str, item: Item) -> bytes:
    """Give the item as bytes. Raises ValueError if it is too large for one publication."""
    json, msgpack = item.json, item.msgpack or b""
    if len(json) > MOST:
        raise ValueError(
            f"{len(json):,} bytes are too large to publish at {url}: through redis it may be {MOST:,}, as JSON"
        )
    if len(json) + len(msgpack) > MOST:
        msgpack = b""  # whoever wants it makes it of the JSON
    topic = item.topic.encode()
    return b"".join((_LENGTHS.pack(len(topic), len(json)), topic, json, msgpack))


def item_of(number: int, data: bytes) -> Item:
    """Give the item again. Raises ValueError for bytes that are none."""
    if len(data) < _LENGTHS.size:
        raise ValueError(f"{len(data)} bytes are no item")
    topic, json = _LENGTHS.unpack_from(data)
    topic += _LENGTHS.size
    json += topic
    if json > len(data):
        raise ValueError(f"{len(data)} bytes are no item, whose JSON would end at {json}")
    return Item(number, data[topic:json], data[json:] or None, data[_LENGTHS.size : topic].decode())


def decoded(message: bytes) -> Told:
    """Give what a message on a channel says. Raises ValueError for what says nothing."""
    head, _, rest = message.partition(b"\n")
    epoch, _, number = head[1:].decode().partition(" ")
    return head[:1].decode(), Mark(epoch, int(number or 0)), rest
