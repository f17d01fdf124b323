# mypy: ignore-errors
"""aiorest-ws behind uvicorn, as its class for WebSockets: `python asgi_protocol.py PORT uvloop|asyncio`."""

from asgi_ours import app
from handlers import serve

serve(app, ws="aiorest_ws.asgi:Protocol")
