"""The application as an ASGI 3 application: the scopes `websocket`, `http` and `lifespan`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Self

from aiorest_ws.asgi import doors
from aiorest_ws.asgi.life import Life
from aiorest_ws.asgi.websocket import serve
from aiorest_ws.conf.checks import check_path
from aiorest_ws.server.calling import check_may_serve_in_loop

if TYPE_CHECKING:
    from aiorest_ws.app import Application
    from aiorest_ws.asgi.websocket import Receive, Scope, Send

__all__ = ("AsgiApplication",)


class AsgiApplication:
    """What `Application.asgi()` gives. It starts with the server's lifespan, else with the first connection.

    Who mounts it where no lifespan arrives ends it: `async with` around what serves starts and ends it, or `stop()`.
    All of an application are in one life, so that it is started once: whoever ends it does so for all of them.

    path    the only path that is served, whole or as it is below where this is mounted; None for that of the option
    """

    def __init__(self, app: Application, path: str | None = None) -> None:
        if path is not None:
            check_path("path", path)
        self.app = app
        self.served_path = None if path is None else "/" + path.strip("/")
        self._lives = app._lives
        self._stopping: set[asyncio.Future[None]] = set()
        self._has_said = False
        if self.served_path is not None:
            app._doors[self.served_path] = self  # a path that is named is served, whether anybody keeps what names it
            doors.name(self.served_path, self)
            self.say_who_is_not_asked()

    @property
    def life(self) -> Life | None:
        """What serves in this loop, None until it has started."""
        life = self._lives.get(asyncio.get_running_loop())
        return life if life is not None and life.has_begun else None

    def say_who_is_not_asked(self) -> None:
        """Say it once, as soon as somebody hears it."""
        if not self._has_said and self.served_path is not None:
            self._has_said = doors.say(self.served_path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "websocket":
            await serve(self, scope, receive, send)
        elif kind == "lifespan":
            await self._live(receive, send)
        elif kind == "http":
            await self._exchange(scope, receive, send)
        else:
            raise RuntimeError(f"scope must be websocket, http or lifespan, got {kind!r:.50}")

    if not TYPE_CHECKING:  # type checkers would take any name for an attribute

        def __getattr__(self, name: str) -> Any:
            """Say of what the application has that it is there: both are called `live`, or `app`, easily."""
            said = f"{type(self).__name__!r} object has no attribute {name!r}"
            where = f"live.{name}" if name in ("changed", "publish", "recheck") else name
            if where != name or (not name.startswith("_") and hasattr(type(vars(self).get("app")), name)):
                raise AttributeError(f"{said}: that of its application is app.{where}", name=name)
            raise AttributeError(said, name=name, obj=self)

    def __deepcopy__(self, memo: object) -> Self:
        """Give itself: hosts that copy their routes with what is mounted there mean the same application."""
        return self

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def start(self, context: Context | None = None) -> Life:
        """Start the application in this loop unless it is, and give its life. Raises ImproperlyConfigured.

        context    of the lifespan, None for a copy of that of now

        Who is cancelled while it waits here takes it from nobody else.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "an application runs in a loop of asyncio, and here is none: trio's is another"
            ) from None
        life = self._lives.get(loop)
        if life is None:
            for closed in [loop for loop in list(self._lives) if loop.is_closed()]:
                self._lives.pop(closed, None)
            life = self._lives[loop] = (context or copy_context()).run(Life, self.app)
        try:
            await life.start()
        except asyncio.CancelledError:
            raise
        except BaseException:  # raised again: the next one tries anew
            self._forget(life)
            raise
        self.say_who_is_not_asked()
        return life

    def stop_soon(self) -> None:
        """Begin to do what `stop` does, unless that has begun."""
        if self._stopping:
            return
        stopping = asyncio.ensure_future(self.stop())
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)

    async def stop(self) -> None:
        """Refuse new requests, let those in flight finish, close every connection; then end what was started."""
        life = self._lives.get(asyncio.get_running_loop())
        if life is not None:
            try:
                await life.stop()
            finally:
                self._forget(life)

    def _forget(self, life: Life) -> None:
        if self._lives.get(life.loop) is life:
            del self._lives[life.loop]

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        life = await self.start(Context())  # what is set in that of this request is nobody else's
        await life.exchange_at(self.served_path)(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Start and stop as the server says; what fails is told to it, which logs it, and raised for test clients."""
        await check_may_serve_in_loop("what serves app.asgi()")
        try:
            for stage, step in (("startup", self.start), ("shutdown", self.stop)):
                await _expect(receive, f"lifespan.{stage}")
                try:
                    await step()
                except Exception as exc:  # whatever the application raises: the server ends it, and says why
                    await send({"type": f"lifespan.{stage}.failed", "message": str(exc)})
                    raise
                await send({"type": f"lifespan.{stage}.complete"})
        except asyncio.CancelledError:  # some servers end it so
            await self.stop()
            raise


async def _expect(receive: Receive, kind: str) -> Mapping[str, Any]:
    """Give the next message. Raises RuntimeError if it is another than the one that is due."""
    message = await receive()
    if message["type"] != kind:
        raise RuntimeError(f"the server must send {kind} now, got {message['type']!r:.100}")
    return message
