# mypy: ignore-errors
"""aiorest-ws behind uvicorn, as any application of ASGI: `python asgi_ours.py PORT uvloop|asyncio`."""

import uvicorn
from handlers import PORT, UVLOOP

from aiorest_ws import Application, SimpleRouter

router = SimpleRouter()


@router.get("/hello")
def hello(request):
    return "Hello, world!"


app = Application(router=router).asgi(path="/")


def serve(ws):
    uvicorn.run(
        app,
        port=PORT,
        loop="uvloop" if UVLOOP else "asyncio",
        ws=ws,
        ws_per_message_deflate=False,
        log_level="error",
        access_log=False,
    )


if __name__ == "__main__":
    serve("auto")
