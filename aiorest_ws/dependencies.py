"""A handler's signature → the calls that give its parameters what they depend on, in order, before a request comes."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiorest_ws.exceptions import InvalidHandler

__all__ = ("Dependencies", "Depends", "Order", "Step", "dependency_of", "gathered", "named", "needs_of")

REQUEST = -1  # in place of the index of a step
PLAIN, GENERATOR, ASYNC, ASYNC_GENERATOR = range(4)


@dataclass(frozen=True, slots=True)
class Depends:
    """Says, in an annotation, what gives a parameter its value: `db: Annotated[Session, Depends(get_db)]`.

    call     a function (one that waits must be `async def`), a class or anything else that is called. It may take
             `request`, and have dependencies of its own. If it is a generator, the value is what it yields, and the
             rest is clean-up: it runs when the reply is rendered, and the exception of a failed handler is thrown in
    cache    call it once a request for all that depend on it; False: for this parameter alone
    """

    call: Any
    cache: bool = True


def dependency_of(annotation: Any) -> Depends | None:
    """Give the Depends of an annotation, None if it has none."""
    for mark in getattr(annotation, "__metadata__", ()):
        if isinstance(mark, Depends):
            return mark
    return None


def needs_of(function: Callable[..., Any], name: str) -> dict[str, Depends]:
    """Give what the parameters of `function` depend on; `name` is for what is wrong with them."""
    needs = {}
    for parameter in inspect.signature(function).parameters.values():
        depends = _depends(function, parameter, name)
        if depends is not None:
            needs[parameter.name] = depends
    return needs


def gathered(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Stand for a handler with dependencies, where it would be called with what was checked: give that."""
    return args, kwargs


class Step:
    """One call: what it gives is the value with the index of the step.

    takes    pairs of a parameter and the index of the step whose value it gets, or REQUEST
    kind     PLAIN, GENERATOR, ASYNC or ASYNC_GENERATOR
    """

    __slots__ = ("call", "kind", "name", "takes")

    def __init__(self, call: Callable[..., Any], takes: tuple[tuple[str, int], ...]) -> None:
        self.call = call
        self.takes = takes
        self.kind = _kind(call)
        self.name = named(call)

    def arguments(self, request: Any, values: list[Any]) -> dict[str, Any]:
        return {name: request if index == REQUEST else values[index] for name, index in self.takes}


class Order:
    """The steps for one handler, each after those that it needs.

    given    pairs of a parameter of the handler and the index of the step whose value it gets
    waits    one of the steps is asynchronous
    """

    __slots__ = ("given", "steps", "waits")

    def __init__(self, handler: str, needs: Mapping[str, Depends], overrides: Mapping[Any, Any]) -> None:
        planner = _Planner(handler, overrides)
        self.given = tuple((name, planner.add(name, depends)) for name, depends in needs.items())
        self.steps = tuple(planner.steps)
        self.waits = any(step.kind in (ASYNC, ASYNC_GENERATOR) for step in self.steps)


class Dependencies:
    """What one handler depends on, and how it is called with it.

    function      the handler: called as function(*args, **kwargs) with what `gathered` gave, and the values
    order         of the steps, as long as nothing is overridden
    positions     of the values that stand before the last path parameter, by name, counted from the first one
    parameters    number of path parameters
    is_async      the handler is `async def`, whatever stands around it
    threaded      the handler, and what it depends on and is not asynchronous, is called in a thread
    """

    def __init__(
        self,
        function: Callable[..., Any],
        needs: dict[str, Depends],
        *,
        handler: str,
        positions: Mapping[str, int],
        parameters: int,
        is_async: bool,
        threaded: bool,
    ) -> None:
        self.function = function
        self.parameters = parameters
        self.positions = dict(positions)
        self.threaded = threaded
        self.is_async = is_async
        self.order = Order(handler, needs, {})
        self._handler = handler
        self._needs = needs
        self._overridden: tuple[dict[Any, Any], Order] = ({}, self.order)

    def overridden(self, overrides: Mapping[Any, Any]) -> Order:
        """Give the order with `overrides` in place of what they override; worked out when they change."""
        seen, order = self._overridden
        if seen != overrides:
            try:
                order = Order(self._handler, self._needs, overrides)
            except InvalidHandler as exc:
                raise TypeError(f"dependency_overrides: {exc}") from exc  # no fault of the client
            self._overridden = (dict(overrides), order)
        return order

    def arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], order: Order, values: list[Any]
    ) -> tuple[Iterable[Any], dict[str, Any]]:
        """Give what the handler is called with: `args` and `kwargs` of `gathered`, and `values`, each in its place."""
        for name, index in order.given:
            kwargs[name] = values[index]
        if not self.positions:
            return args, kwargs
        placed = list(args)
        first = len(args) - self.parameters
        for name, position in self.positions.items():
            placed.insert(first + position, kwargs.pop(name))
        return placed, kwargs


class _Planner:
    """Puts the dependencies of one handler into order, and raises InvalidHandler for what cannot be."""

    def __init__(self, handler: str, overrides: Mapping[Any, Any]) -> None:
        self.steps: list[Step] = []
        self._handler = handler
        self._overrides = overrides
        self._known: dict[Any, int] = {}
        self._around: list[Any] = []  # what is being worked out, the outermost first

    def add(self, parameter: str, depends: Depends) -> int:
        """Give the index of the step for `parameter` of the handler."""
        try:
            return self._step(depends)
        except InvalidHandler as exc:
            raise InvalidHandler(f"{self._handler} cannot get its parameter {parameter!r}: {exc.detail}") from exc

    def _step(self, depends: Depends) -> int:
        call = _replaced(depends.call, self._overrides)
        if not callable(call):
            raise InvalidHandler(f"Depends expects a callable, got {call!r}")
        if getattr(call, "__globals__", None) is vars(contextlib):
            raise InvalidHandler(
                f"{named(call)} is made a context manager by its decorator: leave that out, a generator will do"
            )
        if any(call is other for other in self._around):
            names = " → ".join(named(one) for one in (*self._around, call))
            raise InvalidHandler(f"dependencies go in a circle: {names}")
        key = _key(call)
        if depends.cache and key in self._known:
            return self._known[key]
        self._around.append(call)
        takes = tuple(self._takes(call))
        self._around.pop()
        self.steps.append(Step(call, takes))
        index = len(self.steps) - 1
        if depends.cache:
            self._known[key] = index
        return index

    def _takes(self, call: Callable[..., Any]) -> Iterable[tuple[str, int]]:
        for parameter in _parameters(call):
            depends = _depends(call, parameter, named(call))
            if depends is not None:
                yield parameter.name, self._step(depends)
            elif parameter.name == "request" and parameter.kind is not parameter.POSITIONAL_ONLY:
                yield parameter.name, REQUEST
            elif parameter.default is parameter.empty:
                raise InvalidHandler(
                    f"nothing provides parameter {parameter.name!r} of {named(call)}: expected `request`, "
                    "a default, or Annotated[…, Depends(…)]"
                )


def _parameters(call: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        found = inspect.signature(call).parameters.values()
    except (TypeError, ValueError) as exc:
        raise InvalidHandler(f"the parameters of {named(call)} cannot be known: {exc}") from exc
    return [p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _depends(function: Callable[..., Any], parameter: inspect.Parameter, name: str) -> Depends | None:
    """Give what `parameter` of `function` depends on, None if that is nothing."""
    if isinstance(parameter.default, Depends):
        raise InvalidHandler(
            f"parameter {parameter.name!r} of {name} has Depends as its default, expected it in the annotation: "
            f"{parameter.name}: Annotated[…, Depends(…)]"
        )
    annotation = parameter.annotation
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, _globals(function))
        except Exception as exc:
            if "Depends" not in annotation:
                return None  # what it may be is nothing that anybody asks for here
            raise InvalidHandler(
                f"annotation {annotation!r} of parameter {parameter.name!r} of {name} cannot be read: {exc}"
            ) from exc
    depends = dependency_of(annotation)
    if isinstance(annotation, Depends) or Depends in getattr(annotation, "__metadata__", ()):
        raise InvalidHandler(
            f"parameter {parameter.name!r} of {name} is annotated with {annotation!r}, "
            f"expected {parameter.name}: Annotated[…, Depends(…)]"
        )
    if depends is not None and parameter.kind is parameter.POSITIONAL_ONLY:
        raise InvalidHandler(f"parameter {parameter.name!r} of {name} is positional-only, and so cannot be provided")
    return depends


def _globals(function: Any) -> dict[str, Any]:
    """Give the names that annotations of `function` may mean."""
    function = inspect.unwrap(_called(function))
    if hasattr(function, "__globals__"):
        return function.__globals__  # type: ignore[no-any-return]
    return vars(sys.modules.get(getattr(function, "__module__", ""), sys))


def _called(call: Any) -> Any:
    """Give what is called in the end: a function or a class."""
    while isinstance(call, partial):
        call = call.func
    return call if isinstance(call, type) or inspect.isroutine(call) else type(call).__call__


def _kind(call: Callable[..., Any]) -> int:
    called = inspect.unwrap(_called(call))
    if inspect.isasyncgenfunction(called):
        return ASYNC_GENERATOR
    if inspect.isgeneratorfunction(called):
        return GENERATOR
    return ASYNC if inspect.iscoroutinefunction(called) else PLAIN


def _replaced(call: Any, overrides: Mapping[Any, Any]) -> Any:
    try:
        return overrides.get(call, call)
    except TypeError:
        return call  # not hashable, and so not among them


def _key(call: Any) -> Any:
    try:
        hash(call)
    except TypeError:
        return id(call)
    return call


def named(call: Any) -> str:
    return getattr(call, "__qualname__", None) or repr(call)
