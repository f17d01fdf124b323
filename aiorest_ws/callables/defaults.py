"""A default → what gives each request its own; None for one that cannot change, and so needs no copy."""

from __future__ import annotations

from array import array
from collections import UserDict, UserList, deque
from collections.abc import Callable, Iterable
from copy import deepcopy
from enum import Enum
from functools import partial
from types import SimpleNamespace
from typing import Any

__all__ = ("fresh",)

_COPIED = (list, dict, set, bytearray, deque)  # by their own `copy`, where nothing in them can change
_CONTAINERS = (*_COPIED, UserDict, UserList, SimpleNamespace, array)


def fresh(default: Any) -> Callable[[], Any] | None:
    """Give what makes a copy of `default`, None if that cannot change. Raises TypeError for one that has no copy.

    What is copied: lists and their like, and instances that are made of fields. Others (a pool, a lock) are shared.
    """
    if not _may_change(default):
        return None
    if type(default) in _COPIED and not any(map(_may_change, _items(default))):
        return default.copy  # type: ignore[no-any-return]
    try:
        deepcopy(default)
    except Exception as exc:
        raise TypeError(f"each request gets a copy of it, but it cannot be copied: {exc}") from exc
    return partial(deepcopy, default)


def _may_change(value: Any) -> bool:
    if isinstance(value, _CONTAINERS):
        return True
    if isinstance(value, (tuple, frozenset)):
        return any(map(_may_change, value))
    if isinstance(value, (type, Enum)):
        return False
    names = _fields(type(value))
    return names is not None and (
        not _is_frozen(type(value)) or any(_may_change(getattr(value, n, None)) for n in names)
    )


def _items(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _fields(cls: Any) -> Iterable[str] | None:
    """Give the names of the fields of a dataclass, a Struct, a class of attrs or a model of pydantic."""
    if hasattr(cls, "__attrs_attrs__"):
        return [attribute.name for attribute in cls.__attrs_attrs__]
    for name in ("__dataclass_fields__", "__struct_fields__", "__pydantic_fields__"):
        if hasattr(cls, name):
            return getattr(cls, name)  # type: ignore[no-any-return]
    return None


def _is_frozen(cls: Any) -> bool:
    if hasattr(cls, "__dataclass_params__"):
        return bool(cls.__dataclass_params__.frozen)
    if hasattr(cls, "__struct_config__"):
        return bool(cls.__struct_config__.frozen)
    if hasattr(cls, "__pydantic_fields__"):
        return bool(cls.model_config.get("frozen"))
    return getattr(cls.__setattr__, "__name__", "") == "_frozen_setattrs"  # of attrs
