"""Files that change → the same command line run again, without `--reload`: one server after the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path
from types import FrameType

from aiorest_ws.cli.failures import USAGE, Failure
from aiorest_ws.cli.flags import flag_of
from aiorest_ws.cli.output import complain

__all__ = ("PARENT", "Reloader", "command_again", "end_with")

PARENT = "--reloaded-by"  # the flag that tells a server of its reloader: its process id

_LOOK = 200  # milliseconds between two looks at whether the server still runs
_LOOK_UP = 1.0  # seconds between two looks at whether the reloader still runs
_PATIENCE = 10.0  # seconds between SIGTERM and SIGKILL of a server that is to make room for the next


class Reloader:
    """Runs servers, one at a time, until it is asked to end; one that fails is followed by the next when files change.

    The servers are of this process's group, so that a debugger in them may use the terminal; Ctrl-C there they get by
    themselves.
    """

    def __init__(self, given: Namespace) -> None:
        self._folders = [Path(folder) for folder in given.reload_dir or [given.app_dir or os.getcwd()]]
        for folder in self._folders:
            if not folder.is_dir():
                raise Failure(f"run: --reload-dir: no directory {str(folder)!r}", USAGE)
        self._is_of_many = getattr(given, "workers", 1) != 1
        self._command = command_again()
        self._asked = threading.Event()
        self._server: subprocess.Popen[bytes] | None = None
        self._is_told = False  # the server, that it is to end

    def run(self) -> int:
        """Serve, again and again. Gives 0 when a signal has ended it."""
        changes = self._changes()
        if self._is_of_many:
            complain("--reload serves with one process, whatever --workers says")
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._start()
            for changed in changes:
                self._look(changed)
        finally:
            self._stop()
            for number, handler in before.items():
                signal.signal(number, handler)
        return 0

    def _look(self, changed: set[str]) -> None:
        if changed:
            complain(f"{_names(changed)} changed, starting anew")
            self._stop(_PATIENCE)
            for path in changed:
                _forget_bytecode(path)
            self._start()
        elif self._server is not None and self._server.poll() is not None:
            complain(f"the server has ended, exit code {self._server.returncode}: waiting for a change")
            self._server = None

    def _changes(self) -> Iterator[set[str]]:
        """Give what changed, again and again; nothing, where nothing did."""
        try:
            from watchfiles import PythonFilter, watch
        except ImportError:
            raise Failure("run: --reload needs watchfiles: pip install 'aiorest-ws[reload]>=2'") from None
        found = watch(
            *self._folders,
            watch_filter=PythonFilter(),
            stop_event=self._asked,
            rust_timeout=_LOOK,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        return ({path for _, path in changes} for changes in found)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._server is not None and (number != signal.SIGINT or self._asked.is_set() or not _is_foreground()):
            self._server.send_signal(number)
        self._is_told = self._server is not None
        self._asked.set()

    def _start(self) -> None:
        if not self._asked.is_set():
            self._is_told = False
            self._server = subprocess.Popen(self._command)

    def _stop(self, patience: float | None = None) -> None:
        """Let the server end what it does, and wait until its port is free; at most so many seconds."""
        if self._server is None:
            return
        if not self._is_told:
            self._server.terminate()
        try:
            self._server.wait(patience)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = None


def _is_foreground() -> bool:
    """Tell whether Ctrl-C in the terminal reaches the whole group of this process."""
    if not hasattr(os, "tcgetpgrp"):
        return True
    for descriptor in (0, 1, 2):
        try:
            return os.tcgetpgrp(descriptor) == os.getpgrp()
        except OSError:
            continue
    return False


def command_again() -> list[str]:
    """Give the command line of this process without what reloads, in one process."""
    count = len(sys.argv) - 1
    words = sys.orig_argv[len(sys.orig_argv) - count :] if count else []
    command = [sys.executable, *sys.orig_argv[1 : len(sys.orig_argv) - count]]
    words = list(_without_reload(words))
    return [*command, *words, PARENT, str(os.getpid()), flag_of("workers"), "1"]


def end_with(parent: int) -> None:
    """Have this process asked to end when its reloader is gone, however that was: none serves on that nobody sees."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_UP)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="reloader", daemon=True).start()


def _without_reload(words: list[str]) -> Iterator[str]:
    rest = iter(words)
    for word in rest:
        if word == "--reload-dir":
            next(rest, None)
        elif word != "--reload" and not word.startswith("--reload-dir="):
            yield word


def _forget_bytecode(path: str) -> None:
    """Have a file compiled anew: by second and size, which is what its bytecode knows of it, it may be the same."""
    with suppress(OSError):
        os.unlink(cache_from_source(path))


def _names(paths: set[str]) -> str:
    names = sorted({os.path.relpath(path) for path in paths})
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
