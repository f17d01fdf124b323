"""Options of a command → attributes: the few lines of argparse that the examples need."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any

__all__ = ("CommandLine",)


class CommandLine:
    """Defines options, then reads them from `sys.argv`.

    cmd = CommandLine()
    cmd.define("--port", default=8080, type=int, help="port to listen on")
    options = cmd.parse_command_line()
    """

    def __init__(self) -> None:
        self.options = ArgumentParser()
        self._defined: set[str] = set()

    def define(
        self,
        name: str,
        default: Any = None,
        help: str | None = None,  # noqa: A002 (names of 1.1.1)
        type: Callable[[str], Any] | None = None,  # noqa: A002
    ) -> None:
        """Add an option. One that is defined already stays as it is."""
        if name in self._defined:
            return
        self._defined.add(name)
        kwargs: dict[str, Any] = {} if type is None else {"type": type}
        self.options.add_argument(name, default=default, help=help, **kwargs)

    def parse_command_line(self) -> Namespace:
        """Give the options of this process's command line."""
        return self.options.parse_args()
