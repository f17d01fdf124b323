"""Docstrings as they are written → Markdown: their aligned lists of `name   meaning` become tables."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

ENTRY = re.compile(r"(?P<name>\S(?:.{0,60}?\S)??)  +(?P<meaning>\S.*)")
MORE = re.compile(r" {4,}(?P<meaning>\S.*)")


class Tables(Extension):
    def on_instance(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = with_tables(obj.docstring.value)


def with_tables(text: str) -> str:
    return "\n\n".join(as_table(block) or block for block in text.split("\n\n"))


def as_table(block: str) -> str:
    """Give a list as a Markdown table, or nothing when `block` is no list."""
    rows: list[list[str]] = []
    column = 0  # where the meanings begin; a long name may leave a single space before it
    for line in block.split("\n"):
        entry, more = ENTRY.fullmatch(line), MORE.fullmatch(line)
        if entry:
            column = column or entry.start("meaning")
            rows.append([entry["name"], entry["meaning"]])
        elif more and rows:
            rows[-1][1] += f" {more['meaning']}"
        elif rows and line[0] != " " and line[column - 1] == " ":
            rows.append([line[: column - 1], line[column:]])
        else:
            return ""
    lines = [f"| {code(name)} | {escaped(meaning)} |" for name, meaning in rows]
    return "\n".join(("| name | meaning |", "|---|---|", *lines))


def code(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split(", "))


def escaped(text: str) -> str:
    """Keep a `|`, and a `*` or `_` outside of code, from being markup."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(re.sub(r"([*_])", r"\\\1", part) if n % 2 == 0 else part for n, part in enumerate(parts))
