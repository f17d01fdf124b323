"""A reply, whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

__all__ = ("Reply",)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call was answered with.

    status     200 to 299
    data       what the handler gave
    changed    url → version, of what this call has changed and this client subscribes to: a change of that url with the
               same number, or a higher one, has seen it
    message    the whole of it
    """

    status: int
    data: Any = None
    changed: dict[str, str] = field(default_factory=dict)
    message: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, message: dict[str, Any]) -> Self:
        return cls(message["status"], message.get("data"), message.get("changed") or {}, message)
