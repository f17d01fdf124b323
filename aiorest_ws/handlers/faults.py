"""What a check raises → what is wrong, and where, as clients are told."""

from __future__ import annotations

import re
import sys
from typing import Any

import msgspec

__all__ = ("MOST_FAULTS", "Fault", "fault", "faults_of")

Fault = dict[str, Any]


MOST_FAULTS = 50
_MOST_COUNTED = 10_000  # pydantic tells all of them or none, and takes 3 µs for each
# A message may repeat what the client sent: a tag, the name of an enum's member.
_MOST_TEXT = 200
_MOST_NAME = 100
_MOST_STEPS = 64

# How msgspec says where: "Expected `int`, got `str` - at `$.items[0].name`", or "- at `key` in `$.items`".
_place = re.compile(r" - at (`key` in )?`\$([^`]*)`$")
_step = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


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
