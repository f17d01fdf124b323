"""Routes → a description of each: what it takes, what it answers, what guards it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from aiorest_ws.callables.annotations import Unreadable, meaning_of, parameters_of
from aiorest_ws.callables.arguments import wire_names
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.handlers.guards import guards_of
from aiorest_ws.handlers.living import live_of
from aiorest_ws.handlers.signatures import Signature
from aiorest_ws.registration.routes import Route
from aiorest_ws.routing.templates import converters_by_parameter, replace_parameters

__all__ = ("UNKNOWN", "Described", "Parameter", "describe")

UNKNOWN = object()  # in the place of a type: nobody said which


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a request gives.

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


@dataclass(frozen=True, slots=True)
class Described:
    """One verb of one route.

    path          without converters: /todos/{number}/
    open          `args` may give more than what is named
    is_guarded    no request without a token gets in
    permissions   names of what else guards it
    live          "state" or "log" where one may subscribe
    """

    path: str
    verb: str
    name: str | None
    title: str
    summary: str
    description: str
    parameters: tuple[Parameter, ...]
    open: bool
    response: Any
    is_guarded: bool
    permissions: tuple[str, ...]
    live: str | None
    warnings: tuple[str, ...]


def describe(routes: Iterable[Route]) -> Iterator[Described]:
    """Describe each verb of `routes`, in their order; what cannot be known has a warning that names the route."""
    for route in routes:
        for verb in route.methods:
            yield _described(route, verb)


def _described(route: Route, verb: str) -> Described:
    view = route.handler
    function = getattr(view, "endpoint_function", None)
    handler = getattr(view, verb.lower(), None) if function is None else function
    warnings: list[str] = []
    static = inspect.getattr_static(view, verb.lower(), None)
    given = 1 if function is not None or isinstance(static, (staticmethod, classmethod)) else 2
    path = [Parameter(name, "path", converter=how) for name, how in converters_by_parameter(route.path).items()]
    others: list[Parameter] = []
    is_open = True
    try:
        fit = Signature(handler, given, len(path))  # type: ignore[arg-type]
    except (InvalidHandler, ValueError, TypeError) as exc:
        warnings.append(f"{verb} {route.path}: what it takes cannot be described: {exc}")
    else:
        is_open = fit.open
        path, others = _parameters(fit, given, path, warnings, f"{verb} {route.path}")
    summary, _, description = (inspect.getdoc(handler if function is not None or handler else view) or "").partition(
        "\n"
    )
    auth_required, permissions = guards_of(view, (handler, static))
    live = live_of(view) if verb == "GET" else None
    return Described(
        path=replace_parameters(route.path, lambda name: f"{{{name}}}"),
        verb=verb,
        name=route.name,
        title=(view if function is None else function).__name__,
        summary=summary.strip().rstrip("."),
        description=description.strip(),
        parameters=(*path, *others),
        open=is_open,
        response=UNKNOWN if view.response_model is None else view.response_model,
        is_guarded=bool(auth_required),
        permissions=tuple(getattr(each, "__name__", type(each).__name__) for each in permissions or ()),
        live=None if live is None else live.mode,
        warnings=tuple(warnings),
    )


def _parameters(
    fit: Signature, given: int, path: list[Parameter], warnings: list[str], title: str
) -> tuple[list[Parameter], list[Parameter]]:
    """Give the path parameters with their types, and what else a request gives."""
    path, others, at = list(path), [], -given
    for each in parameters_of(fit.innermost):
        if each.name in fit.needs or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            continue
        is_placed = each.kind is not each.KEYWORD_ONLY and at < len(path)
        place, at = at, at + is_placed
        if is_placed and place < 0:
            continue
        hint = _hint(fit.innermost, each, warnings, title)
        if is_placed:
            path[place] = Parameter(path[place].name, "path", hint, path[place].converter)
        elif each.name in fit.names:
            is_body = each.name == "data" and hint is not UNKNOWN
            others.append(Parameter(each.name, "data" if is_body else "args", hint, None, each.default))
    hints = [(each.name, each.hint, each.place == "args") for each in others if each.hint is not UNKNOWN]
    first = {each.name for each in parameters_of(fit.innermost)[:given]}
    wire = wire_names(hints, fit.names, fit.taken - first)
    return path, [replace(each, name=wire.get(each.name, each.name)) for each in others]


def _hint(function: Any, parameter: inspect.Parameter, warnings: list[str], title: str) -> Any:
    if parameter.annotation is parameter.empty:
        return UNKNOWN
    try:
        return meaning_of(function, parameter).hint
    except Unreadable as exc:
        warnings.append(f"{title}: the type of {parameter.name!r} cannot be described: {exc}")
        return UNKNOWN
