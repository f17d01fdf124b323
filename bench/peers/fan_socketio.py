# mypy: ignore-errors
"""python-socketio on uvicorn: a room, and `emit` to it."""

import socketio
import uvicorn
from handlers import NEWS, PORT, UVLOOP

server = socketio.AsyncServer(async_mode="asgi", compression_threshold=1 << 30)
app = socketio.ASGIApp(server)


@server.event
async def subscribe(sid):
    await server.enter_room(sid, "news")
    await server.emit("subscribed", to=sid)


@server.event
async def publish(sid, data):
    await server.emit("news", data, room="news")


@server.event
async def missed(sid):
    await server.emit("missed", NEWS, to=sid)


uvicorn.run(
    app,
    host="127.0.0.1",
    port=PORT,
    loop="uvloop" if UVLOOP else "asyncio",
    ws_per_message_deflate=False,
    log_level="error",
    access_log=False,
)
