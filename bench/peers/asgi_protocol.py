# mypy: ignore-errors
"""aiorest-ws behind uvicorn, as its class for WebSockets: `python asgi_protocol.py PORT uvloop|asyncio`."""

from asgi_ours import serve

serve("aiorest_ws.asgi:Protocol")
