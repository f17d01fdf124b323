"""What every broker promises (`realtime.brokers.Broker`): one suite, which each is given to.

A broker is made by a factory of `BROKERS`, with the most bytes of all logs and a clock; what it gives may be awaitable.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from aiorest_ws.realtime.brokers import Item, Retention
from aiorest_ws.realtime.brokers.memory import MemoryBroker
from aiorest_ws.realtime.versions import Mark
from tests.serving import asynchronous

BROKERS: dict[str, Callable[[int | None, Callable[[], float]], Any]] = {"memory": MemoryBroker}

LOG, OTHER, STATE = "/rooms/5/messages", "/rooms/6/messages", "/orders/7"
KEPT = Retention(items=100, seconds=300.0, size=1024 * 1024)


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Told:
    """A node that remembers what it was told."""

    def __init__(self) -> None:
        self.items: list[tuple[str, Mark, bytes]] = []
        self.changes: list[tuple[str, Mark, Any]] = []
        self.rechecks: list[str | None] = []
        self.returns: list[tuple[str, Mark]] = []
        self.then: Callable[[], Any] = lambda: None

    def on_item(self, url: str, mark: Mark, item: Item) -> None:
        self.items.append((url, mark, item.json))
        self.then()

    def on_changed(self, url: str, mark: Mark, value: Item | None) -> None:
        self.changes.append((url, mark, value))
        self.then()

    def on_recheck(self, url: str | None) -> None:
        self.rechecks.append(url)

    def on_return(self, url: str, mark: Mark) -> None:
        self.returns.append((url, mark))

    @property
    def said(self) -> list[bytes]:
        return [json for _, _, json in self.items]


class Kit:
    """A broker, and its clock."""

    def __init__(self, name: str, most: int | None = 1024 * 1024) -> None:
        self.clock = Clock()
        self.broker = BROKERS[name](most, self.clock)

    async def do(self, name: str, *args: Any) -> Any:
        given = getattr(self.broker, name)(*args)
        return await given if inspect.isawaitable(given) else given

    async def publish(self, url: str, *values: bytes, kept: Retention = KEPT) -> Mark:
        mark = Mark("", 0)
        for value in values:
            mark = await self.do("publish", url, Item(0, value), kept)
        return mark

    async def history(self, url: str, since: Mark) -> list[bytes] | None:
        items = await self.do("history", url, since)
        return None if items is None else [item.json for item in items]


@pytest.fixture(params=BROKERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def before(mark: Mark, by: int) -> Mark:
    return Mark(mark.epoch, mark.number - by)


@asynchronous
async def test_numbers_are_dense_and_the_epoch_stays_while_anybody_subscribes(name: str) -> None:
    kit, node = Kit(name), Told()
    first = await kit.do("subscribe", LOG, node)
    marks = [await kit.publish(LOG, b"%d" % number) for number in range(3)]
    assert marks == [Mark(first.epoch, first.number + by) for by in (1, 2, 3)]
    assert node.items == [(LOG, mark, b"%d" % number) for number, mark in enumerate(marks)]
    assert await kit.do("subscribe", LOG, Told()) == marks[-1]


@asynchronous
async def test_urls_have_numbers_and_epochs_of_their_own(name: str) -> None:
    kit = Kit(name)
    one, other = await kit.publish(LOG, b"1", b"2"), await kit.publish(OTHER, b"3")
    assert (one.number, other.number) == (2, 1)
    assert one.epoch != other.epoch
    assert await kit.history(OTHER, before(one, 1)) is None


@asynchronous
async def test_a_node_is_told_of_what_it_subscribes_to_once_and_no_more_when_it_leaves(name: str) -> None:
    kit, node = Kit(name), Told()
    await kit.do("subscribe", LOG, node)
    await kit.do("subscribe", LOG, node)
    await kit.publish(LOG, b"1")
    await kit.publish(OTHER, b"2")
    assert node.said == [b"1"]
    await kit.do("unsubscribe", LOG, node)
    await kit.do("unsubscribe", LOG, node)
    await kit.publish(LOG, b"3")
    assert node.said == [b"1"]


@asynchronous
async def test_a_node_that_publishes_while_it_is_told_has_all_told_in_one_order(name: str) -> None:
    kit, one, other = Kit(name), Told(), Told()
    for node in (one, other):
        await kit.do("subscribe", LOG, node)

    def again() -> None:
        one.then = lambda: None
        kit.broker.publish(LOG, Item(0, b"2"), KEPT)

    one.then = again
    mark = await kit.publish(LOG, b"1")
    assert mark.number == 1  # that of its own item
    assert one.said == other.said == [b"1", b"2"]
    assert [mark.number for _, mark, _ in other.items] == [1, 2]


@asynchronous
async def test_a_node_that_leaves_while_another_is_told_is_told_nothing_more(name: str) -> None:
    kit, one, other = Kit(name), Told(), Told()
    for node in (one, other):
        await kit.do("subscribe", LOG, node)
    one.then = lambda: kit.broker.unsubscribe(LOG, other)
    await kit.publish(LOG, b"1")
    assert (one.said, other.said) == ([b"1"], [])


@asynchronous
async def test_history_gives_what_is_behind_in_order_and_none_if_some_is_gone(name: str) -> None:
    kit = Kit(name)
    mark = await kit.publish(LOG, b"1", b"2", b"3")
    assert await kit.history(LOG, mark) == []
    assert await kit.history(LOG, before(mark, 2)) == [b"2", b"3"]
    assert await kit.history(LOG, before(mark, 3)) == [b"1", b"2", b"3"]
    assert await kit.history(LOG, before(mark, 4)) is None
    assert await kit.history(LOG, Mark(mark.epoch, mark.number + 1)) is None  # from the future
    assert await kit.history(LOG, Mark("elsewhere", mark.number)) is None
    assert await kit.history("/nobody", mark) is None


@asynchronous
async def test_so_many_items_are_kept(name: str) -> None:
    kit = Kit(name)
    mark = await kit.publish(LOG, b"1", b"2", b"3", kept=Retention(2, 300.0, 1024))
    assert await kit.history(LOG, before(mark, 2)) == [b"2", b"3"]
    assert await kit.history(LOG, before(mark, 3)) is None


@asynchronous
async def test_items_are_kept_for_so_many_seconds(name: str) -> None:
    kit = Kit(name)
    kept = Retention(100, 10.0, 1024 * 1024)
    await kit.do("subscribe", LOG, Told())
    await kit.publish(LOG, b"1", kept=kept)
    kit.clock.now += 6
    mark = await kit.publish(LOG, b"2", kept=kept)
    kit.clock.now += 6
    assert await kit.history(LOG, before(mark, 2)) is None
    assert await kit.history(LOG, before(mark, 1)) == [b"2"]
    kit.clock.now += 6
    assert await kit.history(LOG, before(mark, 1)) is None
    assert await kit.history(LOG, mark) == []  # nothing was missed


@asynchronous
async def test_so_many_bytes_are_kept_and_the_newest_item_always(name: str) -> None:
    kit = Kit(name)
    kept = Retention(100, 300.0, 2048)
    mark = await kit.publish(LOG, *[b"x" * 700] * 5, kept=kept)
    assert await kit.history(LOG, before(mark, 2)) == [b"x" * 700] * 2
    assert await kit.history(LOG, before(mark, 3)) is None
    mark = await kit.publish(LOG, b"y" * 5000, kept=kept)
    assert await kit.history(LOG, before(mark, 1)) == [b"y" * 5000]
    assert await kit.history(LOG, before(mark, 2)) is None


@asynchronous
async def test_of_all_logs_the_one_goes_first_that_was_published_to_least_recently(name: str) -> None:
    kit = Kit(name, most=10_000)
    first = await kit.publish("/logs/1", b"x" * 3000)
    second = await kit.publish("/logs/2", b"x" * 3000, kept=Retention(100, 50.0, 1024 * 1024))
    first = await kit.publish("/logs/1", b"x" * 1000)
    await kit.publish("/logs/3", b"x" * 4000)
    assert await kit.history("/logs/2", before(second, 1)) is None
    assert await kit.history("/logs/1", before(first, 2)) == [b"x" * 3000, b"x" * 1000]
    last = await kit.publish("/logs/4", b"x" * 100_000)  # alone too large, and kept
    assert await kit.history("/logs/4", before(last, 1)) == [b"x" * 100_000]
    assert await kit.history("/logs/1", before(first, 1)) is None


@asynchronous
async def test_what_is_put_out_of_one_log_is_the_oldest_of_it(name: str) -> None:
    kit = Kit(name, most=5000)
    mark = await kit.publish(LOG, *[b"x" * 1000] * 10)
    assert await kit.history(LOG, before(mark, 4)) == [b"x" * 1000] * 4
    assert await kit.history(LOG, before(mark, 5)) is None


@asynchronous
async def test_a_url_whose_items_went_while_somebody_subscribes_goes_on_with_its_numbers(name: str) -> None:
    kit, node = Kit(name, most=3000), Told()
    await kit.do("subscribe", LOG, node)
    first = await kit.publish(LOG, b"x" * 1000)
    await kit.publish(OTHER, b"x" * 2500)
    assert await kit.history(LOG, before(first, 1)) is None
    assert await kit.history(LOG, first) == []
    assert await kit.publish(LOG, b"2") == Mark(first.epoch, first.number + 1)


@asynchronous
async def test_a_change_has_a_higher_number_each_time_and_brings_its_value(name: str) -> None:
    kit, node = Kit(name), Told()
    first = await kit.do("subscribe", STATE, node)
    value = Item(0, b"1")
    second, third = await kit.do("changed", STATE, None), await kit.do("changed", STATE, value)
    assert second.epoch == third.epoch == first.epoch
    assert first.number < second.number < third.number
    assert node.changes == [(STATE, second, None), (STATE, third, value)]


@asynchronous
async def test_a_change_that_nobody_asks_for_leaves_nothing(name: str) -> None:
    kit = Kit(name)
    one, other = await kit.do("changed", STATE, None), await kit.do("changed", STATE, None)
    assert one != other
    node = Told()
    assert (await kit.do("subscribe", STATE, node)).epoch not in (one.epoch, other.epoch)


@asynchronous
async def test_recheck_reaches_who_subscribes_to_the_url_or_to_any(name: str) -> None:
    kit, one, other, nobody = Kit(name), Told(), Told(), Told()
    await kit.do("subscribe", LOG, one)
    await kit.do("subscribe", STATE, one)
    await kit.do("subscribe", STATE, other)
    await kit.do("subscribe", OTHER, nobody)
    await kit.do("unsubscribe", OTHER, nobody)
    await kit.do("recheck", LOG)
    assert (one.rechecks, other.rechecks) == ([LOG], [])
    await kit.do("recheck", None)
    assert (one.rechecks, other.rechecks, nobody.rechecks) == ([LOG, None], [None], [])
    await kit.do("recheck", "/nobody")


@asynchronous
async def test_members_are_those_of_all_nodes_as_each_said_last(name: str) -> None:
    kit, one, other = Kit(name), Told(), Told()
    assert await kit.do("members", LOG) == {}
    own = {1: {"id": 1}}
    assert await kit.do("members", LOG, one, own) == {}, "one more is told without a look at all"
    assert await kit.do("members", LOG) == own
    await kit.do("members", LOG, other, {2: {"id": 2}})
    await kit.do("members", LOG, one, {3: {"id": 3}})
    assert await kit.do("members", LOG) == {2: {"id": 2}, 3: {"id": 3}}
    await kit.do("members", LOG, one, {})
    await kit.do("members", LOG, other)
    assert await kit.do("members", LOG) == {}


@asynchronous
async def test_nothing_is_left_of_urls_that_nobody_needs(name: str) -> None:
    kit, node = Kit(name), Told()
    epochs = set()
    for seconds in (5.0, 500.0, 50.0):
        mark = await kit.publish(LOG, b"1", kept=Retention(100, seconds, 1024))
        epochs.add(mark.epoch)
        kit.clock.now += seconds + 1
        await kit.do("subscribe", STATE, node)  # whatever is asked for
        await kit.do("changed", STATE, None)
        await kit.do("unsubscribe", STATE, node)
        assert len(kit.broker) == 0
    assert len(epochs) == 3


@asynchronous
async def test_a_log_that_is_kept_long_keeps_no_other(name: str) -> None:
    kit = Kit(name, most=None)
    await kit.publish("/logs/long", b"1", kept=Retention(100, 1e8, 1024))
    for number in range(50):
        await kit.publish(f"/logs/{number}", b"1", kept=Retention(100, 5.0, 1024))
    kit.clock.now += 10
    await kit.publish("/logs/last", b"1", kept=Retention(100, 5.0, 1024))
    assert len(kit.broker) == 2


@asynchronous
async def test_a_log_whose_time_to_keep_is_another_is_kept_as_was_said_last(name: str) -> None:
    kit = Kit(name)
    mark = await kit.publish(LOG, b"1", kept=Retention(100, 5.0, 1024))
    mark = await kit.publish(LOG, b"2", kept=Retention(100, 50.0, 1024))
    kit.clock.now += 10
    assert await kit.history(LOG, before(mark, 2)) == [b"1", b"2"]
    kit.clock.now += 50
    await kit.publish(OTHER, b"3")
    assert len(kit.broker) == 1


def test_the_memory_broker_counts_what_it_keeps() -> None:
    broker = MemoryBroker(5000, Clock())
    for number in range(100):
        broker.publish(f"/logs/{number % 7}", Item(0, b"x" * (number * 37 % 900), b"y" * number), KEPT)
        assert broker.size <= 5000
    kept = [item for at in range(7) for item in _kept(broker, f"/logs/{at}")]
    assert broker.size == sum(item.size for item in kept)


def _kept(broker: MemoryBroker, url: str) -> list[Item]:
    mark = broker.subscribe(url, Told())
    for missed in range(mark.number, -1, -1):
        items = broker.history(url, Mark(mark.epoch, mark.number - missed))
        if items is not None:
            return items
    raise AssertionError("a log gives its end at least")
