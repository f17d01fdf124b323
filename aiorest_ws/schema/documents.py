"""An application → the documents that describe it, made once for as long as nothing changes."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Literal, get_args

from aiorest_ws._speedups.collector import undisturbed
from aiorest_ws.exceptions import ImproperlyConfigured, RouterNotDefined
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.schema.asyncapi import asyncapi
from aiorest_ws.schema.describe import describe
from aiorest_ws.schema.openapi import openapi
from aiorest_ws.schema.text import text_of

if TYPE_CHECKING:
    from aiorest_ws.app import Application

__all__ = ("KINDS", "Documents", "Kind")

Kind = Literal["openapi", "asyncapi"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Documents:
    """What describes `application`, kept until a route comes, or a middleware."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._texts: dict[tuple[Any, ...], tuple[tuple[Any, ...], str]] = {}

    def page(self, kind: Kind, served_path: str) -> bytes:
        """Give a document as it is served, beside WebSockets at `served_path`. Raises as `text`."""
        return self.text(kind, served_path=served_path).encode()

    def document(self, kind: Kind, title: str | None, version: str | None) -> dict[str, Any]:
        """Give a document, a copy of one's own. Raises as `text`."""
        return undisturbed(json.loads, self.text(kind, title, version))  # type: ignore[no-any-return]

    def text(
        self, kind: Kind, title: str | None = None, version: str | None = None, served_path: str | None = None
    ) -> str:
        """Give a document as JSON; what it warns of is logged when it is made.

        title, version    of the application, if it does not say them itself
        served_path       where WebSockets are taken, None for that of the option

        Raises RouterNotDefined, and ImproperlyConfigured for a router that does not tell its routes, and if msgspec is
        missing and needed.
        """
        options = self._application._options
        router = options["router"]
        if router is None:
            raise RouterNotDefined()
        if not isinstance(router, SimpleRouter):
            raise ImproperlyConfigured(
                f"a {type(router).__qualname__} does not tell its routes: expected a SimpleRouter"
            )
        title = options["api_title"] if title is None else title
        version = options["api_version"] if version is None else version
        middlewares = tuple(self._application.middlewares)
        address = served_path or "/" + options["path"].strip("/")
        limit, prefix, idempotency = options["requests_per_second"], options["http_prefix"], options["idempotency"]
        state = (router.routes, middlewares, limit, prefix, idempotency)
        known = self._texts.get((kind, title, version, address))
        if known is not None and known[0] == state:
            return known[1]

        def make() -> tuple[str, list[str]]:
            described = describe(router.routes, middlewares, idempotency)
            if kind == "openapi":
                document, warnings = openapi(
                    described, title=title, version=version, is_limited=limit is not None, prefix=prefix
                )
            else:
                document, warnings = asyncapi(described, title=title, version=version, address=address)
            return text_of(document), warnings

        made: tuple[str, list[str]] = undisturbed(make)  # PERF: a third is the collector's, and there is no garbage
        text, warnings = made
        for warning in dict.fromkeys(warnings):
            logging.getLogger("aiorest_ws").warning("schema: %s", warning)
        self._texts[kind, title, version, address] = state, text
        return text
