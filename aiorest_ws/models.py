"""What a handler returns → what of it belongs to the `response_model` of its view."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from aiorest_ws._speedups import Response
from aiorest_ws.calls import is_awaitable
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.typed import NEEDS_MSGSPEC
from aiorest_ws.unsendable import unsendable

__all__ = ("answering",)

Shape = Callable[[Any], Any]


def answering(function: Callable[..., Any], model: Any, view: str) -> Callable[..., Any]:
    """Give `function` with what it returns, or has awaited, as `model` has it; `function` itself if that is None.

    Raises InvalidHandler for a model that cannot be one of `view`.
    """
    if model is None:
        return function
    shape = _shape_of(model, view)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return _later(result, shape) if is_awaitable(result) else _shaped(result, shape)

    return call


async def _later(pending: Awaitable[Any], shape: Shape) -> Any:
    return _shaped(await pending, shape)


def _shaped(result: Any, shape: Shape) -> Any:
    if isinstance(result, Response):
        if "data" in result.content:
            result.content = _shaped(result.content["data"], shape)
        return result
    try:
        return shape(result)
    except Exception as exc:
        error = unsendable(result if is_awaitable(result) else None, exc, _misfit(exc))
    raise error


def _misfit(exc: Exception) -> str:
    from aiorest_ws.checks import faults_of

    faults = faults_of(exc, []) or []
    return "; ".join(f"`{'.'.join(map(str, fault['loc']))}` of response_model: {fault['msg']}" for fault in faults[:3])


def _shape_of(model: Any, view: str) -> Shape:
    try:
        from aiorest_ws import checks
    except ModuleNotFoundError as exc:
        if exc.name != "msgspec":
            raise
        raise InvalidHandler(f"response_model of view {view} {NEEDS_MSGSPEC}") from None
    try:
        return _of_pydantic(model) if checks.is_pydantic(model) else _of_msgspec(model)
    except Exception as exc:
        raise InvalidHandler(f"response_model of view {view} cannot work: {exc}") from exc


def _of_pydantic(model: Any) -> Shape:
    from pydantic import TypeAdapter

    adapter: TypeAdapter[Any] = TypeAdapter(model)

    def shape(result: Any) -> Any:
        return adapter.dump_python(adapter.validate_python(result, from_attributes=True), mode="json", by_alias=True)

    return shape


def _of_msgspec(model: Any) -> Shape:
    from datetime import date, datetime, time, timedelta
    from decimal import Decimal
    from uuid import UUID

    from msgspec import convert, to_builtins

    from aiorest_ws.checks import box_of, check_of

    check_of(model)
    box = box_of([("value", model)])
    native = (bytes, bytearray, datetime, date, time, timedelta, Decimal, UUID)

    def shape(result: Any) -> Any:
        # An object that is of the model already passes as it is, with whatever is in its fields: hence the second look.
        seen = convert({"value": result}, box, from_attributes=True)
        return convert(to_builtins(seen, builtin_types=native), box).value

    return shape
