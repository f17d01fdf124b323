"""A handler that takes whatever a client sends → the functions that it may pass that on to, and what they depend on.

A decorator without `functools.wraps`, a method that hides one of a base class, a helper that is given `**kwargs`: what
such a function depends on nobody gives to it, and a client could. Who is called is read from the code.
"""

from __future__ import annotations

import inspect
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping
from dis import get_instructions, opmap
from functools import partial
from types import CodeType, MemberDescriptorType, ModuleType
from typing import Any

from aiorest_ws.callables.calls import layers_of, named
from aiorest_ws.dependencies.depends import needs_by_name
from aiorest_ws.exceptions import InvalidHandler

__all__ = ("check_passed_on",)

_BUILT_IN = (None, "builtins")  # nobody depends on anything there
_CALLS_WITH_KEYWORDS = opmap["CALL_FUNCTION_EX"]


def check_passed_on(handler: Any, owner: type | None, needs: Collection[str]) -> None:
    """Raise InvalidHandler if `handler`, which is open, may give what a client sends in the place of a dependency.

    owner    the class that it is a method of; None for a function
    needs    what is a dependency of its own, and so never the client's
    """
    for passing, inner in _passing(handler, owner, set()):
        for need in needs_by_name(inner):
            if need not in needs:
                raise InvalidHandler(
                    f"{named(passing)} passes on what clients send to {named(inner)}, and a client could give the "
                    f"value of its dependency {need!r}: expected functools.wraps around it, or "
                    f"{need}: Annotated[…, Depends(…)] among the parameters of {named(passing)} itself"
                )


def _passing(call: Any, owner: type | None, seen: set[int]) -> Iterator[tuple[Any, Any]]:
    """Give who may pass keywords on, and to whom; those who take any of them pass them on in their turn."""
    for layer in layers_of(call):
        for inner in _called_by(layer, owner):
            if callable(inner) and id(inner) not in seen and getattr(inner, "__module__", None) not in _BUILT_IN:
                seen.add(id(inner))
                yield layer, inner
                if _takes_any(inner):
                    yield from _passing(inner, owner if _is_method(inner, owner) else None, seen)
        if not inspect.isroutine(layer) and not isinstance(layer, (type, partial)):
            owner = type(layer)  # the next layer is its `__call__`


def _takes_any(call: Any) -> bool:
    """Tell whether `call` takes any keywords; what is not written here is no wrapper of somebody's."""
    if isinstance(call, type):
        return False
    layers = (getattr(layer, "__func__", layer) for layer in layers_of(call))
    return any(code.co_flags & inspect.CO_VARKEYWORDS for layer in layers if (code := getattr(layer, "__code__", None)))


def _is_method(call: Any, owner: type | None) -> bool:
    bases = () if owner is None else owner.__mro__
    return any(call is getattr(found, "__func__", found) for base in bases for found in vars(base).values())


def _called_by(layer: Any, owner: Any) -> Iterator[Any]:
    """Give what `layer` may call with `**kwargs`: what it holds, and what its code names."""
    if isinstance(layer, partial):
        yield from (*layer.args, *layer.keywords.values())
        return
    itself = getattr(layer, "__self__", owner)
    function = getattr(layer, "__func__", layer)
    code = getattr(function, "__code__", None)
    if code is None:
        yield from _held_by(layer)
    elif any(_CALLS_WITH_KEYWORDS in part.co_code[::2] for part in _parts(code)):
        closed_over = _closed_over(function)
        yield from closed_over.values()
        known = ChainMap(closed_over, function.__globals__)
        for part in _parts(code):
            yield from _named_in(part, known, itself)


def _held_by(instance: Any) -> Iterator[Any]:
    yield from getattr(instance, "__dict__", {}).values()
    for descriptor in (value for cls in type(instance).__mro__ for value in vars(cls).values()):
        if isinstance(descriptor, MemberDescriptorType) and hasattr(instance, descriptor.__name__):
            yield getattr(instance, descriptor.__name__)  # a slot


def _parts(code: CodeType) -> Iterator[CodeType]:
    """Give `code`, and that of the functions inside."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)


def _closed_over(function: Any) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            names[name] = cell.cell_contents
        except ValueError:
            pass  # not filled yet
    return names


def _named_in(code: CodeType, known: Mapping[str, Any], itself: Any) -> Iterator[Any]:
    """Give what `code` names: variables, and attributes of them, of `self` (which is `itself`) and of `super()`."""
    first = code.co_varnames[0] if code.co_argcount else None
    held: Any = None  # what was loaded last
    for instruction in get_instructions(code):
        operation, name = instruction.opname, instruction.argval
        if operation in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF"):
            held = itself if name == "super" else known.get(name)
            yield held
        elif operation.startswith("LOAD_FAST"):
            held = itself if (name[-1] if isinstance(name, tuple) else name) == first else None
        elif operation == "LOAD_SUPER_ATTR":
            yield from _attributes(itself, name)
        elif operation in ("LOAD_ATTR", "LOAD_METHOD"):
            found = list(_attributes(held, name))
            yield from found
            held = found[0] if found else None


def _attributes(holder: Any, name: str) -> Iterator[Any]:
    """Give what `name` may be of `holder`: in a class, that of each of its bases, too."""
    if holder is None:
        return
    if not isinstance(holder, (type, ModuleType)):
        own = inspect.getattr_static(holder, name, None)
        yield own.__get__(holder) if isinstance(own, MemberDescriptorType) and hasattr(holder, name) else own
        holder = type(holder)
    if isinstance(holder, ModuleType):
        yield vars(holder).get(name)
        return
    for cls in holder.__mro__:
        found = vars(cls).get(name)
        yield getattr(found, "__func__", found)
