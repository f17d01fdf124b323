"""What a callable of the user gave → what comes of it, awaited where it has to be.

Whatever a user may write as a callable (`def`, `async def`, a partial, an instance, a class, a mock, an async wrapper
around a sync function and the other way round) is called as it is, and what comes back is looked at: nothing else tells
whether there is something to await. Where a call must not become a coroutine for nothing, `is_awaitable` is asked of
what came back, and `awaitable_of` gives what `await` takes for it; everywhere else `call` does both.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial, partialmethod
from types import CoroutineType, FunctionType, GeneratorType
from typing import Any

__all__ = ("awaitable_of", "call", "finished", "innermost", "is_awaitable", "layers_of", "may_wait", "named")


_METHOD = "__partialmethod__" if sys.version_info >= (3, 13) else "_partialmethod"


def is_awaitable(value: Any) -> bool:
    """Tell whether `value` is to be awaited: asks its type, as `await` does, not the instance, which may be a proxy.

    Futures of pools of threads and processes are, too, though `await` takes them only as `awaitable_of` gives them.
    """
    kind = type(value)
    if hasattr(kind, "__await__"):
        return True
    if kind is GeneratorType:
        return bool(value.gi_code.co_flags & inspect.CO_ITERABLE_COROUTINE)
    return issubclass(kind, Future)


def awaitable_of(value: Any) -> Awaitable[Any]:
    """Give what `await` takes for `value`, of which `is_awaitable` is true. Needs no loop yet."""
    return _outcome(value) if issubclass(type(value), Future) else value


async def _outcome(future: Future[Any]) -> Any:
    return await asyncio.wrap_future(future)


async def call(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call `function` here, and give what comes of it in the end."""
    return await finished(function(*args, **kwargs))


async def finished(given: Any) -> Any:
    """Give what comes of `given`, which a callable of the user gave.

    It is awaited once: pools and clients give themselves when they are awaited. A coroutine that comes of that is
    awaited, too (an async wrapper without an `await` around an async function): left alone, it would never run.
    """
    if is_awaitable(given):
        given = await awaitable_of(given)
    while type(given) is CoroutineType:
        given = await given
    return given


def layers_of(call: Any) -> list[Any]:
    """Give the functions and classes that are behind `call`, the outermost first: under partials, and decorators."""
    layers: list[Any] = []
    while call is not None and not any(call is layer for layer in layers):
        layers.append(call)
        if isinstance(call, partial):
            call = call.func
        elif isinstance(getattr(call, "__origin__", None), type):
            call = call.__origin__  # a generic class with its arguments
        elif hasattr(call, "__wrapped__"):
            call = call.__wrapped__
        elif isinstance(method := vars(call).get(_METHOD) if isinstance(call, FunctionType) else None, partialmethod):
            call = method.func  # `call` is what a class makes of it
        elif not isinstance(call, type) and not inspect.isroutine(call):
            call = getattr(type(call), "__call__", None)  # noqa: B004
        else:
            break
    return layers


def innermost(call: Any) -> Any:
    """Give what is under the decorators of `call`; what partials have given to it stays given."""
    if isinstance(call, partial):
        inner = innermost(call.func)
        return call if inner is call.func else partial(inner, *call.args, **call.keywords)
    inner = inspect.unwrap(call)
    return call if inner is call else innermost(inner)


def may_wait(call: Any) -> bool:
    """Tell whether it is to be expected that what `call` gives has to be awaited. A hint: nobody may rely on it."""
    return any(inspect.isasyncgenfunction(layer) or inspect.iscoroutinefunction(layer) for layer in layers_of(call))


def named(call: Any) -> str:
    """Give the name of `call`, or of what is behind its partials."""
    while isinstance(call, partial):
        call = call.func
    return getattr(call, "__qualname__", None) or repr(call)
