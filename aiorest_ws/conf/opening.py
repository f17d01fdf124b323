"""The options `http` and `http_prefix` → the plain HTTP of a factory's port. Imports nothing before it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiorest_ws.exceptions import ImproperlyConfigured

__all__ = ("lifespan_of", "open_door")


def open_door(factory: Any, options: Mapping[str, Any]) -> None:
    """Let a factory serve HTTP, too, if that is asked for. Raises ImproperlyConfigured where the extra is missing."""
    if options["http"] is False:
        if options["console"]:
            raise ImproperlyConfigured("console is a page: give http=True, too, and pip install 'aiorest-ws[http]>=2'")
        if options["http_prefix"]:
            raise ImproperlyConfigured("http_prefix is where the routes are over HTTP: give http=True, or an app, too")
        return
    try:
        from aiorest_ws.exchange.port import Port
    except ImportError as exc:
        raise ImproperlyConfigured(
            f"http needs uvicorn and httptools: pip install 'aiorest-ws[http]>=2' ({exc})"
        ) from exc
    from aiorest_ws.exchange.door import Exchange

    beside = None if options["http"] is True else options["http"]
    factory.http = Port(factory, Exchange(factory), beside, options["http_prefix"])


def lifespan_of(options: Mapping[str, Any]) -> Callable[[Any], Any] | None:
    """Give the lifespan of an application, with that of the ASGI app beside it inside, if there is one."""
    own: Callable[[Any], Any] | None = options["lifespan"]
    if type(options["http"]) is bool:
        return own
    from aiorest_ws.exchange.beside import with_lifespan

    return with_lifespan(own, options["http"])
