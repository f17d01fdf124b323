"""aiorest-ws beside what one would use instead, end to end: `make bench-peers`, or `python bench/peers.py --help`.

Each server in bench/peers/ does one job as its documentation would write it: decode JSON, find the handler by method
and url, call it, encode, send. docs/performance.md says how to read the figures, and `--write` puts them there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from textwrap import wrap
from time import monotonic, sleep
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SERVERS = HERE / "peers"
VENV = ROOT / ".venv-peers"
PEERS_PYTHON = VENV / "bin" / "python"
NODE = VENV / "node"  # what npm installs
PAGE, PLOT = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance.svg"
BEGIN, END = "<!-- begin: make bench-peers WRITE=1 -->", "<!-- end -->"
SHARED = ("autobahn", "orjson", "uvloop")  # the peers get the same releases of these as we have
OPTIONAL = ("socketify",)  # does not install everywhere
BASE = "picows"
WARMUP = 0.3  # seconds before counting begins


@dataclass(frozen=True, slots=True)
class Server:
    label: str
    script: str
    loop: str = "uvloop"
    pure: bool | None = None  # None: not ours
    of: str = ""  # its package, if the script is not called after it

    @property
    def package(self) -> str:
        return self.of or self.script.removeprefix("fan_").removesuffix(".py").removesuffix("_server")

    def command(self, port: int) -> list[str]:
        if self.script.endswith(".cjs"):
            return ["env", f"NODE_PATH={NODE / 'node_modules'}", "node", str(SERVERS / self.script), str(port)]
        python = str(PEERS_PYTHON) if self.pure is None else sys.executable
        return [python, str(SERVERS / self.script), str(port), self.loop]

    def environment(self) -> dict[str, str]:
        variables = {k: v for k, v in os.environ.items() if not k.startswith(("AIOREST_WS_", "PYTHON"))}
        if self.pure is not None:
            variables[f"AIOREST_WS_{'NO' if self.pure else 'REQUIRE'}_EXTENSIONS"] = "1"
        return variables


NAMED = {
    "ours": Server("aiorest-ws", "ours_server.py", pure=False),
    "ours-asyncio": Server("aiorest-ws, asyncio", "ours_server.py", "asyncio", pure=False),
    "ours-pure": Server("aiorest-ws, pure Python, asyncio", "ours_server.py", "asyncio", pure=True),
    "picows": Server("picows, no framework", "picows_server.py"),
    "socketify": Server("socketify", "socketify_server.py", "its own loop"),
    "aiohttp": Server("aiohttp", "aiohttp_server.py"),
    "websockets": Server("websockets", "websockets_server.py"),
    "fastapi": Server("FastAPI on uvicorn", "fastapi_server.py"),
    "autobahn": Server("Autobahn", "autobahn_server.py"),
    "autobahn-asyncio": Server("Autobahn, asyncio", "autobahn_server.py", "asyncio"),
}


@dataclass(frozen=True, slots=True)
class Workload:
    title: str
    connections: int
    window: int
    request: dict[str, Any]
    data: Any  # of the right reply


HELLO = {"method": "GET", "url": "/hello", "event_name": "e1"}
USERS = [{"id": i, "name": f"user {i}", "active": i % 3 > 0, "score": i * 1.25} for i in range(350)]
ECHO = {"method": "POST", "url": "/echo", "event_name": "e1", "data": USERS}
WORKLOADS = {
    "hello-64x1": Workload("hello, 64 connections × 1 in flight", 64, 1, HELLO, "Hello, world!"),
    "hello-64x16": Workload("hello, 64 connections × 16 in flight", 64, 16, HELLO, "Hello, world!"),
    "echo20k-8x4": Workload("echo of 20 KB, 8 connections × 4 in flight", 8, 4, ECHO, USERS),
}


@dataclass(frozen=True, slots=True)
class Sample:
    rate: float  # messages per second
    p99: float  # microseconds
    cpu: float | None  # microseconds of the server's CPU per message


Results = dict[tuple[str, str], list[Sample]]  # by server and workload


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def make_venv() -> None:
    """Create or renew .venv-peers with the dependency group `peers`; leave out what is optional and fails."""
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["peers"]
    wanted = [*group, *(f"{name}=={version(name)}" for name in SHARED)]
    stamp, mark = VENV / "installed", "\n".join([sys.version, *wanted, *OPTIONAL])
    if stamp.is_file() and stamp.read_text() == mark:
        return
    say(f"creating {VENV.name}, once: about a minute")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    pip = [str(PEERS_PYTHON), "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    subprocess.run([*pip, *wanted], check=True)
    for name in OPTIONAL:
        if subprocess.run([*pip, name], check=False).returncode:
            say(f"{name} does not install here and is left out")
    stamp.write_text(mark)


def versions() -> dict[str, str]:
    """Give the releases in .venv-peers, by name in lower case."""
    code = "from importlib.metadata import distributions as d; print(*(x.name + '=' + x.version for x in d()))"
    words = subprocess.run([str(PEERS_PYTHON), "-c", code], check=True, capture_output=True, text=True).stdout.split()
    return {name.lower(): release for name, release in (word.split("=") for word in words)}


def is_there(server: Server, found: dict[str, str]) -> bool:
    """Tell whether a server is ours or was installed, with what is `found` there."""
    if server.script.endswith(".cjs"):
        return make_node()
    return server.pure is not None or server.package in found


def make_node() -> bool:
    """Have `ws` for node, where npm is there."""
    npm = shutil.which("npm")
    if npm is None:
        return False
    NODE.mkdir(exist_ok=True)
    return (NODE / "node_modules" / "ws").is_dir() or not subprocess.run(
        [npm, "install", "--silent", "--prefix", str(NODE), "ws"], check=False
    ).returncode


def compiled(name: str, folder: Path) -> str:
    """Give the program of a source in C. A machine without a C compiler cannot measure what only that can load."""
    compiler, program = shutil.which("cc"), str(folder / name)
    if compiler is None or sys.platform != "linux":
        raise SystemExit("this is measured on Linux with a C compiler")
    subprocess.run([compiler, "-O2", "-o", program, str(SERVERS / f"{name}.c")], check=True)
    return program


def make_generator() -> tuple[list[str], str]:
    """Give the command of the load generator, and what to say of it."""
    source, program = SERVERS / "load.c", VENV / "load"
    build = [shutil.which("cc") or "", "-O2", "-o", str(program), str(source)]
    if build[0] and source.is_file() and not subprocess.run(build, check=False).returncode:
        return [str(program)], "C"
    say("NOTE: no C compiler (or no load.c): the load comes from Python, and no server can look faster than that")
    return [sys.executable, str(SERVERS / "load.py")], "**Python, for want of a C compiler: rates are too low**"


def pinning() -> tuple[list[str], list[str]]:
    """Give what goes before the commands of server and generator: a core for each, if taskset can do that."""
    cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    if len(cores) < 2 or not shutil.which("taskset"):
        return [], []
    return ["taskset", "-c", str(cores[0])], ["taskset", "-c", str(cores[-1])]


@contextmanager
def running(server: Server, pin: list[str], folder: Path) -> Iterator[tuple[int, int]]:
    """Run a server; give its port and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "server.log"
    with log.open("wb") as out:
        command = [*pin, *server.command(port)]
        process = subprocess.Popen(command, env=server.environment(), stdout=out, stderr=out, start_new_session=True)
    try:
        limit = monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or monotonic() > limit:
                    raise RuntimeError(f"{server.label} does not start: {log.read_text()[-2000:]}") from None
                sleep(0.05)
        sleep(0.2)
        yield port, process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with its workers
        process.wait()


def load(command: list[str], port: int, pid: int, workload: Workload, seconds: float, folder: Path) -> Sample:
    """Load a server once, and check that its reply is right."""
    body = folder / "request.json"
    body.write_text(json.dumps(workload.request, separators=(",", ":")))
    numbers = (port, workload.connections, workload.window, WARMUP, seconds, pid)
    command = [*command, *map(str, numbers), str(body)]
    ran = subprocess.run(command, capture_output=True, check=False, timeout=60 + seconds)
    if ran.returncode:
        raise RuntimeError(f"{workload.title}: {ran.stderr.decode().strip() or ran.returncode}")
    figures, reply = ran.stdout.split(b"\n", 1)
    if json.loads(reply) != {"data": workload.data, "event_name": "e1"}:
        raise RuntimeError(f"{workload.title}: wrong reply: {reply[:200]!r}")
    messages, took, p99, cpu = map(float, figures.split())
    return Sample(messages / took, p99, cpu / messages * 1e6 if cpu >= 0 else None)


def measure(names: list[str], workloads: list[str], rounds: int, seconds: float, generator: list[str]) -> Results:
    """Give the samples; in each round every server runs once, so that a machine that slows down does so for all.

    A peer that fails is taken out of `names`; if it is ours that fails, so does the run.
    """
    results: Results = {(name, workload): [] for name in names for workload in workloads}
    pin_server, pin_generator = pinning()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number in range(1, rounds + 1):
            for name in names.copy():
                say(f"round {number} of {rounds}: {NAMED[name].label}")
                try:
                    with running(NAMED[name], pin_server, folder) as (port, pid):
                        for workload in workloads:
                            sample = load([*pin_generator, *generator], port, pid, WORKLOADS[workload], seconds, folder)
                            results[name, workload].append(sample)
                except RuntimeError as error:
                    if NAMED[name].pure is not None:
                        raise
                    say(f"{NAMED[name].label} is left out: {error}")
                    names.remove(name)
                    results = {key: samples for key, samples in results.items() if key[0] != name}
    return results


def ratio(results: Results, name: str, workload: str) -> str:
    if (BASE, workload) not in results:
        return "–"
    return f"{middle(results, name, workload) / middle(results, BASE, workload):.2f}"


def middle(results: Results, name: str, workload: str) -> float:
    return median(sample.rate for sample in results[name, workload])


def tables(results: Results, names: list[str], workloads: list[str]) -> str:
    lines: list[str] = []
    for workload in workloads:
        lines += [f"### {WORKLOADS[workload].title}", ""]
        lines += [f"| server | msg/s | p99 µs | CPU µs/message | × {BASE} |", "|---|--:|--:|--:|--:|"]
        for name in names:
            samples, rate = results[name, workload], middle(results, name, workload)
            used = [sample.cpu for sample in samples if sample.cpu is not None]
            lines.append(
                f"| {NAMED[name].label} | {rate:,.0f} | {median(sample.p99 for sample in samples):,.0f} "
                f"| {f'{median(used):.2f}' if used else '–'} | {ratio(results, name, workload)} |"
            )
        lines.append("")
    return "\n".join(lines)


def machine() -> str:
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
    return f"{name}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def circumstances(options: argparse.Namespace, servers: Iterable[Server], before: float, more: str = "") -> str:
    """Say when, where and with what it was measured."""
    found = versions()
    packages = dict.fromkeys([*SHARED, *(server.package for server in servers if server.pure is None)])
    if "fastapi" in packages:
        packages["uvicorn"] = None
    peers = ", ".join(f"{name} {found[name]}" for name in packages if name in found)
    short = "**a quick look, too short to quote**; " if options.rounds < 3 or options.secs < 1 else ""
    return (
        f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine()}\n"
        f"- CPython {platform.python_version()}, aiorest-ws {version('aiorest-ws')}; {peers}\n"
        f"- {short}medians of {options.rounds} interleaved rounds of {options.secs:g} s each; {more}"
        f"load average of the minute before: {before:.2f}\n"
    )


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    value: float
    low: float  # of the slowest round, and of the fastest
    high: float
    words: str
    css: str


def bar(server: Server, rates: list[float], words: str, *, is_base: bool) -> Bar:
    css = "base" if is_base else "peer" if server.pure is None else "ours"
    return Bar(server.label.replace("`", ""), median(rates), min(rates), max(rates), words, css)


def plot(title: str, groups: dict[str, list[Bar]], caption: str) -> str:
    """Give horizontal bars as SVG, in groups; the thin line goes from the slowest to the fastest round."""
    left, width, row, bar, y = 250, 520, 24, 16, 34.0  # pixels
    out: list[str] = []

    def text(x: float, y: float, words: str, css: str = "", anchor: str = "start") -> None:
        out.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{escape(words)}</text>')

    text(20, y, title, "title")
    for heading, bars in groups.items():
        y += 36
        text(20, y, heading, "head")
        scale = width / max(each.high for each in bars)
        y += 10
        for each in bars:
            text(left - 10, y + 13, each.label, anchor="end")
            low, high = left + each.low * scale, left + each.high * scale
            shape = f'x="{left}" y="{y:.1f}" width="{each.value * scale:.1f}" height="{bar}"'
            out.append(f'<rect {shape} class="{each.css}"/>')
            out.append(f'<path d="M{low:.1f} {y + bar / 2:.1f}H{high:.1f}" class="range"/>')
            text(high + 8, y + 13, each.words)
            y += row
    for line in chain.from_iterable(wrap(item[2:], 150) for item in caption.replace("**", "").splitlines()):
        y += 15
        text(20, y + 12, line, "small")
    total, height = left + width + 190, y + 30
    style = (
        "text{font:13px system-ui,sans-serif;fill:#1f2328;white-space:pre}.title{font-size:18px;font-weight:600}"
        ".head{font-weight:600}.small{font-size:11px;fill:#59636e}.ours{fill:#0969da}.base{fill:#8c6d1f}.peer{fill:#a9b1ba}"
        ".range{stroke:#1f2328;stroke-width:1.5}"
    )
    size = f'width="{total}" height="{height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height:.0f}" {size}>'
    ground = f'<rect {size} fill="#fff"/>'
    return "\n".join([head, f"<style>{style}</style>", ground, *out, "</svg>", ""])


def bars(results: Results, names: list[str], workloads: list[str]) -> dict[str, list[Bar]]:
    groups: dict[str, list[Bar]] = {}
    for workload in workloads:
        groups[WORKLOADS[workload].title] = [
            bar(
                NAMED[name],
                [sample.rate for sample in results[name, workload]],
                f"{middle(results, name, workload):,.0f}  ({ratio(results, name, workload)} × {BASE})",
                is_base=name == BASE,
            )
            for name in names
        ]
    return groups


def write(page: Path, begin: str, report: str) -> None:
    """Put `report` between `begin` and the next end of a page."""
    head, found, rest = page.read_text(encoding="utf-8").partition(begin)
    if not found:
        raise SystemExit(f"{page} has no line {begin}")
    page.write_text(f"{head}{begin}\n{report}{END}{rest.partition(END)[2]}", encoding="utf-8")


def chosen(names: str, known: dict[str, Any]) -> list[str]:
    if unknown := [name for name in names.split(",") if name not in known]:
        raise SystemExit(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return names.split(",")


def parser_of(doc: str | None, **lists: Iterable[str]) -> argparse.ArgumentParser:
    """Give the options that all three have, and those that choose from a list."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each server is measured (3)")
    parser.add_argument("--secs", type=float, default=1.2, help="seconds of each measurement (1.2)")
    for name, known in lists.items():
        parser.add_argument(f"--{name}", default=",".join(known), metavar="A,B", help=f"of {','.join(known)}")
    parser.add_argument("--write", action="store_true", help="renew docs/performance.md and its plots")
    return parser


def main() -> None:
    parser = parser_of(__doc__, only=NAMED, workloads=WORKLOADS)
    options = parser.parse_args()
    names, workloads = chosen(options.only, NAMED), chosen(options.workloads, WORKLOADS)
    if sys.platform == "win32":
        raise SystemExit("needs uvloop, which does not exist for Windows")
    make_venv()
    found = versions()
    names = [name for name in names if is_there(NAMED[name], found)]
    generator, remark = make_generator()
    before = os.getloadavg()[0]
    results = measure(names, workloads, options.rounds, options.secs, generator)
    pinned = "server and generator on a core each" if pinning()[0] else "not pinned to cores"
    more = f"{pinned}; load generator: {remark}; "
    caption = circumstances(options, (NAMED[name] for name in names), before, more)
    if missing := ", ".join(name for name in options.only.split(",") if name not in names):
        caption += f"- left out, as it does not install or failed here: {missing}\n"
    report = f"{caption}\n{tables(results, names, workloads)}"
    print(report)
    if options.write:
        write(PAGE, BEGIN, report)
        PLOT.write_text(
            plot("Requests answered per second", bars(results, names, workloads), caption), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
