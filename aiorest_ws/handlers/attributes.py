"""What a view, or a function, says of itself → what nobody would read of it, refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dis import get_instructions
from types import FunctionType
from typing import Any

from aiorest_ws.abstract import AbstractMiddleware
from aiorest_ws.callables.annotations import meanings_in, parameters_of
from aiorest_ws.callables.calls import layers_of, named
from aiorest_ws.callables.spelling import elsewhere, meant
from aiorest_ws.dependencies.depends import (
    check_filled,
    check_needless,
    holds_depends,
    is_need,
)
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.permissions import Composable
from aiorest_ws.routing.misses import OWN_VERBS
from aiorest_ws.views import AROUND, ATTRIBUTES, GUARDS, MethodBasedView, View, http_methods

__all__ = ("check_attributes", "check_dispatch", "check_instance", "check_notes", "note_error")


_OURS = tuple(map(str.lower, OWN_VERBS))


def check_attributes(view: type[MethodBasedView]) -> None:
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
            if name in _OURS and callable(vars(cls).get(name)):
                raise InvalidHandler(
                    f"view {view.__qualname__} has a method {name!r}, which nobody would call: that verb is the "
                    "framework's own, clients may subscribe to a GET that says how it changes, `live = Live()`"
                )
            near = None if name in http_methods else _near(name)
            if near:
                raise InvalidHandler(f"view {view.__qualname__} has an attribute {name!r}, did you mean {near!r}?")
            if name != "dependencies" and holds_depends(vars(cls).get(name)):
                raise _for_nobody(view, name)
            _check_value(view, name, vars(cls).get(name))
        for name, meaning in meanings_in(cls):
            if is_need(meaning):
                raise _for_nobody(view, name)


def check_instance(view: type[MethodBasedView]) -> None:
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


def check_dispatch(view: type[MethodBasedView]) -> None:
    """Refuse a mixin whose `dispatch` is hidden by ours: it was named last."""
    if view.dispatch is MethodBasedView.dispatch:
        for cls in view.__mro__:
            if "dispatch" in vars(cls) and cls is not MethodBasedView:
                raise InvalidHandler(
                    f"dispatch of {cls.__qualname__}, a base of view {view.__qualname__}, is hidden by that of "
                    f"MethodBasedView: name {cls.__qualname__} first"
                )
