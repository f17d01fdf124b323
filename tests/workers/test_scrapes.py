"""Metrics of many workers on one page: sums that never fall, measures by worker, nobody waits for one that hangs."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from aiorest_ws import Application, SimpleRouter
from aiorest_ws.metrics import Metrics
from aiorest_ws.testing import AsyncTestClient
from aiorest_ws.workers import scrapes
from aiorest_ws.workers.channel import Channel, open_channel
from aiorest_ws.workers.scrapes import Scrapes, answer_scrapes
from tests.kit.systems import needs_posix
from tests.serving import asynchronous, until

pytestmark = needs_posix


class Worker:
    """What is at the other end of a channel."""

    def __init__(self, channel: Channel, registry: CollectorRegistry) -> None:
        self.channel = channel
        self.registry = registry
        self.say_last = answer_scrapes(channel, registry)


class Kit:
    """A supervisor's page, and workers."""

    def __init__(self) -> None:
        self.scrapes = Scrapes(asyncio.get_running_loop())
        self.channels: list[Channel] = []
        self.processes = 0

    async def start(self, number: int, registry: CollectorRegistry | None = None) -> Worker:
        ours, theirs = socket.socketpair()
        channel, other = await open_channel(ours), await open_channel(theirs)
        self.channels += [channel, other]
        self.processes += 1
        self.scrapes.add(self.processes, number, channel)
        return Worker(other, CollectorRegistry() if registry is None else registry)

    async def end(self, worker: Worker) -> None:
        left = len(self.scrapes._channels) - 1
        worker.channel.close()
        await until(lambda: len(self.scrapes._channels) == left)

    async def page(self, *names: str) -> dict[str, float]:
        """Give what is on the page, sample by sample, as Prometheus reads it."""
        registry = self.scrapes.restricted_registry(names) if names else self.scrapes
        text = (await asyncio.to_thread(generate_latest, registry)).decode()
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f"{label}={value}" for label, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found


@asynccontextmanager
async def kit() -> AsyncIterator[Kit]:
    made = Kit()
    try:
        yield made
    finally:
        for channel in made.channels:
            channel.abort()


@asynchronous
async def test_what_is_counted_is_added_up_and_what_is_measured_has_its_worker() -> None:
    async with kit() as made:
        for number in (1, 2):
            worker = await made.start(number)
            Counter("jobs", "Jobs.", ["kind"], registry=worker.registry).labels("big").inc(number)
            Gauge("heat", "Heat.", registry=worker.registry).set(number * 10)
            Histogram("wait", "Wait.", buckets=(1, 5), registry=worker.registry).observe(number)
        page = await made.page()
        assert page["jobs_total{kind=big}"] == 3
        assert (page["heat{worker=1}"], page["heat{worker=2}"]) == (10, 20)
        assert "heat" not in page
        assert (page["wait_bucket{le=1.0}"], page["wait_bucket{le=5.0}"], page["wait_bucket{le=+Inf}"]) == (1, 2, 2)
        assert (page["wait_count"], page["wait_sum"]) == (2, 3)
        assert page["aiorest_ws_workers"] == 2
        if sys.platform == "linux":
            assert page["process_start_time_seconds{worker=supervisor}"] > 0


@asynchronous
async def test_what_connections_and_subscriptions_are_there_is_added_up() -> None:
    async with kit() as made:
        app = Application(SimpleRouter(), metrics=Metrics())
        async with AsyncTestClient(app) as client, client.connect():
            counted = client.connection.factory.metrics
            assert counted is not None
            for number in (1, 2):
                await made.start(number, counted.registry)
            page = await made.page()
        assert page["aiorest_ws_connections"] == 4
        assert page["aiorest_ws_subscriptions"] == 0


@asynchronous
@pytest.mark.parametrize("says_it", [True, False])
async def test_a_counter_does_not_fall_when_its_worker_is_gone(says_it: bool) -> None:
    async with kit() as made:
        first, second = await made.start(1), await made.start(2)
        counters = [Counter("jobs", "Jobs.", registry=each.registry) for each in (first, second)]
        heat = Gauge("heat", "Heat.", registry=first.registry)
        heat.set(5)
        for counter in counters:
            counter.inc(2)
        assert (await made.page())["jobs_total"] == 4
        counters[0].inc(10)
        if says_it:
            first.say_last()
        await made.end(first)
        page = await made.page()
        assert page["jobs_total"] == (14 if says_it else 4)
        assert not [name for name in page if name.startswith("heat")]
        again = await made.start(1)
        Counter("jobs", "Jobs.", registry=again.registry).inc(100)
        assert (await made.page())["jobs_total"] == (114 if says_it else 104)


@asynchronous
async def test_one_that_does_not_answer_is_waited_for_no_longer(monkeypatch: Any) -> None:
    monkeypatch.setattr(scrapes, "_PATIENCE", 0.05)
    async with kit() as made:
        first, second = await made.start(1), await made.start(2)
        for each in (first, second):
            Counter("jobs", "Jobs.", registry=each.registry).inc(1)
        Gauge("heat", "Heat.", registry=first.registry).set(5)
        assert (await made.page())["jobs_total"] == 2
        first.channel._handlers["scrape"] = lambda head, body: None
        page = await made.page()
        assert page["jobs_total"] == 2  # with what it had said before
        assert page["aiorest_ws_workers"] == 1
        assert not [name for name in page if name.startswith("heat")]  # which nobody knows now


@asynchronous
async def test_a_page_may_have_some_names_only() -> None:
    async with kit() as made:
        worker = await made.start(1)
        for name in ("jobs", "tasks"):
            Counter(name, "Some.", registry=worker.registry).inc(1)
        assert await made.page("jobs_total") == {"jobs_total": 1}


@asynchronous
@pytest.mark.parametrize(
    "said", [b"{", b"7", b"[1]", b"[[1,2,3]]", b'[["a","b","c",[["n",[["l"]],1]]]]', b'[["a","b","c",[["n",[],"x"]]]]']
)
async def test_what_is_no_metrics_closes_the_channel(said: bytes, caplog: Any) -> None:
    async with kit() as made:
        worker = await made.start(1)
        worker.channel.send("scraped", 0, body=said)
        await until(lambda: worker.channel.is_closed)
        assert "is not understood" in caplog.text
        assert (await made.page())["aiorest_ws_workers"] == 0
