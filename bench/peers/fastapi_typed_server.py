# mypy: ignore-errors
"""FastAPI on uvicorn, with a pydantic model of every message, as its documentation writes it."""

from typing import Annotated

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from handlers import PORT, UVLOOP
from pydantic import BaseModel, Field


class Order(BaseModel):
    number: int
    customer: int
    reference: str
    city: str
    weight: float
    express: bool
    note: str
    priority: int
    articles: list[str]
    voucher: str | None


class Path(BaseModel):
    user_id: int
    order_id: int


class Args(BaseModel):
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    offset: int = 0
    order: str = ""


def order(path, args, data):
    return path.user_id + path.order_id + args.limit + data.number


app = FastAPI()


@app.websocket("/")
async def handler(websocket: WebSocket):
    await websocket.accept()
    try:
        while True:
            request = await websocket.receive_json()
            if request["method"] != "POST":
                continue
            _, users, user_id, orders, order_id = request["url"].split("/")
            if (users, orders) != ("users", "orders"):
                continue
            path = Path.model_validate({"user_id": user_id, "order_id": order_id})
            args = Args.model_validate(request["args"])
            data = order(path, args, Order.model_validate(request["data"]))
            await websocket.send_json({"data": data, "event_name": request.get("event_name")})
    except WebSocketDisconnect:
        pass


uvicorn.run(
    app,
    host="127.0.0.1",
    port=PORT,
    loop="uvloop" if UVLOOP else "asyncio",
    ws_per_message_deflate=False,
    log_level="error",
    access_log=False,
)
