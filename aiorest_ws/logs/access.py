"""A request that has been answered → a line of the access log, whatever the client sent, and whatever the log does.

A line through `logging` takes more than ten times as long as the request that it is about. Where its lines would end up
in a handler that `run` made, and nowhere else, those of one turn of the loop are written to its stream at once, as it
would have written them. Where a program has set up logging itself, each is a record of `logging`.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from contextvars import Context
from functools import lru_cache
from time import gmtime, localtime, strftime
from typing import Any
from weakref import WeakSet

from aiorest_ws.logs.throttled import printable, without_secrets

__all__ = ("FORMS", "AccessLog", "set_up_handler", "share_stream")

FORMS = (False, True, "text", "json")

logger = logging.getLogger("aiorest_ws.access")

_LONGEST = 280  # characters of what a client sent
_AT_ONCE = 1000  # lines
_PIPE = 4096  # bytes that a pipe takes in one piece, on Linux (pipe(7), PIPE_BUF)
_VERBS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "SUBSCRIBE", "UNSUBSCRIBE"))
_PLAIN = "%(message)s"
_DATED = "[%(asctime)s] [%(levelname)s] %(message)s"


class AccessLog:
    """Writes to "aiorest_ws.access", a line per request.

    form    "json" for an object per line; anything else is text
    """

    def __init__(self, form: bool | str = "text") -> None:
        self._line = _json if form == "json" else _text
        self._lines: list[str] = []  # of this turn
        self._handler: Any = None  # that they are for
        self._failed = False
        _all.add(self)

    def write(self, peer: str, request: Any, size: int, seconds: float, context: Context | None = None) -> None:
        """Write the line of `request`, whose reply has `size` bytes and took so many seconds, in a copy of `context`.

        A log that fails is told about once, on stderr: its failures are not the client's.
        """
        if self._lines or self._gather():
            try:
                line = self._line(peer, request, size, seconds)
                self._lines.append(_dated(int(time.time() * 1000)) + line if self._handler.is_dated else line)
            except Exception as exc:
                self._fail(exc)
            if len(self._lines) >= _AT_ONCE:
                self.flush()
        elif logger.isEnabledFor(logging.INFO):
            if context is None:
                self._log(peer, request, size, seconds)
            else:
                context.copy().run(self._log, peer, request, size, seconds)

    def _log(self, peer: str, request: Any, size: int, seconds: float) -> None:
        try:
            logger.info("%s", self._line(peer, request, size, seconds))
        except Exception as exc:
            self._fail(exc)

    def _gather(self) -> bool:
        """Tell whether the lines of this turn are gathered, and see to it that they are written at its end."""
        if not _Handler.is_there or not logger.isEnabledFor(logging.INFO):
            return False
        handler = _only_handler()
        if handler is None:
            return False
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:
            return False
        self._handler = handler
        return True

    def flush(self) -> None:
        """Write what is gathered."""
        lines, self._lines = self._lines, []
        if lines:
            try:
                self._handler.write_lines(lines)
            except Exception as exc:
                self._fail(exc)

    def _fail(self, exc: Exception) -> None:
        if self._failed or sys.stderr is None:
            return
        self._failed = True
        with suppress(OSError, ValueError):  # closed, or nobody reads it: there is no place left to say so
            text = "aiorest-ws: the access log failed, lines are lost, and this is not said again"
            print(f"{text}: {type(exc).__name__}: {printable(exc)}", file=sys.stderr)


_all: WeakSet[AccessLog] = WeakSet()


@atexit.register
def _flush_all() -> None:
    """Lose nothing, however the loop came to its end."""
    for log in list(_all):
        log.flush()


# Where the lines go


class _Handler(logging.StreamHandler[Any]):
    """The handler that `run` makes, on stderr."""

    is_there = False  # one was made
    is_shared = False  # other processes write to the same stream

    def __init__(self, form: str) -> None:
        super().__init__()
        self.is_dated = form == _DATED
        self._own = logging.Formatter(form)
        self.setFormatter(self._own)
        _Handler.is_there = True

    @property
    def is_as_made(self) -> bool:
        return self.formatter is self._own and self.filters in _OWN_FILTERS and self.level <= logging.INFO

    def write_lines(self, lines: list[str]) -> None:
        self.acquire()
        try:
            for some in _in_one_piece(lines) if _Handler.is_shared else (lines,):
                self.stream.write("\n".join((*some, "")))
                self.flush()
        finally:
            self.release()


def set_up_handler(level: int, *, as_json: bool) -> None:
    """Let `logging` show everything from `level` on, on stderr; lines of the access log that are JSON as they are."""
    handler = _Handler(_DATED)
    handler.addFilter(_is_unseen)
    logging.basicConfig(level=level, handlers=[handler], format=_DATED)
    if as_json and not logger.handlers:
        logger.addHandler(_Handler(_PLAIN))
        logger.propagate = False


def share_stream() -> None:
    """Write no more at a time than a pipe takes in one piece: other processes write to it, too."""
    _Handler.is_shared = True


def _in_one_piece(lines: list[str]) -> Iterator[list[str]]:
    """Give lines in parts, each of at most `_PIPE` bytes, unless one line alone has more."""
    some: list[str] = []
    size = 0
    for line in lines:
        octets = len(line) + 1 if line.isascii() else len(line.encode()) + 1
        if some and size + octets > _PIPE:
            yield some
            some, size = [], 0
        some.append(line)
        size += octets
    if some:
        yield some


def _is_unseen(record: logging.LogRecord) -> bool:
    """Tell whether no handler below the root's has written `record`: each line comes once."""
    below: logging.Logger | None = logging.getLogger(record.name)
    while below is not None and below is not logging.root:
        for handler in below.handlers:
            if record.levelno >= handler.level and not isinstance(handler, logging.NullHandler):
                return False
        below = below.parent
    return True


_OWN_FILTERS: tuple[list[Any], ...] = ([], [_is_unseen])


def _only_handler() -> _Handler | None:
    """Give the handler of ours that lines go to, if they go to nothing else and nobody looks at them on the way."""
    found: Any = None
    current: Any = logger
    while current is not None:
        for handler in current.handlers:
            if found is not None:
                return None
            found = handler
        current = current.parent if current.propagate else None
    if type(found) is not _Handler or not found.is_as_made or logger.filters:
        return None
    # Some tools (sentry-sdk) put a function of theirs into the class.
    methods = (logging.Logger.info, logging.Logger.handle, logging.Logger.callHandlers)
    is_as_ever = type(logger) is logging.Logger and all(method.__module__ == "logging" for method in methods)
    return found if is_as_ever else None


# Lines


def _text(peer: str, request: Any, size: int, seconds: float) -> str:
    url, method = _template(request), request.method
    if method == "PING":
        url = "-"
    elif url is None:
        method, url = _quoted(method), _quoted(_url(request))
    elif method not in _VERBS:
        method = _verb(method)
    return f"{_known(peer)} {method} {url} {request.status} {seconds * 1000:.3f} ms {size} bytes"


def _json(peer: str, request: Any, size: int, seconds: float) -> str:
    template = _template(request)
    if template is None:
        method, route, url = _dumps(_sent(request.method)), "null", f', "url": {_dumps(_sent(_url(request)))}'
    else:
        method, route, url = _known_json(_verb(request.method)), _known_json(template), ""
    return (
        f'{{"time": "{_utc(int(time.time()))}", "peer": {_known_json(peer)}, "method": {method}, "route": {route}, '
        f'"status": {request.status}, "ms": {seconds * 1000:.3f}, "bytes": {size}{url}}}'
    )


def _template(request: Any) -> str | None:
    """Give that of the route that a request is about, None where there is none."""
    role = request._live
    route = request.route if role is None or role.counted is None else role.counted.route
    return getattr(route, "path", None)


def _verb(method: Any) -> str:
    """Give the verb of a request that matched a route: one of its methods."""
    return method if method in _VERBS else str(method).strip(" ").upper()


def _url(request: Any) -> Any:
    url = request.url
    return without_secrets(url) if isinstance(url, str) else url


def _sent(value: Any) -> str | None:
    """Give what a client sent as `url` or `method`, not all of it when it is long."""
    return value[:_LONGEST] if isinstance(value, str) else None if value is None else f"<{type(value).__name__}>"


def _quoted(value: Any) -> str:
    sent = _sent(value)
    return "-" if sent is None else _dumps(sent) if isinstance(value, str) else sent


def _dumps(value: Any) -> str:
    """Give JSON in ASCII, and without DEL, which JSON would let through: a line may end up on a terminal."""
    return json.dumps(value).replace("\x7f", "\\u007f")


@lru_cache(maxsize=2)
def _dated(milliseconds: int) -> str:
    """Give what the handler that `run` makes would write in front of a line."""
    second, part = divmod(milliseconds, 1000)
    return f"{strftime('[%Y-%m-%d %H:%M:%S', localtime(second))},{part:03d}] [INFO] "


@lru_cache(maxsize=2)
def _utc(second: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(second))


# Of peers and templates, which come again and again; not of what clients send.
_known = lru_cache(maxsize=1024)(printable)
_known_json = lru_cache(maxsize=1024)(_dumps)
