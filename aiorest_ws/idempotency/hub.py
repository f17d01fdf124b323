"""The ledger of a worker: what it is asked → the hub, in the supervisor, which knows what all workers have done.

| the worker says | head | body |
|---|---|---|
| `key` | number, digests in hexadecimal: key, who, said | |
| `key kept` | number, whether there is an outcome, its status, name and form | its value |
| `key released`, `key lost`, `key left` | number; the last: nobody waits for the answer any more | |

| the hub says | head | body |
|---|---|---|
| `key waits` | number: the request with this key is running | |
| `key yours` | number | |
| `key done` | number, status, name and form of the outcome | its value |
| `key refused` | number, name of the error, its detail | |
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiorest_ws.idempotency import Idempotency, exceptions
from aiorest_ws.idempotency.exceptions import IdempotencyUnavailable
from aiorest_ws.idempotency.ledgers import Asked, Outcome
from aiorest_ws.realtime.brokers.hub_messages import MOST_PENDING, Channel

__all__ = ("HubLedger",)

_PATIENCE = 5.0  # seconds in which the hub answers
_WAITS: Any = object()


class HubLedger:
    """Asks the hub. A ticket is the number under which it was asked."""

    def __init__(self, channel: Channel, settings: Idempotency) -> None:
        self._channel = channel
        self._settings = settings
        self._last = 0
        self._asked: dict[int, asyncio.Future[Any]] = {}  # what waits for its answer
        self._is_lost = False
        channel.take("key waits", lambda head, body: self._answer(head[0], _WAITS))
        channel.take("key yours", lambda head, body: self._answer(head[0], head[0]))
        channel.take("key done", self._on_done)
        channel.take("key refused", lambda head, body: self._answer(head[0], getattr(exceptions, head[1])(head[2])))
        channel.on_lost(self._lose_all)

    async def reserve(self, asked: Asked) -> Outcome | int:
        if self._is_lost or self._channel.pending > MOST_PENDING:
            raise IdempotencyUnavailable()
        self._last = number = self._last + 1
        self._expect(number)
        self._channel.send("key", number, *(part.hex() for part in asked))
        try:
            return await self._answered(number)
        except BaseException:  # raised again
            if number in self._asked:
                del self._asked[number]
                self._channel.send("key left", number)
            raise

    async def _answered(self, number: int) -> Outcome | int:
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = await self._asked[number]
        except TimeoutError:
            raise IdempotencyUnavailable() from None
        if answer is _WAITS:
            answer = await self._asked[number]
        del self._asked[number]
        if isinstance(answer, Exception):
            raise answer
        given: Outcome | int = answer
        return given

    def _expect(self, number: int) -> None:
        self._asked[number] = asyncio.get_running_loop().create_future()

    def _answer(self, number: int, answer: Any) -> None:
        future = self._asked.get(number)
        if future is None or future.done():
            return  # who has asked has left
        if answer is _WAITS:
            self._expect(number)
        future.set_result(answer)

    def _on_done(self, head: list[Any], body: bytes) -> None:
        number, status, name, form = head
        self._answer(number, Outcome(status, name, form, body))

    def _lose_all(self) -> None:
        self._is_lost = True
        for future in self._asked.values():
            if not future.done():
                future.set_result(IdempotencyUnavailable())

    def keep(self, ticket: int, outcome: Outcome | None) -> None:
        if outcome is None or len(outcome.value) > self._settings.max_reply:
            self._channel.send("key kept", ticket, False, 0, "", 0)
        else:
            self._channel.send("key kept", ticket, True, *outcome[:3], body=outcome.value)

    def release(self, ticket: int) -> None:
        self._channel.send("key released", ticket)

    def lose(self, ticket: int) -> None:
        self._channel.send("key lost", ticket)

    def stop(self) -> None:
        """Let go of nothing: there is nothing but the channel, which is not its own."""
