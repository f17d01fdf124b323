"""A function → something that `SimpleRouter.register_endpoint` takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from aiorest_ws.views import MethodBasedView, http_methods, misspelt

__all__ = ("Endpoint", "endpoint")

_ATTRIBUTES = ("auth_required", "middlewares", "permission_classes", "renderers", "response_model", "threaded")


class Endpoint:
    """A decorated function; calling it gives (path, view class, methods, name), what `SimpleRouter.register` takes."""

    def __init__(
        self, function: Callable[..., Any], path: str, methods: list[str] | str, name: str | None, attrs: dict[str, Any]
    ) -> None:
        update_wrapper(self, function)
        self.function = function
        self.path = path
        self.methods = methods
        self.name = name
        self.attrs = attrs

    def __call__(self) -> tuple[str, type[MethodBasedView], list[str] | str, str | None]:
        def handler(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            return self.endpoint_function(request, *args, **kwargs)

        verbs = [self.methods] if isinstance(self.methods, str) else self.methods
        body: dict[str, Any] = {verb.strip().lower(): handler for verb in verbs if isinstance(verb, str)}
        body |= self.attrs
        body["endpoint_function"] = staticmethod(self.function)
        view = type("FunctionView", (MethodBasedView,), body)
        return self.path, view, self.methods, self.name


def endpoint(
    path: str, methods: list[str] | str, name: str | None = None, **attrs: Any
) -> Callable[[Callable[..., Any]], Endpoint]:
    """Make a function, `def` or `async def`, the handler of `path` for `methods`.

        @endpoint("/sum/{a}/{b}", "GET")
        def add(request, a, b, *args, **kwargs):
            return int(a) + int(b)

    Further keywords (`renderers`, `permission_classes`, `auth_required`, `middlewares`, `threaded`, `response_model`)
    become attributes of its view. Raises TypeError for one that is almost called like these, but not quite.
    """
    if isinstance(name, str) and name.isupper() and name.lower() in http_methods:
        raise TypeError(f"the name of endpoint {path} is the verb {name!r}: several verbs are a list")
    for key in attrs:
        near = misspelt(key.lower(), _ATTRIBUTES, cutoff=0.75)
        if near:
            raise TypeError(f"unknown keyword {key.lower()!r} of endpoint {path}, did you mean {near!r}?")

    def decorate(function: Callable[..., Any]) -> Endpoint:
        return Endpoint(function, path, methods, name, {key.lower(): value for key, value in attrs.items()})

    return decorate
