"""A handler → what may come in `args` of its requests; `args` → its keyword arguments, or what does not fit."""

from __future__ import annotations

from collections.abc import Callable, Collection
from inspect import Parameter
from traceback import walk_tb
from typing import Any

from aiorest_ws.callables.annotations import parameters_of
from aiorest_ws.callables.arguments import misplaced
from aiorest_ws.callables.calls import innermost, layers_of, named
from aiorest_ws.dependencies.depends import needs_of
from aiorest_ws.dependencies.order import fresh_of
from aiorest_ws.exceptions import IncorrectArgument, InvalidHandler

__all__ = ("Signature",)


class Signature:
    """Checks `args` of a request against the signature of a handler.

    names        what `args` may give; if it is `open`, anything else too
    required     what it must give
    taken        parameters that get their value from elsewhere: the path, or a dependency
    needs        what its parameters depend on: they are neither in `args` nor in the path
    fresh        what makes a copy of each default that could change
    positions    of those that stand before its last path parameter, counted from the first one
    innermost    the handler without its decorators
    behind       the signature of that, None without decorators and for one that calls it with other arguments
    """

    __slots__ = (
        *(
            "behind",
            "fresh",
            "given",
            "handler",
            "innermost",
            "names",
            "needs",
            "open",
            "positions",
            "required",
            "taken",
        ),
        "takes_format",
    )

    def __init__(self, handler: Callable[..., Any], given: int, parameters: int) -> None:
        """`given` arguments come before the `parameters` path parameters."""
        self.handler = handler
        self.given = given
        self.names: set[str] = set()
        self.taken: set[str] = set()
        self.required: list[str] = []
        self.fresh: dict[str, Callable[[], Any]] = {}
        self.open = False
        self.behind: Signature | None = None
        self.innermost = innermost(handler)
        self.needs = needs_of(handler, named(self.innermost), given)
        if self.innermost is not handler:
            if _passes_on(handler, given, self.innermost, given + parameters):
                _check_order(self.innermost, given, self.needs)
            try:
                self.behind = Signature(self.innermost, given, parameters)
            except InvalidHandler:
                pass  # the decorator gives it other arguments than it gets itself
        self._read(handler, given + parameters, parameters)
        self.positions: dict[str, int] = {}
        if self.needs:
            self.positions = _positions(handler, given, given + parameters, self.needs, inside=self.behind is not None)
        if self.open and self.behind is not None:
            self.fresh |= {n: copy for n, copy in self.behind.fresh.items() if not _gives(handler, n)}
        passed_on = self.open and (self.behind is None or self.behind.takes_format)
        self.takes_format: bool = "format" in self.names or passed_on

    def _read(self, handler: Callable[..., Any], positional: int, parameters: int) -> None:
        _check_order(handler, self.given, self.needs)
        left = positional
        takes_any = False
        parameters_found = parameters_of(handler)
        own = {parameter.name for parameter in parameters_found}
        for parameter in parameters_found:
            arg = misplaced(parameter.default)
            if arg is not None:
                raise InvalidHandler(
                    f"parameter {parameter.name!r} of {named(handler)} has its name on the wire in its default: "
                    f"expected {parameter.name}: Annotated[…, {arg!r}]"
                )
            if parameter.name in self.needs:
                continue
            if parameter.kind is parameter.VAR_KEYWORD:
                self.open = True
            elif parameter.kind is parameter.VAR_POSITIONAL:
                takes_any = True
            elif left and parameter.kind is not parameter.KEYWORD_ONLY:
                left -= 1
                if parameter.kind is not parameter.POSITIONAL_ONLY:
                    self.taken.add(parameter.name)
            elif parameter.kind is parameter.POSITIONAL_ONLY:
                if parameter.default is parameter.empty:
                    raise InvalidHandler(
                        f"positional-only parameter {parameter.name!r} of {named(handler)} gets no value from the path"
                    )
            else:
                self.names.add(parameter.name)
                if parameter.default is parameter.empty:
                    self.required.append(parameter.name)
                elif (copy := fresh_of(parameter, named(handler))) is not None:
                    self.fresh[parameter.name] = copy
        self.taken.update(self.needs)
        hidden = [] if self.open else [n for n in self.needs if n not in own and not takes_any]
        if hidden:
            raise InvalidHandler(f"{named(handler)} has a decorator that does not take its parameter {hidden[0]!r}")
        if left and not takes_any:
            if left > parameters:
                first = "`request`" if positional - parameters == 1 else "`self` and `request`"
                raise InvalidHandler(f"{named(handler)} must take {first} first")
            raise InvalidHandler(
                f"{named(handler)} takes {parameters - left} path parameters, its path has {parameters}"
                f"{self._of_request(parameters_found)}"
            )

    def _of_request(self, parameters: Collection[Parameter]) -> str:
        """Say as what `request` comes, if not under its name: it may have been forgotten."""
        name = [parameter.name for parameter in parameters if parameter.name not in self.needs][self.given - 1]
        return "" if name == "request" else f": it must take `request` first, which comes as its parameter {name!r}"

    def leave_out(self, name: str) -> None:
        """Take `name` for no argument: somebody else gives that parameter its value."""
        self.names.discard(name)
        if name in self.required:
            self.required.remove(name)
        if self.behind is not None:
            self.behind.leave_out(name)

    def __call__(self, args: Any) -> dict[str, Any]:
        """Give the keyword arguments in `args`, or raise IncorrectArgument naming the one that does not fit."""
        if args is None:
            args = {}
        if not isinstance(args, dict):
            raise IncorrectArgument("`args` must be an object")
        kwargs: dict[str, Any] = args if type(args) is dict else dict(args)
        if "format" in kwargs and not self.takes_format:
            kwargs = {name: value for name, value in kwargs.items() if name != "format"}
        for name in kwargs:
            if name in self.taken:
                if name in self.needs:
                    raise IncorrectArgument(f"unexpected argument `{name:.100}`")
                raise IncorrectArgument(f"argument `{name:.100}` is already given by the url")
            if not self.open and name not in self.names:
                raise IncorrectArgument(f"unexpected argument `{name:.100}`")
        for name in self.required:
            if name not in kwargs:
                lacking = IncorrectArgument(f"missing argument `{name}`")
                lacking.missing = name
                raise lacking
        return self.completed(kwargs) if self.fresh else kwargs

    def completed(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Give `kwargs` with a default of its own for each that could change and is not among them."""
        return {name: copy() for name, copy in self.fresh.items() if name not in kwargs} | kwargs

    def explain(self, args: Any, exc: BaseException) -> IncorrectArgument | None:
        """Tell whether `args` caused `exc`, a TypeError: did they not fit the handler behind a decorator?"""
        if self.behind is None or not str(exc).startswith(f"{named(self.innermost)}() "):
            return None
        code = getattr(layers_of(self.innermost)[-1], "__code__", None)
        if any(frame.f_code is code for frame, _ in walk_tb(exc.__traceback__)):
            return None
        try:
            self.behind(args)
        except IncorrectArgument as misfit:
            return misfit
        return None


def _positions(handler: Any, given: int, left: int, needs: Collection[str], *, inside: bool) -> dict[str, int]:
    """Give where `needs` stand that come before the last of `left` arguments, counted from the first path parameter.

    `inside`: those that `handler` does not name itself it passes on, to where they stand in what it wraps.
    """
    wrapped = getattr(handler, "__wrapped__", None) if inside else None
    passed = {} if wrapped is None else _positions(wrapped, given, left, needs, inside=True)
    own: dict[str, int] = {}
    for at, parameter in enumerate(parameters_of(handler)):
        passed.pop(parameter.name, None)
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            continue
        if parameter.name not in needs:
            left -= 1
        elif left > 0:
            own[parameter.name] = at - given
    return passed | own


def _gives(decorator: Any, name: str) -> bool:
    """Tell whether `decorator` has a say in the argument `name` of what it wraps: its code names it."""
    code = getattr(decorator, "__code__", None)
    found = getattr(code, "co_consts", ())
    return name in found or any(isinstance(one, tuple) and name in one for one in found)


def _check_order(handler: Any, given: int, needs: Collection[str]) -> None:
    """Refuse a handler to which `request` would come as something else: arguments bind by position."""
    names = [parameter.name for parameter in parameters_of(handler) if parameter.name not in needs]
    if "request" in (*names[: given - 1], *names[given:]) or "data" in names[given - 1 : given]:
        first = "`request`" if given == 1 else "`self` and `request`"
        raise InvalidHandler(f"{named(handler)} must take {first} first, its parameters are {', '.join(names)}")


def _passes_on(decorator: Any, given: int, handler: Any, positional: int) -> bool:
    """Tell whether `decorator` takes any arguments, and `handler` no more than come: then it adds none of its own."""
    own = [parameter for parameter in parameters_of(decorator) if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    needed = [
        parameter
        for parameter in parameters_of(handler)
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is parameter.empty
    ]
    return len(own) < given and len(needed) <= positional
