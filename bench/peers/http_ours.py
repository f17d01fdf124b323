"""aiorest-ws with `http=True`: `python http_ours.py PORT uvloop|asyncio`."""

from __future__ import annotations

import sys
from typing import Any

from aiorest_ws import Application, SimpleRouter

router = SimpleRouter()


@router.get("/hello")
def hello(request: Any) -> str:
    return "Hello, world!"


if __name__ == "__main__":
    Application(router=router, http=True).run(port=int(sys.argv[1]), loop=sys.argv[2])  # type: ignore[arg-type]
