"""Whether calls leave memory behind: the small blocks of Python's allocator, and bytes of any size."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

from tests.swapping import Impl

__all__ = ("TRACED_BYTES", "Call", "check", "grown_by", "traced_bytes")

Call = Callable[[], Any]

# Python has no memory to forget; what it would keep, in a list or so, shows in a tenth of the calls.
CALLS = {"c": 20_000, "py": 2_000}
BLOCKS = 20  # what the free lists of Python itself keep or not
# Blocks of more than 512 bytes are not counted; tracemalloc knows them, and is slow.
TRACED_CALLS = 500
TRACED_BYTES = 8 * 1024


def grown_by(call: Call, calls: int) -> int:
    """Give the small blocks that `calls` calls leave behind."""
    for _ in range(calls // 20):
        call()
    gc.collect()
    before = sys.getallocatedblocks()
    assert before, "PYTHONMALLOC=malloc hides every leak"
    for _ in range(calls):
        call()
    gc.collect()
    return sys.getallocatedblocks() - before


def traced_bytes(call: Call, calls: int) -> int:
    """Give the bytes that `calls` calls leave behind."""
    tracemalloc.start()
    try:
        for _ in range(calls // 5):
            call()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(calls):
            call()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def check(impl: Impl, call: Call, each: int = 1) -> None:
    """Let `call`, which does the like `each` times, be made as often as it takes for all of CALLS."""
    calls, traced = CALLS[impl.name], TRACED_CALLS
    gc.freeze()  # what was there before need not be searched over and over
    try:
        settles(lambda: grown_by(call, calls // each), max(BLOCKS, calls // 40), f"blocks more after {calls} calls")
        settles(lambda: traced_bytes(call, traced // each), TRACED_BYTES, f"bytes more after {traced} calls")
    finally:
        gc.unfreeze()


def settles(measure: Callable[[], int], bound: int, what: str) -> None:
    """Fail if each of a few measures is above `bound`: a leak comes every time, what the interpreter learns once."""
    seen = []
    for _ in range(5):
        seen.append(measure())
        if seen[-1] <= bound:
            return
    raise AssertionError(f"{seen} {what}, each time more than {bound}")
