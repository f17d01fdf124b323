"""Seconds that a test lets pass → what is due for subscriptions, done and told, in its order, without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from aiorest_ws.app import Application

__all__ = ("Passing",)

_TURNS = 6  # of the loop, from the end of a run to the client: an item is told in the next one, and sent in the next
_LEAST = 0.001  # seconds of a step
_MISSING: Any = object()


_all: WeakKeyDictionary[Application, Passing] = WeakKeyDictionary()


class Passing:
    """The time of one application's subscriptions: of its timers, of what is kept of logs, of its tokens and keys.

    All of them go on by themselves, too. What connections and requests may take is measured in real time.

    users    clients that it is there for: with the last one, clocks are what they were
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self._ahead = 0.0
        self._moved: dict[int, Any] = {}
        self._undo = ExitStack()
        self.users = 0

    @classmethod
    def begin(cls, app: Application) -> Passing:
        """Give that of `app`, for one more client: there is one, however many clients it has."""
        passing = _all.setdefault(app, cls(app))
        passing.users += 1
        return passing

    def end(self) -> None:
        """Take note that a client is gone."""
        self.users -= 1
        if not self.users:
            _all.pop(self._app, None)
            self._undo.close()

    async def advance(self, seconds: float) -> None:
        """Let so much time pass, from one thing that is due to the next, and wait until all of it is done."""
        if not seconds >= 0:
            raise ValueError(f"time goes on: expected seconds from 0, got {seconds!r}")
        self._move_clocks()
        await self.quiet()
        left = seconds
        while left > 0:
            step = self._until_next(left)
            left -= step
            self._ahead += step
            node = self._app.live._node
            if node is not None:
                node.timers.advance(step)
            await self.quiet()

    def _until_next(self, most: float) -> float:
        """Give seconds until something is due, at most `most`; never none, so that there is an end."""
        node = self._app.live._node
        due = None if node is None else node.timers.next_at()
        return most if node is None or due is None else min(most, max(due - node.timers.now(), _LEAST))

    async def quiet(self) -> None:
        """Wait until nothing runs for subscriptions, and what they are told has arrived."""
        turns = 0
        while turns < _TURNS:
            turns += 1
            runs = None if self._app.live._node is None else self._app.live._node.runs
            if runs is not None and not runs.is_quiet:
                turns = 0
                if runs.tasks:
                    await asyncio.wait(runs.tasks, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)

    # Clocks

    def _move_clocks(self) -> None:
        """Let what looks at clocks look at this one."""
        for each in (self._app.live.broker, self._app.live.ledger):
            if hasattr(each, "clock"):
                self._put(each, "clock", lambda each: self._later(each.clock))
        for middleware in list(self._believers()):
            self._put(middleware.manager, "now", lambda manager: self._later(manager.now))
            self._put(middleware, "_clock", lambda middleware: middleware.manager.clock)

    def _put(self, owner: Any, name: str, clock_of: Callable[[Any], Any]) -> None:
        if id(owner) not in self._moved:
            self._moved[id(owner)] = owner  # kept, so that nobody else gets its id
            own = vars(owner).get(name, _MISSING)
            setattr(owner, name, clock_of(owner))
            self._undo.callback(*((delattr, owner, name) if own is _MISSING else (setattr, owner, name, own)))

    def _later(self, clock: Callable[[], float]) -> Callable[[], float]:
        return lambda: clock() + self._ahead

    def _believers(self) -> Iterator[Any]:
        """Give the middlewares that look at tokens: those of the application, and of what is subscribed to."""
        for factory in list(self._app._factories):
            for connection in list(factory.connections):
                subscriptions = () if connection._live is None else list(connection._live.by_topic.values())
                for subscription in subscriptions:
                    yield from filter(_looks_at_tokens, subscription.plan.middlewares)
            yield from filter(_looks_at_tokens, factory.middlewares)


def _looks_at_tokens(middleware: Any) -> bool:
    return hasattr(middleware, "_clock") and hasattr(middleware, "manager")
