"""Steps that may have to wait: they are told of everything that comes of what they wait for, a cancellation, too."""

from __future__ import annotations

import asyncio

import pytest

from aiorest_ws._speedups.trampoline import Steps, begin


def test_steps_that_wait_for_nothing_end_at_once() -> None:
    def steps() -> Steps:
        yield from ()
        return 1

    assert begin(steps()) == 1


def test_cancellation_reaches_the_steps() -> None:
    told: list[BaseException] = []

    def steps() -> Steps:
        try:
            yield asyncio.get_running_loop().create_future()
        except BaseException as exc:
            told.append(exc)
            raise

    async def cancelled() -> None:
        task = asyncio.ensure_future(begin(steps()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert [type(exc) for exc in told] == [asyncio.CancelledError]
