"""Options → a listening server: start, serve, run, stop."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from time import gmtime, strftime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from aiorest_ws._speedups import COMPILED, REASON
from aiorest_ws.exceptions import ImproperlyConfigured, RouterNotDefined
from aiorest_ws.lifespan import Lifespan
from aiorest_ws.limits import Limits
from aiorest_ws.listener import Listening, listen, tls_context
from aiorest_ws.options import OPTIONS, checked, deflate_offer_accept, middleware_of
from aiorest_ws.process import loop_factory, on_signals, set_up_logging
from aiorest_ws.recoveries import adding_handler
from aiorest_ws.request import RequestHandlerFactory, RequestHandlerProtocol
from aiorest_ws.routers import SimpleRouter, warn_if_empty
from aiorest_ws.shutdown import shut_down
from aiorest_ws.sockets import Place
from aiorest_ws.sources import configured
from aiorest_ws.urls.base import set_urlconf

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiorest_ws.abstract import AbstractRouter
    from aiorest_ws.metrics import Exposition

__all__ = ("Application", "deflate_offer_accept")

H = TypeVar("H", bound=Callable[..., Any])


class Application:
    """A server for one router. Every option may be given here or to `run`, `start` and `serve`, where it wins.

    When it starts, what is given in neither comes from the environment and from the settings module (see `sources`).

    router            the SimpleRouter (or other AbstractRouter) that answers the requests; may be given by position
    middlewares       classes or instances with `process_request(request, handler)`, or that are called with (request,
                      call_next), in order
    host, port        address to listen on, None for all of the machine's; port 0 takes a free one (see `addresses`).
                      `ip` is another name of `host`
    reuse_port        let other processes listen on the port, too
    unix_path         listen on this Unix socket instead; behind a NUL, in Linux's abstract namespace
    unix_mode         permissions of its file, as of chmod: 0o660
    sock, fd          listen on this socket, or descriptor of one, that is bound already. Without one of these, what
                      systemd hands over (LISTEN_FDS) comes before host and port
    path              the only path that is accepted at the handshake; "" is "/"
    certificate, key  paths of PEM files: serve wss://, TLS 1.2 or newer
    key_password      of an encrypted key
    ssl_context       an ssl.SSLContext instead of them
    compress          accept permessage-deflate, as `accept_function` decides
    compress_threshold    bytes of a reply or a push, from which on it is compressed
    factory, protocol subclasses of RequestHandlerFactory and RequestHandlerProtocol
    factory_options   keyword arguments of the factory
    loop              "auto" (uvloop when it is installed), "asyncio" or "uvloop"; only `run` makes a loop
    log_level         "critical", "error", "warn", "info", "debug" or "trace"; only `run` sets up logging
    access_log        log a line per request to "aiorest_ws.access": True or "text", or "json"
    metrics           a `metrics.Metrics` that counts connections and requests
    metrics_port      serve them on this port, too (of `metrics_host`, 127.0.0.1), for Prometheus; see `metrics_address`
    debug             show tracebacks of failed handlers to clients, log those that block the event loop; pages of this
                      machine, and files, may connect
    allowed_origins   whose pages may connect: None for the server's own, or a list as `origins.Origins` takes it
    trusted_proxies   how many proxies there are in front of the server, whose X-Forwarded-For and -Proto are believed
    subprotocols      of the server, in order of preference
    threads           how many there may be for views that are `threaded`; None: 4 more than processors, at most 32
    lifespan          given the application, gives an async context manager: entered before the server listens, left
                      after its last connection
    on_startup        functions called with the application, `def` or `async def`, before the server listens
    on_shutdown       and after its last connection
    on_connect        called with each connection before it is accepted, may be `async def`: raises
                      exceptions.ConnectionRefused or gives False to refuse it, may set its `session`
    on_disconnect     called with connection, close code and reason at the end of each that was accepted

    Every field of `limits.Limits` is an option too. `state` is a namespace for whatever handlers share.
    """

    def __init__(self, router: AbstractRouter | None = None, **options: Any) -> None:
        self._given = checked(options if router is None else {"router": router, **options})
        self._options = OPTIONS | self._given
        self._configured: dict[str, Any] | None = None  # read when it starts
        self.middlewares = [middleware_of(m) for m in self._options["middlewares"]]
        self.exception_handlers: dict[type, Any] = {}
        self._dependency_overrides: dict[Any, Any] = {}
        self.state: Any = SimpleNamespace()
        self._lifespan: Lifespan | None = None
        self.addresses: list[Any] = []
        self._server: Listening | None = None
        self._listening: RequestHandlerFactory | None = None
        self._stopped: asyncio.Event | None = None
        self._hurry = asyncio.Event()  # set when nobody is to be waited for any more
        self._exposition: Exposition | None = None

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

    def generate_factory(self, url: str, **options: Any) -> RequestHandlerFactory:
        """Give the factory of the listener at `url`. Override it to set up your own."""
        settings = self._options | checked(options)
        factory = settings["factory"](url, **settings["factory_options"])
        factory.protocol = settings["protocol"]
        factory.router = settings["router"]
        factory.middlewares = tuple(self.middlewares)
        factory.exception_handlers = self.exception_handlers
        factory.dependency_overrides = self.dependency_overrides
        factory.app = self
        factory.limits = Limits(**{field.name: settings[field.name] for field in fields(Limits)})
        factory.served_path = "/" + settings["path"].strip("/")
        factory.debug = settings["debug"]
        factory.access_log = settings["access_log"]
        factory.threads = settings["threads"]
        names = ("allowed_origins", "compress_threshold", "metrics", "subprotocols", "on_connect", "on_disconnect")
        for name in names:
            if settings[name] != OPTIONS[name]:  # a factory class may bring its own
                setattr(factory, name, settings[name])
        factory.setProtocolOptions(**_protocol_options(settings))
        return factory  # type: ignore[no-any-return]

    def prepare(self, **options: Any) -> RequestHandlerFactory:
        """Do what `start` does before it listens: check the options, and give the factory that will serve.

        For whoever brings connections from elsewhere, as `aiorest_ws.testing` does. A loop has to run.
        """
        self._take(options)
        if self._options["router"] is None:
            raise RouterNotDefined()
        self._check_authentication()
        host, port, path = self._options["host"], self._options["port"], self._options["path"]
        factory = self.generate_factory(self.generate_url(host or "0.0.0.0", port or 80, path))
        factory.pipeline  # noqa: B018 (made now, so that what is wrong with it is said before anybody connects)
        return factory

    def new_lifespan(self) -> Lifespan:
        """Give what is around the serving of a prepared application; to be started before it, and ended after."""
        return Lifespan(self, *(self._options[name] for name in ("lifespan", "on_startup", "on_shutdown")))

    @property
    def is_running(self) -> bool:
        """Tell whether `start` was called, and `stop` has not ended yet."""
        return self._lifespan is not None

    async def start(self, **options: Any) -> None:
        """Listen. Returns once connections are accepted; `addresses` says where.

        Raises ImproperlyConfigured with one line that says what to change.
        """
        if self._lifespan is not None:
            raise RuntimeError("application is already running")
        factory = self.prepare(**options)
        context = self._options["ssl_context"] or tls_context(self.certificate, self.key, self._options["key_password"])
        # Before the server is made: what it calls runs in the context of now.
        urlconf = {"path": factory.url, "router": factory.router}
        set_urlconf(urlconf)
        self._hurry = asyncio.Event()
        self._lifespan = lifespan = self.new_lifespan()
        try:
            await lifespan.start()
            warn_if_empty(factory.router)
            self._expose(factory)
            await self._listen(factory, context)
        except BaseException:  # raised again: what was started ends however the start failed
            self._lifespan = None
            await lifespan.end(self._hurry)
            await self._conceal()
            raise
        host, address = self._options["host"], self.addresses[0]
        if isinstance(address, tuple) and host:
            urlconf["path"] = self.generate_url(host, address[1], self._options["path"]).rstrip("/")
        self._stopped = asyncio.Event()

    def _expose(self, factory: RequestHandlerFactory) -> None:
        """Serve the metrics, if there is a port for them."""
        port = self._options["metrics_port"]
        if port is None:
            return
        try:
            from aiorest_ws.metrics import Exposition
        except ImportError as exc:
            raise ImproperlyConfigured(str(exc)) from exc
        self._exposition = Exposition(factory, self._options["metrics_host"], port)

    async def _conceal(self) -> None:
        exposition, self._exposition = self._exposition, None
        if exposition is not None:
            await exposition.close()

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Where the metrics are served, host and port, while they are."""
        return None if self._exposition is None else self._exposition.address

    async def _listen(self, factory: RequestHandlerFactory, context: SSLContext | None) -> None:
        place = Place(**{field.name: self._options[field.name] for field in fields(Place)})
        self._server = await listen(factory, place, context)
        self._listening = factory
        self.addresses = self._server.addresses

    async def stop(self) -> None:
        """Stop listening, let requests in flight finish, close every connection with 1001.

        New requests get status 503; `shutdown_timeout` bounds the waiting. Does nothing when not running.
        """
        server, factory, lifespan = self._server, self._listening, self._lifespan
        if server is None or factory is None or lifespan is None:
            return
        self._server = self._listening = None
        server.close()
        try:
            await shut_down(factory, grace=factory.limits.shutdown_timeout, hurry=self._hurry)
            await server.wait_closed()
        finally:
            await lifespan.end(self._hurry)
            self._lifespan = None
            await self._conceal()
        self.addresses = []
        if self._stopped is not None:
            self._stopped.set()

    async def serve(self, **options: Any) -> None:
        """Start, and run until `stop` is called or this coroutine is cancelled."""
        await self.start(**options)
        assert self._stopped is not None
        try:
            await self._stopped.wait()
        finally:
            await self.stop()

    def run(self, **options: Any) -> None:
        """Serve until SIGINT or SIGTERM, then `stop`; at the second signal at once.

        Blocks; what keeps it from starting is one line on stderr and exit code 1.
        """
        try:
            self._take(options)
        except ImproperlyConfigured as exc:
            raise SystemExit(f"aiorest-ws: {exc}") from None
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("run() cannot be called where an event loop is running: use `await app.serve()` there")
        set_up_logging(self._options["log_level"], as_json=self._options["access_log"] == "json")
        try:
            with asyncio.Runner(loop_factory=loop_factory(self._options["loop"])) as runner:
                runner.run(self._run())
        except KeyboardInterrupt:
            pass  # where the loop takes no signal handlers (Windows)
        except ImproperlyConfigured as exc:
            logging.getLogger("aiorest_ws").debug("cannot start", exc_info=exc)
            raise SystemExit(f"aiorest-ws: {exc}") from None

    async def _run(self) -> None:
        stop = asyncio.Event()
        on_signals(lambda: self._hurry.set() if stop.is_set() else stop.set())
        starting, stopping = asyncio.ensure_future(self.start()), asyncio.ensure_future(stop.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():  # a lifespan that takes long to start is not waited for
            starting.cancel()
            await asyncio.wait([starting])
            return
        await starting
        try:
            for line in self._banner():
                print(line, flush=True)
            await stop.wait()
        finally:
            await self.stop()

    def _banner(self) -> list[str]:
        from aiorest_ws import __version__

        path = self._options["path"]
        urls = [f"unix:{a}" if isinstance(a, str) else self.generate_url(a[0], a[1], path) for a in self.addresses]
        metrics = ["Metrics at http://{}:{}/metrics".format(*where)] if (where := self.metrics_address) else []
        python = f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"
        return [
            strftime("%d %b, %Y - %X", gmtime()),
            f"aiorest-ws version {__version__}",
            f"hot path: compiled ({python})" if COMPILED else f"hot path: pure Python ({REASON})",
            f"Server started at {', '.join(urls)}",
            *metrics,
            "Quit the server with CONTROL-C.",
        ]

    def _take(self, options: dict[str, Any]) -> None:
        """Let options of `run`, `start` and `serve` win over those of the constructor, and these over the settings."""
        self._given = self._given | checked(options)
        if self._configured is None:
            self._configured = configured()
            if "middlewares" in self._configured and "middlewares" not in self._given:
                self.middlewares = self._configured["middlewares"]
        self._options = OPTIONS | self._configured | self._given
        if "middlewares" in options:
            self.middlewares = [middleware_of(m) for m in options["middlewares"]]

    def _check_authentication(self) -> None:
        """Refuse to start when a view asks for a user that no middleware would ever set."""
        router = self._options["router"]
        if not isinstance(router, SimpleRouter):
            return
        for route in router.routes:
            around = (*self.middlewares, *route.middlewares)
            if route.handler.auth_required and not any(getattr(m, "authenticates", False) for m in around):
                raise ImproperlyConfigured(
                    f"view {route.handler.__qualname__} at {route.path} has auth_required, but no middleware of the "
                    "application authenticates: add one that has `authenticates = True`"
                )


def _protocol_options(settings: dict[str, Any]) -> dict[str, Any]:
    """Give those of Autobahn's options that are not as they are by default: a factory class may set its own."""
    options: dict[str, Any] = {}
    if settings["trusted_proxies"]:
        options["trustXForwardedFor"] = settings["trusted_proxies"]
    if settings["compress"]:
        options["perMessageCompressionAccept"] = settings["accept_function"]
    return options
