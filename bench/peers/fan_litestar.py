# mypy: ignore-errors
"""Litestar's channels plugin on uvicorn, with the backend in memory."""

import orjson
import uvicorn
from handlers import PORT, UVLOOP
from litestar import Litestar, WebSocket, websocket
from litestar.channels import ChannelsPlugin
from litestar.channels.backends.memory import MemoryChannelsBackend
from litestar.exceptions import WebSocketDisconnect

channels = ChannelsPlugin(backend=MemoryChannelsBackend(), channels=["news"])


@websocket("/")
async def handler(socket: WebSocket) -> None:
    await socket.accept()
    subscriber = None
    try:
        while True:
            request = orjson.loads(await socket.receive_text())
            if request["method"] == "SUBSCRIBE":
                subscriber = await channels.subscribe(["news"])
                task = subscriber.run_in_background(socket.send_text)
                await task.__aenter__()
                await socket.send_text('{"status":200}')
            else:
                channels.publish({"event_name": "/news", "data": request["data"]}, "news")
    except WebSocketDisconnect:
        if subscriber is not None:
            await channels.unsubscribe(subscriber)


app = Litestar([handler], plugins=[channels])
uvicorn.run(
    app,
    host="127.0.0.1",
    port=PORT,
    loop="uvloop" if UVLOOP else "asyncio",
    ws_per_message_deflate=False,
    log_level="error",
    access_log=False,
)
