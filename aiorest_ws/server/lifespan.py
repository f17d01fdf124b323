"""What an application does before it listens and after its last connection → one task that lives between the two."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from aiorest_ws.callables.calls import call
from aiorest_ws.callables.failures import PASSED_ON, sole
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.logs.loggers import enable_loggers
from aiorest_ws.server.patience import Patience

if TYPE_CHECKING:
    from aiorest_ws.realtime.brokers import Broker

__all__ = ("Lifespan", "Shared", "described")

logger = logging.getLogger("aiorest_ws")

_LEAVE = 2.0  # seconds that a task gets to end once it is cancelled
_MOMENT = 0.5  # seconds until an end before its time is logged, though why is not known yet


class Shared:
    """What the lifespans of an application put into its `state`, for as long as they last.

    There may be several at a time (one for each test client): of a name that two have, the later one's counts.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._names: set[str] = set()

    def put(self, given: Any) -> Callable[[], None]:
        """Put a dict of names and values into the state, and give what takes it out. Raises TypeError, ValueError."""
        state = self._app.state
        if not isinstance(given, Mapping) or not all(isinstance(name, str) and name.isidentifier() for name in given):
            raise TypeError(f"expected nothing or a dict of names for app.state behind `yield`, got {given!r:.200}")
        for name, value in given.items():
            if name not in self._names and getattr(state, name, value) is not value:
                raise ValueError(
                    f"app.state.{name} is there already, and the lifespan gives another: use one name each"
                )
        before = {name: getattr(state, name) for name in given if name in self._names}
        for name, value in given.items():
            setattr(state, name, value)
        self._names.update(given)

        def take_out() -> None:
            for name in given:
                if name in before:
                    setattr(state, name, before[name])
                elif name in self._names:
                    self._names.discard(name)
                    if hasattr(state, name):
                        delattr(state, name)

        return take_out


class Lifespan:
    """The life of an application, from `start` to `end`; all of it in one task, as cancel scopes and task groups ask.

    manager    gives an async context manager, whose body is the life; None for none. What it gives when it is entered
               is shared
    startup    called in order inside of it, before anybody connects; each may be `async def`
    shutdown   called in order before it is left, if all of `startup` went well
    shared     takes what the manager gives; None to leave it
    broker     what carries publications elsewhere, from before all of that to behind it; None: nothing does
    context    the context variables as they were when the application was ready; None before, and if nothing set any
    """

    def __init__(
        self,
        app: Any,
        manager: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None,
        startup: Iterable[Callable[[Any], Any]] = (),
        shutdown: Iterable[Callable[[Any], Any]] = (),
        shared: Shared | None = None,
        broker: Broker | None = None,
    ) -> None:
        self._app = app
        self._broker = broker
        self._is_carried = False
        self._shared = shared
        self._take_out: Callable[[], None] | None = None
        self._failure: BaseException | None = None
        self.context: Context | None = None
        self._manager = manager
        self._startup = tuple(startup)
        self._shutdown = tuple(shutdown)
        self._task: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._is_due = False  # it has been told to end, and knows
        self._is_abandoned = False
        self._is_leaving = False  # before its time
        self._lost: Callable[[RuntimeError], None] | None = None
        self._loss: RuntimeError | None = None
        self._is_logged = False
        self._ready: asyncio.Future[None]

    async def start(self) -> None:
        """Run until the application may listen. Raises ImproperlyConfigured from what went wrong."""
        if self._broker is not None:
            await self._app.live.start(self._broker)
            self._is_carried = True
        try:
            await self._begin()
        except BaseException:  # raised again
            await self._let_go_of_broker()
            raise

    async def _let_go_of_broker(self) -> None:
        if self._is_carried:
            self._is_carried = False
            await self._app.live.close()

    async def _begin(self) -> None:
        if self._manager is None and not self._startup and not self._shutdown:
            return
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        self._task = loop.create_task(self._live())
        try:
            await asyncio.wait([self._task, self._ready], return_when=asyncio.FIRST_COMPLETED)
        except BaseException:  # raised again
            task, self._task = self._task, None
            await self._cancel(task)
            self._unshare()
            raise
        enable_loggers()  # it is the place where logging is set up
        if not self._ready.done():
            task, self._task = self._task, None
            self._unshare()
            if not task.cancelled():
                task.result()  # raises what went wrong
            raise ImproperlyConfigured(f"{_named(self._manager)} ended before the application started")

    def watch(self, lost: Callable[[RuntimeError], None]) -> None:
        """Call `lost` as soon as it begins to end before its time, however long its clean-up takes, and log it.

        The cause of the error is what was raised, once that is known.
        """
        self._lost = lost
        if self._task is not None:
            self._task.add_done_callback(self._look)
            if self._is_leaving:
                self._lose()

    def _lose(self) -> None:
        """Tell who watches; log it when why is known, or a moment later."""
        if self._lost is None or self._loss is not None or self._is_due or self._is_abandoned:
            return
        self._loss = RuntimeError(f"{_named(self._manager)} ended while the application was serving")
        asyncio.get_running_loop().call_later(_MOMENT, self._log)
        self._lost(self._loss)

    def _look(self, task: asyncio.Task[None]) -> None:
        self._lose()
        if self._loss is None:
            return
        self._loss.__cause__ = self._failure
        if self._is_logged and self._failure is not None:
            logger.error("%s failed at the end", _named(self._manager), exc_info=self._failure)
        self._log()

    def _log(self) -> None:
        if not self._is_logged:
            self._is_logged = True
            logger.error("%s", self._loss, exc_info=self._failure)

    def abandon(self) -> None:
        """Take note that it is being cancelled, as everything in its loop is: that is not before its time."""
        self._is_abandoned = True

    async def end(self, patience: Patience) -> None:
        """Run to the end, however long that takes while there is patience. What goes wrong is logged."""
        task, self._task = self._task, None
        if task is not None:
            await self._end(task, patience)
        await patience.insist([asyncio.ensure_future(self._let_go_of_broker())])

    async def _end(self, task: asyncio.Task[None], patience: Patience) -> None:
        self._over.set()
        await self._bring_to_end(task, patience)
        if not self._is_due:  # it ended before; what is around it is gone, but the others are told as always
            await self._bring_to_end(asyncio.ensure_future(self._shut_down()), patience)
        self._unshare()
        if self._failure is not None and self._is_due:
            logger.error("%s failed at the end", _named(self._manager), exc_info=self._failure)

    async def _bring_to_end(self, task: asyncio.Task[None], patience: Patience) -> None:
        patience.renew()
        await patience.wait([task])
        await patience.insist([task])  # what takes no time is done even in a hurry
        if not task.done():
            patience.renew()
            if await patience.cancel([task]):
                logger.warning("%s goes on although it was cancelled: it is left to itself", _named(self._manager))

    async def _live(self) -> None:
        current: Any = self._manager
        try:
            manager: Any = nullcontext() if self._manager is None else _entered(self._manager(self._app))
            async with manager as given:
                if given is not None and given is not manager and self._shared is not None:
                    self._take_out = self._shared.put(given)
                for current in self._startup:
                    await call(current, self._app)
                self.context = copy_context()
                self._ready.set_result(None)
                await self._until_over()
                self._is_due = True
                await self._shut_down()
        except PASSED_ON:
            raise
        except BaseException as exc:
            if not self._ready.done():
                raise ImproperlyConfigured(f"{_named(current)} failed at the start: {described(exc)}") from exc
            self._failure = exc  # not raised: SystemExit in a task would end the loop

    async def _until_over(self) -> None:
        try:
            await self._over.wait()
        except asyncio.CancelledError:
            self._is_leaving = True  # its clean-up begins, and what the handlers need is gone
            asyncio.get_running_loop().call_soon(self._lose)  # not now: all tasks of the loop may be being cancelled
            raise

    def _unshare(self) -> None:
        if self._take_out is not None:
            self._take_out()
            self._take_out = None

    async def _shut_down(self) -> None:
        for hook in self._shutdown:
            try:
                await call(hook, self._app)
            except PASSED_ON:
                raise
            except BaseException as exc:
                logger.error("%s failed at the end", _named(hook), exc_info=exc)

    async def _cancel(self, task: asyncio.Task[None]) -> None:
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_LEAVE)


def _entered(manager: Any) -> Any:
    """Give `manager`, which is to be entered. Raises TypeError for what cannot be."""
    if hasattr(manager, "__aenter__"):
        return manager
    if hasattr(manager, "close"):
        manager.close()  # a coroutine that is never awaited would be complained about, too
    raise TypeError(
        f"expected an asynchronous context manager, got {type(manager).__qualname__}: "
        "lifespan is a function with one `yield`, under @asynccontextmanager"
    )


def _named(hook: Any) -> str:
    return f"lifespan {hook.__qualname__}" if hasattr(hook, "__qualname__") else f"lifespan {hook!r}"


def described(exc: BaseException) -> str:
    """Give `exc` in one line."""
    exc = sole(exc)
    return " ".join(f"{type(exc).__name__}: {exc}".split()).removesuffix(":")
