"""The broker of many machines, at a real server: what breaks, and that nobody misses anything without being told."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aiorest_ws import SimpleRouter
from aiorest_ws.exceptions import BrokerUnavailable, ImproperlyConfigured
from aiorest_ws.realtime.brokers import Item, Retention
from aiorest_ws.realtime.brokers.redis import RedisBroker
from aiorest_ws.realtime.live import Live
from aiorest_ws.realtime.versions import Mark
from tests.kit.brokers import KEPT, Told
from tests.kit.cuts import Line
from tests.kit.pages import ROOT
from tests.kit.systems import needs_posix
from tests.kit.valkeys import RedisKit, Valkey, clustered, proxied, running
from tests.serving import TIMEOUT, Client, asynchronous, serving, turn_over, until

pytestmark = needs_posix

LOG, OTHER, STATE = "/rooms/5/messages", "/rooms/6/messages", "/orders/7"


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    """Breaks are logged; here they are meant."""
    logger = logging.getLogger("aiorest_ws")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


@asynccontextmanager
async def through(valkey: Valkey, **options: Any) -> AsyncIterator[tuple[RedisKit, Line]]:
    """Have a broker behind a line."""
    async with proxied(valkey) as (line, url), RedisKit(valkey, url, **options) as kit:
        yield kit, line


class Follower(Told):
    """A node that follows a log as a place does: counts, and gets what is missing, or takes note that it is lost."""

    def __init__(self, kit: RedisKit, broker: RedisBroker | None = None) -> None:
        super().__init__()
        self.broker = broker or kit.broker
        self.mark = Mark("", 0)
        self.got: list[bytes] = []
        self.losses = 0
        self._filling: asyncio.Task[None] | None = None
        self._goal = Mark("", 0)

    async def follow(self, url: str) -> None:
        self.mark = await self.broker.subscribe(url, self)

    def on_item(self, url: str, mark: Mark, item: Item) -> None:
        super().on_item(url, mark, item)
        if self._filling is not None or (mark.number <= self.mark.number and mark.epoch == self.mark.epoch):
            self._goal = mark
        elif mark == Mark(self.mark.epoch, self.mark.number + 1):
            self.mark = mark
            self.got.append(item.json)
        else:
            self.on_return(url, mark)

    def on_return(self, url: str, mark: Mark) -> None:
        super().on_return(url, mark)
        self._goal = mark
        if self._filling is None and mark != self.mark:
            self._filling = asyncio.create_task(self._fill(url))

    async def _fill(self, url: str) -> None:
        while self.mark != self._goal:
            try:
                items = await self.broker.history(url, self.mark)
            except BrokerUnavailable:
                await asyncio.sleep(0)
                continue
            if items is None:
                self.losses += 1
                self.mark = self._goal
                break
            self.got += [item.json for item in items]
            self.mark = Mark(self.mark.epoch, self.mark.number + len(items))
        self._filling = None

    @property
    def is_caught(self) -> bool:
        return self._filling is None


async def published(broker: RedisBroker, url: str, json: bytes) -> Mark:
    """Publish as soon as that is possible."""
    while True:
        try:
            mark: Mark = await broker.publish(url, Item(0, json), KEPT)
            return mark
        except BrokerUnavailable:
            await asyncio.sleep(0)


# The server dies


@asynchronous
async def test_a_server_that_is_killed_under_load_fails_publications_and_begins_another_epoch() -> None:
    with running() as valkey:
        async with RedisKit(valkey) as kit:
            follower = Follower(kit, await kit.another())
            await follower.follow(LOG)
            outcomes: list[Mark | None] = []
            is_over = asyncio.Event()

            async def load() -> None:
                number = 0
                while not is_over.is_set():
                    number += 1
                    try:
                        outcomes.append(await kit.broker.publish(LOG, Item(0, b"%d" % number), KEPT))
                    except BrokerUnavailable:
                        outcomes.append(None)
                        await asyncio.sleep(0)

            loads = [asyncio.create_task(load()) for _ in range(4)]
            await until(lambda: len(outcomes) > 200)
            await asyncio.to_thread(valkey.kill)
            await until(lambda: None in outcomes)
            before = outcomes[0]
            assert before is not None
            await asyncio.to_thread(valkey.start)
            await until(lambda: outcomes[-1] is not None and outcomes[-1].epoch != before.epoch)
            await until(lambda: follower.mark.epoch not in ("", before.epoch))
            is_over.set()
            await asyncio.gather(*loads)
            await kit.settle()
            await until(lambda: follower.is_caught)
            # All of each epoch, or one loss that is known.
            epochs = list(dict.fromkeys(mark.epoch for mark in outcomes if mark is not None))
            assert len(epochs) == 2
            assert follower.losses == 1
            for epoch in epochs:
                numbers = sorted(mark.number for mark in outcomes if mark is not None and mark.epoch == epoch)
                assert len(set(numbers)) == len(numbers)
            told = [mark.number for _, mark, _ in follower.items if mark.epoch == epochs[0]]
            assert told == list(range(1, len(told) + 1))


@asynchronous
async def test_a_server_that_is_back_hears_every_channel_again_though_it_is_lost_twice() -> None:
    with running() as valkey:
        async with RedisKit(valkey) as kit:
            node = Told()
            urls = [f"/logs/{number}" for number in range(1200)]
            await asyncio.gather(*(kit.broker.subscribe(url, node) for url in urls))
            for _ in range(2):
                valkey.do("CLIENT", "KILL", "TYPE", "pubsub")
                valkey.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await until(lambda: {url for url, _ in node.returns} == set(urls))
            assert len(valkey.do("PUBSUB", "CHANNELS", "*")) == len(urls) + 1
            await asyncio.gather(*(published(kit.broker, url, b"1") for url in urls))
            await kit.settle()
            assert [url for url, _, _ in node.items] == urls


@asynchronous
async def test_a_server_that_keeps_its_data_begins_another_epoch_all_the_same() -> None:
    """It may have lost the last second, and given the numbers of it again."""
    with running(appendonly="yes", appendfsync="always") as valkey:
        async with RedisKit(valkey) as kit:
            node = Told()
            await kit.broker.subscribe(LOG, node)
            old = await kit.publish(LOG, b"1", b"2")
            await asyncio.to_thread(valkey.kill)
            await asyncio.to_thread(valkey.start)
            await until(lambda: bool(node.returns))
            ((url, mark),) = node.returns
            assert url == LOG
            assert mark.epoch != old.epoch
            assert await kit.history(LOG, old) is None
            assert await published(kit.broker, LOG, b"3") == Mark(mark.epoch, 1)


@asynchronous
async def test_a_server_that_is_away_fails_at_once_and_is_tried_again_for_ever() -> None:
    with running() as valkey:
        tries: list[int] = []

        def wait(failures: int) -> float:
            tries.append(failures)
            return 0.0

        async with RedisKit(valkey, wait=wait) as kit:
            node = Told()
            await kit.broker.subscribe(STATE, node)
            await asyncio.to_thread(valkey.kill)
            await until(lambda: max(tries, default=0) > 50)
            for call in (
                lambda: kit.broker.publish(LOG, Item(0, b"1"), KEPT),
                lambda: kit.broker.changed(STATE),
                lambda: kit.broker.recheck(STATE),
                lambda: kit.broker.history(LOG, Mark("", 0)),
                lambda: kit.broker.subscribe(LOG, node),
                lambda: kit.broker.members(LOG),
            ):
                with pytest.raises(BrokerUnavailable):
                    await call()
            assert node.rechecks == [STATE], "this process is told all the same"
            await asyncio.to_thread(valkey.start)
            await until(lambda: bool(node.returns))
            assert node.rechecks == [STATE, None], "whose guards were to be asked meanwhile is not known"
            assert await kit.do("subscribe", LOG, node)


@asynchronous
async def test_what_changed_while_nobody_could_be_told_is_told_once_the_server_is_back(valkey: Valkey) -> None:
    async with RedisKit(valkey, wait=lambda _: 1000.0) as kit:
        node = Told()
        await (await kit.another()).subscribe(STATE, node)
        line = kit.broker.servers.of(b"").line
        valkey.do("CLIENT", "KILL", "ID", await line.ask("CLIENT", "ID"))
        await until(lambda: not line.is_up)
        await turn_over()  # it waits to try again
        asked = kit.broker.changed(STATE)
        kit.broker.timers.advance(1.1)
        with pytest.raises(BrokerUnavailable):
            await asked
        assert not node.changes
        kit.broker.timers.advance(2000.0)
        await until(lambda: len(node.changes) == 1)


@asynchronous
async def test_fail_over_to_an_empty_server_begins_another_epoch(valkey: Valkey) -> None:
    with running() as spare:
        async with through(valkey) as (kit, line):
            node = Told()
            await kit.broker.subscribe(LOG, node)
            old = await kit.publish(LOG, b"1", b"2")
            line.target = spare.path
            line.cut()
            await until(lambda: bool(node.returns))
            ((_, mark),) = node.returns
            assert (mark.epoch != old.epoch, mark.number) == (True, 0)
            assert await published(kit.broker, LOG, b"3") == Mark(mark.epoch, 1)


@asynchronous
async def test_an_ear_that_is_left_at_the_server_before_a_fail_over_is_led_to_the_other(valkey: Valkey) -> None:
    with running() as spare:
        async with through(valkey) as (kit, line):
            node = Told()
            await kit.broker.subscribe(LOG, node)
            line.target = spare.path
            valkey.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # the ear of it stays
            await until(lambda: bool(node.returns))
            await published(kit.broker, LOG, b"1")
            await kit.settle()
            assert node.said == [b"1"]


# Connections


@asynchronous
async def test_nothing_is_lost_nor_told_twice_when_the_ear_is_killed(valkey: Valkey) -> None:
    async with RedisKit(valkey) as kit:
        follower = Follower(kit)
        await follower.follow(LOG)
        published_all = []
        for number in range(300):
            if number % 50 == 25:
                await until(lambda: kit.broker.servers.of(b"").ear.is_caught)
                assert valkey.do("CLIENT", "KILL", "TYPE", "pubsub") == 1
            published_all.append(b"%d" % number)
            await kit.broker.publish(LOG, Item(0, published_all[-1]), Retention(1000, 300.0, 1 << 20))
        await until(lambda: follower.is_caught and len(follower.got) == 300)
        assert follower.got == published_all
        assert follower.losses == 0
        assert follower.returns, "there was a break"


@asynchronous
async def test_an_ear_that_is_open_and_deaf_is_found_by_its_silence(valkey: Valkey) -> None:
    async with through(valkey, silence=30.0) as (kit, line):
        follower = Follower(kit)
        await follower.follow(LOG)
        publisher = await kit.another(valkey.url)
        line.swallow()
        await publisher.publish(LOG, Item(0, b"1"), KEPT)
        count = line.connections
        kit.broker.timers.advance(29.0)
        assert line.connections == count
        kit.broker.timers.advance(1.5)  # it is asked
        line.flow()  # what comes now comes through, what was swallowed stays so
        kit.broker.timers.advance(1.5)  # it has not answered
        await until(lambda: follower.got == [b"1"])
        assert follower.losses == 0


@asynchronous
async def test_an_ear_that_hears_is_left_alone(valkey: Valkey) -> None:
    async with through(valkey, silence=30.0) as (kit, line):
        await kit.broker.subscribe(LOG, Told())
        count = line.connections
        for _ in range(5):
            kit.broker.timers.advance(31.0)
            await kit.settle()
        assert line.connections == count


@asynchronous
async def test_a_line_that_does_not_answer_fails_what_waits_and_is_replaced(valkey: Valkey) -> None:
    async with through(valkey) as (kit, line):
        line.swallow()
        asked = [kit.broker.publish(LOG, Item(0, b"1"), KEPT), kit.broker.changed(STATE)]
        await turn_over()  # they are sent
        kit.broker.timers.advance(1.1)
        for each in asked:
            with pytest.raises(BrokerUnavailable, match="may have been done"):
                await each
        line.flow()
        await published(kit.broker, LOG, b"2")


@asynchronous
async def test_a_paused_server_fails_publications_in_time_and_is_there_again_after(valkey: Valkey) -> None:
    async with RedisKit(valkey, timeout=0.05) as kit:
        node = Told()
        await kit.broker.subscribe(LOG, node)
        valkey.do("CLIENT", "PAUSE", "400", "ALL")
        with pytest.raises(BrokerUnavailable):
            await kit.broker.publish(LOG, Item(0, b"1"), KEPT)
        mark = await published(kit.broker, LOG, b"2")
        await until(lambda: bool(node.items or node.returns))
        assert await kit.history(LOG, Mark(mark.epoch, mark.number - 1)) == [b"2"]


@asynchronous
async def test_stopping_waits_for_nobody(valkey: Valkey) -> None:
    async with through(valkey, timeout=0.05) as (kit, line):
        await kit.broker.subscribe(LOG, Told())
        line.swallow()
        asked = kit.broker.publish(LOG, Item(0, b"1"), KEPT)
        await kit.broker.stop()
        with pytest.raises(BrokerUnavailable):
            await asked
        with pytest.raises(BrokerUnavailable):
            kit.broker.publish(LOG, Item(0, b"1"), KEPT)
        await kit.broker.stop()


# The data


@asynchronous
async def test_all_that_is_kept_ends_within_a_day_or_with_its_log(valkey: Valkey) -> None:
    async with RedisKit(valkey) as kit:
        node = Told()
        await kit.broker.subscribe(STATE, node)
        await kit.do("changed", STATE)
        await kit.publish(LOG, b"1")
        await kit.publish(OTHER, b"1", kept=Retention(100, 1_000_000.0, 1024))
        await kit.do("members", LOG, node, {1: {"id": 1}})
        await kit.do("members", LOG)
        day = 24 * 60 * 60 * 1000
        ends = {key.decode(): valkey.do("PTTL", key) for key in valkey.do("KEYS", "*")}
        assert len(ends) == 8
        assert all(0 < end <= day for name, end in ends.items() if OTHER not in name)
        assert 0 < ends[f"aw:{{{LOG}}}:s"] <= 300_000
        for kind in "ms":
            assert day < ends[f"aw:{{{OTHER}}}:{kind}"] <= 1_000_000_000


@asynchronous
async def test_who_subscribes_has_a_url_remembered(valkey: Valkey) -> None:
    async with RedisKit(valkey) as kit:
        mark = await kit.do("subscribe", STATE, Told())
        valkey.do("PEXPIRE", f"aw:{{{STATE}}}:m", 60_000)
        kit.broker.timers.advance(3601)
        await until(lambda: valkey.do("PTTL", f"aw:{{{STATE}}}:m") > 60_000)
        assert await kit.do("changed", STATE) == Mark(mark.epoch, mark.number + 1)


@asynchronous
async def test_an_ear_that_misses_what_was_said_of_one_url_is_found_when_that_is_renewed(valkey: Valkey) -> None:
    async with RedisKit(valkey) as kit:
        node = Told()
        await kit.do("subscribe", STATE, node)
        valkey.do("HINCRBY", f"aw:{{{STATE}}}:m", "n", 5)  # without a word
        kit.broker.timers.advance(3601)
        await until(lambda: bool(node.returns))
        assert [mark.number for _, mark in node.returns] == [5]


@pytest.mark.parametrize("kinds", ["m", "s", "ms"])
@asynchronous
async def test_what_the_server_lets_go_of_is_of_another_epoch_or_a_gap_that_is_known(
    kinds: str, valkey: Valkey
) -> None:
    async with RedisKit(valkey) as kit:
        node = Told()
        await kit.broker.subscribe(LOG, node)
        old = await kit.publish(LOG, b"1", b"2")
        valkey.do("DEL", *(f"aw:{{{LOG}}}:{kind}" for kind in kinds))
        new = await kit.publish(LOG, b"3")
        await kit.settle()
        assert await kit.history(LOG, old) == (None if "m" in kinds else [b"3"])
        assert await kit.history(LOG, Mark(old.epoch, 1)) is None
        assert (new.epoch == old.epoch) == ("m" not in kinds)
        assert node.items[-1][1:] == (new, b"3")
        assert await kit.history(LOG, Mark(new.epoch, new.number - 1)) == [b"3"]


@asynchronous
async def test_a_flush_is_survived_by_states_and_scripts(valkey: Valkey) -> None:
    async with RedisKit(valkey) as kit:
        node = Told()
        old = await kit.do("subscribe", STATE, node)
        valkey.do("FLUSHALL")
        valkey.do("SCRIPT", "FLUSH")
        marks = [await kit.do("changed", STATE), await kit.do("changed", STATE)]
        await kit.settle()
        assert [mark for _, mark, _ in node.changes] == marks
        assert marks[0].epoch != old.epoch
        assert marks[1] == Mark(marks[0].epoch, marks[0].number + 1)


@asynchronous
async def test_numbers_that_go_back_are_of_another_epoch_for_all(valkey: Valkey) -> None:
    async with RedisKit(valkey) as kit:
        one, other = Told(), Told()
        await kit.broker.subscribe(LOG, one)
        await (await kit.another()).subscribe(LOG, other)
        old = await kit.publish(LOG, b"1", b"2", b"3")
        await kit.settle()
        valkey.do("HSET", f"aw:{{{LOG}}}:m", "n", 0)  # as after a fail-over to a replica that lags behind
        valkey.do("DEL", f"aw:{{{LOG}}}:s")
        mark = await kit.publish(LOG, b"4")
        assert mark == Mark(old.epoch, 1), "it cannot know"
        await until(lambda: bool(one.returns and other.returns))
        assert one.returns[-1][1] == other.returns[-1][1]
        assert one.returns[-1][1].epoch != old.epoch
        assert await kit.history(LOG, Mark(old.epoch, 0)) is None


@asynchronous
async def test_a_full_server_refuses_items_loudly_and_changes_are_told() -> None:
    with running() as valkey:
        async with RedisKit(valkey) as kit:
            node = Told()
            await kit.broker.subscribe(STATE, node)
            first = await kit.publish(LOG, b"1")
            valkey.do("CONFIG", "SET", "maxmemory", "1")
            with pytest.raises(BrokerUnavailable, match="refuses") as caught:
                await kit.publish(LOG, b"2")
            assert "maxmemory" in caught.value.__notes__[0]
            mark = await kit.do("changed", STATE)
            await kit.settle()
            assert [each for _, each, _ in node.changes] == [mark]
            valkey.do("CONFIG", "SET", "maxmemory", "0")
            assert await kit.publish(LOG, b"3") == Mark(first.epoch, first.number + 1)


@asynchronous
async def test_what_is_too_large_is_refused_where_it_is_published(valkey: Valkey) -> None:
    async with RedisKit(valkey) as kit:
        node = Told()
        await kit.broker.subscribe(LOG, node)
        large = Item(0, b"x" * 16 * 1024 * 1024)
        with pytest.raises(ValueError, match=r"16,777,216 bytes are too large .* 1,048,576"):
            kit.broker.publish(LOG, large, KEPT)
        with pytest.raises(ValueError, match="too large"):
            kit.broker.changed(LOG, large)
        most = b"x" * 1024 * 1024
        mark = await kit.do("publish", LOG, Item(0, most, most), Retention(100, 300.0, 1 << 22))
        await kit.settle()
        assert node.items == [(LOG, mark, most)]


@asynchronous
async def test_messagepack_and_topics_come_through(valkey: Valkey) -> None:
    async with RedisKit(valkey) as kit:
        values: list[Item] = []

        class Node(Told):
            def on_changed(self, url: str, mark: Mark, value: Item | None) -> None:
                values.append(value)  # type: ignore[arg-type]

            def on_item(self, url: str, mark: Mark, item: Item) -> None:
                values.append(item)

        await kit.broker.subscribe(STATE, Node())
        topic = STATE + '?{"é":"\\n}"}'
        sent = [Item(0, b"\n1 2", b"\x00\n"), Item(0, b"1", topic=topic), Item(0, b"")]
        await kit.do("publish", STATE, sent[0], KEPT)
        await kit.do("changed", STATE, sent[1])
        await kit.do("publish", STATE, sent[2], KEPT)
        await kit.settle()
        assert values == sent
        first, last = await kit.do("history", STATE, Mark(kit.broker._records[STATE].mark.epoch, 0)) or (None, None)
        assert (first, last) == (None, None), "the second number is no item's"


@asynchronous
async def test_garbage_on_a_channel_or_in_a_log_hurts_nobody(valkey: Valkey) -> None:
    async with RedisKit(valkey) as kit:
        node = Told()
        await kit.broker.subscribe(LOG, node)
        channel = f"aw:{{{LOG}}}"
        mark = await kit.publish(LOG, b"1")
        for garbage in (b"", b"x", b"i", b"i\xff 1\n", b"ie x\n", b"c" * 100_000, b"\n", b"rx y\n", b"i" + b"\0" * 20):
            valkey.do("PUBLISH", channel, garbage)
            valkey.do("PUBLISH", "aw:{*}", garbage)
        assert await kit.publish(LOG, b"2") == Mark(mark.epoch, 2)
        await kit.settle()
        await until(lambda: bool(node.returns) or node.said[-1:] == [b"2"])
        assert node.said[:1] == [b"1"]
        valkey.do("XADD", f"{channel}:s", "3-0", "t", "1", "z", "1", "i", "garbage")
        valkey.do("HSET", f"{channel}:m", "n", "3")
        assert await kit.history(LOG, mark) is None
        assert await kit.publish(LOG, b"4") == Mark(mark.epoch, 4)


@asynchronous
async def test_it_does_without_the_quicker_way_to_write_commands(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiorest_ws.realtime.brokers.redis.line._pack", None)
    async with RedisKit(valkey) as kit:
        node = Told()
        await kit.broker.subscribe(LOG, node)
        marks = [await kit.publish(LOG, json) for json in (b"1", b"x" * 100_000)]
        await kit.settle()
        assert node.items == [(LOG, marks[0], b"1"), (LOG, marks[1], b"x" * 100_000)]


# A cluster


@asynchronous
async def test_a_cluster_has_each_url_in_one_slot_and_tells_of_it_there() -> None:
    async with clustered() as servers:
        one, other = servers
        async with RedisKit(one, f"redis://127.0.0.1:{one.port}") as kit:
            urls = [f"/logs/{number}" for number in range(40)]
            follower, node = await kit.another(), Told()
            for url in urls:
                await follower.subscribe(url, node)
            marks = await asyncio.gather(*(kit.broker.publish(url, Item(0, b"1"), KEPT) for url in urls))
            await kit.broker.changed(STATE)
            await kit.settle()
            assert sorted(url for url, _, _ in node.items) == sorted(urls)
            kept = [len(server.do("KEYS", "*:s")) for server in servers]
            assert sum(kept) == 40
            assert all(kept), "both have some"
            for url, mark in zip(urls, marks, strict=True):
                assert await kit.history(url, Mark(mark.epoch, 0)) == [b"1"]
            await kit.broker.recheck(None)
            await kit.settle()
            assert node.rechecks[-1:] == [None]
            await kit.do("members", LOG, node, {1: {"id": 1}})
            assert await follower.members(LOG) == {1: {"id": 1}}

            # One slot goes to the other server, without what was in it.
            url = one.do("KEYS", "*:s")[0].decode().removeprefix("aw:{").removesuffix("}:s")
            slot, mark = one.do("CLUSTER", "KEYSLOT", f"{{{url}}}"), marks[urls.index(url)]
            one.do("DEL", f"aw:{{{url}}}:m", f"aw:{{{url}}}:s")
            for server in (other, one):
                server.do("CLUSTER", "SETSLOT", slot, "NODE", other.do("CLUSTER", "MYID").decode())
            assert (await published(kit.broker, url, b"2")).epoch != mark.epoch
            await until(lambda: any(told == url for told, _ in node.returns))
            node.items.clear()
            async with asyncio.timeout(TIMEOUT):
                while not node.items:  # until it is heard at the other server
                    await published(kit.broker, url, b"3")
                    await turn_over()
            assert {(told, json) for told, _, json in node.items} == {(url, b"3")}


# Who is there


@asynchronous
async def test_members_of_a_process_that_died_are_listed_for_the_grace_and_then_are_gone(valkey: Valkey) -> None:
    async with RedisKit(valkey) as kit:
        node, watcher = Told(), Told()
        other = await kit.another()
        await kit.do("members", LOG, node, {1: {"id": 1}})
        await other.members(LOG, watcher, {2: {"id": 2}})
        await other.subscribe(f"{LOG}/presence", watcher)
        both = {1: {"id": 1}, 2: {"id": 2}}
        assert await other.members(LOG) == await kit.broker.members(LOG) == both
        await kit.broker.stop()
        kit.clock.now += 4.9
        other.timers.advance(1.1)
        await other.heard()
        assert await other.members(LOG) == both
        kit.clock.now += 0.2
        other.timers.advance(1.1)
        await until(lambda: bool(watcher.changes))
        assert await other.members(LOG) == {2: {"id": 2}}
        assert valkey.do("HLEN", f"aw:{{{LOG}}}:p") == 1


@asynchronous
async def test_members_are_there_again_after_the_server_lost_them(valkey: Valkey) -> None:
    async with RedisKit(valkey) as kit:
        await kit.do("members", LOG, Told(), {1: {"id": 1}, "x": {"id": "x", "given": {}}})
        await kit.do("members", LOG)  # by now it has given a sign of life
        valkey.do("FLUSHALL")
        kit.broker.timers.advance(1.1)
        await until(lambda: valkey.do("HLEN", f"aw:{{{LOG}}}:p") == 2)
        assert await kit.do("members", LOG) == {1: {"id": 1}, "x": {"id": "x", "given": {}}}


@asynchronous
async def test_who_left_while_nobody_could_be_told_is_gone_afterwards(valkey: Valkey) -> None:
    async with through(valkey) as (kit, line):
        node = Told()
        await kit.do("members", LOG, node, {1: {"id": 1}})
        await kit.do("members", OTHER, node, {1: {"id": 1}})
        await kit.do("members", LOG)
        line.swallow()
        asked = kit.broker.members(LOG, node, {})
        await turn_over()
        kit.broker.timers.advance(1.1)
        with pytest.raises(BrokerUnavailable):
            await asked
        line.flow()
        await until(lambda: valkey.do("HLEN", f"aw:{{{LOG}}}:p") == 0)
        assert valkey.do("HLEN", f"aw:{{{OTHER}}}:p") == 1


@asynchronous
async def test_who_gives_up_while_it_is_asked_leaves_nothing(valkey: Valkey) -> None:
    async with RedisKit(valkey) as kit:
        task = asyncio.create_task(kit.broker.subscribe(LOG, Told()))
        await turn_over(1)
        task.cancel()
        await asyncio.wait({task})
        await kit.settle()
        assert valkey.do("PUBSUB", "NUMSUB", f"aw:{{{LOG}}}")[1] == 0
        node = Told()
        await kit.broker.subscribe(LOG, node)
        await kit.publish(LOG, b"1")
        await kit.settle()
        assert node.said == [b"1"]


@asynchronous
async def test_an_ear_that_is_lost_while_it_is_asked_how_far_a_url_has_come_misses_nothing(valkey: Valkey) -> None:
    async with RedisKit(valkey) as kit:
        other = await kit.another()
        followers = []
        for number in range(20):
            follower = Follower(kit)
            followers.append(follower)
            following = asyncio.create_task(follower.follow(f"/logs/{number}"))
            await turn_over(number)
            valkey.do("CLIENT", "KILL", "TYPE", "pubsub")
            await other.publish(f"/logs/{number}", Item(0, b"1"), KEPT)
            await following
            await other.publish(f"/logs/{number}", Item(0, b"2"), KEPT)
        await until(lambda: all(each.is_caught and each.mark.number == 2 for each in followers))
        assert all(each.losses == 0 and each.got[-1] == b"2" for each in followers)


@asynchronous
async def test_of_many_members_only_those_are_sent_that_differ(valkey: Valkey) -> None:
    async with RedisKit(valkey) as kit:
        node, own = Told(), {number: {"id": number} for number in range(1000)}
        await kit.do("members", LOG, node, own)
        before = int(valkey.do("INFO", "stats")["total_net_input_bytes"])
        own[1000] = {"id": 1000}
        del own[0]
        await kit.do("members", LOG, node, own)
        assert int(valkey.do("INFO", "stats")["total_net_input_bytes"]) - before < 1000
        assert await kit.do("members", LOG) == own


# Applications on two machines


def rooms() -> SimpleRouter:
    router = SimpleRouter()

    @router.get("/log", live=Live(mode="log", shared=True, presence=lambda request: {"id": request.extra["who"]}))
    def log(request: Any) -> list[Any]:
        return []

    @router.get("/state", live=Live(shared=True, interval=0.0))
    def state(request: Any) -> str:
        return "as it is"

    @router.put("/state", changes=["/state"])
    def put(request: Any) -> None:
        pass

    return router


@asynchronous
async def test_who_comes_back_at_another_machine_has_missed_nothing(valkey: Valkey) -> None:
    async with (
        serving(rooms(), broker=f"{valkey.url}?prefix=one") as one,
        serving(rooms(), broker=f"{valkey.url}?prefix=one") as other,
    ):
        async with await Client.connect(one) as client:
            first = await client.ask("SUBSCRIBE", "/log", id=1, who="ada")
            await other.live.publish("/log", 1)
            push = await client.reply()
            assert (push["event_name"], push["data"]) == ("/log", 1)
            assert push["version"].split(".")[0] == first["version"].split(".")[0]
        await other.live.publish("/log", 2)
        await one.live.publish("/log", 3)
        async with await Client.connect(other) as client:
            assert (await client.ask("SUBSCRIBE", "/log", id=1, who="ada", since=push["version"]))["status"] == 206
            assert [(await client.reply())["data"] for _ in range(2)] == [2, 3]
            there = await client.ask("GET", "/log/presence", id=2)
            assert there["data"] == {"count": 1, "members": [{"id": "ada"}]}


@asynchronous
async def test_a_write_at_one_machine_is_seen_at_the_other_under_one_version(valkey: Valkey) -> None:
    async with (
        serving(rooms(), broker=valkey.url) as one,
        serving(rooms(), broker=valkey.url) as other,
        await Client.connect(one) as ada,
        await Client.connect(other) as bob,
    ):
        for client in (ada, bob):
            assert (await client.ask("SUBSCRIBE", "/state", id=1))["status"] == 200
        ada.request("PUT", "/state", id=2)
        said = [await ada.reply(), await ada.reply()]
        (reply,) = [each for each in said if each.get("id") == 2]
        (push,) = [each for each in said if "event_name" in each]
        assert push["version"].startswith(reply["changed"]["/state"] + ".")
        assert await bob.reply() == push


@asynchronous
async def test_while_the_server_is_away_requests_are_answered_and_subscribers_told_what_they_may_have_missed() -> None:
    with running() as valkey:
        async with serving(rooms(), broker=valkey.url) as app, await Client.connect(app) as client:
            assert (await client.ask("SUBSCRIBE", "/log", id=1, who="ada"))["status"] == 200
            assert (await client.ask("SUBSCRIBE", "/state", id=2))["status"] == 200
            await asyncio.to_thread(valkey.kill)
            assert (await client.ask("GET", "/state", id=3))["data"] == "as it is"
            reply = await client.ask("PUT", "/state", id=4)
            while reply.get("id") != 4:  # a push to its own subscriber may be quicker
                reply = await client.reply()
            assert reply["status"] == 200
            with pytest.raises(BrokerUnavailable, match=r"^the broker") as caught:
                await app.live.publish("/log", 1)
            assert str(valkey.path) not in str(caught.value)
            await asyncio.to_thread(valkey.start)
            said: list[Any] = []
            while not any(each.get("status") == 409 for each in said):
                said.append(await client.reply())
            (end,) = [each for each in said if each.get("status") == 409]
            assert end["event_name"] == "/log"
            assert end["retry"] > 0
            reply = await client.ask("SUBSCRIBE", "/log", id=5, who="ada")
            while reply.get("id") != 5:  # the state may be looked at meanwhile
                reply = await client.reply()
            assert reply["status"] == 200


# The start


def refused(url: str, **options: Any) -> str:
    """Give why a broker does not start."""

    async def start() -> None:
        broker = RedisBroker(url, **options)
        await broker.start()
        await broker.stop()

    with pytest.raises(ImproperlyConfigured) as caught:
        asyncio.run(start())
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:6379", "must begin with redis://, rediss:// or unix://"),
        ("127.0.0.1:6379", "must begin with redis://"),
        ("redis://:s3cret/x@127.0.0.1:6379", "%2F"),
        ("redis://:s3cret@127.0.0.1:port", "no port that is a number"),
        ("redis://:s3cret@127.0.0.1:1", r"redis://127\.0\.0\.1:1 cannot be used: .*"),
        ("redis://127.0.0.1:1?typo=1", "typo"),
        ("redis://127.0.0.1:1?db=x", "db"),
        ("redis://127.0.0.1:1?prefix={x}", "prefix"),
        ("unix:///nowhere/valkey.sock", "cannot be used"),
    ],
)
def test_what_is_wrong_is_said_at_the_start_in_one_line(url: str, why: str) -> None:
    import re

    assert re.search(why, refused(url))


def test_a_wrong_password_is_said_at_the_start(valkey: Valkey) -> None:
    assert "password" in refused(f"unix://user:s3cret@{valkey.path}")
    with running() as locked:
        locked.do("CONFIG", "SET", "requirepass", "right")
        assert "password" in refused(f"unix://:s3cret@{locked.path}")
        assert "password" in refused(locked.url)

        async def start() -> None:
            broker = RedisBroker(f"unix://:right@{locked.path}")
            await broker.start()
            await broker.stop()

        asyncio.run(start())


def test_a_user_of_its_own_needs_no_more_than_the_docs_say() -> None:
    page = (ROOT / "docs/how-to/machines.md").read_text("utf-8")
    rights = " ".join(page.partition("restricted to `")[2].partition("`")[0].split()).split(" ")
    with running() as valkey:
        valkey.do("ACL", "SETUSER", "app", "on", ">s3cret", *rights)

        @asynchronous
        async def use() -> None:
            async with RedisKit(valkey, f"unix://app:s3cret@{valkey.path}") as kit:
                node = Told()
                await kit.do("subscribe", LOG, node)
                mark = await kit.publish(LOG, b"1", b"2", b"3", kept=Retention(1, 10.0, 1000))
                await kit.do("changed", STATE)
                await kit.do("recheck", None)
                await kit.do("members", LOG, node, {1: {"id": 1}})
                await kit.do("members", LOG, node, {})
                await kit.settle()
                assert await kit.do("members", LOG) == {}
                assert await kit.history(LOG, Mark(mark.epoch, 2)) == [b"3"]
                await kit.do("unsubscribe", LOG, node)

        use()


def answered_with(answer: bytes | None, **options: Any) -> str:
    """Give why a broker does not start at a server that says this to everything."""

    async def start() -> None:
        serving: list[asyncio.Task[Any] | None] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            serving.append(asyncio.current_task())
            try:
                while await reader.read(1000):
                    if answer is not None:
                        writer.write(answer)
            except OSError:
                pass  # the broker has left
            writer.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            await RedisBroker("redis://{}:{}".format(*server.sockets[0].getsockname()), **options).start()
        finally:
            await until(lambda: bool(serving))
            async with asyncio.timeout(TIMEOUT):
                await asyncio.gather(*filter(None, serving))
            server.close()
            await turn_over()

    with pytest.raises(ImproperlyConfigured) as caught:
        asyncio.run(start())
    return str(caught.value)


def test_what_is_no_redis_is_said_at_the_start() -> None:
    assert "is no redis" in answered_with(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert "did not answer within 0.05 s" in answered_with(None, timeout=0.05)
    assert "loading the dataset" in answered_with(b"-LOADING Redis is loading the dataset in memory\r\n")
    info = b"redis_version:6.2.14\r\nrun_id:x\r\n"
    assert "6.2.14" in answered_with(b"$%d\r\n%s\r\n" % (len(info), info) * 9)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("aiorest_ws.realtime.brokers.redis.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name == "redis" or name.startswith("redis.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'aiorest-ws\[redis\]>=2'"):
        RedisBroker("redis://127.0.0.1")
