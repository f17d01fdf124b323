"""A path template and the values of its parameters → the url that it matches with these values.

Nothing of a url is percent-decoded on the way in, so nothing is encoded here: a value stands in the url as it is, and
one that could not come back out of it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from aiorest_ws.exceptions import NoReverseMatch
from aiorest_ws.routing.converters import PATH, Converter
from aiorest_ws.routing.templates import Typed, parameter_names, parse_template, split_segment

__all__ = ("fill_template",)

_forbidden = re.compile(r"[\x00-\x1f\x7f{}]").search


def fill_template(template: str, converters: Mapping[str, Converter | None], values: Mapping[str, Any]) -> str:
    """Give the url, which ends with `/`; raises NoReverseMatch for a value that is missing, too many or impossible."""
    names = parameter_names(template)
    if set(names) != values.keys():
        expected, got = (", ".join(map(repr, names)) or "no parameters" for names in (names, values))
        raise NoReverseMatch(f"template '{template}' takes {expected}, got {got}")
    left = iter(names)
    segments = []
    for part in parse_template(template, converters):
        if isinstance(part, str):
            segments.append(part)
            continue
        literals, kinds = part if isinstance(part, Typed) else (part, (None,) * (len(part) - 1))
        texts = [_text(name, values[name], kind) for name, kind in zip(_take(left, len(kinds)), kinds, strict=True)]
        segment = literals[0] + "".join(text + literal for text, literal in zip(texts, literals[1:], strict=True))
        if split_segment(literals, segment) != tuple(texts):
            raise NoReverseMatch(f"segment {segment!r} would not give {texts!r} again for template '{template}'")
        segments.append(segment)
    return "".join(f"/{segment}" for segment in segments) + "/"


def _take(names: Any, count: int) -> list[str]:
    """Take the next names."""
    return [next(names) for _ in range(count)]


def _text(name: str, value: Any, converter: Converter | None) -> str:
    """Give the text of a parameter that gives the value back."""
    try:
        text = _plain_text(value) if converter is None else converter.to_text(value)
        if not isinstance(text, str):
            raise TypeError(f"expected a string of converter '{converter and converter.name}', got {text!r:.100}")
        if not text or _forbidden(text) or ("/" in text and converter is not PATH):
            raise ValueError(f"{text!r:.100} cannot stand in a url")
        if converter is not None:
            converter.convert(text)
    except Exception as exc:  # of a converter of the user's own, too
        raise NoReverseMatch(f"parameter '{name}': {exc}") from exc
    return text


def _plain_text(value: Any) -> str:
    from decimal import Decimal

    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal, UUID, date)):
        raise TypeError(f"expected a string or what has a plain text, got {value!r:.100}")
    return str(value)
