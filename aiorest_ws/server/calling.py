"""A function or a coroutine of some thread → a call in the loop that serves."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import get_ident
from typing import Any, TypeVar

__all__ = (
    "Serves",
    "call_soon",
    "check_may_serve",
    "check_may_serve_in_loop",
    "check_no_loop",
    "only_loading",
    "run_coroutine",
)

T = TypeVar("T")


def call_soon(loop: asyncio.AbstractEventLoop | None, function: Callable[..., Any], /, *args: Any) -> None:
    """See `Application.call_soon`."""
    _serving(loop, function).call_soon_threadsafe(_call_logged, function, args)


def run_coroutine(loop: asyncio.AbstractEventLoop | None, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """See `Application.run_coroutine`."""
    if not asyncio.iscoroutine(coroutine):
        raise TypeError(f"expected a coroutine, got {coroutine!r:.200}: call the function, as f() and not f")
    try:
        serving = _serving(loop, coroutine)
        if asyncio._get_running_loop() is serving:
            raise RuntimeError("run_coroutine is for threads: here, `await` the coroutine, or make a task of it")
    except RuntimeError:
        coroutine.close()
        raise
    return asyncio.run_coroutine_threadsafe(_without_exit(coroutine), serving)


def _serving(loop: asyncio.AbstractEventLoop | None, what: object) -> asyncio.AbstractEventLoop:
    if loop is None or loop.is_closed():
        raise RuntimeError(f"the application is not running, there is no loop for {what!r:.200}: start it first")
    return loop


def _call_logged(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        function(*args)
    except KeyboardInterrupt:
        raise
    except BaseException:  # SystemExit, too: the loop is everybody's, and nobody waits for this call
        logging.getLogger("aiorest_ws").exception("call_soon(%.200r) failed", function)


async def _without_exit(coroutine: Coroutine[Any, Any, T]) -> T:
    """Give what `coroutine` gives, but for SystemExit, which would end the loop and not reach who waits."""
    try:
        return await coroutine
    except SystemExit as exc:
        raise RuntimeError(f"run_coroutine: the coroutine raised SystemExit({exc.code!r})") from exc


def check_no_loop() -> None:
    """Raise RuntimeError where an event loop runs, which `run` cannot run in."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("run() cannot be called where an event loop is running: use `await app.serve()` there")


class Serves(SystemExit):
    """A program that would serve while a command only loads it; `str` is where that is."""


_SERVERS = ("asyncio", "uvloop", "uvicorn", "hypercorn")  # whose lines nobody asks for
_loading: set[int] = set()  # threads in which a command loads a program


@contextmanager
def only_loading() -> Iterator[None]:
    """Have what would serve in this thread raise Serves: who loads the program would wait for it for ever."""
    _loading.add(get_ident())
    try:
        yield
    finally:
        _loading.discard(get_ident())


def check_may_serve(call: str) -> None:
    """Raise Serves, which names the line of the program with `call`, where a program is only loaded."""
    if get_ident() not in _loading:
        return
    frame = sys._getframe(1)
    ours = (__name__.partition(".")[0], *_SERVERS)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in ours:
        frame = frame.f_back
    raise Serves(f"{frame.f_code.co_filename}, line {frame.f_lineno}, calls {call}")


async def check_may_serve_in_loop(call: str) -> None:
    """As `check_may_serve`, for a task of a server of somebody else's: it may catch what a task raises, not a loop."""
    try:
        check_may_serve(call)
    except Serves as exc:
        loop = asyncio.get_running_loop()
        loop.call_soon(_raise, exc)
        await loop.create_future()


def _raise(exc: BaseException) -> None:
    raise exc
