"""A function → something that `SimpleRouter.register_endpoint` takes, and that is called as the function is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypedDict, TypeVar, Unpack, overload

from aiorest_ws.callables.calls import layers_of, named
from aiorest_ws.callables.spelling import elsewhere, meant, misspelled
from aiorest_ws.exceptions import InvalidHandler, NotSupportedArgumentType
from aiorest_ws.handlers.attributes import note_error
from aiorest_ws.handlers.guards import check_marks
from aiorest_ws.views import AROUND, ATTRIBUTES, MethodBasedView, http_methods

if TYPE_CHECKING:
    from aiorest_ws.dependencies.depends import Depends
    from aiorest_ws.middlewares import Middleware
    from aiorest_ws.permissions import Permission
    from aiorest_ws.realtime.live import Live
    from aiorest_ws.renderers import BaseRenderer

__all__ = ("Endpoint", "EndpointOptions", "NamedOptions", "endpoint")

P = ParamSpec("P")
R = TypeVar("R")


# What an endpoint gives when it is called without arguments: path, view, methods, name.
Registered = tuple[str, type[MethodBasedView], list[str] | str, str | None]


class EndpointOptions(TypedDict, total=False):
    """What may be said of a function that is registered: attributes of its view, see `MethodBasedView`."""

    auth_required: bool
    dependencies: Sequence[Depends]
    middlewares: Sequence[Middleware]
    permission_classes: Sequence[Permission]
    renderers: Sequence[type[BaseRenderer]]
    response_model: Any
    live: Live | bool | None
    changes: Sequence[str]
    threaded: bool
    status: int
    deprecated: bool
    tags: Sequence[str]


class NamedOptions(EndpointOptions, total=False):
    """As `EndpointOptions`, and the name for `url_for`."""

    name: str | None


class Endpoint(Generic[P, R]):
    """A decorated function: called with arguments, it is that function.

    Called without, it gives (path, view class, methods, name), what `SimpleRouter.register` takes.
    """

    def __init__(
        self,
        function: Callable[P, R],
        path: str,
        methods: list[str] | str,
        name: str | None,
        attrs: dict[str, Any],
    ) -> None:
        _check_function(function, path)
        update_wrapper(self, function)
        self.function = function
        self.path = path
        self.methods = methods
        self.name = name
        self.attrs = attrs

    @overload
    def __call__(self) -> Registered: ...

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            return self.function(*args, **kwargs)
        return self.path, self._view(), self.methods, self.name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind it, as a function in a class is."""
        if instance is None:
            return self
        return Endpoint(self.function.__get__(instance, owner), self.path, self.methods, self.name, self.attrs)

    def __getattr__(self, name: str) -> Any:
        """Give what else the function has: by `__code__` and its like `inspect` knows an `async def`."""
        if name == "function":  # of one that is not made yet
            raise AttributeError(name)
        return getattr(self.function, name)

    def __reduce__(self) -> str:
        """Let it be pickled by its name, as a function is."""
        return self.__qualname__  # type: ignore[no-any-return]

    def _view(self) -> type[MethodBasedView]:
        def handler(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            return self.endpoint_function(request, *args, **kwargs)

        verbs = self.methods if isinstance(self.methods, (list, tuple)) else [self.methods]
        body: dict[str, Any] = {verb.strip().lower(): handler for verb in verbs if isinstance(verb, str)}
        body |= self.attrs
        body["endpoint_function"] = staticmethod(self.function)
        body["__qualname__"] = named(self.function)  # what errors call it
        view = type("FunctionView", (MethodBasedView,), body)
        check_marks(view, self)
        for name in AROUND:
            if name in vars(self):
                raise note_error(name, self)
        return view


def _check_function(function: Any, path: str) -> None:
    for layer in layers_of(function):
        if isinstance(layer, Endpoint):  # what that says of it would be lost
            raise InvalidHandler(
                f"{named(layer)} is an endpoint of {layer.path} already, it cannot be one of {path}: "
                "other decorators belong below @endpoint"
            )
    if isinstance(function, type) or not callable(function):
        raise InvalidHandler(f"expected a function for {path}, got {function!r}: a view is registered, not decorated")


def _check_spelling(path: str, methods: Any) -> None:
    """Raise NotSupportedArgumentType for a verb with a slip of the pen; what is none at all is refused elsewhere."""
    for verb in methods if isinstance(methods, (list, tuple)) else ():
        near = misspelled(verb, http_methods) if isinstance(verb, str) else None
        if near is not None:
            raise NotSupportedArgumentType(
                f"endpoint {path} has no verb {verb.strip().upper()!r}, did you mean {near.upper()!r}? "
                "A verb of your own is a method of its name in a MethodBasedView"
            )


def endpoint(
    path: str, methods: list[str] | str, name: str | None = None, **attrs: Unpack[EndpointOptions]
) -> Callable[[Callable[P, R]], Endpoint[P, R]]:
    """Make a function, `def` or `async def`, the handler of `path` for `methods`; to be registered with a router.

        @endpoint("/sum/{a}/{b}", "GET")
        def add(request, a, b, *args, **kwargs):
            return int(a) + int(b)

    Further keywords (`renderers`, `permission_classes`, `auth_required`, `middlewares`, `dependencies`, `threaded`,
    `response_model`, `live`, `changes`, `status`, `deprecated`, `tags`, and what else its permissions or middlewares
    look for) become attributes of its view. Raises TypeError for one that is almost called like these, but not quite.
    `router.get(path)` does all of it at once.
    """
    _check_spelling(path, [methods] if isinstance(methods, str) else methods)
    if isinstance(name, str) and name.isupper() and name.lower() in http_methods:
        raise TypeError(f"the name of endpoint {path} is the verb {name!r}: several verbs are a list")
    for key in attrs:
        cure = elsewhere(key, "endpoint")
        if cure:
            raise TypeError(f"unknown keyword {key!r} of endpoint {path}: {cure}")
        near = meant(key.lower(), (*ATTRIBUTES, "methods"))
        if near:
            raise TypeError(f"unknown keyword {key.lower()!r} of endpoint {path}, did you mean {near!r}?")
    body = {key.lower(): value for key, value in attrs.items()}

    def decorate(function: Callable[P, R]) -> Endpoint[P, R]:
        return Endpoint(function, path, methods, name, body)

    return decorate
