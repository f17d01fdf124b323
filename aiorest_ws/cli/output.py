"""What a server said → text for a terminal or for a program; nothing in it can steer a terminal."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any, TextIO

__all__ = ("complain", "has_colours", "print_json", "print_line", "print_text")

# Controls that JSON lets stand (C1, DEL), and marks that turn the direction of what is around them.
_STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_TOKENS = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d[\d.eE+-]*)')
_KEY, _STRING, _WORD, _NUMBER, _PLAIN = "\x1b[34m", "\x1b[32m", "\x1b[35m", "\x1b[36m", "\x1b[0m"


def has_colours(stream: TextIO) -> bool:
    """Tell whether to colour what goes there: a terminal that can, and nobody minds (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def print_json(value: Any) -> None:
    """Print a value as JSON: indented for a person, in one line for a program."""
    if sys.stdout.isatty():
        text = _fitting(json.dumps(value, ensure_ascii=False, indent=2), sys.stdout)
        print(_coloured(text) if has_colours(sys.stdout) else text)
    else:
        print_line(value)


def print_line(value: Any) -> None:
    """Print a value as one line of JSON, at once."""
    text = _fitting(json.dumps(value, ensure_ascii=False, separators=(",", ":")), sys.stdout)
    print(_coloured(text) if has_colours(sys.stdout) else text, flush=True)


def print_text(text: str) -> None:
    """Print text that is meant as it is: only a terminal is kept from what would steer it."""
    safe = _STEERS.sub(_escaped, text) if sys.stdout.isatty() else text
    encoding = sys.stdout.encoding or "utf-8"
    print(safe.encode(encoding, "backslashreplace").decode(encoding))


def complain(line: str) -> None:
    """Print a line on stderr, whatever is in it."""
    print(f"aiorest-ws: {_STEERS.sub(_escaped, line)}", file=sys.stderr, flush=True)


def _fitting(text: str, stream: TextIO) -> str:
    """Give JSON with escapes for what would steer a terminal, and all in ASCII where `stream` cannot say it."""
    text = _STEERS.sub(_escaped, text)
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
    return text


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _coloured(text: str) -> str:
    def paint(token: re.Match[str]) -> str:
        string, colon, word, number = token.groups()
        if string is not None:
            return f"{_STRING if colon is None else _KEY}{string}{_PLAIN}{colon or ''}"
        return f"{_WORD}{word}{_PLAIN}" if word else f"{_NUMBER}{number}{_PLAIN}"

    return _TOKENS.sub(paint, text)
