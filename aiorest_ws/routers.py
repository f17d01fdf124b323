"""Method and url → route; path templates are parsed, stored and matched by `_speedups.trie`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from aiorest_ws._speedups import Pipeline, Plan, Request, Trie, converter_names, parameter_names, parse_template
from aiorest_ws.abstract import AbstractEndpoint, AbstractRouter
from aiorest_ws.converters import CONVERTERS, Converter
from aiorest_ws.decorators import Endpoint
from aiorest_ws.exceptions import (
    BaseAPIException,
    EndpointValueError,
    InvalidHandler,
    InvalidPathArgument,
    NoReverseMatch,
    NotSpecifiedHandler,
    NotSupportedArgumentType,
)
from aiorest_ws.middlewares import middlewares_of
from aiorest_ws.recoveries import adding_handler
from aiorest_ws.templates import fill_template
from aiorest_ws.views import MethodBasedView, make_plan

__all__ = ("Route", "SimpleRouter")

H = TypeVar("H", bound=Callable[..., Any])


class Route(AbstractEndpoint):
    """One registration: a path template, a view class, its methods (upper case) and perhaps a name.

    routers        where it was registered, then every router that included that one: the innermost first
    middlewares    what is around the handler, the outermost first, inside the application's
    converters     by name, those that the template may use
    router         the router that answers with it; None before it is registered
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
    ) -> None:
        super().__init__(path, handler, methods, name)
        self.routers = routers
        self._own = middlewares_of(getattr(handler, "middlewares", ())) if own is None else own
        self.middlewares = (*(m for router in reversed(routers) for m in router.middlewares), *self._own)
        self.converters = converters
        self.router: SimpleRouter | None = None

    def moved(self, prefix: str, router: SimpleRouter, converters: Mapping[str, Converter | None]) -> Route:
        """Give this route as `router` includes it."""
        routers = (*self.routers, router)
        path = prefix + self.path
        return Route(path, self.handler, self.methods, self.name, routers=routers, own=self._own, converters=converters)

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


class SimpleRouter(AbstractRouter):
    """Routes by path template and method.

        router = SimpleRouter()
        router.register("/users/{user_id}", User, ["GET", "PUT"], name="user-detail")
        router.register_endpoint(add)
        router.include(other_router, prefix="/v2")

    At each segment a literal beats a segment with literals and parameters, then come a parameter with a converter, one
    without, and one for all the rest of the path; a template that lacks the method is passed over. The same path and
    method twice is an error, and so is a name twice.

    `{id:int}`, `{x:float}`, `{u:uuid}` and `{d:date}` match what they can convert, and the handler gets what they make
    of it; `{name:str}` is `{name}`; `{rest:path}`, at the end of a template, is all that is left, slashes too.
    `add_converter` adds others.

    middlewares    classes or instances around every route, in order; they stay with the routes through `include`
    """

    def __init__(self, *args: Any, middlewares: Any = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.middlewares = middlewares_of(middlewares)
        self.exception_handlers: dict[type, Any] = {}
        self._trie = Trie()
        self._routes: list[Route] = []
        self._names: dict[str, Route] = {}
        self._parents: list[tuple[SimpleRouter, str]] = []
        self._converters = dict(CONVERTERS)
        self._any_method: Trie | None = None  # template → route, made when it is asked for

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every route, included ones too, in the order of registration."""
        return tuple(self._routes)

    def register(self, path: Any, handler: Any = None, methods: Any = None, name: Any = None) -> None:
        """Make `handler`, a view class, answer `methods` (a string or a list) on `path`.

        Raises InvalidPathArgument, InvalidHandler, NotSupportedArgumentType or EndpointValueError, and then changes
        nothing.
        """
        if isinstance(path, Endpoint):
            self.register_endpoint(path)
            return
        path = _template(path)
        _check_view(handler)
        verbs = _verbs(methods)
        if name and not isinstance(name, str):
            raise NotSupportedArgumentType("name variable must be string type")
        self._add([Route(path, handler, verbs, name or None, routers=(self,), converters=self._converters)])

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

    def register_endpoint(self, handler: Any) -> None:
        """Register a function that `@endpoint` decorates."""
        if not isinstance(handler, Endpoint):
            raise InvalidHandler(f"expected a function decorated with @endpoint, got {handler!r}")
        self.register(*handler())

    def include(self, router: SimpleRouter, prefix: str = "") -> None:
        """Take in every route of `router`, now and later, with `prefix` in front of its path."""
        if not isinstance(router, AbstractRouter):
            raise TypeError("Passed router must be inherited from the AbstractRouter class.")
        if not isinstance(router, SimpleRouter):
            raise TypeError(f"only a SimpleRouter can be included, got {type(router).__qualname__}")
        if self._is_inside(router):
            raise EndpointValueError("a router cannot include itself")
        prefix = _template(prefix)[:-1] if prefix else ""
        self._add([self._moved(route, prefix) for route in router.routes])
        router._parents.append((self, prefix))

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
            raise NoReverseMatch(f"no route is named {name!r}")
        return self._names[name]

    def process_request(self, request: Request) -> bytes | Awaitable[bytes]:
        """Give the rendered reply to `request`, or an awaitable of it."""
        pipeline = request._pipeline or Pipeline()
        return pipeline.route(request, self._trie)

    def _is_inside(self, router: SimpleRouter) -> bool:
        return self is router or any(parent._is_inside(router) for parent, _ in self._parents)

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
        places.setdefault(self, []).extend((route, _plans(route)) for route in routes)
        for parent, prefix in self._parents:
            parent._place([parent._moved(route, prefix) for route in routes], places)

    def _check(self, routes: list[tuple[Route, dict[str, Plan]]]) -> None:
        names = dict(self._names)
        together = Trie()  # a router that is included twice brings its routes twice
        for route, plans in routes:
            if route.name:
                if route.name in names:
                    raise EndpointValueError(f"Duplicate {route.name}, already handled by {names[route.name]!r}")
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
            for verb, plan in plans.items():
                self._trie.insert(route.path, verb, plan, route.converters)
            self._routes.append(route)
            if route.name:
                self._names[route.name] = route

    def _moved(self, route: Route, prefix: str) -> Route:
        """Give `route` as it is in this router, which includes its router with `prefix`."""
        converters = route.converters
        used = converter_names(prefix)
        if used:
            parse_template(f"{prefix}/", self._converters)
            for name in used:
                if converters.get(name, self._converters[name]) != self._converters[name]:
                    raise EndpointValueError(f"converter '{name}' of prefix {prefix} is another one in {route.path}")
            converters = {**converters, **{name: self._converters[name] for name in used}}
        return route.moved(prefix, self, converters)


def _template(path: Any) -> str:
    if not isinstance(path, str):
        raise NotSupportedArgumentType('Variable with name "path" must be `str` type.')
    template = path.strip()
    if not template.startswith("/"):
        raise InvalidPathArgument("Path should be started with `/` symbol")
    return template if template.endswith("/") else template + "/"


def _check_view(handler: Any) -> None:
    if not isinstance(handler, type):
        raise InvalidHandler()
    if not issubclass(handler, MethodBasedView):
        raise InvalidHandler("Your class should be inherited from the MethodBasedView class")


def _verbs(methods: Any) -> tuple[str, ...]:
    """Give the declared verbs, upper case, each once."""
    if not isinstance(methods, (list, str)):
        raise NotSupportedArgumentType('Variable with name "methods" must be `list` or `str` type.')
    verbs = [methods] if isinstance(methods, str) else methods
    if not verbs:
        raise NotSupportedArgumentType("methods must name at least one verb, got an empty list")
    for verb in verbs:
        if not isinstance(verb, str) or not verb.strip().isidentifier() or not verb.isascii() or verb.strip()[0] == "_":
            raise NotSupportedArgumentType(f"a method must be the name of a verb such as 'GET', got {verb!r}")
    return tuple(dict.fromkeys(verb.strip().upper() for verb in verbs))


def _plans(route: Route) -> dict[str, Plan]:
    parse_template(route.path, route.converters)
    recoveries = tuple(router.exception_handlers for router in route.routers)
    around = {"middlewares": route.middlewares, "recoveries": recoveries}
    return {verb: make_plan(route, route.handler, verb, len(route.parameters), **around) for verb in route.methods}
