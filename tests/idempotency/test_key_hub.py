"""Keys of several workers: what one has done the others know, also when it dies."""

import asyncio
import os
import signal
from typing import Any

import pytest

from aiorest_ws.idempotency import hub
from aiorest_ws.idempotency.exceptions import IdempotencyUnavailable, OutcomeUnknown
from aiorest_ws.idempotency.ledgers import Outcome
from tests.kit.ledgers import HubLedgerKit, asked, outcome
from tests.kit.systems import needs_posix
from tests.kit.workers import address_in, program_of, two_clients
from tests.serving import asynchronous, turn_over, within

KEY = "7f1c6d1e-2b1a-4d3f"
DIGESTS = [part.hex() for part in asked()]


@asynchronous
async def test_what_a_worker_was_doing_when_it_died_is_unknown_and_what_it_had_done_is_known() -> None:
    async with HubLedgerKit() as kit:
        await kit.done(asked("done"), outcome())
        await kit.ledger.reserve(asked("doing"))
        waiting = asyncio.ensure_future(kit.other.reserve(asked("doing")))
        await kit.settle()
        kit.channels[1].abort()
        with pytest.raises(OutcomeUnknown):
            await waiting
        assert await kit.other.reserve(asked("done")) == outcome()
        third = await kit.worker()
        with pytest.raises(OutcomeUnknown):
            await third.reserve(asked("doing"))


@asynchronous
async def test_of_who_waited_in_a_worker_that_died_nothing_is_left() -> None:
    async with HubLedgerKit() as kit:
        ticket = await kit.other.reserve(asked())
        waiting = asyncio.ensure_future(kit.ledger.reserve(asked()))
        await kit.settle()
        kit.channels[1].abort()
        with pytest.raises(IdempotencyUnavailable):
            await waiting
        await kit.settle()
        assert len(kit.hub._workers) == 1
        kit.other.release(ticket)
        assert not isinstance(await kit.other.reserve(asked()), Outcome)  # it was given to nobody who is gone


@asynchronous
async def test_without_a_supervisor_nothing_is_begun() -> None:
    async with HubLedgerKit() as kit:
        ticket = await kit.ledger.reserve(asked("a"))
        kit.channels[0].abort()
        await kit.settle()
        with pytest.raises(IdempotencyUnavailable):
            await kit.ledger.reserve(asked("b"))
        kit.ledger.keep(ticket, outcome())  # it is said to nobody, and nothing goes wrong


@asynchronous
async def test_a_hub_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_PATIENCE", 0.01)
    async with HubLedgerKit() as kit:
        worker: Any = next(iter(kit.hub._workers))
        said: list[Any] = []
        monkeypatch.setattr(kit.channels[0], "send", lambda *head, body=b"": said.append(head))
        monkeypatch.setattr(kit.channels[2], "send", lambda *head, body=b"": said.append(head))
        with pytest.raises(IdempotencyUnavailable):
            await kit.ledger.reserve(asked())
        await kit.settle()
        assert said == [("key yours", 1)]
        assert len(kit.hub.ledger) == 0  # it was taken back
        assert worker._tickets == {}


@asynchronous
async def test_a_hub_that_takes_nothing_is_told_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "MOST_PENDING", 100)
    async with HubLedgerKit() as kit:
        asking = asyncio.ensure_future(kit.ledger.reserve(asked("a")))
        await asyncio.sleep(0)  # it has not left yet
        with pytest.raises(IdempotencyUnavailable):
            await kit.ledger.reserve(asked("b"))
        assert not isinstance(await asking, Outcome)
        assert not isinstance(await kit.ledger.reserve(asked("b")), Outcome)
        assert len(kit.ledger._asked) == 0


@asynchronous
async def test_who_is_cancelled_while_it_is_asked_has_nothing() -> None:
    async with HubLedgerKit() as kit:
        asking = asyncio.ensure_future(kit.ledger.reserve(asked()))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        await kit.settle()
        assert len(kit.hub.ledger) == 0
        assert kit.ledger._asked == {}


CONFUSED: list[tuple[Any, ...]] = [
    ("key", "1", *DIGESTS),
    ("key", 1, *DIGESTS[:2]),
    ("key", 1, "x" * 64, *DIGESTS[1:]),
    ("key", 1, DIGESTS[0][2:], *DIGESTS[1:]),
    ("key kept", 7, True, 200, "data", 0),
    ("key kept", 1, True, 99, "data", 0),
    ("key kept", 1, True, 200, "else", 0),
    ("key kept", 1, True, 200, "data", 1),
    ("key kept", 1, 1, 200, "data", 0),
    ("key released", 7),
    ("key lost", None),
    ("key left", "1"),
]


@pytest.mark.parametrize(
    ("said", "body"), [*((said, b"") for said in CONFUSED), (("key", 2, *DIGESTS), b"1"), (("key lost", 1), b"1")]
)
@asynchronous
async def test_a_worker_that_is_confused_is_closed_and_takes_nobody_along(
    said: tuple[Any, ...], body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with HubLedgerKit() as kit:
        await kit.ledger.reserve(asked("a"))
        ticket = await kit.other.reserve(asked("b"))
        kit.channels[1].send(*said, body=body)
        await kit.settle()
        assert kit.channels[0].is_closed
        assert "is not understood" in caplog.text
        await kit.keep(kit.other, ticket, outcome())
        assert await kit.other.reserve(asked("b")) == outcome()
        with pytest.raises(OutcomeUnknown):
            await kit.other.reserve(asked("a"))


@asynchronous
async def test_a_number_is_of_one_request() -> None:
    async with HubLedgerKit() as kit:
        await kit.ledger.reserve(asked("a"))
        kit.channels[1].send("key", 1, *DIGESTS)
        await turn_over(20)
        assert kit.channels[0].is_closed


PROGRAM = """
@router.post("/pay")
async def pay(request):
    print("paying", os.getpid(), flush=True)
    await asyncio.sleep(request.data)
    return os.getpid()
app = Application(router, port=0, workers=2, idempotency=lambda request: "ada")
app.run()
"""


@needs_posix
@within(60)
async def test_workers_know_what_the_others_have_done() -> None:
    async with program_of(PROGRAM) as program:
        where = address_in(await program.started())
        (one, first), (other, second) = await two_clients(where)
        async with one, other:
            parts: dict[str, Any] = {"data": 0, "idempotency_key": KEY}
            assert (await one.ask("POST", "/pay", id=1, **parts))["data"] == first
            assert (await other.ask("POST", "/pay", id=1, **parts)) == {
                "id": 1,
                "status": 200,
                "data": first,
                "replayed": True,
            }
            parts = {"data": 3600, "idempotency_key": KEY * 2}
            one.request("POST", "/pay", id=2, **parts)
            assert [await program.line() for _ in range(2)] == [f"paying {first}"] * 2
            other.request("POST", "/pay", id=2, **parts)
            os.kill(first, signal.SIGKILL)
            reply = await other.reply()
            assert reply["status"] == 409
            assert "may have run" in reply["detail"]
            assert (await other.ask("GET", "/pid", id=3))["data"] == second
