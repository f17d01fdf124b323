"""A path template, a view and its methods → a route; a route that another router includes → what it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import Plan, Trie
from aiorest_ws.abstract import AbstractEndpoint
from aiorest_ws.dependencies.depends import Chain
from aiorest_ws.dependencies.order import effects_of
from aiorest_ws.exceptions import (
    EndpointValueError,
    InvalidHandler,
    NotSpecifiedHandler,
)
from aiorest_ws.handlers.attributes import check_notes
from aiorest_ws.handlers.guards import check_marks
from aiorest_ws.handlers.living import check_live
from aiorest_ws.handlers.plans import make_plan
from aiorest_ws.middlewares import middlewares_of
from aiorest_ws.routing.converters import CONVERTERS, Converter
from aiorest_ws.routing.templates import converter_names, parameter_names, parse_template
from aiorest_ws.views import AROUND, GUARDS

if TYPE_CHECKING:
    from aiorest_ws.routers import SimpleRouter

__all__ = ("Inclusion", "Route", "plans_of")

_SAID = (*GUARDS, *AROUND, "live", "changes")  # of a view: what plans are made of, and must not change later


class Route(AbstractEndpoint):
    """One registration: a path template, a view class, its methods (upper case) and perhaps a name.

    name           for `url_for`; with the namespaces of the routers that include it, `v1:users`
    routers        where it was registered, then every router that included that one: the innermost first
    middlewares    what is around the handler, the outermost first, inside the application's
    dependencies   what runs before the handler's own, in order, behind the application's
    converters     by name, those that the template may use
    router         the router that answers with it; None before it is registered
    plans          by verb, what that router does with its requests, outside of an application
    """

    def __init__(
        self,
        path: str,
        handler: Any,
        methods: Sequence[str],
        name: str | None = None,
        *,
        routers: tuple[SimpleRouter, ...] = (),
        own: tuple[Any, ...] | None = None,
        converters: Mapping[str, Converter | None] = CONVERTERS,
        namespaces: tuple[str, ...] = (),
        dependencies: Chain | None = None,
        said: tuple[Any, ...] | None = None,
        prefix: str = "",
    ) -> None:
        super().__init__(path, handler, methods, name)
        self.routers = routers
        self._own = middlewares_of(getattr(handler, "middlewares", ())) if own is None else own
        self.middlewares = (*(m for router in reversed(routers) for m in router.middlewares), *self._own)
        if dependencies is None:
            own_ones = effects_of(getattr(handler, "dependencies", ()), f"view {handler.__qualname__} at {path}")
            dependencies = (*(d for router in reversed(routers) for d in router.dependencies), *own_ones)
        self.dependencies = dependencies
        self.converters = converters
        self.prefix = prefix  # of the routers that include it, before its own path
        self.namespaces = namespaces  # the outermost first
        self.router: SimpleRouter | None = None
        self.plans: Mapping[str, Plan] = {}
        self._said = _said(handler) if said is None else said

    def moved(self, inclusion: Inclusion, converters: Mapping[str, Converter | None]) -> Route:
        """Give this route as a router includes it."""
        space = inclusion.name
        return Route(
            inclusion.prefix + self.path,
            self.handler,
            self.methods,
            f"{space}:{self.name}" if space and self.name else self.name,
            routers=(*self.routers, inclusion.router),
            own=self._own,
            converters=converters,
            namespaces=(space, *self.namespaces) if space else self.namespaces,
            dependencies=(*inclusion.router.dependencies, *inclusion.dependencies, *self.dependencies),
            said=self._said,
            prefix=inclusion.prefix + self.prefix,
        )

    def check_unchanged(self) -> None:
        """Raise InvalidHandler if the view says something else than when it was registered, which nobody looked at."""
        for name, before, now in zip(_SAID, self._said, _said(self.handler), strict=True):
            if before != now:
                raise InvalidHandler(
                    f"{name} of view {self.handler.__qualname__} at {self.path} was {before!r} when it was registered, "
                    f"and is {now!r}: set it before"
                )
        function: Any = getattr(self.handler, "endpoint_function", None)
        check_marks(self.handler, function)
        check_notes(function)

    def url_for(self, name: str, /, **params: Any) -> str:
        """Give the url of a route with this name, looked for in the namespaces of this one, the innermost first."""
        assert self.router is not None
        for depth in range(len(self.namespaces), 0, -1):
            near = ":".join((*self.namespaces[:depth], name))
            if near in self.router.names:
                return self.router.url_for(near, **params)
        return self.router.url_for(name, **params)

    def plan(self, verb: str, dependencies: Chain = ()) -> Plan:
        """Give the plan for requests with `verb`; `dependencies` are those of the application."""
        return make_plan(
            self,
            self.handler,
            verb,
            len(self.parameters),
            middlewares=self.middlewares,
            recoveries=tuple(router.exception_handlers for router in self.routers),
            dependencies=(*dependencies, *self.dependencies),
        )

    @property
    def parameters(self) -> list[str]:
        """Names of the path parameters, in order."""
        return parameter_names(self.path)

    def match(self, path: str) -> tuple[Any, ...] | None:
        """Give the path parameters of `path`, whatever the method, or None."""
        trie = Trie()
        trie.insert(self.path, self.methods[0], self, self.converters)
        try:
            return trie.match(self.methods[0], path)[1]
        except NotSpecifiedHandler:
            return None

    def __repr__(self) -> str:
        return f"<Route {','.join(self.methods)} {self.path}>"


@dataclass(frozen=True, slots=True)
class Inclusion:
    """That `router` includes another one, with `prefix` before its paths and `name:` before its names."""

    router: SimpleRouter
    prefix: str
    name: str
    dependencies: Chain

    def moved(self, route: Route) -> Route:
        """Give `route` as it is in the router that includes its own."""
        converters = route.converters
        own = self.router._converters
        used = converter_names(self.prefix)
        if used:
            parse_template(f"{self.prefix}/", own)
            for name in used:
                if converters.get(name, own[name]) != own[name]:
                    raise EndpointValueError(
                        f"converter '{name}' of prefix {self.prefix} is another one in {route.path}"
                    )
            converters = {**converters, **{name: own[name] for name in used}}
        return route.moved(self, converters)


def _said(view: Any) -> tuple[Any, ...]:
    """Give a copy of what `view` says of who may pass, and of what changes."""
    said = (getattr(view, name, None) for name in _SAID)
    return tuple(tuple(value) if isinstance(value, (list, tuple)) else value for value in said)


def plans_of(route: Route) -> dict[str, Plan]:
    """Give the plan of `route` for each of its methods, or raise what is wrong with it."""
    parse_template(route.path, route.converters)
    check_live(route.handler, route.methods, f"view {route.handler.__qualname__} at {route.path}")
    return {verb: route.plan(verb) for verb in route.methods}
