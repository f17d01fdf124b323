"""The options of the metrics, and what has them → a port that serves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from aiorest_ws.metrics import Exposition

__all__ = ("expose",)


def expose(options: Mapping[str, Any], registry: Callable[[], Any]) -> Exposition | None:
    """Serve what is in the registry that is given, if there is a port for it. Raises ImproperlyConfigured, one line."""
    port = options["metrics_port"]
    if port is None:
        return None
    try:
        from aiorest_ws.metrics import Exposition

        exposed = registry()
    except ImportError as exc:
        raise ImproperlyConfigured(str(exc)) from exc
    return Exposition(exposed, options["metrics_host"], port)
