"""A handler's signature → the calls that give its parameters what they depend on, in order, before a request comes."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from inspect import isabstract
from typing import Annotated, Any, Literal, Union, get_origin

from aiorest_ws.callables.annotations import parameters_of
from aiorest_ws.callables.calls import may_wait, named
from aiorest_ws.callables.defaults import fresh
from aiorest_ws.callables.markers import is_marker
from aiorest_ws.dependencies.depends import MANY, Chain, Depends, chain_of, check_filled
from aiorest_ws.exceptions import InvalidHandler

__all__ = ("REQUEST", "Order", "Step", "effects_of", "fresh_of", "gathered")

REQUEST = -1  # in place of the index of a step


def effects_of(dependencies: Sequence[Depends], whose: str) -> Chain:
    """Give what runs before a handler for its effect alone, or raise TypeError or InvalidHandler.

    dependencies    what was given as `dependencies` of `whose`
    """
    if not isinstance(dependencies, (list, tuple)):
        raise TypeError(f"dependencies of {whose} must be a list of Depends(…), got {dependencies!r}")
    for depends in dependencies:
        if not isinstance(depends, Depends):
            of = f" of {type(depends).__module__}" if type(depends).__name__ == "Depends" else ""
            cure = f": did you mean Depends({named(depends)})?" if callable(depends) else ""
            raise TypeError(f"dependencies of {whose} must be a list of Depends(…), got {depends!r}{of} in it{cure}")
    effects = tuple(dependencies)
    Order(whose, effects, {}, {})  # now, where it is said who has them
    return effects


def fresh_of(parameter: inspect.Parameter, name: str) -> Callable[[], Any] | None:
    """Give what makes the default of `parameter` anew for each request, None if it cannot change."""
    if parameter.default is parameter.empty:
        return None
    try:
        return fresh(parameter.default)
    except TypeError as exc:
        raise InvalidHandler(f"default {parameter.default!r} of parameter {parameter.name!r} of {name}: {exc}") from exc


def gathered(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Stand for a handler with dependencies, where it would be called with what was checked: give that."""
    return args, kwargs


class Step:
    """One call: what it gives is the value with the index of the step.

    takes    pairs of a parameter and the index of the step whose value it gets, or REQUEST
    fresh    what makes the default of a parameter anew for each request, by name
    alone    it takes nothing
    asks     it takes the request, as `request`, and nothing else
    waits    what it gives is expected to be asynchronous; what comes back tells whether it is
    """

    __slots__ = ("alone", "asks", "call", "fresh", "name", "takes", "waits")

    def __init__(
        self, call: Callable[..., Any], takes: tuple[tuple[str, int], ...], fresh: dict[str, Callable[[], Any]]
    ) -> None:
        self.call = call
        self.takes = takes
        self.fresh = fresh
        self.alone = not takes and not fresh
        self.asks = takes == (("request", REQUEST),) and not fresh
        self.waits = may_wait(call)
        self.name = named(call)

    def arguments(self, request: Any, values: list[Any]) -> dict[str, Any]:
        arguments = {name: request if index == REQUEST else values[index] for name, index in self.takes}
        if self.fresh:
            arguments |= {name: copy() for name, copy in self.fresh.items()}
        return arguments


class Order:
    """The steps for one handler, each after those that it needs: `effects`, and what its parameters need.

    given    pairs of a parameter of the handler and the index of the step whose value it gets
    waits    one of the steps is expected to be asynchronous
    """

    __slots__ = ("given", "steps", "waits")

    def __init__(self, handler: str, effects: Chain, needs: Mapping[str, Chain], overrides: Mapping[Any, Any]) -> None:
        planner = _Planner(handler, overrides)
        for depends in effects:
            planner.add_effect(depends)
        self.given = tuple((name, planner.add(name, chain)) for name, chain in needs.items())
        self.steps = tuple(planner.steps)
        self.waits = any(step.waits for step in self.steps)


class _Planner:
    """Puts the dependencies of one handler into order, and raises InvalidHandler for what cannot be."""

    def __init__(self, handler: str, overrides: Mapping[Any, Any]) -> None:
        self.steps: list[Step] = []
        self._handler = handler
        self._overrides = overrides
        self._known: dict[Any, int] = {}
        self._around: list[Any] = []  # what is being worked out, the outermost first

    def add(self, parameter: str, chain: Chain) -> int:
        """Give the index of the step for `parameter` of the handler."""
        try:
            return self._last_of(chain)
        except InvalidHandler as exc:
            raise InvalidHandler(f"{self._handler} cannot get its parameter {parameter!r}: {exc.detail}") from exc

    def add_effect(self, depends: Depends) -> None:
        try:
            self._step(depends)
        except InvalidHandler as exc:
            raise InvalidHandler(f"a dependency of {self._handler} cannot be: {exc.detail}") from exc

    def _last_of(self, chain: Chain) -> int:
        """Give the index of the step that gives the value; the others run before it."""
        return [self._step(depends) for depends in chain][-1]

    def _step(self, depends: Depends) -> int:
        call = _replaced(depends.call, self._overrides)
        if not callable(call) or get_origin(call) is Annotated:
            cure = "" if call is None else ": without its parentheses, as Depends(get_db)"
            if isinstance(call, type(depends)):
                cure = ": one Depends is enough"
            raise InvalidHandler(f"Depends expects a callable, got {call!r}{cure}")
        if is_marker(call):
            raise InvalidHandler(f"Depends expects a callable that gives the value, got {call!r}, which gives itself")
        _check_made(call)
        if getattr(_bare(call), "__globals__", None) is vars(contextlib):
            raise InvalidHandler(
                f"{named(_bare(call))} is made a context manager by its decorator: leave that out, a generator will do"
            )
        if _dispatches(call):
            raise InvalidHandler(
                f"{named(call)} chooses by its first positional argument (functools.singledispatch), and dependencies "
                "are called by name: a function that calls it will do"
            )
        key = _key(call)
        if any(key == _key(other) for other in self._around):
            names = " → ".join(named(one) for one in (*self._around, call))
            raise InvalidHandler(f"dependencies go in a circle: {names}")
        if depends.cache and key in self._known:
            return self._known[key]
        self._around.append(call)
        fresh: dict[str, Callable[[], Any]] = {}
        takes = tuple(self._takes(call, fresh))
        self._around.pop()
        self.steps.append(Step(call, takes, fresh))
        index = len(self.steps) - 1
        if depends.cache:
            self._known[key] = index
        return index

    def _takes(self, call: Callable[..., Any], fresh: dict[str, Callable[[], Any]]) -> Iterable[tuple[str, int]]:
        """Give what `call` takes; what makes its defaults anew goes into `fresh`."""
        for parameter in _parameters(call):
            chain = chain_of(call, parameter, named(call))
            if parameter.kind in MANY:
                continue
            if chain:
                yield parameter.name, self._last_of(chain)
            elif parameter.name == "request" and parameter.kind is not parameter.POSITIONAL_ONLY:
                yield parameter.name, REQUEST
            elif parameter.default is parameter.empty:
                raise InvalidHandler(
                    f"nothing provides parameter {parameter.name!r} of {named(call)}: expected `request`, "
                    "a default, or Annotated[…, Depends(…)]"
                )
            elif (copy := fresh_of(parameter, named(call))) is not None:
                if parameter.kind is parameter.POSITIONAL_ONLY:
                    raise InvalidHandler(
                        f"parameter {parameter.name!r} of {named(call)} is positional-only, and so its default "
                        f"{parameter.default!r} would be shared by all requests"
                    )
                fresh[parameter.name] = copy


def _parameters(call: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return parameters_of(_signed(call), follow_wrapped=True)
    except (TypeError, ValueError) as exc:
        raise InvalidHandler(
            f"the parameters of {named(call)} cannot be known: {exc}; a function that calls it will do"
        ) from exc


def _bare(call: Any) -> Any:
    """Give what is behind the partials around `call`."""
    while isinstance(call, partial):
        call = call.func
    return call


def _dispatches(call: Any) -> bool:
    """Tell whether `call` comes of `singledispatch` or `singledispatchmethod`, and lacks what it would choose by."""
    while isinstance(call, partial) and not call.args:
        call = call.func
    return hasattr(call, "register") and getattr(call, "__globals__", None) is vars(functools)


def _check_made(call: Any) -> None:
    """Refuse a type of which there is no instance, and a class that hides a Depends from us."""
    cls = get_origin(_bare(call)) or _bare(call)
    is_class = isinstance(cls, type)
    if cls is Any or cls is Union or cls is Literal or (is_class and (isabstract(cls) or _is_protocol(cls))):
        raise InvalidHandler(f"Depends expects a callable that gives the value, got {call!r}, which cannot be made")
    if is_class:
        check_filled(cls)


def _is_protocol(cls: type) -> bool:
    return bool(getattr(cls, "_is_protocol", False))


def _signed(call: Any) -> Any:
    """Give what has the signature of `call`: a generic class with its arguments hides that of the class."""
    if isinstance(call, partial):
        return partial(_signed(call.func), *call.args, **call.keywords)
    return get_origin(call) or call


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
