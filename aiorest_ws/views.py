"""A view class and a verb → the `Plan` of its requests, worked out at registration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dis import get_instructions
from types import FunctionType
from typing import Any, ClassVar

from aiorest_ws._speedups import BINARY_MSGPACK, TEXT_JSON, Plan, Request, write
from aiorest_ws.abstract import AbstractMiddleware
from aiorest_ws.callables.annotations import meanings_in, parameters_of
from aiorest_ws.callables.calls import innermost, layers_of, named
from aiorest_ws.callables.spelling import elsewhere, meant
from aiorest_ws.dependencies.order import (
    Chain,
    check_filled,
    check_needless,
    gathered,
    holds_depends,
    is_need,
    needs_by_name,
    needs_of,
)
from aiorest_ws.dependencies.scope import Dependencies
from aiorest_ws.exceptions import InvalidHandler, InvalidRenderer, MethodNotAllowed
from aiorest_ws.gone import missing
from aiorest_ws.handlers.guards import AROUND, GUARDS, guards_of
from aiorest_ws.handlers.parameters import binder_of
from aiorest_ws.handlers.passing import check_passed_on
from aiorest_ws.handlers.response_models import answering
from aiorest_ws.handlers.signatures import Signature
from aiorest_ws.permissions import Composable
from aiorest_ws.renderers import BaseRenderer, JSONRenderer

__all__ = ("ATTRIBUTES", "MethodBasedView", "View", "check_notes", "http_methods", "make_plan", "note_error")

http_methods = frozenset(("get", "post", "head", "options", "delete", "put", "trace", "patch"))

ATTRIBUTES = (
    *("auth_required", "dependencies", "middlewares", "permission_classes", "renderers", "response_model"),
    "threaded",
)
"""What a view may say of itself; what is almost called so would be read by nobody, and is refused."""


class View:
    """Base of every view; one instance serves one request."""


class MethodBasedView(View):
    """Answers each HTTP verb with the method of that name, `def` or `async def`.

        class User(MethodBasedView):
            def get(self, request, user_id, *args, **kwargs):
                return {"id": user_id}

    Path parameters come positionally, as strings or what their converters make of them; `args` of the request come as
    keyword arguments. Only verbs that are declared at registration can be called from the wire.

    methods               verbs that the class has, upper case, sorted
    renderers             renderer classes; `args.format` chooses one, else the first; none means JSON
    permission_classes    every one must let the request pass
    auth_required         `request.user` must be set, authenticated and active
    middlewares           classes or instances around its methods, inside those of application and routers
    threaded              call methods that are not `async def` in a thread: they may block
    dependencies          list of Depends(…), which run for their effect before those of its methods
    response_model        a type: of what the methods return, what belongs to it is sent and nothing else
    """

    methods: ClassVar[list[str]] = []
    renderers: Any = ()
    permission_classes: Any = ()
    auth_required = False
    middlewares: Any = ()
    dependencies: Any = ()
    threaded = False
    response_model: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.methods = sorted(verb.upper() for verb in http_methods if callable(getattr(cls, verb, None)))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in GUARDS or name in AROUND:
            raise AttributeError(
                f"{name} of one instance of {type(self).__qualname__} guards nothing, set it in the class"
            )
        super().__setattr__(name, value)

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the method for the verb of `request`. Override it to wrap every verb of the view."""
        verb = str(request.method).strip(" ").lower()
        if verb.upper() not in self.methods:
            raise MethodNotAllowed()
        return getattr(self, verb)(request, *args, **kwargs)

    def get_renderer(self, preferred_format: str | None, *args: Any, **kwargs: Any) -> BaseRenderer:
        """Give the renderer whose format is `preferred_format`, else the first, else JSON."""
        for renderer in self.renderers:
            if preferred_format and renderer.format == preferred_format:
                return renderer()  # type: ignore[no-any-return]
        return self.renderers[0]() if self.renderers else JSONRenderer()


def make_plan(
    route: Any,
    view: type[MethodBasedView],
    verb: str,
    parameters: int,
    *,
    middlewares: tuple[Any, ...] = (),
    recoveries: tuple[dict[type, Any], ...] = (),
    dependencies: Chain = (),
) -> Plan:
    """Give the plan for requests with `verb` (upper case), which bring `parameters` path parameters.

    `middlewares` are those of routers and view, in order, `recoveries` the exception handlers of the
    routers around it, innermost first, `dependencies` what runs before those of the handler for its effect.
    """
    _check_attributes(view)
    _check_dispatch(view)
    _check_instance(view)
    function = getattr(view, "endpoint_function", None)
    bare = function is not None
    if function is not None:
        fit = _signature(function, parameters)
    else:
        function, fit = _handler(view, verb, parameters)
    check_notes(function)
    if view.dispatch is not MethodBasedView.dispatch:
        function, bare = view.dispatch, False
        dispatch = Signature(function, 2, parameters)
        if dispatch.needs:
            raise InvalidHandler(f"{named(function)} cannot have dependencies: the methods of its view can")
        fit.taken |= dispatch.taken
        verbs = (getattr(view, declared.lower(), None) for declared in view.methods)
        check_passed_on(function, view, {*fit.needs, *(need for each in verbs for need in needs_by_name(each))})
    bind = binder_of(fit, route, direct=view.dispatch is MethodBasedView.dispatch)
    threaded = _is_threaded(view, function)
    answer = answering(function, view.response_model, view.__qualname__)
    provide = _dependencies(fit, answer, parameters, threaded, dependencies)
    auth_required, permissions = guards_of(view, (function, inspect.getattr_static(view, verb.lower())))
    return Plan(
        route,
        view,
        answer if provide is None else gathered,
        method=verb,
        bare=bare,
        fit=fit,
        bind=bind,
        takes_nothing=not fit.required and fit.behind is None and not fit.fresh,
        explain=None if fit.behind is None else fit.explain,
        auth_required=auth_required,
        permissions=permissions,
        render=_renderer(view),
        threaded=threaded,
        middlewares=middlewares,
        recoveries=recoveries,
        provide=provide,
    )


def _signature(function: Callable[..., Any], parameters: int) -> Signature:
    try:
        fit = Signature(function, 1, parameters)
    except ValueError as exc:
        raise InvalidHandler(f"{named(function)} does not say what it takes, put it into a `def`: {exc}") from exc
    if fit.open:
        check_passed_on(function, None, fit.needs)
    return fit


def _handler(view: type[MethodBasedView], verb: str, parameters: int) -> tuple[Callable[..., Any], Signature]:
    """Give the function that answers `verb`, to be called with the view instance first, and its fit."""
    name = verb.lower()
    handler = getattr(view, name, None)
    if not callable(handler) or hasattr(View, name) or (name not in http_methods and hasattr(MethodBasedView, name)):
        raise InvalidHandler(f"view {view.__qualname__} has no method {name!r} for the declared verb {verb!r}")
    static = inspect.getattr_static(view, name)
    is_unbound = isinstance(static, (staticmethod, classmethod))
    fit = Signature(handler, 1 if is_unbound else 2, parameters)
    _check_overridden(view, name, fit)
    if fit.open:
        check_passed_on(handler, view, fit.needs)
    if inspect.isfunction(static):
        return handler, fit

    def bound(instance: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a handler that is no plain function (static, class or partial method) through its descriptor."""
        return getattr(instance, name)(*args, **kwargs)

    return bound, fit


def _check_overridden(view: type, name: str, fit: Signature) -> None:
    """Refuse a method that takes from a client what a dependency gives to the one of a base class that it hides."""
    for base in view.__mro__:
        found = vars(base).get(name)
        hidden = getattr(found, "__func__", found)
        given = 1 if isinstance(found, staticmethod) else 2
        for need in needs_of(hidden, named(hidden), given) if inspect.isfunction(hidden) else ():
            if need not in fit.needs and (fit.open or need in fit.names):
                raise InvalidHandler(
                    f"{named(fit.innermost)} hides the dependency {need!r} of {named(hidden)}, and a client could give "
                    f"its value: expected {need}: Annotated[…, Depends(…)] among its own parameters"
                )


def _check_instance(view: type[MethodBasedView]) -> None:
    """Refuse a view of which no instance can be made for a request."""
    abstract = sorted(getattr(view, "__abstractmethods__", ()))
    if abstract:
        raise InvalidHandler(f"view {view.__qualname__} is abstract: it has no {', '.join(abstract)}")
    check_filled(view)
    if view.__init__ is object.__init__ and view.__new__ is object.__new__ and type(view) is type:
        return
    for parameter in parameters_of(view, follow_wrapped=True):
        is_many = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.default is parameter.empty and not is_many:
            raise InvalidHandler(
                f"view {view.__qualname__} cannot be made without its argument {parameter.name!r}, and each request "
                f"makes one: what its methods need is given to them, {parameter.name}: Annotated[…, Depends(…)]"
            )
    try:
        check_needless(view, f"view {view.__qualname__}")
    except TypeError as exc:
        raise InvalidHandler(str(exc)) from exc


def _is_threaded(view: type[MethodBasedView], function: Callable[..., Any]) -> bool:
    """Tell whether `function` is called in a thread; beside it a view may have methods that need none."""
    if type(view.threaded) is not bool:
        raise InvalidHandler(f"threaded of view {view.__qualname__} must be True or False, got {view.threaded!r}")
    if not view.threaded or not inspect.iscoroutinefunction(innermost(function)):
        return view.threaded
    if hasattr(view, "endpoint_function"):
        raise InvalidHandler(f"{named(function)} is `async def`, which runs in the loop: it cannot be threaded")
    return False


def _dependencies(
    fit: Signature, function: Callable[..., Any], parameters: int, threaded: bool, effects: Chain
) -> Dependencies | None:
    if not fit.needs and not effects:
        return None
    return Dependencies(
        function,
        fit.needs,
        handler=named(fit.innermost),
        effects=effects,
        positions=fit.positions,
        parameters=parameters,
        is_async=any(inspect.iscoroutinefunction(f) for f in (innermost(function), fit.innermost)),
        threaded=threaded,
    )


def _check_attributes(view: type[MethodBasedView]) -> None:
    """Refuse an attribute that is meant to be one of ours, and that nobody would look at."""
    for cls in view.__mro__:
        if cls in (MethodBasedView, View, object):
            continue
        given = tuple(_set_by_instances(cls))
        for name in AROUND:
            if name in given:
                raise InvalidHandler(
                    f"__init__ of view {view.__qualname__} gives its instances {name!r}, where nobody looks at it: "
                    "set it in the class"
                )
        for name in (*vars(cls), *given):
            cure = elsewhere(name, "view")
            if cure:
                raise InvalidHandler(f"view {view.__qualname__} has an attribute {name!r}: {cure}")
            near = None if name in http_methods else _near(name)
            if near:
                raise InvalidHandler(f"view {view.__qualname__} has an attribute {name!r}, did you mean {near!r}?")
            if name != "dependencies" and holds_depends(vars(cls).get(name)):
                raise _for_nobody(view, name)
            _check_value(view, name, vars(cls).get(name))
        for name, meaning in meanings_in(cls):
            if is_need(meaning):
                raise _for_nobody(view, name)


def _check_dispatch(view: type[MethodBasedView]) -> None:
    """Refuse a mixin whose `dispatch` is hidden by ours: it was named last."""
    if view.dispatch is MethodBasedView.dispatch:
        for cls in view.__mro__:
            if "dispatch" in vars(cls) and cls is not MethodBasedView:
                raise InvalidHandler(
                    f"dispatch of {cls.__qualname__}, a base of view {view.__qualname__}, is hidden by that of "
                    f"MethodBasedView: name {cls.__qualname__} first"
                )


def _check_value(view: type, name: str, value: Any) -> None:
    """Refuse what is a guard by its value, under a name that nobody looks at; private names are the view's own."""
    if name.startswith("_") or name in ATTRIBUTES:
        return
    if isinstance(value, type):
        inside = [guard for guard in (*GUARDS, *AROUND) if guard in vars(value)]
        if inside and not issubclass(value, View):
            raise InvalidHandler(
                f"class {name!r} in view {view.__qualname__} says {inside[0]!r}, where nobody looks at it: "
                "set it in the view itself"
            )
        return
    option = _option_of(value)
    if option is not None:
        raise InvalidHandler(
            f"attribute {name!r} of view {view.__qualname__} is {value!r:.200}, where nobody looks at it: "
            f"expected {option} = […]"
        )


def _option_of(value: Any) -> str | None:
    """Give the option that `value` is for, by what it is; None for a value of the program's own."""
    if isinstance(value, dict):  # by verb, say
        return next(filter(None, map(_option_of, value.values())), None)
    parts = value if isinstance(value, (list, tuple, set, frozenset)) else (value,)
    for kind, option in ((Composable, "permission_classes"), (AbstractMiddleware, "middlewares")):
        if any(isinstance(part, kind) or (isinstance(part, type) and issubclass(part, kind)) for part in parts):
            return option
    return None


def _for_nobody(view: type, name: str) -> InvalidHandler:
    return InvalidHandler(
        f"attribute {name!r} of view {view.__qualname__} has a Depends, where it is for nobody: what its methods need "
        f"is given to them, {name}: Annotated[…, Depends(…)], and what runs for its effect is `dependencies = […]`"
    )


def check_notes(function: Callable[..., Any]) -> None:
    """Refuse what a decorator, say, has set on a function where it belongs to its view; `guards` has the guards."""
    for layer in layers_of(function):
        for name, value in vars(layer).items() if isinstance(layer, FunctionType) else ():
            near = name if name in ATTRIBUTES else _near(name) or (None if name[0] == "_" else _option_of(value))
            if near and name not in GUARDS:
                raise note_error(name, layer, near)


def note_error(name: str, function: Any, near: str | None = None) -> InvalidHandler:
    """Give what is wrong with the attribute `name` of `function`, which means `near`."""
    return InvalidHandler(
        f"{name!r} is set on {named(function)}, where nobody looks at it: {(near or name)!r} is given to its "
        "decorator, or set in its view"
    )


def _near(name: str) -> str | None:
    if not name.startswith("_"):
        return meant(name, ATTRIBUTES)
    guard = name.strip("_")  # other private names are the view's own
    return guard if guard in GUARDS else None


def _set_by_instances(cls: type) -> Iterator[str]:
    """Give the attributes that `__init__` of `cls` itself sets on `self`."""
    code = getattr(vars(cls).get("__init__"), "__code__", None)
    if code is None or not code.co_argcount or not any(name in AROUND or _near(name) for name in code.co_names):
        return
    loaded: Any = None
    for instruction in get_instructions(code):
        # One instruction may load two variables, the object last.
        holder = loaded[-1] if isinstance(loaded, tuple) and loaded else loaded
        if instruction.opname == "STORE_ATTR" and holder == code.co_varnames[0]:
            yield instruction.argval
        loaded = instruction.argval


def _renderer(view: type[MethodBasedView]) -> Callable[[Any, Request, dict[str, Any]], bytes] | None:
    """Give what renders the replies of `view`, or None for plain JSON."""
    custom = view.get_renderer is not MethodBasedView.get_renderer
    renderers = view.renderers
    if not custom:
        if not isinstance(renderers, (list, tuple)) or not all(
            isinstance(r, type) and issubclass(r, BaseRenderer) for r in renderers
        ):
            raise InvalidRenderer()
        if all(r is JSONRenderer for r in renderers):
            return None

    def render(instance: Any, request: Request, body: dict[str, Any]) -> bytes:
        renderer = instance.get_renderer(request.get_argument("format"))
        if request.form == BINARY_MSGPACK and type(renderer).render is JSONRenderer.render:
            return write(body, BINARY_MSGPACK)
        rendered = renderer.render(body)
        if isinstance(rendered, str):
            rendered = rendered.encode(renderer.charset or "utf-8")
        if request.form == TEXT_JSON:
            rendered.decode("utf-8")  # a text frame must be UTF-8 (RFC 6455 §5.6)
        return bytes(rendered)

    return render


def __getattr__(name: str) -> Any:
    raise missing(__name__, name)
