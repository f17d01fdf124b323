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

__all__ = ("TextCheck", "Texts", "is_json")


class Texts(dict[str, Any]):
    """`args` that came as texts: a list of them for a name that came more than once."""


class TextCheck:
    """Makes a value of a type out of texts, as of the text of a path parameter.

    A type that is an array takes one text or several; an object is JSON, and so is an array of objects or arrays.
    """

    exact = False

    def __init__(self, hint: Any, check: Check) -> None:
        self._is_json = is_json(hint)
        self._takes_many = _has_array(hint)
        self._check = check
        if not self._is_json:
            try:
                self._check = check_of(hint, lax=True, many=self._takes_many)
            except NoCheck:
                pass  # no text stands for anything else there

    def __call__(self, value: Any) -> Any:
        if self._is_json and isinstance(value, str):
            try:
                value = loads(value)
            except JSONDecodeError as exc:
                raise ValidationError(f"Expected JSON: {exc}") from None
        elif self._takes_many:
            value = value if isinstance(value, list) else [value]
        elif isinstance(value, list):
            raise ValidationError(f"Expected one value, got {len(value)}")
        return self._check(value)


def is_json(hint: Any) -> bool:
    """Tell whether the text for `hint` is JSON: it has members, or is an array of what has, or of arrays."""
    choices = _choices_of(hint)
    arrays = list(filter(_is_array, choices))
    if arrays:
        return any(is_json(item) or _has_array(item) for array in arrays for item in get_args(array))
    return any(is_body(choice) or _is_of(choice, Mapping) for choice in choices)


def _has_array(hint: Any) -> bool:
    return any(map(_is_array, _choices_of(hint)))


def _is_array(choice: Any) -> bool:
    return _is_of(choice, Collection) and not _is_of(choice, (str, bytes, bytearray, memoryview, Mapping))


def _is_of(choice: Any, kinds: Any) -> bool:
    kind = get_origin(choice) or choice
    return isinstance(kind, type) and issubclass(kind, kinds)


def _choices_of(hint: Any) -> list[Any]:
    """Give the types that `hint` may be of."""
    if hasattr(hint, "__supertype__"):
        return _choices_of(hint.__supertype__)
    if type(hint).__name__ == "TypeAliasType":
        return _choices_of(hint.__value__)
    origin = get_origin(hint)
    if origin is Annotated:
        return _choices_of(get_args(hint)[0])
    if origin in (Union, UnionType):
        return [choice for part in get_args(hint) for choice in _choices_of(part)]
    return [hint]
