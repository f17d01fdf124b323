"""One connection after the other: opened with a token, read until it is lost, and opened again after a while."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from aiorest_ws.client.errors import ClientClosed, ConnectionLost
from aiorest_ws.client.inbox import State
from aiorest_ws.client.reconnecting import LONG_LIFE, Backoff, is_final, is_refused_token
from aiorest_ws.client.tokens import Tokens, TokenSource
from aiorest_ws.client.wire import Address, Wire

__all__ = ("Connector", "Told")

_TOKEN_FAILED = 10.0  # seconds after which a function that gave no token is asked again


class Told(Protocol):
    """Who is told of what happens to the connection; none of it is user code."""

    def on_state(self, state: State) -> None: ...
    def on_loss(self, why: ConnectionLost, *, keeps: bool) -> None:
        """What was under way is lost; what waits may be kept for the next connection."""

    def on_token(self) -> None:
        """There is another token than the connection knows."""

    def on_user(self) -> None:
        """What was known is another user's."""

    async def live(self, wire: Wire) -> None:
        """Read, and write, until the connection is lost: raises ConnectionLost."""


class Connector:
    """See the module.

    wire     the connection, None if there is none
    state    how it stands
    handshake_token    what the last connection was asked for with
    """

    def __init__(self, address: Address, token: TokenSource, backoff: Backoff, told: Told) -> None:
        self.tokens = Tokens(token, address.timeout)
        self.state = State("connecting")
        self.wire: Wire | None = None
        self._address, self._backoff, self._told = address, backoff, told
        self._process = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: asyncio.Task[None] | None = None
        self._outcome: asyncio.Future[Exception | None] | None = None  # of the try that is under way
        self._hurry = asyncio.Event()
        self._was_open = self._was_refused = False
        self._turn = 0  # of users
        self._user: tuple[Any, Any] | None = None  # as their token says
        self.handshake_token: str | None = None
        self._renewal: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._retry = 0.0

    # Its beginning and its end

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Give the loop that it belongs to. Raises RuntimeError in another one, and in another process."""
        if self._process != os.getpid():
            raise RuntimeError("this client was made in another process: make one after the fork")
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise RuntimeError("this client belongs to another event loop: make one in each")
            self._loop = loop
        return loop

    def begin(self) -> None:
        """Start to connect, if that was not done. Raises what it was closed for, RuntimeError."""
        loop = self.loop
        if self.state.status == "closed":
            raise self.why_closed()
        if self._runner is None:
            self._expect()
            self._runner = loop.create_task(self._run(), name="aiorest_ws.client")

    async def opened(self) -> None:
        """Wait until there is a connection, or the next try to get one has failed: raises why."""
        self.begin()
        if self.wire is None:
            self._expect()
        assert self._outcome is not None
        why = await asyncio.shield(self._outcome)
        if why is not None:
            raise why.to_raise() if isinstance(why, ConnectionLost) else why

    async def close(self) -> None:
        """End it. May be called at any time, and again."""
        _ = self.loop
        wire, self.wire = self.wire, None
        self._end(ClientClosed("the client was closed"))
        if wire is not None:
            await wire.close()
        if self._runner is not None and self._runner is not asyncio.current_task():
            self._runner.cancel()
            await asyncio.wait([self._runner])

    def _end(self, why: ConnectionLost) -> None:
        """Take note that there will be no connection any more."""
        if self.state.status == "closed":
            return
        if self._renewal is not None:
            self._renewal.cancel()
        self.tokens.cancel()
        for task in list(self._tasks):
            task.cancel()
        self._set(State("closed", why))
        self._told.on_loss(why, keeps=False)
        self._settle(why)
        self._outcome = None

    def why_closed(self) -> ConnectionLost:
        """Give what a call is told that comes too late."""
        reason = self.state.reason
        if isinstance(reason, ConnectionLost) and not isinstance(reason, ClientClosed):
            return reason.of_call(may_have_run=False)
        return ClientClosed("the client is closed: make another one")

    def _expect(self) -> None:
        if self._outcome is None or self._outcome.done():
            self._outcome = self.loop.create_future()

    def _settle(self, why: Exception | None) -> None:
        """Tell who waits for a connection that there is one, or why not."""
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(why)

    def _set(self, state: State) -> None:
        self.state = state
        self._told.on_state(state)

    # Connections

    async def _run(self) -> None:
        """Connect, and again, until it makes no more sense."""
        loop = asyncio.get_running_loop()
        try:
            while self.state.status != "closed":
                wire, began = None, loop.time()
                try:
                    wire = await self._connected()
                    began = loop.time()
                    await self._live(wire)
                except ConnectionLost as exc:
                    loss = exc.with_traceback(None)  # it is kept as the reason, and would keep the connection
                await self._lost(loss, wire, loop.time() - began)
        except Exception as exc:  # of a function for tokens at the first try, or a fault of ours: nobody is to wait on
            self._settle(exc)
            self._end(ConnectionLost(f"the client has ended: {exc!r}"))

    async def _connected(self) -> Wire:
        turn = self._turn
        try:
            token = await self.tokens.current()
        except Exception as exc:  # of a function of the program's
            if not self._was_open:
                raise
            raise ConnectionLost(f"there is no token: {exc!r}") from exc
        self._see_user()
        self.handshake_token = token
        wire = await self._address.connect(token)
        if turn != self._turn:
            wire.end(ConnectionLost("the user has changed"))
            raise wire.loss()
        return wire

    async def _live(self, wire: Wire) -> None:
        self.wire = wire
        self._was_open = True
        self._hurry.clear()
        try:
            self._set(State("open"))
            self._settle(None)
            self._plan_renewal()
            await self._told.live(wire)
        finally:
            if self.wire is wire:
                self.wire = None

    async def _lost(self, exc: ConnectionLost, wire: Wire | None, life: float) -> None:
        """Wait until it is time to try again, or end it."""
        if self.state.status == "closed":
            return
        life = life if wire is not None else 0.0
        if life >= LONG_LIFE:
            self._was_refused = False
        hurries = self._hurry.is_set()
        if not hurries and is_refused_token(exc):
            if wire is not None:
                self._go_offline(exc, None)
            if await self._has_other_token():
                if wire is None:
                    return  # at once, with that
            else:
                self._end(exc)
                return
        elif not hurries and is_final(exc, was_open=self._was_open):
            self._end(exc)
            return
        retry, self._retry = max(self._retry, getattr(exc, "retry", None) or 0.0), 0.0
        wait = 0.0 if hurries else self._backoff.after(life, retry)
        due = self.loop.time() + wait  # whatever is to be done meanwhile
        self._go_offline(exc, wait)
        if not hurries:
            self._settle(exc)
        if self.tokens.is_due(due):
            self._spawn(self._ask_ahead())
        if wire is not None:
            await wire.close()
        await self._pause(due)

    def _go_offline(self, exc: ConnectionLost, wait: float | None) -> None:
        self._set(State("offline", exc, wait))
        self._told.on_loss(exc, keeps=True)

    async def _pause(self, due: float) -> None:
        try:
            async with asyncio.timeout_at(due):
                await self._hurry.wait()
        except TimeoutError:
            pass
        self._hurry.clear()

    def again(self, why: ConnectionLost) -> None:
        """Let go of the connection, and take another one at once."""
        self._expect()
        self._hurry.set()
        wire, self.wire = self.wire, None
        if wire is not None:
            self._set(State("offline", why, 0.0))
            wire.end(why)

    def wait_besides(self, seconds: float) -> None:
        """Wait so much longer before the next try: the server asks for it."""
        self._retry = max(self._retry, seconds)

    # Tokens

    @property
    def message_token(self) -> str | None:
        """Give the token that a message needs beside the handshake's; None if the connection knows it."""
        token = self.tokens.value
        return token if self.wire is not None and token != self.handshake_token else None

    def is_trusted(self) -> None:
        """Take note that the server has answered somebody with this token."""
        self._was_refused = False

    def become(self, token: TokenSource) -> None:
        """Go on as another user, over another connection; what is under way fails."""
        tokens = Tokens(token, self._address.timeout)
        self.begin()
        self.tokens.cancel()
        self.tokens, self._was_refused = tokens, False
        self._turn += 1
        self._forget(tokens.subject)
        self.again(ConnectionLost("the user has changed"))

    def _see_user(self) -> None:
        """Forget what was another's, if the token says that it is another's."""
        subject, known = self.tokens.subject, self._user
        if subject is None or subject == known:
            return
        if known is None:
            self._user = subject
            return
        self._forget(subject)
        if self.wire is not None:
            self.again(ConnectionLost("the user has changed"))

    def _forget(self, user: tuple[Any, Any] | None) -> None:
        self._user = user
        self._told.on_user()
        self._told.on_loss(ConnectionLost("the user has changed"), keeps=False)

    async def _ask_ahead(self) -> None:
        """Ask for a token while there is time; if that fails, it is asked for again when it is needed."""
        with suppress(Exception):
            await self.tokens.renewed()

    async def renewed(self) -> None:
        """Have a fresh token, if one can be had."""
        try:
            await self.tokens.renewed()
        except Exception:  # `Tokens` has said so in the log
            self.tokens.postpone(_TOKEN_FAILED)
        else:
            self._see_user()

    async def has_other(self, refused: str | None) -> bool:
        """Tell whether there is another token than the one that was refused."""
        if self.tokens.value == refused:
            await self.renewed()
        return self.tokens.value is not None and self.tokens.value != refused

    async def _has_other_token(self) -> bool:
        if not self.tokens.can_renew or self._was_refused:
            return False
        self._was_refused = True
        return await self.has_other(self.handshake_token)

    def ask_for_other(self, refused: str | None, then: Callable[[bool], None]) -> None:
        """Have another token than the one that was refused, and say whether there is one."""

        async def ask() -> None:
            then(await self.has_other(refused))

        self._spawn(ask())

    def _plan_renewal(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
        due = self.tokens.due
        if self.tokens.can_renew and due is not None and self.state.status != "closed":
            self._renewal = self.loop.call_at(due, lambda: self._spawn(self._renew_in_time(due)))

    async def _renew_in_time(self, due: float) -> None:
        if self.tokens.due == due:  # else it was renewed meanwhile
            await self.renewed()
        if self.message_token is not None:
            self._told.on_token()
        self._plan_renewal()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
