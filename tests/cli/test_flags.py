"""`run`: a flag for each option that text can say; and who wins."""

from __future__ import annotations

import json
from argparse import SUPPRESS
from typing import Any

import pytest

from aiorest_ws.cli.flags import FLAGS, add_flags, flag_of, options_of
from aiorest_ws.cli.parser import Parser
from aiorest_ws.conf.environment import configured
from aiorest_ws.conf.options import TABLE
from tests.kit.cli import Cli

# A text that means a value of its own, for each option; of flags the one that is not the default.
TEXTS = {
    "host": "::1",
    "unix_path": "/run/socket",
    "unix_mode": "660",
    "health_path": "/healthz",
    "http_prefix": "/api",
    "path": "api",
    "certificate": "cert.pem",
    "key": "key.pem",
    "key_password": "se cret",
    "allowed_hosts": "a.example.com, b.example.com",
    "allowed_origins": "https://a.example.com,null",
    "subprotocols": "one,two",
    "loop": "asyncio",
    "log_level": "DEBUG",
    "access_log": "json",
    "metrics_host": "0.0.0.0",
    "workers": "auto",
    "max_handshake_size": "1000",
    "broker": "redis://127.0.0.1:6379",
}


def parser() -> Parser:
    made = Parser(prog="aiorest-ws run")
    made.add_argument("target")
    add_flags(made)
    return made


def taken(*argv: str) -> dict[str, Any]:
    return options_of(parser().parse(["main:app", *argv]))


def test_each_option_that_text_can_say_has_a_flag_and_no_other() -> None:
    assert [name for name, option in TABLE.items() if option.written is not None] == list(FLAGS)
    assert {"host", "port", "compress", "allowed_origins", "unix_mode", "max_connections", "access_log"} <= set(FLAGS)
    assert not {"router", "middlewares", "ssl_context", "lifespan"} & set(FLAGS)


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_means_what_the_environment_means(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if TABLE[name].written == "flag":
        monkeypatch.setenv(f"AIOREST_WS_{name.upper()}", "no" if TABLE[name].default else "yes")
        assert taken(flag_of(name) if not TABLE[name].default else f"--no-{flag_of(name)[2:]}") == configured()
        return
    text = TEXTS.get(name, "9")
    monkeypatch.setenv(f"AIOREST_WS_{name.upper()}", text)
    wanted = configured()
    assert wanted[name] != TABLE[name].default
    assert taken(flag_of(name), text) == wanted
    assert taken(f"{flag_of(name)}={text}") == wanted


def test_what_is_not_given_is_not_there() -> None:
    assert taken() == {}
    assert taken("--no-compress") == {"compress": False}


def test_none_is_none() -> None:
    assert taken("--max-connections", "none", "--host", "None") == {"max_connections": None, "host": None}


@pytest.mark.parametrize(
    ("argv", "value"),
    [
        (["--access-log", "main:app"], True),
        (["main:app", "--access-log"], True),
        (["--access-log", "--port", "1", "main:app"], True),
        (["--access-log", "json", "main:app"], "json"),
        (["--access-log", "TEXT", "main:app"], "text"),
        (["--access-log=text", "main:app"], "text"),
        (["--access-log", "no", "main:app"], False),
        (["--no-access-log", "main:app"], False),
    ],
)
def test_the_access_log_may_have_a_form(argv: list[str], value: Any) -> None:
    given = parser().parse(argv)
    assert given.target == "main:app"
    assert options_of(given)["access_log"] == value


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--port", "many"], "--port: expected a number, got 'many'"),
        (["--port", "65536"], "--port: port must be from 0 to 65535, got 65536"),
        (["--port", "1.5"], "--port: port must be an integer, got 1.5"),
        (["--port"], "--port: expected one argument"),
        (["--unix-mode", "rw"], "--unix-mode: expected octal digits such as 660, got 'rw'"),
        (["--loop", "twisted"], "--loop: loop must be one of 'auto', 'asyncio', 'uvloop', got 'twisted'"),
        (["--health-path", "healthz"], "--health-path: health_path must be None or a path that begins with a slash"),
        (["--access-log=xml"], "--access-log: expected one of 1, true, yes, on, 0, false, no, off, got 'xml'"),
        (["--prot", "80"], "unknown option --prot, did you mean --port?"),
        (["--max_connections", "80"], "unknown option --max_connections, did you mean --max-connections?"),
        (["--max-conn", "80"], "unknown option --max-conn, see aiorest-ws run --help"),
        (["--compres"], "unknown option --compres, did you mean --compress?"),
        (["--compress=yes"], "--compress/--no-compress: ignored explicit argument 'yes'"),
        (["--middlewares", "x"], "--middlewares: middlewares is an object, give it in a settings module or in the "),
        (["--lifespan=x"], "--lifespan: lifespan is an object, give it in a settings module or in the program"),
        (["--reload-dir", "."], "--reload-dir says what --reload watches, which was not given"),
    ],
)
def test_what_cannot_be_is_one_line(argv: list[str], line: str, cli: Cli) -> None:
    said = cli("run", "main:app", *argv)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"aiorest-ws: run: {line}")
    assert said.err.count("\n") == 1


SERVER = """
import json
from aiorest_ws import Application, SimpleRouter

class Telling(Application):
    def run(self, **options):
        self._take(options)
        print(json.dumps([self._options[name] for name in ("port", "path", "debug", "burst")]))

app = Telling(SimpleRouter(), port=1, path="program", debug=True)
"""


def test_flags_win_over_the_program_and_that_over_the_environment(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOREST_WS_PORT", "2")
    monkeypatch.setenv("AIOREST_WS_BURST", "77")
    name = cli.write(SERVER)
    assert json.loads(cli("run", f"{name}:app").out) == [1, "program", True, 77]
    name = cli.write(SERVER)
    said = cli("run", f"{name}:app", "--port", "3", "--no-debug", "--burst=5")
    assert json.loads(said.out) == [3, "program", False, 5]


def test_names_of_the_clients_are_known_to_servers(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no near name of an option, nor an option of theirs: AIOREST_WS_SERVICE is somebody else's."""
    from aiorest_ws.conf.environment import strangers

    for name in ("SECRET", "SERVER", "TOKEN"):
        monkeypatch.setenv(f"AIOREST_WS_{name}", "x")
    assert configured() == {}
    assert strangers() == []
    monkeypatch.setenv("AIOREST_WS_SERVICE", "x")
    assert configured() == {}
    assert len(strangers()) == 1


def test_help_is_plain_text_in_groups() -> None:
    made = parser()
    told = {action.dest: action.help for action in made._actions if action.help != SUPPRESS and action.dest in FLAGS}
    assert list(told) != []
    for name, text in told.items():
        assert text, name
        assert not {"`", "[", "]"} & set(text), name
        assert "see below" not in text, name
    assert [group.title for group in made._action_groups[2:]] == [
        *(
            "where it listens",
            "HTTP",
            "TLS",
            "who may connect",
            "processes and threads",
            "logs and metrics",
            "compression",
        ),
        "limits",
    ]
