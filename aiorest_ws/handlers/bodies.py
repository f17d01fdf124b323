"""The annotation of a parameter → whether it is that of a body, and what to say where it gets something else."""

from __future__ import annotations

import typing
from dataclasses import is_dataclass
from datetime import date
from types import UnionType
from typing import Any, Final
from uuid import UUID

from aiorest_ws.exceptions import InvalidHandler

__all__ = ("BODY", "check_first", "check_place", "is_body", "is_container")

BODY: Final = "the body comes as the parameter called `data`"

_VALUES: Final = (bool, int, float, str, bytes, list, dict, set, tuple, date, UUID)


def is_body(hint: Any) -> bool:
    """Tell whether `hint` is a class with fields (msgspec, pydantic, attrs, a dataclass, a TypedDict), or has one."""
    plain = typing.get_origin(hint) or hint
    marks = ("__struct_fields__", "model_fields", "__attrs_attrs__")
    if isinstance(plain, type) and (
        is_dataclass(plain) or typing.is_typeddict(plain) or any(hasattr(plain, mark) for mark in marks)
    ):
        return True
    return any(is_body(inner) for inner in typing.get_args(hint) if not isinstance(inner, (str, int)))


def is_container(hint: Any) -> bool:
    """Tell whether `hint` is an object or an array, as a body often is."""
    parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else (hint,)
    return any((typing.get_origin(part) or part) in (dict, list, set, tuple) for part in parts)


def check_first(hint: Any, name: str, title: str) -> None:
    """Refuse a parameter that is annotated as something of the request, and gets the request itself."""
    plain = typing.get_origin(hint) or hint
    if is_body(hint) or (isinstance(plain, type) and issubclass(plain, _VALUES)):
        cure = f"; {BODY}" if is_body(hint) else ""
        raise InvalidHandler(f"{title} must take `request` first, which would come as its parameter {name!r}{cure}")


def check_place(hint: Any, name: str, in_path: str | None, request: type, title: str) -> None:
    """Refuse a parameter that is annotated as the request or as a body, and gets something else.

    in_path    the path parameter that comes for it as text
    """
    if isinstance(hint, type) and issubclass(hint, request):
        raise InvalidHandler(f"{title} must take `request` first, not as its parameter {name!r}")
    if in_path is not None and is_body(hint):
        raise InvalidHandler(
            f"parameter {name!r} of {title} stands where path parameter {in_path!r} comes, as text: {BODY}"
        )
