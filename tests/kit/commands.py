"""Commands that run without the switches of this process, as in a shell of their own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

__all__ = ("NO", "REQUIRE", "run", "succeed")

NO = "AIOREST_WS_NO_EXTENSIONS"
REQUIRE = "AIOREST_WS_REQUIRE_EXTENSIONS"


def run(*command: str | Path, cwd: Path, path: str | None = None, **switches: str) -> subprocess.CompletedProcess[str]:
    """Run without the switches of this process; stderr is merged into stdout, as in a build log."""
    env = {key: value for key, value in os.environ.items() if key not in (NO, REQUIRE, "PYTHONPATH", "CC")} | switches
    if path is not None:
        env["PATH"] = path
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def succeed(*command: str | Path, cwd: Path, path: str | None = None, **switches: str) -> str:
    done = run(*command, cwd=cwd, path=path, **switches)
    assert done.returncode == 0, done.stdout
    return done.stdout
