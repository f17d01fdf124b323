"""One HTTP request → one request of ours, on the way of all others → its HTTP reply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiorest_ws.exchange.door import Exchange
    from aiorest_ws.exchange.pages import Page

__all__ = ("Exchange", "Page")


if not TYPE_CHECKING:  # type checkers would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """Import what is asked for: most applications serve no HTTP."""
        if name == "Exchange":
            from aiorest_ws.exchange.door import Exchange as found
        elif name == "Page":
            from aiorest_ws.exchange.pages import Page as found
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return found
