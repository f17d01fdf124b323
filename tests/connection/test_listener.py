"""What a connection asks of its listener is what the factory has."""

from __future__ import annotations

import asyncio

from aiorest_ws import RequestHandlerFactory, SimpleRouter
from aiorest_ws.connection.listener import Listener
from tests.serving import asynchronous


@asynchronous
async def test_factory_is_a_listener() -> None:
    factory = RequestHandlerFactory("ws://127.0.0.1:80", router=SimpleRouter(), loop=asyncio.get_running_loop())
    listener: Listener = factory
    asked = {*Listener.__annotations__, *(name for name in vars(Listener) if not name.startswith("_"))}
    assert {"limits", "pipeline", "admissions", "failures", "arrive"} <= asked
    assert [name for name in sorted(asked) if not hasattr(listener, name)] == []
