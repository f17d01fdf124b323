"""What a handler says of an argument in its annotation → the name that the argument has in `args` of a request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

__all__ = ("Arg", "misplaced", "wire_names")

_surrogate = re.compile("[\ud800-\udfff]").search


@dataclass(frozen=True, slots=True)
class Arg:
    """The name of an argument on the wire, as of `sender: Annotated[str, Arg(alias="from")]`.

    alias    what requests say in `args`; they cannot use the parameter's own name then
    """

    alias: str

    def __post_init__(self) -> None:
        if not isinstance(self.alias, str) or not self.alias:
            raise TypeError(f"alias of Arg must be a string that is not empty, got {self.alias!r}")
        if not self.alias.isascii() and _surrogate(self.alias):
            raise TypeError(f"alias of Arg must be text that JSON can say, got {self.alias!r}")


def wire_names(asked: Iterable[tuple[str, Any, bool]], others: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Give the names on the wire of those arguments that have one of their own; raises ValueError.

    asked     name, annotation and whether it is one of `args`, of every annotated parameter
    others    names of all arguments, the annotated ones too
    taken     names that get their values from the path or from dependencies
    """
    found: dict[str, str] = {}
    for name, hint, is_argument in asked:
        alias = _alias_of(name, hint)
        if alias is None:
            continue
        if not is_argument:
            raise ValueError(f"parameter {name!r} is not one of `args`: its name on the wire cannot be {alias!r}")
        found[name] = alias
    owners = {name: name for name in others if name not in found}
    for name, alias in found.items():
        if alias in owners or alias in taken:
            owner = owners.get(alias, alias)
            raise ValueError(f"parameters {name!r} and {owner!r} have both the name {alias!r} on the wire")
        owners[alias] = name
    return found


def misplaced(default: Any) -> Arg | None:
    """Give the Arg that somebody has made the default of a parameter, or meant with a field of another library."""
    if isinstance(default, Arg):
        return default
    alias = _foreign_alias(default)
    return None if alias is None else Arg(alias)


def _alias_of(name: str, hint: Any) -> str | None:
    marks = getattr(hint, "__metadata__", ())
    marks = marks if isinstance(marks, tuple) else ()
    aliases = [mark.alias for mark in marks if isinstance(mark, Arg)]
    for mark in marks:
        if _has_default(mark):
            raise ValueError(
                f"parameter {name!r} has its default in {type(mark).__module__}.{type(mark).__qualname__}, which is "
                f"for fields: expected {name}: … = {mark.default!r:.100}"
            )
        foreign = _foreign_alias(mark)
        if foreign is not None:
            raise ValueError(
                f"parameter {name!r} has the alias {foreign!r} in {type(mark).__module__}.{type(mark).__qualname__}, "
                f"which is for fields: expected Arg(alias={foreign!r})"
            )
    if len(aliases) > 1:
        raise ValueError(f"parameter {name!r} has several names on the wire: {', '.join(map(repr, aliases))}")
    if any(isinstance(mark, Arg) for part in get_args(hint)[:1] for mark in _marks_in(part)):
        raise ValueError(f"parameter {name!r} has an Arg inside its annotation: expected Annotated[…, Arg(…)]")
    return aliases[0] if aliases else None


def _foreign_alias(mark: Any) -> str | None:
    """Give the name that pydantic's or msgspec's description of a field has."""
    if type(mark).__module__.partition(".")[0] not in ("pydantic", "msgspec"):
        return None
    for attribute in ("alias", "validation_alias", "serialization_alias", "name"):
        alias = getattr(mark, attribute, None)
        if alias is not None:
            return alias if isinstance(alias, str) else str(alias)
    return None


def _has_default(mark: Any) -> bool:
    """Tell whether pydantic's or msgspec's description of a field gives a value where none is sent."""
    if type(mark).__module__.partition(".")[0] == "pydantic":
        return hasattr(mark, "is_required") and not mark.is_required()
    return False


def _marks_in(hint: Any) -> Iterator[Any]:
    marks = getattr(hint, "__metadata__", ())
    yield from marks if isinstance(marks, tuple) else ()
    for part in get_args(hint):
        if not isinstance(part, (str, int, bytes)):
            yield from _marks_in(part)
