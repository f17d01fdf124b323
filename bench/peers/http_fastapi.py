# mypy: ignore-errors
"""FastAPI on uvicorn, with httptools."""

import uvicorn
from fastapi import FastAPI
from handlers import PORT, UVLOOP

app = FastAPI()


@app.get("/hello")
async def hello():
    return "Hello, world!"


uvicorn.run(
    app, port=PORT, loop="uvloop" if UVLOOP else "asyncio", http="httptools", log_level="error", access_log=False
)
