# mypy: ignore-errors
"""aiorest-ws, whose handler takes 200 µs of CPU, in processes: `python burn_ours.py PORT PROCESSES`."""

from __future__ import annotations

import sys
from typing import Any

from handlers import burn

from aiorest_ws import Application, SimpleRouter

router = SimpleRouter()


@router.get("/burn")
def handler(request: Any) -> str:
    return burn(request)


async def ready(app: Any) -> None:
    print("ready", flush=True)


if __name__ == "__main__":
    Application(router=router, on_startup=[ready]).run(port=int(sys.argv[1]), loop="uvloop", workers=int(sys.argv[2]))
