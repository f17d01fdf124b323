"""What routes say that they change → whether each of it is something that may be subscribed to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.handlers.living import live_of

if TYPE_CHECKING:
    from aiorest_ws.registration.routes import Route

__all__ = ("check_changes",)


def check_changes(routes: Sequence[Route]) -> None:
    """Refuse to start when a route changes what nobody can subscribe to. Known at start: routes come in any order."""
    changing = [route for route in routes if route.handler.changes]
    if not changing:
        return
    live = [route for route in routes if "GET" in route.methods and live_of(route.handler) is not None]
    for route in changing:
        for template in route.handler.changes:
            _check(route, route.prefix + template, live)


def _check(route: Route, template: str, live: Iterable[Route]) -> None:
    reached = [each for each in live if _leads(template, each)]
    if not reached:
        from difflib import get_close_matches  # dear to import

        near = get_close_matches(template, [each.path.rstrip("/") or "/" for each in live], 1)
        cure = f"did you mean {near[0]}?" if near else "give its GET live=Live(…)"
        raise ImproperlyConfigured(
            f"{route!r} of view {route.handler.__qualname__} changes {template}, which leads to no live route: {cure}"
        )
    if all(_mode(each) == "log" for each in reached):
        raise ImproperlyConfigured(
            f"{route!r} of view {route.handler.__qualname__} changes {template}, which is a log: publish its items"
        )


def _mode(route: Route) -> Any:
    live = live_of(route.handler)
    return None if live is None else live.mode


def _leads(template: str, route: Route) -> bool:
    """Tell whether `template`, filled in, may be a url of `route`."""
    if "{" not in template:
        return route.match(template) is not None
    here, there = template.strip("/").split("/"), route.path.strip("/").split("/")
    if there[-1].endswith(":path}"):
        return len(here) >= len(there) and all(map(_may_be, here, there[:-1]))
    return len(here) == len(there) and all(map(_may_be, here, there))


def _may_be(here: str, there: str) -> bool:
    return here == there or "{" in there or "{" in here
