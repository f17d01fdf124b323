"""The broker of one process: all in memory, and nothing waits."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

from aiorest_ws.realtime.brokers import Item, Node, Retention
from aiorest_ws.realtime.versions import Mark, new_epoch

__all__ = ("MemoryBroker",)


class _Record:
    """What is known of one url, while somebody subscribes or items of it are kept."""

    __slots__ = ("epoch", "items", "nodes", "number", "size")

    def __init__(self) -> None:
        self.epoch = new_epoch()
        self.number = 0
        self.nodes: list[Node] = []
        self.items: deque[tuple[float, Item]] = deque()  # with the time at which each goes
        self.size = 0

    @property
    def mark(self) -> Mark:
        return Mark(self.epoch, self.number)

    def put_out(self) -> int:
        """Put out the oldest item; gives its size."""
        _, item = self.items.popleft()
        self.size -= item.size
        return item.size


class MemoryBroker:
    """Numbers, epochs and logs of the urls of this process.

    most     bytes of all logs together: beyond them the items of the oldest topic go first
    clock    gives seconds
    """

    def __init__(self, most: int | None = 64 * 1024 * 1024, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.clock = clock
        self._records: dict[str, _Record] = {}
        self._logs: OrderedDict[str, _Record] = OrderedDict()  # those with items, the one published to last at the end
        self._size = 0
        self._present: dict[str, dict[Node, dict[Any, Any]]] = {}

    def publish(self, url: str, item: Item, retention: Retention) -> Mark:
        record = self._record(url)
        record.number += 1
        item.number = record.number
        record.items.append((self.clock() + retention.seconds, item))
        record.size += item.size
        self._size += item.size
        self._logs[url] = record
        self._logs.move_to_end(url)
        self._keep_within(record, retention)
        for node in tuple(record.nodes):
            node.on_item(url, item)
        return record.mark

    def _keep_within(self, record: _Record, retention: Retention) -> None:
        now = self.clock()
        items = record.items
        while len(items) > 1 and (len(items) > retention.items or record.size > retention.size or items[0][0] <= now):
            self._size -= record.put_out()
        while self.most is not None and self._size > self.most and self._logs:
            url, oldest = next(iter(self._logs.items()))
            if oldest is record and len(record.items) == 1:
                break  # the newest item always stays
            self._size -= oldest.put_out()
            if not oldest.items:
                self._forget(url, oldest)

    def changed(self, url: str, value: Item | None = None) -> Mark:
        record = self._records.get(url)
        if record is None:
            return Mark(new_epoch(), 1)  # nobody has asked, and nobody will be told: nothing is kept
        record.number += 1
        for node in tuple(record.nodes):
            node.on_changed(url, record.mark, value)
        return record.mark

    def recheck(self, url: str | None) -> None:
        records = self._records.values() if url is None else filter(None, [self._records.get(url)])
        for node in dict.fromkeys(node for record in records for node in record.nodes):
            node.on_recheck(url)

    def subscribe(self, url: str, node: Node) -> Mark:
        record = self._record(url)
        if node not in record.nodes:
            record.nodes.append(node)
        return record.mark

    def unsubscribe(self, url: str, node: Node) -> None:
        record = self._records.get(url)
        if record is not None and node in record.nodes:
            record.nodes.remove(node)
            self._forget(url, record)

    def history(self, url: str, since: Mark) -> list[Item] | None:
        record = self._records.get(url)
        if record is None or since.epoch != record.epoch or not 0 <= since.number <= record.number:
            return None
        now = self.clock()
        while record.items and record.items[0][0] <= now:
            self._size -= record.put_out()
        missed = record.number - since.number
        if missed > len(record.items):
            return None
        first = len(record.items) - missed
        return [record.items[at][1] for at in range(first, len(record.items))]

    def members(self, url: str, node: Node | None = None, own: Mapping[Any, Any] | None = None) -> dict[Any, Any]:
        if node is not None:
            present = self._present.setdefault(url, {})
            present[node] = dict(own or {})
            if not own:
                del present[node]
            if not present:
                del self._present[url]
        return {name: entry for own in self._present.get(url, {}).values() for name, entry in own.items()}

    def _record(self, url: str) -> _Record:
        record = self._records.get(url)
        if record is None:
            self._drop_old()
            record = self._records[url] = _Record()
        return record

    def _forget(self, url: str, record: _Record) -> None:
        """Let go of what nobody needs."""
        if not record.items:
            self._logs.pop(url, None)
            if not record.nodes:
                self._records.pop(url, None)

    def _drop_old(self) -> None:
        """Let go of the items of logs whose time is over; looked at while there are new urls, the oldest first."""
        now = self.clock()
        for url in list(self._logs)[:2]:
            record = self._logs[url]
            while record.items and record.items[0][0] <= now:
                self._size -= record.put_out()
            self._forget(url, record)
