"""Options → a listening server: start, serve, run, stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar, Unpack
from weakref import WeakSet

from aiorest_ws.conf.environment import configured, strangers
from aiorest_ws.conf.factories import factory_of
from aiorest_ws.conf.opening import lifespan_of, open_door
from aiorest_ws.conf.options import OPTIONS, AllOptions, Options, checked, deflate_offer_accept, middleware_of
from aiorest_ws.exceptions import ImproperlyConfigured, RouterNotDefined
from aiorest_ws.handlers.exception_handlers import adding_handler
from aiorest_ws.logs.loggers import enable_loggers
from aiorest_ws.peers import OF_APPLICATIONS, of_peers
from aiorest_ws.registration.declarations import Lists, check_assigned, check_members
from aiorest_ws.registration.starting import check_routes
from aiorest_ws.request import RequestHandlerFactory, RequestHandlerProtocol
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.server.calling import call_soon, check_may_serve, check_no_loop, run_coroutine
from aiorest_ws.server.carriers import broker_for, reached
from aiorest_ws.server.lifespan import Lifespan, Shared
from aiorest_ws.server.listeners import reload_certificates, tls_of
from aiorest_ws.server.process import TOLD
from aiorest_ws.server.program import Program
from aiorest_ws.server.server import EndedEarly, Seat, Server
from aiorest_ws.server.users import close_all, connections_of
from aiorest_ws.urls.base import set_urlconf
from aiorest_ws.views import AROUND

if TYPE_CHECKING:
    from concurrent.futures import Future

    from aiorest_ws.abstract import AbstractRouter
    from aiorest_ws.asgi import AsgiApplication
    from aiorest_ws.asgi.life import Life
    from aiorest_ws.dependencies.depends import Depends
    from aiorest_ws.realtime.feeds import Feeds
    from aiorest_ws.schema.documents import Documents

__all__ = ("Application", "deflate_offer_accept")

H = TypeVar("H", bound=Callable[..., Any])
T = TypeVar("T")

_turns = count()  # of `run`

_SET = ("middlewares",)  # options that may be set afterwards


@of_peers(OF_APPLICATIONS)
class Application:
    """A server for one router. Every option may be given here or to `run`, `start` and `serve`, where it wins.

    When it starts, what is given in neither comes from the environment and from the settings module (see
    `conf.environment`). docs/reference/options.md has all options, `conf.options.TABLE` is its source; wrong ones are
    TypeError or ValueError here, with the nearest name.

    router    the SimpleRouter (or other AbstractRouter) that answers the requests; may be given by position
    state     a namespace for whatever handlers share
    """

    def __init__(self, router: AbstractRouter | None = None, **options: Unpack[Options]) -> None:
        self._given = checked(options if router is None else {"router": router, **options})
        self._lists = Lists()
        for name in AROUND:
            self._lists.note(f"{name} of the application", options.get(name))
        self._options = OPTIONS | self._given
        self._configured: dict[str, Any] | None = None  # read when it starts
        self.middlewares = [middleware_of(m) for m in self._options["middlewares"]]
        self.exception_handlers: dict[type[Exception], Callable[..., Any]] = {}
        self._dependency_overrides: dict[Any, Any] = {}
        self._factories: WeakSet[RequestHandlerFactory] = WeakSet()
        self.state: Any = SimpleNamespace()
        self._shared = Shared(self)
        self._live: Feeds | None = None
        self._channel: Any = None  # to the supervisor, in a worker
        self._loop: asyncio.AbstractEventLoop | None = None  # that serves
        self._lives: dict[asyncio.AbstractEventLoop, Life] = {}  # one for all that `asgi` gives, in each loop
        self._doors: dict[str, AsgiApplication] = {}  # by the path that they name
        self._server: Server | None = None
        self._seat: Seat | None = None  # in a worker: what it has of its supervisor
        self.addresses: list[Any] = []

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_members(cls, "give it to its constructor")

    if not TYPE_CHECKING:  # type checkers would take any name for an attribute

        def __setattr__(self, name: str, value: Any) -> None:
            check_assigned(self, name, value, "say it of views, or of a router")
            if type(self) is Application and name in OPTIONS and name not in _SET and not hasattr(type(self), name):
                raise AttributeError(f"nobody looks at {name!r} of an Application: Application(router, {name}=…)")
            super().__setattr__(name, value)

    @property
    def dependencies(self) -> Sequence[Depends]:
        """What runs before those of every route for its effect."""
        return tuple(self._options["dependencies"])

    @property
    def live(self) -> Feeds:
        """Says what has changed to whoever subscribes: `app.live.changed("/orders/7")`, from anywhere."""
        if self._live is None:
            from aiorest_ws.realtime.feeds import Feeds  # nobody needs it before a request comes

            self._live = Feeds(lambda: self._options["router"], lambda: self._reaches_others)
        return self._live

    @property
    def _reaches_others(self) -> bool:
        """Tell whether what is published goes to other processes, too, once the application has started."""
        return self._options["broker"] is not None or self._channel is not None

    def openapi(self, *, title: str | None = None, version: str | None = None) -> dict[str, Any]:
        """Describe the routes that are registered now in OpenAPI 3.1. Raises ImproperlyConfigured if that cannot be."""
        return self._documents.document("openapi", title, version)

    def asyncapi(self, *, title: str | None = None, version: str | None = None) -> dict[str, Any]:
        """Describe messages, and subscriptions, in AsyncAPI 3.0. Raises as `openapi`."""
        return self._documents.document("asyncapi", title, version)

    @cached_property
    def _documents(self) -> Documents:
        from aiorest_ws.schema.documents import Documents  # most do without

        return Documents(self)

    def exception_handler(self, exception: type[Exception]) -> Callable[[H], H]:
        """Make the decorated function, `def` or `async def`, answer when a request fails with `exception`.

        It takes request and exception; it returns or raises an error, or returns what a handler may.
        """
        return adding_handler(self.exception_handlers, exception)

    @property
    def dependency_overrides(self) -> dict[Any, Any]:
        """What takes the place of a dependency, from the next request on: `app.dependency_overrides[get_db] = fake`."""
        return self._dependency_overrides

    @dependency_overrides.setter
    def dependency_overrides(self, overrides: Mapping[Any, Any]) -> None:
        overrides = dict(overrides)
        self._dependency_overrides.clear()  # a server that runs has this very dict
        self._dependency_overrides.update(overrides)

    @property
    def factory(self) -> type[RequestHandlerFactory]:
        return self._options["factory"]  # type: ignore[no-any-return]

    @property
    def protocol(self) -> type[RequestHandlerProtocol]:
        return self._options["protocol"]  # type: ignore[no-any-return]

    @property
    def certificate(self) -> str | None:
        return self._options["certificate"]  # type: ignore[no-any-return]

    @property
    def key(self) -> str | None:
        return self._options["key"]  # type: ignore[no-any-return]

    @property
    def isSecure(self) -> bool:
        """Tell whether the server speaks TLS."""
        return bool((self.certificate and self.key) or self._options["ssl_context"])

    @property
    def url(self) -> str:
        """Template of the server's url: scheme, then {0} host, {1} port, {2} path."""
        return "wss://{0}:{1}/{2}" if self.isSecure else "ws://{0}:{1}/{2}"

    def generate_url(self, host: str, port: int, path: str = "") -> str:
        """Give the url that clients connect to."""
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return self.url.format(host, port, path.strip("/"))

    def generate_factory(self, url: str, **options: Unpack[AllOptions]) -> RequestHandlerFactory:
        """Give the factory of the listener at `url`. Override it to set up your own."""
        return factory_of(self, url, self._options | checked(options))

    def prepare(self, **options: Unpack[AllOptions]) -> RequestHandlerFactory:
        """Do what `start` does before it listens: check the options, and give the factory that will serve.

        For whoever brings connections from elsewhere, as `aiorest_ws.testing` does. A loop has to run.
        """
        self._take(options)
        if self._options["router"] is None:
            raise RouterNotDefined()
        if isinstance(self._options["router"], SimpleRouter):
            check_routes(self._options["router"], self.middlewares, self._lists)
        enable_loggers()
        for level, line in strangers():
            logging.getLogger("aiorest_ws").log(level, "%s", line)
        self._loop = asyncio.get_running_loop()
        host, port, path = self._options["host"], self._options["port"], self._options["path"]
        factory = self.generate_factory(self.generate_url(host or "0.0.0.0", port or 80, path))
        self._factories.add(factory)
        factory.pipeline  # noqa: B018 (made now, so that what is wrong with it is said before anybody connects)
        return factory

    def connections_of(self, user: Any) -> list[RequestHandlerProtocol]:
        """Give the open connections of `user`: those whose handshake had a token of theirs, or that renewed it since.

        user    a user, or the id of one: compared with the `id` of a connection's user, and with the `sub` of its token

        Looks at every connection, and may be called from any thread.
        """
        return connections_of(list(self._factories), user)

    def close_connections_of(self, user: Any, code: int = 4401, reason: str | None = None) -> int:
        """Close the connections of `user`, and tell how many there are; from any thread.

        A token that is still valid opens new ones: take it back, too (`is_revoked`).
        """
        return close_all(self.connections_of(user), code, reason)

    def new_lifespan(self) -> Lifespan:
        """Give what is around the serving of a prepared application; to be started before it, and ended after."""
        options = self._options
        around = lifespan_of(options), options["on_startup"], options["on_shutdown"]
        return Lifespan(self, *around, self._shared, broker_for(options["broker"], self._channel))

    def asgi(self, path: str | None = None) -> AsgiApplication:
        """Give this application as an ASGI 3 application, to mount it in another one. It is one itself, as `asgi()`.

        path    the only one that is served, in place of the option's: all of it, or what is left of it below a mount
        """
        from aiorest_ws.asgi import AsgiApplication  # who serves by itself does not need it

        return AsgiApplication(self, path)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._door(scope, receive, send)

    _door = cached_property(asgi)

    @asynccontextmanager
    async def connected(self, **options: Unpack[AllOptions]) -> AsyncIterator[Feeds]:
        """Reach the broker without serving, and give `live`: for a script or a job that publishes.

        Raises ImproperlyConfigured, in one line, if it cannot be reached, and if there is none.
        """
        self._take(options)
        async with reached(self.live, self._options["broker"]) as live:
            yield live

    @property
    def is_running(self) -> bool:
        """Tell whether `start` was called, and `stop` has not ended yet."""
        return self._server is not None and not self._server.is_over

    async def start(self, **options: Unpack[AllOptions]) -> None:
        """Listen. Returns once connections are accepted; `addresses` says where.

        If the lifespan ends before its time, the application stops by itself: then it `is_running` no longer.
        Raises ImproperlyConfigured with one line that says what to change; RuntimeError if it is running, and if
        somebody stops it meanwhile.
        """
        if self._server is not None and self.is_running:
            what = "still stopping: `await app.stop()` first" if self._server.is_ending else "already running"
            raise RuntimeError(f"application is {what}")
        factory = self.prepare(**options)
        factory.tls = tls_of(self._options)
        # Before the server is made: what it calls runs in the context of now.
        self._urlconf = {"path": factory.url, "router": factory.router}
        set_urlconf(self._urlconf)
        open_door(factory, self._options)
        self._server = Server(self, factory, self._options)
        await self._server.start()

    def _on_addresses(self, server: Server) -> None:
        self.addresses = server.addresses
        host, address = self._options["host"], self.addresses[0]
        if isinstance(address, tuple) and host:
            self._urlconf["path"] = self.generate_url(host, address[1], self._options["path"]).rstrip("/")

    def _on_end(self, server: Server) -> None:
        if self._server is server:
            self._server = self._loop = None
            self.addresses = []

    @property
    def _listening(self) -> RequestHandlerFactory | None:
        """The factory of the connections, while more may come."""
        return None if self._server is None or self._server.is_ending else self._server.factory

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Where the metrics are served, host and port, while they are."""
        exposition = None if self._server is None else self._server.exposition
        return None if exposition is None else exposition.address

    def reload_certificates(self) -> None:
        """Read `certificate` and `key` again: who connects from now on gets what they hold. From any thread.

        Raises ImproperlyConfigured, one line, for files that cannot be used: then those before serve on.
        """
        reload_certificates(self._listening, self._options)

    async def stop(self) -> None:
        """Stop listening, let requests in flight finish, close every connection with 1001; once for all who ask.

        New requests get status 503; `shutdown_timeout` bounds the waiting. Who is cancelled while it waits here makes
        it hurry: handlers are cancelled at once, and nothing is left when CancelledError comes. Handlers and hooks, and
        what they begin, do not wait here: the end waits for them. Does nothing when not running.
        """
        if self._server is not None:
            await self._server.stop()

    def shut_down(self) -> None:
        """Ask for the end, as SIGTERM does: `run` and `serve` return. From anywhere, a thread or a signal handler, too.

        Waits for nothing. Does nothing when not running, or when that was asked before.
        """
        if self._server is not None:
            self._server.ask_soon()

    async def serve(self, **options: Unpack[AllOptions]) -> None:
        """Start, and run until `stop` or `shut_down` is called, or this coroutine is cancelled: once the end comes when
        requests in flight have been answered, twice at once.

        Raises RuntimeError if the lifespan ends before, once everything is stopped.
        """
        check_may_serve("serve()")
        try:
            await self.start(**options)
        except EndedEarly:
            return
        await self._serve_on()

    async def _serve_on(self) -> None:
        """Serve to the end. Raises RuntimeError if that is the lifespan's fault."""
        server = self._server
        if server is None:
            return  # it has ended while it told that it listens
        try:
            await server.until_asked()
        finally:
            await self.stop()
        if server.lost is not None:
            raise server.lost

    # From threads

    def call_soon(self, function: Callable[..., Any], /, *args: Any) -> None:
        """Have `function` called in the loop that serves, soon; from any thread. What it raises is logged.

        Raises RuntimeError when no loop serves.
        """
        call_soon(self._loop, function, *args)

    def run_coroutine(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `coroutine` in the loop that serves, and give a future: `result()` waits for it, in another thread.

        Raises RuntimeError when no loop serves, and in the loop's own thread, where it would wait for itself.
        """
        return run_coroutine(self._loop, coroutine)

    def run(self, **options: Unpack[AllOptions]) -> None:
        """Serve until SIGINT or SIGTERM, then `stop`; at the second signal at once.

        With `workers`, the same command line is run again in each of so many processes: it has to come to this call
        there, too, where it serves and does not return. What is behind it runs here only.

        Blocks; what keeps it from starting is one line on stderr and exit code 1. So does a lifespan that ends before
        its time: that is logged, and ends it as a signal does, but with exit code 1.
        """
        check_may_serve("run()")
        try:
            self._take(options)
        except ImproperlyConfigured as exc:
            raise SystemExit(f"aiorest-ws: {exc}") from None
        check_no_loop()
        turn = next(_turns)
        if TOLD is None and self._options["workers"] == 1:
            Program(self, self._options).run()
        else:
            from aiorest_ws.workers import program_of

            program_of(self, self._options, turn).run()

    def _take(self, options: Mapping[str, Any]) -> None:
        """Let options of `run`, `start` and `serve` win over those of the constructor, and these over the settings."""
        self._given = self._given | checked(options)
        if self._configured is None:
            self._configured = configured()
            if "middlewares" in self._configured and "middlewares" not in self._given:
                self.middlewares = self._configured["middlewares"]
        self._options = OPTIONS | self._configured | self._given
        if "middlewares" in options:
            self.middlewares = [middleware_of(m) for m in options["middlewares"]]
