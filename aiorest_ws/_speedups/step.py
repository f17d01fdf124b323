"""The first step of a coroutine, without a task of its own: most handlers need no second one.

The specification of `step_c.pyx`, its compiled twin. What is used of asyncio is documented for task implementations
(`_enter_task` and `_leave_task`, "Extending asyncio").
"""

from __future__ import annotations

from asyncio import current_task
from asyncio.tasks import _enter_task, _leave_task
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from contextvars import Context

__all__ = ("copy_context", "enter", "first_step", "leave")


def enter(context: Context) -> bool:
    """Make `context` the one of now, until `leave`; tells whether it could. From Python only `context.run` can."""
    return False


def leave(context: Context) -> None:
    """Go back to the context before `enter`."""


def first_step(coroutine: Any, context: Context, loop: AbstractEventLoop, task: Task[None]) -> tuple[bool, Any]:
    """Run `coroutine` in `context` as if `task` did, up to its end or to where it waits.

    Gives (True, what it returned) or (False, what it waits for); raises what it raises.
    """
    running = current_task(loop)
    if running is not None:
        _leave_task(loop, running)
    _enter_task(loop, task)
    try:
        return False, context.run(coroutine.send, None)
    except StopIteration as stop:
        return True, stop.value
    finally:
        _leave_task(loop, task)
        if running is not None:
            _enter_task(loop, running)
