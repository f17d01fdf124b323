"""What each worker has counted → one page for all: what they count is added up, what they measure has their number.

A counter never falls: what a worker had counted that is gone stays in the sums. Of one that dies that is what it said
last; one that ends says it at its end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import PROCESS_COLLECTOR, CollectorRegistry
from prometheus_client.metrics_core import Metric

from aiorest_ws.workers.channel import Channel

__all__ = ("Scrapes", "answer_scrapes", "scraped")

_PATIENCE = 1.0  # seconds in which workers say what they have counted; who does not is left out
_ADDED_UP = frozenset(("counter", "histogram", "summary", "gaugehistogram"))
_OURS = "aiorest_ws_"
_CREATED = "_created"  # end of the name of a sample that is a time

Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]


class _Family:
    """One metric, and what is known of it."""

    def __init__(self, name: str, kind: str, documentation: str) -> None:
        self.name = name
        self.kind = kind
        self.documentation = documentation
        self.samples: Samples = {}

    @property
    def is_added_up(self) -> bool:
        return self.kind in _ADDED_UP or self.name.startswith(_OURS)

    @property
    def is_counted(self) -> bool:
        """Tell whether it stays when who has counted it is gone."""
        return self.kind in _ADDED_UP

    def add(self, samples: Samples, worker: str | None) -> None:
        """Add samples: to those that are there, or those of `worker` beside them."""
        for (name, labels), value in samples.items():
            key = name, labels if worker is None else (*labels, ("worker", worker))
            known = self.samples.get(key)
            if known is None:
                self.samples[key] = value
            else:
                self.samples[key] = min(known, value) if name.endswith(_CREATED) else known + value

    def metric(self) -> Metric:
        metric = Metric(self.name, self.documentation, self.kind)
        for (name, labels), value in self.samples.items():
            metric.add_sample(name, dict(labels), value)
        return metric


# In a worker


def scraped(registry: CollectorRegistry) -> bytes:
    """Give all that is in a registry, as JSON: name, type, documentation and samples of each."""
    families = [
        [each.name, each.type, each.documentation, [[s.name, sorted(s.labels.items()), s.value] for s in each.samples]]
        for each in registry.collect()
    ]
    return json.dumps(families).encode()  # the standard library's: a value may be no number


def answer_scrapes(channel: Channel, registry: CollectorRegistry) -> Callable[[], None]:
    """Say what has been counted whenever the supervisor asks; gives what says it once more, at the end."""

    def scrape(head: list[Any], body: bytes) -> None:
        (number,) = head
        channel.send("scraped", number, body=scraped(registry))

    channel.take("scrape", scrape)
    return lambda: channel.send("scraped", 0, body=scraped(registry))


# In the supervisor


def _read(body: bytes) -> list[_Family]:
    """Give what `scraped` has made. Raises ValueError."""
    try:
        return [_family(*each) for each in json.loads(body)]
    except TypeError as exc:
        raise ValueError(f"expected metrics: {exc}") from exc


def _family(name: Any, kind: Any, documentation: Any, samples: Any) -> _Family:
    family = _Family(str(name), str(kind), str(documentation))
    for of, labels, value in samples:
        family.samples[str(of), tuple((str(label), str(text)) for label, text in labels)] = float(value)
    return family


class Scrapes(CollectorRegistry):
    """Asks the workers of one supervisor, whenever it is asked itself: in a thread, by prometheus_client's server.

    loop    in which the channels are
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._channels: dict[int, tuple[str, Channel]] = {}  # by process: a worker has two, while one replaces another
        self._said: dict[int, list[_Family]] = {}
        self._gone: dict[str, _Family] = {}
        self._asked: dict[tuple[int, int], asyncio.Future[None]] = {}
        self._last = 0

    def add(self, process: int, worker: int, channel: Channel) -> None:
        """Ask a process of `worker`, until it is gone."""
        self._channels[process] = str(worker), channel

        def take(head: list[Any], body: bytes) -> None:
            (number,) = head
            self._said[process] = _read(body)
            future = self._asked.pop((process, number), None)
            if future is not None and not future.done():
                future.set_result(None)

        channel.take("scraped", take)
        channel.on_lost(lambda: self._forget(process))

    def _forget(self, process: int) -> None:
        """Keep what it had counted."""
        self._channels.pop(process, None)
        for family in self._said.pop(process, ()):
            if family.is_counted:
                self._gone.setdefault(family.name, _named(family)).add(family.samples, None)

    async def ask(self) -> set[int]:
        """Have all say what they have counted; gives the processes that have."""
        self._last += 1
        asked = {}
        for process, (_, channel) in self._channels.items():
            asked[process] = self._asked[process, self._last] = self._loop.create_future()
            channel.send("scrape", self._last)
        if asked:
            await asyncio.wait(asked.values(), timeout=_PATIENCE)
        for process in asked:
            self._asked.pop((process, self._last), None)
        return {process for process, future in asked.items() if future.done()}

    def collect(self) -> Iterator[Metric]:
        """Give the metrics of all, as they are now. Not in the loop itself, which would wait for itself."""
        yield from asyncio.run_coroutine_threadsafe(self._collected(), self._loop).result()

    async def _collected(self) -> list[Metric]:
        answered = await self.ask()
        families: dict[str, _Family] = {}
        for gone in self._gone.values():
            families.setdefault(gone.name, _named(gone)).add(gone.samples, None)
        for process, said in self._said.items():
            worker = self._channels[process][0]
            for family in said:
                if process in answered or family.is_counted:
                    whole = families.setdefault(family.name, _named(family))
                    whole.add(family.samples, None if family.is_added_up else worker)
        for metric in PROCESS_COLLECTOR.collect():  # of the supervisor itself
            own = families.setdefault(metric.name, _Family(metric.name, metric.type, metric.documentation))
            samples: Samples = {(s.name, tuple(sorted(s.labels.items()))): s.value for s in metric.samples}
            own.add(samples, None if own.is_added_up else "supervisor")
        up = Metric("aiorest_ws_workers", "Workers that say what they have counted.", "gauge")
        up.add_sample(up.name, {}, len(answered))
        return [up, *(family.metric() for family in families.values())]

    def restricted_registry(self, names: Iterable[str]) -> Any:
        return _Some(self, frozenset(names))


class _Some(CollectorRegistry):
    """Those of some names, of a registry."""

    def __init__(self, whole: CollectorRegistry, names: frozenset[str]) -> None:
        super().__init__()
        self._whole = whole
        self._names = names

    def collect(self) -> Iterator[Metric]:
        for metric in self._whole.collect():
            samples = [sample for sample in metric.samples if sample.name in self._names]
            if samples:
                some = Metric(metric.name, metric.documentation, metric.type)
                some.samples = samples
                yield some


def _named(family: _Family) -> _Family:
    """Give a family of that name without samples."""
    return _Family(family.name, family.kind, family.documentation)
