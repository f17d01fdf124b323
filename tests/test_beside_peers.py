"""What bench/beside.py measures of ours is right before it is measured: `make bench-peers` runs it beside others."""

from __future__ import annotations

import re
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from aiorest_ws import COMPILED
from bench import visits
from tests.kit.pages import ROOT, serving
from tests.kit.systems import needs_linux, needs_posix

pytestmark = needs_posix

PEERS = ROOT / "bench" / "peers"
PAGE = ROOT / "docs" / "performance.md"


@pytest.fixture(scope="module")
def beside() -> Any:
    return import_module("bench.beside")


def whole(size: int, came: bytes) -> int:
    return size if len(came) >= size else 0


@pytest.mark.parametrize(
    ("visit", "steps"), [(visits.resumed, 2), (visits.begun_anew, 2), (visits.greeted, 1)], ids=str
)
def test_a_visit_to_our_log_is_what_comes_again(visit: Any, steps: int) -> None:
    with serving(PEERS / "resume_ours.py", "0", "asyncio") as port, ExitStack() as stack:
        first = visit(port, stack)
        stack.callback(first.close)
        again = visits.Visit(port)
        stack.callback(again.close)
        for sent, size in first.steps:
            assert len(again.step(sent, partial(whole, size))) == size
        assert len(first.steps) == steps


def test_a_visit_over_http() -> None:
    with serving(PEERS / "http_ours.py", "0", "asyncio") as port, ExitStack() as stack:
        visit = visits.hello(port, stack)
        visit.close()
        assert visit.file().startswith(b"%d %d\nGET /hello HTTP/1.1\r\n" % (len(visits.HELLO), visit.steps[0][1]))


def test_two_processes_say_that_they_are_ready() -> None:
    with serving(PEERS / "burn_ours.py", "0", "1") as port:
        visit = visits.Visit(port)
        visit.open()
        assert visit.ask('{"method":"GET","url":"/burn","event_name":"e1"}') == [
            {"data": "Hello, world!", "event_name": "e1"}
        ]
        visit.close()


@pytest.mark.parametrize("name", ["ours", "protocol"])
def test_behind_uvicorn_a_message_is_answered(beside: Any, tmp_path: Path, name: str) -> None:
    server = replace(beside.PARTS["asgi"].rows[name].server, loop="asyncio", pure=not COMPILED)
    with beside.peers.running(server, [], tmp_path) as (port, _):
        visit = visits.Visit(port)
        visit.open()
        assert visit.ask('{"method":"GET","url":"/hello","event_name":"e1"}') == [
            {"data": "Hello, world!", "event_name": "e1"}
        ]
        visit.close()


def test_items_that_are_not_the_last_ones_are_refused() -> None:
    visits._check([96, 97, 98, 99, 100], 5, {})
    for numbers in ([], [95, 96, 97, 98, 99], [96, 97, 98, 100, 99]):
        with pytest.raises(RuntimeError, match="expected the last 5 items"):
            visits._check(numbers, 5, {})


# CI has a compiler: it installs one where there is none.
@needs_linux
@pytest.mark.skipif(which("cc") is None, reason="A C compiler, which makes the generator, is missing on PATH.")
def test_the_generator_tells_a_server_that_sends_too_much(tmp_path: Path) -> None:
    program = str(tmp_path / "visits")
    subprocess.run(["cc", "-O0", "-o", program, str(PEERS / "visits.c")], check=True)
    with serving(PEERS / "http_ours.py", "0", "asyncio") as port, ExitStack() as stack:
        visit = visits.hello(port, stack)
        visit.close()
        ((sent, size),) = visit.steps
        for expected, code in ((size, 0), (size - 1, 1)):
            (tmp_path / "file").write_bytes(b"%d %d\n%b" % (len(sent), expected, sent))
            command = [program, str(port), "2", "1", "0.05", "0.05", "1", str(tmp_path / "file")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (code, "load: more bytes than were to come\n" * code)
            assert bool(re.fullmatch(r"\d+ \S+ \d+ \S+\n", done.stdout)) == (not code)


def test_the_page_has_a_place_and_a_plot_for_each_part(beside: Any) -> None:
    page = PAGE.read_text("utf-8")
    for name, part in beside.PARTS.items():
        assert page.count(part.begin(name)) == 1
        assert f"]({name}.svg)" in page
        assert part.heading in (ROOT / "docs" / f"{name}.svg").read_text("utf-8")


def test_ratios_are_of_cpu_to_the_base_and_of_rates_to_one_process(beside: Any) -> None:
    part = beside.PARTS["http"]
    results = {name: [beside.Sample(1000.0, 2500.0, cpu, 140)] for name, cpu in (("ours", 30.0), ("uvicorn", 40.0))}
    assert beside.table(part, results, list(results)).splitlines()[2:5] == [
        "| server | requests/s | p99 ms | CPU µs each | bytes each | CPU × uvicorn |",
        "|---|--:|--:|--:|--:|--:|",
        "| aiorest-ws, `http=True` | 1,000 | 2.5 | 30.0 | 140 | 0.75 |",
    ]
    part = beside.PARTS["processes"]
    results = {name: [beside.Sample(rate, 1.0)] for name, rate in (("fastapi-1", 1000.0), ("fastapi-2", 1500.0))}
    assert beside.table(part, results, list(results)).splitlines()[2:] == [
        "| server | msg/s | p99 ms | × one process |",
        "|---|--:|--:|--:|",
        "| FastAPI on uvicorn, one process | 1,000 | 0.0 | 1.00 |",
        "| FastAPI on uvicorn, two processes | 1,500 | 0.0 | 1.50 |",
    ]
