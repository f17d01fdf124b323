"""A route's plan and the middlewares around it → whether it needs a token, and with what it may refuse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from aiorest_ws._speedups import Plan
from aiorest_ws.auth.permissions import HasScope, IsAuthenticated
from aiorest_ws.exceptions import PermissionDeniedException
from aiorest_ws.permissions import Both, Combined, Either, Not

__all__ = ("Guarding", "guarding_of")

_OF_USERS = (IsAuthenticated, HasScope)  # who passes one of them is somebody


@dataclass(frozen=True, slots=True)
class Guarding:
    """What stands before a handler.

    needs_user      nobody passes who is anonymous
    reads_tokens    a middleware looks at tokens, so that one may be sent
    scopes          that a token has to have
    permissions     as they are called
    refusals        statuses that they answer with
    """

    needs_user: bool
    reads_tokens: bool
    scopes: tuple[str, ...]
    permissions: tuple[str, ...]
    refusals: frozenset[int]


def guarding_of(plan: Plan, middlewares: Iterable[Any]) -> Guarding:
    """Describe what guards `plan`; `middlewares` are those around it, of the application, too."""
    middlewares = tuple(middlewares)
    permissions = plan.permissions
    needs_user = plan.auth_required or any(map(_needs_user, permissions))
    reads_tokens = any(getattr(each, "reads_tokens", False) for each in middlewares)
    refusals = {status for each in permissions for status in _refusals(each)}
    if needs_user or reads_tokens:
        refusals.add(401)
    return Guarding(
        needs_user=needs_user,
        reads_tokens=reads_tokens,
        scopes=tuple(dict.fromkeys(scope for each in permissions for scope in _scopes(each))),
        permissions=tuple(map(_name, permissions)),
        refusals=frozenset(refusals),
    )


def _needs_user(permission: Any) -> bool:
    """Tell whether nobody passes `permission` who is anonymous; in doubt somebody may."""
    if isinstance(permission, Both):
        return any(map(_needs_user, permission.parts))
    if isinstance(permission, Either):
        return all(map(_needs_user, permission.parts))
    return issubclass(_class(permission), _OF_USERS)


def _scopes(permission: Any) -> Iterator[str]:
    """Give the scopes without which nobody passes `permission`."""
    if isinstance(permission, Both):
        for part in permission.parts:
            yield from _scopes(part)
    elif isinstance(permission, HasScope):
        yield from permission.scopes


def _refusals(permission: Any) -> Iterator[int]:
    yield getattr(permission, "refusal", PermissionDeniedException).status
    if isinstance(permission, Combined) and not isinstance(permission, Not):
        for part in permission.parts:
            yield from _refusals(part)


def _class(permission: Any) -> type:
    return permission if isinstance(permission, type) else type(permission)


def _name(permission: Any) -> str:
    if isinstance(permission, Combined):
        sign = " & " if isinstance(permission, Both) else " | "
        names = sign.join(map(_name, permission.parts))
        return f"~{names}" if isinstance(permission, Not) else f"({names})"
    if isinstance(permission, HasScope):
        return repr(permission)
    return _class(permission).__name__
