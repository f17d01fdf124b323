"""Messages over a real pair of sockets: each whole and in order, and nothing but that for whatever else comes."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorest_ws.workers.channel import HIGH, LARGEST, LARGEST_HEAD, LOW, Channel, open_channel
from tests.kit.examples import examples
from tests.kit.systems import needs_posix
from tests.serving import LOOPS, asynchronous, turn_over, until

pytestmark = needs_posix
on_each_loop = pytest.mark.parametrize("loop", LOOPS)


class Taken:
    """What came, and a channel that it comes from."""

    def __init__(self, channel: Channel, *kinds: str) -> None:
        self.messages: list[tuple[Any, ...]] = []
        self.lost = 0
        for kind in kinds or ("said",):
            channel.take(kind, lambda head, body, kind=kind: self.messages.append((kind, *head, body)))  # type: ignore[misc]
        channel.on_lost(self.on_lost)

    def on_lost(self) -> None:
        self.lost += 1


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Channel, Channel]]:
    one, other = socket.socketpair()
    channels = [await open_channel(one), await open_channel(other, to="worker 2")]
    try:
        yield channels[0], channels[1]
    finally:
        for channel in channels:
            channel.abort()
        await turn_over()


@asynccontextmanager
async def raw() -> AsyncIterator[tuple[Channel, socket.socket]]:
    """Give a channel, and the bare socket at its other end."""
    one, other = socket.socketpair()
    other.setblocking(False)
    channel = await open_channel(one, to="worker 2")
    try:
        yield channel, other
    finally:
        channel.abort()
        other.close()
        await turn_over()


def message(*head: Any, body: bytes = b"") -> bytes:
    said = json.dumps(head).encode()
    return struct.pack("!II", len(said), len(body)) + said + body


async def feed(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def ended(channel: Channel) -> None:
    lost = asyncio.Event()
    channel.on_lost(lost.set)
    await lost.wait()


@on_each_loop
@asynchronous
async def test_messages_come_whole_and_in_order_both_ways(loop: str) -> None:
    async with pair() as (one, other):
        to_one, to_other = Taken(one), Taken(other, "said", "asked")
        one.send("said", 1, "ü", None, body=b"\x00\xff")
        other.send("said", [1.5], {"a": 1})
        one.send("asked")
        await until(lambda: len(to_other.messages) == 2 and len(to_one.messages) == 1)
        assert to_other.messages == [("said", 1, "ü", None, b"\x00\xff"), ("asked", b"")]
        assert to_one.messages == [("said", [1.5], {"a": 1}, b"")]


@on_each_loop
@asynchronous
async def test_what_came_before_anybody_took_it_is_kept(loop: str) -> None:
    async with raw() as (channel, sock):
        await feed(sock, message("said", 1) + message("asked", 2) + message("said", 3))
        await turn_over(20)
        taken = Taken(channel, "said", "asked")
        await feed(sock, message("said", 4))
        await until(lambda: len(taken.messages) == 4)
        assert [number for _, number, _ in taken.messages] == [1, 2, 3, 4]


@on_each_loop
@asynchronous
async def test_messages_of_two_turns_leave_in_one_write(loop: str) -> None:
    async with raw() as (channel, sock):
        for number in range(100):
            channel.send("said", number)
            if number == 0:
                await turn_over(1)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        expected = b"".join(
            struct.pack("!II", len(head), 0) + head for head in (b'["said",%d]' % number for number in range(100))
        )
        received = await asyncio.get_running_loop().sock_recv(sock, 1 << 20)
        assert received == expected


@on_each_loop
@asynchronous
async def test_a_message_may_be_cut_anywhere(loop: str) -> None:
    stream = message("said", 1, body=b"body") + message("said", "ü") + message("said", 3, body=b"\x00" * 9)
    for at in range(len(stream) + 1):
        async with raw() as (channel, sock):
            taken = Taken(channel)
            await feed(sock, stream[:at])
            await turn_over(3)
            await feed(sock, stream[at:])
            await until(lambda: len(taken.messages) == 3)  # noqa: B023
            assert taken.messages == [("said", 1, b"body"), ("said", "ü", b""), ("said", 3, b"\x00" * 9)]


@on_each_loop
@asynchronous
async def test_a_message_of_which_only_the_beginning_came_is_none(loop: str) -> None:
    whole = message("said", 1, body=b"body")
    for at in range(1, len(whole)):
        async with raw() as (channel, sock):
            taken = Taken(channel)
            await feed(sock, whole + whole[:at])
            sock.close()
            await ended(channel)
            assert taken.messages == [("said", 1, b"body")]
            assert taken.lost == 1


@on_each_loop
@asynchronous
async def test_the_largest_messages_fit_and_no_larger_ones(loop: str) -> None:
    async with pair() as (one, other):
        taken = Taken(other)
        head = "x" * (LARGEST_HEAD - len('["said",""]'))
        with pytest.raises(ValueError, match=r"at most 33554432 bytes.* send it in parts"):
            one.send("said", head, body=bytes(LARGEST - LARGEST_HEAD + 1))
        with pytest.raises(ValueError, match=r"1048577 of them in its head"):
            one.send("said", head + "x")
        with pytest.raises(TypeError):
            one.send("said", object())
        one.send("said", head, body=bytes(LARGEST - LARGEST_HEAD))
        await until(lambda: bool(taken.messages))
        assert taken.messages == [("said", head, bytes(LARGEST - LARGEST_HEAD))]


GARBAGE = {
    "head too large": struct.pack("!II", LARGEST_HEAD + 1, 0),
    "message too large": struct.pack("!II", 10, LARGEST - 9),
    "largest numbers": b"\xff" * 8,
    "no json": struct.pack("!II", 3, 0) + b"\x00{]",
    "no head": struct.pack("!II", 0, 5) + b"12345",
    "no list": message()[:0] + struct.pack("!II", 2, 0) + b"{}",
    "empty list": message(),
    "no kind": message(1),
    "a kind that cannot be looked up": message(["said"]),
    "unknown kind": message("\nwhat\x1b", 1),
    "too deep": struct.pack("!II", 4000, 0) + b"[" * 4000,
    "refused": message("refused"),
    "text of another protocol": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@on_each_loop
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=list(GARBAGE))
@asynchronous
async def test_what_is_not_understood_closes_the_channel_and_is_logged_once(
    loop: str, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(head: list[Any], body: bytes) -> None:
        raise ValueError("expected\nanother")

    async with raw() as (channel, sock):
        taken = Taken(channel)
        channel.take("refused", refuse)
        await feed(sock, message("said", 1) + garbage + message("said", 2))
        await ended(channel)
        assert taken.messages == [("said", 1, b"")]
        assert taken.lost == 1
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "what worker 2 says is not understood" in record.getMessage()
    assert record.getMessage().isprintable()
    assert record.exc_info is None


@on_each_loop
@asynchronous
async def test_on_lost_is_told_once_whoever_closes_and_later_too(loop: str) -> None:
    for close in ("close", "abort"):
        async with pair() as (one, other):
            here, there = Taken(one), Taken(other)
            getattr(one, close)()
            one.close()
            one.send("said", 1)
            await until(lambda: bool(here.lost and there.lost))  # noqa: B023
            late = Taken(other)
            other.send("said", 2)
            await until(lambda: bool(late.lost))  # noqa: B023
            assert (here.lost, there.lost, late.lost) == (1, 1, 1)
            assert (one.pending, other.pending) == (0, 0)
            assert here.messages == there.messages == []


@on_each_loop
@asynchronous
async def test_what_was_sent_before_close_still_leaves(loop: str) -> None:
    async with pair() as (one, other):
        taken = Taken(other)
        one.send("said", 1, body=bytes(5 * 1024 * 1024))
        one.send("said", 2)
        one.close()
        await ended(other)
        assert [number for _, number, _ in taken.messages] == [1, 2]


@on_each_loop
@asynchronous
async def test_a_handler_may_close_and_is_told_nothing_more(loop: str) -> None:
    for close in ("close", "abort"):
        async with raw() as (channel, sock):
            taken = Taken(channel)
            channel.take("stop", lambda head, body: getattr(channel, close)())  # noqa: B023
            await feed(sock, message("said", 1) + message("stop") + message("said", 2) + b"\xff" * 20)
            await ended(channel)
            assert taken.messages == [("said", 1, b"")]


@on_each_loop
@asynchronous
async def test_who_does_not_read_is_seen_and_so_is_that_there_is_room_again(loop: str) -> None:
    async with raw() as (channel, sock):
        Taken(channel)
        rooms: list[int] = []
        channel.on_room(lambda: rooms.append(channel.pending))
        assert not channel.is_full
        while not channel.is_full:
            channel.send("said", body=bytes(10_000))
            assert channel.pending < HIGH + 200_000
        assert channel.pending >= HIGH
        await turn_over()
        assert rooms == []
        received = 0
        while not rooms:
            received += len(await asyncio.get_running_loop().sock_recv(sock, 100_000))
        assert received >= HIGH - LOW
        assert rooms[0] <= LOW
        assert not channel.is_full


@given(
    messages=st.lists(
        st.tuples(
            st.lists(
                st.recursive(
                    st.none()
                    | st.booleans()
                    | st.integers(-(2**63), 2**64 - 1)
                    | st.text(st.characters(codec="utf-8")),
                    lambda each: st.lists(each) | st.dictionaries(st.text(st.characters(codec="utf-8")), each),
                    max_leaves=5,
                ),
                max_size=4,
            ),
            st.binary(max_size=50),
        ),
        max_size=8,
    ),
    cuts=st.lists(st.integers(1, 200), max_size=20),
    loop=st.sampled_from(LOOPS),
)
@examples(60)
@asynchronous
async def test_whatever_is_sent_is_what_comes_however_it_is_cut(
    messages: list[tuple[list[Any], bytes]], cuts: list[int], loop: str
) -> None:
    async with raw() as (sender, source), raw() as (channel, sink):
        Taken(sender)
        taken = Taken(channel)
        for head, body in messages:
            sender.send("said", *head, body=body)
        sender.close()
        stream = b""
        while data := await asyncio.get_running_loop().sock_recv(source, 1 << 20):
            stream += data
        for size in cuts:
            await feed(sink, stream[:size])
            await turn_over(2)
            stream = stream[size:]
        await feed(sink, stream)
        sink.close()
        await ended(channel)
        assert taken.messages == [("said", *head, body) for head, body in messages]


@given(garbage=st.binary(max_size=100), loop=st.sampled_from(LOOPS))
@examples(100)
@asynchronous
async def test_no_bytes_do_more_than_close_it(garbage: bytes, loop: str) -> None:
    async with raw() as (channel, sock):
        taken = Taken(channel)
        await feed(sock, garbage)
        sock.shutdown(socket.SHUT_WR)
        await ended(channel)
        assert all(kind == "said" for kind, *_ in taken.messages)
