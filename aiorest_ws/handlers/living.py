"""What a view says of how it changes, and of what it changes → the part of its plans that is for subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypedDict

from aiorest_ws._speedups import Plan
from aiorest_ws.dependencies.order import gathered
from aiorest_ws.dependencies.scope import Dependencies
from aiorest_ws.exceptions import EndpointValueError, InvalidHandler
from aiorest_ws.handlers.response_models import shape_of
from aiorest_ws.realtime.live import Live, LiveRoute
from aiorest_ws.renderers import JSONRenderer
from aiorest_ws.routing.misses import SAFE_VERBS
from aiorest_ws.views import MethodBasedView

if TYPE_CHECKING:
    from aiorest_ws.realtime.effects import Changes

__all__ = ("Guards", "changes_of", "check_live", "gate_of", "live_of", "live_route")


class Guards(TypedDict):
    """What of a plan stands before, and behind, its handler."""

    auth_required: bool
    permissions: tuple[Any, ...]
    middlewares: tuple[Any, ...]
    render: Callable[..., bytes] | None


def live_of(view: type[MethodBasedView]) -> Live | None:
    """Give how the GET of `view` changes; None if it does not say so."""
    live = view.live
    if live is None or live is False:
        return None
    if live is True:
        return Live()
    if not isinstance(live, Live):
        raise InvalidHandler(f"live of view {view.__qualname__} must be Live(…) or True, got {live!r:.200}")
    return live


def check_live(view: type[MethodBasedView], verbs: Iterable[str], title: str) -> None:
    """Refuse what would be read by nobody: `live` without GET, `changes` of what changes nothing, other renderers."""
    live = live_of(view)
    if live is not None:
        if "GET" not in verbs:
            raise EndpointValueError(f"{title} has live=…, and does not answer GET, which a subscription is")
        renderers = view.renderers
        if view.get_renderer is not MethodBasedView.get_renderer or (renderers and renderers[0] is not JSONRenderer):
            raise InvalidHandler(f"{title} has live=…, whose pushes are JSON or MessagePack, and other renderers")
    if view.changes and all(verb in SAFE_VERBS for verb in verbs):
        raise EndpointValueError(f"{title} has changes=…, and answers {', '.join(verbs)} only, which change nothing")


def presence_view(view: type[MethodBasedView]) -> type[MethodBasedView] | None:
    """Give the view of `<url>/presence`: `view`, with all that guards it, and who subscribes in place of its value."""
    live = live_of(view)
    if live is None or live.presence is None:
        return None
    from aiorest_ws.realtime.presence import PRESENCE, members  # which most applications do without

    body = {
        "__qualname__": f"{view.__qualname__} (presence)",
        "get": lambda self, request, *params: members(request, *params),
        "endpoint_function": staticmethod(members),
        "live": PRESENCE,
        **dict.fromkeys(("changes", "renderers"), ()),
        "response_model": None,
        "threaded": False,
    }
    return type("Presence", (view,), body)


def changes_of(view: type[MethodBasedView], route: Any, verb: str) -> Changes | None:
    if verb in SAFE_VERBS or view.changes == ():
        return None
    from aiorest_ws.realtime.effects import Changes  # which most applications do without

    return Changes(view.changes, route, f"view {view.__qualname__} at {route.path}")


def live_route(live: Live, route: Any, view: type[MethodBasedView], value: Plan | None) -> LiveRoute:
    """Give what subscriptions need to know of a GET. `value` gives what is the same for all."""
    shape = shape_of(view.response_model, view.__qualname__, is_item=live.mode == "log") if live.shared else None
    return LiveRoute(live, route.path, value, shape)


def gate_of(value: Plan, guards: Guards, live: LiveRoute, provide: Dependencies | None) -> Plan:
    """Give the plan of a shared route as its guards know it: behind them is who asks for the value."""
    from aiorest_ws.realtime.sharing import enter  # which most applications do without

    return Plan(
        value.route,
        value.view,
        enter if provide is None else gathered,
        method=value.method,
        bare=True,
        fit=_anything,
        takes_nothing=True,
        recoveries=value.recoveries,
        provide=provide,
        live=live,
        **guards,
    )


def _anything(args: Any) -> dict[str, Any]:
    """Take any `args`: whether they fit is seen when the value is asked for."""
    return {}
