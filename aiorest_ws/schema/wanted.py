"""A type whose schema is asked for, and the schema, which is filled in when those of all types are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ("TEMPLATE", "Mode", "Wanted")

Mode = Literal["validation", "serialization"]  # of what comes, and of what is sent; in pydantic's words

TEMPLATE = "#/components/schemas/{name}"
"""How a schema refers to that of a class."""


@dataclass(slots=True, eq=False)
class Wanted:
    """A type, and what becomes of it.

    title     of who asks for it: GET /todos/{number:int}/
    schema    of `hint`; empty until it is known, and where nobody can tell
    """

    hint: Any
    mode: Mode
    title: str
    schema: dict[str, Any] = field(default_factory=dict)
