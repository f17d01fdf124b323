"""A request and a view → whether it may pass; permissions that are made of others with `&`, `|` and `~`."""

from __future__ import annotations

import inspect
from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar, Never, Protocol

from aiorest_ws._speedups import refusal_of, verdict
from aiorest_ws._speedups.trampoline import begin
from aiorest_ws.callables.calls import is_awaitable
from aiorest_ws.callables.spelling import meant
from aiorest_ws.dependencies.depends import check_needless
from aiorest_ws.exceptions import BaseAuthException, PermissionDeniedException

if TYPE_CHECKING:
    from aiorest_ws.views import MethodBasedView
    from aiorest_ws.wrappers import Request

__all__ = ("AbstractPermission", "Both", "Combined", "Composable", "Either", "Not", "Permission", "check_permission")

_CURE = "derive a class from AbstractPermission, with a static method check(request, handler)"
# What other frameworks call it; `__call__`, too, which nobody calls here.
_OF_OTHERS = frozenset(
    (
        *("has_permission", "has_permissions", "has_object_permission"),
        *("check_permission", "check_permissions", "check_object_permissions"),
        *("is_allowed", "is_authorized", "is_permitted", "allows", "authorize", "permits", "test_func", "__call__"),
    )
)
_NOT_STATIC = "make it one with @staticmethod, or give an instance of a class with check(self, request, handler)"


class Permission(Protocol):
    """What `permission_classes` may have in it: a class whose `check` is static, or an instance of any."""

    def check(self, request: Any, handler: Any, /) -> Any: ...


class Composable:
    """What has `&`, `|` and `~`, and no truth value: classes of permissions, and instances of them."""

    def __and__(self, other: Permission) -> AbstractPermission:
        return Both(check_permission(self), check_permission(other))

    def __rand__(self, other: Permission) -> AbstractPermission:
        return Both(check_permission(other), check_permission(self))

    def __or__(self, other: Permission) -> AbstractPermission:
        return Either(check_permission(self), check_permission(other))

    def __ror__(self, other: Permission) -> AbstractPermission:
        return Either(check_permission(other), check_permission(self))

    def __invert__(self) -> AbstractPermission:
        return Not(check_permission(self))

    def __bool__(self) -> Never:
        raise TypeError(
            f"permission {self!r} has no truth value: combine permissions with `&`, `|` and `~`, "
            "in place of `and`, `or` and `not`"
        )


class _ComposableMeta(Composable, ABCMeta):  # type: ignore[misc]  # `|` of classes is no union
    """`IsAuthenticated & IsOwner` of two classes; without it `|` would be a union of types."""


class AbstractPermission(Composable, ABC, metaclass=_ComposableMeta):
    """Decides whether a request may reach a view that names it in `permission_classes`.

    Classes and instances make others: `IsAuthenticated & (IsOwner | HasScope("admin"))`, `~IsBanned`. In those a
    permission that raises BaseAuthException has said no; whatever else one raises, nobody passes. What is combined
    refuses with 401 if one of its parts asks for a user, else with 403.

    refusal    the error that a request is refused with
    """

    refusal: ClassVar[type[BaseAuthException]] = PermissionDeniedException

    @staticmethod
    @abstractmethod
    def check(request: Request, handler: MethodBasedView) -> Any:
        """Give True to let `request` pass, False or None to refuse it, or an awaitable of that; or raise.

        Anything else is an error: it is logged, and nobody passes.
        """


def check_permission(permission: Any) -> Any:
    """Give `permission` if it can be asked, or raise TypeError."""
    check = getattr(permission, "check", None)
    if not callable(check):
        raise TypeError(f"a permission must have a method 'check', got {permission!r}: {_CURE}")
    if getattr(check, "__isabstractmethod__", False):
        raise TypeError(f"permission {permission!r} has no method 'check' of its own: {_CURE}")
    if inspect.isgeneratorfunction(check) or inspect.isasyncgenfunction(check):
        raise TypeError(f"'check' of permission {permission!r} must return its answer, it yields")
    _check_signature(permission, check)
    _check_unread(permission, check)
    check_needless(check, f"'check' of permission {permission!r}")
    if isinstance(permission, type):
        _check_class(permission)
    return permission


def _check_signature(permission: Any, check: Any) -> None:
    try:
        signature = inspect.signature(check)
        signature.bind(None, None)
    except ValueError:
        return  # it is not written in Python
    except TypeError as exc:
        cure = ": give an instance of it" if isinstance(permission, type) else ""
        raise TypeError(f"permission {permission!r} cannot be asked with check(request, handler), {exc}{cure}") from exc
    if next(iter(signature.parameters)) == "self":
        raise TypeError(f"'check' of permission {permission!r} would take the request as `self`: {_NOT_STATIC}")


def _check_unread(permission: Any, check: Any) -> None:
    """Refuse a subclass that says in a method of another name who may pass: `check` of its base is what is asked."""
    bases = (permission if isinstance(permission, type) else type(permission)).__mro__
    at = next((at for at, base in enumerate(bases) if "check" in vars(base)), 0)
    called = getattr(getattr(check, "__code__", None), "co_names", ())
    for name, value in ((name, value) for base in bases[:at] for name, value in vars(base).items()):
        is_method = callable(value) or isinstance(value, (staticmethod, classmethod))
        is_own = any(name in vars(base) for base in bases[at:]) or name in called
        if is_method and not is_own and (name in _OF_OTHERS or meant(name, ("check",))):
            raise TypeError(
                f"{name!r} of permission {permission!r} is never called: check(request, handler) is, "
                f"and that is still the one of {bases[at].__qualname__}"
            )


def _check_class(permission: type) -> None:
    """Refuse a class that is no permission before there is an instance of it."""
    check = inspect.getattr_static(permission, "check")
    if inspect.isfunction(check):
        raise TypeError(f"'check' of permission {permission!r} is no static method: {_NOT_STATIC}")
    try:
        inspect.signature(permission).bind()
    except ValueError:
        pass  # it is not written in Python
    except TypeError as exc:
        raise TypeError(f"permission {permission!r} needs an argument, {exc}: give an instance of it") from exc


def _asked(permission: Any, request: Any, handler: Any) -> Generator[Any, Any, BaseAuthException | None]:
    """Give what `permission` refuses `request` with, None if it passes; yields an awaitable, takes its outcome back."""
    try:
        answer = permission.check(request, handler)
        if is_awaitable(answer):
            answer = yield answer
        return None if verdict(answer, permission) else refusal_of(permission)
    except BaseAuthException as exc:
        return exc


class Combined(AbstractPermission):
    """Permissions as parts of one. It stays sync unless one of those that are asked is not."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def _refusal(self, request: Any, handler: Any) -> Generator[Any, Any, BaseAuthException | None]:
        """As `_asked`, for the whole."""
        raise NotImplementedError

    def _steps(self, request: Any, handler: Any) -> Generator[Any, Any, bool]:
        refusal = yield from self._refusal(request, handler)
        if refusal is not None and refusal.status == 401:
            raise refusal
        return refusal is None

    def check(self, request: Any, handler: Any) -> Any:  # type: ignore[override]
        return begin(self._steps(request, handler))


class Both(Combined):
    def _refusal(self, request: Any, handler: Any) -> Generator[Any, Any, BaseAuthException | None]:
        first, second = self.parts
        return (yield from _asked(first, request, handler)) or (yield from _asked(second, request, handler))

    def __repr__(self) -> str:
        return "({!r} & {!r})".format(*self.parts)


class Either(Combined):
    def _refusal(self, request: Any, handler: Any) -> Generator[Any, Any, BaseAuthException | None]:
        refusal: BaseAuthException | None = None
        for part in self.parts:
            other = yield from _asked(part, request, handler)
            if other is None:
                return None
            if refusal is None or other.status == 401:
                refusal = other
        return refusal

    def __repr__(self) -> str:
        return "({!r} | {!r})".format(*self.parts)


class Not(Combined):
    def _refusal(self, request: Any, handler: Any) -> Generator[Any, Any, BaseAuthException | None]:
        refusal = yield from _asked(self.parts[0], request, handler)
        return PermissionDeniedException() if refusal is None else None

    def __repr__(self) -> str:
        return f"~{self.parts[0]!r}"
