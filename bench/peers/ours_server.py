"""aiorest-ws, through its public API: `python ours_server.py PORT uvloop|asyncio`."""

from __future__ import annotations

import sys
from typing import Any

from aiorest_ws import Application, MethodBasedView, SimpleRouter


class Hello(MethodBasedView):
    def get(self, request: Any) -> str:
        return "Hello, world!"


class Echo(MethodBasedView):
    def post(self, request: Any) -> Any:
        return request.data


router = SimpleRouter()
router.register("/hello", Hello, "GET")
router.register("/echo", Echo, "POST")

if __name__ == "__main__":
    Application(router=router).run(port=int(sys.argv[1]), loop=sys.argv[2])  # type: ignore[arg-type]
