"""The first step of a coroutine, without a task of its own: most handlers need no second one.

The specification of `step_c.pyx`, its compiled twin. What is used of asyncio is documented for task implementations
(`_enter_task` and `_leave_task`, "Extending asyncio").
"""

from __future__ import annotations

from asyncio import current_task
from asyncio.tasks import _enter_task, _leave_task
from contextvars import copy_context
from sys import getrefcount
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from contextvars import Context

__all__ = ("SEES_LOOKS", "Lookout", "copy_context", "enter", "first_step", "go_in", "go_out", "leave")

_OWN = 3  # references to a task that waits: its lookout's, its spare task's, and that of the future it waits for


def enter(context: Context) -> bool:
    """Make `context` the one of now, until `leave`; tells whether it could. From Python only `context.run` can."""
    return False


def leave(context: Context) -> None:
    """Go back to the context before `enter`."""


class Lookout:
    """Takes note of each look at the task that runs in `loop`, while that is `task` in a first step.

    Up to Python 3.13 asyncio keeps the tasks that run in a dict, by their loops. There this stands for the loop: it
    has its hash and is equal to it, but is another object, so who looks up the loop asks it whether it is the one.
    Every look is seen, whatever is made of it: `asyncio.current_task`, `asyncio.timeout` and all else that calls it,
    from a thread, too. Nothing is seen of looks at `asyncio.all_tasks()`: `is_kept` finds what these leave behind.
    """

    __slots__ = ("_hash", "looked", "loop", "task")

    def __init__(self, loop: AbstractEventLoop, task: Task[None]) -> None:
        self._hash = hash(loop)
        self.loop = loop
        self.task = task
        self.looked = False

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        self.looked = True
        return other is self.loop

    def is_kept(self) -> bool:
        """Tell whether somebody has a reference to the task, which waits. Neither a weak one counts nor its `id`."""
        return getrefcount(self.task) - 1 > _OWN


def first_step(coroutine: Any, context: Context, lookout: Lookout) -> tuple[bool, Any]:
    """Run `coroutine` in `context` as if the task of `lookout` did, up to its end or to where it waits.

    Gives (True, what it returned) or (False, what it waits for); raises what it raises.
    """
    running = go_out(lookout.loop)
    _enter_task(lookout, lookout.task)  # type: ignore[arg-type]
    try:
        return False, context.run(coroutine.send, None)
    except StopIteration as stop:
        return True, stop.value
    finally:
        _leave_task(lookout, lookout.task)  # type: ignore[arg-type]
        go_in(lookout.loop, running)


def go_out(loop: AbstractEventLoop) -> Task[Any] | None:
    """Leave the task that runs in `loop`; gives it, for `go_in`. None: there is none."""
    running = current_task(loop)
    if running is not None:
        _leave_task(loop, running)
    return running


def go_in(loop: AbstractEventLoop, running: Task[Any] | None) -> None:
    """Go on in the task that `go_out` gave."""
    if running is not None:
        _enter_task(loop, running)


def _sees_looks() -> bool:
    """Tell whether a `Lookout` is asked. Not from Python 3.14 on: a thread has its task, and no dict is looked at."""
    loop: Any = object()
    task: Any = object()
    lookout: Any = Lookout(loop, task)
    try:
        _enter_task(lookout, task)
    except RuntimeError:
        return False  # this is no loop that runs
    try:
        return current_task(loop) is task and bool(lookout.looked)
    finally:
        _leave_task(lookout, task)


SEES_LOOKS = _sees_looks()
