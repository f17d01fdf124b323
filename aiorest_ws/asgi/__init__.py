"""An application behind the servers of ASGI: mounted beside others, or, under uvicorn, on its very transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiorest_ws.asgi.application import AsgiApplication

if TYPE_CHECKING:
    from aiorest_ws.asgi.on_uvicorn import Protocol

__all__ = ("AsgiApplication", "Protocol")


if not TYPE_CHECKING:  # type checkers would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """Import what needs uvicorn when that asks for it."""
        if name != "Protocol":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            from aiorest_ws.asgi.on_uvicorn import Protocol
        except ModuleNotFoundError as exc:
            if exc.name is None or exc.name.partition(".")[0] != "uvicorn":
                raise
            raise ImportError("aiorest_ws.asgi.Protocol needs uvicorn: pip install 'aiorest-ws[http]>=2'") from exc
        return Protocol
