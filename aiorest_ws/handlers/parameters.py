"""A handler with annotations → what makes its arguments of a request's path parameters, `args` and `data`.

All of it is worked out at registration. A handler without annotations, or only with such that nothing can violate, has
no binder; nor is msgspec imported for it.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from types import FunctionType
from typing import Any
from uuid import UUID
from weakref import WeakSet

from aiorest_ws._speedups import Request
from aiorest_ws.callables.annotations import (
    Meaning,
    Unreadable,
    defaults_of,
    fields_of,
    filled_in,
    meaning_of,
)
from aiorest_ws.callables.calls import named
from aiorest_ws.callables.markers import holds_marker, is_injection, is_marker
from aiorest_ws.dependencies.depends import holds_depends
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.handlers.bodies import check_first, check_place
from aiorest_ws.handlers.signatures import Signature
from aiorest_ws.routing.converters import CONVERTERS, PATH, Converter
from aiorest_ws.routing.templates import Typed, parse_template

if typing.TYPE_CHECKING:
    pass

__all__ = ("NEEDS_MSGSPEC", "Asked", "PathParameter", "is_annotated", "parameters_to_check", "path_parameters")

NEEDS_MSGSPEC = "needs msgspec: pip install 'aiorest-ws[typed]>=2'"

PathParameter = tuple[str, Converter | None]

# What comes without a converter, and from the built-in ones: an annotation that says just this needs no check.
# By identity, as nobody has to be able to hash a converter.
_GIVES = {id(None): str, id(PATH): str} | {
    id(CONVERTERS[name]): cls for name, cls in (("int", int), ("float", float), ("uuid", UUID), ("date", date))
}

_SOUND: WeakSet[type] = WeakSet()  # classes with nothing in their fields that a client may not fill


@dataclass(frozen=True, slots=True)
class Asked:
    """A parameter with an annotation that has to be checked.

    name      on the wire
    place     which of the path parameters it is; None for one of `args`, and for `data`
    lax       it comes as text of the url
    default   of the handler; inspect.Parameter.empty without one
    """

    name: str
    place: int | None
    hint: Any
    lax: bool
    default: Any


def path_parameters(route: Any) -> list[PathParameter]:
    """Give name and converter of each path parameter of `route`, in order."""
    converters: list[Converter | None] = []
    for part in parse_template(route.path, route.converters):
        if isinstance(part, Typed):
            converters += part.converters
        elif isinstance(part, tuple):
            converters += [None] * (len(part) - 1)
    return list(zip(route.parameters, converters, strict=True))


def parameters_to_check(
    signature: Signature, path: Sequence[PathParameter], parameters: Sequence[inspect.Parameter]
) -> Iterator[Asked]:
    """Give the parameters that are to be checked, in the order of the handler's signature."""
    handler = signature.innermost
    decorated = handler is not signature.handler
    names = [name for name, _ in path]
    at = -signature.given
    for parameter in parameters:
        if parameter.name in signature.needs:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            _check_many(handler, parameter)
            continue
        place = at if parameter.kind is not parameter.KEYWORD_ONLY and at < len(path) else None
        at += place is not None
        if parameter.annotation is parameter.empty or (place is not None and place < -1):
            continue
        if place == -1:
            if not decorated:
                _check_first(handler, parameter)
            continue
        hint = _resolved(handler, parameter, named(signature.innermost))
        if hint in (Any, object) and (place is not None or parameter.name != "data"):
            continue  # as good as none
        if parameter.name in names and (place is None or names[place] != parameter.name):
            if decorated:
                continue
            place_of = "none of them" if place is None else repr(names[place])
            raise InvalidHandler(
                f"parameter {parameter.name!r} of {named(signature.innermost)} has the name of a path parameter, "
                f"but stands where {place_of} comes: path parameters bind by position"
            )
        found = _to_check(signature, parameter, hint, place, path)
        if found is not None:
            yield found


def _check_many(handler: Any, parameter: inspect.Parameter) -> None:
    """Refuse `**kwargs: Unpack[…]` of a class with a field that a client may not fill."""
    try:
        meaning = meaning_of(handler, parameter)
    except Unreadable:  # nobody looks at it
        return
    _check_sound(meaning, parameter.name, named(handler))


def _check_first(handler: Any, parameter: inspect.Parameter) -> None:
    """Check the parameter that gets the request."""
    try:
        meaning = meaning_of(handler, parameter)
    except Unreadable:  # as where Request is imported for type checkers only
        return
    check_first(meaning.hint, parameter.name, named(handler))


def _to_check(
    signature: Signature, parameter: inspect.Parameter, hint: Any, place: int | None, path: Sequence[PathParameter]
) -> Asked | None:
    """Give `parameter` if what comes for it has to be checked."""
    decorated = signature.innermost is not signature.handler
    if not decorated:
        as_text = path[place][0] if place is not None and path[place][1] in (None, PATH) else None
        check_place(hint, parameter.name, as_text, Request, named(signature.innermost))
    if place is None:
        if decorated and not (signature.open or parameter.name in signature.names):
            return None  # the decorator does not pass it on
        return Asked(parameter.name, None, Any if hint is object else hint, False, parameter.default)
    name, converter = path[place]
    if decorated and name != parameter.name:
        return None
    if hint is _GIVES.get(id(converter)):
        return None
    return Asked(name, place, hint, converter is None or converter is PATH, parameter.default)


def _resolved(handler: Any, parameter: inspect.Parameter, title: str) -> Any:
    """Give the annotation of `parameter` as it is meant, or raise InvalidHandler."""
    try:
        meaning = meaning_of(handler, parameter)
    except Unreadable as exc:
        raise InvalidHandler(
            f"annotation of parameter {parameter.name!r} of {title} cannot be resolved: {exc}"
        ) from exc
    _check_sound(meaning, parameter.name, title)
    return meaning.hint


def _check_sound(meaning: Meaning, name: str, title: str) -> None:
    for cls in meaning.classes:
        if not _is_sound(cls, set()):
            raise InvalidHandler(
                f"parameter {name!r} of {title} is of a {cls.__qualname__}, which has a Depends in "
                f"a field, where it is for nobody: expected {name}: Annotated[…, Depends(…)]"
            )


def _is_sound(cls: type, seen: set[type]) -> bool:
    """Tell whether no field of `cls`, and of what is in it but for `seen`, is a dependency's: a client may fill it."""
    if cls in _SOUND or cls in seen:
        return True
    seen.add(cls)
    if any(holds_depends(default) or is_marker(default) for default in defaults_of(cls)):
        return False
    for meaning in (*fields_of(cls), *filled_in(cls)):
        if any(is_injection(mark) or holds_marker(mark) for mark in (*meaning.marks, *meaning.below)):
            return False
        if not all(_is_sound(inner, seen) for inner in meaning.classes):
            return False
    _SOUND.add(cls)
    return True


def is_annotated(handler: Any) -> bool:
    """Tell whether `handler` may have annotations: a look that costs nothing, as most have none."""
    try:
        return bool(_function(handler).__annotations__)
    except Exception:  # not of its own, or Python 3.14 cannot evaluate them
        return True


def _function(handler: Any) -> Any:
    """Give the function in which the annotations of `handler` were written."""
    while not isinstance(handler, FunctionType):
        if isinstance(handler, partial):
            handler = handler.func
        elif hasattr(handler, "__func__"):
            handler = handler.__func__
        else:
            call = inspect.getattr_static(type(handler), "__call__", None)
            return call if isinstance(call, FunctionType) else handler
    return handler
