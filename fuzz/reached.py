"""Which lines of the compiled frame reader a corpus reaches: gcov's count for `frames_c.pyx`, line by line.

    python -m fuzz.reached [directories]     by default the corpus that is kept; fails below 95 %

Builds `frames_c` once more, with gcc's --coverage, beside a copy of the other modules.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUILT = ROOT / "build" / "reached"
SOURCE = Path("aiorest_ws", "_speedups", "frames_c.pyx")
KEPT = ROOT / "fuzz" / "corpus" / "frames"
LEAST = 95

# What follows each of these up to the next is the reader, or is not.
SECTIONS = {
    "    # Reading": True,
    "    # Writing": False,
    "cdef uint64_t unmask": True,
}


def build() -> None:
    """Build a package in which `frames_c` counts its lines."""
    shutil.rmtree(BUILT, ignore_errors=True)
    shutil.copytree(ROOT / "aiorest_ws", BUILT / "aiorest_ws")
    c = BUILT / "frames_c.c"
    run([sys.executable, "-m", "cython", "--line-directives", "-X", "nonecheck=True", str(SOURCE), "-o", str(c)], ROOT)
    include = sysconfig.get_path("include")
    object_file = BUILT / "frames_c.o"
    run(["gcc", "-O0", "-fPIC", "--coverage", "-w", f"-I{include}", "-c", str(c), "-o", str(object_file)], BUILT)
    extension = (BUILT / SOURCE).with_suffix(EXTENSION_SUFFIXES[0])
    run(["gcc", "-shared", "--coverage", str(object_file), "-o", str(extension)], BUILT)


def run(command: list[str], where: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=where, env=os.environ | environment, stdout=subprocess.PIPE, check=True, text=True
    )
    return done.stdout


REPLAY = """
import sys
from pathlib import Path
from fuzz.guided import TARGETS, Compiled
run = TARGETS["frames"](Compiled())
files = [file for directory in sys.argv[1:] for file in Path(directory).iterdir()]
for file in files:
    run(file.read_bytes())
print(len(files))
"""


def replay(directories: list[Path]) -> int:
    """Run every file, in a process of its own: gcov writes when it ends."""
    path = os.pathsep.join(map(str, (BUILT, ROOT)))
    command = [sys.executable, "-P", "-c", REPLAY, *map(str, directories)]
    return int(run(command, ROOT, PYTHONPATH=path, AIOREST_WS_REQUIRE_EXTENSIONS="1"))


def counts() -> dict[int, int]:
    """Give how often each line of the source was reached, for lines that have code."""
    report = json.loads(run(["gcov", "--json-format", "--stdout", "frames_c.o"], BUILT))
    found: dict[int, int] = {}
    for file in report["files"]:
        if file["file"].endswith(SOURCE.name):
            for line in file["lines"]:
                number = line["line_number"]
                found[number] = max(found.get(number, 0), line["count"])
    return found


def reader(lines: list[str]) -> set[int]:
    """Give the numbers of the lines that belong to the reader."""
    numbers, inside = set(), False
    for number, line in enumerate(lines, 1):
        for start, is_reader in SECTIONS.items():
            if line.startswith(start):
                inside = is_reader
        if inside:
            numbers.add(number)
    return numbers


def main(arguments: list[str]) -> int:
    directories = [Path(argument).resolve() for argument in arguments] or [KEPT]
    build()
    files = replay(directories)
    lines = (ROOT / SOURCE).read_text("utf-8").splitlines()
    of_reader = {number: count for number, count in counts().items() if number in reader(lines)}
    missed = sorted(number for number, count in of_reader.items() if not count)
    percent = 100 * (1 - len(missed) / len(of_reader))
    for number in missed:
        print(f"{SOURCE}:{number}: {lines[number - 1].strip()}")
    print(f"{files} files reach {percent:.1f} % of the reader's {len(of_reader)} lines")
    return percent < LEAST


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
