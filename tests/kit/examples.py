"""How many examples Hypothesis makes for a test that says so itself: as many to a hundred as its profile makes."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

__all__ = ("examples",)


def examples(count: int, **others: Any) -> settings:
    """Give the settings for `count` examples, or for the share of them that the profile takes (tests/conftest.py)."""
    return settings(max_examples=max(1, count * settings().max_examples // 100), **others)
