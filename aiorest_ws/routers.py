"""Method and url → route; path templates are parsed, stored and matched by `_speedups.trie`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import iscoroutinefunction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from aiorest_ws._speedups import Pipeline, Plan, Request, Trie
from aiorest_ws.abstract import AbstractRouter
from aiorest_ws.callables.spelling import meant, spelled
from aiorest_ws.decorators import Endpoint, NamedOptions, Registered, endpoint
from aiorest_ws.dependencies.depends import Chain
from aiorest_ws.dependencies.order import effects_of
from aiorest_ws.exceptions import (
    BaseAPIException,
    EndpointValueError,
    InvalidHandler,
    NoReverseMatch,
    NotSupportedArgumentType,
)
from aiorest_ws.handlers.exception_handlers import adding_handler
from aiorest_ws.handlers.living import presence_view
from aiorest_ws.middlewares import middlewares_of
from aiorest_ws.peers import OF_ROUTERS, of_peers
from aiorest_ws.registration.declarations import (
    Lists,
    check_assigned,
    check_members,
    checked_template,
    checked_verbs,
    checked_view,
    only,
)
from aiorest_ws.registration.routes import Inclusion, Route, plans_of
from aiorest_ws.routing.building import fill_template
from aiorest_ws.routing.converters import CONVERTERS, Converter

if TYPE_CHECKING:
    from aiorest_ws.dependencies.depends import Depends
    from aiorest_ws.middlewares import Around, Before, Middleware
    from aiorest_ws.views import MethodBasedView

__all__ = ("Route", "SimpleRouter", "warn_if_empty")

logger = logging.getLogger("aiorest_ws")

H = TypeVar("H", bound=Callable[..., Any])


@of_peers(OF_ROUTERS)
class SimpleRouter(AbstractRouter):
    """Routes by path template and method.

        router = SimpleRouter()

        @router.get("/sum/{a:int}/{b:int}")
        def add(request, a, b):
            return a + b

        router.register("/users/{user_id}", User, ["GET", "PUT"], name="user-detail")
        router.include(other_router, prefix="/v2", name="v2")

    `get`, `post`, `put`, `patch`, `delete`, `head`, `options`, `trace` and, for several methods, `route` decorate
    functions, and give them back as they are. They take every keyword of `@endpoint`, `name` among them.

    At each segment a literal beats a segment with literals and parameters, then come a parameter with a converter, one
    without, and one for all the rest of the path; a template that lacks the method is passed over. The same path and
    method twice is an error, and so is a name twice.

    `{id:int}`, `{x:float}`, `{u:uuid}` and `{d:date}` match what they can convert, and the handler gets what they make
    of it; `{name:str}` is `{name}`; `{rest:path}`, at the end of a template, is all that is left, slashes too.
    `add_converter` adds others.

    middlewares    classes or instances around every route, in order; they stay with the routes through `include`
    dependencies   list of Depends(…), which run before every handler for their effect, and stay likewise
    """

    @spelled
    def __init__(self, *, middlewares: Sequence[Middleware] = (), dependencies: Sequence[Depends] = ()) -> None:
        super().__init__()
        self._lists = Lists()
        self._lists.note("dependencies of a router", dependencies)
        self._lists.note("middlewares of a router", middlewares)
        self._dependencies = effects_of(dependencies, "a router")
        self._middlewares = middlewares_of(middlewares)
        self.exception_handlers: dict[type[Exception], Callable[..., Any]] = {}
        self._trie = Trie()
        self._routes: list[Route] = []
        self._names: dict[str, Route] = {}
        self._inclusions: list[Inclusion] = []  # of this router in others
        self._converters = dict(CONVERTERS)
        self._any_method: Trie | None = None  # template → route, made when it is asked for

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_members(cls, "give it to its constructor, or say it of views")

    if not TYPE_CHECKING:  # type checkers would take any name for an attribute

        def __setattr__(self, name: str, value: Any) -> None:
            check_assigned(self, name, value, "give it to its constructor, or say it of views")
            super().__setattr__(name, value)

    def check_unchanged(self) -> None:
        """Raise InvalidHandler if a list that was given to it, or to an include, was changed since."""
        self._lists.check_unchanged()

    @property
    def middlewares(self) -> tuple[Before | Around, ...]:
        """Instances around every route."""
        return self._middlewares

    @property
    def dependencies(self) -> Chain:
        """What runs before every handler for its effect."""
        return self._dependencies

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every route, included ones too, in the order of registration."""
        return tuple(self._routes)

    @property
    def names(self) -> Mapping[str, Route]:
        """Every route that has a name, by name."""
        return MappingProxyType(self._names)

    @spelled
    def register(
        self,
        path: str | Endpoint[Any, Any],
        handler: type[MethodBasedView] | Callable[..., Any] | None = None,
        methods: list[str] | str | None = None,
        name: str | None = None,
    ) -> None:
        """Make `handler` answer `methods` (a string or a list) on `path`.

        handler    a view class, without `methods` for every verb that it has; or a function, without them for GET

        Raises InvalidPathArgument, InvalidHandler, NotSupportedArgumentType or EndpointValueError, and then changes
        nothing.
        """
        if isinstance(path, Endpoint) and handler is None and methods is None and name is None:
            self.register_endpoint(path)
            return
        path = checked_template(path, self._converters)
        view, methods = checked_view(path, handler, methods)
        verbs = checked_verbs(methods)
        if name and not isinstance(name, str):
            raise NotSupportedArgumentType("name variable must be string type")
        route = Route(path, view, verbs, name or None, routers=(self,), converters=self._converters)
        self._add([route, *self._presence_of(route)])

    def _presence_of(self, route: Route) -> list[Route]:
        """Give the route that says who subscribes to `route`, behind the same guards, where that is asked for."""
        view = presence_view(route.handler)
        if view is None or "GET" not in route.methods:
            return []
        from aiorest_ws.realtime.presence import PATH  # which most applications do without

        path = checked_template(f"{route.path.rstrip('/')}{PATH}", self._converters)
        return [Route(path, view, ("GET",), routers=(self,), converters=self._converters)]

    def route(self, path: str, methods: list[str] | str, **options: Unpack[NamedOptions]) -> Callable[[H], H]:
        """Make the decorated function, `def` or `async def`, answer `methods` on `path`.

            @router.route("/users/{id:int}", ["PUT", "PATCH"], name="user", auth_required=True)
            async def change(request, id, data: User): ...

        It is given back as it is. The keywords are those of `@endpoint`; raises as that does, and as `register`.
        """
        checked_template(path, self._converters)  # now, as `@router.get` without a path would take the function for it
        decorate = endpoint(path, methods, **options)

        def register(function: H) -> H:
            self.register_endpoint(decorate(function))
            return function

        return register

    def get(self, path: str, **options: Unpack[NamedOptions]) -> Callable[[H], H]:
        """Make the decorated function answer GET on `path`; see `route`."""
        return self.route(path, only("GET", options), **options)

    def post(self, path: str, **options: Unpack[NamedOptions]) -> Callable[[H], H]:
        """Make the decorated function answer POST on `path`; see `route`."""
        return self.route(path, only("POST", options), **options)

    def put(self, path: str, **options: Unpack[NamedOptions]) -> Callable[[H], H]:
        """Make the decorated function answer PUT on `path`; see `route`."""
        return self.route(path, only("PUT", options), **options)

    def patch(self, path: str, **options: Unpack[NamedOptions]) -> Callable[[H], H]:
        """Make the decorated function answer PATCH on `path`; see `route`."""
        return self.route(path, only("PATCH", options), **options)

    def delete(self, path: str, **options: Unpack[NamedOptions]) -> Callable[[H], H]:
        """Make the decorated function answer DELETE on `path`; see `route`."""
        return self.route(path, only("DELETE", options), **options)

    def head(self, path: str, **options: Unpack[NamedOptions]) -> Callable[[H], H]:
        """Make the decorated function answer HEAD on `path`; see `route`."""
        return self.route(path, only("HEAD", options), **options)

    def options(self, path: str, **options: Unpack[NamedOptions]) -> Callable[[H], H]:
        """Make the decorated function answer OPTIONS on `path`; see `route`."""
        return self.route(path, only("OPTIONS", options), **options)

    def trace(self, path: str, **options: Unpack[NamedOptions]) -> Callable[[H], H]:
        """Make the decorated function answer TRACE on `path`; see `route`."""
        return self.route(path, only("TRACE", options), **options)

    @spelled
    def add_converter(self, name: str, convert: Callable[[str], Any], to_text: Callable[[Any], str] = str) -> None:
        """Let templates of this router that are registered from now on say `{parameter:name}`.

        convert    text → value, which must not wait for anything; an exception means that the text does not match
        to_text    value → text for `url_for`; `convert` must take it

            router.add_converter("hex", lambda text: int(text, 16), lambda value: f"{value:x}")
        """
        if not isinstance(name, str) or not name.isidentifier():
            raise NotSupportedArgumentType(f"name of a converter must be an identifier, got {name!r}")
        if name in self._converters:
            raise EndpointValueError(f"converter '{name}' is already there")
        for function in (convert, to_text):
            if not callable(function) or iscoroutinefunction(function):
                raise NotSupportedArgumentType(f"converter '{name}' needs plain functions, got {function!r}")
        self._converters[name] = Converter(name, convert, to_text)

    def register_endpoint(self, handler: Endpoint[Any, Any] | Registered) -> None:
        """Register a function that `@endpoint` decorates, or what that gives when it is called without arguments."""
        if isinstance(handler, Endpoint):
            handler = handler()
        if not isinstance(handler, tuple) or len(handler) != 4:
            raise InvalidHandler(f"expected a function decorated with @endpoint, got {handler!r}")
        path, view, methods, name = handler
        checked_verbs(methods)
        self.register(path, view, methods, name)

    @spelled
    def include(
        self, router: SimpleRouter, prefix: str = "", *, name: str = "", dependencies: Sequence[Depends] = ()
    ) -> None:
        """Take in every route of `router`, now and later.

        prefix    in front of its path
        dependencies    list of Depends(…), which run before those of `router`, and behind those of this one
        name      a namespace, with a colon in front of its name: `users` of `router` is `v1:users` here. With it a
                  router may be included more than once, names and all. Handlers of `router` say `users` as before
        """
        if not isinstance(router, AbstractRouter):
            raise TypeError("Passed router must be inherited from the AbstractRouter class.")
        if not isinstance(router, SimpleRouter):
            raise TypeError(f"only a SimpleRouter can be included, got {type(router).__qualname__}")
        if self._is_inside(router):
            raise EndpointValueError("a router cannot include itself")
        if not isinstance(name, str) or ":" in name:
            raise NotSupportedArgumentType(f"name of an include must be a string without a colon, got {name!r}")
        effects = effects_of(dependencies, "an include")
        self._lists.note(f"dependencies of the include at {prefix!r}", dependencies)
        inclusion = Inclusion(self, checked_template(prefix, self._converters)[:-1] if prefix else "", name, effects)
        self._add([inclusion.moved(route) for route in router.routes])
        router._inclusions.append(inclusion)

    @spelled
    def exception_handler(self, exception: type[Exception]) -> Callable[[H], H]:
        """Make the decorated function, `def` or `async def`, answer when a request fails with `exception`.

            @router.exception_handler(KeyError)
            def missing(request, exc):
                return HTTPError(404, f"no {exc.args[0]}")

        It returns or raises an error, or returns what a handler may. It stays with the routes through `include`.
        """
        return adding_handler(self.exception_handlers, exception)

    def match(self, method: str, url: str) -> tuple[Route, tuple[Any, ...]]:
        """Give the route for `method` and `url`, and its path parameters in the order of the template.

        Raises NotSpecifiedHandler when no template matches `url`, MethodNotAllowed when none of those that match has
        `method`.
        """
        plan, params = self._trie.match(method, url)
        assert isinstance(plan, Plan)
        return plan.route, params

    def resolve(self, url: str) -> tuple[Route, tuple[Any, ...]]:
        """Give the route that `url` leads to, whatever the method, and its path parameters; raises as `match`."""
        if self._any_method is None:
            self._any_method = Trie()
            for route in self._routes:
                if self._any_method.find(route.path, "", route.converters) is None:
                    self._any_method.insert(route.path, "", route, route.converters)
        found, params = self._any_method.match("", url)
        assert isinstance(found, Route)
        return found, params

    def parameters(self, name: str) -> list[str]:
        """Give the names of the path parameters of the route `name`, in order; raises NoReverseMatch."""
        return self._named(name).parameters

    def url_for(self, name: str, /, **params: Any) -> str:
        """Give the url of the route `name`, which leads to that route with just these parameters.

        It is what belongs into `url` of a request, and ends with `/`. Values are written as they are, as nothing of a
        url is percent-decoded. NoReverseMatch is raised for a value that cannot stand there (empty, or with a brace, a
        control character or, in one segment, a slash), for one that its converter does not take, and if the url would
        lead to another route.
        """
        route = self._named(name)
        url = fill_template(route.path, route.converters, params)
        for verb in route.methods:
            try:
                found = self.match(verb, url)[0]
            except BaseAPIException as exc:
                raise NoReverseMatch(f"{verb} {url!r:.200} does not lead to {name!r}: {exc}") from exc
            if found is not route:
                raise NoReverseMatch(f"{verb} {url!r:.200} does not lead to {name!r}, but to {found!r}")
        return url

    def _named(self, name: str) -> Route:
        if name not in self._names:
            near = next((known for known in self._names if known.endswith(f":{name}")), meant(name, self._names))
            cure = f", did you mean {near!r}?" if near else ""
            raise NoReverseMatch(f"no route is named {name!r}{cure}")
        return self._names[name]

    def process_request(self, request: Request) -> bytes | Awaitable[bytes]:
        """Give the rendered reply to `request`, or an awaitable of it."""
        pipeline = request._pipeline or Pipeline()
        return pipeline.route(request, self._trie)

    def _is_inside(self, router: SimpleRouter) -> bool:
        return self is router or any(inclusion.router._is_inside(router) for inclusion in self._inclusions)

    def _add(self, routes: list[Route]) -> None:
        """Add `routes` here and wherever this router is included, or raise and add none of them anywhere."""
        places: dict[SimpleRouter, list[tuple[Route, dict[str, Plan]]]] = {}
        self._place(routes, places)
        for router, planned in places.items():
            router._check(planned)
        for router, planned in places.items():
            router._store(planned)

    def _place(self, routes: list[Route], places: dict[SimpleRouter, list[tuple[Route, dict[str, Plan]]]]) -> None:
        """Note in `places` what `routes` are here and, with the prefixes of `include`, in every router above."""
        places.setdefault(self, []).extend((route, plans_of(route)) for route in routes)
        for inclusion in self._inclusions:
            inclusion.router._place([inclusion.moved(route) for route in routes], places)

    def _check(self, routes: list[tuple[Route, dict[str, Plan]]]) -> None:
        names = dict(self._names)
        together = Trie()  # a router that is included twice brings its routes twice
        for route, plans in routes:
            if route.name:
                if route.name in names:
                    raise EndpointValueError(
                        f"Duplicate {route.name}, already handled by {names[route.name]!r}: {route!r} needs another "
                        "name, or its include a namespace (`name=`)"
                    )
                names[route.name] = route
            for verb in plans:
                known = self._trie.find(route.path, verb, route.converters)
                if known is not None:
                    raise EndpointValueError(f"{verb} {route.path} is already registered as {verb} {known}")
                together.insert(route.path, verb, None, route.converters)

    def _store(self, routes: list[tuple[Route, dict[str, Plan]]]) -> None:
        self._any_method = None
        for route, plans in routes:
            route.router = self
            route.plans = plans
            for verb, plan in plans.items():
                self._trie.insert(route.path, verb, plan, route.converters)
            self._routes.append(route)
            if route.name:
                self._names[route.name] = route


def warn_if_empty(router: AbstractRouter | None) -> None:
    """Log that an application which starts will answer nothing."""
    if isinstance(router, SimpleRouter) and not router.routes:
        logger.warning("router has no routes, so every request is a 404: register some, or include their router")
