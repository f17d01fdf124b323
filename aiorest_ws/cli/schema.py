"""print an OpenAPI or AsyncAPI document of an application

In the order of registration, the same each time: it can be committed, and compared with `--check` where tests run.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from aiorest_ws.cli.failures import Failure
from aiorest_ws.cli.loading import add_target, load
from aiorest_ws.cli.output import print_text
from aiorest_ws.cli.parser import Parser

__all__ = ("EXAMPLES", "fill", "main")

EXAMPLES = """\
  aiorest-ws schema main:app > openapi.json
  aiorest-ws schema --asyncapi main:app > asyncapi.json
  aiorest-ws schema --check openapi.json main:app"""

_NOTHING = object()


def fill(parser: Parser) -> None:
    add_target(parser)
    parser.add_argument("--asyncapi", action="store_true", help="the messages of the connection, in AsyncAPI")
    parser.add_argument("--title", help="of the document, if not that of the application")
    parser.add_argument("--version", help="of the document, if not that of the application")
    parser.add_argument("--check", metavar="FILE", help="print nothing, and fail if FILE says something else")


def main(given: Namespace) -> int:
    application = load(given.target, given.app_dir)
    application._take({})  # what the environment says
    describe = application.asyncapi if given.asyncapi else application.openapi
    document = describe(title=given.title, version=given.version)
    if given.check is None:
        print_text(json.dumps(document, indent=2, ensure_ascii=False))
        return 0
    try:
        kept = json.loads(Path(given.check).read_bytes())  # however a formatter, or a shell, has written it
    except (OSError, ValueError) as exc:
        raise Failure(f"{given.check} cannot be read: {exc}") from exc
    if json.dumps(kept, sort_keys=True) != json.dumps(document, sort_keys=True):
        anew = f"aiorest-ws schema {'--asyncapi ' if given.asyncapi else ''}{given.target} > {given.check}"
        where = _difference(kept, document) or "the whole"
        raise Failure(
            f"{given.check} is not the schema of {given.target}, {where} differs: write it anew with `{anew}`"
        )
    return 0


def _difference(one: Any, other: Any) -> str:
    """Give where the first difference of two documents is, as paths./todos.get."""
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = [(key, one.get(key, _NOTHING), other.get(key, _NOTHING)) for key in {**one, **other}]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = list(zip(range(len(one)), one, other, strict=True))
    else:
        return ""
    for key, first, second in pairs:
        if first != second:
            return f"{key}.{_difference(first, second)}".rstrip(".")
    return ""
