"""A handler → that it returns no status beside its data, as Flask has it: here both would be sent, as a list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dis import get_instructions
from opcode import opmap
from types import CodeType
from typing import Any, Final

from aiorest_ws.callables.calls import innermost, named
from aiorest_ws.exceptions import InvalidHandler

__all__ = ("check_returned",)

_PAIR: Final = bytes([opmap["BUILD_TUPLE"], 2])


def check_returned(function: Callable[..., Any]) -> None:
    """Refuse `return data, 201`, unless it is annotated as a tuple, or a decorator may make something of it."""
    code = getattr(function, "__code__", None)
    if type(code) is not CodeType or innermost(function) is not function:
        return
    status = next((status for status in _seconds_of(code) if _is_status(status)), None)
    if status is not None and not _is_tuple(function):
        cure = f"return Response(data, status={status})" if status < 300 else f"raise HTTPError({status}, detail)"
        raise InvalidHandler(
            f"{named(function)} returns (…, {status}), which would be sent as a list, with status 200: {cure}; "
            f"if a list is meant, [data, {status}]"
        )


def _seconds_of(code: CodeType) -> Iterator[Any]:
    """Give what stands second in pairs that are returned, where it is a number that is written there."""
    if _PAIR not in code.co_code and not any(map(_is_pair, code.co_consts)):
        return  # PERF: most handlers; to read what is compiled takes twenty times as long
    steps = list(get_instructions(code))
    for at, step in enumerate(steps):
        before = steps[at - 1] if step.opname == "RETURN_VALUE" and at else step
        if step.opname not in ("RETURN_VALUE", "RETURN_CONST"):
            continue
        if before.opname == "BUILD_TUPLE" and before.arg == 2:
            given = steps[at - 2].argval if steps[at - 2].opname in ("LOAD_CONST", "LOAD_SMALL_INT") else None
        else:
            given = before.argval[1] if _is_pair(before.argval) else None
        if type(given) is int:
            yield given


def _is_pair(const: Any) -> bool:
    """Tell whether a constant may be data and a status; two numbers are not."""
    return type(const) is tuple and len(const) == 2 and type(const[1]) is int and type(const[0]) not in (int, float)


def _is_status(number: int) -> bool:
    from http import HTTPStatus

    return number >= 200 and number in {status.value for status in HTTPStatus}


def _is_tuple(function: Any) -> bool:
    try:
        return "tuple" in repr(function.__annotations__.get("return")).lower()
    except Exception:  # from Python 3.14 on: of names that are not there yet
        return True
