"""The value of an option → nothing, or the one line that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import iscoroutinefunction, signature
from os import PathLike, fspath
from typing import Any

from aiorest_ws.callables.spelling import meant
from aiorest_ws.dependencies.depends import check_needless
from aiorest_ws.dependencies.order import effects_of
from aiorest_ws.http.head import is_token
from aiorest_ws.idempotency import Idempotency

__all__ = (
    "check_broker",
    "check_choice",
    "check_dependencies",
    "check_factory_options",
    "check_fd",
    "check_file",
    "check_flag",
    "check_flag_or_none",
    "check_health_path",
    "check_hook",
    "check_hooks",
    "check_http",
    "check_idempotency",
    "check_int",
    "check_metrics",
    "check_middlewares",
    "check_path",
    "check_port_or_none",
    "check_prefix",
    "check_router",
    "check_string",
    "check_subclass",
    "check_subprotocols",
    "check_text",
    "check_threads",
    "check_unix_path",
    "check_worker_timeout",
    "check_workers",
)


_ENCODED = ' ?#{}<>"`'  # by every client, in a path
_BROKERS = ("redis", "rediss", "unix")
_OF_A_BROKER = (
    *("start", "stop", "publish", "changed", "recheck"),
    *("subscribe", "unsubscribe", "history", "members"),
)


def check_subclass(base: type) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, type) or not issubclass(value, base):
            raise TypeError(f"Custom class must be inherited from the {base.__name__} class.")

    return check


def check_choice(choices: Any) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")

    return check


def check_int(low: int, high: int) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if type(value) is not int:
            raise TypeError(f"{name} must be an integer, got {value!r}")
        if not low <= value <= high:
            raise ValueError(f"{name} must be from {low} to {high}, got {value}")

    return check


def check_middlewares(name: str, value: Any) -> None:
    if not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list, got {value!r}")


def check_idempotency(name: str, value: Any) -> None:
    if value is None or value is False or isinstance(value, Idempotency):
        return
    if not callable(value) or isinstance(value, type):
        raise TypeError(
            f"{name} must be a function from a request to who asks, an Idempotency, None, or False, got {value!r:.200}"
        )
    if iscoroutinefunction(value):
        raise TypeError(f"{name} must be a `def` that gives a text or None: let a middleware await who asks")


def check_fd(name: str, value: Any) -> None:
    if value is not None:
        check_int(0, 2**31 - 1)(name, value)


def check_text(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be a string or None, got a {type(value).__qualname__}")  # it may be a secret


def check_dependencies(name: str, value: Any) -> None:
    effects_of(value, "the application")


def check_threads(name: str, value: Any) -> None:
    if value is not None:
        check_int(1, 1000)(name, value)


def check_path(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    if not value.isascii() or not value.isprintable() or any(mark in value for mark in _ENCODED):
        cure = ": it is one path, no template" if "{" in value else ""
        raise ValueError(f"{name} must be as clients send it, percent-encoded and without a query, got {value!r}{cure}")


def check_health_path(name: str, value: Any) -> None:
    if value is None:
        return
    check_path(name, value)
    if not value.startswith("/"):
        raise ValueError(f"{name} must be None or a path that begins with a slash, such as '/healthz', got {value!r}")


def check_http(name: str, value: Any) -> None:
    if type(value) is bool:
        return
    if not callable(value):
        raise TypeError(f"{name} must be True, False, or an ASGI app, got {value!r:.200}")
    if not _takes(value, 3):
        raise TypeError(
            f"{name} must be an ASGI app, which takes scope, receive and send, got {value!r:.200}{_made_one(value)}"
        )


def _made_one(value: Any) -> str:
    """Say what makes an ASGI app of something else that is called."""
    if isinstance(value, type):
        return f", did you mean {value.__qualname__}()?"
    if _takes(value, 2):
        return ": one of WSGI becomes it by asgiref.wsgi.WsgiToAsgi"
    return ": one of ASGI 2 becomes it by asgiref.compatibility.guarantee_single_callable" if _takes(value, 1) else ""


def _takes(function: Any, number: int) -> bool:
    """Tell whether it may be called with so many arguments, as far as it says what it takes."""
    try:
        signature(function).bind(*range(number))
    except TypeError:
        return False
    except ValueError:
        pass
    return True


def check_prefix(name: str, value: Any) -> None:
    check_path(name, value)
    if value and (not value.startswith("/") or value.endswith("/") or "%" in value):
        raise ValueError(f"{name} must be empty or a path such as '/api', without a slash at its end, got {value!r}")


def check_hook(name: str, value: Any) -> None:
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function, got {value!r}")
    if value is not None:
        check_needless(value, name)


def check_hooks(name: str, value: Any) -> None:
    if not isinstance(value, (list, tuple)) or not all(callable(hook) for hook in value):
        raise TypeError(f"{name} must be a list of functions, got {value!r}")
    for hook in value:
        check_needless(hook, name)


def check_metrics(name: str, value: Any) -> None:
    if value is not None and not hasattr(value, "meters"):
        raise TypeError(f"{name} must be an aiorest_ws.metrics.Metrics or None, got {value!r}")


def check_broker(name: str, value: Any) -> None:
    if isinstance(value, str):
        scheme, _, rest = value.partition("://")
        if scheme not in _BROKERS or not rest:  # what is behind the scheme may be a secret
            near = meant(scheme, _BROKERS)
            cure = f", did you mean {near}://?" if near is not None and near != scheme else ""
            raise ValueError(f"{name} must be a url such as redis://localhost:6379/0, got one of {scheme[:20]!r}{cure}")
    elif value is not None:
        missing = [method for method in _OF_A_BROKER if not callable(getattr(value, method, None))]
        if missing:
            raise TypeError(f"{name} must be a url or a Broker, got {value!r:.200}, which has no {missing[0]}()")


def check_string(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")


def check_port_or_none(name: str, value: Any) -> None:
    if value is not None:
        check_int(0, 65535)(name, value)


def check_subprotocols(name: str, value: Any) -> None:
    if not isinstance(value, (list, tuple)) or not all(isinstance(text, str) for text in value):
        raise TypeError(f"{name} must be a list of strings, got {value!r}")
    for text in value:
        if not is_token(text):
            raise ValueError(f"{name} must be names without spaces and punctuation (RFC 6455 §4.1), got {text!r}")


def check_flag(name: str, value: Any) -> None:
    if value not in (True, False):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def check_flag_or_none(name: str, value: Any) -> None:
    if value is not None and value not in (True, False):
        raise TypeError(f"{name} must be True, False or None, got {value!r}")


def check_file(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, (str, PathLike)):
        raise TypeError(f"{name} must be a path or None, got {value!r}")


def check_unix_path(name: str, value: Any) -> None:
    check_file(name, value)
    if value is not None and (not (path := fspath(value)) or "\0" in path[1:]):
        raise ValueError(f"{name} must be a path, or a name behind a NUL, got {value!r}")


def check_factory_options(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict, got {value!r}")


def check_router(name: str, value: Any) -> None:
    if value is not None and (isinstance(value, type) or not hasattr(value, "process_request")):
        cure = f", did you mean {value.__qualname__}()?" if isinstance(value, type) else ""
        if isinstance(value, (list, tuple)):
            cure = ": one router may include the others, router.include(other)"
        raise TypeError(f"{name} must be an instance of AbstractRouter, got {value!r:.200}{cure}")


def check_workers(name: str, value: Any) -> None:
    if value == "auto":
        return
    if type(value) is not int:
        raise TypeError(f"{name} must be a number of processes or 'auto', got {value!r}")
    if not 1 <= value <= 1000:
        raise ValueError(f"{name} must be from 1 to 1000, or 'auto', got {value}")


def check_worker_timeout(name: str, value: Any) -> None:
    if value is None:
        return
    if type(value) not in (int, float):
        raise TypeError(f"{name} must be a number of seconds or None, got {value!r}")
    if not 0 < value < 1e9:
        raise ValueError(f"{name} must be greater than 0, got {value!r}")
