"""The routes of an application that starts → what keeps it from starting, and what it is to be told of."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.registration.changes import check_changes

if TYPE_CHECKING:
    from aiorest_ws.registration.declarations import Lists
    from aiorest_ws.routers import SimpleRouter

__all__ = ("check_routes",)


def check_routes(router: SimpleRouter, middlewares: Sequence[Any], lists: Lists) -> None:
    """Refuse to start when a view asks for a user that no middleware would set, or for what nobody has read."""
    _warn_of_unasked(router, middlewares)
    lists.check_unchanged()
    for included in {router, *(each for route in router.routes for each in route.routers)}:
        included.check_unchanged()
    check_changes(router.routes)
    for route in router.routes:
        route.check_unchanged()
        around = (*middlewares, *route.middlewares)
        if route.handler.auth_required and not any(getattr(m, "authenticates", False) for m in around):
            raise ImproperlyConfigured(
                f"view {route.handler.__qualname__} at {route.path} has auth_required, but no middleware of the "
                "application authenticates: add one that has `authenticates = True`"
            )


def _warn_of_unasked(router: SimpleRouter, asked: Sequence[Any]) -> None:
    """Log which middlewares would see the handshake, were they the application's."""
    of_routes = {id(m): m for route in router.routes for m in route.middlewares if hasattr(m, "at_handshake")}
    for middleware in of_routes.values():
        if not any(middleware is other for other in asked):
            logging.getLogger("aiorest_ws").warning(
                "at_handshake of %r is not called, it is of a router or a view: what comes with the handshake, a token "
                "say, it does not see, unless the application has it",
                middleware,
            )
