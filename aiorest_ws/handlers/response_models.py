"""What a handler returns → what of it belongs to the `response_model` of its view."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from functools import partial, wraps
from types import GenericAlias
from typing import Any, get_args, get_origin

from aiorest_ws._speedups import Response
from aiorest_ws._speedups.unsendable import AWAIT, unsendable, why_not
from aiorest_ws._speedups.values import SERIES, is_pydantics, is_read_from_text, is_sent, members_of, simpler
from aiorest_ws.callables.calls import finished, is_awaitable
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.handlers.parameters import NEEDS_MSGSPEC

__all__ = ("answering", "shape_of")

Shape = Callable[[Any], Any]


def answering(function: Callable[..., Any], model: Any, view: str, *, status: int = 200) -> Callable[..., Any]:
    """Give `function` with what it returns, or has awaited, as `model` has it, and with `status` if it says no other.

    It is `function` itself where there is nothing to do. Raises InvalidHandler for what cannot be said of `view`.
    """
    if type(status) is not int or not 200 <= status <= 299:
        raise InvalidHandler(f"status of view {view} must be an integer from 200 to 299, got {status!r:.100}")
    shape = None if model is None else _shape_of(model, view)
    if shape is None and status == 200:
        return function

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return _later(result, shape, status) if is_awaitable(result) else _answer(result, shape, status)

    return call


async def _later(pending: Any, shape: Shape | None, status: int) -> Any:
    return _answer(await finished(pending), shape, status)


def _answer(result: Any, shape: Shape | None, status: int) -> Any:
    shaped = result if shape is None else _shaped(result, shape)
    return shaped if status == 200 or isinstance(shaped, Response) else Response(shaped, status=status)


def _shaped(result: Any, shape: Shape) -> Any:
    if isinstance(result, Response):
        if "data" in result.content:
            result.content = _shaped(result.content["data"], shape)
        return result
    try:
        return shape(result)
    except Exception as exc:
        error = unsendable(None, exc, _misfit(result, exc))
    raise error


def _misfit(result: Any, exc: Exception) -> str:
    from aiorest_ws.handlers.faults import faults_of

    why = why_not(result)
    if why.startswith(AWAIT) or isinstance(result, (Iterator, AsyncIterator)):
        return why
    faults = faults_of(exc, []) or []
    return "; ".join(f"{_place(fault['loc'])} does not fit response_model: {fault['msg']}" for fault in faults[:3])


def _place(steps: list[Any]) -> str:
    return f"`{'.'.join(map(str, steps))}`" if steps else "the result"


def shape_of(model: Any, view: str, *, is_item: bool) -> Shape | None:
    """Give what makes of a value that is published what `model` says, as of a handler's; None without a model.

    is_item    the value is one of a list that `model` is the type of
    """
    if model is None:
        return None
    if is_item:
        if get_origin(model) not in (list, Sequence) or len(get_args(model)) != 1:
            raise InvalidHandler(f"response_model of view {view}, a log, must be list[…], got {model!r:.200}")
        model = get_args(model)[0]
    return partial(_shaped, shape=_shape_of(model, view))


def _shape_of(model: Any, view: str) -> Shape:
    try:
        from aiorest_ws.handlers import validation as checks
    except ModuleNotFoundError as exc:
        if exc.name != "msgspec":
            raise
        raise InvalidHandler(f"response_model of view {view} {NEEDS_MSGSPEC}") from None
    try:
        model = Any if model is object else model
        return _of_pydantic(model) if checks.is_pydantic(model) else _of_msgspec(model)
    except Exception as exc:
        raise InvalidHandler(f"response_model of view {view} cannot work: {str(exc).partition(chr(10))[0]}") from exc


def _of_pydantic(model: Any) -> Shape:
    from aiorest_ws.handlers.validation import adapter_of

    adapter = adapter_of(model)
    _refuse_unsent_of_pydantic(adapter.core_schema)

    def shape(result: Any) -> Any:
        seen = adapter.validate_python(result, from_attributes=True)
        return adapter.dump_python(seen, mode="json", by_alias=True)

    return shape


def _refuse_unsent_of_pydantic(schema: Any) -> None:
    """Raise TypeError for a field that has to be sent and never can be."""
    todo = [schema]
    while todo:
        node = todo.pop()
        if isinstance(node, (list, tuple)):
            todo += node
        if not isinstance(node, dict) or "serialization" in node or node.get("serialization_exclude"):
            continue
        kind = node.get("type")
        if kind == "callable" or (kind == "is-instance" and not is_sent(node["cls"])):
            raise TypeError(f"a {_named(node['cls']) if 'cls' in node else 'function'} cannot be sent")
        if kind not in ("union", "nullable"):  # which may have something else
            todo += node.values()


def _of_msgspec(model: Any) -> Shape:
    from msgspec import convert
    from msgspec.inspect import CustomType

    from aiorest_ws.handlers.kinds import infos_of, is_flag
    from aiorest_ws.handlers.validation import box_of

    infos = infos_of(model)
    _refuse_unsent(infos)
    box = box_of([("value", model)], dec_hook=_fitting)
    is_known = not isinstance(infos[0], CustomType)
    has_flags = any(map(is_flag, infos))

    def shape(result: Any) -> Any:
        if has_flags:
            result = _bare(result)  # msgspec takes the number of a flag, and no flag
        if is_known and not isinstance(result, _KNOWN_SERIES) and isinstance(result, SERIES):
            result = simpler(result)  # a deque, the values of a dict: sent as a list, which msgspec does not know
        # An object that is of the model already passes as it is, with whatever is in its fields: hence the second look.
        seen = convert({"value": result}, box, from_attributes=True, dec_hook=_fitting)
        return convert({"value": _bare(seen.value)}, box, dec_hook=_fitting).value

    return shape


_KNOWN_SERIES = (str, bytes, bytearray, memoryview, list, tuple, set, frozenset)


def _refuse_unsent(infos: list[Any]) -> None:
    """Raise TypeError for a type that can never be sent."""
    from msgspec import inspect as types

    from aiorest_ws.handlers.kinds import is_hashable, is_sent_as_key

    for info in infos:
        if isinstance(info, types.CustomType) and not is_sent(info.cls):
            cure = ": send a `list[…]`" if issubclass(info.cls, Iterable) else ""
            cure = ": is an `await` missing?" if issubclass(info.cls, Awaitable) else cure
            raise TypeError(f"a {_named(info.cls)} cannot be sent{cure}")
        if isinstance(info, (types.RawType, types.ExtType)):
            name = type(info).__name__.removesuffix("Type")
            raise TypeError(f"a `msgspec.{name}` cannot be sent: return what it stands for, and say Any")
        if isinstance(info, (types.SetType, types.FrozenSetType)) and not is_hashable(info.item_type):
            raise TypeError("there can be no such set: expected a list")
        if isinstance(info, types.DictType) and not is_sent_as_key(info.key_type):
            raise TypeError("keys of objects are strings, which those of this dict cannot be")


def _named(cls: Any) -> str:
    return f"`{getattr(cls, '__qualname__', cls)}`"


def _bare(value: Any) -> Any:
    """Give the fields of objects instead of the objects, down to what msgspec cannot look into."""
    cls: Any = type(value)
    if isinstance(value, Enum):
        return _bare(value.value)
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_bare(item) for item in value]
    if is_pydantics(cls):
        return value
    if hasattr(cls, "__struct_config__"):
        return _bare(simpler(value))
    if is_dataclass(cls) or hasattr(cls, "__attrs_attrs__"):
        return {name: _bare(item) for name, item in members_of(value).items()}
    return value


def _fitting(cls: Any, value: Any) -> Any:
    """Give `value` as the class `cls` that msgspec does not know. It is a `dec_hook` of msgspec."""
    origin: Any = get_origin(cls) or cls
    if is_pydantics(origin):
        return _fitting_pydantic(origin, cls, value)
    if isinstance(value, str) and is_read_from_text(origin):
        return origin(value)
    many = isinstance(value, Mapping)
    is_bare = issubclass(origin, Mapping if many else Sequence) and type(value) in (dict, list)
    if not isinstance(value, origin) and not is_bare:
        raise ValueError(f"Expected {_named(origin)}, got {_named(type(value))}")
    within = get_args(cls)
    if not within:
        return value if isinstance(value, origin) else origin(value)
    from msgspec import convert

    # A Counter[str] counts in int.
    known: Any = GenericAlias(dict, (*within, int)[:2]) if many else GenericAlias(list, within[:1])
    found = convert(_bare(dict(value) if many else list(value)), known, from_attributes=True, dec_hook=_fitting)
    return found if isinstance(found, origin) else origin(None, found) if origin is defaultdict else origin(found)


def _fitting_pydantic(origin: Any, cls: Any, value: Any) -> Any:
    from aiorest_ws.handlers.validation import adapter_of

    seen = adapter_of(cls).validate_python(value, from_attributes=True)
    if type(seen) is origin or not hasattr(origin, "model_construct"):
        return seen
    # Of a subclass, which may have more than is meant to be sent.
    return origin.model_construct(**{name: getattr(seen, name) for name in origin.model_fields})
