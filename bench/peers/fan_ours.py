"""aiorest-ws: a log that is subscribed to, and published by a route: `python fan_ours.py PORT uvloop|asyncio`."""

from __future__ import annotations

import sys
from typing import Any

from aiorest_ws import Application, Live, SimpleRouter

router = SimpleRouter()


@router.get("/news", live=Live(mode="log", shared=True))
def news(request: Any) -> list[Any]:
    return []


@router.post("/news")
def publish(request: Any) -> None:
    request.app.live.publish("/news", request.data)


if __name__ == "__main__":
    Application(router=router).run(port=int(sys.argv[1]), loop=sys.argv[2])  # type: ignore[arg-type]
