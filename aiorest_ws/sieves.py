"""What a client sent for a type of msgspec's → the same, without what nobody may send, and with the digits it wrote.

msgspec sets every field of a dataclass or attrs class, those with `init=False` too, and takes the shortest digits of a
float for those of a Decimal. Where a type has neither, there is no sieve, and nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from math import isfinite
from typing import Any, get_origin

from msgspec import ValidationError
from msgspec import inspect as types

from aiorest_ws.annotations import parameters_of

__all__ = ("Digits", "Sieve", "class_of", "closed_fields", "digits_of", "sieve_of", "wants_digits")

_MOST_DIGITS = 1_000  # of a Decimal, and of its exponent's value: what comes of it is the handler's to calculate with

Sieve = Callable[[Any], Any]


class Digits(float):
    """A number of a JSON text that is no integer, and knows how it was written."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Digits:
        self = super().__new__(cls, text)
        self.text = text
        return self

    def __str__(self) -> str:
        return self.text


def digits_of(text: bytes) -> Any:
    """Give what `text`, which orjson has read, says, its numbers as they were written."""
    import json

    return json.loads(text, parse_float=Digits)


def wants_digits(infos: Iterable[Any]) -> bool:
    """Tell whether one of these types keeps all the digits of a number."""
    return any(isinstance(info, types.DecimalType) for info in infos)


def sieve_of(info: Any, infos: Iterable[Any], *, wanted: bool = False) -> Sieve | None:
    """Give what has to be done to a value before msgspec makes an `info` of it; `infos` are all types in that.

    `wanted`: what is to be made of a `types.CustomType` gets the digits of numbers, too.
    """
    if not wanted and not any(_is_sifted(i) for i in infos):
        return None
    return lambda value: _sift(info, value, "$.value")


def _is_sifted(info: Any) -> bool:
    if isinstance(info, types.DataclassType):
        return bool(closed_fields(class_of(info)))
    return isinstance(info, types.DecimalType)


def class_of(info: Any) -> Any:
    """Give the class of a type of msgspec's, of a generic one without its arguments."""
    return get_origin(info.cls) or info.cls


@cache
def closed_fields(cls: Any) -> frozenset[str]:
    """Give the fields that nobody may send: what `__init__` does not take, and private ones that have a default."""
    if is_dataclass(cls):
        found = {field.name: (field.name, field.init) for field in fields(cls)}
    else:
        attributes = getattr(cls, "__attrs_attrs__", ())
        found = {attribute.name: (attribute.alias, attribute.init) for attribute in attributes}
    parameters = parameters_of(cls.__init__)
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        taken = {parameter.name for parameter in parameters}
        found = {name: (alias, alias in taken) for name, (alias, _) in found.items()}
    required = {field.name for field in types.type_info(cls).fields if field.required}  # type: ignore[attr-defined]
    return frozenset(
        name for name, (_, is_taken) in found.items() if not is_taken or (name[:1] == "_" and name not in required)
    )


def _sift(info: Any, value: Any, path: str) -> Any:
    if isinstance(info, types.Metadata):
        return _sift(info.type, value, path)
    if isinstance(info, types.UnionType):
        return _sift_union(info, value, path)
    if isinstance(info, types.DecimalType):
        return _decimal(value, path)
    if isinstance(info, types.CustomType):
        return value  # what makes it looks at it
    if isinstance(value, dict):
        return _sift_object(info, value, path)
    if isinstance(value, (list, tuple)):
        return [_sift(part, item, f"{path}[{at}]") for at, (part, item) in enumerate(_items(info, value))]
    return float(value) if type(value) is Digits else value


def _sift_union(info: Any, value: Any, path: str) -> Any:
    for part in info.types:
        if isinstance(value, (int, float)):
            fits = isinstance(part, (types.DecimalType, types.CustomType))
            fits = fits and not any(isinstance(other, types.FloatType) for other in info.types)
            fits = fits and not (type(value) is int and any(isinstance(p, types.IntType) for p in info.types))
        elif isinstance(value, dict):
            tag = getattr(part, "tag", None)
            fits = tag is None or value.get(part.tag_field) == tag
            fits = fits and isinstance(part, (types.DictType, types.CustomType, *_WITH_FIELDS))
        elif isinstance(value, (list, tuple)):
            tag = getattr(part, "tag", None)
            fits = isinstance(part, (*_ARRAYS, types.CustomType)) and (tag is None or value[:1] == [tag])
        else:
            fits = isinstance(part, types.DecimalType)
        if fits:
            return _sift(part, value, path)
    return _sift(types.AnyType(), value, path)


_WITH_FIELDS = (types.StructType, types.DataclassType, types.TypedDictType)
_ARRAYS = (
    *(types.ListType, types.SetType, types.FrozenSetType, types.VarTupleType, types.CollectionType),
    *(types.TupleType, types.NamedTupleType, types.StructType),
)


def _sift_object(info: Any, value: dict[Any, Any], path: str) -> dict[Any, Any]:
    if isinstance(info, _WITH_FIELDS):
        known = {field.encode_name: field.type for field in info.fields}
        closed = closed_fields(class_of(info)) if isinstance(info, types.DataclassType) else ()
        anything = types.AnyType()
        return {
            name: _sift(known.get(name, anything), item, f"{path}.{name}")
            for name, item in value.items()
            if name not in closed
        }
    if isinstance(info, types.DictType):
        for key in value:
            if isinstance(info.key_type, types.DecimalType):
                _decimal(key, path)
        return {key: _sift(info.value_type, item, f"{path}[...]") for key, item in value.items()}
    return {key: _sift(types.AnyType(), item, path) for key, item in value.items()}


def _items(info: Any, value: Any) -> Iterator[tuple[Any, Any]]:
    """Give each item with its type."""
    anything = types.AnyType()
    parts: list[Any] = []
    rest = getattr(info, "item_type", anything)
    if isinstance(info, types.TupleType):
        parts = list(info.item_types)
    elif isinstance(info, types.NamedTupleType):
        parts = [field.type for field in info.fields]
    elif isinstance(info, types.StructType) and info.array_like:
        parts = [*([anything] if info.tag is not None else []), *(field.type for field in info.fields)]
    for at, item in enumerate(value):
        yield (parts[at] if at < len(parts) else rest), item


def _decimal(value: Any, path: str) -> Any:
    """Give a Decimal of exactly what was sent; what is not one at all msgspec says itself."""
    from decimal import Decimal, InvalidOperation

    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return value
    if isinstance(value, float) and type(value) is not Digits and not isfinite(value):
        raise _refusal("Expected a finite number", path)
    text = value if isinstance(value, str) else str(value)
    if len(text) > _MOST_DIGITS:
        raise _refusal(f"Expected a number of at most {_MOST_DIGITS} digits", path)
    try:
        number = Decimal(text)
    except InvalidOperation:
        return value
    if not number.is_finite():
        raise _refusal("Expected a finite number", path)
    if number and abs(number.adjusted()) > _MOST_DIGITS:
        raise _refusal(f"Expected a number of at most {_MOST_DIGITS} digits", path)
    return value if isinstance(value, str) else number


def _refusal(text: str, path: str) -> ValidationError:
    return ValidationError(f"{text} - at `{path}`")
