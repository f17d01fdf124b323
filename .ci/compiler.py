"""In: a Python to build for; out: nothing if its headers and a C compiler are there, else one line with the cure.

`make test` and its brothers ask before they start, as what gcc says comes minutes later and names no package.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

SOURCE = "#include <Python.h>\n#include <math.h>\ndouble answer(double x) { return floor(x); }\n"

COMPILER = (
    "Debian, Ubuntu: apt-get install gcc python3-dev; Fedora: dnf install gcc python3-devel; "
    "macOS: xcode-select --install"
)
HEADERS = "Debian, Ubuntu: apt-get install python3-dev; Fedora: dnf install python3-devel"
LIBC = "Debian, Ubuntu: apt-get install libc6-dev; Fedora: dnf install glibc-devel; macOS: xcode-select --install"


def missing(compiler: str, headers: Path) -> str:
    """Say what is missing to compile an extension and where it comes from, "" if nothing is."""
    command = shlex.split(compiler)
    if shutil.which(command[0]) is None:
        return f"no C compiler, {command[0]} is not there ({COMPILER})"
    if not (headers / "Python.h").exists():
        return f"no headers of Python, {headers / 'Python.h'} is not there ({HEADERS})"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "answer.c")
        source.write_text(SOURCE, "utf-8")
        command += [f"-I{headers}", "-shared", "-fPIC", str(source), "-o", str(source.with_suffix(".so"))]
        if sys.platform == "darwin":
            command += ["-undefined", "dynamic_lookup"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return ""
    lines = done.stderr.splitlines() or [f"exit code {done.returncode}"]
    said = next((line for line in lines if "error" in line or "cannot find" in line), lines[-1])
    return f"the C compiler cannot compile: {said.strip()} ({LIBC})"


def main() -> int:
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    said = missing(compiler, Path(sysconfig.get_path("include")))
    if said:
        print(f"{said}; make test-pure and make demo need none", file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
