"""A route and a method → all that can be known before a request comes, and the call of the handler when one does."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups.collector import LARGE, undisturbed
from aiorest_ws._speedups.turns import listed
from aiorest_ws.routing.misses import SAFE_VERBS

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiorest_ws.exceptions import IncorrectArgument

    from .wrappers import Request

if TYPE_CHECKING or not __name__.endswith("_c"):
    from .guards import Check
else:
    from .guards_c import Check

__all__ = ("Plan", "call")

_LARGE = LARGE  # the `.pxd` knows its type


class Plan:
    """Worked out at registration; the pipeline only follows it.

    route          what `Request.route` shows
    method         the verb, upper case
    view           class of the view; a fresh instance per request
    function       the handler: called as function(view, request, …), or function(request, …) when `bare`
    bare           the handler takes no view instance (an `@endpoint` function)
    fit            checks `args` against the handler's signature: args → keyword arguments, or IncorrectArgument
    takes_nothing  an absent or empty `args` fits
    bind           (request, path parameters) → path parameters and keyword arguments as the handler's annotations want
                   them, or IncorrectArgument; stands in for `fit`. None: there is nothing to check
    exact          `bind` asks for the digits of numbers: the text of the message is kept for it
    explain        called with (args, TypeError): gives the IncorrectArgument that explains it, or None
    auth_required, permissions    what the core checks before the handler
    checks         the same, as guards
    render         (view, request, body) → bytes for a view that renders otherwise than plain JSON, or None
    threaded       the handler is called in a thread of its own
    middlewares    around it, the outermost first: those of the routers and of the view, and once it is `inside` of an
                   application those of that
    writes         a request of it may carry a key, under which it is done once: it is not safe, as GET is
    guards         all that stands before the handler, in order: `middlewares` and `checks`
    around         one of `middlewares` is called with (request, call_next): it stands around what comes behind it
    recoveries     exception handlers of the routers around it, as `Pipeline.recoveries`, innermost first
    live           of a GET: how its value changes, a `realtime.LiveRoute`; None: nobody can subscribe
    changes        what its requests change, a `realtime.effects.Changes`; or None
    impersonal     its requests are nobody's: the plan is never `inside` of an application
    provide        what the handler depends on, or None; if there is something, `function` only gathers what was checked
    """

    __slots__ = (
        "around",
        "auth_required",
        "bare",
        "bind",
        "changes",
        "checks",
        "exact",
        "explain",
        "fit",
        "function",
        "guarded",
        "guards",
        "impersonal",
        "live",
        "method",
        "middlewares",
        "permissions",
        "provide",
        "recoveries",
        "render",
        "route",
        "takes_nothing",
        "threaded",
        "view",
        "watched",
        "writes",
    )

    def __init__(
        self,
        route: Any,
        view: Any,
        function: Callable[..., Any],
        *,
        method: str = "",
        bare: bool,
        fit: Callable[[dict[str, Any]], dict[str, Any]],
        takes_nothing: bool,
        bind: Callable[[Any, tuple[Any, ...]], tuple[tuple[Any, ...], dict[str, Any]]] | None = None,
        explain: Callable[[dict[str, Any], BaseException], IncorrectArgument | None] | None = None,
        auth_required: bool = False,
        permissions: tuple[Any, ...] = (),
        render: Callable[[Any, Any, dict[str, Any]], bytes] | None = None,
        threaded: bool = False,
        middlewares: tuple[Any, ...] = (),
        recoveries: tuple[dict[type, Any], ...] = (),
        provide: Any = None,
        live: Any = None,
        changes: Any = None,
        impersonal: bool = False,
    ) -> None:
        self.route = route
        self.method = method
        self.view = view
        self.function = function
        self.bare = bare
        self.fit = fit
        self.takes_nothing = takes_nothing
        self.bind = bind
        self.exact = bool(getattr(bind, "exact", False))
        self.explain = explain
        self.auth_required = auth_required
        self.permissions = permissions
        self.checks = (*((Check(),) if auth_required else ()), *map(Check, permissions))
        self.render = render
        self.threaded = threaded
        self.recoveries = recoveries
        self.provide = provide
        self.live = live
        self.changes = changes
        self.impersonal = impersonal
        self.writes = method not in SAFE_VERBS and not impersonal
        # What a request of it needs for that: of a shared route, or of one that changes something.
        self.watched = changes if changes is not None else live if live is not None and live.value is not None else None
        self._stand_behind(middlewares)

    def _stand_behind(self, middlewares: tuple[Any, ...]) -> None:
        self.middlewares = middlewares
        self.guards = listed(middlewares, self.checks)
        self.around = any(not hasattr(middleware, "process_request") for middleware in middlewares)
        # Anything that needs the view instance outside the handler's own call, or a check before it.
        self.guarded = (
            bool(self.guards)
            or self.render is not None
            or self.threaded
            or self.provide is not None  # which has to be made, and cleaned up
            or self.watched is not None
        )

    def inside(self, middlewares: tuple[Any, ...], dependencies: tuple[Any, ...]) -> Plan:
        """Give this plan as it is inside of an application: of its `middlewares`, and behind its `dependencies`."""
        plan: Plan = self.route.plan(self.method, dependencies) if dependencies else copy(self)
        plan._stand_behind(middlewares + self.middlewares)
        return plan


def call(plan: Plan, request: Request, params: tuple[Any, ...], view: Any) -> Any:
    """Call the handler of `plan` with the path parameters and the arguments of `request`."""
    args = request._args
    kwargs = None
    if plan.bind is not None:
        if request._size > _LARGE:
            params, kwargs = undisturbed(plan.bind, request, params)
        else:
            params, kwargs = plan.bind(request, params)
    elif not plan.takes_nothing or (args is not None and (type(args) is not dict or args)):
        kwargs = plan.fit(args)
    if not plan.bare and view is None:
        view = plan.view()
    function = plan.function
    if request._live is not None:
        request._live.called()
        if plan.provide is None:
            request._live.entered()
    if kwargs is not None:
        if plan.bare:
            return function(request, *params, **kwargs)
        return function(view, request, *params, **kwargs)
    if plan.bare:
        return function(request, *params) if params else function(request)
    return function(view, request, *params) if params else function(view, request)
