"""A type that a handler asks for → a function that makes its value of what a client sent, or says what is wrong.

Imports msgspec: whoever needs it imports this module when the first annotated handler is registered.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, get_args

import msgspec
from msgspec import inspect as types

__all__ = (
    "MOST_FAULTS",
    "Check",
    "Fault",
    "NoCheck",
    "Unknown",
    "box_of",
    "check_of",
    "fault",
    "faults_of",
    "goes_plainly",
    "is_pydantic",
)

Fault = dict[str, Any]
Check = Callable[[Any], Any]

MOST_FAULTS = 50
_MOST_COUNTED = 10_000  # pydantic tells all of them or none, and takes 3 µs for each
# A message may repeat what the client sent: a tag, the name of an enum's member.
_MOST_TEXT = 200
_MOST_NAME = 100
_MOST_STEPS = 64

# How msgspec says where: "Expected `int`, got `str` - at `$.items[0].name`", or "- at `key` in `$.items`".
_place = re.compile(r" - at (`key` in )?`\$([^`]*)`$")
_step = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


class NoCheck(Exception):
    """No value of this type can be made of what a client sends; the text says why."""


class Unknown(NoCheck):
    """It is a class that neither msgspec nor pydantic knows."""


def check_of(hint: Any, *, lax: bool = False, made: bool = False) -> Check:
    """Give the check of `hint`, or raise NoCheck.

    lax     what comes is text that may stand for a number and so on
    made    what comes is no JSON, but what a converter made
    """
    if is_pydantic(hint):
        return _pydantic_check(hint)
    if not made:
        _refuse_unknown(hint)
    box = box_of([("value", hint)])
    options: dict[str, Any] = {"strict": False} if lax else {}
    if not made and _wants_keys(hint):
        options["str_keys"] = True
    convert = partial(msgspec.convert, **options) if options else msgspec.convert

    def check(value: Any) -> Any:
        try:
            return convert({"value": value}, box).value
        except (TypeError, ValueError) as exc:
            # A year 10000, a signalling NaN in a set: of some values msgspec does not say itself that they are wrong.
            if isinstance(exc, msgspec.ValidationError) or not _is_raised_here(exc):
                raise
            raise msgspec.ValidationError("Invalid value") from exc

    return _finite(check) if lax and _has_floats(hint) else check


def box_of(fields: list[Any], **options: Any) -> Any:
    """Give a Struct with these fields: msgspec works out what it has to do once for a Struct, else with every call."""
    try:
        box = msgspec.defstruct("Box", fields, kw_only=True, **options)
        try:
            msgspec.convert(None, box)
        except msgspec.ValidationError:
            pass
    except Exception as exc:
        raise NoCheck(str(exc)) from exc
    return box


def _refuse_unknown(hint: Any) -> None:
    try:
        info = types.type_info(hint)
    except Exception as exc:
        raise NoCheck(str(exc) or type(exc).__name__) from exc
    for found in _walk(info, set()):
        if isinstance(found, types.CustomType):
            name = getattr(found.cls, "__qualname__", found.cls)
            raise Unknown(f"msgspec cannot make a `{name}` of what a client sends")


def _walk(info: Any, seen: set[int]) -> Iterator[Any]:
    """Give every type in `info` that a client has to send or may send; a Struct may contain itself."""
    if id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, types.Field) and not info.required and isinstance(info.type, types.CustomType):
        return  # its default will do
    if isinstance(info, types.Type):
        yield info
    elif not isinstance(info, (types.Field, tuple)):
        return
    parts = info if isinstance(info, tuple) else [getattr(info, name) for name in info.__struct_fields__]
    for part in parts:
        yield from _walk(part, seen)


def goes_plainly(hint: Any, *, lax: bool = False) -> bool:
    """Tell whether `msgspec.convert` without more ado does what the check of `hint` does."""
    return not is_pydantic(hint) and not _wants_keys(hint) and not (lax and _has_floats(hint))


def _wants_keys(hint: Any) -> bool:
    """Tell whether `hint` has objects whose keys are no strings: JSON has them as strings."""
    text = (types.StrType, types.AnyType)
    found = _walk(types.type_info(hint), set())
    return any(isinstance(info, types.DictType) and not isinstance(info.key_type, text) for info in found)


def _has_floats(hint: Any) -> bool:
    return any(isinstance(i, (types.FloatType, types.DecimalType)) for i in _walk(types.type_info(hint), set()))


def _is_raised_here(exc: Exception) -> bool:
    """Tell whether no code of the application, which a check may call, stands between its caller and `exc`."""
    return exc.__traceback__ is not None and exc.__traceback__.tb_next is None


def _finite(check: Check) -> Check:
    """Let `check` refuse what JSON has no word for, and `{x:float}` does not take either."""
    from decimal import Decimal
    from math import isfinite

    def checked(text: Any) -> Any:
        value = check(text)
        # A Decimal is asked itself: as a float a signalling NaN is a ValueError, and 1E+400 infinite.
        is_finite = value.is_finite() if isinstance(value, Decimal) else not isinstance(value, float) or isfinite(value)
        if not is_finite:
            raise msgspec.ValidationError("Expected a finite number")
        return value

    return checked


# pydantic


def is_pydantic(hint: Any) -> bool:
    """Tell whether only pydantic can check `hint`: one of its models or types, or a constraint that msgspec ignores."""
    if hasattr(hint, "__get_pydantic_core_schema__") or hasattr(hint, "__pydantic_core_schema__"):
        return True
    if any(type(m).__module__.partition(".")[0] in ("pydantic", "annotated_types") for m in _metadata(hint)):
        return True
    return any(is_pydantic(part) for part in get_args(hint) if not isinstance(part, (str, int, bytes)))


def _metadata(hint: Any) -> tuple[Any, ...]:
    found = getattr(hint, "__metadata__", ())
    return found if isinstance(found, tuple) else ()


def _pydantic_check(hint: Any) -> Check:
    try:
        from pydantic import TypeAdapter
    except ImportError:
        raise NoCheck("its constraints are pydantic's, which is not installed") from None
    try:
        check: Check = TypeAdapter(hint).validate_python
    except Exception as exc:
        raise NoCheck(str(exc).partition("\n")[0]) from exc
    return check


# What is wrong


def fault(loc: list[Any], text: str) -> Fault:
    """Give a fault as clients see it. Neither its place nor its text grows with what they sent."""
    return {"loc": [_short(step) for step in loc[:_MOST_STEPS]], "msg": _cut(text, _MOST_TEXT)}


def _short(step: Any) -> Any:
    return step if isinstance(step, int) else _cut(str(step), _MOST_NAME)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def faults_of(exc: Exception, loc: list[Any]) -> list[Fault] | None:
    """Give what `exc`, raised by a check, says of the value at `loc`; None if it says nothing of the value."""
    if isinstance(exc, msgspec.ValidationError):
        return [_fault_of(str(exc), loc)]
    if isinstance(exc, RecursionError):
        return [fault(loc, "Nested too deeply")]
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(exc, pydantic.ValidationError):
        return None
    if exc.error_count() > _MOST_COUNTED:
        return [fault(loc, f"{exc.error_count()} faults, which are too many to tell")]
    errors = exc.errors(include_url=False, include_context=False, include_input=False)
    return [fault([*loc, *error["loc"]], error["msg"]) for error in errors[:MOST_FAULTS]]


def _fault_of(text: str, loc: list[Any]) -> Fault:
    """Give what msgspec says, its place as a list."""
    found = _place.search(text)
    if found is None:
        return fault(loc, text)
    steps = [name or (int(index) if index.isdigit() else index) for name, index in _step.findall(found[2])]
    if steps[:1] == ["value"]:
        del steps[0]  # of the box
    message = text[: found.start()]
    return fault([*loc, *steps], f"{message} as key" if found[1] else message)
