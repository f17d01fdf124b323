"""What newcomers write as other frameworks have it: an error that says what does it here."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import pickle
import re
from typing import Any
from unittest.mock import Mock

import pytest

import aiorest_ws
from aiorest_ws import Application, SimpleRouter, exceptions, peers
from aiorest_ws.conf.options import OPTIONS, checked
from aiorest_ws.peers import MODULES, NAMES, OF_APPLICATIONS, OF_ROUTERS
from tests.kit.pages import ROOT

TABLES = (NAMES, MODULES, OF_APPLICATIONS, OF_ROUTERS, peers.OPTIONS)


# Names of the package


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_imported_says_what_does_it_here(name: str) -> None:
    for module in ("aiorest_ws", "aiorest_ws.exceptions"):
        with pytest.raises(ImportError) as caught:
            exec(f"from {module} import {name}", {})
        assert str(caught.value) == f"module {module!r} has no {name!r}: {NAMES[name]}"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_asked_for_is_an_attribute_error_and_hasattr_is_false(name: str) -> None:
    for module in (aiorest_ws, exceptions):
        assert not hasattr(module, name)
        with pytest.raises(AttributeError, match=re.escape(NAMES[name])):
            getattr(module, name)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_does_it_here(name: str) -> None:
    if "." in name:  # its package is missing, too, and says it first
        name = name.partition(".")[0]
    caught: Any
    with pytest.raises(ModuleNotFoundError) as caught:
        exec(f"from aiorest_ws.{name} import anything", {})
    assert str(caught.value) == f"there is no aiorest_ws.{name}: {MODULES[name]}"
    with pytest.raises(ImportError) as caught:
        exec(f"from aiorest_ws import {name}", {})
    assert str(caught.value) == f"module 'aiorest_ws' has no {name!r}: {MODULES[name]}"
    assert not hasattr(aiorest_ws, name)


def test_a_name_behind_many_others_says_it_too() -> None:
    """What is behind 255 of them is at an instruction with a prefix."""
    many = "; ".join(f"n{number} = 1" for number in range(300))
    with pytest.raises(ImportError, match="module 'aiorest_ws' has no 'HTTPException': "):
        exec(f"{many}\nfrom aiorest_ws import HTTPException", {})


@pytest.mark.parametrize(
    ("module", "wrong", "meant"),
    [
        ("aiorest_ws", "Aplication", "Application"),
        ("aiorest_ws", "Simplerouter", "SimpleRouter"),
        ("aiorest_ws", "HttpError", "HTTPError"),
        ("aiorest_ws.exceptions", "HTTPEror", "HTTPError"),
    ],
)
def test_a_slip_of_the_pen_names_the_nearest(module: str, wrong: str, meant: str) -> None:
    with pytest.raises(ImportError, match=f"^cannot import name '{wrong}' from '{module}', did you mean '{meant}'\\?$"):
        exec(f"from {module} import {wrong}", {})


@pytest.mark.parametrize(
    "name", ["__wrapped__", "__path__x", "_repr_html_", "apps", "models", "admin", "tasks", "conftest", "tests", "x"]
)
def test_what_tools_look_for_is_missing_as_ever(name: str) -> None:
    assert not hasattr(aiorest_ws, name)
    assert not hasattr(exceptions, name)
    assert importlib.util.find_spec(f"aiorest_ws.{name}") is None
    with pytest.raises(ModuleNotFoundError, match=f"^No module named 'aiorest_ws.{name}'$"):
        importlib.import_module(f"aiorest_ws.{name}")


# Applications and routers


@pytest.mark.parametrize(
    ("cls", "name"),
    [*((Application, name) for name in OF_APPLICATIONS), *((SimpleRouter, name) for name in OF_ROUTERS)],
)
def test_a_method_of_theirs_says_what_does_it_here(cls: Any, name: str) -> None:
    cure = (OF_APPLICATIONS if cls is Application else OF_ROUTERS)[name]
    for thing in (cls, cls()):
        assert not hasattr(thing, name)
        assert name not in dir(thing)
        assert inspect.getattr_static(thing, name, None) is None  # protocols look so, from 3.12 on
        assert not hasattr(Mock(spec=thing), name)
    with pytest.raises(AttributeError) as caught:
        getattr(cls(), name)
    assert str(caught.value) == f"'{cls.__name__}' object has no attribute {name!r}: {cure}"
    assert caught.value.obj is None  # Python adds no guess


def test_what_a_program_has_of_that_name_is_its_own() -> None:
    class Own(Application):
        def mount(self) -> str:
            return "mine"

        config: dict[str, int]

    app = Own()
    app.config = {"a": 1}
    assert (app.mount(), app.config) == ("mine", {"a": 1})
    plain: Any = SimpleRouter()
    plain.run = 7
    assert plain.run == 7


def test_what_fails_in_a_property_is_what_is_said() -> None:
    class Own(Application):
        @property
        def config(self) -> str:
            raise AttributeError("no such file")

        @property
        def place(self) -> str:
            return self.state.nowhere  # type: ignore[no-any-return]

    with pytest.raises(AttributeError, match=r"^no such file$"):
        Own().config  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no attribute 'nowhere'$"):
        Own().place  # noqa: B018


def test_tools_that_look_at_everything_find_nothing_there() -> None:
    router, app = SimpleRouter(), Application()
    for thing in (router, app, SimpleRouter, Application):
        inspect.getmembers(thing)
        assert getattr(thing, "__wrapped__", None) is None
        assert inspect.unwrap(thing) is thing  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match=r"^'SimpleRouter' object has no attribute 'gett'$"):
        router.gett  # type: ignore[attr-defined]  # noqa: B018
    assert copy.copy(router).routes == router.routes
    assert pickle.loads(pickle.dumps(SimpleRouter)) is SimpleRouter


# Options


@pytest.mark.parametrize("name", peers.OPTIONS)
def test_an_option_of_theirs_names_ours(name: str) -> None:
    cure = peers.OPTIONS[name]
    with pytest.raises(TypeError) as caught:
        checked({name: 1})
    said = f"did you mean {cure!r}?" if cure in OPTIONS else cure
    assert str(caught.value) == f"unknown option {name!r}, {said}"


# The tables


def test_a_cure_names_what_is_there() -> None:
    for cure in {cure for table in TABLES for cure in table.values()}:
        for path in re.findall(r"docs/[\w/-]+\.md", cure):
            assert (ROOT / path).exists(), cure
        for name in re.findall(r"aiorest_ws(?:\.\w+)+", cure):
            module, _, attribute = name.rpartition(".")
            there = importlib.import_module(module)
            if not hasattr(there, attribute):
                importlib.import_module(name)
        for option in re.findall(r"(?:option |Application\(router, )(\w+)\b(?!\))", cure):
            assert option in OPTIONS, cure


def test_an_option_that_a_sentence_is_not_is_one_of_ours() -> None:
    assert {cure for cure in peers.OPTIONS.values() if " " not in cure} <= set(OPTIONS)
    assert not set(peers.OPTIONS) & set(OPTIONS)
