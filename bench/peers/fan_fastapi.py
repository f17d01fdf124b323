# mypy: ignore-errors
"""FastAPI on uvicorn with the ConnectionManager of its documentation."""

import orjson
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from handlers import PORT, UVLOOP

app = FastAPI()
listeners = set()


@app.websocket("/")
async def handler(websocket: WebSocket):
    await websocket.accept()
    try:
        while True:
            request = orjson.loads(await websocket.receive_text())
            if request["method"] == "SUBSCRIBE":
                listeners.add(websocket)
                await websocket.send_text('{"status":200}')
                continue
            message = orjson.dumps({"event_name": "/news", "data": request["data"]}).decode()
            for listener in listeners:
                await listener.send_text(message)
    except WebSocketDisconnect:
        pass
    finally:
        listeners.discard(websocket)


uvicorn.run(
    app,
    host="127.0.0.1",
    port=PORT,
    loop="uvloop" if UVLOOP else "asyncio",
    ws_per_message_deflate=False,
    log_level="error",
    access_log=False,
)
