"""The figures that are promised, as ratios of medians of one run: `python bench/ratios.py [seconds]`.

What is compared runs in turns, so that a machine that gets slower or faster meanwhile does so for all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from falcon.routing import CompiledRouter  # noqa: E402

from aiorest_ws import _speedups  # noqa: E402
from bench import bench_roundtrip as roundtrip  # noqa: E402
from bench import bench_trie as trie  # noqa: E402
from tests.swapping import IMPLEMENTATIONS, Impl  # noqa: E402

BATCH = 100  # round trips in one step

Step = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """`step` may take at most `limit` times what `reference` takes; both are names of steps."""

    what: str
    step: str
    reference: str
    limit: float


def falcon_of(routes: list[str]) -> Any:
    class Resource:
        def on_get(self, request: Any, response: Any, **parameters: str) -> None: ...

    router = CompiledRouter()
    for route in routes:
        router.add_route(route, Resource())
    return router


def steps(implementations: list[Impl]) -> tuple[dict[str, Step], dict[str, int]]:
    """Give what is measured, and how many calls are in one step."""
    floor = roundtrip.orjson_floor()
    many = [*trie.ROUTES, *trie.others()]
    Random(139).shuffle(many)
    table: dict[str, Step] = {}
    calls: dict[str, int] = {}

    def add(name: str, step: Step, count: int) -> None:
        table[name], calls[name] = step, count

    def floors() -> None:
        for _ in range(BATCH):
            floor()

    def replies(handle: Callable[[bytes, bool], Any], request: bytes = roundtrip.HELLO) -> Step:
        assert b'"data":' in handle(request, False)

        def step() -> None:
            for _ in range(BATCH):
                handle(request, False)

        return step

    add("orjson floor", floors, BATCH)
    for impl in implementations:
        add(f"endpoint [{impl.name}]", replies(roundtrip.make_pipeline(impl, roundtrip.hello).handle), BATCH)
        add(
            f"view [{impl.name}]",
            replies(roundtrip.make_pipeline(impl, ("/hello", roundtrip.Hello, "GET")).handle),
            BATCH,
        )
        for name, handler in (("untyped", roundtrip.untyped_order), ("typed", roundtrip.typed_order)):
            handle = roundtrip.make_pipeline(impl, handler).handle
            add(f"{name} order [{impl.name}]", replies(handle, roundtrip.ORDER), BATCH)
    find = falcon_of(trie.ROUTES).find
    assert all(find(url)[3] == route for url, route in zip(trie.URLS, trie.ROUTES, strict=True))
    add("falcon, 139 routes", partial(trie.find_all, find, trie.URLS), len(trie.URLS))
    for impl in implementations:
        few, lot = trie.trie_of(impl, trie.ROUTES), trie.trie_of(impl, many)
        add(f"trie, 139 routes [{impl.name}]", partial(trie.match_all, few.match, trie.URLS), len(trie.URLS))
        add(f"trie, 10,000 routes [{impl.name}]", partial(trie.match_all, lot.match, trie.URLS), len(trie.URLS))
    return table, calls


def figures(names: list[str]) -> list[Figure]:
    rows = []
    for name in names:
        compiled = name == "c"
        rows += [
            Figure(
                "round trip of an endpoint / orjson floor",
                f"endpoint [{name}]",
                "orjson floor",
                2.0 if compiled else 8.0,
            ),
            Figure("round trip of a view / orjson floor", f"view [{name}]", "orjson floor", 2.3 if compiled else 8.0),
            Figure("round trip with types / without", f"typed order [{name}]", f"untyped order [{name}]", 2.0),
            Figure(
                "trie / falcon, 139 routes",
                f"trie, 139 routes [{name}]",
                "falcon, 139 routes",
                1 / 6 if compiled else 1.0,
            ),
            Figure(
                "trie, 139 of 10,000 routes / 139", f"trie, 10,000 routes [{name}]", f"trie, 139 routes [{name}]", 1.3
            ),
        ]
    return rows


def measure(table: dict[str, Step], seconds: float) -> dict[str, float]:
    """Give the median seconds of each step; the steps take turns until the time is up.

    Each turn begins untimed, or a step would pay for the caches that the one before it has filled.
    """
    times: dict[str, list[float]] = {name: [] for name in table}
    end = perf_counter() + seconds
    while perf_counter() < end:
        for name, step in table.items():
            for _ in range(5):
                step()
            for _ in range(5):
                begun = perf_counter()
                step()
                times[name].append(perf_counter() - begun)
    return {name: median(values) for name, values in times.items()}


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    names = list(IMPLEMENTATIONS)
    table, calls = steps([Impl.load(name) for name in names])
    medians = measure(table, seconds)
    print(f"Python {sys.version.split()[0]}, hot path: {'compiled' if _speedups.COMPILED else _speedups.REASON}\n")
    print(f"{'step':<34}{'ns a call':>10}")
    for name, value in medians.items():
        print(f"{name:<34}{value / calls[name] * 1e9:>10.0f}")
    print(f"\n{'ratio':<44}{'':<6}{'reached':>8}{'at most':>9}")
    for figure in figures(names):
        ratio = medians[figure.step] / calls[figure.step] / (medians[figure.reference] / calls[figure.reference])
        kind = figure.step[figure.step.index("[") :]
        mark = "" if ratio <= figure.limit else "  missed"
        print(f"{figure.what:<44}{kind:<6}{ratio:>8.3f}{figure.limit:>9.3f}{mark}")


if __name__ == "__main__":
    main()
