"""Permissions that most applications need; `abstract.AbstractPermission` is there for the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from aiorest_ws._speedups import is_authenticated
from aiorest_ws.abstract import AbstractPermission
from aiorest_ws.exceptions import BaseAuthException, NotAuthenticated

if TYPE_CHECKING:
    from aiorest_ws.views import MethodBasedView
    from aiorest_ws.wrappers import Request

__all__ = ("HasScope", "IsAuthenticated")


class IsAuthenticated(AbstractPermission):
    """Lets every user pass who is not anonymous, and active. The others are told to log in: 401."""

    refusal: ClassVar[type[BaseAuthException]] = NotAuthenticated

    @staticmethod
    def check(request: Request, handler: MethodBasedView) -> bool:
        return is_authenticated(request.user)


class HasScope(AbstractPermission):
    """Lets requests pass whose token has every one of `scopes` in one of its claims `claims`.

    A claim is a string with spaces between scopes (RFC 8693 §4.2), or a list of strings. By default they are `scope`,
    `scp` (Microsoft, Okta) and `permissions` (Auth0): `HasScope("read", claims=["roles"])` looks at others, and so does
    a subclass that has its own `claims`.
    """

    claims: Sequence[str] = ("scope", "scp", "permissions")

    def __init__(self, *scopes: str, claims: Sequence[str] | None = None) -> None:
        if not scopes or not all(isinstance(scope, str) and scope and " " not in scope for scope in scopes):
            raise TypeError(f"scopes must be strings without spaces, got {scopes!r}")
        claims = self.claims if claims is None else claims
        if not isinstance(claims, (list, tuple)) or not claims or not all(isinstance(n, str) and n for n in claims):
            raise TypeError(f"claims must be a list of names, got {claims!r}")
        self.scopes = scopes
        self.claims = tuple(claims)

    def check(self, request: Request, handler: MethodBasedView) -> bool:  # type: ignore[override]
        payload = request.token_payload or {}
        granted = {scope for name in self.claims for scope in _scopes(payload.get(name))}
        return granted.issuperset(self.scopes)

    def __repr__(self) -> str:
        return f"HasScope({', '.join(map(repr, self.scopes))})"


def _scopes(claim: Any) -> list[str]:
    """Give the scopes in a claim, none for one of another kind."""
    if isinstance(claim, str):
        return claim.split(" ")
    return [scope for scope in claim if isinstance(scope, str)] if isinstance(claim, (list, tuple)) else []
