"""An option is written down once: types, defaults, checks, environment and docs agree."""

from __future__ import annotations

import inspect
import runpy
from typing import Any, get_type_hints

import pytest

from aiorest_ws import Application
from aiorest_ws.conf.options import OPTIONS, TABLE, AllOptions
from aiorest_ws.limits import LimitOptions, Limits
from tests.kit.pages import ROOT


def test_types_are_those_of_the_table() -> None:
    assert set(AllOptions.__annotations__) - {"ip"} == set(TABLE) == set(OPTIONS)


def test_limits_are_options_of_the_same_types() -> None:
    assert get_type_hints(LimitOptions) == get_type_hints(Limits)


def test_defaults_pass_their_checks() -> None:
    for name, option in TABLE.items():
        if option.check is not None:
            option.check(name, option.default)


def test_page_of_the_options_is_what_the_table_says() -> None:
    """Written anew by `python docs/mkdocs/options.py`."""
    written: dict[str, Any] = runpy.run_path(str(ROOT / "docs/mkdocs/options.py"))
    assert written["PAGE"].read_text("utf-8") == written["page"]()


@pytest.mark.parametrize("method", ["__init__", "prepare", "start", "serve", "run", "generate_factory"])
def test_signatures_say_what_may_be_given(method: str) -> None:
    given = inspect.signature(getattr(Application, method)).parameters["options"]
    assert given.annotation == ("Unpack[Options]" if method == "__init__" else "Unpack[AllOptions]")
