"""An ASGI app of the user's beside our routes: its lifespan, inside that of the application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import wraps
from typing import Any

__all__ = ("STATE", "with_lifespan")

logger = logging.getLogger("aiorest_ws")

STATE = "_state_of_http_app"
"""Of the application: what the lifespan of the app put into its `state`."""


def with_lifespan(own: Callable[[Any], Any] | None, asgi_app: Any) -> Callable[[Any], Any]:
    """Give a lifespan in which that of `asgi_app` is inside of `own`."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        manager: Any = nullcontext() if own is None else own(app)
        async with manager as given:
            life = _Life(asgi_app)
            setattr(app, STATE, life.state)
            try:
                await life.begin()
                yield None if given is manager else given
            finally:
                await life.end()

    if own is not None and hasattr(own, "__qualname__"):
        return wraps(own)(lifespan)  # what is said of it names it
    lifespan.__qualname__ = "of the ASGI app"
    return lifespan


class _Life:
    """The lifespan of an app, in a task of its own. An app that knows none has none.

    state    what it puts into it
    """

    def __init__(self, asgi_app: Any) -> None:
        self.state: dict[str, Any] = {}
        self._app = asgi_app
        self._told: asyncio.Queue[str] = asyncio.Queue()
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._has_begun = False
        self._is_heard = False  # it knows what a lifespan is
        self._has_said_why = False  # it has failed

    async def begin(self) -> None:
        """Start it. Raises RuntimeError if it says that it has failed."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        await self._tell("startup")
        self._has_begun = True

    async def end(self) -> None:
        """End it, and wait for that; one that has not begun is cancelled."""
        if self._task is None or self._task.done():
            return
        try:
            if self._has_begun:
                await self._tell("shutdown")
        finally:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._receive, self._send)
        except Exception as exc:  # that is how most say that they know no lifespan
            if self._has_begun:
                logger.exception("the lifespan of the ASGI app beside the routes failed")
            elif self._is_heard and not self._has_said_why:
                logger.warning("the ASGI app beside the routes is served, though its lifespan failed", exc_info=exc)
            else:
                logger.debug("the ASGI app beside the routes has no lifespan: %r", exc)

    async def _send(self, message: dict[str, Any]) -> None:
        self._has_said_why |= message["type"].endswith(".failed")
        await self._said.put(message)

    async def _receive(self) -> dict[str, str]:
        self._is_heard = True
        return {"type": f"lifespan.{await self._told.get()}"}

    async def _tell(self, stage: str) -> None:
        """Tell it, and wait until it is done, or until it has ended."""
        assert self._task is not None
        self._told.put_nowait(stage)
        kind = ""
        while kind not in (f"lifespan.{stage}.complete", f"lifespan.{stage}.failed"):
            answer = asyncio.ensure_future(self._said.get())
            try:
                await asyncio.wait((answer, self._task), return_when=asyncio.FIRST_COMPLETED)
            finally:
                answer.cancel()
            if not answer.done() and self._said.empty():
                return
            message = answer.result() if answer.done() else self._said.get_nowait()
            kind = message["type"]
        if kind.endswith("failed"):
            why = message.get("message", "")
            raise RuntimeError(f"the {stage} of the ASGI app beside the routes failed: {why}")
