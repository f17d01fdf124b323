# mypy: ignore-errors
"""FastAPI on uvicorn, whose handler takes 200 µs of CPU, in processes: `python burn_fastapi.py PORT PROCESSES`."""

import sys
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from handlers import PORT, burn


@asynccontextmanager
async def lifespan(app):
    print("ready", flush=True)
    yield


app = FastAPI(lifespan=lifespan)


@app.websocket("/")
async def handler(websocket: WebSocket):
    await websocket.accept()
    try:
        while True:
            request = await websocket.receive_json()
            await websocket.send_json({"data": burn(request), "event_name": request.get("event_name")})
    except WebSocketDisconnect:
        pass


if __name__ == "__main__":
    uvicorn.run(
        "burn_fastapi:app",
        app_dir=str(Path(__file__).parent),
        port=PORT,
        loop="uvloop",
        workers=int(sys.argv[2]),
        ws_per_message_deflate=False,
        log_level="error",
        access_log=False,
    )
