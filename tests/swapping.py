"""One implementation of the hot path in the place of the other, through the whole package, and the proof that it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from aiorest_ws import SimpleRouter, _speedups, wrappers
from aiorest_ws.server import factory

__all__ = ("IMPLEMENTATIONS", "Impl", "is_for_another_run", "using")

IMPLEMENTATIONS = ("py", "c") if _speedups.COMPILED else ("py",)


@dataclass(frozen=True, slots=True)
class Impl:
    """One implementation of the hot path: its modules, under the names that they have in `_speedups`."""

    name: str
    msgpack: Any
    codec: Any
    wrappers: Any
    keeping: Any
    envelope: Any
    trie: Any
    proof: Any
    plan: Any
    meter: Any
    replies: Any
    guards: Any
    passage: Any
    pipeline: Any
    deflate: Any
    frames: Any
    flow: Any
    eager: Any
    tasks: Any
    connection: Any
    carried: Any
    fanout: Any

    @classmethod
    def load(cls, name: str) -> Impl:
        """Give the implementation `name`, "py" or "c"."""
        suffix = {"py": "", "c": "_c"}[name]

        def module(noun: str) -> ModuleType:
            return import_module(f"aiorest_ws._speedups.{noun}{suffix}")

        return cls(name, **{noun: module(noun) for noun in _speedups.MODULES})


def is_for_another_run(item: pytest.Item, config: Any) -> bool:
    """Say whether `item` is no test of this run; `config` has `option.each_once`."""
    if not _speedups.COMPILED:
        return item.get_closest_marker("compiled") is not None
    callspec = getattr(item, "callspec", None)
    return config.option.each_once and callspec is not None and callspec.params.get("impl") == "py"


@contextmanager
def using(impl: Impl) -> Iterator[None]:
    """Make every module of the package take from `impl` what the facade gives it, or raise AssertionError."""
    with _swapped(impl):
        _prove(impl)
        yield


@contextmanager
def _swapped(impl: Impl) -> Iterator[None]:
    stand_ins = _stand_ins(impl)
    # By identity, whatever the name and the way that it came: `from aiorest_ws.wrappers import Request` counts too.
    users = _users() if stand_ins else []
    places = [
        (names, name, stand_ins[id(value)])
        for names in users
        for name, value in names.items()
        if id(value) in stand_ins
    ]
    try:
        for names, name, (_, stand_in) in places:
            names[name] = stand_in
        yield
    finally:
        for names, name, (original, _) in places:
            names[name] = original


def _users() -> list[dict[str, Any]]:
    """Give the globals of the modules of the package that stand on the facade, as far as they are loaded."""
    hot = _speedups.__name__
    return [
        vars(module)
        for name, module in sys.modules.items()
        if (name == "aiorest_ws" or name.startswith("aiorest_ws.")) and not name.startswith(hot)
    ]


@cache
def _stand_ins(impl: Impl) -> dict[int, tuple[Any, Any]]:
    """Give id of what the facade gives → that, and what `impl` has of the same name."""
    found = {}
    for name in _speedups.__all__:
        original = getattr(_speedups, name)
        if isinstance(original, (bool, int, str)):  # COMPILED, REASON and the forms: the same in both
            continue
        noun = _home(name)
        stand_in = getattr(getattr(impl, noun), name, original)  # what both share is in the pure module alone
        if stand_in is not original:
            found[id(original)] = original, stand_in
    return found


@cache
def _home(name: str) -> str:
    """Give the hot module that `name` of the facade is from."""
    homes = [noun for noun in _speedups.MODULES if name in import_module(f"aiorest_ws._speedups.{noun}").__all__]
    assert len(homes) == 1, f"{name} of the facade must be in `__all__` of one hot module, it is in {homes}"
    return homes[0]


_proven: set[str] = set()


def _prove(impl: Impl) -> None:
    """Raise AssertionError unless trie, plan, pipeline and request are of `impl`; each is asked once."""
    if impl.name in _proven:
        return
    requests: list[wrappers.Request] = []
    router = SimpleRouter()
    router.get("/")(requests.append)
    pipeline = factory.Pipeline(router._trie)  # type: ignore[attr-defined]
    assert pipeline.handle(b'{"method":"GET","url":"/","id":1}', False) == b'{"id":1,"status":200,"data":null}'
    plan, _ = router._trie.match("GET", "/")
    made: list[tuple[Any, Any]] = [
        (impl.trie.Trie, type(router._trie)),
        (impl.plan.Plan, type(plan)),
        (impl.pipeline.Pipeline, type(pipeline)),
        (impl.wrappers.Request, type(requests[0])),
        (impl.wrappers.Request, wrappers.Request),
    ]
    strangers = [f"{found.__module__}.{found.__qualname__}" for wanted, found in made if found is not wanted]
    assert not strangers, f"`using` the {impl.name!r} implementation, but made of {', '.join(strangers)}"
    _proven.add(impl.name)
