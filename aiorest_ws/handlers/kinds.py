"""A type that a handler asks for → all that is in it, as msgspec has it, or why no client can ever send it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Flag
from typing import Any

from msgspec import inspect as types

from aiorest_ws._speedups.values import is_pydantics, is_read_from_text
from aiorest_ws.handlers.sieves import class_of, closed_fields

__all__ = ("NoCheck", "Unknown", "infos_of", "is_flag", "is_hashable", "is_sent_as_key", "refuse_unsent")


class NoCheck(Exception):
    """No value of this type can be made of what a client sends; the text says why."""


class Unknown(NoCheck):
    """It is a class that neither msgspec nor pydantic knows."""


def infos_of(hint: Any) -> list[Any]:
    """Give all types in `hint`, its own first, as msgspec.inspect has them, or raise NoCheck."""
    try:
        return list(_walk(types.type_info(hint), set()))
    except Exception as exc:
        text = f"a field without annotation: {exc}" if isinstance(exc, KeyError) else str(exc)
        raise NoCheck(text or type(exc).__name__) from exc


def refuse_unsent(infos: list[Any], *, lax: bool = False) -> None:
    """Raise NoCheck for a type that no client can ever send."""
    for info in infos:
        if _is_foreign(info):
            name = getattr(info.cls, "__qualname__", info.cls)
            raise Unknown(f"msgspec cannot make a `{name}` of what a client sends")
        if isinstance(info, (types.RawType, types.ExtType)):
            raise NoCheck(f"a `msgspec.{type(info).__name__.removesuffix('Type')}` never comes: ask for Any")
        if isinstance(info, types.DictType) and not _can_be(info.key_type, _KEYS):
            raise NoCheck(f"keys of objects are strings, of which no {_name_of(info.key_type)} can be made")
        if isinstance(info, (types.SetType, types.FrozenSetType)) and not is_hashable(info.item_type):
            raise NoCheck(f"{_name_of(info.item_type)} cannot be in a set: ask for a list")
        if isinstance(info, types.DataclassType):
            _refuse_never_set(info)
    if lax and infos and not _can_be(infos[0], (*_KEYS, types.BoolType, types.NoneType)):
        raise NoCheck(f"a path parameter is text, of which no {_name_of(infos[0])} can be made")


# What msgspec makes of a string.
_KEYS = (
    *(types.AnyType, types.StrType, types.IntType, types.FloatType, types.DecimalType, types.UUIDType),
    *(types.DateTimeType, types.DateType, types.TimeType, types.TimeDeltaType, types.BytesType),
    *(types.EnumType, types.LiteralType, types.CustomType),
)
_UNHASHABLE = (
    *(types.ListType, types.SetType, types.DictType, types.TypedDictType, types.ByteArrayType, types.CollectionType),
)


def _is_foreign(info: Any) -> bool:
    return isinstance(info, types.CustomType) and not (is_pydantics(info.cls) or is_read_from_text(info.cls))


def _never_comes(info: Any) -> bool:
    """Tell whether there is nothing in `info` that a client could send, but null."""
    if isinstance(info, types.Metadata):
        return _never_comes(info.type)
    if isinstance(info, types.UnionType):
        return all(isinstance(part, types.NoneType) or _never_comes(part) for part in info.types)
    return _is_foreign(info)


def is_sent_as_key(info: Any) -> bool:
    """Tell whether JSON has a string for some value of this type."""
    kinds = tuple(kind for kind in _KEYS if kind is not types.BytesType)
    return _can_be(info, (*kinds, types.BoolType, types.NoneType))


def _can_be(info: Any, kinds: tuple[Any, ...]) -> bool:
    if isinstance(info, types.Metadata):
        return _can_be(info.type, kinds)
    if isinstance(info, types.UnionType):
        return any(_can_be(part, kinds) for part in info.types)
    return isinstance(info, kinds)


def is_hashable(info: Any) -> bool:
    """Tell whether a value of this type can be in a set."""
    if isinstance(info, types.Metadata):
        return is_hashable(info.type)
    if isinstance(info, types.UnionType):
        return any(is_hashable(part) for part in info.types)
    if isinstance(info, types.StructType):
        config = class_of(info).__struct_config__
        return bool(config.frozen or not config.eq)
    if isinstance(info, types.DataclassType):
        return class_of(info).__hash__ is not None
    return not isinstance(info, _UNHASHABLE)


def _name_of(info: Any) -> str:
    if isinstance(info, types.Metadata):
        return _name_of(info.type)
    cls = getattr(info, "cls", None)
    return f"`{cls.__qualname__}`" if cls is not None else f"`{type(info).__name__.removesuffix('Type').lower()}`"


def _refuse_never_set(info: Any) -> None:
    cls = class_of(info)
    closed = closed_fields(cls)
    for field in info.fields:
        if field.required and field.name in closed:
            raise NoCheck(
                f"nobody sets `{cls.__qualname__}.{field.name}`, which `__init__` does not take, and which has no "
                "default: give it one, or ask for a Struct"
            )
    for attribute in getattr(cls, "__attrs_attrs__", ()):
        if attribute.init and attribute.converter is not None:
            name = f"{cls.__qualname__}.{attribute.name}"
            raise NoCheck(f"`{name}` has a converter, which msgspec does not call: let `__attrs_post_init__` do it")


def is_flag(info: Any) -> bool:
    """Tell whether a type of msgspec's is a class of flags: each value may be several of its members."""
    return isinstance(info, types.EnumType) and issubclass(info.cls, Flag)


def _walk(info: Any, seen: set[int]) -> Iterator[Any]:
    """Give every type in `info` that a client has to send or may send; a Struct may contain itself."""
    if id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, types.Field) and not info.required and _never_comes(info.type):
        return  # its default will do
    if isinstance(info, types.Type):
        yield info
    parts = info if isinstance(info, tuple) else [getattr(info, name) for name in info.__struct_fields__]
    for part in parts:
        if isinstance(part, (types.Type, types.Field, tuple)):
            yield from _walk(part, seen)
