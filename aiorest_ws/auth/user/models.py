"""The user of a token, when the application has no model of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiorest_ws.auth.user.abstractions import AbstractUser
from aiorest_ws.gone import missing

__all__ = ("User",)


class User(AbstractUser):
    """A user as a token tells of them. Passwords are left to the application."""

    id: Any = None
    username = ""
    email = ""
    permissions: Any = ()

    def has_permission(self, permission: Any) -> bool:
        """Tell whether `permission` is among those of a user who is active."""
        return self.is_active and permission in self.permissions

    def __repr__(self) -> str:
        return f"<User {self.id!r:.100}>"


if not TYPE_CHECKING:  # type checkers would take any name for one of ours

    def __getattr__(name: str) -> Any:
        raise missing(__name__, name)
