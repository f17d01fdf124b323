"""What every ledger promises, whoever keeps it: the contract of `idempotency.ledgers.Ledger`."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from aiorest_ws.idempotency.exceptions import (
    IdempotencyKeyReused,
    IdempotencyUnavailable,
    OutcomeNotKept,
    OutcomeUnknown,
    TooManyIdempotencyKeys,
)
from aiorest_ws.idempotency.ledgers import Outcome
from tests.kit.ledgers import HubLedgerKit, LedgerKit, MemoryLedgerKit, RedisLedgerKit, asked, outcome
from tests.kit.systems import needs_posix
from tests.serving import asynchronous

Kits = Callable[..., LedgerKit]


# Those that bound what all keys take together; a server has its own `maxmemory`.
BOUNDING: dict[str, Kits] = {"memory": MemoryLedgerKit, "hub": HubLedgerKit}


@pytest.fixture(params=[*BOUNDING, pytest.param("redis", marks=needs_posix)])
def kits(request: pytest.FixtureRequest) -> Kits:
    """Give what makes a kit."""
    if request.param == "redis":
        return partial(RedisLedgerKit, request.getfixturevalue("valkey"))
    return BOUNDING[request.param]


@pytest.fixture(params=BOUNDING)
def bounding_kits(request: pytest.FixtureRequest) -> Kits:
    return BOUNDING[request.param]


def is_ticket(given: Any) -> bool:
    return not isinstance(given, Outcome)


@asynchronous
async def test_what_is_done_is_told_to_all_who_ask_again(kits: Kits) -> None:
    async with kits() as kit:
        ticket = await kit.ledger.reserve(asked())
        assert is_ticket(ticket)
        await kit.keep(kit.ledger, ticket, outcome(b'{"n":1}', 201))
        for ledger in (kit.ledger, kit.other, kit.ledger):
            assert await ledger.reserve(asked()) == Outcome(201, "data", 0, b'{"n":1}')


@pytest.mark.parametrize("came", [Outcome(500, "detail", 0, b'"no"'), Outcome(200, "data", 4, b"\xc4\x01\xff")])
@asynchronous
async def test_an_outcome_comes_back_as_it_was(kits: Kits, came: Outcome) -> None:
    async with kits() as kit:
        await kit.done(asked(), came)
        assert await kit.other.reserve(asked()) == came


@asynchronous
async def test_what_was_said_otherwise_is_another_request(kits: Kits) -> None:
    async with kits() as kit:
        ticket = await kit.ledger.reserve(asked(said="1"))
        for ledger in (kit.ledger, kit.other):
            with pytest.raises(IdempotencyKeyReused):  # also while it runs
                await ledger.reserve(asked(said="2"))
        await kit.keep(kit.ledger, ticket, outcome())
        with pytest.raises(IdempotencyKeyReused):
            await kit.other.reserve(asked(said="2"))
        assert is_ticket(await kit.ledger.reserve(asked("b", said="2")))
        assert is_ticket(await kit.other.reserve(asked(who="bob", said="2")))


@asynchronous
async def test_who_asks_while_it_runs_waits(kits: Kits) -> None:
    async with kits() as kit:
        ticket = await kit.ledger.reserve(asked())
        waiting = [asyncio.ensure_future(each.reserve(asked())) for each in (kit.ledger, kit.other, kit.other)]
        await kit.settle()
        assert not any(each.done() for each in waiting)
        waiting[1].cancel()
        await kit.keep(kit.ledger, ticket, outcome())
        assert await waiting[0] == await waiting[2] == outcome()
        assert waiting[1].cancelled()


@asynchronous
async def test_what_was_not_begun_is_for_the_next(kits: Kits) -> None:
    async with kits() as kit:
        ticket = await kit.ledger.reserve(asked())
        waiting = [asyncio.ensure_future(each.reserve(asked())) for each in (kit.other, kit.ledger, kit.other)]
        await kit.settle()
        kit.ledger.release(ticket)
        done, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        (first,) = done
        assert is_ticket(first.result())
        assert len(left) == 2
        await kit.keep(kit.other if first is not waiting[1] else kit.ledger, first.result(), outcome(b"2"))
        assert [await each for each in left] == [outcome(b"2")] * 2


@asynchronous
async def test_of_what_was_lost_nobody_knows_what_came(kits: Kits) -> None:
    async with kits() as kit:
        ticket = await kit.ledger.reserve(asked())
        waiting = asyncio.ensure_future(kit.other.reserve(asked()))
        await kit.settle()
        kit.ledger.lose(ticket)
        with pytest.raises(OutcomeUnknown):
            await waiting
        with pytest.raises(OutcomeUnknown):
            await kit.ledger.reserve(asked())


@asynchronous
async def test_what_is_too_large_is_known_to_be_done(kits: Kits) -> None:
    async with kits(max_reply=10) as kit:
        await kit.done(asked("a"), outcome(b"1" * 10))
        await kit.done(asked("b"), outcome(b"1" * 11))
        await kit.done(asked("c"), None)
        assert await kit.other.reserve(asked("a")) == outcome(b"1" * 10)
        for key in ("b", "c"):
            with pytest.raises(OutcomeNotKept):
                await kit.other.reserve(asked(key))


@asynchronous
async def test_time_alone_makes_a_key_unknown(kits: Kits) -> None:
    async with kits(seconds=300) as kit:
        ticket = await kit.ledger.reserve(asked("running"))
        await kit.done(asked("a"), outcome())
        kit.ledger.lose(await kit.ledger.reserve(asked("lost")))
        await kit.settle()
        kit.clock.now += 299
        assert await kit.other.reserve(asked("a")) == outcome()
        with pytest.raises(OutcomeUnknown):
            await kit.other.reserve(asked("lost"))
        kit.clock.now += 2
        assert is_ticket(await kit.other.reserve(asked("a")))
        assert is_ticket(await kit.other.reserve(asked("lost")))
        await kit.keep(kit.ledger, ticket, outcome(b"2"))  # it has taken its time
        assert await kit.other.reserve(asked("running")) == outcome(b"2")


@asynchronous
async def test_the_oldest_outcomes_of_one_make_room_for_its_newest_and_are_known_to_be_done(kits: Kits) -> None:
    async with kits(max_bytes_each=25) as kit:
        for key in "abc":
            await kit.done(asked(key), outcome(b"1" * 10))
        with pytest.raises(OutcomeNotKept):
            await kit.other.reserve(asked("a"))
        assert await kit.other.reserve(asked("b")) == await kit.other.reserve(asked("c")) == outcome(b"1" * 10)


@asynchronous
async def test_nobody_makes_room_for_another(bounding_kits: Kits) -> None:
    async with bounding_kits(max_bytes=25, max_bytes_each=20) as kit:
        for key in "ab":
            await kit.done(asked(key), outcome(b"1" * 10))
        await kit.done(asked("a", "bob"), outcome(b"2" * 10))  # there is no room for it
        await kit.done(asked("b", "bob"), outcome(b"2" * 5))
        for key in "ab":
            assert await kit.other.reserve(asked(key)) == outcome(b"1" * 10)
        with pytest.raises(OutcomeNotKept):
            await kit.other.reserve(asked("a", "bob"))
        assert await kit.other.reserve(asked("b", "bob")) == outcome(b"2" * 5)


@asynchronous
async def test_bytes_are_free_again_when_they_are_forgotten(kits: Kits) -> None:
    async with kits(max_bytes=10, max_bytes_each=10, seconds=300) as kit:
        await kit.done(asked("a"), outcome(b"1" * 10))
        kit.clock.now += 301
        await kit.done(asked("a", "bob"), outcome(b"2" * 10))
        assert await kit.other.reserve(asked("a", "bob")) == outcome(b"2" * 10)


@asynchronous
async def test_one_who_has_many_keys_gets_no_more_and_others_do(kits: Kits) -> None:
    async with kits(max_keys_each=2, seconds=300) as kit:
        await kit.done(asked("a"), outcome())
        ticket = await kit.ledger.reserve(asked("b"))
        with pytest.raises(TooManyIdempotencyKeys):
            await kit.other.reserve(asked("c"))
        assert await kit.other.reserve(asked("a")) == outcome()
        await kit.done(asked("a", "bob"), outcome())
        kit.ledger.release(ticket)
        await kit.settle()
        ticket = await kit.other.reserve(asked("c"))
        assert is_ticket(ticket)
        await kit.keep(kit.other, ticket, outcome())
        await kit.settle()
        kit.clock.now += 301
        assert is_ticket(await kit.other.reserve(asked("d")))
        assert is_ticket(await kit.other.reserve(asked("e")))


@asynchronous
async def test_when_there_are_too_many_of_all_nothing_is_begun(bounding_kits: Kits) -> None:
    async with bounding_kits(max_keys=2) as kit:
        ticket = await kit.ledger.reserve(asked("a"))
        await kit.done(asked("a", "bob"), outcome())
        with pytest.raises(IdempotencyUnavailable, match="too many"):
            await kit.other.reserve(asked("a", "cy"))
        kit.ledger.release(ticket)
        await kit.settle()
        assert is_ticket(await kit.other.reserve(asked("a", "cy")))
