"""Steps that may have to wait → what they return, or a coroutine of it where one of them does wait."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

__all__ = ("Steps", "begin", "drive")

Steps = Generator[Any, Any, Any]  # yields each awaitable, and takes its outcome back


def begin(steps: Steps, waits: bool = False) -> Any:
    """Give what `steps` return, or a coroutine of it: from the start if they wait, else where they do all the same.

    What is all in one coroutine has one context: a context variable that is set can be reset there.
    """
    if waits:
        return drive(steps)
    try:
        pending = next(steps)
    except StopIteration as stop:
        return stop.value
    return drive(steps, pending)


async def drive(steps: Steps, pending: Any = None) -> Any:
    """Give what `steps` return; they wait for `pending`, or have not begun. A cancellation reaches them, too."""
    try:
        if pending is None:
            pending = next(steps)
        while True:
            try:
                outcome = await pending
            except BaseException as exc:
                pending = None  # it may hold the exception
                pending = steps.throw(exc)
            else:
                pending = steps.send(outcome)
    except StopIteration as stop:
        return stop.value
