"""Permissions that most applications need; `abstract.AbstractPermission` is there for the others."""

from __future__ import annotations

from typing import Any

from aiorest_ws.abstract import AbstractPermission

__all__ = ("HasScope", "IsAuthenticated")


class IsAuthenticated(AbstractPermission):
    """Lets every user pass who is not anonymous."""

    @staticmethod
    def check(request: Any, handler: Any) -> bool:
        flag = getattr(request.user, "is_authenticated", False)
        return bool(flag() if callable(flag) else flag)


class HasScope(AbstractPermission):
    """Lets requests pass whose token has every one of `scopes` in its claim `scope`.

    The claim is a string with spaces between scopes (RFC 8693 §4.2), or a list of strings.
    """

    def __init__(self, *scopes: str) -> None:
        if not scopes or not all(isinstance(scope, str) and scope and " " not in scope for scope in scopes):
            raise TypeError(f"scopes must be strings without spaces, got {scopes!r}")
        self.scopes = scopes

    def check(self, request: Any, handler: Any) -> bool:  # type: ignore[override]
        granted = (request.token_payload or {}).get("scope")
        if isinstance(granted, str):
            granted = granted.split(" ")
        return isinstance(granted, list) and all(scope in granted for scope in self.scopes)

    def __repr__(self) -> str:
        return f"HasScope({', '.join(map(repr, self.scopes))})"
