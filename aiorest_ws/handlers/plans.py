"""A view class and a verb → the `Plan` of its requests, worked out at registration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import BINARY_MSGPACK, TEXT_JSON, Plan, Request, write
from aiorest_ws.callables.annotations import parameters_of
from aiorest_ws.callables.arguments import wire_names
from aiorest_ws.callables.calls import innermost, named
from aiorest_ws.dependencies.depends import (
    Chain,
    needs_by_name,
    needs_of,
)
from aiorest_ws.dependencies.order import gathered
from aiorest_ws.dependencies.scope import Dependencies
from aiorest_ws.exceptions import InvalidHandler, InvalidRenderer
from aiorest_ws.handlers.attributes import check_attributes, check_dispatch, check_instance, check_notes
from aiorest_ws.handlers.guards import guards_of
from aiorest_ws.handlers.living import Guards, changes_of, gate_of, live_of, live_route
from aiorest_ws.handlers.parameters import NEEDS_MSGSPEC, Asked, is_annotated, parameters_to_check, path_parameters
from aiorest_ws.handlers.passing import check_passed_on
from aiorest_ws.handlers.response_models import answering
from aiorest_ws.handlers.returned import check_returned
from aiorest_ws.handlers.signatures import Signature
from aiorest_ws.renderers import BaseRenderer, JSONRenderer
from aiorest_ws.views import MethodBasedView, View, http_methods

if TYPE_CHECKING:
    from aiorest_ws.handlers.binding import Binder

__all__ = ("make_plan",)


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
    check_attributes(view)
    check_dispatch(view)
    check_instance(view)
    function = getattr(view, "endpoint_function", None)
    bare = function is not None
    if function is not None:
        fit = _signature(function, parameters)
    else:
        function, fit = _handler(view, verb, parameters)
    check_notes(function)
    if view.response_model is None:
        check_returned(function)
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
    answer = answering(function, view.response_model, view.__qualname__, status=view.status)
    provide = _dependencies(fit, answer, parameters, threaded, dependencies)
    live = live_of(view) if verb == "GET" else None
    auth_required, permissions = guards_of(view, (function, inspect.getattr_static(view, verb.lower())))
    plan = partial(
        Plan,
        *(route, view),
        method=verb,
        bare=bare,
        fit=fit,
        bind=bind,
        takes_nothing=not fit.required and fit.behind is None and not fit.fresh,
        explain=None if fit.behind is None else fit.explain,
        threaded=threaded,
        recoveries=recoveries,
    )
    guards = Guards(
        auth_required=auth_required, permissions=permissions, render=_renderer(view), middlewares=middlewares
    )
    if live is not None and live.shared:
        alone = _dependencies(fit, answer, parameters, threaded, ())
        value = plan(answer if alone is None else gathered, provide=alone, impersonal=True)
        return gate_of(value, guards, live_route(live, route, view, value), _of_gate(parameters, dependencies))
    return plan(
        answer if provide is None else gathered,
        provide=provide,
        live=None if live is None else live_route(live, route, view, None),
        changes=changes_of(view, route, verb),
        **guards,
    )


def _of_gate(parameters: int, effects: Chain) -> Dependencies | None:
    """Give what is to run, for its effect, before the value of a shared route is asked for."""
    from aiorest_ws.realtime.sharing import enter  # which most applications do without

    return _dependencies(Signature(enter, 1, parameters), enter, parameters, False, effects)


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
        wanted = request.get_argument("format")
        over_http = getattr(request.connection, "over_http", None)
        if over_http is not None:
            wanted = wanted or over_http.preferred(renderers)
        renderer = instance.get_renderer(wanted)
        if over_http is not None:
            body = over_http.alone(body, renderer)
        if request.form == BINARY_MSGPACK and type(renderer).render is JSONRenderer.render:
            return write(body, BINARY_MSGPACK)
        rendered = renderer.render(body)
        if isinstance(rendered, str):
            rendered = rendered.encode(renderer.charset or "utf-8")
        if request.form == TEXT_JSON:
            rendered.decode("utf-8")  # a text frame must be UTF-8 (RFC 6455 §5.6)
        return bytes(rendered)

    return render


def binder_of(signature: Signature, route: Any, *, direct: bool) -> Binder | None:
    """Give what binds the arguments of a handler, None when nothing of it is to be checked.

    `direct`: it is called with what is bound, by nobody else. Raises InvalidHandler for an annotation that cannot work.
    """
    if not is_annotated(signature.innermost):
        return None
    if signature.innermost is not signature.handler and signature.behind is None:
        return None  # its decorator calls it with other arguments
    path = path_parameters(route)
    parameters = parameters_of(signature.innermost)
    asked = list(parameters_to_check(signature, path, parameters))
    if not asked:
        return None
    try:
        from aiorest_ws.handlers.binding import make_binder
    except ModuleNotFoundError as exc:
        if exc.name != "msgspec":
            raise
        raise InvalidHandler(
            f"{named(signature.innermost)} has annotations that are to be checked, which {NEEDS_MSGSPEC}"
        ) from None
    if any(parameter.name == "data" and parameter.place is None for parameter in asked):
        signature.leave_out("data")
    defaults = {parameter.name: parameter.default for parameter in parameters}
    direct = direct and signature.innermost is signature.handler
    title = named(signature.innermost)
    wire = _wire_names(signature, asked, {p.name for p in parameters[: signature.given]}, title)
    return make_binder(signature, path, asked, defaults=defaults, wire=wire, direct=direct, title=title)


def _wire_names(signature: Signature, asked: Sequence[Asked], given: set[str], title: str) -> dict[str, str]:
    """Give the names of arguments that have others on the wire than in Python; `given` never come from there."""
    hints = [(p.name, p.hint, p.place is None and p.name != "data") for p in asked]
    try:
        return wire_names(hints, signature.names, signature.taken - given)
    except ValueError as exc:
        raise InvalidHandler(f"{title} cannot be called: {exc}") from None
