"""What is told to many: who gets it, in what order, as the bytes that one connection alone would write, made once."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.examples import examples
from tests.kit.frames import CLOSING, OPEN, Packs, Transport, writes
from tests.swapping import IMPLEMENTATIONS, Impl

FORMS = {"text json": 0, "text base64": 1, "binary json": 2, "binary base64": 3, "msgpack": 6}
PUSHES = [b'{"event_name":"/a","version":"e.1","data":1}', b'{"data":"%s"}' % (b"ab" * 150), b"{}"]
THRESHOLD = 100
PACKS = {
    "plain": None,
    "packed": Packs(12, 5, takes_over=False, threshold=THRESHOLD),
    "packs for itself": Packs(12, 5, takes_over=True, threshold=THRESHOLD),
}
COUNTERS = ("_octets_out", "_frames_out", "_saved_out", "_octets_on_wire_out")


class Turns:
    """A loop that keeps what is to be called."""

    def __init__(self) -> None:
        self.calls: list[tuple[Context | None, Callable[[], None]]] = []

    def call_soon(self, call: Callable[[], None], *, context: Context | None = None) -> None:
        self.calls.append((context, call))

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for context, call in calls:
            if context is None:
                call()
            else:
                context.run(call)

    def time(self) -> float:
        return 0.0


@cache
def _connection(impl: Impl) -> type[Any]:
    class Connection(impl.connection.Connection):  # type: ignore[name-defined,misc]
        act: Callable[[bytes, int], None] = staticmethod(lambda payload, form: None)

        def _send_push(self, rendered: bytes, form: int) -> None:
            self.events.append(("by hand", rendered, form))
            self.act(rendered, form)

    return Connection


@dataclass
class Hall:
    """A loop and its connections."""

    impl: Impl
    loop: Turns = field(default_factory=Turns)
    packers: dict[Packs, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.outbox = self.impl.fanout.Outbox(self.loop, Context)

    def connection(self, packs: Packs | None = None, *, by_hand: bool = False) -> Any:
        connection = _connection(self.impl)()
        connection.events = []
        connection.state, connection._transport, connection._loop = OPEN, Transport(connection.events), self.loop
        connection._writes_replies = not by_hand
        if packs is not None:
            connection._packer = self._packer(packs)
            connection._packs_from = packs.threshold
        return connection

    def _packer(self, packs: Packs) -> Any:
        if packs.takes_over or packs not in self.packers:
            self.packers[packs] = self.impl.deflate.Packer(packs.bits, packs.level, takes_over=packs.takes_over)
        return self.packers[packs]

    def subscriber(self, form: int = 0, packs: Packs | None = None, *, by_hand: bool = False) -> Any:
        return self.impl.fanout.Subscriber(self.connection(packs, by_hand=by_hand), form, 0)

    def fan(self, pushes: list[bytes] | None = None) -> Any:
        return self.impl.fanout.Fan(self.outbox, lambda _: PUSHES if pushes is None else pushes)

    def tell(self, *subscribers: Any, since: int = 0, number: int = 3, pushes: list[bytes] | None = None) -> Any:
        return self.impl.fanout.fan_out(list(subscribers), self.fan(pushes), since, number, 0)


@pytest.fixture
def hall(impl: Impl) -> Hall:
    return Hall(impl)


def counted(connection: Any) -> tuple[int, ...]:
    return tuple(getattr(connection, name) for name in COUNTERS)


def on_wire(subscriber: Any) -> bytes:
    return b"".join(writes(subscriber.connection))


# What arrives


@pytest.mark.parametrize("packs", PACKS.values(), ids=PACKS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_each_gets_what_it_would_get_alone(hall: Hall, form: int, packs: Packs | None) -> None:
    subscribers = [hall.subscriber(form, packs) for _ in range(3)]
    assert hall.tell(*subscribers) == (3, [])
    hall.loop.turn()

    alone = hall.connection(None if packs is None or packs.takes_over else packs)
    alone._gathers = True
    for push in PUSHES:
        write = alone._write_base64 if form & 1 else alone._write
        write(push, 2 if form & 2 else 1)
    alone._flush()
    for subscriber in subscribers:
        assert writes(subscriber.connection) == writes(alone)
        assert counted(subscriber.connection) == counted(alone)
        assert subscriber.position == 3


def test_what_is_packed_is_what_was_told(hall: Hall) -> None:
    subscriber = hall.subscriber(0, PACKS["packed"])
    long = PUSHES[1]
    hall.tell(subscriber, pushes=[long])
    hall.loop.turn()
    frame = on_wire(subscriber)
    assert frame[0] == 0xC1  # fin, compressed, text
    assert zlib.decompressobj(-15).decompress(frame[2:] + b"\x00\x00\xff\xff") == long


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_each_length_has_the_shortest_header(hall: Hall, size: int) -> None:
    subscriber = hall.subscriber()
    hall.tell(subscriber, pushes=[b"x" * size])
    hall.loop.turn()
    alone = hall.connection()
    alone._write(b"x" * size, 1)
    assert writes(subscriber.connection) == writes(alone)


# Made once


def test_bytes_are_shared(hall: Hall) -> None:
    """Each way in which connections take it is one object, for all of them."""
    ways = [(form, packs) for form in FORMS.values() for packs in PACKS.values()]
    subscribers = [hall.subscriber(form, packs) for _ in range(2) for form, packs in ways]
    assert hall.tell(*subscribers)[0] == len(subscribers)
    hall.loop.turn()
    objects: dict[tuple[int, bool], bytes] = {}
    for subscriber, (form, packs) in zip(subscribers, ways * 2, strict=True):
        (written,) = writes(subscriber.connection)
        assert objects.setdefault((form, packs is PACKS["packed"]), written) is written


def test_a_form_is_rendered_once(hall: Hall) -> None:
    asked: list[int] = []

    def render(form: int) -> list[bytes]:
        asked.append(form)
        return PUSHES

    subscribers = [hall.subscriber(form, packs) for form in (0, 6) for packs in PACKS.values() for _ in range(3)]
    fan = hall.impl.fanout.Fan(hall.outbox, render)
    assert hall.impl.fanout.fan_out(subscribers, fan, 0, 3, 0) == (len(subscribers), [])
    assert asked == [0, 6]


def test_nothing_is_sent_in_a_form_that_cannot_be_had(hall: Hall) -> None:
    there, missing, by_hand = hall.subscriber(0), hall.subscriber(6), hall.subscriber(6, by_hand=True)
    fan = hall.impl.fanout.Fan(hall.outbox, lambda form: None if form == 6 else PUSHES)
    assert hall.impl.fanout.fan_out([there, missing, by_hand], fan, 0, 3, 0) == (1, [missing, by_hand])
    hall.loop.turn()
    assert missing.position == by_hand.position == 0
    assert missing.connection.events == by_hand.connection.events == []


# Who is told


def held(subscriber: Any) -> None:
    subscriber.is_held = True


def over(subscriber: Any) -> None:
    subscriber.is_over = True


def elsewhere(subscriber: Any) -> None:
    subscriber.position = 1


def choked(subscriber: Any) -> None:
    subscriber.connection.pause_writing()
    subscriber.connection.events.clear()


def closing(subscriber: Any) -> None:
    subscriber.connection.state = CLOSING


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("become", [held, over, elsewhere, choked, closing])
def test_who_may_not_be_told_is_left_out_and_given_back(
    hall: Hall, become: Callable[[Any], None], by_hand: bool
) -> None:
    subscribers = [hall.subscriber(by_hand=by_hand) for _ in range(3)]
    become(subscribers[1])
    before = subscribers[1].position, subscribers[1].seen
    assert hall.tell(*subscribers) == (2, [subscribers[1]])
    hall.loop.turn()
    assert (subscribers[1].position, subscribers[1].seen) == before
    assert subscribers[1].connection.events == []
    assert all(subscribers[at].connection.events for at in (0, 2))


def test_of_a_state_who_has_seen_it_is_told_that_it_is_the_same(hall: Hall) -> None:
    new, old, gone = hall.subscriber(), hall.subscriber(), hall.subscriber()
    old.seen = gone.seen = 5
    gone.is_over = True
    news, same = hall.fan([b"news"]), hall.fan([b"same"])
    state = hall.impl.fanout.fan_out_state
    assert state([new, old, gone], news, None, 7, 5) == (1, [])
    hall.loop.turn()
    assert state([new, old, gone], news, same, 8, 5) == (2, [gone])
    hall.loop.turn()
    assert [write[2:] for write in writes(new.connection)] == [b"news", b"same"]
    assert [write[2:] for write in writes(old.connection)] == [b"same"]
    assert (new.position, new.seen) == (8, 5)


def test_forms_are_those_of_all(hall: Hall) -> None:
    assert hall.impl.fanout.forms_of([]) == set()
    subscribers = [hall.subscriber(form) for form in (6, 0, 6, 3)]
    assert hall.impl.fanout.forms_of(subscribers) == {0, 3, 6}


# When it leaves


def test_a_turn_is_one_write_in_the_order_of_what_was_sent(hall: Hall) -> None:
    subscriber = hall.subscriber()
    connection = subscriber.connection
    hall.tell(subscriber, pushes=[b"one", b"two"])
    connection._write(b"a reply", 1)
    hall.tell(subscriber, since=3, number=4, pushes=[b"three"])
    hall.outbox.push(connection, [b"the end"], 0)
    assert connection.events == []
    hall.loop.turn()
    frames = (b"\x81" + bytes((len(text),)) + text for text in (b"one", b"two", b"a reply", b"three", b"the end"))
    assert writes(connection) == [b"".join(frames)]
    assert counted(connection) == (25, 5, 0, 35)


def test_what_others_share_is_not_written_to(hall: Hall) -> None:
    first, second = hall.subscriber(), hall.subscriber()
    hall.tell(first, second, pushes=[b"shared"])
    first.connection._write(b"x" * 600, 1)
    second.connection._write(b"y", 1)
    third = hall.subscriber()
    hall.loop.turn()
    assert on_wire(first) == b"\x81\x06shared\x81\x7e\x02\x58" + b"x" * 600
    assert on_wire(second) == b"\x81\x06shared\x81\x01y"
    hall.tell(third, pushes=[b"shared"])
    hall.loop.turn()
    assert on_wire(third) == b"\x81\x06shared"


def test_all_connections_are_one_call_of_the_loop(hall: Hall) -> None:
    subscribers = [hall.subscriber(form) for form in (0, 1, 6)]
    hall.outbox.soon(lambda: hall.tell(*subscribers))
    hall.outbox.soon(lambda: hall.tell(*subscribers, since=3, number=6))
    assert len(hall.loop.calls) == 1
    hall.loop.turn()
    assert [len(writes(subscriber.connection)) for subscriber in subscribers] == [1, 1, 1]
    assert hall.loop.calls == []


def test_it_runs_in_the_context_that_it_was_given(impl: Impl) -> None:
    who = ContextVar("who", default="nobody")
    hall = Hall(impl)
    seen: list[str] = []
    who.set("a publisher")
    hall.outbox.soon(lambda: seen.append(who.get()))
    hall.loop.turn()
    assert seen == ["nobody"]


def test_large_frames_are_shared_behind_what_is_gathered(hall: Hall) -> None:
    subscribers = [hall.subscriber() for _ in range(2)]
    for subscriber in subscribers:
        hall.outbox.push(subscriber.connection, [b"before"], 0)
    hall.tell(*subscribers, pushes=[b"x" * 100_000])
    hall.loop.turn()
    assert all(on_wire(subscriber) == on_wire(subscribers[0]) for subscriber in subscribers)
    assert on_wire(subscribers[0]).startswith(b"\x81\x06before\x81\x7f")


def test_what_a_client_does_not_take_waits_until_it_reads(hall: Hall) -> None:
    subscriber, other = hall.subscriber(), hall.subscriber()
    hall.tell(subscriber, other)
    choked(subscriber)
    hall.outbox.push(subscriber.connection, [b"the end"], 0)
    hall.loop.turn()
    assert writes(subscriber.connection) == []
    assert len(writes(other.connection)) == 1
    subscriber.connection.resume_writing()
    assert writes(subscriber.connection) == [on_wire(other) + b"\x81\x07the end"]


def test_a_connection_that_is_gone_takes_nothing(hall: Hall) -> None:
    subscriber, other = hall.subscriber(), hall.subscriber()
    hall.tell(subscriber, other)
    subscriber.connection.state = 0
    subscriber.connection.transport = None
    hall.loop.turn()
    assert writes(subscriber.connection) == []
    assert len(writes(other.connection)) == 1


# What goes wrong


class Broken(Exception):
    """Of somebody's own code."""


def test_what_one_raises_is_no_matter_to_those_behind_it(hall: Hall) -> None:
    first, second = hall.subscriber(), hall.subscriber()

    def fail(*_: Any) -> None:
        raise Broken

    hall.tell(first, second)
    first.connection._transport.write = fail
    hall.outbox.soon(fail)
    told: list[int] = []
    hall.outbox.soon(lambda: told.append(1))
    for _ in range(2):
        with pytest.raises(Broken):
            hall.loop.turn()
    hall.loop.turn()
    assert told == [1]
    assert len(writes(second.connection)) == 1
    assert hall.loop.calls == []


def test_what_cannot_be_rendered_is_raised_and_nobody_is_moved(hall: Hall) -> None:
    subscriber = hall.subscriber()

    def render(form: int) -> list[bytes]:
        raise Broken

    with pytest.raises(Broken):
        hall.impl.fanout.fan_out([subscriber], hall.impl.fanout.Fan(hall.outbox, render), 0, 3, 0)
    assert subscriber.position == 0


def test_somebodys_own_code_may_publish_end_and_let_in(hall: Hall) -> None:
    """Each is told once and in order, whatever an override does from within."""
    subscribers = [hall.subscriber(by_hand=True) for _ in range(4)]
    first, second, third, fourth = subscribers

    def act(payload: bytes, form: int) -> None:
        if payload == b"1":
            assert first.position == 1  # who publishes from within finds it told
            third.is_over = True
            fourth.connection.state = CLOSING
            subscribers.append(hall.subscriber())
            assert hall.impl.fanout.fan_out(subscribers, hall.fan([b"2"]), 1, 2, 0)[0] == 1

    first.connection.act = act
    assert hall.impl.fanout.fan_out(subscribers, hall.fan([b"1"]), 0, 1, 0) == (2, [third, fourth])
    assert [event[1] for event in first.connection.events] == [b"1", b"2"]
    assert [event[1] for event in second.connection.events] == [b"1"]


def test_nothing_is_said_behind_an_end_from_within(hall: Hall) -> None:
    subscriber = hall.subscriber(by_hand=True)

    def act(payload: bytes, form: int) -> None:
        subscriber.is_over = True

    subscriber.connection.act = act
    assert hall.tell(subscriber)[0] == 1
    assert [event[1] for event in subscriber.connection.events] == PUSHES[:1]


# Any order of things

ANY = (*PUSHES, b"y" * 70_000)
WAYS = st.tuples(st.sampled_from(list(FORMS.values())), st.sampled_from(list(PACKS.values())))
STEPS = st.one_of(
    st.tuples(st.just("publish"), st.lists(st.integers(0, len(ANY) - 1), min_size=1, max_size=3)),
    st.tuples(st.sampled_from(["choke", "read", "hold", "let go", "end", "close", "reply"]), st.integers(0, 3)),
    st.tuples(st.just("turn"), st.none()),
)


def played(impl: Impl, ways: list[tuple[int, Packs | None]], steps: list[tuple[str, Any]]) -> list[Any]:
    """Give what became of each connection."""
    hall = Hall(impl)
    subscribers = [hall.subscriber(*way) for way in ways]
    number = 0
    told: list[tuple[int, list[int]]] = []
    for kind, what in steps:
        if kind == "turn":
            hall.loop.turn()
        elif kind == "publish":
            number += len(what)
            count, left = hall.tell(
                *subscribers, since=number - len(what), number=number, pushes=[ANY[at] for at in what]
            )
            told.append((count, [subscribers.index(each) for each in left]))
        else:
            subscriber = subscribers[what % len(subscribers)]
            _act(kind, subscriber)
    hall.loop.turn()
    return [
        told,
        *(
            (each.position, on_wire(each), len(each.connection.events), counted(each.connection))
            for each in subscribers
        ),
    ]


def _act(kind: str, subscriber: Any) -> None:
    connection = subscriber.connection
    if kind == "choke":
        connection.pause_writing()
    elif kind == "read":
        connection.resume_writing()
    elif kind == "hold" or kind == "let go":
        subscriber.is_held = kind == "hold"
    elif kind == "end":
        subscriber.is_over = True
    elif kind == "close":
        connection.state = CLOSING
    else:
        connection._write(b"a reply", 1)


@given(st.lists(WAYS, min_size=1, max_size=4), st.lists(STEPS, max_size=12))
@examples(60)
def test_whatever_happens_it_happens_in_both(ways: list[Any], steps: list[Any]) -> None:
    first, *others = (played(Impl.load(name), ways, steps) for name in IMPLEMENTATIONS)
    for other in others:
        assert other == first


@given(st.lists(WAYS, min_size=1, max_size=4), st.lists(STEPS, max_size=12))
@examples(60)
def test_what_others_do_changes_nothing_of_what_one_gets(ways: list[Any], steps: list[Any]) -> None:
    """A subscriber among others, and alone: the same bytes."""
    impl = Impl.load(IMPLEMENTATIONS[-1])
    together = played(impl, ways, steps)[1:]
    for at, way in enumerate(ways):
        own = [step for step in steps if type(step[1]) is not int or step[1] % len(ways) == at]
        position, data, _, counters = together[at]
        alone = played(impl, [way], own)[1]
        assert (alone[0], alone[1], alone[3]) == (position, data, counters)
