"""The Autobahn TestSuite against our frame layer: every set on the compiled and the pure path, asyncio and uvloop.

    python conformance/run.py                                      # all, about ten minutes
    python conformance/run.py --sets core,chopped --paths pure --loops uvloop

core       247 cases on framing, fragments, UTF-8 and closing, with the close code of each
chopped    the same, what the server reads cut into pieces of 1 to 3 bytes
coalesced  the same, many frames in one read
requests   the same, messages going through `_decode_message` and `process_request`
perf       54 cases with messages of up to 16 MiB
deflate    216 cases with permessage-deflate, of 20 messages each

The suite itself (it needs CPython 2.7) is a folder of scripts beside the repository; $CONFORMANCE says where else.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SUITE = Path(os.environ.get("CONFORMANCE") or HERE.parent.parent / "shared" / "conformance")
WSTEST = Path(os.environ.get("WSTEST_HOME") or Path.home() / ".cache" / "wstest")
SCRIPTS = ("setup.sh", "run_wstest.sh", "chop_proxy.py", "parse_results.py", "baseline_codes_core.json")


@dataclass(frozen=True)
class Set:
    """One way to run cases of the suite. The numbers are what plain Autobahn gets."""

    cases: str
    ok: int
    informational: int = 0
    fast: int = 200  # frames that the fast path must have served, at least
    server: tuple[str, ...] = ()
    proxy: tuple[str, ...] = ()
    seconds: int = 240


SETS = {
    "core": Set("core", 244, 3),
    "chopped": Set("core", 244, 3, proxy=("--max", "3"), seconds=600),
    "coalesced": Set("core", 244, 3, proxy=("--coalesce", "5"), seconds=600),
    "requests": Set("core", 244, 3, server=("--via", "request")),
    "perf": Set("perf", 54, fast=12_000, seconds=900),
    "deflate": Set("deflate", 216, server=("--compress",), seconds=900),
}
MESSAGES = "20"  # of each deflate case


@dataclass
class Result:
    """What came of one set, and what is wrong with it."""

    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    served: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS), help="some of %(default)s")
    parser.add_argument("--paths", default="compiled,pure", help="some of %(default)s")
    parser.add_argument("--loops", default="asyncio,uvloop", help="some of %(default)s")
    options = parser.parse_args()
    sets = _some_of(parser, "set", options.sets, tuple(SETS))
    paths = _some_of(parser, "path", options.paths, ("compiled", "pure"))
    loops = _some_of(parser, "loop", options.loops, ("asyncio", "uvloop"))
    if "uvloop" in loops and not find_spec("uvloop"):
        raise SystemExit("conformance: uvloop is not installed: pip install uvloop, or --loops asyncio")
    _set_up()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what it started is ended with it
    print("set        path      loop       ok  info   time     fast  unusual messages")
    failed = 0
    for name, path, loop in product(sets, paths, loops):
        result = run(name, path, loop)
        counts, served = result.counts, result.served
        print(
            f"{name:10} {path:9} {loop:8} {counts['OK']:4} {counts['INFORMATIONAL']:5} {result.seconds:5.0f}s "
            f"{served.get('fast_frames', '-'):>8} {served.get('unusual_frames', '-'):>8} "
            f"{served.get('messages', '-'):>8}  {'FAILED' if result.wrong else 'passed'}",
            flush=True,
        )
        for line in result.wrong:
            print(f"    {line}", flush=True)
        failed += bool(result.wrong)
    if failed:
        raise SystemExit(f"conformance: {failed} failed")


def run(name: str, path: str, loop: str) -> Result:
    """Run one set on one path and one loop."""
    chosen, result = SETS[name], Result()
    out = WSTEST / "out" / f"{name}-{path}-{loop}"
    started = time.monotonic()
    with _server(chosen, path, loop, result) as port:
        command = ["bash", str(SUITE / "run_wstest.sh"), str(port), out.name, chosen.cases, MESSAGES, str(out)]
        codes = {"WSTEST_CODES": str(_close_codes(out.parent)), "WSTEST_HOME": str(WSTEST)}
        with _program(command, env=os.environ | codes) as wstest:
            try:
                printed, complaints = wstest.communicate(timeout=chosen.seconds)
            except subprocess.TimeoutExpired:
                printed = complaints = ""
                result.wrong.append(f"not done after {chosen.seconds} seconds")
            else:
                bad = [line.strip() for line in (printed + complaints).splitlines() if "BAD" in line]
                result.wrong += bad or ([f"exit code {wstest.returncode}: {complaints}"] if wstest.returncode else [])
    result.seconds = time.monotonic() - started
    try:
        cases = json.loads((out / "index.json").read_text()).get(out.name, {})
    except (OSError, ValueError) as exc:
        result.wrong.append(f"no results: {exc}, see {out / 'wstest.log'}")
        return result
    result.counts = Counter(case["behavior"] for case in cases.values())
    if (result.counts["OK"], result.counts["INFORMATIONAL"]) != (chosen.ok, chosen.informational):
        result.wrong.append(f"{dict(result.counts)}, expected {chosen.ok} OK and {chosen.informational} INFORMATIONAL")
    _check_served(result, chosen, path)
    return result


def _check_served(result: Result, chosen: Set, path: str) -> None:
    """Require that it was our frame layer, in the form asked for, that served the cases."""
    served, wrong = result.served, result.wrong
    if not served:
        return
    if served["implementation"] != path:
        wrong.append(f"implementation is {served['implementation']}")
    for fault in ("not_fast", "not_fast_out"):
        if served[fault]:
            wrong.append(f"{fault}: {served[fault]} of {served['connections']} connections")
    if served["connections"] < chosen.ok:
        wrong.append(f"{served['connections']} connections only")
    if chosen.cases == "deflate":
        if served["compressed"] < chosen.ok:
            wrong.append(f"{served['compressed']} connections with permessage-deflate only")
    elif served["fast_frames"] < chosen.fast:
        wrong.append(f"{served['fast_frames']} frames on the fast path only, expected {chosen.fast}")


def _some_of(parser: argparse.ArgumentParser, what: str, given: str, known: tuple[str, ...]) -> list[str]:
    names = [name for name in given.replace(",", " ").split() if name]
    for name in names:
        if name not in known:
            parser.error(f"no {what} {name!r}, there are {', '.join(known)}")
    return names


def _set_up() -> None:
    """Install the suite, once, or say in one line why it cannot run."""
    missing = [name for name in SCRIPTS if not (SUITE / name).is_file()]
    if missing:
        raise SystemExit(f"conformance: no {missing[0]} in {SUITE}: set CONFORMANCE to the folder that has it")
    if (WSTEST / "venv" / "bin" / "wstest").exists():
        return
    environment = os.environ | {"WSTEST_HOME": str(WSTEST)}
    setup = ["bash", str(SUITE / "setup.sh")]
    done = subprocess.run(setup, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise SystemExit(f"conformance: {lines[-1] if lines else 'setup.sh failed'}")


def _close_codes(folder: Path) -> Path:
    """Write the close code of each case: the baseline's, but that a client's own is answered (RFC 6455 §5.5.1)."""
    codes = json.loads((SUITE / "baseline_codes_core.json").read_text())
    own = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    codes |= {"7.3.1": None} | {f"7.7.{number}": code for number, code in enumerate(own, 1)}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "codes.json"
    path.write_text(json.dumps(codes))
    return path


@contextmanager
def _server(chosen: Set, path: str, loop: str, result: Result) -> Iterator[int]:
    """Run the echo server, and the proxy in front of it if there is to be one; give the port to connect to."""
    unset = ("AIOREST_WS_NO_EXTENSIONS", "AIOREST_WS_REQUIRE_EXTENSIONS")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment["AIOREST_WS_REQUIRE_EXTENSIONS" if path == "compiled" else "AIOREST_WS_NO_EXTENSIONS"] = "1"
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parent), environment.get("PYTHONPATH")]))
    command = [sys.executable, str(HERE / "echo_server.py"), "--loop", loop, *chosen.server]
    with _program(command, env=environment) as server:
        port = 0
        assert server.stdout is not None
        for line in server.stdout:
            if line.startswith("Server started at"):
                port = int(line.strip().rstrip("/").rpartition(":")[2])
            if line.startswith("Quit"):
                break
        else:
            raise SystemExit(f"conformance: the server did not start: {server.communicate()[1]}")
        if chosen.proxy:
            listen = _free_port()
            with _program([sys.executable, str(SUITE / "chop_proxy.py"), str(listen), str(port), *chosen.proxy]):
                _wait_for(listen)
                yield listen
        else:
            yield port
        if server.poll() is not None:
            result.wrong.append(f"the server died with exit code {server.returncode}")
        else:
            server.send_signal(signal.SIGTERM)
        try:
            printed, complaints = server.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            result.wrong.append("the server does not stop")
            return
        if complaints:
            result.wrong.append(f"the server complains: {complaints.strip()[-2000:]}")
        if server.returncode == 0:
            result.served = json.loads(printed.splitlines()[-1])


@contextmanager
def _program(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a program, with all that it starts, for as long as the block lasts."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionError:
            time.sleep(0.05)
    raise SystemExit("conformance: the proxy did not start")


if __name__ == "__main__":
    main()
