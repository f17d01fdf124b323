"""Body of a reply (a dict) → bytes, as JSON or XML."""

from __future__ import annotations

from typing import Any

from aiorest_ws._speedups import dumps, plain
from aiorest_ws._speedups.collector import undisturbed
from aiorest_ws.exceptions import NotImplementedMethod, SerializerError

__all__ = ("BaseRenderer", "JSONRenderer", "XMLRenderer")


class BaseRenderer:
    """Turns the body of a reply into bytes.

    format        what a request says in `args.format` to choose this renderer
    charset       encoding of a text that `render` returns
    media_type    what HTTP calls that format: a request chooses by its header Accept, and the reply says it
    """

    format: str | None = None
    charset: str | None = "utf-8"
    media_type: str = "application/octet-stream"

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
    media_type = "application/json"
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
    media_type = "application/xml"
    root_name = "root"
    item_tag_name = "list-item"
    max_elements = 50_000
    max_levels = 200

    def render(self, data: Any) -> bytes:
        # Not before there is XML to send: its patterns take longer to compile than any module of ours to import.
        from aiorest_ws.markup import Document, TooMuch, name_of

        try:
            document = Document(self.item_tag_name, self.max_elements, self.max_levels)
            undisturbed(document.add, name_of(self.root_name), data, 1)
            return f'<?xml version="1.0" encoding="utf-8"?>\n{"".join(document.parts)}'.encode()
        except TooMuch as exc:
            raise SerializerError(why=str(exc)) from exc  # nobody need look for what is to blame
        except Exception as exc:
            raise SerializerError() from exc
