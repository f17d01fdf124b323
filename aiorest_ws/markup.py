"""A value → XML: the elements that `XMLRenderer` sends, as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from aiorest_ws._speedups import plain

__all__ = ("Document", "TooMuch", "name_of")

# XML 1.0 §2.3, without the colon, which would start a namespace. Of the letters of its fifth edition only those that
# the fourth knew too, by which expat still reads, in the scripts most in use: Latin, Greek, Cyrillic, Hebrew, Arabic,
# kana, Han, Hangul.
_NAME_START = (
    "A-Z_a-z\xc0-\xd6\xd8-\xf6\xf8-\u0131\u0134-\u013e\u0141-\u0148\u014a-\u017e"
    "\u0388-\u038a\u038e-\u03a1\u03a3-\u03ce"
    "\u0401-\u040c\u040e-\u044f\u0451-\u045c\u045e-\u0481\u05d0-\u05ea\u0621-\u063a\u0641-\u064a"
    "\u3041-\u3094\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3"
)
_NOT_NAME_START = re.compile(f"[^{_NAME_START}]")
_NOT_NAME = re.compile(f"[^{_NAME_START}\\-.0-9]")
# §2.2
_PLAIN = re.compile("[\t\n\x20-%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")  # nor what must be escaped
_NOT_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Escapes(dict[int, str]):
    """What stands in a name for each character, worked out when it is first met; of many, not for all to be kept."""

    _MOST = 4096

    def __missing__(self, code: int) -> str:
        written = f"_x{code:04X}_" if _NOT_NAME.match(chr(code)) else chr(code)
        if len(self) < self._MOST:
            self[code] = written
        return written


_ESCAPES = _Escapes()


def name_of(key: Any) -> str:
    name = str(key)
    if name.isascii() and name.isidentifier():
        return name
    if not name:
        return "_"
    first = f"_x{ord(name[0]):04X}_" if _NOT_NAME_START.match(name) else name[0]
    return first + (name[1:].translate(_ESCAPES) if _NOT_NAME.search(name, 1) else name[1:])


def _text(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    text = _NOT_CHARACTER.sub("\ufffd", value)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


class TooMuch(Exception):
    """A reply has more elements than it may have; the text says how many that are."""


class Document:
    """Elements as text, in order, every character of them written once: what goes in decides what it costs."""

    def __init__(self, item: str, max_elements: int, max_levels: int) -> None:
        self.parts: list[str] = []
        self._item = name_of(item)
        self._names: dict[Any, str] = {}
        self._max_levels = max_levels
        self._most = self._left = max_elements

    def add(self, tag: str, value: Any, level: int) -> None:
        """Add the element `tag`, which has `level - 1` others around it."""
        self._count(1)
        self._add(tag, value, level)

    def _add(self, tag: str, value: Any, level: int) -> None:
        kind = type(value)
        if value is None:
            self.parts.append(f"<{tag}></{tag}>")
        elif kind is str:
            self.parts.append(f"<{tag}>{_text(value)}</{tag}>")
        elif kind is int or kind is float or kind is bool:
            self.parts.append(f"<{tag}>{value}</{tag}>")
        elif level > self._max_levels:
            raise RecursionError(f"nested deeper than {self._max_levels} levels, XMLRenderer.max_levels")
        elif isinstance(value, Mapping):
            self._count(len(value))
            self.parts.append(f"<{tag}>")
            for key, item in value.items():
                self._add(self._named(key), item, level + 1)
            self.parts.append(f"</{tag}>")
        elif isinstance(value, (list, tuple, set, frozenset)):
            self._count(len(value))
            self.parts.append(f"<{tag}>")
            self._add_items(value, level + 1)
            self.parts.append(f"</{tag}>")
        else:
            known = value if isinstance(value, (str, int, float)) and not isinstance(value, Enum) else plain(value)
            self._add(tag, known if isinstance(known, (dict, list)) or known is None else str(known), level)

    def _add_items(self, items: Iterable[Any], level: int) -> None:
        # PERF: a call less for what a list has most of; as it is, fifty thousand of them hold the loop for 25 ms.
        add, item_tag = self.parts.append, self._item
        for item in items:
            kind = type(item)
            if kind is int or kind is float or kind is bool:
                add(f"<{item_tag}>{item}</{item_tag}>")
            else:
                self._add(item_tag, item, level)

    def _count(self, elements: int) -> None:
        """Take note of elements before they are written: what has too many is not written up to there."""
        self._left -= elements
        if self._left < 0:
            raise TooMuch(f"more than {self._most} elements, XMLRenderer.max_elements")

    def _named(self, key: Any) -> str:
        if type(key) is not str:
            return name_of(key)  # 1, 1.0 and True are one key of a dict, and have three names
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = name_of(key)
        return name
