"""A document → its JSON, whatever users have put into defaults and examples."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from aiorest_ws._speedups import dumps

__all__ = ("text_of",)


def text_of(document: dict[str, Any]) -> str:
    """Give the JSON of `document`, which can be encoded in UTF-8: the same each time, on every machine.

    What JSON has no word for, as an infinite limit, is left out; other values look as they do in replies.
    """
    try:
        text = _text(document)
    except ValueError:
        text = _text(_finite(document))
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character, in a docstring, say
        return json.dumps(json.loads(text))
    return text


def _text(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, skipkeys=True, default=_plain)


def _plain(value: Any) -> Any:
    """Give a value of the user's own as replies have it, or else as text."""
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    try:
        return json.loads(dumps(value))
    except Exception:  # what dumps cannot take, and what values of the user's own raise
        return str(value)


def _finite(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _finite(value) for key, value in node.items() if _is_finite(value)}
    if isinstance(node, list):
        return [_finite(value) for value in node if _is_finite(value)]
    return node


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or isfinite(value)
