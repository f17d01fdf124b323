"""What is printed: for people in colours, for programs in one line, and never what steers a terminal."""

from __future__ import annotations

import io
import json
import re
import sys
from typing import Any

import pytest

from aiorest_ws.cli.output import complain, has_colours, print_json, print_line, print_text


class Stream(io.TextIOWrapper):
    """A stdout of some encoding, a terminal or not."""

    def __init__(self, encoding: str = "utf-8", is_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="")
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    @property
    def text(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def shown(value: Any, monkeypatch: pytest.MonkeyPatch, stream: Stream, show: Any = print_json) -> str:
    monkeypatch.setattr(sys, "stdout", stream)
    show(value)
    return stream.text


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[\d+m", "", text)


VALUE = {"a": [1, -2.5e-7, True, None], 'k"\\': "x: 1, true", "é": "\U0001f375"}


def test_a_terminal_gets_indents_and_colours_and_the_same_value(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(VALUE, monkeypatch, Stream(is_terminal=True))
    assert without_colours(text) == json.dumps(VALUE, indent=2, ensure_ascii=False) + "\n"
    for token in (
        '\x1b[34m"a"\x1b[0m:',
        "\x1b[36m-2.5e-07\x1b[0m",
        "\x1b[35mnull\x1b[0m",
        '\x1b[32m"x: 1, true"\x1b[0m',
    ):
        assert token in text


def test_a_program_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(VALUE, monkeypatch, Stream())
    assert text == json.dumps(VALUE, ensure_ascii=False, separators=(",", ":")) + "\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colours_where_nobody_wants_them(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    text = shown(VALUE, monkeypatch, Stream(is_terminal=True))
    assert text == json.dumps(VALUE, indent=2, ensure_ascii=False) + "\n"
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "xterm")
    assert has_colours(Stream(is_terminal=True))
    assert not has_colours(Stream())


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "gbk"])
@pytest.mark.parametrize("value", ["é", "\U0001f375", "\ud800", "東", "\x9b31m", "\u202e", "\x7f", "\r\x1b]0;"])
def test_json_can_be_said_in_any_encoding_and_steers_nothing(
    encoding: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fastapi#14295 and its like: UnicodeEncodeError on a stream of another encoding."""
    for show in (print_json, print_line):
        text = shown({"v": value}, monkeypatch, Stream(encoding), show)
        assert json.loads(text) == {"v": value}
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_text_is_as_it_is_but_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown("a\x1b[31mé", monkeypatch, Stream(), print_text) == "a\x1b[31mé\n"
    assert shown("a\x1b[31mé", monkeypatch, Stream(is_terminal=True), print_text) == "a\\u001b[31mé\n"
    assert shown("é", monkeypatch, Stream("ascii"), print_text) == "\\xe9\n"


def test_a_complaint_is_one_that_steers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    complain("a\x1b[2J\rb\x9bc")
    assert capsys.readouterr() == ("", "aiorest-ws: a\\u001b[2J\\u000db\\u009bc\n")
