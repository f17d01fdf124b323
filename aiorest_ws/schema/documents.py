"""An application → the documents that describe it, made once for as long as nothing changes."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import ImproperlyConfigured, RouterNotDefined
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.schema.describe import describe
from aiorest_ws.schema.openapi import openapi

if TYPE_CHECKING:
    from aiorest_ws.app import Application

__all__ = ("Documents",)


class Documents:
    """What describes `application`, kept until a route comes, or a middleware."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._texts: dict[tuple[Any, ...], tuple[tuple[Any, ...], str]] = {}

    def openapi(self, title: str, version: str) -> dict[str, Any]:
        """Give the OpenAPI document, a copy of one's own; warnings are logged once. Raises as `Application.openapi`."""
        return json.loads(self.text("openapi", title, version))  # type: ignore[no-any-return]

    def text(self, kind: str, title: str, version: str) -> str:
        """Give the document of a `kind` as JSON."""
        options = self._application._options
        router = options["router"]
        if router is None:
            raise RouterNotDefined()
        if not isinstance(router, SimpleRouter):
            raise ImproperlyConfigured(
                f"a {type(router).__qualname__} does not tell its routes: expected a SimpleRouter"
            )
        is_limited = options["requests_per_second"] is not None
        middlewares = tuple(self._application.middlewares)
        state = (router.routes, middlewares, is_limited)
        known = self._texts.get((kind, title, version))
        if known is not None and known[0] == state:
            return known[1]
        described = describe(router.routes, middlewares)
        document, warnings = openapi(described, title=title, version=version, is_limited=is_limited)
        for warning in dict.fromkeys(warnings):
            logging.getLogger("aiorest_ws").warning("schema: %s", warning)
        text = json.dumps(document, ensure_ascii=False)
        self._texts[kind, title, version] = state, text
        return text
