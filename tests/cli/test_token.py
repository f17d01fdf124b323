"""`token`: claims and a secret in, a token out that the server's manager takes."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from aiorest_ws.auth.token.managers import JSONWebTokenManager
from tests.kit.cli import Cli

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def cli(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("AIOREST_WS_SECRET", SECRET)
    return cli


def claims(cli: Cli, *argv: str, **options: Any) -> dict[str, Any]:
    said = cli("token", *argv)
    assert (said.code, said.err) == (0, "")
    assert said.out.count("\n") == 1
    payload: dict[str, Any] = JSONWebTokenManager(**{"secret_key": SECRET} | options).verify(said.out.strip())
    return payload


def test_a_token_has_what_was_said(cli: Cli) -> None:
    payload = claims(cli, "--subject", "ada", "scope=read write", "--issuer", "https://id", "admin:=true")
    assert payload["exp"] - payload["iat"] == 3600
    assert {name: payload[name] for name in ("sub", "scope", "iss", "admin")} == {
        "sub": "ada",
        "scope": "read write",
        "iss": "https://id",
        "admin": True,
    }


@pytest.mark.parametrize(("span", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604800), ("30", 30)])
def test_when_it_expires(span: str, seconds: int, cli: Cli) -> None:
    payload = claims(cli, "--expires", span)
    assert payload["exp"] - payload["iat"] == seconds


def test_it_may_never_expire(cli: Cli) -> None:
    assert "exp" not in claims(cli, "--expires", "never", optional=("exp",))


def test_an_audience(cli: Cli) -> None:
    assert claims(cli, "--audience", "shop", audience="shop")["aud"] == "shop"


def test_a_secret_from_a_file(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIOREST_WS_SECRET")
    (cli.folder / "secret").write_text(f"{SECRET}{SECRET}\n", "utf-8")
    options = {"secret_key": SECRET * 2, "hash_algorithm": "HS512"}
    assert "exp" in claims(cli, "--secret-file", "secret", "--algorithm", "HS512", **options)


@pytest.mark.parametrize(
    ("argv", "code", "line"),
    [
        (["--expires", "soon"], 2, "token: --expires: expected 90s, 15m, 1h, 7d or never, got 'soon'"),
        (["--subject", "ada", "sub=bob"], 2, "claim sub has an option of its own: give one of them"),
        (["sub:=3"], 2, "sub must be a string (RFC 7519 §4.1.2), got 3"),
        (["--expires", "999999999d"], 2, ""),
        (["--algorithm", "none"], 1, ""),
        (["--algorithm", "ES256"], 1, ""),
        (["--secret-file", "nowhere"], 2, "--secret-file: nowhere: No such file or directory"),
    ],
)
def test_what_cannot_be_is_one_line(argv: list[str], code: int, line: str, cli: Cli) -> None:
    said = cli("token", *argv)
    assert (said.code, said.out) == (code, "")
    assert said.err.startswith(f"aiorest-ws: {line}")
    assert said.err.count("\n") == 1
    assert SECRET not in said.err


def test_a_secret_that_is_not_there_or_too_short(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOREST_WS_SECRET", "short")
    said = cli("token")
    assert (said.code, said.out) == (1, "")
    assert "must have at least 32 bytes" in said.err
    monkeypatch.delenv("AIOREST_WS_SECRET")
    assert cli("token").err.startswith("aiorest-ws: which secret? Set AIOREST_WS_SECRET, or give --secret-file")


def test_without_the_extra_it_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "aiorest_ws.auth.token.managers")
    monkeypatch.setitem(sys.modules, "jwt", None)
    assert cli("token") == (1, "", "aiorest-ws: tokens need PyJWT: pip install 'aiorest-ws[jwt]>=2'\n")
