"""The table of options ↔ flags of the command line: what text can say has one, named and checked as everywhere."""

from __future__ import annotations

import re
from argparse import SUPPRESS, ArgumentTypeError, BooleanOptionalAction, Namespace
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial
from typing import Any

from aiorest_ws.cli.parser import Parser
from aiorest_ws.conf.environment import may_be_none, parsed
from aiorest_ws.conf.options import TABLE, checked
from aiorest_ws.limits import Limits

__all__ = ("FLAGS", "add_flags", "flag_of", "options_of")

FLAGS = tuple(name for name, option in TABLE.items() if option.written is not None)

# Help is by these; what is in none of them comes last.
_GROUPS: dict[str, tuple[str, ...]] = {
    "where it listens": ("host", "port", "reuse_port", "unix_path", "unix_mode", "fd", "path", "health_path"),
    "HTTP": ("http", "http_prefix", "schema", "api_title", "api_version", "console"),
    "TLS": ("certificate", "key", "key_password"),
    "who may connect": ("allowed_hosts", "allowed_origins", "trusted_proxies", "proxy_protocol", "subprotocols"),
    "processes and threads": ("workers", "worker_timeout", "broker", "threads", "loop"),
    "logs and metrics": ("log_level", "access_log", "metrics_port", "metrics_host", "debug"),
    "compression": ("compress", "compress_threshold"),
    "limits": tuple(field.name for field in fields(Limits)),
}
_METAVARS = {"number": "N", "count": "N", "octal": "MODE", "list": "A,B,…", "text": "TEXT", "word": "WORD"}
_FORMS = ("yes", "text", "json", "true", "on", "1", "no", "false", "off", "0")  # of the access log; bare: the first


def add_flags(parser: Parser) -> None:
    """Add a flag for each option that text can say. What is not given leaves no trace in the namespace."""
    for title, names in _groups():
        group = parser.add_argument_group(title)
        for name in names:
            _add(group.add_argument, name)
    parser.values = {**parser.values, **{flag_of(name): _FORMS for name in FLAGS if _is_access_log(name)}}
    objects = [name for name, option in TABLE.items() if option.written is None]
    told = "is an object, give it in a settings module or in the program"
    parser.elsewhere = {**parser.elsewhere, **{flag_of(name): f"{name} {told}" for name in objects}}


def options_of(given: Namespace) -> dict[str, Any]:
    """Give the options that were typed, checked."""
    return {name: getattr(given, name) for name in FLAGS if hasattr(given, name)}


def flag_of(name: str) -> str:
    """Give the flag of an option: `--unix-path` of `unix_path`."""
    return f"--{name.replace('_', '-')}"


def _groups() -> Iterable[tuple[str, list[str]]]:
    told = {name for names in _GROUPS.values() for name in names}
    for title, names in _GROUPS.items():
        yield title, [name for name in names if name in FLAGS]
    rest = [name for name in FLAGS if name not in told]
    if rest:
        yield "more", rest


def _add(add_argument: Callable[..., Any], name: str) -> None:
    written = TABLE[name].written
    options: dict[str, Any] = {"dest": name, "default": SUPPRESS, "help": _help(name)}
    if written == "flag":
        add_argument(flag_of(name), action=BooleanOptionalAction, **options)
        return
    options["type"] = partial(_value, name)
    if _is_access_log(name):
        add_argument(flag_of(name), metavar="{text,json}", **options)
        add_argument(f"--no-{name.replace('_', '-')}", dest=name, action="store_false", default=SUPPRESS, help=SUPPRESS)
    else:
        add_argument(flag_of(name), metavar=_METAVARS.get(written or "", "VALUE"), **options)


def _is_access_log(name: str) -> bool:
    return TABLE[name].written == "access log"


def _value(name: str, text: str) -> Any:
    """Give the value that `text` stands for, checked."""
    try:
        return checked({name: parsed(name, text)})[name]
    except (TypeError, ValueError) as exc:
        raise ArgumentTypeError(str(exc)) from None


def _help(name: str) -> str:
    """Give the line of the table of options as plain text, with the default."""
    option = TABLE[name]
    text = re.sub(r" \(\[[^]]*\]\([^)]*\)\)", "", option.help).replace("`", "")
    text = re.sub(r": see below|; only for run\b|; ip is another name for it", "", text)
    text = text.replace("None", "none")
    if option.default is None:
        return f"{text} (none)".replace("%", "%%")
    default = ",".join(option.default) if isinstance(option.default, (list, tuple)) else option.default
    if option.written == "flag" or default == "":
        return text.replace("%", "%%")
    off = "; none: no limit" if may_be_none(name) and name in _GROUPS["limits"] else ""
    return f"{text} ({default}{off})".replace("%", "%%")
