"""The options of an application: names, defaults and checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from os import PathLike, fspath
from typing import Any

from aiorest_ws.callables.spelling import unknown
from aiorest_ws.connection.compression import deflate_offer_accept
from aiorest_ws.dependencies.depends import check_needless
from aiorest_ws.dependencies.order import effects_of
from aiorest_ws.http.head import is_token
from aiorest_ws.http.hosts import check_hosts
from aiorest_ws.http.origins import check_origins
from aiorest_ws.limits import Limits, check_limit
from aiorest_ws.logs.access import FORMS
from aiorest_ws.middlewares import middleware_of
from aiorest_ws.request import RequestHandlerFactory, RequestHandlerProtocol
from aiorest_ws.server.process import LOG_LEVELS
from aiorest_ws.server.sockets import check_host, check_mode, check_sock

__all__ = ("LOG_LEVELS", "OPTIONS", "checked", "deflate_offer_accept", "middleware_of")


OPTIONS: dict[str, Any] = {
    "access_log": False,
    "accept_function": deflate_offer_accept,
    "allowed_hosts": None,
    "allowed_origins": None,
    "certificate": None,
    "compress": False,
    "compress_threshold": RequestHandlerFactory.compress_threshold,
    "debug": False,
    "dependencies": (),
    "factory": RequestHandlerFactory,
    "factory_options": {},
    "fd": None,
    "health_path": None,
    "host": "127.0.0.1",
    "key": None,
    "key_password": None,
    "lifespan": None,
    "log_level": "info",
    "loop": "auto",
    "metrics": None,
    "metrics_host": "127.0.0.1",
    "metrics_port": None,
    "middlewares": (),
    "on_connect": None,
    "on_disconnect": None,
    "on_listening": (),
    "on_shutdown": (),
    "on_startup": (),
    "path": "",
    "port": 8080,
    "protocol": RequestHandlerProtocol,
    "proxy_protocol": False,
    "reuse_port": False,
    "router": None,
    "sock": None,
    "ssl_context": None,
    "subprotocols": (),
    "threads": None,
    "trusted_proxies": 0,
    "unix_mode": None,
    "unix_path": None,
    **{field.name: field.default for field in fields(Limits)},
}


def checked(options: dict[str, Any]) -> dict[str, Any]:
    """Give `options` as they are stored, or raise TypeError or ValueError for the first that is wrong."""
    if "ip" in options:
        if "host" in options:
            raise TypeError("`ip` is another name of `host`: give one of them")
        options = {("host" if name == "ip" else name): value for name, value in options.items()}
    for name, value in options.items():
        if name not in OPTIONS:
            raise TypeError(unknown(name, OPTIONS, "option"))
        check = _CHECKS.get(name)
        if check is not None:
            check(name, value)
    return options


def _check_subclass(base: type) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, type) or not issubclass(value, base):
            raise TypeError(f"Custom class must be inherited from the {base.__name__} class.")

    return check


def _check_choice(choices: Any) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")

    return check


def _check_int(low: int, high: int) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if type(value) is not int:
            raise TypeError(f"{name} must be an integer, got {value!r}")
        if not low <= value <= high:
            raise ValueError(f"{name} must be from {low} to {high}, got {value}")

    return check


def _check_middlewares(name: str, value: Any) -> None:
    if not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list, got {value!r}")


def _check_fd(name: str, value: Any) -> None:
    if value is not None:
        _check_int(0, 2**31 - 1)(name, value)


def _check_text(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be a string or None, got a {type(value).__qualname__}")  # it may be a secret


def _check_dependencies(name: str, value: Any) -> None:
    effects_of(value, "the application")


def _check_threads(name: str, value: Any) -> None:
    if value is not None:
        _check_int(1, 1000)(name, value)


def _check_path(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    if not value.isascii() or not value.isprintable() or any(mark in value for mark in " ?#"):
        raise ValueError(f"{name} must be as clients send it, percent-encoded and without a query, got {value!r}")


def _check_health_path(name: str, value: Any) -> None:
    if value is None:
        return
    _check_path(name, value)
    if not value.startswith("/"):
        raise ValueError(f"{name} must be None or a path that begins with a slash, such as '/healthz', got {value!r}")


def _check_hook(name: str, value: Any) -> None:
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function, got {value!r}")
    if value is not None:
        check_needless(value, name)


def _check_hooks(name: str, value: Any) -> None:
    if not isinstance(value, (list, tuple)) or not all(callable(hook) for hook in value):
        raise TypeError(f"{name} must be a list of functions, got {value!r}")
    for hook in value:
        check_needless(hook, name)


def _check_metrics(name: str, value: Any) -> None:
    if value is not None and not hasattr(value, "meters"):
        raise TypeError(f"{name} must be an aiorest_ws.metrics.Metrics or None, got {value!r}")


def _check_metrics_host(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")


def _check_metrics_port(name: str, value: Any) -> None:
    if value is not None:
        _check_int(0, 65535)(name, value)


def _check_subprotocols(name: str, value: Any) -> None:
    if not isinstance(value, (list, tuple)) or not all(isinstance(text, str) for text in value):
        raise TypeError(f"{name} must be a list of strings, got {value!r}")
    for text in value:
        if not is_token(text):
            raise ValueError(f"{name} must be names without spaces and punctuation (RFC 6455 §4.1), got {text!r}")


def _check_flag(name: str, value: Any) -> None:
    if value not in (True, False):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def _check_file(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, (str, PathLike)):
        raise TypeError(f"{name} must be a path or None, got {value!r}")


def _check_unix_path(name: str, value: Any) -> None:
    _check_file(name, value)
    if value is not None and (not (path := fspath(value)) or "\0" in path[1:]):
        raise ValueError(f"{name} must be a path, or a name behind a NUL, got {value!r}")


def _check_mapping(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict, got {value!r}")


def _check_router(name: str, value: Any) -> None:
    if value is not None and (isinstance(value, type) or not hasattr(value, "process_request")):
        raise TypeError(f"{name} must be an instance of AbstractRouter, got {value!r}")


_CHECKS: dict[str, Callable[[str, Any], None]] = {
    "access_log": _check_choice(FORMS),
    "allowed_hosts": check_hosts,
    "allowed_origins": check_origins,
    "certificate": _check_file,
    "compress": _check_flag,
    "compress_threshold": _check_int(0, 2**31),
    "debug": _check_flag,
    "dependencies": _check_dependencies,
    "factory_options": _check_mapping,
    "fd": _check_fd,
    "key": _check_file,
    "key_password": _check_text,
    "unix_mode": check_mode,
    "unix_path": _check_unix_path,
    "factory": _check_subclass(RequestHandlerFactory),
    "health_path": _check_health_path,
    "host": check_host,
    "protocol": _check_subclass(RequestHandlerProtocol),
    "lifespan": _check_hook,
    "log_level": _check_choice(LOG_LEVELS),
    "loop": _check_choice(("auto", "asyncio", "uvloop")),
    "metrics": _check_metrics,
    "middlewares": _check_middlewares,
    "metrics_host": _check_metrics_host,
    "metrics_port": _check_metrics_port,
    "on_connect": _check_hook,
    "on_disconnect": _check_hook,
    "on_listening": _check_hooks,
    "on_shutdown": _check_hooks,
    "on_startup": _check_hooks,
    "path": _check_path,
    "port": _check_int(0, 65535),
    "proxy_protocol": _check_flag,
    "reuse_port": _check_flag,
    "router": _check_router,
    "sock": check_sock,
    "subprotocols": _check_subprotocols,
    "threads": _check_threads,
    "trusted_proxies": _check_int(0, 100),
    **{field.name: check_limit for field in fields(Limits)},
}
