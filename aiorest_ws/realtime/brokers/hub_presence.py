"""Who is in this process, at each url → what the hub is told of it: what differs from what it was told last."""

from __future__ import annotations

import asyncio
import json  # as exact as what was written: orjson takes large integers for fractions, and refuses what is deep
import logging
from collections.abc import Mapping
from typing import Any

from aiorest_ws._speedups import write
from aiorest_ws.realtime.brokers import Node
from aiorest_ws.realtime.brokers.hub_messages import MOST_OF_MEMBER, Channel, in_parts

__all__ = ("OwnMembers", "members_of")

logger = logging.getLogger("aiorest_ws")

_FEW = 256  # members of a url of which each change is told at once; of more, it is looked at ten times a second
_OFTEN = 0.1


class OwnMembers:
    """Who is at the urls that say so, in this process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._places: dict[str, _Place] = {}

    def set(self, url: str, node: Node, own: Mapping[Any, Any] | None) -> None:
        """Take note of those of one node.

        A node that stops has none, not even nobody: they may come back elsewhere. The hub will see that this process
        has left, and is told before that only if anybody looks.
        """
        place = self._places.setdefault(url, _Place())
        if own:
            place.own[node] = own
        else:
            place.own.pop(node, None)
        if own is None:
            return
        if len(own) <= _FEW:
            self._tell(url, place, False)
        elif place.timer is None:
            place.timer = asyncio.get_running_loop().call_later(_OFTEN, self._tell, url, place, True)

    def tell(self, url: str) -> None:
        """Tell the hub now what it has not been told of `url`."""
        place = self._places.get(url)
        if place is not None:
            self._tell(url, place, True)

    def _tell(self, url: str, place: _Place, is_late: bool) -> None:
        """Tell the hub; who was told that it changed may have looked already, when `is_late`."""
        if place.timer is not None:
            place.timer.cancel()
            place.timer = None
        if not place.own:
            del self._places[url]
        pieces = place.differing()
        if pieces:
            for is_last, sizes, part in in_parts(pieces):
                self._channel.send("present", url, is_late and is_last, sizes, body=b"".join(part))

    def stop(self) -> None:
        """Tell nothing more."""
        for place in self._places.values():
            if place.timer is not None:
                place.timer.cancel()
        self._places.clear()


class _Place:
    """One url.

    own     of each node
    sent    what the hub has been told, id → entry
    timer   of the next time that it is told
    """

    __slots__ = ("own", "sent", "timer")

    def __init__(self) -> None:
        self.own: dict[Node, Mapping[Any, Any]] = {}
        self.sent: dict[Any, Any] = {}
        self.timer: asyncio.TimerHandle | None = None

    def differing(self) -> list[tuple[tuple[int, int], bytes]]:
        """Give what the hub is to be told, and take it as told."""
        now = {name: entry for own in self.own.values() for name, entry in own.items()}
        sent = self.sent
        pieces = [_piece(name, write(now[name], 0)) for name in now if now[name] is not sent.get(name)]
        pieces += [_piece(name, b"") for name in sent if name not in now]
        self.sent = now
        return [piece for piece in pieces if _fits(piece[1])]


def _piece(name: Any, entry: bytes) -> tuple[tuple[int, int], bytes]:
    written = write(name, 0)
    return (len(written), len(entry)), written + entry


def _fits(piece: bytes) -> bool:
    if len(piece) <= MOST_OF_MEMBER:
        return True
    logger.error("a member is not listed elsewhere: expected at most %d bytes, got %d", MOST_OF_MEMBER, len(piece))
    return False


def members_of(body: bytes) -> list[list[Any]]:
    """Give id and entry of each member, of which the hub has said `body`."""
    try:
        return json.loads(body)  # type: ignore[no-any-return]
    except RecursionError:
        logger.error("cannot read who is there: it is too deep")
        return []
