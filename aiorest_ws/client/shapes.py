"""What came as `data`, and the `type=` that was asked for → a value of it, or where in the data it does not fit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any, get_args, get_origin

from aiorest_ws.client.errors import UnexpectedReply

__all__ = ("fitted", "item_of")

_LISTS = (list, set, frozenset, Sequence, Collection, Iterable)
_PLAIN = (str, int, float, bool, type(None))
_NEEDS_MSGSPEC = "type= needs msgspec: pip install 'aiorest-ws[client,typed]>=2'"


def fitted(data: Any, hint: Any) -> Any:
    """Give `data` as a `hint`. Raises UnexpectedReply with the place in it that does not fit."""
    if hint is None or hint is Any:
        return data
    try:
        fit = _fit_of(hint)
    except TypeError:  # not hashable, as Annotated[int, […]]
        fit = _make_fit(hint)
    return fit(data)


def item_of(hint: Any) -> Any:
    """Give the type of an item of `hint`: of `list[Order]` it is Order; None where it says nothing of that."""
    args = get_args(hint)
    if get_origin(hint) in _LISTS and len(args) == 1:
        return args[0]
    if get_origin(hint) is tuple and len(args) == 2 and args[1] is ...:
        return args[0]
    return None


def _make_fit(hint: Any) -> Callable[[Any], Any]:
    return _fit_of_pydantic(hint) if _has_pydantic(hint) else _fit_of_msgspec(hint)


_fit_of = lru_cache(maxsize=512)(_make_fit)


def _has_pydantic(hint: Any) -> bool:
    """Tell whether `hint` is a model of pydantic, or has one in its arguments."""
    if "pydantic" not in sys.modules:
        return False
    return hasattr(hint, "__pydantic_validator__") or any(_has_pydantic(part) for part in get_args(hint))


def _fit_of_pydantic(hint: Any) -> Callable[[Any], Any]:
    from pydantic import TypeAdapter, ValidationError

    adapter: TypeAdapter[Any] = TypeAdapter(hint)

    def fit(data: Any) -> Any:
        try:
            return adapter.validate_python(data)
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
            raise _misfit(hint, f"{first['msg']} - at `${place}`", data) from None

    return fit


def _fit_of_msgspec(hint: Any) -> Callable[[Any], Any]:
    try:
        import msgspec
    except ImportError:
        if hint in _PLAIN:
            return lambda data: _plain(data, hint)
        raise ImportError(_NEEDS_MSGSPEC) from None

    def fit(data: Any) -> Any:
        try:
            return msgspec.convert(data, hint, str_keys=True)
        except msgspec.ValidationError as exc:
            text = str(exc)
            raise _misfit(hint, text if " - at `$" in text else f"{text} - at `$`", data) from None

    return fit


def _plain(data: Any, hint: Any) -> Any:
    if type(data) is hint or (hint is float and type(data) is int) or data is hint:
        return data
    raise _misfit(hint, f"Expected `{hint.__name__}`, got `{type(data).__name__}` - at `$`", data)


def _misfit(hint: Any, text: str, data: Any) -> UnexpectedReply:
    name = getattr(hint, "__name__", None) if get_origin(hint) is None else None
    return UnexpectedReply(f"the reply is no {name or hint}: {text}", data)
