"""An application behind the servers of ASGI: mounted beside others, or, under uvicorn, on its very transport."""

from aiorest_ws.asgi.application import AsgiApplication

__all__ = ("AsgiApplication",)
