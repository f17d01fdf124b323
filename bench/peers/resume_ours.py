# mypy: ignore-errors
"""aiorest-ws: a log of a hundred items: `python resume_ours.py PORT uvloop|asyncio`."""

from __future__ import annotations

import sys
from typing import Any

from handlers import NEWS

from aiorest_ws import Application, Live, SimpleRouter

router = SimpleRouter()
told: list[Any] = []


@router.get("/news", live=Live(mode="log", shared=True, history=len(NEWS), interval=0.05))
def news(request: Any) -> list[Any]:
    return told


@router.post("/news")
async def publish(request: Any) -> None:
    for item in NEWS:
        told.append(item)
        await request.app.live.publish("/news", item)


if __name__ == "__main__":
    Application(router=router).run(port=int(sys.argv[1]), loop=sys.argv[2])
