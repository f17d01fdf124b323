"""What every broker promises (`realtime.brokers.Broker`): one suite, which each is given to."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import wraps
from typing import Any

import pytest

from aiorest_ws.realtime.brokers import Item, Retention
from aiorest_ws.realtime.brokers.memory import MemoryBroker
from aiorest_ws.realtime.versions import Mark
from tests.kit.brokers import KEPT, Clock, HubKit, Kit, MemoryKit, Told
from tests.kit.systems import needs_posix
from tests.kit.valkeys import RedisKit, Valkey
from tests.serving import asynchronous

# Those that bound what all logs take together, and forget at once; a server has its own `maxmemory`, and a day.
BOUNDING: dict[str, type[Kit]] = {"memory": MemoryKit, "hub": HubKit}
BROKERS = (*BOUNDING, pytest.param("redis", marks=needs_posix))

LOG, OTHER, STATE = "/rooms/5/messages", "/rooms/6/messages", "/orders/7"


class Maker:
    """Makes a broker, with a kit for it, and lets go of it in the end."""

    def __init__(self, kind: Callable[[int | None], Kit]) -> None:
        self._kind = kind
        self.stack = AsyncExitStack()

    async def __call__(self, most: int | None = 1024 * 1024) -> Kit:
        return await self.stack.enter_async_context(self._kind(most))


def contract(test: Callable[[Maker], Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on each broker, with the argument that makes it."""

    @asynchronous
    @wraps(test)
    async def run(**makers: Maker) -> None:
        (make,) = makers.values()
        async with make.stack:
            await test(make)

    return run


@pytest.fixture(params=BROKERS)
def make(request: pytest.FixtureRequest) -> Maker:
    if request.param == "redis":
        valkey: Valkey = request.getfixturevalue("valkey")
        return Maker(lambda _: RedisKit(valkey))
    return Maker(BOUNDING[request.param])


@pytest.fixture(params=BOUNDING)
def make_bounded(request: pytest.FixtureRequest) -> Maker:
    return Maker(BOUNDING[request.param])


def before(mark: Mark, by: int) -> Mark:
    return Mark(mark.epoch, mark.number - by)


@contract
async def test_numbers_are_dense_and_the_epoch_stays_while_anybody_subscribes(make: Maker) -> None:
    kit, node = await make(), Told()
    first = await kit.do("subscribe", LOG, node)
    marks = [await kit.publish(LOG, b"%d" % number) for number in range(3)]
    assert marks == [Mark(first.epoch, first.number + by) for by in (1, 2, 3)]
    assert node.items == [(LOG, mark, b"%d" % number) for number, mark in enumerate(marks)]
    assert await kit.do("subscribe", LOG, Told()) == marks[-1]


@contract
async def test_urls_have_numbers_and_epochs_of_their_own(make: Maker) -> None:
    kit = await make()
    one, other = await kit.publish(LOG, b"1", b"2"), await kit.publish(OTHER, b"3")
    assert (one.number, other.number) == (2, 1)
    assert one.epoch != other.epoch
    assert await kit.history(OTHER, before(one, 1)) is None


@contract
async def test_a_node_is_told_of_what_it_subscribes_to_once_and_no_more_when_it_leaves(make: Maker) -> None:
    kit, node = await make(), Told()
    await kit.do("subscribe", LOG, node)
    await kit.do("subscribe", LOG, node)
    await kit.publish(LOG, b"1")
    await kit.publish(OTHER, b"2")
    await kit.settle()
    assert node.said == [b"1"]
    await kit.do("unsubscribe", LOG, node)
    await kit.do("unsubscribe", LOG, node)
    await kit.publish(LOG, b"3")
    await kit.settle()
    assert node.said == [b"1"]


@contract
async def test_a_node_that_publishes_while_it_is_told_has_all_told_in_one_order(make: Maker) -> None:
    kit, one, other = await make(), Told(), Told()
    for node in (one, other):
        await kit.do("subscribe", LOG, node)

    def again() -> None:
        one.then = lambda: None
        kit.broker.publish(LOG, Item(0, b"2"), KEPT)

    one.then = again
    mark = await kit.publish(LOG, b"1")
    assert mark.number == 1  # that of its own item
    await kit.settle()
    assert one.said == other.said == [b"1", b"2"]
    assert [mark.number for _, mark, _ in other.items] == [1, 2]


@contract
async def test_a_node_that_leaves_while_another_is_told_is_told_nothing_more(make: Maker) -> None:
    kit, one, other = await make(), Told(), Told()
    for node in (one, other):
        await kit.do("subscribe", LOG, node)
    one.then = lambda: kit.broker.unsubscribe(LOG, other)
    await kit.publish(LOG, b"1")
    await kit.settle()
    assert (one.said, other.said) == ([b"1"], [])


@contract
async def test_history_gives_what_is_behind_in_order_and_none_if_some_is_gone(make: Maker) -> None:
    kit = await make()
    mark = await kit.publish(LOG, b"1", b"2", b"3")
    assert await kit.history(LOG, mark) == []
    assert await kit.history(LOG, before(mark, 2)) == [b"2", b"3"]
    assert await kit.history(LOG, before(mark, 3)) == [b"1", b"2", b"3"]
    assert await kit.history(LOG, before(mark, 4)) is None
    assert await kit.history(LOG, Mark(mark.epoch, mark.number + 1)) is None  # from the future
    assert await kit.history(LOG, Mark("elsewhere", mark.number)) is None
    assert await kit.history("/nobody", mark) is None


@contract
async def test_so_many_items_are_kept(make: Maker) -> None:
    kit = await make()
    mark = await kit.publish(LOG, b"1", b"2", b"3", kept=Retention(2, 300.0, 1024))
    assert await kit.history(LOG, before(mark, 2)) == [b"2", b"3"]
    assert await kit.history(LOG, before(mark, 3)) is None


@contract
async def test_items_are_kept_for_so_many_seconds(make: Maker) -> None:
    kit = await make()
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


@contract
async def test_so_many_bytes_are_kept_and_the_newest_item_always(make: Maker) -> None:
    kit = await make()
    kept = Retention(100, 300.0, 2048)
    mark = await kit.publish(LOG, *[b"x" * 700] * 5, kept=kept)
    assert await kit.history(LOG, before(mark, 2)) == [b"x" * 700] * 2
    assert await kit.history(LOG, before(mark, 3)) is None
    mark = await kit.publish(LOG, b"y" * 5000, kept=kept)
    assert await kit.history(LOG, before(mark, 1)) == [b"y" * 5000]
    assert await kit.history(LOG, before(mark, 2)) is None


@contract
async def test_of_all_logs_the_one_goes_first_that_was_published_to_least_recently(make_bounded: Maker) -> None:
    kit = await make_bounded(most=10_000)
    first = await kit.publish("/logs/1", b"x" * 3000)
    second = await kit.publish("/logs/2", b"x" * 3000, kept=Retention(100, 50.0, 1024 * 1024))
    first = await kit.publish("/logs/1", b"x" * 1000)
    await kit.publish("/logs/3", b"x" * 4000)
    assert await kit.history("/logs/2", before(second, 1)) is None
    assert await kit.history("/logs/1", before(first, 2)) == [b"x" * 3000, b"x" * 1000]
    last = await kit.publish("/logs/4", b"x" * 100_000)  # alone too large, and kept
    assert await kit.history("/logs/4", before(last, 1)) == [b"x" * 100_000]
    assert await kit.history("/logs/1", before(first, 1)) is None


@contract
async def test_what_is_put_out_of_one_log_is_the_oldest_of_it(make_bounded: Maker) -> None:
    kit = await make_bounded(most=5000)
    mark = await kit.publish(LOG, *[b"x" * 1000] * 10)
    assert await kit.history(LOG, before(mark, 4)) == [b"x" * 1000] * 4
    assert await kit.history(LOG, before(mark, 5)) is None


@contract
async def test_a_url_whose_items_went_while_somebody_subscribes_goes_on_with_its_numbers(make_bounded: Maker) -> None:
    kit, node = await make_bounded(most=3000), Told()
    await kit.do("subscribe", LOG, node)
    first = await kit.publish(LOG, b"x" * 1000)
    await kit.publish(OTHER, b"x" * 2500)
    assert await kit.history(LOG, before(first, 1)) is None
    assert await kit.history(LOG, first) == []
    assert await kit.publish(LOG, b"2") == Mark(first.epoch, first.number + 1)


@contract
async def test_a_change_has_a_higher_number_each_time_and_brings_its_value(make: Maker) -> None:
    kit, node = await make(), Told()
    first = await kit.do("subscribe", STATE, node)
    value = Item(0, b"1")
    second, third = await kit.do("changed", STATE, None), await kit.do("changed", STATE, value)
    assert second.epoch == third.epoch == first.epoch
    assert first.number < second.number < third.number
    assert node.changes == [(STATE, second, None), (STATE, third, value)]


@contract
async def test_a_change_that_nobody_asks_for_leaves_nothing(make: Maker) -> None:
    kit = await make()
    one, other = await kit.do("changed", STATE, None), await kit.do("changed", STATE, None)
    assert one != other
    node = Told()
    assert (await kit.do("subscribe", STATE, node)).epoch not in (one.epoch, other.epoch)


@contract
async def test_recheck_reaches_who_subscribes_to_the_url_or_to_any(make: Maker) -> None:
    kit, one, other, nobody = await make(), Told(), Told(), Told()
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


@contract
async def test_members_are_those_of_all_nodes_as_each_said_last(make: Maker) -> None:
    kit, one, other = await make(), Told(), Told()
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


@contract
async def test_nothing_is_left_of_urls_that_nobody_needs(make_bounded: Maker) -> None:
    kit, node = await make_bounded(), Told()
    epochs = set()
    for seconds in (5.0, 500.0, 50.0):
        mark = await kit.publish(LOG, b"1", kept=Retention(100, seconds, 1024))
        epochs.add(mark.epoch)
        kit.clock.now += seconds + 1
        await kit.do("subscribe", STATE, node)  # whatever is asked for
        await kit.do("changed", STATE, None)
        await kit.do("unsubscribe", STATE, node)
        assert await kit.count() == 0
    assert len(epochs) == 3


@contract
async def test_a_log_that_is_kept_long_keeps_no_other(make: Maker) -> None:
    kit = await make(most=None)
    await kit.publish("/logs/long", b"1", kept=Retention(100, 1e8, 1024))
    for number in range(50):
        await kit.publish(f"/logs/{number}", b"1", kept=Retention(100, 5.0, 1024))
    kit.clock.now += 10
    await kit.publish("/logs/last", b"1", kept=Retention(100, 5.0, 1024))
    assert await kit.count() == 2


@contract
async def test_a_log_whose_time_to_keep_is_another_is_kept_as_was_said_last(make: Maker) -> None:
    kit = await make()
    mark = await kit.publish(LOG, b"1", kept=Retention(100, 5.0, 1024))
    mark = await kit.publish(LOG, b"2", kept=Retention(100, 50.0, 1024))
    kit.clock.now += 10
    assert await kit.history(LOG, before(mark, 2)) == [b"1", b"2"]
    kit.clock.now += 50
    await kit.publish(OTHER, b"3")
    assert await kit.count() == 1


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
