"""print an OpenAPI or AsyncAPI document of an application

In the order of registration, the same each time: it can be committed, and compared with `--check` where tests run.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from aiorest_ws.cli.failures import Failure
from aiorest_ws.cli.loading import add_target, load
from aiorest_ws.cli.output import print_text
from aiorest_ws.cli.parser import Parser

__all__ = ("EXAMPLES", "fill", "main")

EXAMPLES = """\
  aiorest-ws schema main:app > openapi.json
  aiorest-ws schema --asyncapi main:app > asyncapi.json
  aiorest-ws schema --check openapi.json main:app"""


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
        raise Failure(f"{given.check} is not the schema of {given.target}: write it anew with `aiorest-ws schema`")
    return 0
