"""A request and a view → whether it may pass; permissions that are made of others with `&`, `|` and `~`."""

from __future__ import annotations

from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Generator
from typing import Any

from aiorest_ws.calls import is_awaitable
from aiorest_ws.exceptions import BaseAuthException

__all__ = ("AbstractPermission",)


class _Composable:
    """What has `&`, `|` and `~`: classes of permissions, and instances of them."""

    def __and__(self, other: Any) -> Any:
        return _Both(_checked(self), _checked(other))

    def __rand__(self, other: Any) -> Any:
        return _Both(_checked(other), _checked(self))

    def __or__(self, other: Any) -> Any:
        return _Either(_checked(self), _checked(other))

    def __ror__(self, other: Any) -> Any:
        return _Either(_checked(other), _checked(self))

    def __invert__(self) -> Any:
        return _Not(_checked(self))


class _ComposableMeta(_Composable, ABCMeta):
    """`IsAuthenticated & IsOwner` of two classes; without it `|` would be a union of types."""


class AbstractPermission(_Composable, ABC, metaclass=_ComposableMeta):
    """Decides whether a request may reach a view that names it in `permission_classes`.

    Classes and instances make others: `IsAuthenticated & (IsOwner | HasScope("admin"))`, `~IsBanned`. In those a
    permission that raises BaseAuthException has said no; whatever else one raises, nobody passes.
    """

    @staticmethod
    @abstractmethod
    def check(request: Any, handler: Any) -> Any:
        """Give true to let `request` pass. Anything false, and anything raised, denies it. Sync or async."""


class _Combined(AbstractPermission):
    """Permissions as parts of one. It stays sync unless one of those that are asked is not."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def _steps(self) -> Generator[Any, bool, bool]:
        """Yield each part to be asked, take its answer, return that of the whole."""
        raise NotImplementedError

    def check(self, request: Any, handler: Any) -> Any:  # type: ignore[override]
        steps = self._steps()
        part = next(steps)
        while part is not None:
            try:
                allowed = part.check(request, handler)
            except BaseAuthException:
                allowed = False
            if is_awaitable(allowed):
                return self._check_later(steps, allowed, request, handler)
            part, verdict = _next(steps, bool(allowed))
        return verdict

    async def _check_later(self, steps: Any, pending: Any, request: Any, handler: Any) -> bool:
        part: Any = None
        while True:
            try:
                if part is not None:
                    pending = part.check(request, handler)
                allowed = await pending if is_awaitable(pending) else pending
            except BaseAuthException:
                allowed = False
            part, verdict = _next(steps, bool(allowed))
            if part is None:
                return verdict


def _next(steps: Generator[Any, bool, bool], allowed: bool) -> tuple[Any, bool]:
    """Give the next part to be asked, or None and the answer of the whole."""
    try:
        return steps.send(allowed), False
    except StopIteration as stop:
        return None, stop.value


class _Both(_Combined):
    def _steps(self) -> Generator[Any, bool, bool]:
        first, second = self.parts
        return (yield first) and (yield second)


class _Either(_Combined):
    def _steps(self) -> Generator[Any, bool, bool]:
        first, second = self.parts
        return (yield first) or (yield second)


class _Not(_Combined):
    def _steps(self) -> Generator[Any, bool, bool]:
        return not (yield self.parts[0])


def _checked(permission: Any) -> Any:
    if not callable(getattr(permission, "check", None)):
        raise TypeError(f"a permission must have a method 'check', got {permission!r}")
    return permission
