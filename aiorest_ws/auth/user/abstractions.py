"""What every user has."""

from __future__ import annotations

from typing import Any

__all__ = ("AbstractUser",)


class AbstractUser:
    """Somebody, or nobody: a user who is neither user, staff nor superuser is anonymous."""

    first_name = ""
    last_name = ""
    is_active = True
    is_superuser = False
    is_staff = False
    is_user = False

    def __init__(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            if not hasattr(type(self), name) or callable(getattr(type(self), name)):
                raise TypeError(f"{type(self).__qualname__} has no attribute {name!r}")
            setattr(self, name, value)

    @property
    def is_anonymous(self) -> bool:
        return not (self.is_user or self.is_staff or self.is_superuser)

    def is_authenticated(self) -> bool:
        return not self.is_anonymous

    def get_fullname(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()
