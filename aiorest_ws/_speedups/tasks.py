"""A handler that waits → the task in which it goes on.

Its first step is made in the name of a task that is kept ready; most handlers need no more. The next handler, maybe
another client's, makes its first step in the name of the same task: unless somebody has looked at it, and may know it.
"""

from __future__ import annotations

from asyncio import CancelledError
from contextvars import Context
from sys import version_info
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from collections.abc import Generator

if TYPE_CHECKING or not __name__.endswith("_c"):
    from .eager import SEES_LOOKS, Lookout
else:
    from .eager_c import SEES_LOOKS, Lookout

__all__ = ("Begun", "Resumed", "SpareTask", "SpareTasks", "raised")

_UNCANCEL_IS_WEAK = version_info < (3, 13)  # an uncancelled task gets its CancelledError all the same


class SpareTasks:
    """Keeps one task of a loop ready, in whose name the first step of a handler runs.

    A handler that needs no second step, and has not looked at it, leaves it as it was. One that waits takes it over,
    one that has looked ends it; then the next is made. Where looks cannot be seen there is none: each handler has a
    task of its own from its start.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._coming = not SEES_LOOKS
        self._closed = False
        self.spare: SpareTask | None = None  # parked

    def prepare(self) -> None:
        """See to it that there will be a spare task."""
        if self.spare is None and not self._coming:
            self._coming = True
            SpareTask(self, self._loop)

    def take(self) -> SpareTask | None:
        """Give the spare task, if there is one: a step made inside another's step must not have the same."""
        spare, self.spare = self.spare, None
        if spare is None or spare.is_free():
            return spare
        spare.end()
        return None

    def put_back(self, spare: SpareTask) -> None:
        """Keep a spare task that was not needed, unless another comes; let one go that somebody may know."""
        if self.spare is None and not self._coming and not spare.lookout.looked:
            self.spare = spare
        else:
            spare.end()

    def parked(self, spare: SpareTask) -> None:
        """Take note that `spare` is ready."""
        if self._closed:
            spare.task.cancel()
            return
        self._coming = False
        self.spare = spare

    def close(self) -> Task[None] | None:
        """Let the spare task go; gives its task, which is about to end."""
        spare, self.spare, self._coming, self._closed = self.spare, None, True, True
        if spare is None:
            return None
        spare.task.cancel()
        return spare.task


class SpareTask:
    """A task that waits for a handler which waits, and then is the task of that handler."""

    def __init__(self, spare_tasks: SpareTasks, loop: AbstractEventLoop) -> None:
        self._spare_tasks = spare_tasks
        self._wake = loop.create_future()
        self._job: Any = None
        self._resumed: Resumed | None = None
        # Not in the context of now: that is a client's, and `Task.get_context` would give it to others.
        self.task: Task[None] = Context().run(loop.create_task, self._work())
        self.lookout = Lookout(loop, self.task)

    def is_free(self) -> bool:
        """Tell whether it waits, known to nobody, and is not even to be cancelled."""
        return not self._wake.done() and not self.lookout.is_kept()

    def adopt(self, resumed: Resumed, job: Any) -> Task[None]:
        """Become the task of `job`, a coroutine that awaits `resumed`."""
        self._resumed, self._job = resumed, job
        self.end()
        return self.task

    def end(self) -> None:
        """Wait no longer. Without a job that is all: whoever waits for the end of the task is told."""
        if not self._wake.done():
            self._wake.set_result(None)

    async def _work(self) -> None:
        self._spare_tasks.parked(self)
        try:
            await self._wake
        except CancelledError as exc:
            is_cancelled = _UNCANCEL_IS_WEAK or self.task.cancelling() > 0
            if is_cancelled and self._resumed is not None:
                self._resumed.cancelled = exc.args
            elif is_cancelled and self._wake.cancelled():  # else it came after the end of the handler
                raise
        if self._resumed is not None:
            await self._job


class Resumed:
    """Goes on, in its own context, with a coroutine that has made its first step; unless it was not `begun`.

    In the task that awaits it: a task of its own could be cancelled before its first step, and would drop what its
    coroutine is to await.
    """

    def __init__(self, coroutine: Any, context: Context, waits_for: Any, begun: bool = True) -> None:
        self._coroutine = coroutine
        self._context = context
        self._begun = begun
        self._waits_for = waits_for
        # A mark of asyncio's between a future and the task that begins to wait for it, at once as a rule. Another task
        # must not find it here: it is kept, until this one waits. None: no future.
        self._mark = getattr(waits_for, "_asyncio_future_blocking", None)
        if self._mark:
            waits_for._asyncio_future_blocking = False
        self.cancelled: tuple[Any, ...] | None = None  # what CancelledError is to be made with

    def __await__(self) -> Generator[Any, Any, Any]:
        run, coroutine, waits_for = self._context.run, self._coroutine, self._waits_for
        try:
            if self.cancelled is not None and (not self._mark or not waits_for.cancel(*self.cancelled)):
                waits_for = run(coroutine.throw, CancelledError(*self.cancelled))
            elif not self._begun:
                waits_for = run(coroutine.send, None)
            elif self._mark:
                waits_for._asyncio_future_blocking = True
            while True:
                try:
                    value = yield waits_for
                except BaseException as exc:
                    waits_for = run(coroutine.throw, exc)
                else:
                    waits_for = run(coroutine.send, value)
        except StopIteration as stop:
            result = stop.value
        return result


class Begun:
    """Awaits a coroutine that has made its first step, from where that left it."""

    def __init__(self, coroutine: Any, waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine, waits_for = self._coroutine, self._waits_for
        try:
            while True:
                try:
                    value = yield waits_for
                except BaseException as exc:
                    waits_for = coroutine.throw(exc)
                else:
                    waits_for = coroutine.send(value)
        except StopIteration as stop:
            result = stop.value
        return result


async def raised(exc: BaseException) -> None:
    try:
        raise exc
    finally:
        del exc  # it would hold this, and so the request, until the garbage collector comes
