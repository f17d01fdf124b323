"""`aiorest_ws.conf.settings`: the settings module of a program, read when it is used."""

from __future__ import annotations

from logging.config import dictConfig
from typing import Any

import pytest

from aiorest_ws.conf import VARIABLE, Settings, settings
from aiorest_ws.exceptions import ImproperlyConfigured
from tests.serving import asynchronous, printed


def test_names_in_upper_case_are_settings(settings_module: Any) -> None:
    settings_module("import os\nINSTALLED_APPS = ('shop',)\nUSE_TZ = True\nlower = 1\n")
    assert settings.INSTALLED_APPS == ("shop",)
    assert settings.USE_TZ is True
    assert settings.TIME_ZONE == "America/Chicago"
    assert "INSTALLED_APPS" in dir(settings)
    with pytest.raises(AttributeError, match=r"^settings have names in upper case, got 'lower'$"):
        settings.lower  # noqa: B018


def test_without_a_module_there_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert (settings.DATABASES, settings.ISO_8601) == ({}, "iso-8601")
    with pytest.raises(AttributeError, match=rf"^settings, as {VARIABLE} is not set, has no 'NO_SUCH'$"):
        settings.NO_SUCH  # noqa: B018
    dictConfig(settings.DEFAULT_LOGGING_SETTINGS)


def test_unknown_name_says_which_module_lacks_it(settings_module: Any) -> None:
    name = settings_module("A = 1\n")
    with pytest.raises(AttributeError, match=rf"^settings module '{name}' has no 'B'$"):
        settings.B  # noqa: B018


def test_module_may_be_named_at_any_time_before_its_use(settings_module: Any) -> None:
    """In 1.1.1 it had to be named before the first import."""
    settings_module("A = 1\n")
    assert settings.A == 1
    settings_module("A = 2\n")
    assert settings.A == 2


def test_defaults_are_nobody_elses() -> None:
    """1.1.1 wrote its database managers into them."""
    one, other = Settings(), Settings()
    one.DATABASES["default"] = {}
    assert other.DATABASES == {}


def test_settings_can_be_changed_for_a_test(settings_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """O1: 1.1.1's own tool for that never restored what was there before."""
    settings_module("A = 1\n")
    with monkeypatch.context() as patch:
        patch.setattr(settings, "A", 2)
        patch.setattr(settings, "NEW", 3, raising=False)
        assert (settings.A, settings.NEW) == (2, 3)
    assert settings.A == 1
    assert not hasattr(settings, "NEW")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 / 0\n", "fails: ZeroDivisionError: division by zero"),
        ("import no_such_module\n", "fails: ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise ValueError('a\\nb')\n", "fails: ValueError: a"),
        ("A = (\n", "fails: SyntaxError: '(' was never closed"),
    ],
)
def test_module_that_raises_is_one_line(source: str, expected: str, settings_module: Any) -> None:
    name = settings_module(source)
    with pytest.raises(ImproperlyConfigured) as failed:
        settings.A  # noqa: B018
    assert str(failed.value).startswith(f"settings module '{name}' {expected}")
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("name", ["no_such_module", "no_such.settings", "json.no_such"])
def test_module_that_does_not_exist_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, name)
    with pytest.raises(ImproperlyConfigured, match=rf"^no settings module '{name}', which {VARIABLE} names$"):
        settings.A  # noqa: B018


@asynchronous
async def test_importing_reads_nothing() -> None:
    told = await printed(
        "import aiorest_ws\nfrom aiorest_ws.conf import settings\naiorest_ws.Application()\nprint('imported')\n",
        **{VARIABLE: "no_such_module", "AIOREST_WS_NO_SUCH": "1"},
    )
    assert told == "imported\n"
