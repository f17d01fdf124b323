"""A path template → its segments: literals, parameters, and what converts them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from aiorest_ws.exceptions import EndpointValueError
from aiorest_ws.routing.converters import CONVERTERS, PATH, Converter

__all__ = (
    "CONTROL",
    "MAX_SEGMENTS",
    "PARAMETER",
    "REST",
    "Part",
    "Typed",
    "converter_names",
    "converters_by_parameter",
    "join_rest",
    "parameter_names",
    "parse_template",
    "replace_parameters",
    "split_segment",
)

MAX_SEGMENTS: Final = 128
"""The most segments that a template may have; it bounds every search, whatever the url."""


class Typed(NamedTuple):
    """A segment with a converter: the literals around its parameters, and for each its converter or None."""

    literals: tuple[str, ...]
    converters: tuple[Converter | None, ...]


# A segment of a template: a literal, or, as a tuple, the literals around its parameters: `a{x}b` is ("a", "b").
Part = str | tuple[str, ...] | Typed
PARAMETER: Final = ("", "")
REST: Final = Typed(PARAMETER, (PATH,))

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]").search
_valid: Final = re.compile(r"(?:[^{}]|\{\w+(?::\w+)?\})*").fullmatch
_parameter: Final = re.compile(r"\{(\w+)(?::(\w+))?\}")
_by_parameters: Final = _parameter.split


def parameter_names(path: str) -> list[str]:
    """Give the names of the parameters of a well-formed template, in its order."""
    return _by_parameters(path)[1::3]


def converter_names(path: str) -> list[str]:
    """Give the names of the converters in a well-formed template."""
    return [name for name in _by_parameters(path)[2::3] if name]


def converters_by_parameter(path: str) -> dict[str, str | None]:
    """Give the name of the converter of each parameter of a well-formed template, None where it has none."""
    parts = _by_parameters(path)
    return dict(zip(parts[1::3], parts[2::3], strict=True))


def replace_parameters(path: str, text_of: Callable[[str], str]) -> str:
    """Give a well-formed template with the text of each parameter, by its name, in its place."""
    return _parameter.sub(lambda found: text_of(found[1]), path)


def parse_template(path: str, converters: Mapping[str, Converter | None] = CONVERTERS) -> list[Part]:
    """Split a template such as `/users/{id:int}/` into its segments, or raise EndpointValueError.

    Names of parameters are not in what it gives, so templates that differ in nothing else are equal.
    """
    if CONTROL(path):
        raise EndpointValueError(f"Bad pattern {path!r}: it contains a control character")
    if not (path.startswith("/") and path.endswith("/")):
        raise EndpointValueError(f"Bad pattern '{path}': it must start and end with '/'")
    segments = path[1:].split("/")[:-1]
    if len(segments) > MAX_SEGMENTS:
        raise EndpointValueError(f"Bad pattern '{path}': {len(segments)} segments, at most {MAX_SEGMENTS} are allowed")
    parts: list[Part] = []
    names: set[str] = set()
    for segment in segments:
        if not _valid(segment):
            raise EndpointValueError(f"Invalid {segment} part of {path} path")
        literal, *rest = _by_parameters(segment)
        for name in rest[::3]:
            if name[0].isdecimal():
                raise EndpointValueError(f"Bad pattern '{path}': parameter '{name}' begins with a digit")
            if name in names:
                raise EndpointValueError(f"Bad pattern '{path}': parameter '{name}' is used twice")
            names.add(name)
        for name in rest[1::3]:
            if name is not None and name not in converters:
                raise EndpointValueError(f"Bad pattern '{path}': no converter '{name}', expected {_known(converters)}")
        parts.append(_part((literal, *rest[2::3]), [converters[name] if name else None for name in rest[1::3]]))
    for place, part in enumerate(parts, 1):
        if isinstance(part, Typed) and PATH in part.converters and (part != REST or place < len(parts)):
            raise EndpointValueError(f"Bad pattern '{path}': a path parameter must be all of the last segment")
    return parts


def _known(converters: Mapping[str, Converter | None]) -> str:
    return ", ".join(sorted(converters))


def _part(literals: tuple[str, ...], converters: list[Converter | None]) -> Part:
    if any(converters):
        return Typed(literals, tuple(converters))
    return literals if len(literals) > 1 else literals[0]


def split_segment(literals: tuple[str, ...], segment: str) -> tuple[str, ...] | None:
    """Give the values between `literals` as the greedy regex `([^{}/]+)` would, without its backtracking.

    The first value is the longest when every literal stands as far right as the ones after it allow.
    """
    low = len(literals[0])
    end = len(segment) - len(literals[-1])
    if end <= low or not segment.startswith(literals[0]) or not segment.endswith(literals[-1]):
        return None
    values = []
    for literal in literals[-2:0:-1]:
        at = segment.rfind(literal, low + 1, end - 1)  # at least one character stays on either side
        if at < 0:
            return None
        values.append(segment[at + len(literal) : end])
        end = at
    values.append(segment[low:end])
    return tuple(reversed(values))


def join_rest(segments: list[str]) -> str:
    """Give the value of a parameter for all the rest. What no segment was cut of has kept its slash at the end."""
    rest = "/".join(segments)
    return rest[:-1] if segments[-1].endswith("/") else rest
