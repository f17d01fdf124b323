"""The server of the tests: prints its port when it listens, and ends with its standard input."""

import asyncio
import sys

from aiorest_ws import Application, Live, Request, SimpleRouter
from aiorest_ws.exceptions import HTTPError

router = SimpleRouter()
items: list[dict[str, int]] = []
value = {"n": 0}


@router.get("/orders/{id:int}")
async def order(request: Request, id: int) -> dict[str, int]:
    if id == 404:
        raise HTTPError(404, "no such order")
    return {"id": id}


@router.get("/never")
async def never(request: Request) -> None:
    await asyncio.Event().wait()


@router.get("/value", live=Live(shared=True, interval=0.0))
def state(request: Request) -> dict[str, int]:
    return value


@router.put("/value", changes=["/value"])
def put(request: Request) -> None:
    value["n"] = request.data["n"]


@router.get("/log", live=Live(mode="log", shared=True, key="n"))
def log(request: Request) -> list[dict[str, int]]:
    return items


@router.post("/log")
async def add(request: Request) -> None:
    items.append({"n": len(items)})
    await request.app.live.publish("/log", items[-1])


@router.post("/event")
def event(request: Request) -> None:
    request.connection.send_event("hello", {"who": "you"})


@router.post("/drop")
def drop(request: Request) -> None:
    request.connection.close(1012)


async def main() -> None:
    app = Application(router)
    await app.start(port=0)
    print(app.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await app.stop()


asyncio.run(main())
