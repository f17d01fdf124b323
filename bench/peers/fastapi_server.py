# mypy: ignore-errors
"""FastAPI on uvicorn, with its own JSON, as its documentation writes it."""

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from handlers import HANDLERS, serve

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


if __name__ == "__main__":
    serve(app)
