"""An application → the same, running without listening, until the clients of one test have gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiorest_ws.routers import warn_if_empty
from aiorest_ws.server.patience import Patience
from aiorest_ws.server.shutdown import shut_down
from aiorest_ws.testing.passing import Passing

if TYPE_CHECKING:
    from aiorest_ws.app import Application
    from aiorest_ws.request import RequestHandlerFactory
    from aiorest_ws.server.lifespan import Lifespan

__all__ = ("Running",)


class Running:
    """An application that runs without listening, for the clients of one test; its lifespan is around them."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._lifespan: Lifespan | None = None
        self._lost: RuntimeError | None = None
        self.factory: RequestHandlerFactory
        self.passing: Passing

    async def start(self) -> None:
        self.factory = self._app.prepare()
        if self._app._server is not None:
            self.factory.context = self._app._server.lifespan.context
        if not self._app.is_running:  # else what is around it is there already
            lifespan = self._app.new_lifespan()
            await lifespan.start()
            self.factory.context = lifespan.context
            warn_if_empty(self.factory.router)
            lifespan.watch(self._on_lost)
            self._lifespan = lifespan
        self.passing = Passing.begin(self._app)

    def _on_lost(self, error: RuntimeError) -> None:
        self._lost = error

    async def stop(self) -> None:
        self.passing.end()
        patience = Patience()
        await patience.see_through(asyncio.ensure_future(self._end(patience)))
        if self._lost is not None:
            raise self._lost

    async def _end(self, patience: Patience) -> None:
        try:
            await shut_down(self.factory, grace=0, patience=patience)
        finally:
            if self._lifespan is not None:
                await self._lifespan.end(patience)
                self._app._loop = None
