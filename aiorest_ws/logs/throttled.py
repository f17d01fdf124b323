"""Lines about what clients did → a log that no client can flood."""

from __future__ import annotations

import logging
import re
import time

from aiorest_ws.limits.bucket import Rate

__all__ = ("Complaints", "path_of", "printable", "without_secrets")

_PER_SECOND, _AT_ONCE = 10.0, 100
_LONGEST = 280
_SECRETS = re.compile(r"(?<=//)[^/@?#]*@|\beyJ[\w-]{5,}(?:\.[\w-]*)*|[?#].*", re.DOTALL)


class Complaints:
    """Writes to a logger, a hundred lines at once and ten a second in the long run, and counts what it leaves out."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._rate = Rate(_PER_SECOND, _AT_ONCE, clock=_now)
        self.left_out = 0

    def write(self, level: int, text: str, exc: BaseException | None = None) -> None:
        """Log `text`, which must be `printable`, and the traceback of `exc`, unless it is too much."""
        if not self._logger.isEnabledFor(level):
            return
        if not self._rate.allow():
            self.left_out += 1
            return
        if self.left_out:
            text += f" (and {self.left_out} more like it that are not shown)"
            self.left_out = 0
        self._logger.log(level, "%s", text, exc_info=exc)


def _now() -> float:
    return time.monotonic()  # looked up when it is used: tests put others in its place


def printable(text: object) -> str:
    """Give `text` on one line of ASCII, without control characters, at most 280 characters of it."""
    return ascii(str(text)[:_LONGEST])[1:-1][:_LONGEST]


def path_of(url: object) -> str:
    """Give what a log may have of a url that a client sent, `printable`; see `without_secrets`."""
    return printable(without_secrets(url)) if isinstance(url, str) else f"<{type(url).__name__}>"


def without_secrets(url: str) -> str:
    """Give a url without tokens and what may hold them: query, fragment, password; not all of it when it is long."""
    return _SECRETS.sub("", url[:_LONGEST])
