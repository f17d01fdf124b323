# mypy: ignore-errors
"""An ASGI app that says the same to whatever comes, on uvicorn: what uvicorn and its WebSocket library cost."""

import uvicorn
from handlers import PORT, UVLOOP

REPLY = {"type": "websocket.send", "text": '{"data":"Hello, world!","event_name":"e1"}'}


async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] == "websocket.receive":
        await send(REPLY)


uvicorn.run(
    app,
    port=PORT,
    loop="uvloop" if UVLOOP else "asyncio",
    ws_per_message_deflate=False,
    log_level="error",
    access_log=False,
    lifespan="off",
)
