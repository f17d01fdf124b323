"""A shop in FastAPI that tells its clients of changes: HTTP is FastAPI's, `/ws` is ours. Start it either way:

uvicorn main:app
uvicorn main:app --ws aiorest_ws.asgi:Protocol   # /ws at full speed, past FastAPI and its middlewares

Then start `client.py`. FastAPI and uvicorn are to be installed: pip install fastapi 'uvicorn[standard]'
"""

from contextlib import asynccontextmanager
from itertools import count

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from starlette.routing import WebSocketRoute

from aiorest_ws import Application, HTTPError, Live, SimpleRouter


class Order(BaseModel):
    item: str
    state: str = "new"


orders: dict[int, Order] = {}
numbers = count(1)

# What goes over the WebSocket: clients ask, and subscribe to what they see.
router = SimpleRouter()


@router.get("/orders/{number:int}", live=Live(shared=True))
def watch(request, number):
    if number not in orders:
        raise HTTPError(404, "no such order")
    return orders[number]


@router.patch("/orders/{number:int}", changes=["/orders/{number}"])
def change(request, number, data: Order):
    orders[number] = data


shop = Application(router)
socket = shop.asgi(path="/ws")


# The application that was there before.
@asynccontextmanager
async def lifespan(app):
    async with socket:
        yield


app = FastAPI(lifespan=lifespan)
app.router.routes.append(WebSocketRoute("/ws", socket))


@app.post("/orders", status_code=201)
async def add(order: Order) -> int:
    number = next(numbers)
    orders[number] = order
    return number


@app.put("/orders/{number}/state")
async def move(number: int, state: str) -> Order:
    if number not in orders:
        raise HTTPException(404, "no such order")
    orders[number].state = state
    shop.live.changed(f"/orders/{number}")  # whoever has subscribed is told
    return orders[number]
