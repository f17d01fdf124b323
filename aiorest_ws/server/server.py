"""A prepared application → one life of it, with one end for all who ask for it, which comes whatever they do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from aiorest_ws.callables.calls import call
from aiorest_ws.callables.failures import PASSED_ON
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.http.hosts import is_loopback
from aiorest_ws.logs.loggers import enable_loggers
from aiorest_ws.routers import warn_if_empty
from aiorest_ws.server.exposing import expose
from aiorest_ws.server.lifespan import described
from aiorest_ws.server.listeners import Listening, listen
from aiorest_ws.server.patience import Patience
from aiorest_ws.server.process import notify
from aiorest_ws.server.shutdown import SHUTTING_DOWN, Goodbye, shut_down
from aiorest_ws.server.sockets import Bound, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiorest_ws.app import Application
    from aiorest_ws.limits.admission import Elsewhere
    from aiorest_ws.metrics import Exposition
    from aiorest_ws.request import RequestHandlerFactory

__all__ = ("EndedEarly", "Seat", "Server")

logger = logging.getLogger("aiorest_ws")

_COME_IN = 1.0  # seconds that a handshake may take which has begun
_LOOK = 0.01  # seconds between two looks at them

# The mark of the server whose end waits for what runs in this context: its handlers and hooks, and what they begin.
# Not the server itself: contexts may live longer, in timers that were cancelled.
_within: ContextVar[object] = ContextVar("_within", default=None)


class EndedEarly(RuntimeError):
    """Somebody asked for the end before the server listened."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What a server has of the supervisor whose worker it is in.

    bound        the sockets
    elsewhere    the connections of the other workers, where all are counted
    """

    bound: Bound
    elsewhere: Elsewhere | None = None


class Server:
    """One life of an application, all of it in one task: whatever becomes of those who wait for it, it goes to its end.

    addresses   host and port of each socket, or what a Unix socket is called; once it listens
    factory     of the connections
    lifespan    around it
    patience    that its end has with clients and handlers
    lost        why it ends, if the lifespan did
    """

    def __init__(self, app: Application, factory: RequestHandlerFactory, options: Mapping[str, Any]) -> None:
        self.factory = factory
        self.lifespan = app.new_lifespan()
        self.patience = Patience()
        self.addresses: list[Any] = []
        self.exposition: Exposition | None = None
        self.lost: RuntimeError | None = None
        self._mark = object()
        self._goodbye = SHUTTING_DOWN
        self._app = app
        self._options = options
        self._seat: Seat | None = app._seat
        self._loop = asyncio.get_running_loop()
        self._listening: Listening | None = None
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._asked = asyncio.Event()
        self._is_beginning = False
        self._task = self._loop.create_task(self._live())

    @property
    def is_over(self) -> bool:
        """Tell whether it has ended, or its loop has."""
        return self._task.done() or self._loop.is_closed()

    @property
    def is_ending(self) -> bool:
        return self._asked.is_set()

    async def start(self) -> None:
        """Wait until it listens. Raises what went wrong; EndedEarly if it was asked to end before."""
        try:
            await asyncio.wait([self._task, self._ready], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self.patience.lose()
            self.ask()
            await self.patience.see_through(self._task)
            raise
        if self._task.done():
            self._task.result()
        if not self._ready.done():
            raise EndedEarly("the application was stopped before it had started")

    def ask(self, goodbye: Goodbye = SHUTTING_DOWN) -> None:
        """Begin the end, unless it has begun. Nothing more is accepted, but for probes until nothing is in flight."""
        if self._asked.is_set():
            return
        self._goodbye = goodbye
        self._asked.set()
        listening = None if goodbye.others_serve else self._listening
        if listening is not None and (self.factory.health_path is None or listening.is_shared):
            self._stop_listening()
        if self._is_beginning:
            self._task.cancel()

    def _stop_listening(self) -> None:
        self.factory.accepts = False
        if self._listening is not None:
            self._listening.close()

    def ask_soon(self) -> None:
        """Begin the end, from anywhere: the loop, another thread, a signal handler."""
        try:
            self._loop.call_soon_threadsafe(self.ask)
        except RuntimeError:
            logger.debug("asked to end, its loop is closed")

    async def until_asked(self) -> None:
        await self._asked.wait()

    async def stop(self) -> None:
        """Begin the end, and wait for it; but not in what it waits for itself. Who is cancelled here makes it hurry."""
        if self._loop.is_closed():
            return
        if asyncio.get_running_loop() is not self._loop:
            if not self._loop.is_running():
                raise RuntimeError("the application is of a loop that does not run: await stop() in that one")
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.stop(), self._loop))
            return
        self.ask()
        if _within.get() is not self._mark:
            await self.patience.see_through(self._task)

    # Its life

    async def _live(self) -> None:
        _within.set(self._mark)
        try:
            if not self._asked.is_set():  # else before this first step
                self._is_beginning = True
                await self._begin()
                self._is_beginning = False
                self._ready.set_result(None)
            await self._asked.wait()
        except asyncio.CancelledError:
            if not self._asked.is_set():  # else it was asked to end while it began
                self.lifespan.abandon()  # all tasks of the loop are being cancelled
                self.patience.lose()
        finally:
            await self._end()

    async def _begin(self) -> None:
        await self.lifespan.start()
        self.factory.context = self.lifespan.context or copy_context()
        warn_if_empty(self.factory.router)
        self._expose()
        place = Place(**{field.name: self._options[field.name] for field in fields(Place)})
        seat, proxies = self._seat, self._options["trusted_proxies"]
        if seat is not None:
            self.factory.admissions.elsewhere = seat.elsewhere
        bound = None if seat is None else seat.bound
        self._listening = await listen(self.factory, place, bound, trusted_proxies=proxies)
        self.addresses = self._listening.addresses
        self.factory.is_local = not self._options["trusted_proxies"] and all(map(_is_loopback, self.addresses))
        self._app._on_addresses(self)
        await self._tell_listening()
        enable_loggers()  # one of them may be where logging is set up
        notify("READY=1")
        self.lifespan.watch(self._on_lost)

    def _registry(self) -> Any:
        from aiorest_ws.metrics import metrics_of

        return metrics_of(self.factory).exposed

    def _expose(self) -> None:
        """Serve the metrics, if there is a port for them; those of a worker are its supervisor's to serve."""
        if self._seat is None:
            self.exposition = expose(self._options, self._registry)
        elif self._options["metrics_port"] is not None:
            self._registry()  # from the first request on it counts

    async def _tell_listening(self) -> None:
        """Call the hooks, in a task of their own: one that goes on although it is cancelled must not hold the end."""
        telling = self._loop.create_task(self._call_listening())
        try:
            await asyncio.wait([telling])
        except asyncio.CancelledError:
            self.patience.renew()
            if await self.patience.cancel([telling]):
                logger.warning("on_listening goes on although it was cancelled: it is left to itself")
            elif not telling.cancelled():
                telling.result()  # raises what went wrong
            raise
        await telling

    async def _call_listening(self) -> None:
        for hook in self._options["on_listening"]:
            try:
                await call(hook, self._app)
            except PASSED_ON:
                raise
            except BaseException as exc:
                raise ImproperlyConfigured(f"on_listening {hook!r} failed: {described(exc)}") from exc

    def _on_lost(self, error: RuntimeError) -> None:
        """End as at a signal: what the handlers need is gone."""
        self.lost = error
        self.ask()

    async def _end(self) -> None:
        self._is_beginning = False
        self.ask()
        if self._listening is not None:
            notify("STOPPING=1")
            if self._goodbye.others_serve:
                await self._step(self._leave())
            grace = self.factory.limits.shutdown_timeout
            end = shut_down(
                self.factory,
                grace=grace,
                patience=self.patience,
                goodbye=self._goodbye,
                stop_listening=self._stop_listening,
            )
            await self._step(end)
            await self.patience.cancel_late([asyncio.ensure_future(self._listening.wait_closed())])
        await self._step(self.lifespan.end(self.patience))
        await self._step(self._conceal())
        self._app._on_end(self)

    async def _leave(self) -> None:
        """Leave the sockets to who takes our place. Whoever has begun to connect here still comes in."""
        if self._listening is not None:
            await self._listening.leave()
        loop = asyncio.get_running_loop()
        until = loop.time() + _COME_IN
        while self.factory.admissions.half_open and not self.patience.is_lost and loop.time() < until:
            await self.patience.wait([loop.create_future()], _LOOK)

    async def _step(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Do a part of the end; whatever goes wrong in it, the others follow."""
        try:
            await coroutine
        except Exception:  # of the user's hooks, too: what is left must still be closed
            logger.exception("the server did not end as it should")

    async def _conceal(self) -> None:
        exposition, self.exposition = self.exposition, None
        if exposition is not None:
            await self.patience.insist([asyncio.ensure_future(exposition.close())])


def _is_loopback(address: Any) -> bool:
    return isinstance(address, tuple) and is_loopback(address[0])
