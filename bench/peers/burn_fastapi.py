# mypy: ignore-errors
"""What fastapi_server.py serves, in processes that say when they are ready: `python burn_fastapi.py PORT PROCESSES`."""

import sys
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_server import app as one
from handlers import serve


@asynccontextmanager
async def lifespan(app):
    print("ready", flush=True)
    yield


app = FastAPI(lifespan=lifespan)
app.include_router(one.router)

if __name__ == "__main__":
    serve("burn_fastapi:app", uvloop=True, workers=int(sys.argv[2]))
