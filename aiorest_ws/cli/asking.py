"""What `call` and `subscribe` share: the words that say where the server is, and that stand for arguments."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from aiorest_ws.cli.failures import USAGE, Failure
from aiorest_ws.cli.parser import Parser
from aiorest_ws.cli.server import Server
from aiorest_ws.client.wire import check_url

__all__ = ("add_arguments", "add_server", "arguments_of", "document", "is_value", "pairs", "server_of")

SERVER, TOKEN = "AIOREST_WS_SERVER", "AIOREST_WS_TOKEN"
_NEAREST = "ws://127.0.0.1:8080"


def add_server(parser: Parser) -> None:
    """Add what `server_of` takes."""
    group = parser.add_argument_group("the server")
    what = f"ws://host:port/path, wss://…, or unix:/path of a socket ({SERVER}, else {_NEAREST})"
    group.add_argument("--server", metavar="URL", type=_server, help=what)
    group.add_argument("--token", help=f"for the handshake and for each message ({TOKEN})")
    what = "of the handshake: 'Name: value'; may be given again"
    group.add_argument("--header", metavar="HEADER", type=_header, action="append", default=[], help=what)
    what = "for the handshake, and for the reply (30)"
    group.add_argument("--timeout", metavar="SECONDS", type=_seconds, default=30.0, help=what)
    group.add_argument(
        "--ca", metavar="FILE", help="trust who signed with this certificate, in PEM, instead of the system's"
    )
    group.add_argument("--insecure", action="store_true", help="trust any certificate")
    elsewhere = "it is in the url of the server, --server ws://host:port"
    parser.elsewhere = {**parser.elsewhere, **dict.fromkeys(("--port", "--host", "--path"), elsewhere)}


def add_arguments(parser: Parser) -> None:
    """Add what `arguments_of` takes."""
    what = "args: key=text, key:=JSON (a:=3, tags:='[\"x\"]')"
    parser.add_argument("pairs", metavar="key=value", nargs="*", default=[], help=what)
    parser.add_argument("--args", metavar="JSON", help="args as one object: JSON, @file, or - for stdin")


def server_of(given: Namespace) -> Server:
    server = given.server
    if server is None:
        try:
            server = _server(os.environ.get(SERVER) or _NEAREST)
        except ArgumentTypeError as exc:
            raise Failure(f"environment variable {SERVER}: {exc}", USAGE) from None
    token = given.token or os.environ.get(TOKEN) or None
    return Server(server, token, tuple(given.header), given.ca, given.insecure, given.timeout)


def arguments_of(given: Namespace) -> dict[str, Any] | None:
    """Give `args`, or None. Raises Failure."""
    if given.args is None:
        return pairs(given.pairs) or None
    if given.pairs:
        raise Failure(
            f"--args has all arguments, and so it takes the place of {given.pairs[0]!r}: give one of them", USAGE
        )
    args = document(given.args, "--args")
    if not isinstance(args, dict):
        raise Failure(f"--args: expected an object, got {json.dumps(args):.100}", USAGE)
    return args


def pairs(words: Sequence[str]) -> dict[str, Any]:
    """Give what `key=text` and `key:=JSON` say. Raises Failure."""
    found: dict[str, Any] = {}
    for word in words:
        key, sign, text = word.partition("=")
        if not sign or not key.removesuffix(":"):
            cure = f", did you mean --args {quote(word):.100}?" if word[:1] == "{" else ""
            raise Failure(f"expected key=value or key:=JSON, got {word!r:.100}{cure}", USAGE)
        name = key.removesuffix(":")
        if name in found:
            raise Failure(f"{name} is given twice: for a list say {name}:='[…]'", USAGE)
        found[name] = text if name == key else _parsed(text, name)
    return found


def document(text: str, flag: str) -> Any:
    """Give the JSON that `text` is, that `@file` has, or stdin for `-`. Raises Failure."""
    if text != "-" and not text.startswith("@"):
        return _parsed(text, flag)
    try:
        content = sys.stdin.buffer.read() if text in ("-", "@-") else Path(text[1:]).read_bytes()
    except OSError as exc:
        raise Failure(f"{flag}: {text[1:]}: {exc.strerror}", USAGE) from None
    try:
        return _parsed(content.decode("utf-8-sig"), flag)
    except UnicodeDecodeError:
        raise Failure(f"{flag}: {text} is not in UTF-8", USAGE) from None


def is_value(text: str) -> bool:
    """Tell whether `text` is JSON for something else than a string."""
    try:
        return not isinstance(json.loads(text, parse_constant=_no_constant), str)
    except (ValueError, RecursionError):
        return False


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        cure = f": a string is in quotes, too: '\"{text}\"'" if text.replace("_", "").isalnum() else ""
        raise Failure(f"{where}: not JSON, got {text!r:.100}{cure or f' ({exc})'}", USAGE) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")


def _server(text: str) -> str:
    try:
        return check_url(text)
    except ValueError as exc:
        raise ArgumentTypeError(str(exc)) from None


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not text.isprintable():
        raise ArgumentTypeError(f"expected 'Name: value', got {text!r:.100}")
    return name.strip(), value.strip()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise ArgumentTypeError(f"expected seconds, got {text!r:.100}")
    return seconds
