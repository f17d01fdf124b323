"""The ledger in memory against a model, step by step; and what is left of it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aiorest_ws.idempotency import Idempotency
from aiorest_ws.idempotency.exceptions import BaseIdempotencyException
from aiorest_ws.idempotency.ledgers import Asked, Outcome
from aiorest_ws.idempotency.memory import MemoryLedger
from tests.kit.brokers import Clock
from tests.kit.ledgers import asked, outcome
from tests.serving import asynchronous

SETTINGS = Idempotency(seconds=10, max_reply=30, max_bytes=100, max_bytes_each=60, max_keys=8, max_keys_each=4)


def outcome_of(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Give what a coroutine gives that does not wait, the class of what it raises, or "waits"."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    except BaseIdempotencyException as exc:
        return type(exc).__name__
    coroutine.close()
    return "waits"


class Model(RuleBasedStateMachine):
    """What is known of each key, as a plain list, the oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        asyncio._set_running_loop(self.loop)
        self.clock = Clock()
        self.ledger = MemoryLedger(SETTINGS, self.clock)
        self.running: dict[Asked, Any] = {}
        self.ended: list[dict[str, Any]] = []

    def teardown(self) -> None:
        self.ledger.stop()
        asyncio._set_running_loop(None)
        self.loop.close()

    def known(self, what: Asked) -> dict[str, Any] | None:
        return next((each for each in self.ended if each["asked"].key == what.key), None)

    def of(self, who: bytes) -> int:
        return sum(each.who == who for each in self.all_known())

    def all_known(self) -> list[Asked]:
        return [*self.running, *(each["asked"] for each in self.ended)]

    @rule(key=st.sampled_from("abcdef"), who=st.sampled_from(["ada", "bob", "cy"]), said=st.sampled_from("12"))
    def ask(self, key: str, who: str, said: str) -> None:
        what = asked(key, who, said)
        given = outcome_of(self.ledger.reserve(what))
        same = next((each for each in self.all_known() if each.key == what.key), None)
        if same is not None and same.said != what.said:
            expected: Any = "IdempotencyKeyReused"
        elif same in self.running:
            expected = "waits"
        elif same is not None:
            known = self.known(what)
            assert known is not None
            expected = "OutcomeUnknown" if known["lost"] else known["outcome"] or "OutcomeNotKept"
        elif self.of(what.who) >= SETTINGS.max_keys_each:
            expected = "TooManyIdempotencyKeys"
        elif len(self.all_known()) >= SETTINGS.max_keys:
            expected = "IdempotencyUnavailable"
        else:
            self.running[what] = given
            return
        assert given == expected

    @precondition(lambda self: self.running)
    @rule(data=st.data(), size=st.integers(0, 40), is_kept=st.booleans())
    def keep(self, data: st.DataObject, size: int, is_kept: bool) -> None:
        what = data.draw(st.sampled_from(list(self.running)))
        came = outcome(b"1" * size) if is_kept else None
        self.ledger.keep(self.running.pop(what), came)
        if came is not None and size > SETTINGS.max_reply:
            came = None
        if came is not None:
            own = [each for each in self.ended if each["asked"].who == what.who and each["outcome"]]
            while own and sum(map(size_of, own)) + size > SETTINGS.max_bytes_each:
                own.pop(0)["outcome"] = None
            if sum(map(size_of, self.ended)) + size > SETTINGS.max_bytes:
                came = None
        self.ended.append({"asked": what, "outcome": came, "lost": False, "at": self.clock()})

    @precondition(lambda self: self.running)
    @rule(data=st.data(), is_lost=st.booleans())
    def let_go(self, data: st.DataObject, is_lost: bool) -> None:
        what = data.draw(st.sampled_from(list(self.running)))
        ticket = self.running.pop(what)
        if is_lost:
            self.ledger.lose(ticket)
            self.ended.append({"asked": what, "outcome": None, "lost": True, "at": self.clock()})
        else:
            self.ledger.release(ticket)

    @rule(seconds=st.sampled_from([1, 5, 10]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds
        self.ended = [each for each in self.ended if each["at"] + SETTINGS.seconds > self.clock()]
        self.ledger._forget()

    @invariant()
    def it_is_as_large_as_the_model(self) -> None:
        assert len(self.ledger) == len(self.all_known())
        assert self.ledger.size == sum(map(size_of, self.ended)) <= SETTINGS.max_bytes
        assert len(self.ledger._shares) == len({each.who for each in self.all_known()})


def size_of(known: dict[str, Any]) -> int:
    return len(known["outcome"].value) if known["outcome"] else 0


TestModel = Model.TestCase
TestModel.settings = settings(stateful_step_count=40)


@asynchronous
async def test_one_timer_forgets_what_nobody_asks_for() -> None:
    ledger = MemoryLedger(Idempotency(seconds=0.01))
    for key in "abc":
        ticket = await ledger.reserve(asked(key))
        assert not isinstance(ticket, Outcome)
        ledger.keep(ticket, outcome())
    assert (len(ledger), ledger.size) == (3, 3)
    while len(ledger):  # noqa: ASYNC110 (it is to happen by itself)
        await asyncio.sleep(0)
    assert ledger.size == 0
    assert ledger._timer is None


@asynchronous
async def test_who_waits_and_leaves_is_forgotten() -> None:
    ledger = MemoryLedger(SETTINGS)
    ticket = await ledger.reserve(asked())
    assert not isinstance(ticket, Outcome)
    for _ in range(3):
        waiting = asyncio.ensure_future(ledger.reserve(asked()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    over: Any = ticket.over
    assert not over._callbacks
    assert not over.done()
    ledger.release(ticket)
    assert len(ledger) == 0
