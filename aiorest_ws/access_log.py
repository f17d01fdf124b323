"""A request that has been answered → a line of the access log, whatever the client sent, and whatever the log does."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import suppress
from time import gmtime, strftime
from typing import Any

from aiorest_ws.complaints import printable, without_secrets

__all__ = ("FORMS", "AccessLog", "set_up_json")

FORMS = (False, True, "text", "json")

logger = logging.getLogger("aiorest_ws.access")

_LONGEST = 280  # characters of what a client sent


class AccessLog:
    """Writes to "aiorest_ws.access", a line per request.

    form    "json" for an object per line; anything else is text
    """

    def __init__(self, form: bool | str = "text") -> None:
        self._is_json = form == "json"
        self._failed = False

    def write(self, peer: str, request: Any, size: int, seconds: float) -> None:
        """Write the line of `request`, whose reply has `size` bytes and took so many seconds.

        A log that fails is told about once, on stderr: its failures are not the client's.
        """
        if not logger.isEnabledFor(logging.INFO):
            return
        try:
            line = _json if self._is_json else _text
            logger.info("%s", line(peer, request, size, seconds))
        except Exception as exc:
            self._fail(exc)

    def _fail(self, exc: Exception) -> None:
        if self._failed or sys.stderr is None:
            return
        self._failed = True
        with suppress(OSError, ValueError):  # closed, or nobody reads it: there is no place left to say so
            text = "aiorest-ws: the access log failed, lines are lost, and this is not said again"
            print(f"{text}: {type(exc).__name__}: {printable(exc)}", file=sys.stderr)


def set_up_json() -> None:
    """Let the lines leave as they are, on stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.propagate = False


def _text(peer: str, request: Any, size: int, seconds: float) -> str:
    template = _template(request)
    if template is None:
        method, url = _quoted(request.method), _quoted(_url(request))
    else:
        method, url = _verb(request), template
    return f"{printable(peer)} {method} {url} {request.status} {seconds * 1000:.3f} ms {size} bytes"


def _json(peer: str, request: Any, size: int, seconds: float) -> str:
    template = _template(request)
    fields: dict[str, Any] = {
        "time": strftime("%Y-%m-%dT%H:%M:%SZ", gmtime()),
        "peer": peer,
        "method": _sent(request.method) if template is None else _verb(request),
        "route": template,
        "status": request.status,
        "ms": round(seconds * 1000, 3),
        "bytes": size,
    }
    if template is None:
        fields["url"] = _sent(_url(request))
    return _dumps(fields)


def _template(request: Any) -> str | None:
    """Give the path template of the route that `request` matched."""
    return getattr(request.route, "path", None)


def _verb(request: Any) -> str:
    """Give the verb of a request that matched a route: one of its methods."""
    return str(request.method).strip(" ").upper()


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
