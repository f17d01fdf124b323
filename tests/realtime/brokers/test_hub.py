"""Several workers and their hub, in one loop over real pairs of sockets: who is told, who is stuck, who dies."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorest_ws.exceptions import BrokerUnavailable
from aiorest_ws.realtime.brokers import Item, Retention, hub
from aiorest_ws.realtime.brokers.hub import HubBroker
from aiorest_ws.realtime.brokers.hub_messages import MOST_OF_ITEM
from aiorest_ws.realtime.versions import Mark
from aiorest_ws.workers.channel import HIGH
from tests.kit.brokers import KEPT, HubKit, Line, Told
from tests.kit.examples import examples
from tests.serving import LOOPS, asynchronous, turn_over, until

LOG, OTHER, STATE = "/rooms/5/messages", "/rooms/6/messages", "/orders/7"
GRACE = 5.0
on_each_loop = pytest.mark.parametrize("loop", LOOPS)


class Bare:
    """The socket of a worker, and what is said over it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._came = b""

    @classmethod
    async def of(cls, kit: HubKit, number: int) -> Bare:
        return cls(await kit.bare(number))

    async def say(self, kind: str, *head: Any, body: bytes = b"") -> None:
        await self.send(message(kind, *head, body=body))

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def hear(self) -> tuple[list[Any], bytes]:
        """Give the next message."""
        of_head, of_body = struct.unpack("!II", await self._read(8))
        return json.loads(await self._read(of_head)), await self._read(of_body)

    async def _read(self, size: int) -> bytes:
        while len(self._came) < size:
            data = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 20)
            if not data:
                raise EOFError
            self._came += data
        data, self._came = self._came[:size], self._came[size:]
        return data

    async def end(self) -> None:
        """Read to the end."""
        while await asyncio.get_running_loop().sock_recv(self.sock, 1 << 20):
            pass

    async def subscribe(self, number: int, url: str) -> None:
        await self.say("subscribe", number, url)
        head, _ = await self.hear()
        assert head[:3] == ["answer", number, 0]


def message(*head: Any, body: bytes = b"") -> bytes:
    said = json.dumps(head).encode()
    return struct.pack("!II", len(said), len(body)) + said + body


def item(value: bytes) -> Item:
    return Item(0, value)


async def got(given: Any) -> Any:
    return await given if isinstance(given, asyncio.Future) else given


# Who is told


@on_each_loop
@asynchronous
async def test_every_worker_is_told_the_same_in_the_same_order(loop: str) -> None:
    async with HubKit() as kit:
        brokers = [kit.broker, await kit.worker(2), await kit.worker(3)]
        nodes = [Told() for _ in brokers]
        for broker, node in zip(brokers, nodes, strict=True):
            await got(broker.subscribe(LOG, node))
            await got(broker.subscribe(STATE, node))
        said = [broker.publish(LOG, item(b"%d" % at), KEPT) for at in range(5) for broker in brokers]
        changes = [broker.changed(STATE, item(b"value")) for broker in brokers]
        marks = await asyncio.gather(*said)
        await asyncio.gather(*changes)
        await kit.settle(*brokers)
        assert sorted(mark.number for mark in marks) == list(range(1, 16))
        assert nodes[0].items == nodes[1].items == nodes[2].items
        assert [mark.number for _, mark, _ in nodes[0].items] == list(range(1, 16))
        assert nodes[0].changes == nodes[1].changes == nodes[2].changes
        assert len(nodes[0].changes) == 3


@asynchronous
async def test_a_worker_is_sent_only_what_it_subscribes_to_and_its_own_items_never() -> None:
    async with HubKit() as kit:
        bare, node = await Bare.of(kit, 2), Told()
        await bare.subscribe(1, LOG)
        await got(kit.broker.subscribe(OTHER, node))
        await kit.publish(OTHER, b"x")
        await kit.do("changed", STATE)
        await bare.say("publish", 2, LOG, 100, 300.0, 1024, 3, body=b"own")
        head, body = await bare.hear()
        assert (head[:3], head[4], body) == (["answer", 2, 1], 1, b"")
        await kit.publish(LOG, b"{}")
        assert await bare.hear() == (["item", 1, 2, 2], b"{}")
        await bare.say("unsubscribe", 1)
        await bare.say("members", 3, LOG)
        assert (await bare.hear())[0] == ["listed", 3, True]
        await kit.publish(LOG, b"{}")
        await bare.say("members", 4, LOG)
        assert (await bare.hear())[0] == ["listed", 4, True]


@asynchronous
async def test_one_publication_arrives_without_another_behind_it() -> None:
    """What is kept for the end of a turn leaves, whether or not more is said (socketio/socket.io#3196)."""
    async with HubKit() as kit:
        other, node = await kit.worker(2), Told()
        await got(other.subscribe(LOG, node))
        kit.broker.publish(LOG, item(b"1"), KEPT)
        await until(lambda: node.said == [b"1"])


@asynchronous
async def test_items_and_values_travel_in_both_forms() -> None:
    async with HubKit() as kit:
        other = await kit.worker(2)
        told: list[Item | None] = []

        class Node(Told):
            def on_item(self, url: str, mark: Mark, item: Item) -> None:
                told.append(item)

            def on_changed(self, url: str, mark: Mark, value: Item | None) -> None:
                told.append(value)

        node = Node()
        mark = await got(other.subscribe(LOG, node))
        await got(other.subscribe(STATE, node))
        await kit.broker.publish(LOG, Item(0, b"[1]", b"\x91\x01"), KEPT)
        await kit.broker.publish(LOG, Item(0, b"[2]"), KEPT)
        await kit.broker.changed(STATE, Item(0, b"{}", b"\x80", "/orders/7?{}"))
        await kit.settle(other)
        expected = [Item(1, b"[1]", b"\x91\x01"), Item(2, b"[2]")]
        assert told == [*expected, Item(0, b"{}", b"\x80", "/orders/7?{}")]
        assert await other.history(LOG, mark) == expected


@asynchronous
async def test_of_one_turn_the_last_subscription_stands() -> None:
    async with HubKit() as kit:
        one, two, three = Told(), Told(), Told()
        first = kit.broker.subscribe(LOG, one)
        kit.broker.unsubscribe(LOG, one)
        second = kit.broker.subscribe(LOG, two)
        third = kit.broker.subscribe(LOG, three)
        kit.broker.unsubscribe(LOG, two)
        kit.broker.publish(LOG, item(b"1"), KEPT)
        marks = [await got(each) for each in (first, second, third)]
        await kit.settle()
        assert [mark.number for mark in marks] == [0, 0, 0]
        assert (one.said, two.said, three.said) == ([], [], [b"1"])
        kit.broker.unsubscribe(LOG, three)
        kit.broker.unsubscribe(LOG, three)
        await kit.publish(LOG, b"2")
        assert three.said == [b"1"]


@asynchronous
async def test_who_is_cancelled_while_the_hub_is_asked_disturbs_nobody() -> None:
    async with HubKit() as kit:
        node = Told()
        asked = [
            kit.broker.subscribe(LOG, node),
            kit.broker.publish(LOG, item(b"1"), KEPT),
            kit.broker.history(LOG, Mark("", 0)),
            kit.broker.members(LOG),
        ]
        for future in asked:
            future.cancel()
        await kit.settle()
        assert node.said == [b"1"]


@asynchronous
async def test_a_node_that_raises_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async with HubKit() as kit:
        other, bad, good = await kit.worker(2), Told(), Told()

        def fail() -> None:
            raise RuntimeError("a mistake")

        bad.then = fail
        for broker in (kit.broker, other):
            await got(broker.subscribe(LOG, bad))
            await got(broker.subscribe(LOG, good))
        await kit.publish(LOG, b"1")
        await kit.settle(kit.broker, other)
        assert good.said == [b"1", b"1"]
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


@asynchronous
async def test_recheck_reaches_all_workers_and_its_own_at_once() -> None:
    async with HubKit() as kit:
        other, mine, theirs, coming = await kit.worker(2), Told(), Told(), Told()
        await got(kit.broker.subscribe(LOG, mine))
        await got(other.subscribe(LOG, theirs))
        kit.broker.subscribe(OTHER, coming)  # the hub has not answered
        assert kit.broker.recheck(LOG) is None
        kit.broker.recheck(None)
        assert (mine.rechecks, coming.rechecks) == ([LOG, None], [None])
        await kit.settle(kit.broker, other)
        assert (mine.rechecks, theirs.rechecks) == ([LOG, None], [LOG, None])


@asynchronous
async def test_what_is_too_large_is_refused_where_it_is_published() -> None:
    async with HubKit() as kit:
        other, node = await kit.worker(2), Told()
        await got(other.subscribe(LOG, node))
        for ask in (lambda value: kit.broker.publish(LOG, value, KEPT), lambda value: kit.broker.changed(STATE, value)):
            with pytest.raises(ValueError, match=r"at most 16777216 bytes .*, got 1677\d+: publish where to find it"):
                ask(item(bytes(MOST_OF_ITEM)))
        for value in (bytes(MOST_OF_ITEM - 1000), b"1"):
            await kit.publish(LOG, value)
            await kit.settle(other)
        assert [len(json) for json in node.said] == [MOST_OF_ITEM - 1000, 1]


@asynchronous
async def test_a_history_larger_than_a_message_comes_in_parts() -> None:
    async with HubKit(None) as kit:
        kept = Retention(1000, 300.0, 1 << 30)
        values = [bytes([at]) * 1_500_000 for at in range(24)] + [b"x"] * 100
        mark = await kit.publish(LOG, *values, kept=kept)
        assert await kit.history(LOG, Mark(mark.epoch, 0)) == values
        assert await kit.history(LOG, Mark(mark.epoch, 24)) == values[24:]
        assert await kit.history(LOG, mark) == []


@on_each_loop
@asynchronous
async def test_both_sides_may_say_much_before_they_hear(loop: str) -> None:
    """No side waits for the other to read before it reads itself (nodejs/node#7657)."""
    async with HubKit(None) as kit:
        other, node, mine = await kit.worker(2), Told(), Told()
        await got(kit.broker.subscribe(OTHER, mine))
        await got(other.subscribe(LOG, node))
        said = []
        for _ in range(20):
            said += [
                kit.broker.publish(LOG, item(b"x" * 100_000), KEPT),
                other.publish(OTHER, item(b"y" * 100_000), KEPT),
            ]
        await asyncio.gather(*said)
        await kit.settle(kit.broker, other)
        assert (len(node.said), len(mine.said)) == (20, 20)


# Who is stuck


async def stuck(kit: HubKit, number: int) -> Bare:
    """Give a worker that subscribes, reads nothing, and whose channel is full."""
    bare = await Bare.of(kit, number)
    for at, url in enumerate((LOG, OTHER, STATE), 1):
        await bare.subscribe(at, url)
    while not kit.channels[number].is_full:
        await kit.publish(LOG, b"x" * 50_000)
    return bare


@on_each_loop
@asynchronous
async def test_a_stuck_worker_is_bounded_and_nobody_waits_for_it(loop: str) -> None:
    async with HubKit() as kit:
        other, node = await kit.worker(3), Told()
        await got(other.subscribe(LOG, node))
        await stuck(kit, 2)
        before = kit.channels[2].pending
        assert before < HIGH + 200_000
        told = len(node.said)
        await kit.publish(LOG, *[b"x" * 50_000] * 200)
        await asyncio.gather(*[kit.broker.changed(STATE, item(b"y" * 1000)) for _ in range(1000)])
        await kit.settle(other)
        assert len(node.said) == told + 200
        assert kit.channels[2].pending <= before


@on_each_loop
@asynchronous
async def test_who_reads_again_is_told_once_how_far_each_url_has_come(loop: str) -> None:
    async with HubKit() as kit:
        bare = await stuck(kit, 2)
        last = await kit.publish(LOG, b"1", b"2", b"3")
        for _ in range(5):
            changed = await kit.do("changed", STATE, item(b"value"))
        heard = []
        while (message := await bare.hear())[0][0] != "returned":
            heard.append(message[0])
        assert [head[:3] for head in heard] == [["item", 1, number] for number in range(1, len(heard) + 1)]
        assert len(heard) < last.number
        assert {tuple(message[0]), tuple((await bare.hear())[0])} == {
            ("returned", 1, last.number),
            ("returned", 3, changed.number),
        }
        await kit.publish(LOG, b"4")
        await kit.publish(OTHER, b"5")
        assert await bare.hear() == (["item", 1, last.number + 1, 1], b"4")
        assert await bare.hear() == (["item", 2, 1, 1], b"5")


@asynchronous
async def test_what_must_not_be_seen_any_more_is_told_first_when_there_is_room() -> None:
    async with HubKit() as kit:
        bare = await stuck(kit, 2)
        await kit.publish(LOG, b"1")
        for url in (LOG, None, LOG, STATE, "/elsewhere"):
            kit.broker.recheck(url)
        await kit.settle()
        heads = [["item"]]
        while heads[-1][0] != "returned":
            heads.append((await bare.hear())[0])
        rechecks = [head[1] for head in heads if head[0] == "rechecked"]
        assert sorted(rechecks, key=str) == [LOG, None, STATE] or set(rechecks) == {LOG, None, STATE}
        assert all(head[0] != "rechecked" for head in heads[heads.index(["rechecked", rechecks[-1]]) + 1 :])


@asynchronous
async def test_large_answers_wait_for_room_and_are_right_when_they_come() -> None:
    async with HubKit() as kit:
        bare = await stuck(kit, 2)
        mark = await kit.publish(OTHER, b"1", b"2")
        await bare.say("history", 10, OTHER, mark.epoch, 1)
        await bare.say("members", 11, OTHER)
        await bare.say("history", 12, OTHER, "another", 1)
        await kit.settle()
        await kit.publish(OTHER, b"3")
        answers: list[tuple[list[Any], bytes]] = []
        while len(answers) < 3:
            head, body = await bare.hear()
            if head[0] in ("items", "listed"):
                answers.append((head, body))
        assert answers == [
            (["items", 10, True, 2, [[1, 0], [1, 0]]], b"23"),
            (["listed", 11, True], b"[]"),
            (["items", 12, True, 0, None], b""),
        ]


@pytest.mark.parametrize("asked", [("change", "/x", "", 0), ("history", "/x", "epoch", 0)], ids=["small", "large"])
@asynchronous
async def test_a_worker_that_asks_for_ever_and_does_not_read_is_closed(asked: tuple[Any, ...]) -> None:
    async with HubKit() as kit:
        bare = await stuck(kit, 2)
        kind, *rest = asked
        asking = b"".join(message(kind, 10 + at, *rest) for at in range(100_000))
        with pytest.raises(ConnectionError):
            await bare.send(asking)
        assert kit.channels[2].is_closed
        await kit.publish(LOG, b"1")


@asynchronous
async def test_a_worker_may_leave_a_url_of_which_something_was_left_out() -> None:
    async with HubKit() as kit:
        bare = await stuck(kit, 2)
        await kit.publish(LOG, b"1")
        await bare.say("unsubscribe", 1)
        await bare.say("members", 10, LOG)
        heads: list[list[Any]] = [["item"]]
        while heads[-1][0] == "item":
            heads.append((await bare.hear())[0])
        assert heads[-1] == ["listed", 10, True]


# Who dies


@asynchronous
async def test_a_publication_that_a_worker_dies_in_is_none_and_those_before_it_are() -> None:
    whole = message("publish", 2, LOG, 100, 300.0, 1024, 4, body=b"last")
    for at in range(0, len(whole), 7):
        async with HubKit() as kit:
            node = Told()
            await got(kit.broker.subscribe(LOG, node))
            bare = await Bare.of(kit, 2)
            await bare.send(message("publish", 1, LOG, 100, 300.0, 1024, 5, body=b"first") + whole[:at])
            bare.sock.close()
            await until(lambda: kit.channels[2].is_closed)
            await kit.settle()
            assert node.said == [b"first"]


@on_each_loop
@asynchronous
async def test_nothing_is_left_of_the_subscriptions_of_a_worker_that_died(loop: str) -> None:
    async with HubKit() as kit:
        bare = await Bare.of(kit, 2)
        await bare.subscribe(1, STATE)
        assert await kit.count() == 1
        bare.sock.close()
        await until(lambda: kit.channels[2].is_closed)
        assert await kit.count() == 0
        kit.hub.remove(2)
        kit.hub.remove(2)


@asynchronous
async def test_a_log_outlives_all_workers() -> None:
    async with HubKit() as kit:
        await got(kit.broker.subscribe(LOG, Told()))
        mark = await kit.publish(LOG, b"1", b"2", b"3")
        for number in (1, 2):
            kit.hub.remove(number)
            kit.channels[number].abort()
            kit.broker = await kit.worker(2)
        assert await kit.do("subscribe", LOG, Told()) == mark
        assert await kit.history(LOG, Mark(mark.epoch, 1)) == [b"2", b"3"]
        assert (await kit.publish(LOG, b"4")).number == 4


@asynchronous
async def test_one_in_the_place_of_another_is_told_and_that_other_no_longer() -> None:
    async with HubKit() as kit:
        old = await Bare.of(kit, 2)
        await old.subscribe(1, LOG)
        new, node = await kit.worker(2), Told()
        await got(new.subscribe(LOG, node))
        await kit.publish(LOG, b"1")
        await kit.settle(new)
        assert node.said == [b"1"]
        with pytest.raises(BlockingIOError):
            old.sock.recv(1)
        old.sock.close()
        await turn_over(20)
        await kit.publish(LOG, b"2")
        await kit.settle(new)
        assert node.said == [b"1", b"2"]


@on_each_loop
@asynchronous
async def test_without_the_supervisor_all_is_unavailable(loop: str) -> None:
    async with HubKit() as kit:
        node, coming = Told(), Told()
        await got(kit.broker.subscribe(LOG, node))
        asked = [
            kit.broker.subscribe(OTHER, coming),
            kit.broker.subscribe(OTHER, node),
            kit.broker.publish(LOG, item(b"1"), KEPT),
            kit.broker.changed(STATE),
            kit.broker.history(LOG, Mark("", 0)),
            kit.broker.members(LOG),
        ]
        kit.channels[1].abort()
        for future in asked:
            with pytest.raises(BrokerUnavailable, match="the supervisor is gone"):
                await future
        for name, args in (
            ("subscribe", (LOG, node)),
            ("publish", (LOG, item(b"1"), KEPT)),
            ("changed", (STATE,)),
            ("history", (LOG, Mark("", 0))),
            ("members", (LOG,)),
            ("recheck", (LOG,)),
        ):
            with pytest.raises(BrokerUnavailable, match="the supervisor is gone"):
                await kit.do(name, *args)
        kit.broker.unsubscribe(LOG, node)
        assert kit.broker.members(LOG, node, {1: {"id": 1}}) == {}


@asynchronous
async def test_a_broker_that_was_not_started_or_is_stopped_says_so() -> None:
    async with HubKit() as kit:
        broker = HubBroker(kit.channels[1])
        with pytest.raises(BrokerUnavailable, match="was not started"):
            await broker.changed(STATE)
        await broker.stop()
        await kit.broker.stop()
        with pytest.raises(BrokerUnavailable, match="is stopping"):
            await kit.broker.changed(STATE)


@asynchronous
async def test_a_supervisor_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_PATIENCE", 0.0)
    async with HubKit() as kit:
        ours, theirs = kit.pair()
        bare, broker, node = Bare(ours), await kit.started(theirs), Told()
        first, second = broker.subscribe(LOG, node), broker.subscribe(LOG, node)
        published = broker.publish(OTHER, item(b"1"), KEPT)
        for future in (first, second, published):
            with pytest.raises(BrokerUnavailable, match="does not answer"):
                await got(future)
        heads = [(await bare.hear())[0] for _ in range(3)]
        assert [head[0] for head in heads] == ["subscribe", "publish", "unsubscribe"]
        monkeypatch.setattr(hub, "_PATIENCE", 100.0)
        again = broker.subscribe(LOG, node)
        number = (await bare.hear())[0][1]
        await bare.say("answer", heads[0][1], 0, "late", 1)
        await bare.say("item", heads[0][1], 2, 1, body=b"1")
        await bare.say("answer", number, 0, "epoch", 7)
        await bare.say("item", number, 8, 1, body=b"2")
        assert await got(again) == Mark("epoch", 7)
        await until(lambda: node.items == [(LOG, Mark("epoch", 8), b"2")])


@asynchronous
async def test_what_is_published_late_all_the_same_is_told_here_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with HubKit() as kit:
        ours, theirs = kit.pair()
        bare, broker, node = Bare(ours), await kit.started(theirs), Told()
        mark = broker.subscribe(LOG, node)
        await bare.say("answer", (await bare.hear())[0][1], 0, "epoch", 7)
        assert await got(mark) == Mark("epoch", 7)
        monkeypatch.setattr(hub, "_PATIENCE", 0.0)
        broker._look()  # as it will, after a while
        published = broker.publish(LOG, item(b"1"), KEPT)
        with pytest.raises(BrokerUnavailable, match="does not answer"):
            await published
        await bare.say("answer", (await bare.hear())[0][1], 1, "epoch", 8)
        await until(lambda: node.items == [(LOG, Mark("epoch", 8), b"1")])


@asynchronous
async def test_a_supervisor_that_does_not_read_is_told_no_more_than_so_much() -> None:
    async with HubKit() as kit:
        ours, theirs = kit.pair()
        broker = await kit.started(theirs)
        said = [broker.publish(LOG, item(b"x" * 1_000_000), KEPT) for _ in range(40)]
        with pytest.raises(BrokerUnavailable, match="does not take"):
            await said[-1]
        assert [future.done() for future in said] == [False] * 34 + [True] * 6
        ours.close()
        with pytest.raises(BrokerUnavailable, match="is gone"):
            await said[0]


# Who is confused

CONFUSED = {
    "subscribe": ["subscribe", 1],
    "subscribe without a url": ["subscribe", 1, ""],
    "subscribe to no text": ["subscribe", 1, 2],
    "subscribe with a number that is none": ["subscribe", True, "/x"],
    "subscribe with a number of 0": ["subscribe", 0, "/x"],
    "subscribe twice": ["subscribe", 2, LOG],
    "subscribe under a number twice": ["subscribe", 1, "/x"],
    "a url that is too long": ["subscribe", 2, "/" + "x" * 1024],
    "a list as a url": ["subscribe", 2, [[[]]]],
    "unsubscribe": ["unsubscribe", 7],
    "publish nothing": ["publish", 2, LOG, 100, 300.0, 1024, 0],
    "publish more than there is": ["publish", 2, LOG, 100, 300.0, 1024, 9],
    "publish less than nothing": ["publish", 2, LOG, 100, 300.0, 1024, -1],
    "keep no item": ["publish", 2, LOG, 0, 300.0, 1024, 4],
    "keep no byte": ["publish", 2, LOG, 1, 300.0, -5, 4],
    "keep for ever": ["publish", 2, LOG, 1, 1e300, 1024, 4],
    "keep for no time": ["publish", 2, LOG, 1, -1.0, 1024, 4],
    "change to a value that is not there": ["change", 2, LOG, "/x", 5],
    "change to nothing": ["change", 2, LOG, "/x", 0],
    "change a topic that is none": ["change", 2, LOG, "x" * 2000, 4],
    "recheck what": ["recheck"],
    "recheck a number": ["recheck", 1],
    "history of nothing": ["history", 2, LOG, 1, 1],
    "history with a body": ["history", 2, LOG, "epoch", 1],
    "members of nothing": ["members", 2],
    "present without a list": ["present", LOG, True],
    "present without sizes": ["present", LOG, True, [1, 3]],
    "present without what it says": ["present", LOG, True, [[1, 2]]],
    "present with more than it says": ["present", LOG, True, [[1, 4]]],
    "present without an id": ["present", LOG, True, [[0, 4]]],
    "present with less than nothing": ["present", LOG, True, [[5, -1]]],
    "present with fractions": ["present", LOG, True, [[1.0, 3]]],
    "an answer": ["answer", 1, 0, "epoch", 1],
    "leave": ["leave", 1],
    "nothing known": ["what"],
}


@pytest.mark.parametrize("head", CONFUSED.values(), ids=list(CONFUSED))
@asynchronous
async def test_a_confused_worker_is_closed_and_takes_nobody_along(
    head: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with HubKit() as kit:
        node = Told()
        await got(kit.broker.subscribe(LOG, node))
        bare = await Bare.of(kit, 2)
        await bare.subscribe(1, LOG)
        await bare.say(*head, body=b"body")
        await bare.say("publish", 3, LOG, 100, 300.0, 1024, 1, body=b"2")
        await bare.end()
        await kit.publish(LOG, b"3")
        assert node.said == [b"3"]
        kit.hub.remove(2)
    (record,) = caplog.records
    assert "what worker 2 says is not understood" in record.getMessage()
    assert record.exc_info is None


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        (b"{", b"{}"),
        (b"null", b"{}"),
        (b"true", b"{}"),
        (b"[1]", b"{}"),
        (b"1", b"1"),
        (b"1", b"{"),
        (b"1", b"[" * 2000),
    ],
)
@asynchronous
async def test_members_that_are_none_close_it(name: bytes, entry: bytes) -> None:
    async with HubKit() as kit:
        bare = await Bare.of(kit, 2)
        await bare.say("present", LOG, True, [[len(name), len(entry)]], body=name + entry)
        await bare.end()
        assert await kit.do("members", LOG) == {}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False) | st.sampled_from([LOG, ""]),
    lambda each: st.lists(each, max_size=3),
    max_leaves=4,
)
KINDS = st.sampled_from(
    [*("subscribe", "unsubscribe", "publish", "change", "recheck"), *("history", "members", "present", "leave")]
)


@given(heads=st.lists(st.tuples(KINDS, st.lists(VALUES, max_size=6), st.binary(max_size=20)), max_size=5))
@examples(150)
@asynchronous
async def test_whatever_a_worker_says_the_others_are_served(heads: list[tuple[str, list[Any], bytes]]) -> None:
    async with HubKit() as kit:
        node = Told()
        await got(kit.broker.subscribe(STATE, node))
        bare = await Bare.of(kit, 2)
        try:
            for kind, head, body in heads:
                await bare.say(kind, *head, body=body)
        except ConnectionError:
            pass  # closed by then
        bare.sock.shutdown(socket.SHUT_WR)
        try:
            await bare.end()
        except ConnectionError:
            pass
        mark = await kit.do("changed", STATE)
        assert node.changes == [(STATE, mark, None)]


# All at once


class Follower(Told):
    """A node that follows a log: whatever it is not told, it is told that it was not."""

    def __init__(self) -> None:
        super().__init__()
        self.got: dict[int, bytes] = {}
        self.position = -1
        self.missed: list[tuple[int, int]] = []  # behind one number, up to another

    def on_item(self, url: str, mark: Mark, item: Item) -> None:
        assert self.position in (-1, mark.number - 1), "a gap, and nothing was said of it"
        self.position = mark.number
        self.got[mark.number] = item.json

    def on_return(self, url: str, mark: Mark) -> None:
        assert mark.number >= self.position
        self.missed.append((self.position, mark.number))
        self.position = mark.number


class Play:
    """Three workers that publish to one log and follow it; some do not read for a while, some die."""

    def __init__(self, kit: HubKit) -> None:
        self.kit = kit
        self.brokers: list[HubBroker] = []
        self.lines: list[Line] = []
        self.followers: list[Follower] = []
        self.said = [0, 0, 0]
        self.sure: list[set[bytes]] = [set(), set(), set()]  # what was published by those who have not died since

    async def begin(self, at: int) -> None:
        broker, line = await self.kit.far_worker(at)
        await broker.start()
        follower = Follower()
        if at == len(self.brokers):
            self.brokers.append(broker)
            self.lines.append(line)
            self.followers.append(follower)
        self.brokers[at], self.lines[at], self.followers[at] = broker, line, follower
        self.follow(at)

    def follow(self, at: int) -> None:
        self.brokers[at].subscribe(LOG, self.followers[at])

    def publish(self, at: int, size: int) -> None:
        self.said[at] += 1
        value = b"%d/%d/" % (at, self.said[at]) + b"x" * size
        self.brokers[at].publish(LOG, item(value), Retention(10_000, 300.0, 1 << 30))
        self.sure[at].add(value)

    async def do(self, what: str, at: int) -> None:
        if what in ("few bytes", "many bytes"):
            self.publish(at, 10 if what == "few bytes" else 1_700_000)
        elif what == "hold":
            self.lines[at].hold()
        elif what == "let go":
            self.lines[at].let_go()
        elif what == "wait":
            await turn_over(20)
        elif what == "leave":
            self.brokers[at].unsubscribe(LOG, self.followers[at])
            self.followers[at] = Follower()
            self.follow(at)
        else:
            await turn_over(2)
            self.kit.channels[at].abort()
            self.sure[at].clear()
            await self.begin(at)

    async def check(self) -> None:
        for line in self.lines:
            line.let_go()
        await self.kit.settle(*self.brokers)  # the hub has all that was said,
        await self.kit.settle(*self.brokers)  # and has told it
        mark = await got(self.brokers[0].subscribe(LOG, Told()))
        everything = await self.brokers[0].history(LOG, Mark(mark.epoch, 0))
        assert everything is not None
        truth = [each.json for each in everything]
        assert len(set(truth)) == len(truth) == mark.number
        for at in range(3):
            numbers = [int(value.split(b"/")[1]) for value in truth if value.startswith(b"%d/" % at)]
            assert numbers == sorted(numbers)
            assert self.sure[at] <= set(truth)
        for follower in self.followers:
            for since, to in follower.missed:
                follower.got |= {number: truth[number - 1] for number in range(max(since, 0) + 1, to + 1)}
            numbers = sorted(follower.got)
            assert numbers == list(range(numbers[0], mark.number + 1)) if numbers else follower.position == -1
            assert [follower.got[number] for number in numbers] == [truth[number - 1] for number in numbers]


WHAT = st.sampled_from(["few bytes", "many bytes", "many bytes", "hold", "let go", "wait", "leave", "die"])


@given(steps=st.lists(st.tuples(WHAT, st.integers(0, 2)), max_size=30))
@examples(60)
@asynchronous
async def test_whatever_happens_nobody_misses_an_item_without_being_told(steps: list[tuple[str, int]]) -> None:
    async with HubKit(None) as kit:
        play = Play(kit)
        for at in range(3):
            await play.begin(at)
        for what, at in steps:
            await play.do(what, at)
        await play.check()


# Who is there


def watched(kit: HubKit) -> Told:
    node = Told()
    kit.broker.subscribe(f"{LOG}/presence", node)
    return node


@asynchronous
async def test_members_are_those_of_all_workers() -> None:
    async with HubKit() as kit:
        other, one, two = await kit.worker(2), Told(), Told()
        mine: dict[Any, Any] = {1: {"id": 1}, "1": {"id": "1", "name": "ü"}}
        theirs: dict[Any, Any] = {2: {"id": 2}}
        kit.broker.members(LOG, one, mine)
        other.members(LOG, two, theirs)
        expected = mine | theirs
        await kit.settle(other)
        assert await kit.do("members", LOG) == await other.members(LOG) == expected
        del mine["1"]
        mine[3] = {"id": 3, "given": {"x": [1, None]}}
        kit.broker.members(LOG, one, mine)
        await kit.settle()
        assert await other.members(LOG) == {1: {"id": 1}, 3: {"id": 3, "given": {"x": [1, None]}}, 2: {"id": 2}}
        kit.broker.members(LOG, one, {})
        await kit.settle()
        assert await other.members(LOG) == theirs


@asynchronous
async def test_only_what_differs_is_said() -> None:
    async with HubKit() as kit:
        ours, theirs = kit.pair()
        bare, broker, node = Bare(ours), await kit.started(theirs), Told()
        own: dict[Any, Any] = {1: {"id": 1}, 2: {"id": 2}}
        broker.members(LOG, node, own)
        broker.members(LOG, node, own)
        own[3] = {"id": 3}
        own[2] = {"id": 2, "new": True}
        del own[1]
        broker.members(LOG, node, own)
        broker.members(LOG, node, {})
        assert await bare.hear() == (["present", LOG, False, [[1, 8], [1, 8]]], b'1{"id":1}2{"id":2}')
        head, body = await bare.hear()
        assert (head[3], body) == ([[1, 19], [1, 8], [1, 0]], b'2{"id":2,"new":true}3{"id":3}1')
        assert await bare.hear() == (["present", LOG, False, [[1, 0], [1, 0]]], b"23")


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@asynchronous
async def test_members_are_what_they_were_whatever_they_are_called_and_say() -> None:
    async with HubKit() as kit:
        other = await kit.worker(2)
        own = {
            name: {"id": name, "given": given}
            for name, given in ((2**70, 2**70), ("2", "ü\0"), (-1, deep(254)), ("\n", None), ("", deep(300)))
        }
        kit.broker.members(LOG, Told(), own)
        await kit.settle()
        assert await other.members(LOG) == own


@asynchronous
async def test_members_that_cannot_be_read_disturb_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with HubKit() as kit:
        bare = await Bare.of(kit, 2)
        written = b'1{"a":' + b"[" * 1020 + b"]" * 1020 + b"}"  # the hub's own reader goes deeper than that of workers
        try:
            is_read = bool(json.loads(written[1:]))  # from CPython 3.12 on it goes as deep
        except RecursionError:
            is_read = False
        await bare.say("present", LOG, False, [[1, len(written) - 1]], body=written)
        await until(lambda: bool(kit.hub.broker.members(LOG)))
        listed = list(await kit.do("members", LOG))
        await kit.publish(LOG, b"1")
    assert listed == ([1] if is_read else [])
    assert ("too deep" in caplog.text) is not is_read


@asynchronous
async def test_a_url_that_json_cannot_say_is_refused_and_nothing_is_left_of_it() -> None:
    async with HubKit() as kit:
        node = Told()
        for _ in range(2):
            with pytest.raises(TypeError, match="surrogates"):
                kit.broker.subscribe("/\ud800", node)
            with pytest.raises(TypeError, match="surrogates"):
                kit.broker.publish("/\ud800", item(b"1"), KEPT)
        kit.broker.unsubscribe("/\ud800", node)
        await kit.publish(LOG, b"1")


@asynchronous
async def test_many_members_are_said_now_and_then_and_all_are_told_that_they_changed() -> None:
    async with HubKit() as kit:
        other, node = await kit.worker(2), watched(kit)
        own = {name: {"id": name, "text": "x" * 300} for name in range(10_000)}
        for _ in range(10):
            other.members(LOG, Told(), own)
        await until(lambda: bool(node.changes))
        assert len(node.changes) == 1
        assert await kit.do("members", LOG) == own


@asynchronous
async def test_very_many_come_and_go_in_parts() -> None:
    async with HubKit() as kit:
        other, node = await kit.worker(2), Told()
        own = {number: {"id": number} for number in range(40_000)}
        kit.broker.members(LOG, node, own)
        assert len(await kit.do("members", LOG)) == len(await other.members(LOG)) == 40_000
        own.clear()
        kit.broker.members(LOG, node, own)
        assert await kit.do("members", LOG) == {}


@asynchronous
async def test_members_are_known_as_they_are_to_whoever_asks_in_their_process() -> None:
    async with HubKit() as kit:
        node = Told()
        own = {name: {"id": name} for name in range(1000)}
        kit.broker.members(LOG, node, own)
        assert await kit.do("members", LOG) == own
        del own[5]
        kit.broker.members(LOG, node, own)
        assert await kit.do("members", LOG) == own


@asynchronous
async def test_who_was_in_a_worker_that_died_stays_for_a_while_and_then_that_counts_as_changed() -> None:
    async with HubKit() as kit:
        node = watched(kit)
        bare = await Bare.of(kit, 2)
        await bare.say("present", LOG, False, [[1, 8], [1, 8]], body=b'1{"id":1}2{"id":2}')
        bare.sock.close()
        await until(lambda: kit.channels[2].is_closed)
        kit.hub.timers.advance(GRACE - 0.1)
        assert await kit.do("members", LOG) == {1: {"id": 1}, 2: {"id": 2}}
        assert node.changes == []
        kit.hub.timers.advance(0.2)
        assert await kit.do("members", LOG) == {}
        assert len(node.changes) == 1


@asynchronous
async def test_who_came_back_meanwhile_elsewhere_has_never_been_away() -> None:
    async with HubKit() as kit:
        node = watched(kit)
        bare = await Bare.of(kit, 2)
        await bare.say("present", LOG, False, [[1, 8]], body=b'1{"id":1}')
        bare.sock.close()
        await until(lambda: kit.channels[2].is_closed)
        new = await kit.worker(2)
        new.members(LOG, Told(), {1: {"id": 1}})
        await kit.settle(new)
        kit.hub.timers.advance(GRACE + 1)
        assert await kit.do("members", LOG) == {1: {"id": 1}}
        assert node.changes == []


@asynchronous
async def test_who_was_in_a_worker_that_stops_may_come_back_too() -> None:
    async with HubKit() as kit:
        node, own, leaving = watched(kit), Told(), await kit.worker(2)
        await got(leaving.subscribe(LOG, own))
        leaving.members(LOG, own, {1: {"id": 1}})
        leaving.members(LOG, own)  # as a node does that stops
        await leaving.stop()
        await kit.settle()
        await kit.publish(LOG, b"1")
        assert await kit.do("members", LOG) == {1: {"id": 1}}
        kit.hub.timers.advance(GRACE + 1)
        await kit.settle()
        assert await kit.do("members", LOG) == {}
        assert (len(node.changes), own.said) == (1, [])


@asynchronous
async def test_nobody_waits_for_a_stuck_worker_to_know_who_is_there() -> None:
    """The hub knows them: no worker is asked (socketio/socket.io-cluster-adapter#11)."""
    async with HubKit() as kit:
        bare = await stuck(kit, 2)
        await bare.say("present", LOG, False, [[1, 8]], body=b'1{"id":1}')
        await until(lambda: bool(kit.hub.broker.members(LOG)))
        assert await kit.do("members", LOG) == {1: {"id": 1}}


def test_nothing_is_logged_of_what_is_ordinary(caplog: pytest.LogCaptureFixture) -> None:
    """Workers come, are written to while they die, and go (socketio/socket.io-cluster-adapter#5)."""

    @asynchronous
    async def run() -> None:
        async with HubKit() as kit:
            for _ in range(20):
                bare = await Bare.of(kit, 2)
                await bare.subscribe(1, LOG)
                said = [kit.broker.publish(LOG, item(b"x" * 10_000), KEPT) for _ in range(20)]
                bare.sock.close()
                await asyncio.gather(*said)

    with caplog.at_level(logging.DEBUG):
        run()
    assert [record for record in caplog.records if record.name != "asyncio"] == []
