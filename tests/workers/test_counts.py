"""Connections of several processes, counted in one page of memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiorest_ws.exceptions import ConnectionRefused, ImproperlyConfigured
from aiorest_ws.limits import Limits
from aiorest_ws.limits.admission import Admissions
from aiorest_ws.workers.backoff import Backoff
from aiorest_ws.workers.counts import Counts, Page
from aiorest_ws.workers.processors import usable
from aiorest_ws.workers.told import Told
from tests.kit.systems import needs_posix

pytestmark = needs_posix


def test_each_reads_what_the_others_have_told() -> None:
    page = Page(3)
    one, other = (Counts(os.dup(page.descriptor), page.take()) for _ in range(2))
    one.tell(5, 6)
    other.tell(2, 2)
    assert (one.others(), other.others()) == (2, 5)
    page.close()


def test_a_slot_that_is_cleared_counts_nothing_and_is_given_again() -> None:
    page = Page(2)
    slots = [page.take(), page.take()]
    one, other = (Counts(os.dup(page.descriptor), slot) for slot in slots)
    one.tell(5, 6)
    page.clear(slots[0])
    assert other.others() == 0
    assert page.take() == slots[0]
    page.close()


def test_who_has_clearly_more_than_another_that_accepts_is_ahead() -> None:
    page = Page(4)
    one, other = (Counts(os.dup(page.descriptor), page.take()) for _ in range(2))
    one.tell(0, 100)
    assert not one.is_ahead()  # nobody else accepts
    other.tell(0, 0)
    assert one.is_ahead()
    assert not other.is_ahead()
    other.tell(0, 90)
    assert not one.is_ahead()
    other.tell(0, 80)
    assert one.is_ahead()
    other.leave()
    other.tell(80, 80)
    assert not one.is_ahead()
    assert one.others() == 80
    page.close()


def test_admissions_let_in_as_many_as_there_is_room_for_in_all_processes() -> None:
    page = Page(2)
    here, there = Admissions(), Admissions()
    for admissions in (here, there):
        admissions.elsewhere = Counts(os.dup(page.descriptor), page.take())
    limits = Limits(max_connections=2)
    here.admit("a", None, limits)
    there.admit("b", None, limits)
    with pytest.raises(ConnectionRefused):
        here.admit("c", None, limits)
    there.release("b")
    here.admit("c", None, limits)
    with pytest.raises(ConnectionRefused):
        there.admit("d", None, limits)
    page.close()


def test_who_dies_young_again_and_again_is_waited_for_longer_and_longer() -> None:
    backoff = Backoff()
    waits = [backoff.after(1.0, served=True) for _ in range(12)]
    assert waits == [0.0, 0.5, 1.0, *[2.0] * 9]
    assert backoff.after(60.0, served=True) == 0.0
    assert backoff.after(1.0, served=True) == 0.0


def test_who_never_served_is_always_waited_for() -> None:
    backoff = Backoff()
    waits = [backoff.after(60.0, served=False) for _ in range(12)]
    assert waits[:3] == [0.25, 0.5, 1.0]
    assert waits[-1] == 30.0


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
    ids=["v2", "v2-without", "v1", "v1-without", "nonsense", "none"],
)
def test_a_limit_of_the_container_counts(
    files: dict[str, str], most: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable(tmp_path) == (8 if most is None else most)


def test_what_a_worker_is_told_comes_back_as_it_was() -> None:
    with open(os.devnull) as file:
        inode = os.fstat(file.fileno()).st_ino
        told = Told(
            number=1,
            turn=0,
            sockets=[3],
            addresses=["@name\udcff"],
            is_shared=False,
            channel=file.fileno(),
            inode=inode,
            life=5,
        )
        assert Told.read(told.written()) == told


@pytest.mark.parametrize("text", ["{}", "{", "[]", '{"number": 1}', '{"unknown": 1}'])
def test_what_nobody_told_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="AIOREST_WS_WORKER is what a supervisor told another process"):
        Told.read(text)
