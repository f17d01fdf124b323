"""A parameter as it was written → what its annotation means: names evaluated, aliases of every kind resolved."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field
from functools import partial
from typing import Any, ForwardRef, Literal, NewType, TypeVar, Union, get_args, get_origin

from aiorest_ws.callables.calls import layers_of

__all__ = (
    "Meaning",
    "Unreadable",
    "as_written",
    "defaults_of",
    "fields_of",
    "filled_in",
    "meaning_of",
    "meanings_in",
    "parameters_of",
)

_Space = tuple[dict[str, Any], Mapping[str, Any]]  # names, and others that come before them

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Unreadable(Exception):
    """What an annotation means cannot be known; the text says why."""


@dataclass(slots=True)
class Meaning:
    """What an annotation means.

    hint      the type, with nothing in it that is still to be evaluated; an alias of itself stays where it is
    marks     what `Annotated` says of it at the top level, the innermost first
    below     what `Annotated` says of its parts
    classes   that are in it
    """

    hint: Any = inspect.Parameter.empty
    marks: list[Any] = field(default_factory=list)
    below: list[Any] = field(default_factory=list)
    classes: list[type] = field(default_factory=list)


def parameters_of(function: Any, *, follow_wrapped: bool = False) -> list[inspect.Parameter]:
    """Give the parameters of `function`, its own or those of what it wraps; its annotations need not be resolvable."""
    options: dict[str, Any] = {}
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        options["annotation_format"] = Format.FORWARDREF
    return list(inspect.signature(function, follow_wrapped=follow_wrapped, **options).parameters.values())


def as_written(function: Any, parameter: inspect.Parameter) -> inspect.Parameter:
    """Give `parameter` of a decorator with its own annotation: `functools.wraps` puts those of what it wraps there.

    Raises Unreadable if that is lost: the source is not there to look it up, and what it wraps says nothing of it.
    """
    name = "__annotate__" if sys.version_info >= (3, 14) else "__annotations__"
    replaced = getattr(function, name, None)
    inside = getattr(function, "__wrapped__", None)
    if not isinstance(function, types.FunctionType) or replaced is None or replaced is not getattr(inside, name, None):
        return parameter
    written = _written(function)
    if written is not None:
        return parameter.replace(annotation=written.get(parameter.name, parameter.empty))
    if parameter.annotation is parameter.empty:
        raise Unreadable(
            "functools.wraps has put those of what it wraps in its place, expected "
            'wraps(function, assigned=("__name__", "__qualname__", "__doc__"))'
        )
    return parameter


def _written(function: types.FunctionType) -> dict[str, str] | None:
    """Give the annotations in the source of `function`, as text; None without a source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function.__code__)))
    except (OSError, SyntaxError):
        return None
    arguments = next(node.args for node in ast.walk(tree) if isinstance(node, _FUNCTIONS))
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return {one.arg: ast.unparse(one.annotation) for one in every if one.annotation is not None}


def meaning_of(function: Any, parameter: inspect.Parameter) -> Meaning:
    """Give what the annotation of `parameter` of `function` means, or raise Unreadable."""
    if type(parameter.annotation) is type:  # `str` and `int`, mostly
        return Meaning(parameter.annotation, classes=[parameter.annotation])
    meaning = _read(parameter.annotation, lambda: _spaces(function, parameter.name))
    origin = get_origin(function)
    if isinstance(meaning.hint, TypeVar) and origin is not None:
        given = dict(zip(origin.__parameters__, get_args(function), strict=False))
        if meaning.hint in given:
            return _read(given[meaning.hint], lambda: _spaces(function, parameter.name))
    return meaning


def fields_of(cls: type) -> Iterator[Meaning]:
    """Give what the annotations of the fields of `cls` mean, if its instances are made of fields; what can be read."""
    if not _is_made_of_fields(cls):
        return
    for known in getattr(cls, "__pydantic_fields__", {}).values():
        yield Meaning(known.annotation, marks=known.metadata)
    for base in cls.__mro__:
        for _, meaning in meanings_in(base):
            yield meaning


def defaults_of(cls: type) -> Iterator[Any]:
    """Give the defaults of the fields of `cls`, if its instances are made of fields."""
    for name in ("__dataclass_fields__", "__pydantic_fields__"):
        yield from (known.default for known in getattr(cls, name, {}).values())
    yield from getattr(cls, "__struct_defaults__", ())
    yield from (known.default for known in getattr(cls, "__attrs_attrs__", ()))
    yield from getattr(cls, "_field_defaults", {}).values()


def meanings_in(cls: type) -> Iterator[tuple[str, Meaning]]:
    """Give name and meaning of what is annotated in the body of `cls`; what can be read."""
    for name, annotation in _annotations(cls).items():
        try:
            yield name, _read(annotation, partial(_spaces_of_fields, cls))
        except Unreadable:
            continue  # whoever makes instances of it says so


def filled_in(cls: type) -> Iterator[Meaning]:
    """Give what `cls`, and its bases, put in the place of the type parameters of their bases; what can be read."""
    for base in cls.__mro__:
        for generic in vars(base).get("__orig_bases__", ()):
            for given in get_args(generic):
                try:
                    yield _read(given, partial(_spaces_of_fields, base))
                except Unreadable:
                    continue  # whoever uses it says so


def _read(annotation: Any, spaces: Callable[[], list[_Space]]) -> Meaning:
    reader = _Reader(spaces)
    try:
        hint = reader.read(annotation, reader.meaning.marks)
    except Exception as exc:  # an annotation is code of the user's own
        raise Unreadable(str(exc) or type(exc).__name__) from exc
    reader.meaning.hint = hint
    return reader.meaning


class _Reader:
    """Reads one annotation."""

    def __init__(self, spaces: Callable[[], list[_Space]]) -> None:
        self.meaning = Meaning()
        self._spaces = spaces
        self._around: list[Any] = []  # aliases that are being read

    def read(self, hint: Any, marks: list[Any]) -> Any:
        """Give `hint` with nothing left to evaluate; what `Annotated` says of it goes in front of `marks`."""
        if hint is None:
            return type(None)
        if isinstance(hint, (str, ForwardRef)):
            return self.read(self._evaluated(hint), marks)
        if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
            self.meaning.classes.append(hint)
            return hint
        if isinstance(hint, InitVar):
            return self.read(hint.type, marks)
        if isinstance(hint, NewType):
            self.read(hint.__supertype__, marks)
            return hint
        if isinstance(hint, TypeVar):
            return self._of_variable(hint)
        if get_origin(hint) is typing.Annotated:
            marks[:0] = hint.__metadata__
            inside = self.read(hint.__origin__, marks)
            return hint if inside is hint.__origin__ else typing.Annotated[(inside, *hint.__metadata__)]
        if _is_alias(hint):
            return self._of_alias(hint, marks)
        return self._of_parts(hint)

    def _of_alias(self, alias: Any, marks: list[Any]) -> Any:
        if alias in self._around:
            return alias
        self._around.append(alias)
        try:
            return self.read(_value_of(alias), marks)
        finally:
            self._around.pop()

    def _of_variable(self, variable: TypeVar) -> Any:
        for part in (variable.__bound__, *variable.__constraints__, getattr(variable, "__default__", None)):
            if part is not None:
                self.read(part, self.meaning.below)
        return variable

    def _of_parts(self, hint: Any) -> Any:
        origin, parts = get_origin(hint), get_args(hint)
        if origin is Literal or not parts:
            return hint
        if isinstance(origin, type):
            self.meaning.classes.append(origin)
        seen = tuple(self._part(part) for part in parts)
        if all(new is old for new, old in zip(seen, parts, strict=True)):
            return hint
        if origin in (Union, types.UnionType):
            return Union[seen]  # noqa: UP007
        return types.GenericAlias(origin, seen) if isinstance(hint, types.GenericAlias) else hint.copy_with(seen)

    def _part(self, part: Any) -> Any:
        if isinstance(part, list):  # of the parameters of a Callable
            for one in part:
                self._part(one)
            return part
        return self.read(part, self.meaning.below)

    def _evaluated(self, hint: Any) -> Any:
        text = hint if isinstance(hint, str) else hint.__forward_arg__
        missing: NameError | None = None
        for around, inside in self._spaces():
            try:
                return eval(text, around, inside)
            except NameError as exc:
                missing = missing or exc
        raise missing or NameError(f"name {text!r} is not defined")


# Aliases


def _is_alias(hint: Any) -> bool:
    """Tell whether `hint` is a `type` of PEP 695, typing's or that of typing_extensions, or one with its arguments."""
    origin = get_origin(hint)
    return type(hint if origin is None else origin).__name__ == "TypeAliasType"


def _value_of(alias: Any) -> Any:
    """Give what `alias` stands for, its arguments in the place of its parameters."""
    origin = get_origin(alias)
    if origin is None:
        return alias.__value__
    value, parameters, given = origin.__value__, origin.__type_params__, get_args(alias)
    wanted = (value,) if isinstance(value, TypeVar) else getattr(value, "__parameters__", ())
    if not wanted:
        return value
    if any(not isinstance(parameter, TypeVar) for parameter in parameters):
        return value[given]
    meant = dict(zip(parameters, given, strict=False))
    meant |= {p: p.__default__ for p in parameters if p not in meant and hasattr(p, "__default__")}
    if isinstance(value, TypeVar):
        return meant[value]
    return value[tuple(meant[variable] for variable in wanted)]


# Where the names of an annotation are looked up


def _spaces(function: Any, name: str) -> list[_Space]:
    """Give where a name in the annotation of the parameter `name` of `function` may be found, the nearest first."""
    spaces: list[_Space] = []
    for layer in reversed(layers_of(function)):
        if isinstance(layer, type):
            spaces += _spaces_of_class(layer, name)
            continue
        layer = getattr(layer, "__func__", layer)
        if hasattr(layer, "__globals__"):
            spaces.append((layer.__globals__, _closed_over(layer)))
        elif hasattr(layer, "__module__"):
            spaces.append((_module(layer.__module__), {}))
    return spaces


def _spaces_of_class(cls: type, name: str) -> Iterator[_Space]:
    if _is_made_of_fields(cls):
        yield from (_space_of_class(base) for base in cls.__mro__ if name in _annotations(base))
    for owner, called in ((type(cls), "__call__"), (cls, "__new__"), (cls, "__init__")):
        method: Any = getattr(owner, called)
        if hasattr(method, "__globals__"):
            yield method.__globals__, _closed_over(method)
    yield _space_of_class(cls)


def _spaces_of_fields(base: type) -> list[_Space]:
    return [_space_of_class(base)]


def _space_of_class(cls: type) -> _Space:
    # As `typing.get_type_hints` does: a field that is named like its type hides it from nobody.
    return dict(vars(cls)), _module(cls.__module__) | {p.__name__: p for p in getattr(cls, "__type_params__", ())}


def _module(name: Any) -> dict[str, Any]:
    return vars(sys.modules[name]) if name in sys.modules else {}


def _closed_over(function: Any) -> dict[str, Any]:
    """Give the names that `function` has of the functions around it, and of its own type parameters."""
    names = {p.__name__: p for p in getattr(function, "__type_params__", ())}
    code = getattr(function, "__code__", None)
    for name, cell in zip(getattr(code, "co_freevars", ()), getattr(function, "__closure__", None) or (), strict=True):
        try:
            names[name] = cell.cell_contents
        except ValueError:
            pass  # not filled yet
    return names


# Classes whose instances are made of fields


def _is_made_of_fields(cls: type) -> bool:
    names = (
        "__dataclass_fields__",
        "__struct_fields__",
        "__attrs_attrs__",
        "__pydantic_fields__",
        "__total__",
        "_fields",
    )
    return any(hasattr(cls, name) for name in names)


def _annotations(cls: type) -> Mapping[str, Any]:
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations

        return get_annotations(cls, format=Format.FORWARDREF)
    return inspect.get_annotations(cls)
