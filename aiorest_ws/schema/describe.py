"""Routes → a description of each verb: what it takes, what it answers, what guards it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiorest_ws._speedups import Plan
from aiorest_ws.callables.annotations import Unreadable, meaning_of, parameters_of
from aiorest_ws.callables.calls import layers_of
from aiorest_ws.handlers.signatures import Signature
from aiorest_ws.idempotency import token_holder
from aiorest_ws.realtime.live import Live
from aiorest_ws.registration.routes import Route
from aiorest_ws.routing.templates import converters_by_parameter, parameter_names, replace_parameters
from aiorest_ws.schema.guarding import Guarding, guarding_of
from aiorest_ws.views import MethodBasedView

__all__ = ("UNKNOWN", "Described", "Parameter", "describe")

UNKNOWN = object()  # in the place of a type: nobody said which
_PLAIN = (str, int, float, bool)
_WITH_BODY = ("POST", "PUT", "PATCH")


@dataclass(slots=True)
class Parameter:
    """What a request gives.

    name        on the wire
    place       "path", "args" or "data"
    hint        its type, UNKNOWN if nobody says it
    converter   of its path template
    default     inspect.Parameter.empty without one
    """

    name: str
    place: str
    hint: Any = UNKNOWN
    converter: str | None = None
    default: Any = inspect.Parameter.empty

    @property
    def is_required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def is_json(self) -> bool:
        """Tell whether it is JSON where texts come: an argument with members, of a type that is checked."""
        if self.hint is UNKNOWN or self.hint in _PLAIN:
            return False
        from aiorest_ws.handlers.texts import is_json  # which imports msgspec

        return is_json(self.hint)


@dataclass(slots=True)
class Described:
    """One verb of one route.

    title         as warnings call it: GET /todos/{number:int}/
    path          without converters, and without the slash at its end: /todos/{number}
    name          for `url_for`, with its namespaces
    tags          of the view; else the namespace, or the prefix, of the router that it comes from
    parameters    of the path, in its order, then those of `args`, then `data`
    open          `args` may give more than what is named
    checked       something of what comes may not fit, 422
    response      type of the answer, UNKNOWN if nobody says it
    status        of replies
    may_differ    the handler chooses statuses itself, or seems to
    formats       that a request may choose, the first if it does not
    live          how it changes, where one may subscribe
    changes       templates of the urls that it changes
    is_keyed      a request may have a key, with which it is done once
    """

    title: str
    path: str
    verb: str
    name: str | None
    summary: str
    description: str
    tags: tuple[str, ...]
    deprecated: bool
    parameters: list[Parameter]
    open: bool
    checked: bool
    response: Any
    status: int
    may_differ: bool
    formats: tuple[str, ...]
    guarding: Guarding
    live: Live | None
    changes: tuple[str, ...]
    is_keyed: bool
    warnings: list[str] = field(default_factory=list)


def describe(routes: Iterable[Route], middlewares: Sequence[Any] = (), idempotency: Any = None) -> Iterator[Described]:
    """Describe each verb of `routes`, in their order.

    middlewares    those of the application around them
    idempotency    its option: who asks with a key
    """
    for route in routes:
        for verb in route.methods:
            yield _described(route, verb, middlewares, idempotency)


def _described(route: Route, verb: str, middlewares: Sequence[Any], idempotency: Any) -> Described:
    view, plan = route.handler, route.plans[verb]
    value = _value_of(plan)
    fit: Signature = value.fit  # type: ignore[assignment]
    title = f"{verb} {route.path}"
    warnings: list[str] = []
    summary, description = _texts(view, fit.handler)
    guarding = guarding_of(plan, (*middlewares, *route.middlewares))
    # Who asks is told by tokens, if nobody says otherwise, and only they may have a key.
    is_told = guarding.reads_tokens if _is_by_token(idempotency) else idempotency is not False
    return Described(
        title=title,
        path=_plain(route.path),
        verb=verb,
        name=route.name,
        summary=summary,
        description=description,
        tags=_tags(route),
        deprecated=view.deprecated is True or any(hasattr(each, "__deprecated__") for each in layers_of(fit.handler)),
        parameters=_parameters(route, value, fit, warnings, title),
        open=fit.open and (fit.behind is None or fit.behind.open),
        checked=not fit.open or bool(fit.required) or value.bind is not None,
        response=UNKNOWN if view.response_model in (None, Any, object) else view.response_model,
        status=view.status,
        may_differ=_may_differ(fit.handler),
        formats=tuple(r.format for r in view.renderers if r.format),
        guarding=guarding,
        live=None if plan.live is None else plan.live.live,
        changes=() if plan.changes is None else tuple(map(_plain, view.changes)),
        is_keyed=plan.writes and is_told,
        warnings=warnings,
    )


def _is_by_token(idempotency: Any) -> bool:
    """Tell whether it is the token that says who asks with a key."""
    return idempotency is None or getattr(idempotency, "who", None) is token_holder


def _value_of(plan: Plan) -> Plan:
    """Give the plan of the handler: that of a shared route is of its guards alone, and has it inside."""
    value: Plan | None = None if plan.live is None else plan.live.value
    return plan if value is None else value


def _plain(template: str) -> str:
    path = replace_parameters(template, lambda name: f"{{{name}}}")
    return path.rstrip("/") or "/"


def _texts(view: type[MethodBasedView], handler: Any) -> tuple[str, str]:
    """Give the first paragraph of the docstring of `handler`, or else of `view`, and what is behind it."""
    text = next(filter(None, map(_doc, (*layers_of(handler), *_own_classes(view)))), "")
    first, _, rest = inspect.cleandoc(text).partition("\n\n")
    return " ".join(first.split()).removesuffix("."), rest.strip()


def _doc(layer: Any) -> str | None:
    if isinstance(layer, (partial, staticmethod, classmethod)):  # which have docstrings of Python's own
        return None
    text = getattr(layer, "__doc__", None)
    return text if isinstance(text, str) else None


def _own_classes(view: type[MethodBasedView]) -> list[type]:
    """Give the classes of the user's own that `view` is made of."""
    if hasattr(view, "endpoint_function"):
        return []
    return [cls for cls in view.__mro__ if not issubclass(MethodBasedView, cls)]


def _tags(route: Route) -> tuple[str, ...]:
    said = route.handler.tags
    if isinstance(said, (list, tuple)) and said and all(isinstance(each, str) for each in said):
        return tuple(said)
    prefix = "/".join(part for part in route.prefix.split("/") if part and "{" not in part)
    group = ":".join(route.namespaces) or prefix
    return (group,) if group else ()


def _may_differ(handler: Any) -> bool:
    """Tell whether the code of `handler` mentions Response: what it returns may have another status."""
    for layer in layers_of(handler):
        code = getattr(getattr(layer, "__func__", layer), "__code__", None)
        if code is not None and "Response" in code.co_names:
            return True
    return False


def _parameters(route: Route, plan: Plan, fit: Signature, warnings: list[str], title: str) -> list[Parameter]:
    """Give the path parameters with their types, and what else a request gives."""
    bind = plan.bind
    converters = converters_by_parameter(route.path)
    path = [Parameter(name, "path", converter=converters[name]) for name in parameter_names(route.path)]
    # A decorator that calls the handler with other arguments is asked itself, and nothing of it is checked.
    is_checked = fit.innermost is fit.handler or fit.behind is not None
    asked = fit.innermost if is_checked else fit.handler
    wire = getattr(bind, "wire", {})
    args: list[Parameter] = []
    body: list[Parameter] = []
    at = -fit.given
    for each in parameters_of(asked):
        if each.name in fit.needs or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            continue
        is_placed = each.kind is not each.KEYWORD_ONLY and at < len(path)
        place, at = at, at + is_placed
        if is_placed and place < 0:
            continue
        hint = _hint(asked, each, warnings, title) if is_checked else UNKNOWN
        if is_placed:
            path[place].hint = hint
        elif each.name in fit.names or (fit.open and fit.behind is not None and each.name in fit.behind.names):
            args.append(Parameter(wire.get(each.name, each.name), "args", hint, None, each.default))
        elif each.name == "data" and getattr(bind, "body", None) is not None:
            body.append(Parameter("data", "data", hint, None, each.default))
    if asked is not fit.handler:
        known = {each.name for each in parameters_of(asked)}
        others = (each for each in parameters_of(fit.handler) if each.name in fit.names - known)
        args += [Parameter(each.name, "args", UNKNOWN, None, each.default) for each in others]
    if not body and plan.method in _WITH_BODY:
        body.append(Parameter("data", "data", default=None))  # the handler may look at `request.data` itself
    return [*path, *args, *body]


def _hint(function: Any, parameter: inspect.Parameter, warnings: list[str], title: str) -> Any:
    if parameter.annotation is parameter.empty:
        return UNKNOWN
    try:
        hint = meaning_of(function, parameter).hint
    except Unreadable as exc:
        warnings.append(f"{title}: the type of {parameter.name!r} cannot be described: {exc}")
        return UNKNOWN
    return UNKNOWN if hint in (Any, object) else hint
