"""Keys of several machines: what is known when a process, or the server, is gone for a while."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from aiorest_ws import Application, Request, SimpleRouter
from aiorest_ws.idempotency.exceptions import IdempotencyUnavailable, OutcomeUnknown
from aiorest_ws.idempotency.ledgers import Outcome
from aiorest_ws.idempotency.redis_scripts import ENDED, RELEASED, RESERVE
from aiorest_ws.testing import AsyncTestClient
from tests.kit.ledgers import RedisLedgerKit, asked, outcome
from tests.kit.systems import needs_posix
from tests.kit.valkeys import Valkey, clustered, proxied, running
from tests.serving import Gates, asynchronous, turn_over, until

pytestmark = needs_posix
KEY = "7f1c6d1e-2b1a-4d3f"


async def dies(ledger: Any) -> None:
    """Let a process end as SIGKILL ends one: it says nothing more."""
    if ledger._beating is not None:
        ledger._beating.cancel()
        await asyncio.wait([ledger._beating])


@asynchronous
async def test_what_a_process_was_doing_when_it_died_is_unknown_and_what_it_had_done_is_known(valkey: Valkey) -> None:
    async with RedisLedgerKit(valkey) as kit:
        kit.ledger.lease = kit.other.lease = 0.2
        await kit.done(asked("done"), outcome())
        ticket = await kit.ledger.reserve(asked("doing"))
        waiting = asyncio.ensure_future(kit.other.reserve(asked("doing")))
        await dies(kit.ledger)
        with pytest.raises(OutcomeUnknown):
            await waiting
        assert await kit.other.reserve(asked("done")) == outcome()
        await kit.keep(kit.ledger, ticket, outcome(b"2"))  # it was not dead: now it is known
        await kit.settle()
        assert await kit.other.reserve(asked("doing")) == outcome(b"2")


@asynchronous
async def test_a_process_that_lives_is_waited_for(valkey: Valkey) -> None:
    async with RedisLedgerKit(valkey) as kit:
        kit.ledger.lease = kit.other.lease = 0.2
        ticket = await kit.ledger.reserve(asked())
        waiting = asyncio.ensure_future(kit.other.reserve(asked()))
        beaten = kit.ledger._beaten
        await until(lambda: kit.ledger._beaten - beaten > 0.6)
        assert not waiting.done()
        await kit.keep(kit.ledger, ticket, outcome())
        assert await waiting == outcome()
        await until(lambda: kit.ledger._beating is None)  # it does nothing more


@asynchronous
async def test_without_a_server_nothing_is_begun_and_nothing_stays_reserved() -> None:
    with running() as valkey:
        async with RedisLedgerKit(valkey) as kit:
            assert isinstance(await kit.ledger._run(RELEASED, asked(), b""), int)  # it is alive
            valkey.do("CLIENT", "PAUSE", 1_500)
            with pytest.raises(IdempotencyUnavailable):
                await kit.ledger.reserve(asked())
            assert not isinstance(await kit.other.reserve(asked()), Outcome)
            await kit.settle()
            assert kit.ledger._held == set()


@asynchronous
async def test_who_is_cancelled_while_it_asks_has_nothing(valkey: Valkey) -> None:
    async with RedisLedgerKit(valkey) as kit:
        await kit.done(asked("before"), None)  # that it is alive is known
        valkey.do("CLIENT", "PAUSE", 60_000, "WRITE")  # or the answer might be there before the cancellation
        asking = asyncio.ensure_future(kit.ledger.reserve(asked()))
        await turn_over(20)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        valkey.do("CLIENT", "UNPAUSE")
        await kit.settle()
        assert kit.ledger._held == set()
        assert not isinstance(await kit.ledger.reserve(asked()), Outcome)


@asynchronous
async def test_what_is_said_twice_is_said_once(valkey: Valkey) -> None:
    async with RedisLedgerKit(valkey) as kit:
        ticket = await kit.ledger.reserve(asked())
        for _ in range(2):  # as when a command was done, and its answer lost
            await kit.ledger._end(ticket.asked, ticket.name, b"d", outcome(b"12"))
        place = f"aw:{{*once/{asked().who.hex()}}}"
        assert valkey.do("HGET", f"{place}:h", "b") == b"2"
        assert await kit.ledger._run(RELEASED, ticket.asked, ticket.name) == 0  # too late
        assert await kit.other.reserve(asked()) == outcome(b"12")
        await kit.ledger._end(ticket.asked, ticket.name, b"l", None)
        assert await kit.other.reserve(asked()) == outcome(b"12")


@asynchronous
async def test_of_one_who_does_not_come_back_nothing_is_left(valkey: Valkey) -> None:
    async with RedisLedgerKit(valkey, seconds=300) as kit:
        await kit.done(asked("a"), outcome())
        ticket = await kit.ledger.reserve(asked("b"))
        keys = [key for key in valkey.do("KEYS", "*") if b"once/" in key]
        assert sorted(key[-2:] for key in keys) == [b":h", b":k", b":v", b":z"]
        assert all(valkey.do("PTTL", key) > 86_400_000 for key in keys)  # something is running
        await kit.keep(kit.ledger, ticket, None)
        await kit.settle()
        assert all(0 < valkey.do("PTTL", key) <= 360_000 for key in keys)


@asynchronous
async def test_at_a_cluster_one_who_asks_is_at_one_server() -> None:
    async with clustered() as (one, _), RedisLedgerKit(one, f"redis://127.0.0.1:{one.port}") as kit:
        for who in ("ada", "bob", "cy", "di"):
            await kit.done(asked(who=who), outcome(who.encode()))
            assert await kit.ledger.reserve(asked(who=who)) == outcome(who.encode())


class Till:
    """An application whose keys are at a server."""

    def __init__(self, url: str) -> None:
        self.gates = Gates()
        self.done: list[Any] = []
        router = SimpleRouter()

        @router.post("/pay")
        async def pay(request: Request) -> str:
            self.done.append(request.data)
            return await self.gates.wait(request.data)

        self.app = Application(router, broker=url)

    def client(self) -> AsyncTestClient:
        return AsyncTestClient(self.app, user="ada")


@asynchronous
async def test_two_applications_know_what_the_other_has_done(valkey: Valkey) -> None:
    valkey.do("FLUSHALL")
    one, other = Till(valkey.url), Till(valkey.url)
    async with one.client() as client, other.client() as elsewhere:
        first = asyncio.ensure_future(client.post("/pay", data="a", idempotency_key=KEY))
        await one.gates.until_started("a")
        second = asyncio.ensure_future(elsewhere.post("/pay", data="a", idempotency_key=KEY))
        one.gates.open("a")
        assert [(reply.data, reply.replayed) for reply in (await first, await second)] == [("a", False), ("a", True)]
        assert (await elsewhere.post("/pay", data="b", idempotency_key=KEY)).status == 422
    assert other.done == []


@asynchronous
async def test_a_broker_that_is_over_is_not_kept_by_its_keys(valkey: Valkey) -> None:
    valkey.do("FLUSHALL")

    async def used() -> weakref.ref[Any]:
        till = Till(valkey.url)
        till.gates.open("a")
        async with till.client() as client:
            assert (await client.post("/pay", data="a", idempotency_key=KEY)).data == "a"
            return weakref.ref(till.app.live.broker)

    broker = await used()
    gc.collect()
    assert broker() is None


@asynchronous
async def test_when_the_server_is_gone_what_runs_is_answered_and_nothing_is_begun(valkey: Valkey) -> None:
    valkey.do("FLUSHALL")
    async with proxied(valkey) as (line, url):
        till = Till(url)
        async with till.client() as client:
            running_one = asyncio.ensure_future(client.post("/pay", data="a", idempotency_key=KEY))
            await till.gates.until_started("a")
            line.swallow()
            line.cut()
            till.gates.open("a")
            assert (await running_one).data == "a"
            refused = await client.post("/pay", data="b", idempotency_key=KEY * 2)
            assert (refused.status, refused.detail) == (503, "`idempotency_key`s cannot be looked up now")
            line.flow()
            again = await client.post("/pay", data="a", idempotency_key=KEY)
            while again.status == 503:  # until it is found again
                again = await client.post("/pay", data="a", idempotency_key=KEY)
            assert (again.data, again.replayed) == ("a", True)
    assert till.done == ["a"]


@pytest.mark.parametrize("script", [RESERVE, ENDED, RELEASED])
def test_scripts_are_whole(script: Any) -> None:
    assert b"BEGIN" not in script.text
    assert b"DAY" not in script.text
