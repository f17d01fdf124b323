"""make a JSON Web Token

For a try: the token is signed with the secret in AIOREST_WS_SECRET, as the server's JSONWebTokenManager would, and
printed. A secret has as many bytes as the hash, at least: 32 for HS256.
"""

from __future__ import annotations

import os
import re
from argparse import ArgumentTypeError, Namespace
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiorest_ws.cli.asking import pairs
from aiorest_ws.cli.failures import USAGE, Failure
from aiorest_ws.cli.parser import Parser

__all__ = ("EXAMPLES", "fill", "main")

EXAMPLES = """\
  export AIOREST_WS_SECRET="$(openssl rand -hex 32)"
  aiorest-ws token --subject ada
  aiorest-ws token --subject ada --expires 7d scope="read write" admin:=true
  aiorest-ws token --subject ada --algorithm ES256 --secret-file key.pem --issuer https://id.example.com"""

SECRET = "AIOREST_WS_SECRET"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(\d{1,9})([smhd]?)")


def fill(parser: Parser) -> None:
    parser.add_argument(
        "pairs", metavar="claim=value", nargs="*", default=[], help="other claims: claim=text, claim:=JSON"
    )
    parser.add_argument("--subject", metavar="SUB", help="who it is for: claim sub")
    what = "when it expires: 90s, 15m, 1h, 7d, or never (1h)"
    parser.add_argument("--expires", metavar="SPAN", type=_span, default=timedelta(hours=1), help=what)
    parser.add_argument("--issuer", metavar="ISS", help="claim iss")
    parser.add_argument("--audience", metavar="AUD", help="claim aud")
    parser.add_argument("--algorithm", metavar="ALG", default="HS256", help="HS256, ES256, RS256, EdDSA … (HS256)")
    what = f"the secret, or the private key in PEM, instead of {SECRET}"
    parser.add_argument("--secret-file", metavar="FILE", help=what)


def main(given: Namespace) -> int:
    claims, secret = pairs(given.pairs), _secret(given.secret_file)
    try:
        from aiorest_ws.auth.token.managers import JSONWebTokenManager
    except ImportError as exc:
        raise Failure(str(exc)) from None
    lifetime = {} if given.expires is not None else {"optional": ("exp",), "lifetime": None}
    manager = JSONWebTokenManager(secret_key=secret, hash_algorithm=given.algorithm, **lifetime)
    known = {"sub": given.subject, "iss": given.issuer, "aud": given.audience, "exp": given.expires}
    twice = sorted(name for name, value in known.items() if value is not None and name in claims)
    if twice:
        raise Failure(f"claim {twice[0]} has an option of its own: give one of them", USAGE)
    try:
        print(manager.generate(claims, **known))
    except (TypeError, ValueError) as exc:
        raise Failure(str(exc), USAGE) from None
    return 0


def _secret(file: str | None) -> str | bytes:
    if file is not None:
        try:
            return Path(file).read_bytes().removesuffix(b"\n")
        except OSError as exc:
            raise Failure(f"--secret-file: {file}: {exc.strerror}", USAGE) from None
    secret = os.environ.get(SECRET)
    if not secret:
        raise Failure(f"which secret? Set {SECRET}, or give --secret-file: never on the command line", USAGE)
    return secret


def _span(text: str) -> Any:
    if text == "never":
        return None
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ArgumentTypeError(f"expected 90s, 15m, 1h, 7d or never, got {text!r:.100}")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2] or "s"])
