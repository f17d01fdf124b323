# mypy: ignore-errors
"""An ASGI app of two lines on uvicorn, with httptools: what uvicorn itself costs."""

import uvicorn
from handlers import PORT, UVLOOP

BODY = b'"Hello, world!"'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"15")]


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


uvicorn.run(
    app,
    port=PORT,
    loop="uvloop" if UVLOOP else "asyncio",
    http="httptools",
    log_level="error",
    access_log=False,
    lifespan="off",
)
