"""Documentation and examples: their code, and programs that run it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import metadata
from pathlib import Path
from threading import Timer

import aiorest_ws

__all__ = (
    "ENVIRONMENT",
    "EXAMPLES",
    "PATIENT",
    "PYTHON",
    "ROOT",
    "TIMEOUT",
    "blocks",
    "output_of",
    "readme",
    "serving",
    "shortened",
)


ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
TIMEOUT = 60.0  # seconds; what is waited for takes one or two
PYTHON = (sys.executable, "-W", "error")
# An example finds the package that is under test, installed or not.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(aiorest_ws.__file__).parent.parent), "PYTHONIOENCODING": "utf-8"}

# Autobahn's clients give a server one second to finish the closing handshake, of which txaio rounds off up to all, and
# complain on stderr when it is more. Nothing is wrong with the server then.
PATIENT = """
import runpy, sys
from autobahn.asyncio.websocket import WebSocketClientFactory

reset = WebSocketClientFactory.resetProtocolOptions

def patient(self):
    reset(self)
    self.closeHandshakeTimeout = 30

WebSocketClientFactory.resetProtocolOptions = patient
del sys.argv[0]
sys.path.insert(0, "")
if sys.argv[0] == "-m":
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
else:
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


@contextmanager
def serving(*command: str | Path) -> Iterator[int]:
    """Run a server until the block ends; give its port. It must say that it is ready, and end in silence with 0."""
    with subprocess.Popen(
        [*PYTHON, *map(str, command)],
        env={**ENVIRONMENT, "PYTHONSAFEPATH": ""},  # `make sanitize` sets it; a program finds what lies beside it
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as server:
        watchdog = Timer(TIMEOUT, server.kill)
        watchdog.start()
        try:
            assert server.stdout is not None
            said = []
            for line in server.stdout:
                said.append(line)
                if line.startswith("Quit the server"):
                    break
            url = re.search(r"Server started at wss?://[^:]+:(\d+)/", "".join(said))
            assert url, f"the server did not start: {said} {server.communicate()[1]}"
            assert f"hot path: {'compiled' if aiorest_ws.COMPILED else 'pure Python'} (" in "".join(said)
            yield int(url[1])
        finally:
            if server.poll() is None:
                server.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGINT)
            errors = server.communicate()[1]
            watchdog.cancel()
    assert errors == ""
    assert server.returncode == 0 or os.name == "nt"


def output_of(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a client to its end, which must be a good one, and without a word on stderr."""
    done = subprocess.run(
        [*PYTHON, "-c", PATIENT, *map(str, command)],
        cwd=cwd,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


# README.md


def readme() -> str:
    """Give README.md, or where the tests stand without it, what the installed package has of it."""
    path = ROOT / "README.md"
    return path.read_text("utf-8") if path.exists() else metadata("aiorest-ws")["Description"]


def blocks(language: str, text: str | None = None) -> list[str]:
    """Give the blocks of code in `text`, or in README.md."""
    text = readme() if text is None else text
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found
    return found


def shortened(reply: str, shown: str, known: dict[str, str]) -> str:
    """Give `shown` if that is what `reply` is, and note in `known` what `…` stands for; else `reply`."""
    like = re.fullmatch(re.sub(r'"([^"]*)…"', r'"(\1[^"]*)"', re.escape(shown)), reply)
    if like is None:
        return reply
    known.update(zip(re.findall(r'"([^"]*…)"', shown), like.groups(), strict=True))
    return shown
