"""The table of options → docs/reference/options.md: `python docs/mkdocs/options.py` writes it, a test compares."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from aiorest_ws.conf.options import TABLE, Option
from aiorest_ws.limits import Limits

PAGE = Path(__file__).parent.parent / "reference/options.md"
LIMITS = {field.name for field in fields(Limits)}
TEXT = """\
# Options

Each is a keyword of `Application`, `run`, `start` and `serve`, a [setting](../how-to/settings.md) of the environment or
a settings module, and a [flag](command-line.md#run) of `aiorest-ws run`. One that is not understood is an error that
names the nearest.

| option | default | meaning |
|---|---|---|
{options}

## Limits

What one client, or many, may take of the server. `None` switches a limit off.

| option | default | beyond it |
|---|---|---|
{limits}
"""


def row(name: str, option: Option) -> str:
    default = option.default
    written = json.dumps(default) if isinstance(default, str) else getattr(default, "__name__", None) or repr(default)
    return f"| `{name}` | `{written}` | {option.help.replace('](docs/', '](../')} |"


def page() -> str:
    """Give the page, with the options in the order of the table."""
    options = "\n".join(row(name, option) for name, option in TABLE.items() if name not in LIMITS)
    limits = "\n".join(row(name, option) for name, option in TABLE.items() if name in LIMITS)
    return TEXT.format(options=options, limits=limits)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
