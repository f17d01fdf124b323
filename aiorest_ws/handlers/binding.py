"""A request and its path parameters → the arguments of an annotated handler, or all that is wrong with them.

What fits goes the short way: one call into msgspec for the path parameters, one for `args`, one for `data`. What does
not fit, and what the short way is too short for, goes parameter by parameter.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from msgspec import Struct, ValidationError, convert, field
from msgspec.structs import asdict, astuple

from aiorest_ws._speedups import texts_of
from aiorest_ws.callables.failures import ASTRAY
from aiorest_ws.exceptions import InvalidArguments, InvalidHandler
from aiorest_ws.handlers.bodies import BODY, is_body, is_container
from aiorest_ws.handlers.decimals import digits_of
from aiorest_ws.handlers.faults import MOST_FAULTS, Fault, fault, faults_of
from aiorest_ws.handlers.kinds import NoCheck, Unknown
from aiorest_ws.handlers.parameters import Asked, PathParameter
from aiorest_ws.handlers.signatures import Signature
from aiorest_ws.handlers.texts import TextCheck, Texts
from aiorest_ws.handlers.validation import Check, box_of, check_of, goes_plainly

__all__ = ("Binder", "ShortBinder", "make_binder")

Bound = tuple[tuple[Any, ...], dict[str, Any]]

_EMPTY = inspect.Parameter.empty
_AS_THEY_ARE = (type(None), bool, int, float, str, bytes)  # defaults that msgspec takes without a second thought


class Binder:
    """Binds parameter by parameter, and so finds what is wrong with each."""

    def __init__(
        self, signature: Signature, asked: Sequence[Asked], checks: Mapping[str, Check], wire: Mapping[str, str]
    ) -> None:
        """`checks` are those of `asked`, by name; `wire` has the names in `args` where they are others."""
        self.wire = wire
        self.parameters = {alias: name for name, alias in wire.items()}
        self.names = {wire.get(name, name) for name in signature.names}
        self.taken = signature.taken.difference(signature.needs)
        self.required = [wire.get(name, name) for name in signature.required]
        self.open = signature.open
        self.takes_format = signature.takes_format or "format" in self.names
        self.completed = signature.completed if signature.fresh else None
        self.path: list[tuple[int, str, Check]] = []
        self.checks: dict[str, Check] = {}
        self.hints: dict[str, Any] = {}  # of those
        self.text_checks: dict[str, TextCheck] = {}  # made when a request with a query comes
        self.body: Check | None = None
        self.has_default = False
        self.exact = any(check.exact for check in checks.values())
        self.bodies: set[str] = set()  # arguments that look like one
        self.containers: set[str] = set()  # and those that may be meant as one
        for parameter in asked:
            check = checks[parameter.name]
            if parameter.place is not None:
                self.path.append((parameter.place, parameter.name, check))
            elif parameter.name == "data":
                self.body, self.has_default = check, parameter.default is not _EMPTY
            else:
                name = wire.get(parameter.name, parameter.name)
                self.checks[name] = check
                self.hints[name] = parameter.hint
                if is_body(parameter.hint):
                    self.bodies.add(name)
                elif is_container(parameter.hint):
                    self.containers.add(name)

    def __call__(self, request: Any, params: tuple[Any, ...]) -> Bound:
        """Give path parameters and keyword arguments, or raise InvalidArguments with every fault that can be told."""
        faults: list[Fault] = []
        values = list(params)
        for place, name, check in self.path:
            values[place] = _checked(check, values[place], ["path", name], faults)
        args, data = request.args, request.data
        exact_args, exact_data = _exactly(request, args, data) if self.exact else (args, data)
        kwargs = self._arguments(args, exact_args, faults, data)
        if self.wire:
            kwargs = {self.parameters.get(name, name): value for name, value in kwargs.items()}
        if self.body is not None and not (data is None and self.has_default):
            kwargs["data"] = self._data(self.body, exact_data if self.body.exact else data, faults, args)
        if faults:
            raise InvalidArguments(faults[:MOST_FAULTS])
        return tuple(values), kwargs if self.completed is None else self.completed(kwargs)

    def _arguments(self, args: Any, exact: Any, faults: list[Fault], data: Any) -> dict[str, Any]:
        if args is None:
            args = {}
        if not isinstance(args, dict):
            faults.append(fault(["args"], "`args` must be an object"))
            return {}
        as_texts = isinstance(args, Texts)
        kwargs = {}
        for name, value in args.items():
            if name == "format" and not self.takes_format:
                continue
            if name in self.checks:
                check = self._text_check(name) if as_texts else self.checks[name]
                kwargs[name] = _checked(check, exact[name] if check.exact else value, ["args", name], faults)
            elif name in self.taken:
                faults.append(fault(["args", name], f"argument `{name:.100}` is already given by the url"))
            elif name in self.names or (self.open and self._is_free(name)):
                kwargs[name] = value
            else:
                faults.append(fault(["args", name], f"unexpected argument `{name:.100}`"))
            if len(faults) >= MOST_FAULTS:
                return kwargs
        for name in self.required:
            if name not in args:
                cure = self._cure(name, data)
                faults.append(fault(["args", name], f"missing argument `{name}`{cure}"))
        return kwargs

    def _cure(self, name: str, data: Any) -> str:
        """Say where the argument `name` is that is not in `args`, as far as that is to be seen."""
        if type(data) is dict and name in data:
            return ASTRAY
        is_body = name in self.bodies or (data is not None and self.body is None and name in self.containers)
        return f": {BODY}" if is_body else ""

    def _text_check(self, name: str) -> TextCheck:
        check = self.text_checks.get(name)
        if check is None:
            check = self.text_checks[name] = TextCheck(self.hints[name], self.checks[name])
        return check

    def _is_free(self, name: str) -> bool:
        """Tell whether `**kwargs` may have this name."""
        return name not in self.wire and (name != "data" or self.body is None)

    def _cure_of_data(self, args: Any) -> str:
        """Say where the body may be that is not in `data`: among `args` that no parameter takes."""
        if type(args) is not dict or self.open:
            return ""
        if "data" in args and "data" not in self.names:
            return ": `data` belongs beside `args`, not in it"
        astray = any(name not in self.names and name != "format" for name in args)
        return ": does what is unexpected in `args` belong in `data`?" if astray else ""

    def _data(self, check: Check, data: Any, faults: list[Fault], args: Any) -> Any:
        if data is not None:
            return _checked(check, data, ["data"], faults)
        wrong: list[Fault] = []
        checked = _checked(check, None, ["data"], wrong)
        if wrong:
            faults.append(fault(["data"], f"missing{self._cure_of_data(args)}"))
        return checked


def _exactly(request: Any, args: Any, data: Any) -> tuple[Any, Any]:
    """Give `args` and `data` with the digits of their numbers, as far as the text in which they came is known."""
    text, args_text, data_text = texts_of(request)
    try:
        if text is not None:
            envelope = digits_of(text)
            return envelope.get("args"), envelope.get("data")
        return (
            args if args_text is None else digits_of(args_text),
            data if data_text is None else digits_of(data_text),
        )
    except ValidationError as exc:
        raise InvalidArguments([fault([], str(exc))]) from None


def _checked(check: Check, value: Any, loc: list[Any], faults: list[Fault]) -> Any:
    try:
        return check(value)
    except Exception as exc:
        found = faults_of(exc, loc)
        if found is None:
            raise
        faults += found
    return None


class ShortBinder(Binder):
    """Binds with a call into msgspec for all path parameters, one for all of `args`, and one for `data`.

    PERF: a Struct costs 220 ns where a TypedDict costs 1,550, which msgspec works out anew with every call. A round
    trip of two integers in the path, three arguments and ten fields: bench/ratios.py.
    """

    def __init__(
        self,
        signature: Signature,
        asked: Sequence[Asked],
        checks: Mapping[str, Check],
        wire: Mapping[str, str],
        path: Sequence[PathParameter],
        defaults: Mapping[str, Any],
    ) -> None:
        """`path` are all path parameters, `defaults` those of the handler, `inspect.Parameter.empty` for none."""
        super().__init__(signature, asked, checks, wire)
        hints = {parameter.name: parameter.hint for parameter in asked if parameter.place is None}
        body = hints.pop("data", None)
        plain = isinstance(body, type) and issubclass(body, Struct) and goes_plainly(body)
        self.struct = body if plain else None
        fields = [
            _field(name, hints.get(name, Any), defaults[name], signature.fresh.get(name))
            for name in sorted(signature.names)
        ]
        renamed: Any = dict(wire) or None
        self.args = box_of(fields, forbid_unknown_fields=not self.open, rename=renamed)
        self.segments: Any = None
        if self.path:
            at = {parameter.place: parameter.hint for parameter in asked}
            places = [(f"_{place}", at.get(place, Any)) for place in range(len(path))]
            self.segments = box_of(places, array_like=True)

    def __call__(self, request: Any, params: tuple[Any, ...]) -> Bound:
        args = request.args
        if args is None:
            args = {}
        elif isinstance(args, Texts):
            return super().__call__(request, params)
        try:
            values = params
            if self.segments is not None:
                values = astuple(convert(params, self.segments, strict=False))
            kwargs = asdict(convert(args, self.args))
            if self.body is not None:
                data = request.data
                if data is None:
                    return super().__call__(request, params)
                kwargs["data"] = self.body(data) if self.struct is None else convert(data, self.struct)
        except Exception:  # whatever a validator of the user's raised: the slow way finds out what it is, and says so
            return super().__call__(request, params)
        if self.open and not self.names.issuperset(args):
            return super().__call__(request, params)
        return values, kwargs


def _field(name: str, hint: Any, default: Any, fresh: Callable[[], Any] | None) -> tuple[Any, ...]:
    """Give the field of a parameter; the default is not converted, and copied by `fresh` if it could change."""
    if default is _EMPTY:
        return (name, hint)
    if isinstance(default, _AS_THEY_ARE):
        return (name, hint, default)
    return (name, hint, field(default_factory=fresh or (lambda: default)))


def _misfit(check: Check, hint: Any, default: Any) -> str | None:
    """Tell why `default` is no value of `hint`; None if it is one, or stands for an absent one."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if default is _EMPTY or default is None or any(part in type(default).__mro__ for part in parts):
        return None
    try:
        made = check(default)
    except Exception as exc:
        return str(exc).partition("\n")[0]
    if isinstance(default, type(made)) or (type(default) is int and isinstance(made, float)):
        return None
    return f"Expected `{type(made).__name__}`, got `{type(default).__name__}`"


def make_binder(
    signature: Signature,
    path: Sequence[PathParameter],
    asked: Sequence[Asked],
    *,
    defaults: Mapping[str, Any],
    wire: Mapping[str, str],
    direct: bool,
    title: str,
) -> Binder | None:
    """Give the binder of `asked`, or raise InvalidHandler. `direct`: the handler is called with what is bound."""
    checks: dict[str, Check] = {}
    decorated = signature.innermost is not signature.handler
    for parameter in asked:
        try:
            made = parameter.place is not None and not parameter.lax
            checks[parameter.name] = check_of(parameter.hint, lax=parameter.lax, made=made)
        except NoCheck as exc:
            if decorated and isinstance(exc, Unknown):
                continue  # it is the decorator that gives such a thing
            which = f"annotation of parameter {parameter.name!r} of {title}"
            if isinstance(exc, Unknown):
                text = f"{BODY}, and {exc}; what does not come from there is Annotated[…, Depends(…)]"
                raise InvalidHandler(f"{which} cannot work: {text}") from exc
            raise InvalidHandler(f"{which} cannot work: {exc}") from exc
    asked = [parameter for parameter in asked if parameter.name in checks]
    for parameter in asked:
        misfit = _misfit(checks[parameter.name], parameter.hint, parameter.default)
        if misfit is not None:
            raise InvalidHandler(
                f"default {parameter.default!r} of parameter {parameter.name!r} of {title} does not fit its "
                f"annotation: {misfit}"
            )
    if not asked:
        return None
    is_short = all(_is_short(parameter, checks[parameter.name]) for parameter in asked)
    if direct and is_short and not any(map(_odd, wire.values())):
        return ShortBinder(signature, asked, checks, wire, path, defaults)
    return Binder(signature, asked, checks, wire)


_odd = re.compile(r'[\x00-\x1f"\\]').search  # what msgspec does not take in a name on the wire


def _is_short(parameter: Asked, check: Check) -> bool:
    """Tell whether `parameter` may be checked together with the others."""
    if parameter.place is None and parameter.name == "data":
        return not check.exact
    return (parameter.place is None or parameter.lax) and goes_plainly(parameter.hint, lax=parameter.lax)
