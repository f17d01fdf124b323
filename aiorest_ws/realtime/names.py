"""A route, the values in its path and `args` → the topic: the name that they have in every message about them."""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from aiorest_ws.exceptions import HTTPError, NoReverseMatch, NotSpecifiedHandler
from aiorest_ws.routing.building import fill_template

__all__ = ("canonical_url", "topic_of")

_LONGEST_URL = 256  # bytes
_LONGEST_ARGS = 4096
_LONGEST_NAME = 256
_UNPROCESSABLE = 422


def canonical_url(trie: Any, plan: Any, params: tuple[Any, ...]) -> str:
    """Give the url, written anew, that leads to `plan` with `params`; without the slash at its end.

    Raises HTTPError, 422, if there is none that may be the name of a topic.
    """
    route = plan.route
    url = route.path
    if params:
        try:
            url = fill_template(url, route.converters, dict(zip(route.parameters, params, strict=True)))
            url = _without_slash(url)
            found = trie.match("GET", url)
        except (NoReverseMatch, NotSpecifiedHandler) as exc:
            raise _unfit(str(exc)) from exc
        if found[0].route is not route or found[1] != params:
            raise _unfit(f"{url!r:.200} leads elsewhere")
    return _as_name(url)


@lru_cache(maxsize=256)  # what is raised is not kept: it has at most 256 bytes
def _as_name(url: str) -> str:
    url = _without_slash(url)
    if "?" in url or len(url.encode("utf-8", "replace")) > _LONGEST_URL:
        raise _unfit(f"expected at most {_LONGEST_URL} bytes without '?'")
    return url


def _unfit(why: str) -> HTTPError:
    return HTTPError(_UNPROCESSABLE, f"this url cannot be subscribed to: {why}")


def _without_slash(url: str) -> str:
    return url[:-1] if len(url) > 1 and url.endswith("/") else url


def topic_of(url: str, args: dict[str, Any] | None) -> str:
    """Give the topic of a canonical url with `args`. Raises HTTPError, 422, for those that JSON cannot say."""
    if not args:
        return url
    try:
        text = json.dumps(args, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as exc:
        raise HTTPError(_UNPROCESSABLE, f"these `args` cannot be subscribed to, JSON cannot say them: {exc}") from exc
    if size > _LONGEST_ARGS:
        raise HTTPError(
            _UNPROCESSABLE, f"these `args` cannot be subscribed to: at most {_LONGEST_ARGS} bytes, got {size}"
        )
    name = f"{url}?{text}"
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    return f"{url}?{blake2b(text.encode(), digest_size=16).hexdigest()}"
