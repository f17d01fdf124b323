"""The name of a route and its parameters → url; url → name and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode

from aiorest_ws.exceptions import BaseAPIException, NoMatch, NoReverseMatch
from aiorest_ws.urls.base import get_urlconf

__all__ = ("RouteMatch", "resolve", "reverse")

_UNQUOTED = "/:@!$&'()*+,;="  # of what RFC 3986 §3.3 allows in a path


class RouteMatch(NamedTuple):
    """What `resolve` found: the route's name or None, its path parameters in order, and the query."""

    view_name: str | None
    args: tuple[Any, ...]
    kwargs: dict[str, str]


def reverse(
    view_name: str,
    urlconf: Any = None,
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    relative: bool = False,
) -> str:
    """Give the url of the route with this name; raises NoReverseMatch.

    urlconf     a router, or what `set_urlconf` takes; None: that of the running application
    args        path parameters in the order of the template
    kwargs      path parameters by name; what is none goes into a query behind the path, which no route looks at
    relative    give what belongs into `url` of a request, as it is; else an absolute url, percent-encoded
    """
    base, router = _base_and_router(urlconf, NoReverseMatch)
    if isinstance(args, (str, bytes)):
        raise NoReverseMatch(f"args must be a list or tuple, got {args!r:.100}")
    given, others = tuple(args), dict(kwargs or {})
    names = router.parameters(view_name)
    params = dict(zip(names, given, strict=False))
    if len(given) > len(names):
        raise NoReverseMatch(f"route {view_name!r} takes {len(names)} parameters, but got {len(given)}")
    for name in names:
        if name in others:
            if name in params:
                raise NoReverseMatch(f"parameter {name!r} of route {view_name!r} is in args and in kwargs")
            params[name] = others.pop(name)
    path = router.url_for(view_name, **params)
    query = "?" + urlencode(others, quote_via=quote, safe="") if others else ""
    return (path if relative else base + quote(path, safe=_UNQUOTED)) + query


def resolve(path: str, urlconf: Any = None) -> RouteMatch:
    """Give the route that a url leads to, whatever the method; raises NoMatch.

    An absolute url must begin with that of the application and is percent-decoded, any other is taken as it is.
    """
    base, router = _base_and_router(urlconf, NoMatch)
    if not path.startswith(("/", " ")) and "://" in path:
        if not path.startswith(f"{base}/"):
            raise NoMatch(f"url {path!r:.200} does not begin with {base!r}")
        path, _, query = path[len(base) :].partition("?")
        path = unquote(path)
    else:
        path, query = _split_query(path)
    try:
        route, params = router.resolve(path)
    except BaseAPIException as exc:
        raise NoMatch(f"no route matches {path!r:.200}: {exc}") from exc
    return RouteMatch(route.name, params, dict(parse_qsl(query, keep_blank_values=True)))


def _split_query(url: str) -> tuple[str, str]:
    """Part what `reverse` put behind a path, which ends with `/`; no query of its making has one in it."""
    path, mark, query = url.rpartition("/?")
    return (f"{path}/", query) if mark and "/" not in query and "=" in query else (url, "")


def _base_and_router(urlconf: Any, error: type[Exception]) -> tuple[str, Any]:
    if urlconf is None:
        urlconf = get_urlconf()
    if isinstance(urlconf, Mapping):
        base, router = str(urlconf.get("path", "")).rstrip("/"), urlconf.get("router")
    else:
        base, router = "", urlconf
    if not hasattr(router, "url_for"):
        raise error(f"expected an urlconf with a router that knows names, got {urlconf!r:.100}: start an application")
    return base, router
