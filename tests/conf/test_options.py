"""An option is written down once: types, defaults, checks, environment and README agree."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from typing import get_type_hints

import pytest

from aiorest_ws import Application
from aiorest_ws.conf.options import OPTIONS, TABLE, AllOptions, Option
from aiorest_ws.limits import LimitOptions, Limits
from tests.kit.pages import ROOT

README = ROOT / "README.md"
LIMITS = {field.name for field in fields(Limits)}


def row(name: str, option: Option) -> str:
    default = option.default
    written = json.dumps(default) if isinstance(default, str) else getattr(default, "__name__", None) or repr(default)
    return f"| `{name}` | `{written}` | {option.help} |"


def test_types_are_those_of_the_table() -> None:
    assert set(AllOptions.__annotations__) - {"ip"} == set(TABLE) == set(OPTIONS)


def test_limits_are_options_of_the_same_types() -> None:
    assert get_type_hints(LimitOptions) == get_type_hints(Limits)


def test_defaults_pass_their_checks() -> None:
    for name, option in TABLE.items():
        if option.check is not None:
            option.check(name, option.default)


@pytest.mark.parametrize(
    ("heading", "names"),
    [("| option | default | |", set(TABLE) - LIMITS), ("| option | default | beyond it |", LIMITS)],
)
def test_readme_has_the_table(heading: str, names: set[str]) -> None:
    lines = README.read_text("utf-8").splitlines()
    start = lines.index(heading) + 2
    table = lines[start : lines.index("", start)]
    assert table == [row(name, option) for name, option in TABLE.items() if name in names]


@pytest.mark.parametrize("method", ["__init__", "prepare", "start", "serve", "run", "generate_factory"])
def test_signatures_say_what_may_be_given(method: str) -> None:
    given = inspect.signature(getattr(Application, method)).parameters["options"]
    assert given.annotation == ("Unpack[Options]" if method == "__init__" else "Unpack[AllOptions]")
