"""A function that answers for an exception → the table in which the pipeline looks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from aiorest_ws.dependencies.depends import check_needless

__all__ = ("adding_handler",)

H = TypeVar("H", bound=Callable[..., Any])


def adding_handler(handlers: dict[type[Exception], Callable[..., Any]], exception: type[Exception]) -> Callable[[H], H]:
    """Give the decorator that puts a function into `handlers`. Raises TypeError and ValueError for what cannot be."""
    if not isinstance(exception, type) or not issubclass(exception, Exception):
        raise TypeError(f"expected a subclass of Exception, got {exception!r}: use it as @exception_handler(KeyError)")

    def add(handler: H) -> H:
        if not callable(handler):
            raise TypeError(f"an exception handler must be a function, got {handler!r}")
        check_needless(handler, "an exception handler")
        if exception in handlers:
            raise ValueError(f"{exception.__qualname__} is already handled by {handlers[exception]!r}")
        handlers[exception] = handler
        return handler

    return add
