"""A view class and a verb → what it asks for: a user, permissions; or what is wrong with it.

A guard that somebody wrote and nobody would look at is refused: one that a base class hides, one on a method, one that
an instance gives itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partialmethod
from itertools import product
from types import CodeType
from typing import Any

from aiorest_ws.callables.calls import layers_of
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.permissions import check_permission
from aiorest_ws.views import AROUND, GUARDS

__all__ = ("check_marks", "guards_of")

# What runs when an instance is made, or is asked for an attribute.
_MAKERS = ("__init__", "__new__", "__getattr__", "__getattribute__")


def guards_of(view: type, functions: Iterable[Any]) -> tuple[bool, tuple[Any, ...]]:
    """Give `auth_required` and the permissions of `view`, or raise InvalidHandler; `functions` answer its requests."""
    required, permissions = _auth_required(view), _permissions(view)
    for name, effective in zip(GUARDS, (required, permissions), strict=True):
        _check_bases(view, name, effective)
    for name in AROUND:
        _check_bases(view, name, getattr(view, name))
    _check_annotations(view)
    for function in functions:
        check_marks(view, function)
    _check_instances(view)
    return required, permissions


def check_marks(view: Any, function: Any) -> None:
    """Refuse a guard that a decorator, say, has set on a function that answers requests."""
    for layer in layers_of(function.func if isinstance(function, partialmethod) else function):
        marks = getattr(layer, "__dict__", {})
        for name in GUARDS:
            if name in marks and not _covers(getattr(view, name), marks[name]):
                raise InvalidHandler(
                    f"{name} is set on {getattr(layer, '__qualname__', layer)}, where nobody looks at it: "
                    f"set it in view {view.__qualname__}, or give it to its decorator"
                )


def _auth_required(view: Any) -> bool:
    if type(view.auth_required) is not bool:
        raise InvalidHandler(
            f"auth_required of view {view.__qualname__} must be True or False, got {view.auth_required!r}"
        )
    return bool(view.auth_required)


def _permissions(view: Any) -> tuple[Any, ...]:
    permissions = view.permission_classes
    if not isinstance(permissions, (list, tuple)):
        raise InvalidHandler(
            f"permission_classes of view {view.__qualname__} must be a list or a tuple, got {permissions!r}"
        )
    for permission in permissions:
        try:
            check_permission(permission)
        except TypeError as exc:
            raise InvalidHandler(f"permission_classes of view {view.__qualname__}: {exc}") from exc
    return tuple(permissions)


def _check_bases(view: type, name: str, effective: Any) -> None:
    """Refuse what a base class asks for and another one hides. A subclass may say otherwise, that is meant."""
    owners = [cls for cls in view.__mro__ if name in vars(cls)]
    for cls in owners[1:]:
        if not issubclass(owners[0], cls) and not _covers(effective, vars(cls)[name]):
            raise InvalidHandler(
                f"{name} of {cls.__qualname__}, a base of view {view.__qualname__}, is hidden by that of "
                f"{owners[0].__qualname__}: name {cls.__qualname__} first, or say in the view what is meant"
            )


def _covers(effective: Any, asked: Any) -> bool:
    """Tell whether who asks for `effective` asks for `asked` too."""
    if isinstance(effective, bool):
        return effective or asked is False
    if not isinstance(asked, (list, tuple)):
        return False
    return all(part in effective for part in asked)


def _check_annotations(view: type) -> None:
    """Refuse `auth_required: True`, with a colon where an equals sign is meant."""
    for cls in filter(_is_foreign, view.__mro__):
        said = vars(cls).get("__annotations__", {})  # Python 3.14 has none before they are asked for
        for name in (*GUARDS, *AROUND):
            if name in said and name not in vars(cls) and _is_value(said[name]):
                raise InvalidHandler(
                    f"{name} of {cls.__qualname__} is annotated with {said[name]!r}, which sets nothing: "
                    f"expected {name} = …"
                )


def _is_value(annotation: Any) -> bool:
    """Tell whether `annotation` is no type, but a value; it may be text."""
    if isinstance(annotation, str):
        return annotation in ("True", "False") or annotation[:1] in ("[", "(")
    return isinstance(annotation, (bool, list, tuple))


def _check_instances(view: Any) -> None:
    """Refuse what an instance gives itself: what counts is known before there is one."""
    makers = [
        (name, vars(cls)[name]) for cls in view.__mro__ if _is_foreign(cls) for name in _MAKERS if name in vars(cls)
    ]
    for maker, guard in product(makers, GUARDS):
        if _mentions(maker[1], guard, view, set()):
            raise InvalidHandler(
                f"{maker[0]} of view {view.__qualname__} gives its instances {guard!r}, where nobody looks at it: "
                "set it in the class"
            )


def _is_foreign(cls: type) -> bool:
    return cls is not object and cls.__module__.partition(".")[0] != __package__


def _mentions(function: Any, name: str, view: Any, seen: set[Any]) -> bool:
    """Tell whether `function`, or a method that it calls, has to do with `name`."""
    words = _words(function) - {verb.lower() for verb in view.methods} - seen
    seen |= words
    return name in words or any(_mentions(getattr(view, word, None), name, view, seen) for word in words)


def _words(function: Any) -> set[str]:
    """Give the names and the strings in the code of `function`."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    words: set[str] = set()
    left = [code]
    for part in left:
        if isinstance(part, str):
            words.add(part)
        elif isinstance(part, (tuple, frozenset)):
            left.extend(part)
        elif isinstance(part, CodeType):
            left.extend((part.co_names, part.co_consts))
    return words
