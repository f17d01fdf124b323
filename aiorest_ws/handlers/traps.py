"""Types and values with which one short message could keep a server busy for minutes → what is to be said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from types import GenericAlias
from typing import Any, Union
from uuid import UUID

from msgspec import convert
from msgspec import inspect as types

__all__ = ("KEY_BEYOND", "ONE_HASH", "Alike", "branching", "keeps_apart", "nodes_of", "trap_in")

MOST_OF_ONE_HASH = 16
ONE_HASH = "Too many different values with one hash"
KEY_BEYOND = "Expected an integer of 64 bits as key"
_LEAST_BEYOND = 19  # characters of a number that may have more than 64 bits

# Of which a client can make few that have the same hash, as it is secret, or of 61 of their 64 bits.
_SAFE = (
    *(types.AnyType, types.StrType, types.BytesType, types.BoolType, types.NoneType, types.IntType),
    *(types.EnumType, types.LiteralType, types.DateType, types.DateTimeType, types.TimeType, types.TimeDeltaType),
)
_HINTS: dict[Any, Any] = {
    types.IntType: int,
    types.FloatType: float,
    types.StrType: str,
    types.BytesType: bytes,
    types.BoolType: bool,
    types.NoneType: None,
    types.UUIDType: UUID,
    types.DecimalType: Decimal,
    types.DateType: date,
    types.DateTimeType: datetime,
}


def keeps_apart(info: Any) -> bool:
    """Tell whether what comes for `info`, of msgspec.inspect, must be looked at before it is a set or a dict."""
    if isinstance(info, types.DictType):
        return _is_int(info.key_type) or not _is_safe(info.key_type)
    return isinstance(info, (types.SetType, types.FrozenSetType)) and not _is_safe(info.item_type)


def trap_in(info: Any, values: Any) -> str | None:
    """Tell what is wrong with `values`, of which an `info`, a set or a dict, is to be made."""
    if info.max_length is not None and len(values) > info.max_length:
        return None  # msgspec says so, before it makes any
    part = info.key_type if isinstance(info, types.DictType) else info.item_type
    if isinstance(values, dict) and _is_int(part):
        for key in values:
            if len(key) >= _LEAST_BEYOND and _is_beyond(key):
                return KEY_BEYOND
    elif len(values) > MOST_OF_ONE_HASH and not _is_safe(part) and _collide(_made(part, values)):
        return ONE_HASH
    return None


def _is_beyond(key: str) -> bool:
    """Tell whether `key` is an integer that 64 bits do not hold, signed or not."""
    digits = key.lstrip("+-").lstrip("0")
    if not (digits.isascii() and digits.isdigit()):
        return False
    most = 2**63 if key[0] == "-" else 2**64 - 1
    return len(digits) > 20 or int(digits) > most


def _is_int(info: Any) -> bool:
    return isinstance(info.type if isinstance(info, types.Metadata) else info, types.IntType)


def _is_safe(info: Any) -> bool:
    if isinstance(info, types.Metadata):
        return _is_safe(info.type)
    if isinstance(info, types.UnionType):
        return all(map(_is_safe, info.types))
    return isinstance(info, _SAFE)


def _made(info: Any, values: Iterable[Any]) -> list[Any]:
    """Give what msgspec makes of `values`, up to the first that it refuses."""
    info = info.type if isinstance(info, types.Metadata) else info
    if {str, int}.issuperset(map(type, values)):
        values = dict.fromkeys(values)  # each once
    make: Any = getattr(info, "cls", None)
    if not isinstance(info, types.CustomType):
        hint = _hint_of(info)
        try:
            everything: list[Any] = convert(list(values), GenericAlias(list, (hint,)), strict=False)
            return everything
        except (TypeError, ValueError, ArithmeticError):
            make = partial(convert, type=hint, strict=False)
    made: list[Any] = []
    for value in values:
        try:
            made.append(make(value))
        except (TypeError, ValueError, ArithmeticError):
            break
    return made


def _hint_of(info: Any) -> Any:
    """Give the type that is `info`, without its constraints."""
    if isinstance(info, types.Metadata):
        return _hint_of(info.type)
    if isinstance(info, types.UnionType):
        return Union[tuple(map(_hint_of, info.types))]  # noqa: UP007 (of as many as there are)
    if isinstance(info, types.TupleType):
        return GenericAlias(tuple, tuple(map(_hint_of, info.item_types)))
    if isinstance(info, types.VarTupleType):
        return GenericAlias(tuple, (_hint_of(info.item_type), ...))
    if isinstance(info, types.FrozenSetType):
        return GenericAlias(frozenset, (_hint_of(info.item_type),))
    return getattr(info, "cls", None) or _HINTS.get(type(info), Any)


def _collide(values: list[Any]) -> bool:
    """Tell whether more than 16 different ones of `values` have one hash: they would be compared with each other."""
    often = {number for number, times in Counter(map(hash, values)).items() if times > MOST_OF_ONE_HASH}
    if not often:
        return False
    alike = Alike()
    return any(hash(value) in often and alike.collides(value) for value in values)


class Alike:
    """What a set or a dict is to have in it, by hashes."""

    def __init__(self) -> None:
        self.seen: dict[int, list[Any]] = {}

    def collides(self, value: Any) -> bool:
        """Take note of `value`; tell whether it is one more than 16 different ones that have its hash."""
        alike = self.seen.setdefault(hash(value), [])
        if value in alike:
            return False
        alike.append(value)
        return len(alike) > MOST_OF_ONE_HASH


def branching(schema: Any) -> list[str] | None:
    """Give the names of the members of a union, in a schema of pydantic_core, that would all be tried at every level.

    That is where two or more of them lead back to the union, and no discriminator says which is meant: 50 levels are
    2⁵⁰ attempts.
    """
    if schema.get("type") != "definitions":
        return None  # nothing in it leads back to itself
    definitions = {node["ref"]: node for node in nodes_of(schema) if "ref" in node}
    for union in nodes_of(schema):
        if union.get("type") != "union":
            continue
        choices = [choice[0] if isinstance(choice, tuple) else choice for choice in union["choices"]]
        back = [choice for choice in choices if _leads_to(union, choice, definitions)]
        if len(back) > 1:
            return [_name_of(choice, definitions) for choice in back]
    return None


def _leads_to(goal: Any, start: Any, definitions: dict[str, Any]) -> bool:
    followed: set[str] = set()
    todo = [start]
    while todo:
        for node in nodes_of(todo.pop()):
            if node is goal:
                return True
            ref = node.get("schema_ref")
            if node.get("type") == "definition-ref" and ref in definitions and ref not in followed:
                followed.add(ref)
                todo.append(definitions[ref])
    return False


def _name_of(choice: Any, definitions: dict[str, Any]) -> str:
    choice = definitions.get(choice.get("schema_ref", ""), choice)
    cls = choice.get("cls")
    return f"`{cls.__qualname__}`" if cls is not None else f"`{choice['type']}`"


def nodes_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Give every dict in a schema of pydantic_core."""
    todo = [schema]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            yield node
            todo += node.values()
        elif isinstance(node, (list, tuple)):
            todo += node
