"""Why a command ends without what was asked: one line on stderr, and an exit code."""

from __future__ import annotations

from aiorest_ws.portable import Portable

__all__ = ("CANNOT", "NO_REPLY", "USAGE", "Failure", "code_of")

CANNOT, USAGE, NO_REPLY = 1, 2, 3


class Failure(Portable):
    """`str` is the line; `code` is from above, or the first digit of a reply's status."""

    def __init__(self, line: str, code: int = CANNOT) -> None:
        super().__init__(line)
        self.code = code


def code_of(status: int) -> int:
    """Give the exit code that says what `status` said: 4 for 4xx, 5 for 5xx, else 0."""
    return status // 100 if 400 <= status < 600 else 0
