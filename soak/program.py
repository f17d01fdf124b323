"""What a soak of many processes is served: `python -m soak.program '{"workers": 2, "folder": "/tmp/x"}'`.

In `folder`, which all workers see, `counts` is the data that the application has: of each writer the number of its last
item; and `begun` has a line for each POST of /notes whose handler has begun.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import sys
from pathlib import Path
from typing import Any

from aiorest_ws import Application, Live, Request, SimpleRouter

__all__ = ("WRITERS", "make_folder")

WRITERS = 4
_SLOT = 8  # bytes


def make_folder(folder: Path) -> None:
    (folder / "counts").write_bytes(bytes(WRITERS * _SLOT))
    (folder / "begun").touch()


def make_router(folder: Path) -> SimpleRouter:
    router = SimpleRouter()
    with (folder / "counts").open("r+b") as file:
        counts = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")
    begun = os.open(folder / "begun", os.O_WRONLY | os.O_APPEND)

    @router.get("/pid")
    def pid(request: Request) -> int:
        return os.getpid()

    # As much is kept as comes while a client is away for some seconds.
    @router.get("/numbers", live=Live(mode="log", shared=True, history=10_000, history_bytes=8 << 20))
    def numbers(request: Request) -> list[int]:
        return counts.tolist()

    @router.post("/numbers")
    async def publish(request: Request, writer: int, number: int) -> str | None:
        """Store the next number of a writer, then tell; gives its version."""
        counts[writer] = number
        version: str | None = await request.app.live.publish("/numbers", [writer, number])
        return version

    @router.post("/notes")
    async def note(request: Request, data: str, seconds: float = 0.0) -> str:
        os.write(begun, f"{data}\n".encode())
        await asyncio.sleep(seconds)
        return data

    return router


def main() -> None:
    options = json.loads(sys.argv[1])
    router = make_router(Path(options.pop("folder")))
    middlewares = _middlewares(options.pop("secret", None))
    application = Application(router=router, middlewares=middlewares)
    application.run(**{"port": 0, "log_level": "warn", "max_history": None} | options)


def _middlewares(secret: str | None) -> list[Any]:
    """Give what looks at tokens, if there is a secret to look at them with."""
    if secret is None:
        return []
    from aiorest_ws.auth.token.managers import JSONWebTokenManager
    from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware

    return [JSONWebTokenMiddleware(JSONWebTokenManager(secret_key=secret), grace=1)]


if __name__ == "__main__":
    main()
