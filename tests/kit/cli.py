"""The command line in process, and programs for it to serve."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from aiorest_ws_cli import main

__all__ = ("Cli", "Said")


class Said:
    """How a command ended: its exit code, stdout and stderr."""

    def __init__(self, code: int | str | None, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def __eq__(self, other: object) -> bool:
        return (self.code, self.out, self.err) == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr((self.code, self.out, self.err))


class Cli:
    """Runs commands in `folder`, which is the current directory, without what the environment says."""

    _numbers = itertools.count()

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._capsys = capsys
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "path", list(sys.path))
        for name in ("SECRET", "SERVER", "TOKEN"):
            monkeypatch.delenv(f"AIOREST_WS_{name}", raising=False)

    def write(self, source: str, name: str | None = None) -> str:
        """Write a module; give its name, which nobody has imported yet."""
        name = name or f"program_{next(self._numbers)}"
        path = self.folder.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, "utf-8")
        return name

    def __call__(self, *argv: str) -> Said:
        try:
            code: int | str | None = main([*argv])
        except SystemExit as exc:
            code = exc.code
        out, err = self._capsys.readouterr()
        return Said(code, out, err)
