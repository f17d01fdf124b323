"""A value that JSON has no word for → a simpler one, until it is one that JSON has.

The one table of what may be sent, docs/reference/values.md: `_speedups.codec` asks it for JSON and for MessagePack.
What orjson writes itself (str, int, float, bool, None, list, tuple, dict, datetime, date, time, UUID) never comes here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MappingView, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from enum import Enum
from functools import cache
from typing import Any
from uuid import UUID

from pybase64 import b64encode

from aiorest_ws.callables.calls import is_awaitable

__all__ = (
    "JSON_KEYS",
    "SERIES",
    "is_plain_struct",
    "is_pydantics",
    "is_read_from_text",
    "iso_duration",
    "simpler",
    "written_key",
)

JSON_KEYS = frozenset((str, int, float, bool, type(None)))  # Python's `json` writes them: 1 is "1", None is "null"

# Of their modules' classes nothing is imported: whoever has such a value has done so.
_PATHS = ("PurePath", "PurePosixPath", "PureWindowsPath", "Path", "PosixPath", "WindowsPath")
_READ_FROM_TEXT = frozenset(
    (
        *(("ipaddress", f"IPv{v}{kind}") for v in (4, 6) for kind in ("Address", "Interface", "Network")),
        *(("pathlib", name) for name in _PATHS),
        *(("pathlib._local", name) for name in _PATHS),  # Python 3.13
    )
)
_WRITTEN_AS_TEXT = _READ_FROM_TEXT | frozenset(
    (
        *(("decimal", "Decimal"), ("fractions", "Fraction"), ("zoneinfo", "ZoneInfo"), ("collections", "UserString")),
        *(("pydantic_core._pydantic_core", "Url"), ("pydantic_core._pydantic_core", "MultiHostUrl")),
    )
)


SERIES: Any = (Sequence, Set, MappingView)


def simpler(value: Any) -> Any:
    """Give what `value` is sent as, or raise TypeError with what may have been meant."""
    cls: Any = type(value)
    if is_pydantics(cls):
        return _of_pydantic(value)
    if hasattr(cls, "__struct_config__"):
        return _of_struct(value)
    if is_dataclass(cls) or hasattr(cls, "__attrs_attrs__"):
        return {name: item for name, item in members_of(value).items() if name[:1] != "_"}
    for kind, make in _KINDS:
        if isinstance(value, kind):
            return make(value)
    for base in cls.__mro__:
        if (base.__module__, base.__qualname__) in _WRITTEN_AS_TEXT:
            return str(value)
    if (cls.__module__, cls.__qualname__) == ("re", "Pattern"):
        return value.pattern
    if isinstance(value, SERIES) and not isinstance(value, range):
        return list(value)
    raise TypeError(f"{cls.__qualname__} is not JSON serializable{_hint(value)}")


def is_read_from_text(cls: Any) -> bool:
    """Tell whether a client may send a text for a `cls`, which is made of nothing else."""
    return (cls.__module__, cls.__qualname__) in _READ_FROM_TEXT


def written_key(key: Any) -> str:
    """Give `key` of a dict as JSON writes it, or raise TypeError."""
    import json

    known = None if isinstance(key, (bytes, bytearray, memoryview)) else key
    while known is not None and (isinstance(known, Enum) or not isinstance(known, (str, int, float))):
        known = known.isoformat() if type(known) is datetime else simpler(known)
        if isinstance(known, (dict, list)):
            known = None
    if known is None and key is not None:
        raise TypeError(f"{type(key).__qualname__} cannot be the key of an object, which is a string in JSON")
    written: str = next(iter(json.loads(json.dumps({known: None}))))
    return written


def _hint(value: Any) -> str:
    if is_awaitable(value):
        return ": is an `await` missing?"
    if isinstance(value, BaseException) or (isinstance(value, type) and issubclass(value, BaseException)):
        return ": is a `raise` missing?"
    if hasattr(type(value), "__anext__"):
        return ": send `[item async for item in ...]`"
    if isinstance(value, Iterable) and not isinstance(value, type):
        return ": send `list(...)` of it"
    return ": is a call `()` missing?" if callable(value) else ""


def iso_duration(value: timedelta) -> str:
    """Give `value` as msgspec writes it: days, and seconds with their fraction (ISO 8601-1 §5.5.2)."""
    sign, value = ("-", -value) if value.days < 0 else ("", value)
    fraction = f".{value.microseconds:06}".rstrip("0") if value.microseconds else ""
    seconds = f"T{value.seconds}{fraction}S" if value.seconds or fraction else ""
    days = f"{value.days}D" if value.days or not seconds else ""
    return f"{sign}P{days}{seconds}"


def _base_of(value: datetime) -> datetime:
    if type(value) is datetime:
        return value
    return datetime.combine(date(value.year, value.month, value.day), value.timetz())


# In this order: a datetime is a date, a str may be an Enum, bytes are a sequence.
_KINDS: tuple[tuple[Any, Any], ...] = (
    (Enum, lambda value: value.value),
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    ((bytes, bytearray, memoryview), lambda value: b64encode(bytes(value)).decode("ascii")),
    (datetime, _base_of),
    (date, date.isoformat),
    (time, time.isoformat),
    (timedelta, iso_duration),
    (UUID, UUID.__str__),
    (Mapping, dict),
)


def members_of(value: Any) -> dict[str, Any]:
    """Give the fields of a dataclass or an attrs object that are there: not every one has to be set by `__init__`."""
    cls: Any = type(value)
    names = [field.name for field in (fields(value) if is_dataclass(cls) else cls.__attrs_attrs__)]
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def is_sent(cls: Any) -> bool:
    """Tell whether `simpler` knows what objects of `cls` are sent as."""
    if is_pydantics(cls) or is_dataclass(cls) or hasattr(cls, "__attrs_attrs__") or hasattr(cls, "__struct_config__"):
        return True
    if not isinstance(cls, type) or issubclass(cls, range):
        return False
    kinds = tuple(kind for kind, _ in _KINDS if isinstance(kind, type))
    if issubclass(cls, (*kinds, bytes, bytearray, memoryview, *SERIES)):
        return True
    return any((base.__module__, base.__qualname__) in (*_WRITTEN_AS_TEXT, ("re", "Pattern")) for base in cls.__mro__)


# msgspec


@cache
def is_plain_struct(cls: Any) -> bool:
    """Tell whether msgspec writes a Struct of `cls` as we would: whatever may hold anything may hold a pydantic one."""
    from msgspec import inspect

    try:
        return not _may_be_pydantics(inspect.type_info(cls), set())
    except Exception:  # annotations that nobody can resolve, which is no fault in what is only sent
        return False


def _may_be_pydantics(info: Any, seen: set[int]) -> bool:
    from msgspec import inspect

    if id(info) in seen:
        return False
    seen.add(id(info))
    if isinstance(info, (inspect.AnyType, inspect.CustomType, inspect.DataclassType)):
        return True
    if isinstance(info, tuple):
        return any(_may_be_pydantics(part, seen) for part in info)
    if isinstance(info, (inspect.Type, inspect.Field)):
        return any(_may_be_pydantics(getattr(info, name), seen) for name in info.__struct_fields__)
    return False


def _of_struct(value: Any) -> Any:
    """Give the fields as msgspec names and orders them, themselves as they are."""
    from msgspec import UNSET
    from msgspec.structs import fields as fields_of

    config = value.__struct_config__
    tag = {} if config.tag is None else {config.tag_field: config.tag}
    if config.array_like:
        return [*tag.values(), *(getattr(value, name) for name in value.__struct_fields__)]
    members = tag
    for field in fields_of(value):
        item = getattr(value, field.name)
        if item is not UNSET and not (config.omit_defaults and _is_default(item, field)):
            members[field.encode_name] = item
    return members


def _is_default(item: Any, field: Any) -> bool:
    empty = type(item) in (list, dict, set) and not item
    return item is field.default or (empty and type(item) is field.default_factory)


# pydantic


def is_pydantics(cls: type) -> bool:
    """Tell whether pydantic knows how to write a `cls`, which nobody else can: aliases, what is excluded, secrets."""
    return hasattr(cls, "__pydantic_serializer__") or hasattr(cls, "__get_pydantic_core_schema__")


def _of_pydantic(value: Any) -> Any:
    cls: Any = type(value)
    if _dumps_itself(cls):
        return value.model_dump(mode="json", by_alias=True)
    if "__pydantic_serializer__" in vars(cls):
        return cls.__pydantic_serializer__.to_python(value, mode="json", by_alias=True, fallback=simpler)
    return _adapter(cls).dump_python(value, mode="json", by_alias=True)


@cache
def _dumps_itself(cls: Any) -> bool:
    """Tell whether the application has said how a model is dumped."""
    from pydantic import BaseModel

    return issubclass(cls, BaseModel) and cls.model_dump is not BaseModel.model_dump


@cache
def _adapter(cls: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)
