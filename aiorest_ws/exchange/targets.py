"""The target of an HTTP request → the url of a request of ours, and its query as texts.

A path is split before it is decoded, once: an encoded slash stays in its segment. What a message could not say in a
url, such a slash, a space at the end or braces, is marked.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, unquote

from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.handlers.texts import Texts
from aiorest_ws.http.scopes import path_below, root_of, sent_path

__all__ = ("args_of", "as_sent", "is_marked", "path_of", "url_of", "written")

# What stands for them: no path in UTF-8 has it.
_SPACE = "\udc20"
_MARKS = str.maketrans("/{}", "\udc2f\udc7b\udc7d")
_marks = re.compile("[\udc20\udc2f\udc7b\udc7d]")

_MOST = 1000  # parameters of a query
_FAULT = re.compile(r"%(?![0-9A-Fa-f]{2})").search
_DOTS = (".", "..")


def path_of(scope: Any) -> str:
    """Give the path below where the application is mounted, nothing decoded. Raises ConnectionRefused, HTTP 400."""
    path = sent_path(scope)
    root = root_of(scope, path)
    try:
        return (path_below(path, root) if root else path).decode("ascii") or "/"
    except UnicodeDecodeError:
        raise ConnectionRefused(400, "malformed path: it is to be percent-encoded") from None


def url_of(path: str) -> str:
    """Give a path with each segment decoded, and marked. Raises ConnectionRefused, HTTP 400."""
    if "%" not in path and "{" not in path and "}" not in path:
        if "/." in path and any(segment in _DOTS for segment in path.split("/")):
            raise ConnectionRefused(400, "a path has no segments `.` and `..` here")
        return path
    if _FAULT(path):
        raise ConnectionRefused(400, "malformed path: `%` is followed by two hexadecimal digits")
    try:
        segments = [unquote(segment, errors="strict") for segment in path.split("/")]
    except UnicodeDecodeError:
        raise ConnectionRefused(400, "malformed path: it is not UTF-8") from None
    if any(part in _DOTS for segment in segments for part in segment.split("/")):
        raise ConnectionRefused(400, "a path has no segments `.` and `..` here")
    url = "/".join([segment.translate(_MARKS) for segment in segments])
    bare = url.rstrip(" ")
    return bare + _SPACE * (len(url) - len(bare))


def is_marked(url: str) -> bool:
    """Tell whether no message could say `url`."""
    return not url.isascii() and _marks.search(url) is not None


def written(url: str) -> str:
    """Give what handlers see as the url: encoded where it is marked."""
    return url if url.isascii() else _marks.sub(lambda mark: f"%{ord(mark[0]) - 0xDC00:02X}", url)


def as_sent(params: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give path parameters without marks."""
    return tuple([_bare(value) if isinstance(value, str) else value for value in params])


def _bare(text: str) -> str:
    return _marks.sub(lambda mark: chr(ord(mark[0]) - 0xDC00), text)


def args_of(query: str) -> Texts:
    """Give the parameters of a query; of a name that comes more than once, a list. Raises ConnectionRefused."""
    try:
        query.encode("ascii")
        if _FAULT(query):
            raise ConnectionRefused(400, "malformed query: `%` is followed by two hexadecimal digits")
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MOST)
    except UnicodeError:
        raise ConnectionRefused(400, "malformed query: it is to be UTF-8, percent-encoded") from None
    except ValueError:
        raise ConnectionRefused(400, f"a query has at most {_MOST} parameters") from None
    args = Texts()
    for name, value in pairs:
        if name not in args:
            args[name] = value
        elif isinstance(args[name], list):
            args[name].append(value)
        else:
            args[name] = [args[name], value]
    return args
