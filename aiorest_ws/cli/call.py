"""send one request to a server, and print the reply

What the server gives as `data` is printed as JSON: indented on a terminal, else in one line. An error is one line on
stderr, and its status the exit code: 4 for 4xx, 5 for 5xx; 3 if there was no reply.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentTypeError, Namespace
from typing import Any

from aiorest_ws.cli.asking import add_arguments, add_server, arguments_of, document, is_value, server_of
from aiorest_ws.cli.failures import USAGE, Failure, code_of
from aiorest_ws.cli.output import complain, print_json, print_text
from aiorest_ws.cli.parser import Parser
from aiorest_ws.cli.server import Server, told
from aiorest_ws.client import RequestFailed

__all__ = ("EXAMPLES", "check_url", "fill", "main")

EXAMPLES = """\
  aiorest-ws call GET /hello
  aiorest-ws call GET /sum a:=2 b:=3 --server ws://127.0.0.1:8000
  aiorest-ws call POST /orders --data '{"item": "tea", "count": 2}'
  aiorest-ws call PUT /orders/7 --data @order.json --token "$(aiorest-ws token --subject ada)"
  aiorest-ws call GET /orders | jq '.[0]'"""


def fill(parser: Parser) -> None:
    parser.add_argument("method", metavar="METHOD", type=_method, help="GET, POST, PUT, PATCH, DELETE …")
    parser.add_argument("url", metavar="URL", help="with a slash in front: /users/7")
    add_arguments(parser)
    parser.add_argument("--data", metavar="JSON", help="data of the request: JSON, @file, or - for stdin")
    parser.add_argument("--raw", action="store_true", help="a string is printed as it is, without quotes")
    parser.add_argument("--whole", action="store_true", help="print the whole reply, also of an error, with its status")
    add_server(parser)


def main(given: Namespace) -> int:
    method, url = given.method.upper(), check_url(given.url)
    if method == "SUBSCRIBE":
        raise Failure(f"SUBSCRIBE has more than one reply: aiorest-ws subscribe {url}", USAGE)
    args = arguments_of(given)
    data = None if given.data is None else document(given.data, "--data")
    reply = asyncio.run(_asked(server_of(given), method, url, args, data))
    _show(reply, given, args or {})
    return code_of(reply["status"])


async def _asked(server: Server, method: str, url: str, args: dict[str, Any] | None, data: Any) -> dict[str, Any]:
    """Give the reply, whole, whatever its status. Raises Failure if there is none."""
    with server.asked():
        async with server.client() as api:
            try:
                return (await api.exchange(method, url, args=args, data=data, extra=server.extra)).message
            except RequestFailed as exc:
                return exc.message


def _show(reply: dict[str, Any], given: Namespace, args: dict[str, Any]) -> None:
    if given.whole:
        print_json({name: value for name, value in reply.items() if name != "id"})
    elif code_of(reply["status"]):
        complain(told(reply) + _cure(reply, args))
    elif given.raw and isinstance(reply.get("data"), str):
        print_text(reply["data"])
    else:
        print_json(reply.get("data"))


def _cure(reply: dict[str, Any], args: dict[str, Any]) -> str:
    """Say how an argument is typed that came as text, where a server expected what it would be in JSON."""
    detail = reply.get("detail")
    for fault in detail if isinstance(detail, list) else ():
        match fault:
            case {"loc": ["args", str(name)], "msg": str(said)} if said.endswith("got `str`"):
                if isinstance(text := args.get(name), str) and is_value(text):
                    return f", did you mean {name}:={text:.100}?"
    return ""


def _method(word: str) -> str:
    if word.startswith("/"):
        raise ArgumentTypeError(f"expected one such as GET, got {word!r:.200}, did you mean GET {word:.200}?")
    return word


def check_url(url: str) -> str:
    """Give a url as it is sent. Raises Failure."""
    scheme, mark, rest = url.partition("://")
    if mark and scheme in ("http", "https", "ws", "wss"):
        host, _, path = rest.partition("/")
        server = f"{scheme.replace('http', 'ws')}://{host}"
        raise Failure(f"expected a path, got {url!r:.200}, did you mean {f'/{path} --server {server}':.200}?", USAGE)
    if not url.startswith("/"):
        raise Failure(
            f"expected a url with a slash in front, got {url!r:.200}, did you mean {f'/{url}'!r:.200}?", USAGE
        )
    if "?" in url:
        raise Failure(f"a url has no query string: {url.partition('?')[0]} key=value …", USAGE)
    return url
