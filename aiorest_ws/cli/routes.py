"""list the routes of an application

In the order of registration: methods, path template, name, the view, what guards it, and how it changes where one may
subscribe.
"""

from __future__ import annotations

import re
from argparse import Namespace
from typing import Any

from aiorest_ws.cli.failures import Failure
from aiorest_ws.cli.loading import add_target, load
from aiorest_ws.cli.output import print_json, print_text
from aiorest_ws.cli.parser import Parser
from aiorest_ws.exceptions import RouterNotDefined
from aiorest_ws.handlers.living import live_of
from aiorest_ws.registration.routes import Route
from aiorest_ws.routers import SimpleRouter

__all__ = ("EXAMPLES", "fill", "main")

EXAMPLES = """\
  aiorest-ws routes main:app
  aiorest-ws routes main:app --json | jq -r '.[] | select(.guards == []) | .template'"""

_COLUMNS = ("methods", "template", "name", "view", "guards", "live")


def fill(parser: Parser) -> None:
    add_target(parser)
    parser.add_argument("--json", action="store_true", help="a list of objects")


def main(given: Namespace) -> int:
    application = load(given.target, given.app_dir)
    application._take({})  # what the environment says
    router = application._options["router"]
    if router is None:
        raise RouterNotDefined()
    if not isinstance(router, SimpleRouter):
        raise Failure(f"router of {given.target} is a {type(router).__qualname__}, which does not tell its routes")
    around = [_name(each) for each in (*application.middlewares, *(d.call for d in application.dependencies))]
    rows = [_row(route, around) for route in router.routes]
    if given.json:
        print_json(rows)
    else:
        print_text("\n".join(_table(rows)))
    return 0


def _row(route: Route, around: list[str]) -> dict[str, Any]:
    view = route.handler
    function = getattr(view, "endpoint_function", None)
    guards = [
        *around,
        *map(_name, route.middlewares),
        *(["auth_required"] if view.auth_required else []),
        *map(_name, view.permission_classes),
        *(_name(depends.call) for depends in route.dependencies),
    ]
    return {
        "methods": list(route.methods),
        "template": route.path,
        "name": route.name,
        "view": _name(view if function is None else function),
        "guards": guards,
        "live": _live(view),
    }


def _name(thing: Any) -> str:
    """Give the name of a function or a class, or that of an object's class; what has a text of its own says it."""
    name = getattr(thing, "__qualname__", None) or re.sub(r"<(?:[\w.]*\.)?(\w+) object at \w+>", r"\1", repr(thing))
    return str(name).replace("<locals>.", "")


def _live(view: Any) -> str | None:
    live = live_of(view)
    if live is None:
        return None
    shared = "shared " if live.shared and live.mode == "state" else ""
    return f"{shared}{live.mode}{' with presence' if live.presence is not None else ''}"


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Give lines with columns of one width each."""
    texts = [[name.upper() for name in _COLUMNS], *([_text(row[name]) for name in _COLUMNS] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in texts]


def _text(value: Any) -> str:
    return (", ".join(value) if isinstance(value, list) else value) or "-"
