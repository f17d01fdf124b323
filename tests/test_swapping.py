"""The harness itself: a swap that swaps nothing is an error, and each test of the two implementations has its run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aiorest_ws import _speedups, routers
from aiorest_ws.handlers import plans
from aiorest_ws.server import factory
from tests import swapping
from tests.swapping import Impl, is_for_another_run, using


def test_what_is_made_is_of_the_implementation_and_afterwards_all_is_as_before(impl: Impl) -> None:
    before = routers.Trie, plans.Plan, factory.Pipeline  # type: ignore[attr-defined]
    with using(impl):
        during = routers.Trie, plans.Plan, factory.Pipeline  # type: ignore[attr-defined]
        assert during == (impl.trie.Trie, impl.plan.Plan, impl.pipeline.Pipeline)
    assert (routers.Trie, plans.Plan, factory.Pipeline) == before  # type: ignore[attr-defined]


@pytest.mark.compiled
@pytest.mark.parametrize("stays", ["Trie", "Plan", "Pipeline", "Request"])
def test_swap_that_misses_something_is_an_error(
    stays: str, both: tuple[Impl, Impl], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_ins = dict(swapping._stand_ins(both[0]))
    del stand_ins[id(getattr(_speedups, stays))]
    monkeypatch.setattr(swapping, "_stand_ins", lambda impl: stand_ins)
    monkeypatch.setattr(swapping, "_proven", set())
    # A pipeline refuses the trie of the other with a TypeError of its own.
    with pytest.raises((AssertionError, TypeError), match=r"speedups\.\w+_c\."), using(both[0]):
        pass


ALL, EACH_ONCE = (SimpleNamespace(option=SimpleNamespace(each_once=switch)) for switch in (False, True))


def test_each_test_of_an_implementation_is_left_to_one_run(
    impl: Impl, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_speedups, "COMPILED", True)
    assert is_for_another_run(request.node, EACH_ONCE) is (impl.name == "py")
    assert not is_for_another_run(request.node, ALL)
    monkeypatch.setattr(_speedups, "COMPILED", False)
    assert not is_for_another_run(request.node, EACH_ONCE)


@pytest.mark.compiled
@pytest.mark.parametrize("options", [ALL, EACH_ONCE])
def test_what_needs_both_and_what_needs_neither_is_left_to_no_run(options: Any, request: pytest.FixtureRequest) -> None:
    assert not is_for_another_run(request.node, options)
