"""Every option of an application, written down once: its type, default, check and what it is for.

`Options` has the types, for who writes `Application(…)`; `TABLE` the rest. What the environment may say (`environment`)
and the tables of docs/reference/options.md follow from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from aiorest_ws.callables.spelling import unknown
from aiorest_ws.conf.checks import (
    check_broker,
    check_choice,
    check_dependencies,
    check_factory_options,
    check_fd,
    check_file,
    check_flag,
    check_flag_or_none,
    check_health_path,
    check_hook,
    check_hooks,
    check_http,
    check_idempotency,
    check_int,
    check_metrics,
    check_middlewares,
    check_path,
    check_port_or_none,
    check_prefix,
    check_router,
    check_string,
    check_subclass,
    check_subprotocols,
    check_text,
    check_threads,
    check_unix_path,
    check_worker_timeout,
    check_workers,
)
from aiorest_ws.connection.compression import deflate_offer_accept
from aiorest_ws.connection.protocol import RequestHandlerProtocol
from aiorest_ws.http.hosts import check_hosts
from aiorest_ws.http.origins import check_origins
from aiorest_ws.limits import LimitOptions, Limits, check_limit
from aiorest_ws.logs.access import FORMS
from aiorest_ws.middlewares import middleware_of
from aiorest_ws.server.factory import RequestHandlerFactory
from aiorest_ws.server.process import LOG_LEVELS
from aiorest_ws.server.sockets import check_host, check_mode, check_sock

if TYPE_CHECKING:
    from socket import socket
    from ssl import SSLContext

    from aiorest_ws.abstract import AbstractRouter
    from aiorest_ws.dependencies.depends import Depends
    from aiorest_ws.idempotency import Idempotency
    from aiorest_ws.metrics import Metrics
    from aiorest_ws.middlewares import Middleware
    from aiorest_ws.realtime.brokers import Broker

__all__ = (
    "OPTIONS",
    "TABLE",
    "AllOptions",
    "Option",
    "Options",
    "checked",
    "deflate_offer_accept",
    "middleware_of",
)

Hook = Callable[..., Any]
File = str | PathLike[str] | None


class Options(LimitOptions, total=False):
    """What `Application` may be given beside its router; `TABLE` says what each is for."""

    middlewares: Iterable[Middleware]
    dependencies: Sequence[Depends]
    host: str | None
    ip: str | None  # another name of `host`
    port: int
    reuse_port: bool
    unix_path: File
    unix_mode: int | None
    sock: socket | None
    fd: int | None
    health_path: str | None
    path: str
    http: bool | Callable[..., Any]
    http_prefix: str
    schema: bool
    api_title: str
    api_version: str
    certificate: File
    key: File
    key_password: str | None
    ssl_context: SSLContext | None
    allowed_hosts: Sequence[str] | None
    allowed_origins: Sequence[str] | None
    trusted_proxies: int
    proxy_protocol: bool
    subprotocols: Sequence[str]
    lifespan: Hook | None
    on_startup: Sequence[Hook]
    on_listening: Sequence[Hook]
    on_shutdown: Sequence[Hook]
    on_connect: Hook | None
    on_disconnect: Hook | None
    threads: int | None
    compress: bool
    compress_threshold: int
    accept_function: Hook
    factory: type[RequestHandlerFactory]
    protocol: type[RequestHandlerProtocol]
    factory_options: Mapping[str, Any]
    workers: int | Literal["auto"]
    worker_timeout: float | None
    loop: Literal["auto", "asyncio", "uvloop"]
    log_level: Literal["critical", "error", "warn", "warning", "info", "debug", "trace"]
    access_log: bool | Literal["text", "json"]
    broker: str | Broker | None
    idempotency: Idempotency | Callable[[Any], str | None] | Literal[False] | None
    metrics: Metrics | None
    metrics_port: int | None
    metrics_host: str
    console: bool | None
    debug: bool


class AllOptions(Options, total=False):
    """What `run`, `start` and `serve` may be given."""

    router: AbstractRouter | None


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    default     where nobody gives it
    check       (name, value): raises TypeError or ValueError, one line, for what cannot be; None: anything goes
    written     how the environment says it: "text", "word", "number", "count" (a whole number, or a word),
                "octal", "flag", "list" or "access log"; None:
                it is an object, which no text can say
    help        its row in docs/reference/options.md; links as from the root of the repository
    of_factory  a factory class may bring it itself, and keeps it unless it is given
    """

    default: Any
    check: Callable[[str, Any], None] | None
    written: str | None
    help: str
    of_factory: bool = False


# In the order of docs/reference/options.md.
TABLE: dict[str, Option] = {
    "router": Option(None, check_router, None, "answers the requests; the one option that is required"),
    "middlewares": Option((), check_middlewares, None, "classes or instances of either kind, in order"),
    "dependencies": Option(
        (),
        check_dependencies,
        None,
        "list of `Depends(…)` that run before every handler, for their effect",
        of_factory=True,
    ),
    "host": Option(
        "127.0.0.1",
        check_host,
        "text",
        "address to listen on, `None` for all of the machine's; `ip` is another name for it",
    ),
    "port": Option(8080, check_int(0, 65535), "number", "0 takes a free one"),
    "reuse_port": Option(False, check_flag, "flag", "let other processes listen on the port, too (`SO_REUSEPORT`)"),
    "unix_path": Option(
        None,
        check_unix_path,
        "text",
        "listen on this Unix socket instead; behind a NUL byte, in Linux's abstract namespace",
    ),
    "unix_mode": Option(
        None,
        check_mode,
        "octal",
        "permissions of the file of `unix_path`, `0o660`; it appears with them, and when the server is ready",
    ),
    "sock": Option(
        None,
        check_sock,
        None,
        "listen on this socket that is bound already; what systemd hands over (`LISTEN_FDS`) is taken by itself",
    ),
    "fd": Option(None, check_fd, "number", "listen on this socket that is bound already, given as its descriptor"),
    "health_path": Option(
        None,
        check_health_path,
        "text",
        'where probes are answered: `"/healthz"` gives 200 to a plain `GET` or `HEAD`, 503 while the server stops',
        of_factory=True,
    ),
    "path": Option(
        "",
        check_path,
        "text",
        'the only path served at the handshake (`"api"`: `ws://host:port/api`), others get HTTP 404',
    ),
    "http": Option(
        False,
        check_http,
        "flag",
        "serve the routes over plain HTTP on the same port, too; or an ASGI app ([HTTP](docs/http.md))",
    ),
    "http_prefix": Option(
        "", check_prefix, "text", 'with such an app: the path below which the routes are (`"/api"`), `""` for nowhere'
    ),
    "schema": Option(True, check_flag, "flag", "say over HTTP what the routes are ([schema](docs/schema.md))"),
    "api_title": Option("API", check_string, "text", "what that calls the application"),
    "api_version": Option("1", check_string, "text", "of the application, that it says"),
    "certificate": Option(None, check_file, "text", "PEM file: with `key`, serve `wss://`, TLS 1.2 or newer"),
    "key": Option(None, check_file, "text", "PEM file of its key"),
    "key_password": Option(None, check_text, "text", "of an encrypted key"),
    "ssl_context": Option(None, None, None, "an `ssl.SSLContext` instead of them"),
    "allowed_hosts": Option(
        None,
        check_hosts,
        "list",
        "what clients may call the server in the header `Host`, others get HTTP 403 "
        "([hosts](docs/guide/connections.md#hosts))",
        of_factory=True,
    ),
    "allowed_origins": Option(
        None,
        check_origins,
        "list",
        "whose pages may connect, others get HTTP 403 ([origins](docs/guide/connections.md#origins))",
        of_factory=True,
    ),
    "trusted_proxies": Option(
        0,
        check_int(0, 100),
        "number",
        "how many proxies are in front of the server, whose `X-Forwarded-For` and `-Proto` are believed "
        "([proxies](docs/guide/connections.md#proxies))",
    ),
    "proxy_protocol": Option(
        False,
        check_flag,
        "flag",
        "each connection begins with a header of the PROXY protocol, which the nearest of `trusted_proxies` sends: see "
        "below",
    ),
    "subprotocols": Option(
        (),
        check_subprotocols,
        "list",
        "of the server, in order of preference; the first that the client offers is agreed on",
        of_factory=True,
    ),
    "lifespan": Option(
        None,
        check_hook,
        None,
        "async context manager around the application's life ([lifespan](docs/guide/lifespan.md#lifespan))",
    ),
    "on_startup": Option((), check_hooks, None, "functions called with the application before it listens"),
    "on_listening": Option(
        (), check_hooks, None, "functions called with it once it listens, and `app.addresses` says where"
    ),
    "on_shutdown": Option((), check_hooks, None, "functions called with it after its last connection"),
    "on_connect": Option(None, check_hook, None, "`on_connect(connection)` decides who may connect", of_factory=True),
    "on_disconnect": Option(
        None,
        check_hook,
        None,
        "`on_disconnect(connection, code, reason)` at the end of each accepted connection",
        of_factory=True,
    ),
    "threads": Option(
        None,
        check_threads,
        "number",
        "how many there may be for views that are `threaded`; `None`: 4 more than processors, at most 32",
    ),
    "compress": Option(
        False, check_flag, "flag", "accept permessage-deflate ([performance](docs/performance.md#compression))"
    ),
    "compress_threshold": Option(
        RequestHandlerFactory.compress_threshold,
        check_int(0, 2**31),
        "number",
        "bytes of a reply or a push, from which on it is compressed",
        of_factory=True,
    ),
    "accept_function": Option(deflate_offer_accept, None, None, "chooses among the client's compression offers"),
    "factory": Option(
        RequestHandlerFactory, check_subclass(RequestHandlerFactory), None, "subclass of `RequestHandlerFactory`"
    ),
    "protocol": Option(
        RequestHandlerProtocol, check_subclass(RequestHandlerProtocol), None, "subclass of `RequestHandlerProtocol`"
    ),
    "factory_options": Option({}, check_factory_options, None, "keyword arguments of the factory"),
    "workers": Option(
        1,
        check_workers,
        "count",
        'how many processes serve, under one more that restarts them; `"auto"`: as many as processors; only for `run` '
        "([workers](docs/how-to/workers.md))",
    ),
    "worker_timeout": Option(
        None,
        check_worker_timeout,
        "number",
        "seconds in which a worker whose loop does not turn is killed, its stack logged, and replaced; only for `run`",
    ),
    "loop": Option(
        "auto",
        check_choice(("auto", "asyncio", "uvloop")),
        "word",
        '`"uvloop"`, `"asyncio"`, or uvloop if it is installed; only for `run`',
    ),
    "log_level": Option(
        "info",
        check_choice(LOG_LEVELS),
        "word",
        '`"critical"`, `"error"`, `"warn"` or `"warning"`, `"info"`, `"debug"` or `"trace"`; only for `run`',
    ),
    "access_log": Option(
        False,
        check_choice(FORMS),
        "access log",
        'log a line per request to `aiorest_ws.access`: `True` or `"text"`, or `"json"`',
    ),
    "broker": Option(
        None,
        check_broker,
        "text",
        "what tells other processes of changes: a url `redis://…`, `rediss://…`, `unix://…`, or a `Broker`",
    ),
    "idempotency": Option(
        None,
        check_idempotency,
        None,
        "who asks with an `idempotency_key`: a function from the request to a text, or an `Idempotency`; `None`: `iss` "
        "and `sub` of its token, `False`: keys mean nothing ([idempotency](docs/idempotency.md))",
        of_factory=True,
    ),
    "metrics": Option(
        None,
        check_metrics,
        None,
        "a `metrics.Metrics`, which counts requests and connections for Prometheus "
        "([observability](docs/observability.md))",
        of_factory=True,
    ),
    "metrics_port": Option(None, check_port_or_none, "number", "serve them on this port, too; 0 takes a free one"),
    "metrics_host": Option("127.0.0.1", check_string, "text", "address of that port"),
    "console": Option(
        None,
        check_flag_or_none,
        "flag",
        "serve a page that shows the routes and asks them, at `/console`, and Swagger UI at `/docs` "
        "([console](docs/console.md)); `None`: under `debug`, where `http` is on",
    ),
    "debug": Option(
        False,
        check_flag,
        "flag",
        "show tracebacks of failed handlers to clients, log handlers that block the event loop; pages of this machine, "
        "and files, may connect",
    ),
    **{field.name: Option(field.default, check_limit, "number", field.metadata["help"]) for field in fields(Limits)},
}

OPTIONS: dict[str, Any] = {name: option.default for name, option in TABLE.items()}


def checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give `options` as they are stored, or raise TypeError or ValueError for the first that is wrong."""
    if "ip" in options:
        if "host" in options:
            raise TypeError("`ip` is another name of `host`: give one of them")
        options = {("host" if name == "ip" else name): value for name, value in options.items()}
    for name, value in options.items():
        option = TABLE.get(name)
        if option is None:
            raise TypeError(unknown(name, OPTIONS, "option"))
        if option.check is not None:
            option.check(name, value)
    return dict(options)
