"""The option `http` → the plain HTTP of a factory's port. Imports nothing before it is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiorest_ws.exceptions import ImproperlyConfigured

__all__ = ("open_door",)


def open_door(factory: Any, options: Mapping[str, Any]) -> None:
    """Let a factory serve HTTP, too, if that is asked for. Raises ImproperlyConfigured where the extra is missing."""
    if not options["http"]:
        if options["console"]:
            raise ImproperlyConfigured("console is a page: give http=True, too, and pip install 'aiorest-ws[http]>=2'")
        return
    try:
        from aiorest_ws.exchange.port import Port
    except ImportError as exc:
        raise ImproperlyConfigured(
            f"http needs uvicorn and httptools: pip install 'aiorest-ws[http]>=2' ({exc})"
        ) from exc
    from aiorest_ws.exchange.door import Exchange

    factory.http = Port(factory, Exchange(factory))
