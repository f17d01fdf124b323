"""The 139 routes of the GitHub REST API v3, each matched once with its parameters: a round is 139 urls."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from falcon.routing import CompiledRouter

ROUTES = (Path(__file__).parent / "data" / "github_routes.txt").read_text().split()
OTHERS = 9_861


def fill(route: str) -> str:
    """Put a value in the place of each parameter."""
    values = cycle(["octocat", "hello-world", "1347"])
    return re.sub(r"\{\w+\}", lambda _: next(values), route)


URLS = [fill(route) for route in ROUTES]


def others() -> list[str]:
    """Make up routes that leave one of the 139 at any level and go on with literals and parameters."""
    draw = random.Random(139)
    nouns = ["alerts", "builds", "devices", "files", "invoices", "metrics", "orders", "pipelines", "reports", "tokens"]
    ends = ["{%s}", "{%s}", "export.{%s}", "{%s}-{%s_to}"]
    found: dict[str, str] = {re.sub(r"\{\w+\}", "{}", route): "" for route in ROUTES}
    while len(found) < len(ROUTES) + OTHERS:
        segments = draw.choice(ROUTES).split("/")
        segments = segments[: draw.randint(1, len(segments))]
        if draw.random() < 0.2:
            segments.append(f"{{other{len(segments)}}}")
        for _ in range(draw.randint(1, 2)):
            segments.append(f"{draw.choice(nouns)}{draw.choice(['', f'-{draw.randrange(500)}'])}")
            if draw.random() < 0.4:
                segments.append(re.sub("%s", f"other{len(segments)}", draw.choice(ends)))
        route = "/".join(segments)
        found.setdefault(re.sub(r"\{\w+\}", "{}", route), route)
    return [route for route in found.values() if route]


def match_all(match: Callable[[str, str], object], urls: list[str]) -> None:
    for url in urls:
        match("GET", url)


def find_all(find: Callable[[str], object], urls: list[str]) -> None:
    for url in urls:
        find(url)


def trie_of(impl: Any, routes: list[str]) -> Any:
    trie = impl.trie.Trie()
    for route in routes:
        trie.insert(f"{route}/", "GET", route)
    assert [trie.match("GET", url)[0] for url in URLS] == ROUTES
    return trie


@pytest.mark.benchmark(group="trie")
def test_match_github_routes(benchmark: Any, impl: Any) -> None:
    benchmark(match_all, trie_of(impl, ROUTES).match, URLS)


@pytest.mark.benchmark(group="trie")
def test_match_github_routes_among_10000(benchmark: Any, impl: Any) -> None:
    routes = ROUTES + others()
    random.Random(139).shuffle(routes)
    benchmark(match_all, trie_of(impl, routes).match, URLS)


@pytest.mark.benchmark(group="trie")
def test_find_falcon(benchmark: Any) -> None:
    class Resource:
        def on_get(self, request: object, response: object, **parameters: str) -> None: ...

    router = CompiledRouter()
    for route in ROUTES:
        router.add_route(route, Resource())
    assert all(router.find(url) for url in URLS)  # compiles it, too
    benchmark(find_all, router.find, URLS)
