"""An application → one life of it in the loop of somebody else's server, with one end for all who ask for it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from aiorest_ws.asgi import doors
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.exchange.door import Exchange
from aiorest_ws.logs.loggers import enable_loggers
from aiorest_ws.logs.throttled import path_of
from aiorest_ws.routers import warn_if_empty
from aiorest_ws.server.exposing import expose
from aiorest_ws.server.patience import Patience
from aiorest_ws.server.shutdown import say_goodbye, shut_down

if TYPE_CHECKING:
    from aiorest_ws.app import Application
    from aiorest_ws.metrics import Exposition
    from aiorest_ws.request import RequestHandlerFactory, RequestHandlerProtocol
    from aiorest_ws.server.lifespan import Lifespan

__all__ = ("Life",)

logger = logging.getLogger("aiorest_ws")

_LOOK = 0.25  # seconds between two looks at whether uvicorn is to exit

_lives: set[asyncio.Task[None]] = set()  # the loop itself would let go of one that nobody knows any more

P = TypeVar("P", bound="RequestHandlerProtocol")


class Life:
    """From the first step of the lifespan to behind its last, all in one task: whoever waits may be cancelled.

    loop        that serves
    factory     of the connections, once it has started
    protocol    their class
    """

    def __init__(self, app: Application) -> None:
        self.factory: RequestHandlerFactory
        self.protocol: Any
        self.loop = asyncio.get_running_loop()
        self._app = app
        self._exchanges: dict[str | None, Any] = {}  # whose pages name that path for WebSockets
        self._has_missed = False
        self._came_through: set[str | None] = set()
        self._patience = Patience()
        self._lifespan: Lifespan | None = None
        self._exposition: Exposition | None = None
        self._set: dict[ContextVar[Any], Any] = {}  # by the lifespan
        self._ready: asyncio.Future[None] = self.loop.create_future()
        self._asked = asyncio.Event()
        self._task = self.loop.create_task(self._live())
        _lives.add(self._task)
        self._task.add_done_callback(_lives.discard)

    @property
    def has_begun(self) -> bool:
        return self._ready.done()

    @property
    def is_ending(self) -> bool:
        """Tell whether nobody may connect any more."""
        return self._asked.is_set() or self._task.done()

    def exchange_at(self, path: str | None) -> Any:
        """Give what answers HTTP requests beside WebSockets at `path`."""
        exchange = self._exchanges.get(path)
        if exchange is None:
            exchange = self._exchanges[path] = self._http(path)
        return exchange

    def say_came_through(self, path: str | None) -> None:
        """Say once that the host has let a connection through that was to pass it by."""
        if path not in self._came_through and doors.say_through(path):
            self._came_through.add(path)

    def say_missed(self, path: str, served_path: str | None) -> None:
        """Say once that a WebSocket has come for a path that is not served: it is the host that is to be changed."""
        if not self._has_missed:
            self._has_missed = True
            missed = path_of(path)
            logger.warning(
                "a WebSocket has come for %r, and the path that is served is %r: app.asgi(path=%r) serves the other",
                missed,
                served_path or self.factory.served_path,
                missed,
            )

    def made(self, protocol: type[P]) -> P:
        """Give a connection of the class `protocol`."""
        self.factory.protocol = protocol
        return self.factory()  # type: ignore[no-any-return]

    def context(self) -> Context:
        """Give the context of a connection, or request, that comes here: what the lifespan has set is there, too."""
        context = copy_context()
        for variable, value in self._set.items():
            context.run(variable.set, value)
        return context

    async def start(self) -> None:
        """Wait until it has begun. Raises what went wrong."""
        if not self._ready.done():
            await asyncio.wait([self._task, self._ready], return_when=asyncio.FIRST_COMPLETED)
        if self._task.done() and not self._ready.done():
            self._task.result()
            raise RuntimeError("the application was stopped before it had started")

    def ask(self) -> None:
        """Begin the end, unless it has begun."""
        if not self._asked.is_set():
            self._asked.set()
            if not self._ready.done():
                self._task.cancel()  # the lifespan may take its time

    async def stop(self) -> None:
        """Begin the end, and wait for it. Who is cancelled here makes it hurry."""
        self.ask()
        await self._patience.see_through(self._task)

    async def _live(self) -> None:
        try:
            await self._begin()
            self._ready.set_result(None)
            await self._until_asked()
        except asyncio.CancelledError:
            if not self._asked.is_set():  # else it was asked to end while it began
                self._patience.lose()  # all tasks of the loop are being cancelled
                if self._lifespan is not None:
                    self._lifespan.abandon()
        finally:
            await self._end()

    async def _until_asked(self) -> None:
        """Wait for the end. uvicorn waits for streams before it says that it is: they end as soon as it does."""
        server = _uvicorn()
        while server is not None and not self._asked.is_set():
            if server.should_exit:
                _end_streams(self.factory)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._asked.wait()
        await self._asked.wait()

    async def _begin(self) -> None:
        app = self._app
        self.factory = factory = app.prepare()
        _check(app._options)
        self.protocol = factory.protocol
        self.exchange_at(None)
        if app._server is not None and app.is_running:  # what is around it is there already
            lifespan = app._server.lifespan
        else:
            lifespan = self._lifespan = app.new_lifespan()
            await lifespan.start()
            lifespan.watch(self._on_lost)
            self._exposition = expose(app._options, self._registry)
        before = copy_context()
        factory.context = lifespan.context or before
        self._set = {
            variable: value for variable, value in factory.context.items() if before.get(variable, before) is not value
        }
        warn_if_empty(factory.router)
        enable_loggers()

    def _http(self, path: str | None) -> Any:
        """Give what answers HTTP requests: with 501 where the application cannot, and has not been told to."""
        try:
            return Exchange(self.factory, self.context, path)
        except ImproperlyConfigured as exc:
            if self._app._options["http"]:
                raise
            return _Refusal(str(exc))

    def _registry(self) -> Any:
        from aiorest_ws.metrics import metrics_of

        return metrics_of(self.factory).exposed

    def _on_lost(self, error: RuntimeError) -> None:
        """Serve no more: what the handlers need is gone. Why has been logged."""
        self.ask()

    async def _end(self) -> None:
        self._asked.set()
        if hasattr(self, "factory"):
            grace = self.factory.limits.shutdown_timeout
            await self._step(shut_down(self.factory, grace=grace, patience=self._patience))
        if self._lifespan is not None:
            await self._step(self._lifespan.end(self._patience))
            if self._app._loop is self.loop:
                self._app._loop = None
        if self._exposition is not None:
            await self._patience.insist([asyncio.ensure_future(self._exposition.close())])

    async def _step(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Do a part of the end; whatever goes wrong in it, the others follow."""
        try:
            await coroutine
        except Exception:  # of the user's hooks, too
            logger.exception("the application did not end as it should")


def _uvicorn() -> Any:
    """Give uvicorn's server, if it is what stops at a signal here: it says nowhere else that it is about to."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return server if hasattr(server, "should_exit") else None


def _end_streams(factory: RequestHandlerFactory) -> None:
    """Have every stream of events say that it ends, and when to come back."""
    from aiorest_ws.exchange.stream import Listening  # which most applications do without

    for connection in list(factory.connections):
        if isinstance(connection, Listening):
            say_goodbye(connection)


def _check(options: Mapping[str, Any]) -> None:
    """Raise ImproperlyConfigured for what says where on a port of our own the routes are: here, their host does."""
    prefix = options["http_prefix"]
    if prefix:
        raise ImproperlyConfigured(
            f"http_prefix={prefix!r} is for a port of our own: "
            f"mount app.asgi() at {prefix!r} in the other application, without http_prefix"
        )
    if type(options["http"]) is not bool:
        raise ImproperlyConfigured(
            "http=… with an ASGI app is for a port of our own: mount app.asgi() in that app, with http=True"
        )


class _Refusal:
    """In the place of what answers HTTP requests."""

    def __init__(self, why: str) -> None:
        self._body = f"only WebSocket is served here: {why}\n".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(self._body))]
        await send({"type": "http.response.start", "status": 501, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else self._body})
