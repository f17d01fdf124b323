"""The broker of one process: all in memory, and nothing waits."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

from aiorest_ws.realtime.brokers import Item, Node, Retention
from aiorest_ws.realtime.versions import Mark, new_epoch

__all__ = ("MOST_HISTORY", "MemoryBroker")

MOST_HISTORY = 64 * 1024 * 1024  # bytes


class _Record:
    """What is known of one url, while somebody subscribes or items of it are kept.

    items     with the time at which each came, the oldest first
    size      bytes of them
    seconds   how long they are kept
    turn      of all items of all urls, the how-manieth the newest is
    """

    __slots__ = ("epoch", "items", "nodes", "number", "seconds", "size", "turn", "url")

    def __init__(self, url: str) -> None:
        self.url = url
        self.epoch = new_epoch()
        self.number = 0
        self.nodes: list[Node] = []
        self.items: deque[tuple[float, Item]] = deque()
        self.size = 0
        self.seconds = 0.0
        self.turn = 0

    @property
    def mark(self) -> Mark:
        return Mark(self.epoch, self.number)


class MemoryBroker:
    """Numbers, epochs and logs of the urls of this process.

    most     bytes of all logs together: beyond them the items of the topic go first that was published to least
             recently; the newest item of all stays
    clock    gives seconds
    """

    is_local = True

    def __init__(self, most: int | None = MOST_HISTORY, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.clock = clock
        self._records: dict[str, _Record] = {}
        # Those with items, by how long they are kept: in each, the one that was published to last is at the end, and
        # what is over is at the beginning.
        self._logs: dict[float, OrderedDict[str, _Record]] = {}
        self._size = 0
        self._turns = 0
        self._present: dict[str, dict[Node, Mapping[Any, Any]]] = {}
        self._to_tell: deque[tuple[_Record, Node, Callable[[Node], None]]] = deque()
        self._is_telling = False

    @property
    def size(self) -> int:
        """Bytes that the items of all logs take, about."""
        return self._size

    def __len__(self) -> int:
        """Give the number of urls of which anything is known."""
        return len(self._records.keys() | self._present.keys())

    async def start(self) -> None:
        """Be ready, as it always is."""

    async def stop(self) -> None:
        """Keep everything: the application may start again."""

    def publish(self, url: str, item: Item, retention: Retention) -> Mark:
        now = self._sweep()
        record = self._record(url)
        record.number += 1
        item.number = record.number
        mark = record.mark
        record.items.append((now, item))
        record.size += item.size
        self._size += item.size
        self._put_last(record, retention.seconds)
        self._keep_within(record, retention, now)
        self._tell(record, lambda node: node.on_item(url, mark, item))
        return mark

    def changed(self, url: str, value: Item | None = None) -> Mark:
        record = self._records.get(url)
        if record is None:
            return Mark(new_epoch(), 1)  # nobody has asked, and nobody will be told: nothing is kept
        record.number += 1
        mark = record.mark
        self._tell(record, lambda node: node.on_changed(url, mark, value))
        return mark

    def recheck(self, url: str | None) -> None:
        if url is not None:
            records = [self._records[url]] if url in self._records else []
        else:
            records = list(self._records.values())
        for node in dict.fromkeys(node for record in records for node in record.nodes):
            node.on_recheck(url)

    def subscribe(self, url: str, node: Node) -> Mark:
        self._sweep()
        record = self._record(url)
        if node not in record.nodes:
            record.nodes.append(node)
        return record.mark

    def unsubscribe(self, url: str, node: Node) -> None:
        self._sweep()
        record = self._records.get(url)
        if record is not None and node in record.nodes:
            record.nodes.remove(node)
            self._forget_if_unused(record)

    def history(self, url: str, since: Mark) -> list[Item] | None:
        now = self._sweep()
        record = self._records.get(url)
        if record is None or since.epoch != record.epoch or not 0 <= since.number <= record.number:
            return None
        self._put_out_old(record, now)
        missed = record.number - since.number
        first = len(record.items) - missed
        if first < 0:
            return None
        return [record.items[at][1] for at in range(first, len(record.items))]

    def members(self, url: str, node: Node | None = None, own: Mapping[Any, Any] | None = None) -> dict[Any, Any]:
        if node is not None:
            present = self._present.setdefault(url, {})
            if own:
                present[node] = own
            else:
                present.pop(node, None)
            if not present:
                del self._present[url]
            return {}
        return {name: entry for own in self._present.get(url, {}).values() for name, entry in own.items()}

    # Who is told

    def _tell(self, record: _Record, call: Callable[[Node], None]) -> None:
        """Tell the nodes of a url, behind what they are still to be told: one may publish while it is told."""
        self._to_tell.extend((record, node, call) for node in record.nodes)
        if self._is_telling:
            return
        self._is_telling = True
        try:
            while self._to_tell:
                record, node, call = self._to_tell.popleft()
                if node in record.nodes:
                    call(node)
        finally:
            self._is_telling = False

    # What is kept

    def _record(self, url: str) -> _Record:
        record = self._records.get(url)
        if record is None:
            record = self._records[url] = _Record(url)
        return record

    def _put_last(self, record: _Record, seconds: float) -> None:
        if record.seconds != seconds:
            self._take_out(record)
        self._turns += 1
        record.seconds, record.turn = seconds, self._turns
        logs = self._logs.setdefault(seconds, OrderedDict())
        logs[record.url] = record
        logs.move_to_end(record.url)

    def _take_out(self, record: _Record) -> None:
        """Have it among the logs no longer."""
        logs = self._logs.get(record.seconds)
        if logs is not None and logs.pop(record.url, None) is not None and not logs:
            del self._logs[record.seconds]

    def _keep_within(self, record: _Record, retention: Retention, now: float) -> None:
        self._put_out_old(record, now)
        while len(record.items) > 1 and (len(record.items) > retention.items or record.size > retention.size):
            self._put_out(record)
        while self.most is not None and self._size > self.most:
            oldest = min((next(iter(logs.values())) for logs in self._logs.values()), key=_turn)
            if len(oldest.items) == 1 and oldest is record:
                break
            self._put_out(oldest)
            self._forget_if_unused(oldest)

    def _put_out(self, record: _Record) -> None:
        """Put out the oldest item."""
        size = record.items.popleft()[1].size
        record.size -= size
        self._size -= size

    def _put_out_old(self, record: _Record, now: float) -> None:
        while record.items and record.items[0][0] + record.seconds <= now:
            self._put_out(record)

    def _forget_if_unused(self, record: _Record) -> None:
        if not record.items:
            self._take_out(record)
            if not record.nodes and self._records.get(record.url) is record:
                del self._records[record.url]

    def _sweep(self) -> float:
        """Let go of logs whose time is over; give the time. Each is looked at once, when it is."""
        now = self.clock()
        for logs in tuple(self._logs.values()):
            while logs:
                record = next(iter(logs.values()))
                if record.items[-1][0] + record.seconds > now:
                    break
                self._put_out_old(record, now)
                self._forget_if_unused(record)
        return now


def _turn(record: _Record) -> int:
    return record.turn
