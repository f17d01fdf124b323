"""What the fuzzers start from, and what they have found, again: each file to its target, on both implementations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fuzz.guided import TARGETS
from fuzz.rooms import ROOMS
from tests.kit.pages import ROOT
from tests.swapping import Impl

CORPUS = ROOT / "fuzz" / "corpus"
FILES = [(path.parent.name, path) for path in sorted(CORPUS.glob("*/*"))]
LARGEST = 200 * 1024


def test_each_target_has_a_corpus_and_all_of_it_is_small() -> None:
    assert {target for target, _ in FILES} == set(TARGETS)
    assert sum(path.stat().st_size for _, path in FILES) < LARGEST


@pytest.mark.parametrize(("target", "path"), FILES, ids=lambda value: getattr(value, "name", value))
def test_file_does_no_harm(impl: Impl, target: str, path: Path) -> None:
    TARGETS[target](impl)(path.read_bytes())


def given(target: str, data: bytes) -> list[tuple[str, Any]]:
    """Give the rooms that have to do with a target, and their inputs."""
    if target == "frames":
        size = 1 + 7 * data[1]
        return [("frames", (data[2:], (size, size)))]
    if target == "trie":
        url = data[1:].decode("latin-1")
        return [("trie", ("new",)), ("trie", ("insert", "/a{x}/{y}/", "GET", 1)), ("trie", ("match", "GET", url))]
    return [(room, (data, is_binary)) for room in ("envelope", "base64", "pipeline") for is_binary in (False, True)]


@pytest.mark.parametrize(("target", "path"), FILES, ids=lambda value: getattr(value, "name", value))
def test_both_implementations_make_the_same_of_it(both: tuple[Impl, Impl], target: str, path: Path) -> None:
    inputs = given(target, path.read_bytes())
    outcomes = {room: [ROOMS[room].outcome(impl) for impl in both] for room, _ in inputs}
    for room, value in inputs:
        pure, compiled = (outcome(value) for outcome in outcomes[room])
        assert pure == compiled
