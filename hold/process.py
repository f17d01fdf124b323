"""A server in a process of its own, and what the system says of it: memory, processor time, open descriptors.

For the programs of `hold` and `soak`; Linux only, they read /proc.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ("COMPLAINTS", "Server", "has_ended", "rss_of", "serving")

ROOT = Path(__file__).resolve().parent.parent
SWITCHES = {"compiled": "AIOREST_WS_REQUIRE_EXTENSIONS", "pure": "AIOREST_WS_NO_EXTENSIONS"}
COMPLAINTS = ("Traceback", "never retrieved", "was destroyed", "never awaited", "Exception ignored")

_TICKS = os.sysconf("SC_CLK_TCK")


def rss_of(pid: int | str = "self") -> float:
    """Give the memory that a process holds, this one if not said otherwise, in KiB."""
    return _status(pid, "VmRSS")


def _status(pid: int | str, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return float(line.split()[1])
    raise ProcessLookupError(f"process {pid} is gone")


class Server:
    """`hold.server` that runs, or another `module` that takes options as it does, at `address`."""

    def __init__(self, path: str, loop: str, module: str = "hold.server", **options: Any) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in SWITCHES.values()}
        environment |= {SWITCHES[path]: "1", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for this process and the server
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `close`)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", module, json.dumps({"loop": loop} | options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env=environment,
            start_new_session=True,
        )
        self.path = path
        self.pid = self._process.pid
        self.address = self._started(path)

    def _started(self, path: str) -> tuple[str, int]:
        lines = []
        assert self._process.stdout is not None
        for line in self._process.stdout:
            lines.append(line.strip())
            if line.startswith("Quit the server"):
                break
        else:
            raise SystemExit(f"the server did not start: {self.stderr()}")
        hot = next(line for line in lines if line.startswith("hot path"))
        if ("compiled" in hot) != (path == "compiled"):
            raise SystemExit(f"expected the {path} path, got {hot!r}")
        url = next(line for line in lines if line.startswith("Server started at"))
        if "unix:" in url:
            return url.partition("unix:")[2], 0
        host, _, port = url.partition("//")[2].partition("/")[0].rpartition(":")
        return host, int(port)

    # What the system says

    def rss(self) -> float:
        """Give the memory that it holds, in KiB."""
        return self._status("VmRSS")

    def peak(self) -> float:
        """Give the most that it held since `forget_peak`, in KiB."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def cpu(self) -> float:
        """Give the seconds of processor time that it has used, in steps of 0.01."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def _status(self, name: str) -> float:
        try:
            return _status(self.pid, name)
        except ProcessLookupError:
            raise ProcessLookupError(f"the server (pid {self.pid}) is gone: {self.stderr()}") from None

    # Its end

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float) -> int | None:
        """Give its exit code, or None if it has not ended in `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def stderr(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read()

    def complaints(self) -> list[str]:
        """Give the lines on its stderr that say that something went wrong inside."""
        return [line for line in self.stderr().splitlines() if any(mark in line for mark in COMPLAINTS)]

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
        self._stderr.close()


@contextmanager
def serving(path: str, loop: str, module: str = "hold.server", **options: Any) -> Iterator[Server]:
    """Run a server for as long as the block lasts."""
    server = Server(path, loop, module, **options)
    try:
        yield server
    finally:
        server.close()


def has_ended(server: Server, seconds: float) -> tuple[int | None, float]:
    """Send SIGTERM; give the exit code (None: it did not end in `seconds`) and how long that took."""
    start = time.monotonic()
    server.terminate()
    return server.wait(seconds), time.monotonic() - start
