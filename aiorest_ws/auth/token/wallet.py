"""The tokens of one connection → what is known of each, and who is finding out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiorest_ws.auth.token.budget import Budget
from aiorest_ws.auth.token.credentials import Credentials
from aiorest_ws.callables.failures import PASSED_ON

__all__ = ("Flight", "Wallet", "wallet_of")

_MOST = 8  # tokens of a connection that are remembered
_FAILURES, _FAILURES_PER_SECOND = 10, 1.0


class Flight:
    """One who finds out about a token, and all who wait for it. It ends when the last of them has left."""

    def __init__(self, work: Coroutine[Any, Any, Credentials]) -> None:
        self._task = asyncio.get_running_loop().create_task(_without_exit(work))
        self._task.add_done_callback(_looked_at)
        self._waiting = 0

    @property
    def is_over(self) -> bool:
        return self._task.done()

    async def join(self) -> Credentials | None:
        """Give the credentials, or raise what is wrong; None if it was cancelled, which is nobody's else."""
        self._waiting += 1
        try:
            await asyncio.wait([self._task])
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._task.cancel()
        return None if self._task.cancelled() else self._task.result()


async def _without_exit(work: Coroutine[Any, Any, Credentials]) -> Credentials:
    """Do `work`; an exception that would end the loop, were it raised in a task, is a failure as any other."""
    try:
        return await work
    except PASSED_ON:
        raise
    except BaseException as exc:
        if isinstance(exc, Exception):
            raise
        raise RuntimeError(f"looking at a token raised {exc!r}") from exc


def _looked_at(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # those who waited have it; there may be none left


class Wallet:
    """What is known of the tokens of one connection; keys are who looked at it, and the token.

    failures    what tokens that are not valid it may still send
    refused     how many were not even looked at, since the last one that was
    """

    __slots__ = ("_flights", "_known", "_turn", "failures", "refused")

    def __init__(self) -> None:
        self._known: dict[tuple[Any, str], Credentials] = {}
        self._flights: dict[tuple[Any, str], Flight] = {}
        self._turn = 0
        self.failures = Budget(_FAILURES, _FAILURES_PER_SECOND)
        self.refused = 0

    def turn(self) -> int:
        """Give a number that is higher than those of all requests before."""
        self._turn += 1
        return self._turn

    def find(self, owner: Any, token: str) -> Credentials | None:
        found = self._known.pop((owner, token), None)
        if found is not None:
            self._known[owner, token] = found  # behind the others
        return found

    def keep(self, credentials: Credentials) -> None:
        self._known[credentials.owner, credentials.token] = credentials
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]

    def forget(self, credentials: Credentials) -> None:
        self._known.pop((credentials.owner, credentials.token), None)

    def flight(self, owner: Any, token: str) -> Flight | None:
        flight = self._flights.get((owner, token))
        return None if flight is None or flight.is_over else flight

    def begin(self, owner: Any, token: str, work: Coroutine[Any, Any, Credentials]) -> Flight:
        over = [key for key, flight in self._flights.items() if flight.is_over]
        for key in over:
            del self._flights[key]
        flight = self._flights[owner, token] = Flight(work)
        return flight


def wallet_of(connection: Any) -> Wallet:
    """Give the wallet of `connection`, made when it is first asked for."""
    wallet: Wallet | None = connection._wallet
    if wallet is None:
        wallet = connection._wallet = Wallet()
    return wallet
