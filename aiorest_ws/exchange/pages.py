"""Pages beside the routes, of the framework's own: a table of path → what is served there.

Who has some gives them in `pages_of`; they are made when they are first asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any
from urllib.parse import quote

from aiorest_ws.console import console_files, is_wanted
from aiorest_ws.exceptions import ImproperlyConfigured, NotSpecifiedHandler
from aiorest_ws.exchange.replies import Reply, made
from aiorest_ws.realtime.versions import digest_of
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.schema.documents import KINDS

__all__ = ("Page", "check_pages", "pages_of")

_CACHING = (b"cache-control", b"no-cache")


class Page:
    """What is served at one path.

    make        gives its bytes, once
    media_type  of them: "application/json", "text/html; charset=utf-8"
    headers     that its response has beside
    is_public   it is for everybody: `on_connect` is not asked
    """

    def __init__(
        self,
        make: Callable[[], bytes],
        media_type: str,
        headers: Sequence[tuple[str, str]] = (),
        is_public: bool = False,
    ) -> None:
        self._make = make
        self.media_type = media_type
        self.is_public = is_public
        self.headers = [(name.lower().encode(), value.encode()) for name, value in headers]

    @cached_property
    def reply(self) -> Reply:
        """Its response, with an ETag."""
        return self._reply_of(self._make())

    def reply_below(self, root: str) -> Reply:
        """Give its response where it is mounted at `root`, "" for nowhere."""
        return self.reply

    def _reply_of(self, body: bytes) -> Reply:
        etag = (b"etag", f'W/"{digest_of(body)}"'.encode())
        return made(200, body, self.media_type.encode(), caching=(_CACHING, etag, *self.headers))


class Document(Page):
    """What describes the routes, also those that come later; it says where it is mounted."""

    _known: tuple[bytes, str, Reply] | None = None

    def reply_below(self, root: str) -> Reply:
        """Give its response, made anew if it says something else, or is mounted elsewhere, than the last time."""
        root = quote(root.rstrip("/"), errors="surrogateescape")
        body = self._make()
        if self._known is None or self._known[:2] != (body, root):
            self._known = body, root, self._reply_of(_mounted(body, root) if root else body)
        return self._known[2]


def _mounted(body: bytes, root: str) -> bytes:
    document = json.loads(body)
    if "openapi" in document:
        document["servers"] = [{"url": root}]
    for channel in document.get("channels", {}).values():
        channel["address"] = f"{root}{channel['address']}"
    return json.dumps(document).encode()


def pages_of(factory: Any, served_path: str | None = None) -> dict[str, Page]:
    """Give the pages of the application that a factory serves, by path; WebSockets are at `served_path`, or its own."""
    app, served = factory.app, served_path or factory.served_path or "/"
    pages: dict[str, Page] = {}
    has_console = is_wanted(app._options)
    tells_routes = isinstance(app._options["router"], SimpleRouter)
    if tells_routes and (app._options["schema"] or has_console):  # which reads them
        for kind in KINDS:
            pages[f"/{kind}.json"] = Document(partial(app._documents.page, kind, served), "application/json")
    if has_console:
        for path, file in console_files(served, app._options["http_prefix"]).items():
            pages[path] = Page(*file)
    return pages


def check_pages(pages: Mapping[str, Page], trie: Any) -> None:
    """Raise ImproperlyConfigured if a route of the application has the path of a page."""
    for path in pages:
        for verb in trie.verbs:
            try:
                plan, _ = trie.match(verb, path)
            except NotSpecifiedHandler:
                continue
            if plan.route.path.rstrip("/") == path.rstrip("/"):
                raise ImproperlyConfigured(
                    f"route {verb} {plan.route.path} has the path of the page {path}: give the route another path"
                )
