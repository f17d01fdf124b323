"""The text of a path parameter → a value of its type, and back.

A converter is part of its template's pattern: a text that it refuses does not match, and the search goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from math import isfinite
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

__all__ = ("CONVERTERS", "PATH", "Converter")

_whole: Final = re.compile(r"-?[0-9]+").fullmatch
_decimal: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?").fullmatch
_uuid: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_day: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch


@dataclass(frozen=True, slots=True)
class Converter:
    """What stands behind the colon of `{id:int}`.

    convert    text of the url → value; an exception says that the text does not match
    to_text    value → text, for `url_for`; an exception says that the value has none
    """

    name: str
    convert: Callable[[str], Any]
    to_text: Callable[[Any], str]


def _matched(found: re.Match[str] | None, text: str, what: str) -> str:
    if found is None:
        raise ValueError(f"expected {what}, got {text!r:.100}")
    return text


def _to_int(text: str) -> int:
    return int(_matched(_whole(text), text, "an integer"))


def _to_float(text: str) -> float:
    value = float(_matched(_decimal(text), text, "a number"))
    if not isfinite(value):
        raise ValueError(f"expected a number within the range of a float, got {text!r:.100}")
    return value


def _to_uuid(text: str) -> UUID:
    return UUID(_matched(_uuid(text), text, "a UUID"))


def _to_date(text: str) -> date:
    return date.fromisoformat(_matched(_day(text), text, "a date as YYYY-MM-DD"))


def _int_text(value: Any) -> str:
    return str(_checked(value, isinstance(value, int) and not isinstance(value, bool), "an int"))


def _float_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return repr(float(_checked(value, number, "a float")))


def _uuid_text(value: Any) -> str:
    return str(_checked(value, isinstance(value, UUID), "a UUID"))


def _date_text(value: Any) -> str:
    return str(_checked(value, isinstance(value, date) and not isinstance(value, datetime), "a date"))


def _path_text(value: Any) -> str:
    return str(_checked(value, False, "a string"))


def _checked(value: Any, fits: bool, what: str) -> Any:
    """Give `value` back; a string is taken as it would stand in the url, whatever the type."""
    if not fits and not isinstance(value, str):
        raise TypeError(f"expected {what}, got {value!r:.100}")
    return value


PATH: Final = Converter("path", str, _path_text)
"""All the rest of the url, slashes too. The search knows it by its identity: it is no matter of one segment."""

CONVERTERS: Final[Mapping[str, Converter | None]] = MappingProxyType(
    {
        "str": None,  # what a parameter without a converter is
        "int": Converter("int", _to_int, _int_text),
        "float": Converter("float", _to_float, _float_text),
        "uuid": Converter("uuid", _to_uuid, _uuid_text),
        "date": Converter("date", _to_date, _date_text),
        "path": PATH,
    }
)
"""What every router knows."""
