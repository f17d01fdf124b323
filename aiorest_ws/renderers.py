"""Body of a reply (a dict) → bytes, as JSON or XML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiorest_ws._speedups import dumps, plain
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
    cannot hold at all becomes U+FFFD.
    """

    format = "xml"
    root_name = "root"
    item_tag_name = "list-item"

    def render(self, data: Any) -> bytes:
        try:
            body = "".join(_element(self.root_name, data, self.item_tag_name))
            return f'<?xml version="1.0" encoding="utf-8"?>\n{body}'.encode()
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
_NOT_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _escape(match: re.Match[str]) -> str:
    return f"_x{ord(match[0]):04X}_"


def _name(key: Any) -> str:
    name = str(key)
    if not name:
        return "_"
    return _NOT_NAME_START.sub(_escape, name[0]) + _NOT_NAME.sub(_escape, name[1:])


def _text(value: Any) -> str:
    text = _NOT_CHARACTER.sub("\ufffd", str(value))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def _element(name: Any, value: Any, item_tag_name: str) -> list[str]:
    tag = _name(name)
    parts = [f"<{tag}>"]
    if isinstance(value, Mapping):
        for key, item in value.items():
            parts += _element(key, item, item_tag_name)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            parts += _element(item_tag_name, item, item_tag_name)
    elif value is not None:
        known = value if isinstance(value, (str, bool, int, float)) else plain(value)
        if isinstance(known, (dict, list)):
            return _element(name, known, item_tag_name)
        parts.append(_text(known))
    parts.append(f"</{tag}>")
    return parts
