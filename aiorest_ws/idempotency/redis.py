"""The ledger of many machines: keys and outcomes at the Redis that is the broker.

How much all keys may take is for the server to say (`maxmemory`); `max_keys` and `max_bytes` are not for it.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from aiorest_ws.exceptions import BrokerUnavailable
from aiorest_ws.idempotency import Idempotency
from aiorest_ws.idempotency.exceptions import (
    IdempotencyKeyReused,
    IdempotencyUnavailable,
    OutcomeNotKept,
    OutcomeUnknown,
    TooManyIdempotencyKeys,
)
from aiorest_ws.idempotency.ledgers import Asked, Outcome
from aiorest_ws.idempotency.redis_scripts import ENDED, RELEASED, RESERVE
from aiorest_ws.realtime.brokers.redis.scripts import Script
from aiorest_ws.realtime.versions import new_epoch

if TYPE_CHECKING:
    from aiorest_ws.realtime.brokers.redis import RedisBroker

__all__ = ("RedisLedger",)

_LEASE = 15.0  # seconds without a sign of life after which a process is dead
_BEAT = 3.0  # seconds between two of them
_SOON, _LATER = 0.02, 0.5  # seconds between two looks at a request that runs elsewhere: at first, in the long run
_AGAIN = 1.0  # seconds until something is said once more
_MOST_UNSAID = 1_000  # outcomes that wait until the server is back; of more it is only said that they are done
_ERRORS: dict[bytes, type[Exception]] = {
    b"other": IdempotencyKeyReused,
    b"lost": OutcomeUnknown,
    b"unkept": OutcomeNotKept,
    b"many": TooManyIdempotencyKeys,
}


class _Ticket(NamedTuple):
    asked: Asked
    name: bytes


class RedisLedger:
    """Asks the server, each time anew: nothing of what others do is remembered here.

    A process gives signs of life while it does something. What a process did that gives none any more is lost; if it
    comes back all the same, and says what came of it, that is known.

    What cannot be said now, as the server is away, is said when it is back: so it does not matter that nobody knows
    whether a command that got no answer was done.
    """

    def __init__(self, broker: RedisBroker, settings: Idempotency) -> None:
        self.lease = _LEASE
        self._broker = broker
        self._settings = settings
        self._process = new_epoch().encode()
        self._numbers = count(1)
        self._held: set[bytes] = set()  # tickets of what is being done here, as far as the server knows
        self._settling: dict[asyncio.Task[None], bytes] = {}  # what says that one of them is done
        self._beating: asyncio.Task[None] | None = None
        self._beaten = -_LEASE  # when the last sign of life was given
        self._alive: set[bytes] = set()
        self._trusts_until = 0.0  # all are taken to be alive: the server has forgotten who is

    # What is asked

    async def reserve(self, asked: Asked) -> Outcome | _Ticket:
        ticket = _Ticket(asked, b"%s-%x" % (self._process, next(self._numbers)))
        self._held.add(ticket.name)
        try:
            given = await self._reserved(ticket)
        except BrokerUnavailable:
            self.release(ticket)  # it may have been reserved
            raise IdempotencyUnavailable() from None
        except asyncio.CancelledError:
            self.release(ticket)
            raise
        except BaseException:  # raised again
            self._held.discard(ticket.name)
            raise
        if isinstance(given, Outcome):
            self._held.discard(ticket.name)
        return given

    async def _reserved(self, ticket: _Ticket) -> Outcome | _Ticket:
        await self._live()
        seconds = _SOON
        while True:
            most = self._settings.max_keys_each
            kind, *rest = await self._run(RESERVE, ticket.asked, ticket.name, ticket.asked.said, self._process, most)
            if kind == b"yours":
                return ticket
            if kind == b"done":
                status, name, form, value = rest
                return Outcome(int(status), name.decode(), int(form), value)
            if kind != b"runs":
                raise _ERRORS[kind]()
            if not await self._cleared(ticket.asked, *rest):
                await asyncio.sleep(seconds)
                seconds = min(2 * seconds, _LATER)

    async def _cleared(self, asked: Asked, name: bytes, process: bytes) -> bool:
        """Take note of the end of a request which nobody does any more; tell whether it was one."""
        if process == self._process:
            if name in self._held:
                return False
            await self._run(RELEASED, asked, name)  # it was never begun
            return True
        await self._live()
        if process in self._alive or self._now() < self._trusts_until:
            return False
        await self._end(asked, name, b"l", None)
        return True

    # What is said

    def keep(self, ticket: _Ticket, outcome: Outcome | None) -> asyncio.Future[None]:
        if outcome is not None and len(outcome.value) > self._settings.max_reply:
            outcome = None
        return self._settle(ticket, b"d", outcome)

    def release(self, ticket: _Ticket) -> None:
        self._settle(ticket)

    def lose(self, ticket: _Ticket) -> None:
        self._settle(ticket, b"l")

    def _settle(self, ticket: _Ticket, state: bytes = b"", outcome: Outcome | None = None) -> asyncio.Future[None]:
        """Say what became of a ticket, again and again until it is known; gives a future of the first try.

        state    as `ENDED` takes it; b"": it is released
        """
        if len(self._settling) >= _MOST_UNSAID:
            outcome = None
        loop = asyncio.get_running_loop()
        tried: asyncio.Future[None] = loop.create_future()
        task = loop.create_task(self._say(ticket, state, outcome, tried), context=Context())
        self._settling[task] = ticket.name
        task.add_done_callback(self._settled)
        return tried

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._held.discard(self._settling.pop(task))

    async def _say(self, ticket: _Ticket, state: bytes, outcome: Outcome | None, tried: asyncio.Future[None]) -> None:
        while True:
            try:
                if state:
                    await self._end(ticket.asked, ticket.name, state, outcome)
                else:
                    await self._run(RELEASED, ticket.asked, ticket.name)
            except BrokerUnavailable:
                _resolve(tried)
                await asyncio.sleep(_AGAIN)
            else:
                break
        _resolve(tried)

    async def _end(self, asked: Asked, name: bytes, state: bytes, outcome: Outcome | None) -> None:
        status, what, form, value = outcome or (0, "", 0, b"")
        settings = self._settings
        kept = int(settings.seconds * 1000), settings.max_bytes_each
        await self._run(ENDED, asked, name, state, *kept, status, what, form, value)

    async def _run(self, script: Script, asked: Asked, *args: Any) -> Any:
        place = f"*once/{asked.who.hex()}"
        server, _ = self._broker.keys(place, "")
        keys = tuple(self._broker.keys(place, kind)[1] for kind in (":h", ":v", ":z", ":k"))
        return await server.line.run(script, keys, self._broker.now(), asked.key.hex(), *args)

    # Signs of life

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _live(self) -> None:
        """See to it that this process is known to be alive, and who else is."""
        if self._now() - self._beaten > min(_AGAIN, self.lease / 5):
            await self._beat()
        if self._beating is None:
            self._beating = asyncio.get_running_loop().create_task(self._keep_beating(), context=Context())

    async def _beat(self) -> None:
        now = self._now()
        server, key = self._broker.keys("*once", "")
        lease = int(self.lease * 1000)
        is_new, alive, _ = await server.line.run(server.line.scripts.alive, (key,), self._process, lease, "")
        if is_new and self._alive:
            self._trusts_until = now + self.lease
        self._beaten, self._alive = now, set(alive)

    async def _keep_beating(self) -> None:
        while self._held:
            await asyncio.sleep(min(_BEAT, self.lease / 5))
            try:
                await self._beat()
            except BrokerUnavailable:
                pass  # it is tried again
        self._beating = None

    def stop(self) -> None:
        for task in self._settling:
            task.cancel()
        if self._beating is not None and self._held <= set(self._settling.values()):
            self._beating.cancel()
            self._beating = None


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
