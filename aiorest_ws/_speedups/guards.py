"""A guard and a request → None if that may pass, or what refuses it: a middleware, a user, a permission.

Whatever is no clear answer is an error of the application: it is reported once, and nobody passes.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from aiorest_ws.callables.calls import is_awaitable
from aiorest_ws.callables.failures import sole
from aiorest_ws.exceptions import BaseAPIException, BaseAuthException, NotAuthenticated, PermissionDeniedException

if TYPE_CHECKING:
    from collections.abc import Callable

    Report = Callable[[Any, BaseException], None] | None

__all__ = ("Check", "ask", "is_authenticated", "refusal_of", "verdict")

_ABSENT: Any = object()


class Check:
    """One question that the core asks of a request, in the list of guards.

    permission    what is asked; None: is there a user?
    """

    __slots__ = ("permission",)

    def __init__(self, permission: Any = None) -> None:
        self.permission = permission

    def ask(self, request: Any, view: Any, report: Report) -> Any:
        """Give None to let `request` pass, or an awaitable that ends when it may; raise what refuses it."""
        if self.permission is None:
            if not _is_known(request, report):
                raise NotAuthenticated()
            return None
        answer = _answer(self.permission, request, view, report)
        return None if answer is True else _settled(self.permission, answer, request, report)


def ask(guard: Any, request: Any, view: Any, report: Report) -> Any:
    """Give what `guard`, a middleware or a check, may have to be waited for; or raise what refuses `request`."""
    if type(guard) is Check:
        check: Check = guard
        return check.ask(request, view, report)
    return guard.process_request(request, view)


def is_authenticated(user: Any) -> bool:
    """Tell whether `user` is somebody, and active. Both are flags, or methods as in 1.1.1; TypeError for anything else.

    A user without `is_active` is active; 0 and 1 stand for what they are in a database.
    """
    if user is None or not _says(user, "is_authenticated", _read(user, "is_authenticated", False)):
        return False
    active = _read(user, "is_active", True)
    if active is True:
        return True
    return _says(user, "is_active", bool(active) if type(active) is int and active in (0, 1) else active)


def _is_known(request: Any, report: Report) -> bool:
    try:
        known = is_authenticated(request.user)
    except Exception as exc:
        _complain(request, exc, report)
        known = False
    return known


def _read(user: Any, name: str, otherwise: Any) -> Any:
    """Give what `user` has as `name`, or `otherwise`. A property that fails is not one that is missing."""
    flag = getattr(user, name, _ABSENT)
    if flag is _ABSENT:
        return getattr(user, name) if hasattr(type(user), name) else otherwise
    return flag() if callable(flag) else flag


def _says(user: Any, name: str, flag: Any) -> bool:
    return flag is True or verdict(flag, f"{name} of {type(user).__qualname__}")


def _answer(permission: Any, request: Any, view: Any, report: Report) -> Any:
    """Give True or something to await, or raise what `permission` refuses `request` with."""
    try:
        answer = permission.check(request, view)
        if answer is not True and not is_awaitable(answer):
            answer = verdict(answer, permission)
    except Exception as exc:
        _complain(request, exc, report)
        answer = False
    if answer is False:
        raise refusal_of(permission)
    return answer


async def _settled(permission: Any, pending: Any, request: Any, report: Report) -> None:
    try:
        allowed = verdict(await pending, permission)
    except Exception as exc:
        _complain(request, exc, report)
        allowed = False
    if not allowed:
        raise refusal_of(permission)


def _complain(request: Any, exc: BaseException, report: Report) -> None:
    """Report `exc`, unless it says what to answer, alone in a group or not: then it is raised."""
    if isinstance(sole(exc), BaseAPIException):
        raise exc
    if report is not None:
        report(request, exc)


def verdict(answer: Any, asked: Any) -> bool:
    """Tell whether `answer` of `asked`, once awaited, lets pass; TypeError for what is no answer."""
    if answer is True:
        return True
    if answer is False or answer is None:
        return False
    if inspect.iscoroutine(answer):
        answer.close()  # nobody will await it
    cure = "await it" if is_awaitable(answer) else "call it" if callable(answer) else "`bool` makes one of it"
    raise TypeError(f"{asked} must give True or False, got {answer!r:.200}: {cure}")


def refusal_of(permission: Any) -> BaseAuthException:
    """Give the error for a request that `permission` refuses."""
    refusal: type[BaseAuthException] = getattr(permission, "refusal", PermissionDeniedException)
    return refusal()
