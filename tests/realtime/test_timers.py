"""Timers of a loop: each is called once, when it is time, and the loop is not asked again and again until then."""

from __future__ import annotations

import asyncio

import pytest

from aiorest_ws.realtime.timers import Timers
from tests.serving import LOOPS, asynchronous


class Counting(Timers):
    wakes = 0

    def _wake(self) -> None:
        self.wakes += 1
        super()._wake()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("seconds", [0.0, 0.0002, 0.0005, 0.001, 0.0014, 0.0033, 0.02])
@asynchronous
async def test_the_loop_calls_when_it_is_time_and_hardly_before(loop: str, seconds: float) -> None:
    timers = Counting(asyncio.get_running_loop())
    for _ in range(10):
        called = asyncio.get_running_loop().create_future()
        due = timers.now() + seconds
        timers.at(due, lambda: called.set_result(None))  # noqa: B023
        await called
        assert timers.now() > due - 1e-5
    assert timers.wakes <= 20
