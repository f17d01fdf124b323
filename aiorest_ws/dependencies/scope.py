"""What one request depends on: made before its handler is called, cleaned up when it has been answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from threading import Lock
from types import CoroutineType
from typing import Any

from aiorest_ws._speedups.trampoline import Steps, begin
from aiorest_ws.callables.calls import awaitable_of, is_awaitable
from aiorest_ws.dependencies.depends import Chain
from aiorest_ws.dependencies.order import Order, Step
from aiorest_ws.exceptions import InvalidHandler

__all__ = ("Dependencies", "Scope")

_NOTHING: Any = object()
_PLAIN_TYPES = frozenset((str, int, float, bool, dict, list, tuple, type(None)))


class Dependencies:
    """What one handler depends on, and how it is called with it.

    function      the handler: called as function(*args, **kwargs) with what `gathered` gave, and the values
    order         of the steps, as long as nothing is overridden
    effects       what runs before all that it needs, in order, and gives it nothing
    positions     of the values that stand before the last path parameter, by name, counted from the first one
    parameters    number of path parameters
    is_async      the handler is `async def`, whatever stands around it
    threaded      the handler, and what it depends on and is not asynchronous, is called in a thread
    """

    def __init__(
        self,
        function: Callable[..., Any],
        needs: dict[str, Chain],
        *,
        handler: str,
        effects: Chain,
        positions: Mapping[str, int],
        parameters: int,
        is_async: bool,
        threaded: bool,
    ) -> None:
        self.function = function
        self.parameters = parameters
        self.positions = dict(positions)
        self.threaded = threaded
        self.is_async = is_async
        self.order = Order(handler, effects, needs, {})
        self._handler = handler
        self._effects = effects
        self._needs = needs
        self._overridden: tuple[dict[Any, Any], Order] = ({}, self.order)

    def overridden(self, overrides: Mapping[Any, Any]) -> Order:
        """Give the order with `overrides` in place of what they override; worked out when they change."""
        seen, order = self._overridden
        if seen != overrides:
            try:
                order = Order(self._handler, self._effects, self._needs, overrides)
            except InvalidHandler as exc:
                raise TypeError(f"dependency_overrides: {exc}") from exc  # no fault of the client
            self._overridden = (dict(overrides), order)
        return order

    def arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], order: Order, values: list[Any]
    ) -> tuple[Iterable[Any], dict[str, Any]]:
        """Give what the handler is called with: `args` and `kwargs` of `gathered`, and `values`, each in its place."""
        for name, index in order.given:
            kwargs[name] = values[index]
        if not self.positions:
            return args, kwargs
        placed = list(args)
        first = len(args) - self.parameters
        for name, position in self.positions.items():
            placed.insert(first + position, kwargs.pop(name))
        return placed, kwargs

    def scope(self, threads: Callable[..., Any] | None, overrides: Mapping[Any, Any]) -> Scope:
        """Give what one request depends on."""
        return Scope(self, threads, overrides)


class Scope:
    """The dependencies of one request.

    The clean-up is left to the caller, for when the reply is rendered. A threaded handler without anything asynchronous
    has all of it in one call of a thread (a connection may be bound to its thread): dependencies, handler, and clean-up
    at once. With something asynchronous, the rest is called in threads, one after another, in the context of all.

    waits    it has to be awaited
    """

    __slots__ = ("_context", "_needs", "_order", "_spare", "_threads", "opened", "waits")

    _spare: Callable[..., Any] | None  # threads to go on in, of one that has all of it in one call of a thread

    def __init__(self, needs: Dependencies, threads: Callable[..., Any] | None, overrides: Mapping[Any, Any]) -> None:
        self._needs = needs
        self._order: Order = needs.overridden(overrides) if overrides else needs.order
        self._threads = threads if needs.threaded else None
        self._context: Context | None = None  # of what is called in threads, one after another
        self.opened: list[tuple[str, Any]] = []  # generators, and who made them
        self.waits: bool = needs.is_async or self._order.waits or self._threads is not None

    def call(self, request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Steps:
        """Give the handler's result. If it fails, what was made for it is cleaned up."""
        if self._threads is not None:
            if not self._order.waits:
                return (yield self._threads(begin, self._all(request, args, kwargs)))
            self._context = copy_context()
        values: list[Any] = []
        try:
            if self._context is not None or self._order.waits:
                yield from self._make_later(request, values)
            elif (given := self._make(request, values)) is not _NOTHING:
                self._leave_thread()
                yield from self._make_later(request, values, given)
            placed, kwargs = self._needs.arguments(args, kwargs, self._order, values)
            if request._live is not None:
                request._live.entered()
            if self._context is None:
                result = self._needs.function(*placed, **kwargs)
            else:
                result = yield self._in_thread(partial(self._needs.function, *placed, **kwargs))
            if type(result) not in _PLAIN_TYPES and is_awaitable(result):  # PERF: most are plain
                self._leave_thread()
                result = yield self._awaited(awaitable_of(result))
        except BaseException as exc:
            if request._live is not None:
                request._live.failed(exc)  # before the clean-up makes something else of it
            yield from self.leave(request, exc)  # raises
        if self._context is not None:
            request._ended_in = self._context.copy()  # before the clean-up takes back what was set
        return result

    def leave(self, request: Any, exc: BaseException | None = None) -> Steps:
        """Clean up, what was made last first. `exc` is thrown into each; raises it, or what becomes of it."""
        if exc is not None and request._ended_in is None:
            request._ended_in = copy_context() if self._context is None else self._context.copy()
        while self.opened:
            name, generator = self.opened.pop()
            try:
                if not (yield from self._end(generator, exc)):
                    raise RuntimeError(f"dependency {name} yielded more than once")
            except BaseException as raised:
                exc = raised
        if exc is not None:
            try:
                raise exc
            finally:
                del exc  # it would hold all this until the garbage collector comes

    def _all(self, request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Steps:
        """Do all of it, in a scope of its own: nobody else may clean up while a thread is at it."""
        scope = Scope(self._needs, None, {})
        scope._order = self._order
        scope._spare = self._threads
        result = yield from scope.call(request, args, kwargs)
        request._ended_in = copy_context()  # that of this thread
        yield from scope.leave(request)
        return result

    def _leave_thread(self) -> None:
        """Go on in the loop, and in threads one after another: something has to be awaited where nobody thought so."""
        spare = getattr(self, "_spare", None)  # PERF: only `_all` sets it
        if spare is not None and self._context is None:
            self._threads, self._context = spare, copy_context()

    def _make(self, request: Any, values: list[Any]) -> Any:
        """Put the values of the steps into `values`, up to one that has to be waited for: gives what it gave."""
        for step in self._order.steps:
            if step.asks:  # PERF: most do, and `arguments` costs more than all else here
                value = step.call(request=request)
            else:
                value = step.call() if step.alone else step.call(**step.arguments(request, values))
            # PERF: what is none of these is a value, and most are; the look at each costs less than a call.
            kind = type(value)
            if kind not in _PLAIN_TYPES and (
                hasattr(kind, "__await__")
                or hasattr(kind, "throw")
                or hasattr(kind, "athrow")
                or issubclass(kind, Future)
            ):
                if is_awaitable(value) or isinstance(value, AsyncGenerator):
                    return value
                if isinstance(value, Generator):
                    self.opened.append((step.name, value))
                    value = _first(value, step.name)
                    if type(value) is CoroutineType:
                        return value
            values.append(value)
        return _NOTHING

    def _make_later(self, request: Any, values: list[Any], given: Any = _NOTHING) -> Generator[Any, Any, None]:
        """Put the values of the steps that are left into `values`; the first of them gave `given`."""
        for step in self._order.steps[len(values) :]:
            if given is _NOTHING:
                call = partial(step.call, **step.arguments(request, values))
                given = call() if step.waits else (yield from self._run(call))
            values.append((yield from self._value(step, given)))
            given = _NOTHING

    def _value(self, step: Step, given: Any) -> Steps:
        """Give the value of `step`, whose call gave `given`: by what that is, whatever the step looked like."""
        if is_awaitable(given):
            given = yield self._awaited(awaitable_of(given))
        given = yield from self._unwrapped(given)
        if isinstance(given, Generator):
            self.opened.append((step.name, given))  # before: a thread finishes though nobody waits any more
            given = yield from self._run(partial(_first, given, step.name))
        elif isinstance(given, AsyncGenerator):
            self.opened.append((step.name, given))
            try:
                given = yield self._awaited(given.__anext__())
            except StopAsyncIteration:
                raise RuntimeError(f"dependency {step.name} did not yield") from None
        return (yield from self._unwrapped(given))

    def _unwrapped(self, given: Any) -> Steps:
        """Give what comes of `given` when it is a coroutine: of a wrapper without an `await` around an `async def`."""
        while type(given) is CoroutineType:
            given = yield self._awaited(given)
        return given

    def _end(self, generator: Any, exc: BaseException | None) -> Steps:
        """Let `generator` go on to its end; tells whether it got there."""
        try:
            is_async = hasattr(generator, "__anext__")
            if isinstance(exc, GeneratorExit):
                # Nothing can be awaited any more, the loop is being torn down: it closes what is asynchronous.
                return is_async or _last(generator, exc)
            if not is_async:
                return (yield from self._run(partial(_last, generator, exc), always=True))
            if getattr(generator, "ag_frame", generator) is None:
                return True  # it failed before it yielded
            yield self._awaited(generator.__anext__() if exc is None else generator.athrow(exc), always=True)
        except StopAsyncIteration:
            return True
        finally:
            del exc
        yield self._awaited(generator.aclose(), always=True)
        return False

    def _run(self, function: Callable[[], Any], *, always: bool = False) -> Steps:
        """Call `function` here or in a thread."""
        try:
            if self._context is None:
                return function()
            return (yield self._in_thread(function, always=always))
        finally:
            del function  # it may hold the exception that is raised here

    async def _in_thread(self, function: Callable[[], Any], *, always: bool = False) -> Any:
        """Call `function` in a thread; if that comes to nothing and it is called `always`, here."""
        assert self._threads is not None
        assert self._context is not None
        visit = _Visit(partial(self._context.run, function))
        job = asyncio.ensure_future(self._threads(visit))
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            # A thread uses what is to be cleaned up now, and is in the context that the clean-up needs: a task that
            # cannot enter its context never ends. The job may be cancelled itself, by a loop that is torn down.
            await _settled(job)
            await _settled(visit.end())
            if not job.cancelled():
                job.exception()  # nobody else asks
            if always and not visit.has_begun:
                self._context.run(function)
            raise
        finally:
            del function, job, visit

    def _awaited(self, awaitable: Any, *, always: bool = False) -> Any:
        """Give what to await for `awaitable`, so that it shares its context with what is called in threads.

        A task that is cancelled before it begins never does: one that runs `always` is cancelled when it has begun.
        """
        return awaitable if self._context is None else self._in_context(awaitable, self._context, always)

    async def _in_context(self, awaitable: Any, context: Context, always: bool) -> Any:
        begun = asyncio.get_running_loop().create_future()
        task = asyncio.get_running_loop().create_task(_result(awaitable, begun), context=context)
        return await (_once_begun(task, begun) if always else _outcome(task))


class _Visit:
    """A call in a thread, of which somebody may ask that it be over, whatever becomes of those who wait for it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._lock = Lock()
        self.has_begun = False
        self._is_over = False
        self._tell: Callable[[], Any] | None = None

    def __call__(self) -> Any:
        with self._lock:
            if self._is_over:
                raise asyncio.CancelledError
            self.has_begun = True
        try:
            return self._function()
        finally:
            with self._lock:
                self._is_over = True
            if self._tell is not None:
                self._tell()

    def end(self) -> asyncio.Future[None]:
        """Give a future that is done when no thread is at it; what has not begun never does."""
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        with self._lock:
            if self.has_begun and not self._is_over:
                self._tell = partial(loop.call_soon_threadsafe, over.set_result, None)
            else:
                self._is_over = True
                over.set_result(None)
        return over


async def _settled(future: asyncio.Future[Any]) -> None:
    """Wait until `future` is done, however often this is cancelled."""
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([future])


async def _result(awaitable: Any, begun: asyncio.Future[None]) -> tuple[Any, SystemExit | None]:
    """Give what comes of `awaitable`; SystemExit, too, which would end the loop if a task raised it."""
    begun.set_result(None)
    try:
        return await awaitable, None
    except SystemExit as exc:
        return None, exc


async def _outcome(task: asyncio.Task[tuple[Any, SystemExit | None]]) -> Any:
    result, exc = await task
    if exc is not None:
        try:
            raise exc
        finally:
            del exc
    return result


async def _once_begun(task: asyncio.Task[Any], begun: asyncio.Future[Any]) -> Any:
    try:
        await asyncio.wait([begun, task], return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        while not (begun.done() or task.done()):
            with suppress(asyncio.CancelledError):
                await asyncio.wait([begun, task], return_when=asyncio.FIRST_COMPLETED)
        task.cancel()
    return await _outcome(task)


def _first(generator: Any, name: str) -> Any:
    try:
        return next(generator)
    except StopIteration:
        raise RuntimeError(f"dependency {name} did not yield") from None


def _last(generator: Any, exc: BaseException | None) -> bool:
    """Let `generator` go on to its end; tells whether it got there."""
    try:
        if exc is None:
            next(generator)
        else:
            generator.throw(exc)
    except StopIteration:
        return True
    finally:
        del exc
    generator.close()
    return False
