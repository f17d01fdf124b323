"""The first word of a command line → the module that is that command, and what it gives."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from shutil import get_terminal_size
from textwrap import fill
from typing import Any, Final

from aiorest_ws.callables.spelling import meant
from aiorest_ws.cli.failures import USAGE, Failure
from aiorest_ws.cli.output import complain
from aiorest_ws.cli.parser import Parser
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.views import http_methods

__all__ = ("COMMANDS", "run", "whole")

# A module per command: its docstring is what its help begins with, EXAMPLES what it ends with, `fill(parser)` says what
# it takes, `main(given)` does it and gives the exit code.
COMMANDS = ("run", "routes", "schema", "call", "subscribe", "token")

# What they are elsewhere.
_PEERS: Final = {
    **dict.fromkeys(("serve", "start", "runserver", "dev", "up", "server"), "run"),
    **dict.fromkeys(("openapi", "asyncapi", "docs"), "schema"),
    **dict.fromkeys(("request", "curl", "get", "post", "put", "delete"), "call"),
    **dict.fromkeys(("listen", "watch", "sub"), "subscribe"),
}


def run(argv: Sequence[str]) -> int:
    """Run a command, and give its exit code; what it cannot is one line on stderr."""
    try:
        return _run(list(argv))
    except Failure as exc:
        complain(str(exc))
        return exc.code
    except ImproperlyConfigured as exc:
        logging.getLogger("aiorest_ws").debug("cannot", exc_info=exc)
        complain(str(exc))
        return 1


def _run(argv: list[str]) -> int:
    if not argv:
        raise Failure(f"which command? One of {', '.join(COMMANDS)}: see aiorest-ws --help", USAGE)
    if argv[0] in ("-V", "--version"):
        print(version())
        return 0
    if argv[0] == "help":
        argv = [*argv[1:2], "--help"]
    name = argv[0]
    if name not in COMMANDS:
        near = meant(name, COMMANDS) or _PEERS.get(name)
        if name.isupper() and name.lower() in http_methods:
            near = f"call {name}"
        cure = f"did you mean {near}?" if near else f"expected one of {', '.join(COMMANDS)}"
        raise Failure(f"unknown {'option' if name.startswith('-') else 'command'} {name!r:.100}, {cure}", USAGE)
    module = _module(name)
    parser = Parser(prog=f"aiorest-ws {name}", **_texts(module))
    module.fill(parser)
    main: Callable[[Any], int] = module.main
    return main(parser.parse(argv[1:]))


def version() -> str:
    """Say which version this is, and how it runs."""
    from aiorest_ws import __version__
    from aiorest_ws._speedups import COMPILED

    python = f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"
    return f"aiorest-ws {__version__} ({'compiled' if COMPILED else 'pure Python'}, {python})"


def whole() -> Parser:
    """Give one parser with all commands, for what makes completions of it: `shtab aiorest_ws.cli.commands.whole`."""
    parser = Parser(prog="aiorest-ws")
    parser.add_argument("-V", "--version", action="version", version=version())
    inside = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name in COMMANDS:
        module = _module(name)
        texts = _texts(module)
        module.fill(inside.add_parser(name, help=texts["description"].partition("\n")[0], **texts))
    return parser


def _module(name: str) -> Any:
    return import_module(f"aiorest_ws.cli.{name}")


def _texts(module: Any) -> dict[str, Any]:
    width = min(100, get_terminal_size().columns - 2)
    paragraphs = (module.__doc__ or "").strip().split("\n\n")
    description = "\n\n".join(fill(" ".join(paragraph.split()), width) for paragraph in paragraphs)
    return {"description": description, "epilog": f"examples:\n{module.EXAMPLES}"}
