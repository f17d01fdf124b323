"""Body of a reply (a dict) → bytes, as JSON or XML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from aiorest_ws._speedups import dumps, plain
from aiorest_ws._speedups.collector import undisturbed
from aiorest_ws.exceptions import NotImplementedMethod, SerializerError

__all__ = ("BaseRenderer", "JSONRenderer", "XMLRenderer")


class BaseRenderer:
    """Turns the body of a reply into bytes.

    format     what a request says in `args.format` to choose this renderer
    charset    encoding of a text that `render` returns
    """

    format: str | None = None
    charset: str | None = "utf-8"

    def render(self, data: Any) -> bytes | str:
        """Give `data` as bytes (UTF-8 where a text frame will carry them) or as text."""
        raise NotImplementedMethod()


class JSONRenderer(BaseRenderer):
    """JSON in UTF-8; the table of types is that of `codec.dumps`. A request in MessagePack gets MessagePack instead.

    ensure_ascii    escape what is not ASCII
    compact         no spaces after `,` and `:`
    """

    format = "json"
    charset = None
    ensure_ascii = False
    compact = True

    def render(self, data: Any) -> bytes:
        try:
            if self.compact and not self.ensure_ascii:
                return dumps(data)
            import json

            separators = (",", ":") if self.compact else (", ", ": ")
            return json.dumps(plain(data), ensure_ascii=self.ensure_ascii, separators=separators).encode()
        except Exception as exc:
            raise SerializerError() from exc


class XMLRenderer(BaseRenderer):
    """XML 1.0: a dict becomes elements, a list `<list-item>` elements, None an empty element, anything else text.

    A key that is no XML name is escaped as `_xHHHH_` for each character that does not belong; a character that XML
    cannot hold at all becomes U+FFFD. It is written in the event loop: what has more elements, or levels, than a reply
    may have is refused (SerializerError).

    root_name, item_tag_name      names of the outermost element, and of those of a list
    max_elements, max_levels      of one reply
    """

    format = "xml"
    root_name = "root"
    item_tag_name = "list-item"
    max_elements = 50_000
    max_levels = 200

    def render(self, data: Any) -> bytes:
        try:
            document = _Document(self.item_tag_name, self.max_elements, self.max_levels)
            undisturbed(document.add, _name(self.root_name), data, 1)
            return f'<?xml version="1.0" encoding="utf-8"?>\n{"".join(document.parts)}'.encode()
        except _TooMuch as exc:
            raise SerializerError(why=str(exc)) from exc  # nobody need look for what is to blame
        except Exception as exc:
            raise SerializerError() from exc


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


def _name(key: Any) -> str:
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


class _TooMuch(Exception):
    """A reply has more elements than it may have; the text says how many that are."""


class _Document:
    """Elements as text, in order, every character of them written once: what goes in decides what it costs."""

    def __init__(self, item: str, max_elements: int, max_levels: int) -> None:
        self.parts: list[str] = []
        self._item = _name(item)
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
            raise _TooMuch(f"more than {self._most} elements, XMLRenderer.max_elements")

    def _named(self, key: Any) -> str:
        if type(key) is not str:
            return _name(key)  # 1, 1.0 and True are one key of a dict, and have three names
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = _name(key)
        return name
