"""What programs for 1.1.1 import and is gone: an ImportError that says what takes its place."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

import aiorest_ws
from aiorest_ws.gone import PLACES, Finder

# Every module that 1.1.1 had and that is not there any more.
MODULES = [
    "auth.token.backends",
    "auth.token.utils",
    "auth.user.exceptions",
    "auth.user.utils",
    "conf.global_settings",
    "db",
    "db.backends",
    "db.backends.sqlite3",
    "db.backends.sqlite3.constants",
    "db.backends.sqlite3.managers",
    "db.orm",
    "db.orm.abstract",
    "db.orm.django",
    "db.orm.django.compat",
    "db.orm.django.field_mapping",
    "db.orm.django.fields",
    "db.orm.django.model_meta",
    "db.orm.django.relations",
    "db.orm.django.serializers",
    "db.orm.django.validators",
    "db.orm.exceptions",
    "db.orm.fields",
    "db.orm.relations",
    "db.orm.serializers",
    "db.orm.sqlalchemy",
    "db.orm.sqlalchemy.exceptions",
    "db.orm.sqlalchemy.field_mapping",
    "db.orm.sqlalchemy.fields",
    "db.orm.sqlalchemy.mixins",
    "db.orm.sqlalchemy.model_meta",
    "db.orm.sqlalchemy.relations",
    "db.orm.sqlalchemy.serializers",
    "db.orm.sqlalchemy.validators",
    "db.orm.validators",
    "db.utils",
    "endpoints",
    "log",
    "parsers",
    "storages",
    "storages.backends",
    "test",
    "test.utils",
    "utils.date",
    "utils.date.dateparse",
    "utils.date.formatters",
    "utils.date.humanize_datetime",
    "utils.date.timezone",
    "utils.encoding",
    "utils.field_mapping",
    "utils.fields",
    "utils.formatting",
    "utils.functional",
    "utils.modify",
    "utils.representation",
    "utils.serializer_helpers",
    "utils.structures",
    "utils.text",
    "utils.validators",
    "utils.xmlutils",
    "validators",
]

NAMES = [
    ("aiorest_ws", "VERSION"),
    ("aiorest_ws.auth.token.backends", "InMemoryTokenBackend"),
    ("aiorest_ws.auth.user.abstractions", "User"),
    ("aiorest_ws.auth.user.models", "UserSQLiteModel"),
    ("aiorest_ws.auth.user.utils", "generate_password_hash"),
    ("aiorest_ws.conf", "global_settings"),
    ("aiorest_ws.conf", "UserSettingsHolder"),
    ("aiorest_ws.db", "orm"),
    ("aiorest_ws.db.orm.sqlalchemy.serializers", "ModelSerializer"),
    ("aiorest_ws.log", "logger"),
    ("aiorest_ws.test.utils", "override_settings"),
    ("aiorest_ws.utils", "modify"),
    ("aiorest_ws.utils.modify", "add_property"),
    ("aiorest_ws.views", "MethodViewMeta"),
]


@pytest.mark.parametrize("name", MODULES)
def test_module_that_is_gone_says_what_takes_its_place(name: str) -> None:
    with pytest.raises(ImportError, match=r"^aiorest_ws\.[\w.]+ of 1\.1\.1 is gone: \w"):
        importlib.import_module(f"aiorest_ws.{name}")


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_name_that_is_gone_says_what_takes_its_place(module: str, name: str) -> None:
    with pytest.raises(ImportError, match=r"^aiorest_ws\.[\w.]+ of 1\.1\.1 is gone: \w"):
        exec(f"from {module} import {name}", {})


def test_part_of_the_package_of_that_name_is_asked_for_too() -> None:
    with pytest.raises(ImportError, match=r"of 1\.1\.1 is gone: use your ORM"):
        exec("from aiorest_ws import db", {})


@pytest.mark.parametrize("module", ["aiorest_ws", "aiorest_ws.conf", "aiorest_ws.views", "aiorest_ws.auth.user.models"])
def test_what_never_was_is_missing_as_ever(module: str) -> None:
    there = importlib.import_module(module)
    assert not hasattr(there, "never_was")
    with pytest.raises(AttributeError, match=f"^module '{module}' has no attribute 'never_was'$"):
        there.never_was  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'never_was'"):
        exec(f"from {module} import never_was", {})
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'aiorest_ws\.never_was'$"):
        importlib.import_module("aiorest_ws.never_was")


def test_what_is_installed_beside_us_is_not_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'db'$"):
        importlib.import_module("db")
    monkeypatch.setitem(sys.modules, "aiorest_ws.db", ModuleType("aiorest_ws.db"))  # somebody's own
    assert importlib.import_module("aiorest_ws.db") is sys.modules["aiorest_ws.db"]


def test_finder_is_the_last_one_and_there_once() -> None:
    assert sys.meta_path.count(Finder) == 1
    importlib.reload(aiorest_ws)
    assert sys.meta_path.count(Finder) == 1


@pytest.mark.parametrize("name", PLACES)
def test_what_is_gone_is_not_there(name: str) -> None:
    """Else the table says what nobody sees."""
    module, _, attribute = f"aiorest_ws.{name}".rpartition(".")
    if name != "utils":  # of it only `websocket` is left
        with pytest.raises(ImportError, match="is gone"):
            exec(f"from {module} import {attribute}", {})


def test_deflate_offer_accept_is_where_it_was() -> None:
    from aiorest_ws.app import deflate_offer_accept as new
    from aiorest_ws.utils.websocket import deflate_offer_accept

    assert deflate_offer_accept is new
    assert deflate_offer_accept([]) is None
