"""serve an application

MODULE is imported from the current directory, or from wherever Python finds it. An option that is given here wins over
the program, which wins over the environment (AIOREST_WS_PORT) and the settings module. What is in parentheses below is
where nobody gives it.
"""

from __future__ import annotations

from argparse import SUPPRESS, Namespace

from aiorest_ws.cli.flags import add_flags, options_of
from aiorest_ws.cli.loading import add_target, load
from aiorest_ws.cli.parser import Parser

__all__ = ("EXAMPLES", "fill", "main")

EXAMPLES = """\
  aiorest-ws run main:app
  aiorest-ws run package.module:make_app --host none --port 80 --compress
  aiorest-ws run main:app --reload --debug --access-log
  aiorest-ws run main:app --allowed-origins https://app.example.com,https://example.com --max-connections none"""


def fill(parser: Parser) -> None:
    parser.usage = "%(prog)s MODULE:ATTRIBUTE [--option …]"
    add_target(parser)
    group = parser.add_argument_group("while you write it")
    what = "start anew whenever a Python file changes (extra reload); always one process"
    group.add_argument("--reload", action="store_true", help=what)
    what = "what is watched, with all below it (the directory of --app-dir); may be given again"
    group.add_argument("--reload-dir", metavar="DIR", action="append", default=[], help=what)
    group.add_argument("--reloaded-by", type=int, help=SUPPRESS)
    add_flags(parser)


def main(given: Namespace) -> int:
    """Serve until a signal ends it."""
    if given.reload:
        from aiorest_ws.cli.reloading import Reloader

        return Reloader(given).run()
    if given.reload_dir:
        parser = Parser(prog="aiorest-ws run")
        parser.error("--reload-dir says what --reload watches, which was not given")
    if given.reloaded_by is not None:
        from aiorest_ws.cli.reloading import end_with

        end_with(given.reloaded_by)
    options = options_of(given)
    load(given.target, given.app_dir).run(**options)
    return 0
