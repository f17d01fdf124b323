"""Settings module and environment → options of an application, checked as those of its constructor are.

An option is called the same in both: `AIOREST_WS_PORT` is `port`. The environment wins over the module. In it there may
also be what others put there: what is almost an option is an error all the same, the rest is told about.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from aiorest_ws.callables.spelling import meant
from aiorest_ws.conf import VARIABLE, settings
from aiorest_ws.conf.options import OPTIONS, TABLE, checked, middleware_of
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.limits import Limits
from aiorest_ws.server.process import TOLD

__all__ = ("configured", "may_be_none", "parsed", "strangers")

_PREFIX = "AIOREST_WS_"
_SWITCHES = ("AIOREST_WS_NO_EXTENSIONS", "AIOREST_WS_REQUIRE_EXTENSIONS")  # of the package, not of an application
_WORKER = "AIOREST_WS_WORKER"  # what a supervisor tells its workers; nobody else sets it
_NAMES = {option: f"{_PREFIX}{option.upper()}" for option in OPTIONS}
_NAMES |= {"settings_module": VARIABLE} | {name.removeprefix(_PREFIX).lower(): name for name in (*_SWITCHES, _WORKER)}
# Of the command line's clients: known, and no near name of anything, as no server reads them.
_OF_CLIENTS = ("AIOREST_WS_SECRET", "AIOREST_WS_SERVER", "AIOREST_WS_TOKEN")

# What Kubernetes puts into every container for each service (`aiorest-ws`, `aiorest-ws-metrics`), as Docker once did.
_OF_A_SERVICE = re.compile(
    r"(?:.+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:ADDR|PORT|PROTO))?)"
)
_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://", re.IGNORECASE)
_LIKE_PREFIX = re.compile(r"AIO_?REST_?(?:WS)?_?(.+)", re.IGNORECASE)

_LIMITS = frozenset(field.name for field in fields(Limits))
_MAY_BE_NONE = _LIMITS | {name for name, default in OPTIONS.items() if default is None} | {"host"}
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def configured() -> dict[str, Any]:
    """Give the options that are set outside of the program, as they are now. Raises ImproperlyConfigured, one line."""
    options: dict[str, Any] = {}
    if TOLD is not None and not TOLD.startswith("{"):
        raise ImproperlyConfigured(
            f"environment variable {_WORKER} is what a supervisor tells its workers, nobody else may set it: "
            f"did you mean {_WORKER}S?"
        )
    for name in dir(settings):
        if name.startswith(_PREFIX):
            where = f"{name} in settings module {os.environ.get(VARIABLE)!r}"
            option = _option(name, where)
            if option is None:
                raise ImproperlyConfigured(f"{where}: unknown setting, expected the name of an option")
            options[option] = _checked(option, getattr(settings, name), where)
    for name, text in os.environ.items():
        if not name.startswith(_PREFIX) or name in (*_SWITCHES, _WORKER, *_OF_CLIENTS):
            continue
        if text and not _is_of_a_service(name, text):
            where = f"environment variable {name}"
            option = _option(name, where)
            if option is not None:
                options[option] = _checked(option, _parsed(option, text, where), where)
    return options


def strangers() -> list[tuple[int, str]]:
    """Give what to log, with its level, about environment variables that look like ours and are not read."""
    told: list[tuple[int, str]] = []
    for name, text in sorted(os.environ.items()):
        alike = _LIKE_PREFIX.fullmatch(name)
        if alike is None or not text or name in _OF_CLIENTS:
            continue
        if _is_of_a_service(name, text):
            told.append((logging.DEBUG, f"environment variable {name} is ignored: Kubernetes makes it for a service"))
        elif name in _NAMES.values():
            continue
        elif not name.startswith(_PREFIX):
            option = alike[1].lower()
            if option in _NAMES or meant(option, ("settings_module",)):
                proper = _NAMES.get(option, VARIABLE)
                told.append((logging.WARNING, f"environment variable {name} is not read, did you mean {proper}?"))
        elif name.removeprefix(_PREFIX).lower() not in _NAMES:
            told.append((logging.WARNING, f"environment variable {name} is ignored: there is no such option"))
    return told


def _is_of_a_service(name: str, text: str) -> bool:
    alike = _LIKE_PREFIX.fullmatch(name)
    if alike is None:
        return False
    return bool(_OF_A_SERVICE.fullmatch(alike[1]) or (name.endswith("PORT") and _ADDRESS.match(text)))


def _option(name: str, where: str) -> str | None:
    """Give the option that `name` is, None for something else. Raises ImproperlyConfigured for what is almost one."""
    option = name.removeprefix(_PREFIX).lower()
    if option in OPTIONS:
        return option
    near = meant(option, _NAMES) or (option if option in _NAMES else None)
    if near is not None:
        raise ImproperlyConfigured(f"{where}: unknown setting, did you mean {_NAMES[near]}?")
    return None


def _checked(option: str, value: Any, where: str) -> Any:
    try:
        if option == "middlewares":
            return [middleware_of(middleware) for middleware in value]
        return checked({option: value})[option]
    except (TypeError, ValueError) as exc:
        raise ImproperlyConfigured(f"{where}: {exc}") from exc


def _parsed(option: str, text: str, where: str) -> Any:
    """Give the value that `text` stands for. Raises ImproperlyConfigured, one line."""
    try:
        return parsed(option, text)
    except ValueError as exc:
        raise ImproperlyConfigured(f"{where}: {exc}") from None


def parsed(option: str, text: str) -> Any:
    """Give the value of `option` that `text` stands for, not checked. Raises ValueError, one line."""
    text = text.strip()
    written = TABLE[option].written
    if written is None:
        raise ValueError(f"{option} is an object, give it in a settings module or in the program")
    if may_be_none(option) and text.lower() == "none":
        return None
    return _PARSERS[written](text)


def may_be_none(option: str) -> bool:
    """Tell whether the text `none` means None."""
    return option in _MAY_BE_NONE


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


def _count(text: str) -> int | str:
    """Give a whole number, or a word as it is: which words there are, the check knows."""
    return int(text) if text.isdecimal() else text.lower()


def _word(text: str) -> str:
    return text.lower()


def _list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


# By what `Option.written` says.
_PARSERS: dict[str, Callable[[str], Any]] = {
    "text": str,
    "word": _word,
    "number": _number,
    "count": _count,
    "octal": _mode,
    "flag": _flag,
    "list": _list,
    "access log": _access_log,
}
