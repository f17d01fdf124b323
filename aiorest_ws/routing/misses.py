"""A request that no route takes → the error that says what is wrong with its url or its method.

With an `id` that is said in words; without one it is the sentence of aiorest-ws 1.1.1. Of what the client sent there is
never more in it than the first hundred characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any, Final

from aiorest_ws.exceptions import (
    BaseAPIException,
    IncorrectMethodNameType,
    MethodNotAllowed,
    NotSpecifiedHandler,
    NotSpecifiedMethodName,
)

__all__ = ("OWN_VERBS", "SAFE_VERBS", "cure_of", "missed")

OWN_VERBS: Final = frozenset(("SUBSCRIBE", "UNSUBSCRIBE", "PING"))
"""The framework's own: no route has them."""

SAFE_VERBS: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
"""They ask, and change nothing (RFC 9110 §9.2.1)."""

_scheme: Final = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://").match
_MOST: Final = 100  # characters of a url
_SLASH: Final = ": a url begins with `/`"


def missed(request: Any, trie: Any, miss: NotSpecifiedHandler, debug: bool) -> BaseAPIException:
    """Give the error for `request`, of which `trie` said `miss`; in `debug` it names the path that may be meant."""
    if isinstance(miss, MethodNotAllowed):
        if not request.method:
            return NotSpecifiedMethodName()
        if not isinstance(request.method, str):
            return IncorrectMethodNameType()
    if request.id is None:
        return miss
    url = request.url if len(request.url) <= _MOST else f"{request.url[:_MOST]}…"
    if isinstance(miss, MethodNotAllowed):
        allowed = ", ".join(sorted(verb for verb in trie.verbs if _takes(trie, verb, request.url)))
        return MethodNotAllowed(f"no method {request.method:.20} at {url}, expected {allowed}{cure_of(url)}")
    cure = cure_of(url)
    near = _nearest(url, trie.templates) if debug and (not cure or cure == _SLASH) else None
    if near:
        cure = f", did you mean {near}?"
    return NotSpecifiedHandler(f"no route {url}{cure}")


def _takes(trie: Any, verb: str, url: str) -> bool:
    try:
        trie.match(verb, url)
    except NotSpecifiedHandler:
        return False
    return True


def cure_of(url: str) -> str:
    """Give what is wrong with a url that no route takes, "" if nothing is to be seen in it."""
    if _scheme(url):
        return ": `url` is a path such as /hello, scheme and host are those of the connection"
    if "?" in url:
        return ": a url has no query here, send it as `args`"
    if "#" in url:
        return ": a url has no fragment here"
    return "" if url.lstrip(" ").startswith("/") else _SLASH


def _nearest(url: str, templates: Iterable[str]) -> str | None:
    """Give the template whose literal segments are most like those that stand there in `url`."""
    segments = url.strip(" /").lower().split("/")
    likeness, template = max(((_likeness(segments, t), t) for t in templates), default=(0.0, ""))
    return template.rstrip("/") if likeness >= 0.75 else None


def _likeness(segments: list[str], template: str) -> float:
    """Give a number from 0, nothing in common, to 1."""
    from difflib import SequenceMatcher

    parts = template.strip("/").lower().split("/")
    pairs = [
        (here, there) for here, there in zip_longest(segments, parts, fillvalue="") if "{" not in there or not here
    ]
    here, there = ("/".join(texts) for texts in zip(*pairs, strict=True)) if pairs else ("", "")
    return SequenceMatcher(None, here, there).ratio() if there else 0.0
