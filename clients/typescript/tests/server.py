"""The server of the tests: prints its port when it listens, and ends with its standard input."""

import asyncio
import sys

from msgspec import Struct

from aiorest_ws import Application, Live, Request, SimpleRouter
from aiorest_ws.exceptions import HTTPError

router = SimpleRouter()


class NewOrder(Struct):
    title: str
    amount: int = 1


class Order(Struct):
    id: int
    title: str = "something"
    amount: int = 1


class Value(Struct):
    n: int


items: list[Value] = []
state = Value(0)


@router.get("/orders/{id:int}", response_model=Order)
async def order(request: Request, id: int) -> Order:  # noqa: A002
    if id == 404:
        raise HTTPError(404, "no such order")
    return Order(id)


@router.get("/orders", response_model=list[Order])
def orders(request: Request, limit: int = 2) -> list[Order]:
    return [Order(number) for number in range(limit)]


@router.post("/orders", response_model=Order, status=201)
def new_order(request: Request, data: NewOrder) -> Order:
    return Order(7, data.title, data.amount)


@router.delete("/orders/{id:int}", status=204)
def no_order(request: Request, id: int) -> None:  # noqa: A002
    pass


@router.get("/never")
async def never(request: Request) -> None:
    await asyncio.Event().wait()


@router.get("/value", live=Live(shared=True, interval=0.0), response_model=Value)
def value(request: Request) -> Value:
    return state


@router.put("/value", changes=["/value"])
def put(request: Request, data: Value) -> None:
    state.n = data.n


@router.get("/log", live=Live(mode="log", shared=True, key="n"), response_model=list[Value])
def log(request: Request) -> list[Value]:
    return items


@router.post("/log")
async def add(request: Request) -> None:
    items.append(Value(len(items)))
    await request.app.live.publish("/log", items[-1])


@router.post("/event")
def event(request: Request) -> None:
    request.connection.send_event("hello", {"who": "you"})


@router.post("/drop")
def drop(request: Request) -> None:
    request.connection.close(1012)


app = Application(router)


async def main() -> None:
    await app.start(port=0)
    print(app.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await app.stop()


if __name__ == "__main__":
    asyncio.run(main())
