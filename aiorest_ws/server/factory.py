"""The options of a listener in, the protocols of its connections out, and what outlives them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any, ClassVar

from autobahn.asyncio.websocket import WebSocketServerFactory

from aiorest_ws._speedups import Pipeline, Request, SpareTasks, is_installed, quickest
from aiorest_ws._speedups.unsendable import giver
from aiorest_ws.abstract import AbstractRouter
from aiorest_ws.callables.failures import sole
from aiorest_ws.connection.autobahn import ExactTimer
from aiorest_ws.connection.compression import Packers
from aiorest_ws.connection.protocol import RequestHandlerProtocol
from aiorest_ws.dependencies.order import effects_of
from aiorest_ws.exceptions import ImproperlyConfigured, RouterNotDefined, SerializerError
from aiorest_ws.http.hosts import Hosts
from aiorest_ws.http.origins import Origins
from aiorest_ws.limits import Limits
from aiorest_ws.limits.admission import Admissions
from aiorest_ws.limits.watchdog import Watch
from aiorest_ws.logs.access import AccessLog
from aiorest_ws.logs.slow import TimedPipeline
from aiorest_ws.logs.throttled import Complaints, path_of, printable
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.server.hooks import Hooks
from aiorest_ws.server.patience import Patience
from aiorest_ws.server.threads import Threads

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiorest_ws.dependencies.depends import Depends
    from aiorest_ws.middlewares import Middleware
    from aiorest_ws.realtime.feeds import Feeds

__all__ = ("RequestHandlerFactory",)

logger = logging.getLogger("aiorest_ws")


class RequestHandlerFactory(WebSocketServerFactory):
    """Makes the protocols of one listener, and holds what outlives them. Protocols reach it as `self.factory`.

    Takes any keyword: `router` and Autobahn's own (`url`, `protocols`, `server`, `headers`, `externalPort`, `loop`) are
    used, others are left to a subclass:

        class CustomHandlerFactory(RequestHandlerFactory):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self._cookies = kwargs.get("cookies_dump", {})

    middlewares        instances, in order
    dependencies       list of Depends(…), which run before those of every route for their effect
    exception_handlers    exception class → function that answers for it
    dependency_overrides  dependency → what takes its place
    limits             what clients may take of the server, a `limits.Limits`
    served_path        the only path that is accepted at the handshake ("/api"), or None for any
    health_path        where a plain GET or HEAD is told how the server is ("/healthz"), or None
    http               takes connections that ask for no WebSocket, an `exchange.port.Port`; None: they are refused
    allowed_hosts      what clients may call the server, as `http.hosts.Hosts` takes it
    proxy_protocol     each connection begins with a header of the PROXY protocol
    tls                what serves wss://: an ssl.SSLContext for those who connect from now on, or None
    is_local           it is reached from its own machine only, and by no proxy there
    allowed_origins    whose pages may connect: None for the server's own, or a list as `http.origins.Origins` takes it
    compress_threshold    bytes of a reply or a push, from which on it is compressed, where that was agreed on
    subprotocols       in order of preference
    on_connect, on_disconnect    functions of the application, `def` or `async def`
    app                the Application that listens; None for a factory that is used without one
    connections        the open connections, and those in their handshake
    admissions         which of them were let in
    hooks              runs `on_connect` and `on_disconnect`
    context            the context variables that every connection begins with: a copy of these, None for those of now
    idempotency        who asks with a key, as the option has it
    debug              show tracebacks to clients, log handlers that block the event loop, let local pages connect
    access_log         log a line per request: True, "text" or "json"
    metrics            a `metrics.Metrics` that counts connections and requests, or None
    stopping           new requests are refused with status 503
    accepts            connections are taken, if only to answer probes
    unsent             events and replies that came too late for their client
    unpushed           events that were left out, as their client was behind
    """

    protocol = RequestHandlerProtocol
    middlewares: Iterable[Middleware] = ()
    dependencies: Sequence[Depends] = ()
    stopping = False
    accepts = True
    served_path: str | None = None
    health_path: str | None = None
    http: Any = None
    allowed_hosts: Iterable[str] | None = None
    allowed_origins: Iterable[str] | None = None
    compress_threshold = 1024
    proxy_protocol = False
    tls: SSLContext | None = None
    is_local = False
    subprotocols: Iterable[str] = ()
    on_connect: Callable[[Any], Any] | None = None
    on_disconnect: Callable[[Any, Any, Any], Any] | None = None
    app: Any = None
    context: Context | None = None
    idempotency: Any = None
    debug = False
    access_log: bool | str = False
    metrics: Any = None

    _AUTOBAHN: ClassVar[tuple[str, ...]] = ("url", "protocols", "server", "headers", "externalPort", "loop")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        options = {"server": "aiorest-ws"} if len(args) < 3 else {}
        options |= {key: kwargs[key] for key in self._AUTOBAHN if key in kwargs}
        super().__init__(*args, **options)
        self.packers = Packers()
        self.declines_compression = self.perMessageCompressionAccept
        self._batched_timer = ExactTimer()
        self.setProtocolOptions(failByDrop=False, echoCloseCodeReason=True)  # RFC 6455 §5.5.1
        self._watch: Watch | None = None
        self._limits = Limits(max_message_size=None, handshake_timeout=None, close_timeout=1.0)  # Autobahn's own
        self.limits = Limits()
        self.connections: set[RequestHandlerProtocol] = set()
        self._left_behind: set[asyncio.Task[Any]] = set()  # most of them are being cancelled
        self.surviving: set[asyncio.Task[Any]] = set()  # those that are not: they are to come to their end
        self.unsent = 0
        self.unpushed = 0
        self.failures = Complaints(logger)  # of the application: no client uses up what they may say
        self.complaints = Complaints(logger)
        self.refusals = Complaints(logger)  # of handshakes
        self.misses = Complaints(logger)  # about paths that are not served: scanners must not use up the others
        self.exception_handlers: dict[type[Exception], Callable[..., Any]] = {}
        self.dependency_overrides: dict[Any, Any] = {}
        self._router: AbstractRouter | None = None
        self._pipeline: Pipeline | None = None
        self._spare_tasks: SpareTasks | None = None
        self._when_empty: Callable[[], None] | None = None
        self._origins: Origins | None = None
        self._hosts: Hosts | None = None
        self._access: AccessLog | None = None
        self._live: Feeds | None = None
        self.admissions = Admissions()
        self._threads = Threads()
        self.hooks = Hooks(self.failures)
        self.router = kwargs.get("router")

    @property
    def limits(self) -> Limits:
        """What clients may take of the server. What is not changed here stays as `setProtocolOptions` has it."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        old, self._limits = self._limits, limits
        self._pipeline = None
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        options: dict[str, Any] = {}
        if limits.max_message_size != old.max_message_size:
            options["maxMessagePayloadSize"] = limits.max_message_size or 0
        if limits.handshake_timeout != old.handshake_timeout:
            options["openHandshakeTimeout"] = limits.handshake_timeout or 0
        if limits.close_timeout != old.close_timeout:
            options["closeHandshakeTimeout"] = limits.close_timeout
        if options:
            self.setProtocolOptions(**options)

    @property
    def router(self) -> AbstractRouter | None:
        """The router of every connection; an instance of an AbstractRouter. Setting something false changes nothing."""
        return self._router

    @router.setter
    def router(self, router: AbstractRouter | None) -> None:
        if not router:
            return
        if not isinstance(router, AbstractRouter):
            hint = ", pass an instance of it" if isinstance(router, type) else ""
            raise TypeError(f"router must be an instance of AbstractRouter, got {router!r}{hint}")
        self._router = router
        self._pipeline = None

    @property
    def pipeline(self) -> Pipeline:
        """The way of every request; made when it is first used, from the router and the options above."""
        if self._pipeline is None:
            router = self._router
            if router is None:
                raise RouterNotDefined()
            # What is imported here would keep everybody waiting at the first MessagePack, and at the first long reply.
            is_installed()
            if self.perMessageCompressionAccept is not self.declines_compression:
                quickest()
            plain = type(router).process_request is SimpleRouter.process_request
            trie = router._trie if isinstance(router, SimpleRouter) else None
            self._pipeline = (TimedPipeline if self.debug else Pipeline)(
                trie,
                process=None if plain else router.process_request,
                middlewares=self.middlewares,
                logs=bool(self.access_log),
                debug=self.debug,
                report=self._report,
                threads=self._threads.call,
                recoveries=self._recoveries(),
                overrides=self.dependency_overrides,
                dependencies=self._effects(router),
                max_event_name=self.limits.max_event_name or 0,
                live=None if trie is None else self.live,
                keys=self._keys(),
            )
        return self._pipeline

    @property
    def live(self) -> Feeds:
        """What carries changes to who subscribes: the application's, or its own without one."""
        if self._live is None:
            from aiorest_ws.realtime.feeds import Feeds

            self._live = Feeds(lambda: self._router) if self.app is None else self.app.live
            self._live.most_history = self.limits.max_history
        return self._live

    def _keys(self) -> Any:
        """Give what does once what comes with a key; its ledger is the application's."""
        if self.idempotency is False:
            return None
        from aiorest_ws.idempotency.keys import Keys  # nobody needs it before a request comes

        return Keys(self.idempotency, self.live)

    def _effects(self, router: AbstractRouter) -> tuple[Any, ...]:
        effects = effects_of(self.dependencies, "the application")
        if effects and not isinstance(router, SimpleRouter):
            raise ImproperlyConfigured(
                f"dependencies of the application run before handlers of a SimpleRouter, its router is a "
                f"{type(router).__qualname__}, which would not run them"
            )
        return effects

    def _recoveries(self) -> list[dict[type, Any]]:
        """Give the exception handlers for requests that match no route, and for all others after their routers'."""
        router = self._router
        own = [self.exception_handlers]
        return [router.exception_handlers, *own] if isinstance(router, SimpleRouter) else own

    def _report(self, request: Request, exc: BaseException) -> None:
        """Log an unexpected exception, once, with what was asked."""
        if self._access is not None:
            self._access.flush()  # the lines before this one
        from aiorest_ws.callables.advice import advise  # nobody needs it before a handler fails

        why = sole(exc)
        advise(why, getattr(self.app, "state", None))
        asked = " for a subscription" if request.subscribing else ""
        text = f"{request.method!r:.20} '{path_of(request.url)}' failed{asked}: {type(why).__name__}"
        if isinstance(why, SerializerError) and why.why:
            text += f": {printable(why.why)} (from {printable(giver(request))})"
        context = request._ended_in
        if context is None:
            self.failures.write(logging.ERROR, text, exc)
        else:
            context.copy().run(self.failures.write, logging.ERROR, text, exc)

    @property
    def threads(self) -> int:
        """How many threads there may be for the handlers of views that are `threaded`; set it before serving."""
        return self._threads.most

    @threads.setter
    def threads(self, most: int | None) -> None:
        self._threads = Threads(most)
        self._pipeline = None

    @property
    def spare_tasks(self) -> SpareTasks:
        """What runs the handlers that take time; made in the loop that serves."""
        if self._spare_tasks is None:
            self._spare_tasks = SpareTasks(asyncio.get_running_loop())
        return self._spare_tasks

    # The handshake, and the end

    def serves(self, path: str, at: str | None = None) -> bool:
        """Tell whether `path` is served where nothing but `at` is; None is `served_path`."""
        at = self.served_path if at is None else at
        return at is None or path in (at, at.rstrip("/") + "/")

    @property
    def hosts(self) -> Hosts:
        """What clients may call the server; made when it is first used, from `allowed_hosts` and `is_local`."""
        if self._hosts is None:
            self._hosts = Hosts(self.allowed_hosts, is_local=self.is_local)
        return self._hosts

    @property
    def origins(self) -> Origins:
        """Whose pages may connect; made when it is first used, from `allowed_origins` and `debug`."""
        if self._origins is None:
            self._origins = Origins(self.allowed_origins, debug=self.debug)
        return self._origins

    @property
    def access(self) -> AccessLog:
        """The access log; made when it is first used, as `access_log` says."""
        if self._access is None:
            self._access = AccessLog(self.access_log)
        return self._access

    @property
    def gatekeepers(self) -> list[Any]:
        """The middlewares that want to see each connection before it is accepted."""
        return [m for m in self.middlewares if callable(getattr(m, "at_handshake", None))] if self.middlewares else []

    def arrive(self, connection: Any, address: str | None) -> None:
        """Take note of a connection whose handshake begins, TLS's or WebSocket's. Another may have to go for it.

        address    of the other end, as far as it is known
        """
        if not self.accepts:
            connection.transport.abort()  # it was accepted just before
            return
        gone = self.admissions.arrive(connection, None if self.trustXForwardedFor else address, self.limits)
        if gone is not None:
            self.admissions.release(gone)
            gone.transport.abort()

    def take(self, connection: RequestHandlerProtocol) -> None:
        """Take note of a new connection."""
        self.connections.add(connection)
        if self._watch is None:
            self._watch = Watch(self.limits, self.connections)
        self._watch.start()

    def leaves(self, connection: RequestHandlerProtocol) -> None:
        """Take note that `connection` is on its way out."""
        if self._watch is not None:
            self._watch.leaves(connection)

    def forget(self, connection: RequestHandlerProtocol) -> None:
        """Take note that `connection` is gone."""
        self.connections.discard(connection)
        if self._watch is not None:
            self._watch.forget(connection)
        self.admissions.release(connection)
        for task in connection.tasks:
            self.outlives(task)
        for task in connection.survivors:
            self.outlives(task, survives=True)
        self.unsent += connection._unsent
        if not self.connections and self._when_empty is not None:
            self._when_empty()

    def outlives(self, task: asyncio.Task[Any], *, survives: bool = False) -> None:
        """Take note of a handler that goes on although its client is gone, and `survives` if it is to."""
        left = self.surviving if survives else self._left_behind
        left.add(task)
        task.add_done_callback(left.discard)

    def when_empty(self) -> asyncio.Future[None]:
        """Give a future that is done when the last connection is gone."""
        empty = asyncio.get_running_loop().create_future()
        self._when_empty = lambda: None if empty.done() else empty.set_result(None)
        if not self.connections:
            self._when_empty()
        return empty

    @property
    def unfinished(self) -> list[asyncio.Task[Any]]:
        """The handlers whose end is to be waited for."""
        tasks = [*self.surviving, *(task for connection in self.connections for task in connection.tasks)]
        return [task for task in tasks if not task.done()]

    @property
    def running(self) -> list[asyncio.Task[Any]]:
        """The handlers that run, those too whose connections are gone."""
        of_connections = (task for connection in self.connections for task in connection.tasks)
        return list({*self.surviving, *self._left_behind, *of_connections})

    async def release(self, patience: Patience) -> None:
        """Let go of what serves connections, of which there are none left; hooks get some time to end."""
        self._when_empty = None
        if self._watch is not None:
            self._watch.stop()
        if self._access is not None:
            self._access.flush()
        if self._live is not None:
            await patience.insist(self._live.stop(self))
        if self._pipeline is not None and self._pipeline.keys is not None:
            self._pipeline.keys.stop()
        await self.hooks.end(patience)
        await self._threads.close(patience)
        if self._spare_tasks is not None:
            spare = self._spare_tasks.close()
            self._spare_tasks = None
            if spare is not None:
                await patience.insist([spare])
