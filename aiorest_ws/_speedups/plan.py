"""A route and a method → all that can be known before a request comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups.turns import listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiorest_ws.exceptions import IncorrectArgument

if TYPE_CHECKING or not __name__.endswith("_c"):
    from .guards import Check
else:
    from .guards_c import Check

__all__ = ("Plan",)


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
    middlewares    of the routers around it, the outermost first, and of the view
    guards         all that stands before the handler, in order: `middlewares` and `checks`
    around         one of `middlewares` is called with (request, call_next): it stands around what comes behind it
    recoveries     exception handlers of the routers around it, as `Pipeline.recoveries`, innermost first
    provide        what the handler depends on, or None; if there is something, `function` only gathers what was checked
    """

    __slots__ = (
        "around",
        "auth_required",
        "bare",
        "bind",
        "checks",
        "exact",
        "explain",
        "fit",
        "function",
        "guarded",
        "guards",
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
        self.middlewares = middlewares
        self.guards = listed(middlewares, self.checks)
        self.around = any(not hasattr(middleware, "process_request") for middleware in middlewares)
        self.recoveries = recoveries
        self.provide = provide
        # Anything that needs the view instance outside the handler's own call, or a check before it.
        self.guarded = (
            bool(self.guards)
            or render is not None
            or threaded
            or provide is not None  # which has to be made, and cleaned up
        )
