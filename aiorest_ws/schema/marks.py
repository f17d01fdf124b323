"""The schemas of msgspec → the same, with what it knows of types and does not say.

A moment is a `date-time`, of whatever zone. What a client may not set of a dataclass, or of an attrs class, is
`readOnly`; what is never sent of it is `writeOnly`, and what is neither has no place in a schema. An array of fixed
length says so by its length alone, which more readers take. A flag may be several of its members at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import STRICT
from typing import Any

from msgspec import inspect as types

from aiorest_ws.handlers.kinds import is_flag
from aiorest_ws.handlers.sieves import class_of, closed_fields

__all__ = ("Marks", "is_marked")

_WITH_FIELDS = (types.StructType, types.DataclassType, types.TypedDictType)
_SETS = (types.SetType, types.FrozenSetType)
_MOST_FLAGS = 6  # of which all combinations are listed
_MOMENTS = {types.DateTimeType: "date-time", types.TimeType: "time"}


def is_marked(info: Any) -> bool:
    """Tell whether there is something to be said of a type of msgspec's."""
    if isinstance(info, types.DataclassType):
        return bool(closed_fields(class_of(info))) or any(field.name[:1] == "_" for field in info.fields)
    return isinstance(info, (types.TupleType, *_SETS)) or (type(info) in _MOMENTS and info.tz is None) or is_flag(info)


class Marks:
    """Goes through types and their schemas together; `defined` are those of classes, by name."""

    def __init__(self, defined: dict[str, Any]) -> None:
        self._defined = defined
        self._done: set[str] = set()

    def put(self, info: Any, schema: Any) -> None:
        """Put them into `schema`, that of `info`, and into those that it refers to."""
        if isinstance(info, types.Metadata):
            return self.put(info.type, schema)
        if not isinstance(schema, dict):
            return None
        name = schema.get("$ref", "").rpartition("/")[2]
        if name:
            if name not in self._done and name in self._defined:
                self._done.add(name)
                self._put_here(info, self._defined[name])
        else:
            self._put_here(info, schema)
        return None

    def _put_here(self, info: Any, schema: dict[str, Any]) -> None:
        if type(info) in _MOMENTS and info.tz is None:
            schema["format"] = _MOMENTS[type(info)]
        elif is_flag(info):
            del schema["enum"]
            schema |= _of_flags(info.cls)
        elif isinstance(info, types.UnionType):
            self._put_each(_choices_of(info), _choices(schema))
        elif isinstance(info, types.TupleType):
            schema.pop("items", None)
            self._put_each(info.item_types, schema.get("prefixItems", ()))
        elif isinstance(info, types.CollectionType):
            if isinstance(info, _SETS) and isinstance(schema.get("default"), list):
                schema["default"].sort(key=repr)  # their order is another one in each process
            self.put(info.item_type, schema.get("items"))
        elif isinstance(info, types.DictType):
            self.put(info.value_type, schema.get("additionalProperties"))
        elif "prefixItems" in schema:  # a class that is an array
            fields = [field.type for field in getattr(info, "fields", ())]
            self._put_each(fields, schema["prefixItems"][-len(fields) :])
        elif isinstance(info, _WITH_FIELDS):
            self._put_into_fields(info, schema)

    def _put_each(self, infos: Iterable[Any], schemas: Iterable[Any]) -> None:
        for info, schema in zip(infos, schemas, strict=False):
            self.put(info, schema)

    def _put_into_fields(self, info: Any, schema: dict[str, Any]) -> None:
        properties = schema.get("properties", {})
        is_sifted = isinstance(info, types.DataclassType)
        closed = closed_fields(class_of(info)) if is_sifted else frozenset()
        for field in info.fields:
            name = field.encode_name
            is_hidden = is_sifted and field.name[:1] == "_"
            if is_hidden and field.name in closed:
                properties.pop(name, None)
                continue
            self.put(field.type, properties.get(name))
            if is_hidden or field.name in closed:
                properties[name] = {**properties[name], "writeOnly" if is_hidden else "readOnly": True}


def _choices_of(info: Any) -> list[Any]:
    """Give the parts of a union as its schema has them: objects behind the others. Null may stand anywhere there."""
    parts = [part.type if isinstance(part, types.Metadata) else part for part in info.types]
    parts = [part for part in parts if not isinstance(part, types.NoneType)]
    return sorted(parts, key=lambda part: isinstance(part, types.StructType) and not part.array_like)


def _choices(schema: dict[str, Any]) -> list[Any]:
    """Give the choices that a schema has but for null; those among objects stand together."""
    every = [each for one in schema.get("anyOf", ()) for each in (one["anyOf"] if "discriminator" in one else [one])]
    return [each for each in every if each.get("type") != "null"]


def _of_flags(cls: Any) -> dict[str, Any]:
    """Give what flags can be together: a list of numbers, unless they are too many, or any number will do."""
    if cls._boundary_ is not STRICT or len(cls) > _MOST_FLAGS:
        return {"type": "integer"}
    found = {0}
    for flag in cls:
        found |= {number | flag.value for number in found}
    return {"enum": sorted(found)}
