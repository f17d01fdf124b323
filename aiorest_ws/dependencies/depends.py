"""A signature as it was written → what its parameters depend on, or what is wrong with that."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from aiorest_ws.callables.annotations import Meaning, Unreadable, as_written, filled_in, meaning_of, parameters_of
from aiorest_ws.callables.markers import wrong_default, wrong_mark
from aiorest_ws.exceptions import InvalidHandler

__all__ = (
    "MANY",
    "Chain",
    "Depends",
    "chain_of",
    "check_filled",
    "check_needless",
    "holds_depends",
    "is_need",
    "needs_by_name",
    "needs_of",
)

MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_CONTAINERS = (list, tuple, set, frozenset, dict)


@dataclass(frozen=True, slots=True)
class Depends:
    """Says, in an annotation, what gives a parameter its value: `db: Annotated[Session, Depends(get_db)]`.

    call     a function (one that waits must be `async def`), a class or anything else that is called. It may take
             `request`, and have dependencies of its own. If it is a generator, the value is what it yields, and the
             rest is clean-up: it runs when the reply is rendered, and the exception of a failed handler is thrown in
    cache    call it once a request for all that depend on it; False: for this parameter alone
    """

    call: Callable[..., Any]
    cache: bool = True


Chain = tuple[Depends, ...]  # of one annotation: the last gives the value, those before it run for their effect


def needs_of(function: Callable[..., Any], name: str, given: int = 0) -> dict[str, Chain]:
    """Give what the parameters of `function`, and of what it wraps, depend on; `name` is for what is wrong with them.

    The framework gives the first `given` arguments itself.
    """
    needs: dict[str, Chain] = {}
    layer: Any = function
    while layer is not None:
        inside = getattr(layer, "__wrapped__", None)
        for place, parameter in enumerate(parameters_of(layer, follow_wrapped=inside is None)):
            if place >= given and parameter.kind not in MANY:
                parameter = _as_written(layer, parameter, name)
            chain = chain_of(layer, parameter, name, is_given=place < given)
            if chain:
                needs.setdefault(parameter.name, chain)
        layer = inside
    return needs


def check_needless(function: Any, whose: str) -> None:
    """Raise TypeError if a parameter of `function` has a Depends: it is called by who has no dependencies to give."""
    for name in needs_by_name(function):
        raise TypeError(
            f"parameter {name!r} of {whose} has a Depends, where it is for nobody: handlers have "
            "dependencies, and `dependencies=[Depends(…)]` of a router or view runs before them"
        )


def needs_by_name(function: Any) -> list[str]:
    """Give the parameters of `function` that have a Depends, in its place or not; none of what is no function."""
    if not callable(function) or (type(function) is FunctionType and not _may_need(function)):
        return []
    try:
        parameters = parameters_of(function, follow_wrapped=True)
    except (TypeError, ValueError):
        return []  # it is not written in Python
    return [p.name for p in parameters if holds_depends(p.default) or _has_depends(function, p)]


def _may_need(function: FunctionType) -> bool:
    """Tell whether `function` may have a Depends: a look that costs little, as most have none."""
    if hasattr(function, "__wrapped__") or hasattr(function, "__signature__") or sys.version_info >= (3, 14):
        return True
    return bool(function.__annotations__ or function.__defaults__ or function.__kwdefaults__)


def _has_depends(function: Any, parameter: inspect.Parameter) -> bool:
    try:
        return is_need(meaning_of(function, parameter))
    except Unreadable:
        return "Depends" in str(parameter.annotation)


def check_filled(cls: Any) -> None:
    """Raise InvalidHandler if a Depends stands for a type parameter of a base of `cls`, where it is for nobody."""
    if hasattr(cls, "__orig_bases__") and any(map(is_need, filled_in(cls))):
        raise InvalidHandler(
            f"class {cls.__qualname__} gives its base a Depends as a type, where it is for nobody: "
            "expected it in the annotation of a parameter"
        )


def holds_depends(value: Any) -> bool:
    """Tell whether `value` is a Depends, or a list, a dict or the like with one."""
    parts = value.values() if isinstance(value, dict) else value
    return isinstance(value, Depends) or (isinstance(value, _CONTAINERS) and any(map(holds_depends, parts)))


def is_need(meaning: Meaning) -> bool:
    """Tell whether a Depends is anywhere in an annotation."""
    return any(isinstance(mark, Depends) for mark in (*meaning.marks, *meaning.below))


def chain_of(function: Any, parameter: inspect.Parameter, name: str, *, is_given: bool = False) -> Chain:
    """Give what `parameter` of `function` depends on: the last gives its value, those before it run for their effect.

    Whatever would have to be looked at by somebody else, or by nobody, raises InvalidHandler.
    """
    what = f"parameter {parameter.name!r} of {name}"
    cure = f"expected {parameter.name}: Annotated[…, Depends(…)]"
    if isinstance(parameter.default, _CONTAINERS) and holds_depends(parameter.default):
        raise InvalidHandler(
            f"{what} has a {type(parameter.default).__name__} of Depends as its default, which nobody runs: "
            "`dependencies` belongs to the decorator, @router.get(…, dependencies=[Depends(…)])"
        )
    if isinstance(parameter.default, Depends):
        raise InvalidHandler(f"{what} has Depends as its default, expected it in the annotation: {cure[9:]}")
    if parameter.annotation is parameter.empty:
        meaning = Meaning()
    else:
        meaning = _meaning(function, parameter, what, is_given=is_given)
    if isinstance(meaning.hint, Depends) or Depends in meaning.marks:
        raise InvalidHandler(f"{what} is annotated with {parameter.annotation!r}, {cure}")
    chain = tuple(mark for mark in meaning.marks if isinstance(mark, Depends))
    for mark in (*meaning.marks, *meaning.below):
        if not isinstance(mark, Depends) and (wrong := wrong_mark(mark)):
            raise InvalidHandler(f"{what} is annotated with {wrong}")
    if any(isinstance(mark, Depends) for mark in meaning.below):
        raise InvalidHandler(
            f"{what} has a Depends below the top level of its annotation, where it is for nobody: {cure}"
        )
    if chain and parameter.kind in (parameter.POSITIONAL_ONLY, *MANY):
        raise InvalidHandler(f"{what} is {parameter.kind.description}, and so cannot be provided")
    if chain or parameter.default is parameter.empty:
        return chain
    if wrong := wrong_default(parameter.default, meaning.hint):
        raise InvalidHandler(f"{what} has as its default {wrong}")
    return chain


def _as_written(layer: Any, parameter: inspect.Parameter, name: str) -> inspect.Parameter:
    try:
        return as_written(layer, parameter)
    except Unreadable as exc:
        raise InvalidHandler(
            f"annotation of parameter {parameter.name!r} of a decorator of {name} cannot be known: {exc}"
        ) from exc


def _meaning(function: Any, parameter: inspect.Parameter, what: str, *, is_given: bool) -> Meaning:
    try:
        return meaning_of(function, parameter)
    except Unreadable as exc:
        # What comes from the framework, or is for nobody by name, may be of a type that only type checkers know.
        text = str(parameter.annotation)
        is_plain = "Depends" not in text and "Annotated" not in text
        nobodys = parameter.name == "request" or parameter.kind in MANY
        if is_plain and (is_given or nobodys):
            return Meaning()
        raise InvalidHandler(f"annotation of {what} cannot be resolved: {exc}") from exc
