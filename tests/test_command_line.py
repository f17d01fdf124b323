"""The options of the examples."""

from __future__ import annotations

from typing import Any

import pytest

from aiorest_ws.command_line import CommandLine


@pytest.fixture
def argv(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_arguments(*arguments: str) -> None:
        monkeypatch.setattr("sys.argv", ["program", *arguments])

    return set_arguments


def test_options_are_read_from_the_command_line(argv: Any) -> None:
    line = CommandLine()
    line.define("--host", default="127.0.0.1", help="address", type=str)
    line.define("-p", default=8080, type=int)
    line.define("--name")
    argv("-p", "9000")
    options = line.parse_command_line()
    assert (options.host, options.p, options.name) == ("127.0.0.1", 9000, None)


def test_positional_arguments_work_too(argv: Any) -> None:
    line = CommandLine()
    line.define("path")
    argv("/api")
    assert line.parse_command_line().path == "/api"


def test_a_second_definition_is_ignored(argv: Any) -> None:
    line = CommandLine()
    line.define("--port", default=1, type=int)
    line.define("--port", default="two", type=str)
    argv()
    assert line.parse_command_line().port == 1
    argv("--port", "3")
    assert line.parse_command_line().port == 3


def test_every_command_line_has_its_own_options(argv: Any) -> None:
    """R4: in 1.1.1 they shared one parser."""
    first, second = CommandLine(), CommandLine()
    first.define("--port", default=1, type=int)
    second.define("--port", default=2, type=int)
    second.define("--host", default="h")
    argv()
    assert vars(first.parse_command_line()) == {"port": 1}
    assert vars(second.parse_command_line()) == {"port": 2, "host": "h"}
    assert first.options is not second.options


@pytest.mark.parametrize("arguments", [("--port", "x"), ("--unknown", "1"), ("surplus",)])
def test_what_was_not_defined_ends_the_program_with_2(argv: Any, capsys: Any, arguments: tuple[str, ...]) -> None:
    line = CommandLine()
    line.define("--port", default=1, type=int)
    argv(*arguments)
    with pytest.raises(SystemExit) as ended:
        line.parse_command_line()
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_help_shows_what_was_given(argv: Any, capsys: Any) -> None:
    line = CommandLine()
    line.define("--port", default=1, type=int, help="port to listen on")
    argv("--help")
    with pytest.raises(SystemExit) as ended:
        line.parse_command_line()
    assert ended.value.code == 0
    assert "port to listen on" in capsys.readouterr().out
