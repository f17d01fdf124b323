"""Settings module and environment → options of an application, checked as those of its constructor are.

An option is called the same in both: `AIOREST_WS_PORT` is `port`. The environment wins over the module.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from aiorest_ws.conf import VARIABLE, settings
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.limits import Limits
from aiorest_ws.options import OPTIONS, checked, middleware_of

__all__ = ("configured",)

_PREFIX = "AIOREST_WS_"
_SWITCHES = ("AIOREST_WS_NO_EXTENSIONS", "AIOREST_WS_REQUIRE_EXTENSIONS")  # of the package, not of an application

_LIMITS = frozenset(field.name for field in fields(Limits))
_MAY_BE_NONE = _LIMITS | {name for name, default in OPTIONS.items() if default is None} | {"host"}
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def configured() -> dict[str, Any]:
    """Give the options that are set outside of the program, as they are now. Raises ImproperlyConfigured, one line."""
    options: dict[str, Any] = {}
    for name in dir(settings):
        if name.startswith(_PREFIX):
            where = f"{name} in settings module {os.environ.get(VARIABLE)!r}"
            option = _option(name, where)
            options[option] = _checked(option, getattr(settings, name), where)
    for name, text in os.environ.items():
        if name.startswith(_PREFIX) and name not in _SWITCHES and text:  # what is empty counts as not set
            where = f"environment variable {name}"
            option = _option(name, where)
            options[option] = _checked(option, _parsed(option, text, where), where)
    return options


def _option(name: str, where: str) -> str:
    option = name.removeprefix(_PREFIX).lower()
    if option not in OPTIONS:
        from difflib import get_close_matches

        known = [*(f"{_PREFIX}{option.upper()}" for option in OPTIONS), VARIABLE]
        (near,) = get_close_matches(name, known, n=1, cutoff=0)
        raise ImproperlyConfigured(f"{where}: unknown setting, did you mean {near}?")
    return option


def _checked(option: str, value: Any, where: str) -> Any:
    try:
        if option == "middlewares":
            return [middleware_of(middleware) for middleware in value]
        return checked({option: value})[option]
    except (TypeError, ValueError) as exc:
        raise ImproperlyConfigured(f"{where}: {exc}") from exc


def _parsed(option: str, text: str, where: str) -> Any:
    """Give the value that `text` stands for."""
    text = text.strip()
    parse = _PARSERS.get(option)
    if parse is None:
        raise ImproperlyConfigured(f"{where}: {option} is an object, give it in a settings module or in the program")
    if option in _MAY_BE_NONE and text.lower() == "none":
        return None
    try:
        return parse(text)
    except ValueError as exc:
        raise ImproperlyConfigured(f"{where}: {exc}") from None


def _number(text: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    raise ValueError(f"expected a number, got {text!r}")


def _mode(text: str) -> int:
    """Give permissions that are written as for chmod: `660`, `0660` or `0o660`."""
    try:
        return int(text, 8)
    except ValueError:
        raise ValueError(f"expected octal digits such as 660, got {text!r}") from None


def _flag(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(f"expected one of {', '.join(_TRUE + _FALSE)}, got {text!r}")
    return text.lower() in _TRUE


def _access_log(text: str) -> bool | str:
    return text.lower() if text.lower() in ("text", "json") else _flag(text)


def _list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


_PARSERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("certificate", "host", "key", "log_level", "loop", "metrics_host", "path", "unix_path"), str),
    "key_password": str,
    "unix_mode": _mode,
    **dict.fromkeys(("fd", "metrics_port", "port", "threads", "trusted_proxies", *_LIMITS), _number),
    "compress_threshold": _number,
    "access_log": _access_log,
    **dict.fromkeys(("compress", "debug", "reuse_port"), _flag),
    **dict.fromkeys(("allowed_origins", "subprotocols"), _list),
}
