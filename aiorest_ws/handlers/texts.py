"""The query of a url: texts by name → what `args` of a message would have, as the annotations of a handler want it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from msgspec import ValidationError
from orjson import JSONDecodeError, loads

from aiorest_ws.handlers.bodies import is_body
from aiorest_ws.handlers.kinds import NoCheck
from aiorest_ws.handlers.validation import Check, check_of

__all__ = ("TextCheck", "Texts", "is_object")


class Texts(dict[str, Any]):
    """`args` that came as texts: a list of them for a name that came more than once."""


class TextCheck:
    """Makes a value of a type out of texts, as of the text of a path parameter.

    A type that is an array takes one text or several; an object is JSON.
    """

    exact = False

    def __init__(self, hint: Any, check: Check) -> None:
        self._takes_many = _is_array(hint)
        self._is_object = is_object(hint)
        self._check = check
        if not self._is_object:
            try:
                self._check = check_of(hint, lax=True, many=self._takes_many)
            except NoCheck:
                pass  # no text stands for anything else there

    def __call__(self, value: Any) -> Any:
        if self._is_object and isinstance(value, str):
            try:
                value = loads(value)
            except JSONDecodeError as exc:
                raise ValidationError(f"Expected an object as JSON: {exc}") from None
        elif self._takes_many:
            value = value if isinstance(value, list) else [value]
        elif isinstance(value, list):
            raise ValidationError(f"Expected one value, got {len(value)}")
        return self._check(value)


def is_object(hint: Any) -> bool:
    """Tell whether the text for `hint` is JSON: it has members, and is no array."""
    return not _is_array(hint) and (is_body(hint) or any(issubclass(kind, Mapping) for kind in _kinds_of(hint)))


def _is_array(hint: Any) -> bool:
    kinds = _kinds_of(hint)
    return any(issubclass(kind, Collection) and not issubclass(kind, (str, bytes, Mapping)) for kind in kinds)


def _kinds_of(hint: Any) -> list[type]:
    """Give the classes that `hint` may be of."""
    if hasattr(hint, "__supertype__"):
        return _kinds_of(hint.__supertype__)
    if type(hint).__name__ == "TypeAliasType":
        return _kinds_of(hint.__value__)
    origin = get_origin(hint)
    if origin is Annotated:
        return _kinds_of(get_args(hint)[0])
    if origin in (Union, UnionType):
        return [kind for part in get_args(hint) for kind in _kinds_of(part)]
    kind = origin or hint
    return [kind] if isinstance(kind, type) else []
