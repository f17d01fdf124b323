"""What every user has."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from aiorest_ws.gone import missing

__all__ = ("AbstractUser",)


@cache
def _attributes(user: type) -> frozenset[str]:
    """Give the names of what users of this class have, without methods."""
    return frozenset(name for name in dir(user) if not callable(getattr(user, name, None)))


class AbstractUser:
    """Somebody, or nobody: a user who is neither user, staff nor superuser is anonymous."""

    first_name = ""
    last_name = ""
    is_active = True
    is_superuser = False
    is_staff = False
    is_user = False

    def __init__(self, **attributes: Any) -> None:
        cls: type = type(self)
        known = _attributes(cls)
        for name, value in attributes.items():
            if name not in known and (not hasattr(cls, name) or callable(getattr(cls, name))):
                raise TypeError(f"{cls.__qualname__} has no attribute {name!r}")
            setattr(self, name, value)

    @property
    def is_anonymous(self) -> bool:
        return not (self.is_user or self.is_staff or self.is_superuser)

    def is_authenticated(self) -> bool:
        return not self.is_anonymous

    def get_fullname(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()


if not TYPE_CHECKING:  # type checkers would take any name for one of ours

    def __getattr__(name: str) -> Any:
        raise missing(__name__, name)
