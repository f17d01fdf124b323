"""Messages of a connection whose frames are somebody else's: in and out in order, some at a time, and not too many."""

from __future__ import annotations

import asyncio
from collections import ChainMap, deque
from collections.abc import Callable, Iterable
from contextvars import Context
from functools import cache
from typing import Any
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.frames import CLOSED, CLOSING, CONNECTING, OPEN, Transport
from tests.serving import asynchronous, turn_over
from tests.swapping import IMPLEMENTATIONS, Impl

KIBIBYTE = 1024
REPLY = b'{"data":1}'
IN_BASE64 = b"eyJkYXRhIjoxfQ=="
ASKED = "e30="  # {} in base64
HALF = "\ud800"  # of a surrogate pair


class Text(str):
    __slots__ = ("__weakref__",)


class Bytes(bytes):
    __slots__ = ()


@cache
def _guest(impl: Impl) -> type[Any]:
    class Guest(impl.carried.Carried):  # type: ignore[name-defined,misc]
        """Notes what happens to it."""

        most = 0

        def __init__(self) -> None:
            super().__init__()
            self.events: list[Any] = []
            self.is_held = False
            self.state = OPEN
            self._reads_requests = False
            self._outgoing = impl.carried.Outgoing()
            self._transport = Transport([])
            self._context = Context()

        def _on_message(self, payload: bytes, is_binary: bool) -> None:
            self.events.append((payload, bool(is_binary)))

        def _most_of_message(self) -> int:
            return self.most

        def _count_held(self) -> None:
            self.events.append(("held", len(self.ahead)))

        def _exceed(self, most: int) -> None:
            self.events.append(("exceeds", most))

        def _fail_text(self) -> None:
            self.events.append("no text")

        async def _wait_for_room(self, message: Any) -> None:
            self.events.append(("waits for room", message))

        def _send_reply(self, request: Any, rendered: bytes) -> None:
            self.events.append(("by hand", rendered, request.form))

        def pause_writing(self) -> None:
            self.events.append("paused")

    return Guest


def giving(*events: Any) -> Callable[[], Any]:
    """Give a `receive` that gives these, and then the end."""
    left = deque([*events, {"type": "websocket.disconnect", "code": 1000}])

    async def receive() -> Any:
        return left.popleft()

    return receive


def put(guest: Any, messages: Iterable[Any]) -> None:
    for message in messages:
        guest.ahead.put(message)


def text(payload: Any) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": payload}


def binary(payload: Any) -> dict[str, Any]:
    return {"type": "websocket.receive", "bytes": payload}


# What waits


@given(st.lists(st.integers(0, 90), max_size=30), st.integers(0, 30))
def test_first_in_is_first_out(numbers: list[int], clear: int) -> None:
    """Put and take so many, in turns, and clear it once on the way."""
    for queue_of in map(Impl.load, IMPLEMENTATIONS):
        queue = queue_of.carried.Queue()
        expected: deque[int] = deque()
        for turn, number in enumerate(numbers):
            for item in range(number):
                if turn % 2 and expected:
                    assert queue.take() == expected.popleft()
                elif not turn % 2:
                    queue.put(item)
                    expected.append(item)
            if turn == clear:
                queue.clear()
                expected.clear()
            assert list(queue) == list(expected)
            assert (len(queue), queue.is_empty()) == (len(expected), not expected)


def test_nothing_is_taken_from_an_empty_queue(impl: Impl) -> None:
    queue = impl.carried.Queue()
    for _ in range(2):
        with pytest.raises(IndexError):
            queue.take()
        queue.put("x")
        assert queue.take() == "x"


def test_what_is_taken_is_let_go_of(impl: Impl) -> None:
    queue = impl.carried.Queue()
    items = [Text(str(number)) for number in range(300)]
    taken = [ref(item) for item in items[:200]]
    for item in items:
        queue.put(item)
    del items, item
    for left in range(len(taken), 0, -1):
        assert sum(one() is not None for one in taken) == left
        queue.take()


# What leaves


def test_too_much_is_said_once_and_little_once(impl: Impl) -> None:
    outgoing = impl.carried.Outgoing()
    assert [outgoing.say("x", size) for size in (0, 64 * KIBIBYTE - 1, 1, 1)] == [False, False, True, False]
    assert (outgoing.waiting, outgoing.is_choked) == (64 * KIBIBYTE + 1, True)
    assert [outgoing.took(size) for size in (48 * KIBIBYTE + 1, 1, 1)] == [False, True, False]
    assert (outgoing.waiting, outgoing.is_choked) == (16 * KIBIBYTE - 2, False)
    assert outgoing.say("x", 48 * KIBIBYTE + 2)


def test_nothing_is_said_behind_the_end(impl: Impl) -> None:
    outgoing = impl.carried.Outgoing()
    outgoing.say("first", 5)
    outgoing.end()
    assert outgoing.is_over
    assert not outgoing.say("x", 64 * KIBIBYTE)
    assert (list(outgoing.said), outgoing.waiting) == (["first"], 5)
    outgoing.drop()
    assert (list(outgoing.said), outgoing.waiting) == ([], 0)


@asynchronous
async def test_messages_are_told_in_order_up_to_what_is_none(impl: Impl) -> None:
    outgoing = impl.carried.Outgoing()
    told: list[Any] = []
    other = object()

    async def send(event: dict[str, Any]) -> None:
        told.append(event)

    for what in ("é", b"\xff", other, "", b""):
        outgoing.say(what, 0 if what is other else len(what))  # type: ignore[arg-type]
    assert await outgoing.tell(send, told.clear) is other
    first = [{"type": "websocket.send", "text": "é"}, {"type": "websocket.send", "bytes": b"\xff"}]
    assert (told, outgoing.waiting) == (first, 0)
    outgoing.end()
    assert await outgoing.tell(send, told.clear) is None
    assert told[2:] == [{"type": "websocket.send", "text": ""}, {"type": "websocket.send", "bytes": b""}]
    assert await outgoing.tell(send, told.clear) is None


@asynchronous
async def test_taker_waits_until_something_is_said_or_all_is_over(impl: Impl) -> None:
    outgoing = impl.carried.Outgoing()
    told: list[Any] = []

    async def send(event: dict[str, Any]) -> None:
        told.append(event["text"])

    telling = asyncio.ensure_future(outgoing.tell(send, told.clear))
    await turn_over()
    assert outgoing.is_awaited()
    for what in "ab":
        outgoing.say(what, 1)
    assert not outgoing.is_awaited()
    await turn_over()
    assert told == ["a", "b"]
    assert outgoing.is_awaited()
    outgoing.end()
    assert await telling is None


@pytest.mark.parametrize("how", ["more", "tell"])
@asynchronous
async def test_who_waits_may_be_cancelled(impl: Impl, how: str) -> None:
    outgoing = impl.carried.Outgoing()
    waiting = asyncio.ensure_future(outgoing.more() if how == "more" else outgoing.tell(None, None))
    await turn_over()
    waiting.cancel()
    await turn_over()
    outgoing.say("x", 1)
    outgoing.end()
    assert waiting.cancelled()
    await outgoing.more()  # there is something


@asynchronous
async def test_breath_is_drawn_when_what_was_too_much_has_left(impl: Impl) -> None:
    outgoing = impl.carried.Outgoing()
    order: list[Any] = []
    for _ in range(8):
        outgoing.say("x" * 10 * KIBIBYTE, 10 * KIBIBYTE)
    outgoing.end()

    async def send(event: dict[str, Any]) -> None:
        order.append(outgoing.waiting // KIBIBYTE)

    await outgoing.tell(send, lambda: order.append("breathe"))
    assert order == [80, 70, 60, 50, 40, 30, 20, "breathe", 10]


@asynchronous
async def test_message_that_cannot_be_sent_raises_and_counts_as_waiting(impl: Impl) -> None:
    outgoing = impl.carried.Outgoing()
    outgoing.say("abc", 3)

    async def send(event: dict[str, Any]) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await outgoing.tell(send, list)
    assert outgoing.waiting == 3


# What comes


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (text("é"), "é"),
        (text(""), ""),
        (text(Text("é")), "é"),
        (text("é") | {"bytes": None}, "é"),
        (text("é") | {"bytes": b"x"}, "é"),
        (binary(b"\xff"), b"\xff"),
        (binary(b"\xff") | {"text": None}, b"\xff"),
        (binary(Bytes(b"\xff")), b"\xff"),
        (binary(bytearray(b"\xff")), b"\xff"),
        (binary(memoryview(b"\xff")), b"\xff"),
        (binary(b""), b""),
        (ChainMap(text("é")), "é"),
    ],
    ids=repr,
)
@asynchronous
async def test_message_of_an_event(impl: Impl, event: Any, message: Any) -> None:
    guest = _guest(impl)()
    assert await guest._hear(giving(event)) == {"type": "websocket.disconnect", "code": 1000}
    assert guest.is_due
    (heard,) = guest.ahead
    assert (type(heard), heard) == (type(message), message)
    await turn_over()
    assert guest.events == [(message.encode() if isinstance(message, str) else message, isinstance(message, bytes))]
    assert not guest.is_due
    assert guest._heard


@pytest.mark.parametrize("event", [{"type": "websocket.receive"}, text(b"{}"), binary("{}"), binary(5)], ids=repr)
@asynchronous
async def test_event_without_a_message_is_an_error(impl: Impl, event: Any) -> None:
    guest = _guest(impl)()
    with pytest.raises(RuntimeError, match="must send text or bytes"):
        await guest._hear(giving(event))
    assert guest.ahead.is_empty()


@asynchronous
async def test_who_is_held_waits_for_room_and_serves_nothing(impl: Impl) -> None:
    guest = _guest(impl)()
    guest.is_held = True
    await guest._hear(giving(text("a"), binary(b"b")))
    await turn_over()
    assert guest.events == [("waits for room", "a"), ("waits for room", b"b"), ("held", 2)]
    guest.is_held = False
    guest.wake()
    await turn_over()
    assert guest.events[3:] == [(b"a", False), (b"b", True)]


@asynchronous
async def test_who_is_held_in_the_middle_serves_no_more(impl: Impl) -> None:
    guest = _guest(impl)()
    guest._on_message = lambda payload, is_binary: setattr(guest, "is_held", payload == b"2")
    put(guest, "1234")
    guest._catch_up()
    assert (list(guest.ahead), guest.events) == (["3", "4"], [("held", 2)])


@asynchronous
async def test_others_have_their_turn_between_many_messages(impl: Impl) -> None:
    guest = _guest(impl)()
    put(guest, "x" * 600)
    guest.wake()
    served = []
    while not guest.ahead.is_empty():
        await turn_over(1)
        served.append(len(guest.events))
    assert served == [256, 512, 600]


@pytest.mark.parametrize("state", [CONNECTING, OPEN, CLOSING, CLOSED])
def test_messages_are_served_while_the_connection_is_open(impl: Impl, state: int) -> None:
    guest = _guest(impl)()
    guest.state = state
    put(guest, ["text", b"\xff"])
    guest._catch_up()
    assert guest.events == ([(b"text", False), (b"\xff", True)] if state == OPEN else [])
    assert (guest._octets_on_wire, guest._messages) == ((5, 2) if state == OPEN else (0, 0))


@pytest.mark.parametrize(("most", "passes"), [(0, True), (4, True), (3, False)])
def test_limit_is_in_bytes(impl: Impl, most: int, passes: bool) -> None:
    guest = _guest(impl)()
    guest.most = most
    put(guest, ["éé", b"\xff" * 4])
    guest._catch_up()
    expected = [("éé".encode(), False), (b"\xff" * 4, True)] if passes else [("exceeds", most)] * 2
    assert guest.events == expected


def test_text_that_is_none_is_said_and_the_rest_is_served(impl: Impl) -> None:
    guest = _guest(impl)()
    put(guest, ["a" + HALF, "b"])
    guest._catch_up()
    assert guest.events == ["no text", (b"b", False)]


# Replies


@pytest.mark.parametrize("is_plain", [True, False])
@pytest.mark.parametrize(
    ("message", "form", "reply"),
    [
        ("{}", 0, REPLY.decode()),
        (ASKED, 1, IN_BASE64.decode()),
        (b"{}", 2, REPLY),
        (ASKED.encode(), 3, IN_BASE64),
    ],
)
def test_reply_goes_as_its_request_came(impl: Impl, message: Any, form: int, reply: Any, is_plain: bool) -> None:
    guest = _guest(impl)()
    guest._reads_requests, guest._writes_replies, guest._is_plain = True, False, is_plain
    guest._pipeline = impl.pipeline.Pipeline(process=lambda request: REPLY)
    put(guest, [message])
    guest._catch_up()
    if not is_plain:
        assert (list(guest._outgoing.said), guest.events) == ([], [("by hand", REPLY, form)])
        return
    assert (list(guest._outgoing.said), guest.events) == ([reply], [])
    assert guest._outgoing.waiting == len(reply)
    assert (guest._octets_on_wire_out, guest._octets_out, guest._frames_out) == (len(reply), len(reply), 1)


def test_replies_that_nobody_takes_hold_the_guest(impl: Impl) -> None:
    guest = _guest(impl)()
    guest._reads_requests, guest._writes_replies, guest._is_plain = True, False, True
    guest._pipeline = impl.pipeline.Pipeline(process=lambda request: b'"' + b"x" * (20 * KIBIBYTE) + b'"')
    put(guest, ["{}"] * 5)
    guest._catch_up()
    assert guest.events == ["paused"]
    assert len(guest._outgoing.said) == 5
