"""What docs/deploy/ deploys: `aiorest-ws run main:app`."""

import os
import socket

from aiorest_ws import Application, Live, SimpleRouter

router = SimpleRouter()


@router.get("/hello")
def hello(request, name: str = "world"):
    return f"Hello, {name}!"


@router.get("/who")
def who(request):
    """Which process answers, and whom it takes for its client."""
    return {"host": socket.gethostname(), "process": os.getpid(), "client": request.connection.peer}


@router.get("/news", live=Live(mode="log", shared=True))
def news(request):
    return []


@router.post("/news")
async def tell(request):
    await request.app.live.publish("/news", request.data)


app = Application(router, health_path="/healthz")
