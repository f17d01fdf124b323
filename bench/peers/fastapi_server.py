# mypy: ignore-errors
"""FastAPI on uvicorn, with its own JSON, as its documentation writes it."""

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from handlers import HANDLERS, PORT, UVLOOP

app = FastAPI()


@app.websocket("/")
async def handler(websocket: WebSocket):
    await websocket.accept()
    try:
        while True:
            request = await websocket.receive_json()
            data = HANDLERS[request["method"], request["url"]](request)
            await websocket.send_json({"data": data, "event_name": request.get("event_name")})
    except WebSocketDisconnect:
        pass


def serve(served, *, uvloop, workers=1):
    uvicorn.run(
        served,
        host="127.0.0.1",
        port=PORT,
        loop="uvloop" if uvloop else "asyncio",
        workers=workers,
        ws_per_message_deflate=False,
        log_level="error",
        access_log=False,
    )


if __name__ == "__main__":
    serve(app, uvloop=UVLOOP)
