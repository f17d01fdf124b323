# mypy: ignore-errors
"""An ASGI app that says the same to whatever comes, on uvicorn: what uvicorn and its WebSocket library cost."""

from handlers import serve

REPLY = {"type": "websocket.send", "text": '{"data":"Hello, world!","event_name":"e1"}'}


async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] == "websocket.receive":
        await send(REPLY)


serve(app, lifespan="off")
