"""A generator that yields what it waits for → what it returns, at once if there is nothing to wait for."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

__all__ = ("finish", "run")


def run(steps: Generator[Any, Any, Any]) -> Any:
    """Give what `steps` return, or an awaitable of it as soon as there is something to wait for."""
    try:
        pending = next(steps)
    except StopIteration as stop:
        return stop.value
    return finish(steps, pending)


async def finish(steps: Generator[Any, Any, Any], pending: Any) -> Any:
    """Give what `steps`, which wait for `pending`, return in the end."""
    try:
        while True:
            try:
                outcome = await pending
            except Exception as exc:
                pending = steps.throw(exc)
            else:
                pending = steps.send(outcome)
    except StopIteration as stop:
        return stop.value
