"""A result that cannot be encoded → the place of what is to blame in it, and what may have been meant."""

from __future__ import annotations

from datetime import datetime
from inspect import CORO_CREATED, getcoroutinestate, iscoroutine
from itertools import islice
from typing import Any

from aiorest_ws._speedups.collector import undisturbed
from aiorest_ws._speedups.values import simpler, written_key
from aiorest_ws.callables.calls import is_awaitable, named
from aiorest_ws.exceptions import SerializerError

__all__ = ("AWAIT", "giver", "unsendable", "why_not")

AWAIT = "is an `await` missing?"

_MOST_LOOKED_AT = 10_000
_MOST_LEVELS = 400
_MOST_TEXT = 200
_LEAVES = frozenset((int, float, bool, type(None), datetime))

Place = tuple[Any, str, Any, int]  # of the container, the step from there, the value, its level


def unsendable(result: Any, exc: BaseException, why: str = "") -> SerializerError:
    """Give the error of a handler whose `result` could not be encoded, or was not what it should be: `exc`."""
    if isinstance(exc, SerializerError) and (exc.why or exc.__cause__ is None):
        return exc  # somebody has said it already
    cause = exc.__cause__ if isinstance(exc, SerializerError) and exc.__cause__ is not None else exc
    blamed = undisturbed(why_not, result) or why
    error = SerializerError(why=blamed or f"{type(cause).__name__}: {str(cause)[:_MOST_TEXT]}")
    # What orjson, `json` and the codec said one after another would be four tracebacks of one fault.
    cause.__cause__ = cause.__context__ = None
    trace = cause.__traceback__
    while trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("aiorest_ws."):
        trace = trace.tb_next
    cause.__traceback__ = trace
    error.__cause__ = cause
    return error


def giver(request: Any) -> str:
    """Name who gave the result of `request`: handler and route."""
    route = request.route
    if route is None:
        return "a router of its own"
    verb = request.method.strip().upper()
    function = getattr(route.handler, "endpoint_function", None)
    name = f"{route.handler.__qualname__}.{verb.lower()}" if function is None else named(function)
    return f"{name}, {verb} {route.path}"


def why_not(result: Any) -> str:
    """Tell what in `result` cannot be encoded, "" if it is nothing that is seen at a look."""
    todo: list[Place] = [(None, "", result, 0)]
    blamed = ""
    looked_at = 0
    while todo and looked_at < _MOST_LOOKED_AT:
        looked_at += 1
        place = todo.pop()
        try:
            parts = _parts(place)
        except Exception as exc:
            blamed = _told(place, exc)
            parts = _fields_of(place)
            if not parts:
                return blamed
        looked_at += len(parts) // 8  # most of which are not come to
        looked_at += place[3] // 32  # levels are compared with each other
        todo += reversed(parts)
    return blamed


def _parts(place: Place) -> list[Place]:
    """Give what is inside; raises for what cannot be encoded."""
    value, level = place[2], place[3] + 1
    if type(value) in _LEAVES:
        return []
    if isinstance(value, str):
        value.encode()
        return []
    if isinstance(value, (dict, list, tuple)) and not value:
        return []
    _check_depth(place)
    if isinstance(value, dict):
        return [(place, _step(written_key(key)), item, level) for key, item in islice(value.items(), _MOST_LOOKED_AT)]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [(place, f"[{index}]", item, level) for index, item in enumerate(islice(value, _MOST_LOOKED_AT))]
    return [(place, "", simpler(value), level)]


def _fields_of(place: Place) -> list[Place]:
    """Give the fields of a model of pydantic's that are sent: pydantic does not say which of them it cannot write."""
    value = place[2]
    known = getattr(type(value), "__pydantic_fields__", None)
    if known is None:
        return []
    fields = {**vars(value), **(getattr(value, "__pydantic_extra__", None) or {})}
    excluded = {name for name, field in known.items() if field.exclude}
    return [(place, _step(name), item, place[3] + 1) for name, item in fields.items() if name not in excluded]


def _step(key: str) -> str:
    key.encode()
    return f".{key}" if key.isidentifier() else f"[{key[:_MOST_TEXT]!r}]"


def _check_depth(place: Place) -> None:
    outer = place[0]
    while outer is not None:
        if outer[2] is place[2]:
            raise RecursionError("contains itself")
        outer = outer[0]
    if place[3] > _MOST_LEVELS:
        raise RecursionError(f"nested deeper than {_MOST_LEVELS} levels")


def _told(place: Place, exc: Exception) -> str:
    value = place[2]
    kind = type(value).__qualname__
    path = _path(place)
    where = f"`{path}`" if path else "the result"
    if is_awaitable(value):
        if iscoroutine(value) and getcoroutinestate(value) == CORO_CREATED:
            value.close()  # that nobody awaits it is said here
        return f"{AWAIT} {where}: `{kind}`"
    if isinstance(value, dict):
        return f"{where}: {str(exc)[:_MOST_TEXT]}"
    why = str(exc).removeprefix(f"{kind} ")
    if not isinstance(exc, (TypeError, RecursionError, UnicodeEncodeError)):
        why = f"raised {type(exc).__qualname__}: {why}"
    return f"{where}: `{kind}` {why[:_MOST_TEXT]}"


def _path(place: Place) -> str:
    steps = []
    while place is not None:
        steps.append(place[1])
        place = place[0]
    path = "".join(reversed(steps))
    return path if len(path) <= _MOST_TEXT else f"{path[:_MOST_TEXT]}…"
