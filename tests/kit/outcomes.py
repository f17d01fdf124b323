"""What a function does, as a value: two that must do the same are asked for theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ("outcome",)


def outcome(function: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
    """Give what `function` does: its result with its type, or its exception's type and text."""
    try:
        result = function(*args)
    except Exception as exc:  # that is an outcome, too
        return type(exc), str(exc)
    return type(result), repr(result)
