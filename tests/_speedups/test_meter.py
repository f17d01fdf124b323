"""Counts of replies: by plan, status and time."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aiorest_ws._speedups import BOUNDS
from tests.swapping import Impl


def one(meters: Any) -> Any:
    ((_, meter),) = meters.items()
    return meter


def test_replies_are_counted_by_plan_and_status(impl: Impl) -> None:
    meters, plan, other = impl.meter.Meters(), object(), object()
    for key, status in ((plan, 200), (plan, 200), (plan, 404), (other, 500), (None, 400), (plan, 404)):
        meters.add(key, status, 0.0)
    assert {key: meter.statuses for key, meter in meters.items()} == {
        plan: {200: 2, 404: 2},
        other: {500: 1},
        None: {400: 1},
    }


def test_a_time_falls_into_the_bucket_whose_bound_it_does_not_pass(impl: Impl) -> None:
    for at, bound in enumerate((*BOUNDS, 1e9)):
        meters = impl.meter.Meters()
        meters.add(None, 200, bound)
        assert one(meters).buckets == [int(n == at) for n in range(len(BOUNDS) + 1)]
        assert one(meters).seconds == bound


def test_bounds_rise_and_have_a_bucket_more() -> None:
    assert list(BOUNDS) == sorted(set(BOUNDS))


def test_nothing_is_nothing(impl: Impl) -> None:
    meter = impl.meter.Meter()
    assert (meter.statuses, sum(meter.buckets), meter.seconds) == ({}, 0, 0.0)
    assert impl.meter.Meters().items() == []


@given(st.lists(st.tuples(st.integers(100, 599), st.floats(-1.0, 1e6))))
def test_both_count_the_same(both: tuple[Impl, Impl], replies: list[tuple[int, float]]) -> None:
    counted = []
    for impl in both:
        meter = impl.meter.Meter()
        for status, seconds in replies:
            meter.add(status, seconds)
        counted.append((meter.statuses, meter.buckets, meter.seconds))
    assert counted[0] == counted[1]
