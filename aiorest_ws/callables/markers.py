"""A mark in an annotation, or a default → whether somebody who is not here would have to read it, and what to do."""

from __future__ import annotations

import re
from typing import Any, get_origin

from aiorest_ws.callables.arguments import misplaced

__all__ = ("holds_marker", "is_injection", "is_marker", "wrong_default", "wrong_mark")

# Classes of other frameworks and injectors whose instances ask for a value, by name: they are never imported here.
_INJECTS = re.compile(
    r"depend|inject|provid|securit|autowire|fromdishka|fromcomponent|^closing$|^context$|^wired?$", re.IGNORECASE
)
_REQUEST_PARTS = frozenset(
    (
        *("Body", "Cookie", "File", "Form", "Header", "Param", "Params", "Path", "Query"),
        *("BodyKwarg", "HeaderKwarg", "ParameterKwarg"),
    )
)
# What stands for a default that the class itself makes, by root of the module and name.
_FACTORIES = frozenset(
    (
        *(("attr", "_Nothing"), ("dataclasses", "_HAS_DEFAULT_FACTORY_CLASS"), ("msgspec", "Factory")),
        ("pydantic", "_HAS_DEFAULT_FACTORY_CLASS"),
    )
)
_MARKERS = frozenset(("Closing", "Depends", "Inject", "Provide", "Security"))
_QUOTED = re.compile(rf"\b(?:{'|'.join(sorted(_MARKERS))})\(")
_FIELDS = frozenset(("Field", "FieldInfo", "ModelPrivateAttr", "_CountingAttr"))  # of what is no field here
# What says how the default of a field is made, by root of the module and name.
_FIELD_DEFAULTS = frozenset(
    (*(("attr", "Factory"), ("attr", "_CountingAttr")), *(("dataclasses", "Field"), ("msgspec", "Field")))
)
# Whose marks are read where values are checked, or by nobody but people.
_READ = frozenset(("aiorest_ws", "annotated_doc", "annotated_types", "msgspec", "pydantic", "pydantic_core"))

_PLAIN = frozenset((bool, bytes, dict, float, int, list, set, str, tuple))  # whose instances are known without more ado

_CURE = "what gives its value is Annotated[…, Depends(…)] of aiorest_ws"


def is_injection(mark: Any) -> bool:
    """Tell whether `mark` asks some framework or injector to call something."""
    return _INJECTS.search(_name(mark)) is not None


def is_marker(value: Any) -> bool:
    """Tell whether `value` is a marker, ours or another's; some can be called, and then give themselves."""
    return type(value).__name__ in _MARKERS


def holds_marker(mark: Any) -> bool:
    """Tell whether a marker is in `mark`: in a list, say, or quoted."""
    if isinstance(mark, str):
        return _QUOTED.search(mark) is not None
    parts = mark.values() if isinstance(mark, dict) else mark if isinstance(mark, (list, tuple, set, frozenset)) else ()
    return any(is_marker(part) or holds_marker(part) for part in parts)


def wrong_mark(mark: Any) -> str | None:
    """Tell what is wrong with `mark` in `Annotated`: somebody else's marker, or something that is to be called."""
    if is_injection(mark) or _name(mark) in _REQUEST_PARTS or holds_marker(mark):
        return f"{_shown(mark)}, which nobody reads here: {_CURE}"
    if _is_read(mark):
        return None
    if callable(mark):
        return f"{_shown(mark)}, which nobody calls: did you mean Depends({_called(mark)})?"
    if type(mark) is object:
        return f"{_shown(mark)}, which nobody reads here: {_CURE}"
    return None


def wrong_default(default: Any, hint: Any) -> str | None:
    """Tell what is wrong with `default` of a parameter that is annotated with `hint`: as `wrong_mark`."""
    arg = misplaced(default)
    if arg is not None:
        return f"{_shown(default)}, which has its name on the wire: expected Annotated[…, {arg!r}]"
    if hint is float and type(default) is int:
        return None
    parts = (hint, *getattr(hint, "__args__", ()))
    if any(part in type(default).__mro__ and part is not object for part in parts):
        return None  # whatever its class is called, it is what was asked for
    name = _name(default)
    if (_root(type(default)), name) in _FACTORIES:
        return None
    if (_root(type(default)), name) in _FIELD_DEFAULTS:
        return f"{_shown(default)}, which is for fields: expected the default itself, each request gets its own"
    if is_injection(default) or name in _REQUEST_PARTS or name in _FIELDS:
        return f"{_shown(default)}, which nobody reads here: {_CURE}"
    if callable(default) and not _says_callable(hint):
        return f"{_shown(default)}, which nobody calls: did you mean Annotated[…, Depends({_called(default)})]?"
    if default is not None and type(hint) is type and hint in _PLAIN:
        return f"{_shown(default)}, which is no `{hint.__name__}`"
    return None


def _says_callable(hint: Any) -> bool:
    """Tell whether `hint`, or one of its parts, is a type of what can be called."""
    origin = get_origin(hint) or hint
    if isinstance(origin, type) and any("__call__" in vars(base) for base in origin.__mro__):
        return True
    return any(_says_callable(part) for part in getattr(hint, "__args__", ()))


def _is_read(mark: Any) -> bool:
    if isinstance(mark, type):
        is_model = hasattr(mark, "model_fields")
        return _root(mark) in _READ or (hasattr(mark, "__get_pydantic_core_schema__") and not is_model)
    if hasattr(type(mark), "__get_pydantic_core_schema__"):
        return True
    return any(_root(base) in _READ for base in type(mark).__mro__)


def _root(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def _name(mark: Any) -> str:
    """Give the name of the class of `mark`, or its own if it is one: the call was forgotten."""
    return (mark if isinstance(mark, type) else type(mark)).__name__


def _called(mark: Any) -> str:
    return getattr(mark, "__qualname__", None) or repr(mark)


def _shown(mark: Any) -> str:
    if isinstance(mark, type):
        return f"the class {mark.__qualname__}"
    cls = type(mark)
    return (
        repr(mark)[:200] if cls.__module__ in ("builtins", "functools") else f"{repr(mark)[:200]} of {cls.__module__}"
    )
