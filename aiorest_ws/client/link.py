"""Messages in, replies and pushes out, whatever becomes of the connection."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, Protocol

from aiorest_ws.client.alive import Pulse
from aiorest_ws.client.calls import Call, Calls, Request, Telling, late
from aiorest_ws.client.connecting import Connector
from aiorest_ws.client.errors import ConnectionLost, UnexpectedReply
from aiorest_ws.client.inbox import State
from aiorest_ws.client.messages import decode, encoder_of
from aiorest_ws.client.reconnecting import Backoff
from aiorest_ws.client.tokens import TokenSource
from aiorest_ws.client.wire import Address, Wire

__all__ = ("Hooks", "Link", "LinkOptions")

logger = logging.getLogger("aiorest_ws.client")

_WAITS = "GET"
_FOREIGN = "is it a server of aiorest-ws?"


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """How a client behaves: `form` of messages; seconds, but for `queue` and `max_in_flight`, which count calls."""

    form: str = "json"
    backoff: tuple[float, float] = (0.5, 20.0)
    ping_after: float = 25.0
    dead_after: float = 10.0
    queue: int = 256
    max_in_flight: int = 48

    def __post_init__(self) -> None:
        least, most = self.backoff
        if not 0 <= least <= most:
            raise ValueError(f"backoff must be seconds, the least and the most, got {self.backoff!r:.100}")
        for name in ("ping_after", "dead_after", "max_in_flight"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0, got {getattr(self, name)!r:.100}")
        if self.queue < 0:
            raise ValueError(f"queue must be 0 or more calls, got {self.queue!r:.100}")


class Hooks(Protocol):
    """Who is told of what comes; none of it is user code."""

    def on_push(self, message: dict[str, Any], size: int) -> None: ...
    def on_state(self, state: State) -> None: ...
    def on_token(self) -> None: ...
    def on_user(self) -> None: ...


class Link:
    """One peer, and what is asked of it.

    connector    the connection, and the token
    """

    def __init__(self, address: Address, token: TokenSource, options: LinkOptions, hooks: Hooks) -> None:
        self.connector = Connector(address, token, Backoff(*options.backoff), self)
        self._url = address.shown
        self._options = options
        self._on_push = hooks.on_push
        self.on_state, self.on_token, self.on_user = hooks.on_state, hooks.on_token, hooks.on_user  # see `Told`
        self._encode = encoder_of(options.form)
        self._is_text = options.form == "json"
        self._calls = Calls(options.max_in_flight)
        self._last = 0
        self._wake = asyncio.Event()
        self._is_known = False  # the server has said something that makes sense

    # What is asked

    @property
    def is_open(self) -> bool:
        return self.connector.wire is not None

    def message_of(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        """Give a message with the next id; what of `more` is None is left out."""
        self._last += 1
        said = {name: value for name, value in more.items() if value is not None}
        return {"id": self._last, "method": method, "url": url, **said}

    async def ask(self, message: dict[str, Any], timeout: float | None, *, repeats: bool = False) -> dict[str, Any]:
        """Give the reply, whatever its status; at 401 it is asked once more, with another token.

        Raises ConnectionLost, TimedOut, UnexpectedReply; TypeError for what cannot be said.
        """
        connector = self.connector
        connector.begin()
        tokens = connector.tokens
        if connector.wire is not None and tokens.is_due():
            await connector.renewed()
        token = tokens.value if connector.wire is not None else None
        reply = await self._asked(message, timeout, repeats)
        if reply["status"] != 401 or not tokens.can_renew:
            return reply
        if not await connector.has_other(connector.handshake_token if token is None else token):
            return reply
        self._last += 1
        return await self._asked(message | {"id": self._last}, timeout, repeats)

    async def _asked(self, message: dict[str, Any], timeout: float | None, repeats: bool) -> dict[str, Any]:
        call = Request(message["id"], self.payload_of(message), stays=message["method"] == _WAITS, repeats=repeats)
        self.submit(call, timeout)
        try:
            return await call.future
        finally:
            if not call.is_over:  # cancelled
                self.give_up(call)

    def payload_of(self, message: dict[str, Any]) -> bytes:
        """Give a message as it is sent, with a token if it needs one. Raises TypeError."""
        token = self.connector.message_token
        return self._encode(message if token is None else message | {"token": token})

    def submit(self, call: Call, timeout: float | None) -> None:
        """Have a call sent when there is room, and a connection. Raises ConnectionLost if it is not to wait for one."""
        calls = self._calls
        if self.connector.wire is None:
            self._check_waits(call)
            calls.waiting.append(call)
        elif calls.waiting or calls.is_full:
            calls.waiting.append(call)
        else:
            calls.launch(call)
            self._wake.set()
        if timeout is not None:
            call.timer = asyncio.get_running_loop().call_later(timeout, self._late, call, timeout)

    def _check_waits(self, call: Call) -> None:
        state = self.connector.state
        if state.status == "closed":
            raise self.connector.why_closed()
        if state.status == "connecting":
            return
        if not (call.stays or call.repeats):
            raise ConnectionLost(
                f"{state.reason}: it was not sent, and only GET waits for the next connection, "
                "or what has an idempotency_key"
            )
        if len(self._calls.waiting) >= self._options.queue:
            raise ConnectionLost(f"{state.reason}: it was not sent, as {self._options.queue} calls wait already")

    def give_up(self, call: Call) -> None:
        """Let go of a call that nobody wants any more."""
        self._calls.give_up(call)
        if self.is_open and self._calls.fill():
            self._wake.set()
        if self._calls.is_stuck() and self.is_open:
            self.connector.again(ConnectionLost(f"none of {self._calls.most} calls was answered in time"))

    def tell(self, message: dict[str, Any]) -> None:
        """Send what takes no place, and whose reply nobody waits for."""
        if self.is_open:
            self._calls.outbox.append(Telling(message["id"], self.payload_of(message)))
            self._wake.set()

    def _late(self, call: Call, seconds: float) -> None:
        call.timer = None
        if call.is_over:
            return
        exc = late(seconds, self.connector.state.reason, may_have_run=call.may_have_run)
        self.give_up(call)
        call.fail(exc)

    # What becomes of the connection

    def on_loss(self, why: ConnectionLost, *, keeps: bool) -> None:
        for call in self._calls.drop(keeps=self._options.queue if keeps else 0):
            call.fail(why.of_call(may_have_run=call.may_have_run))

    async def live(self, wire: Wire) -> None:
        options = self._options
        self._is_known = False
        pulse = Pulse(wire, options.ping_after, options.dead_after, lambda: self._calls.is_full)
        writer = asyncio.get_running_loop().create_task(self._write(wire))
        self._calls.fill()
        self._wake.set()
        try:
            while True:
                self._take(await wire.receive())
        finally:
            pulse.stop()
            writer.cancel()

    async def _write(self, wire: Wire) -> None:
        outbox, wake, is_text = self._calls.outbox, self._wake, self._is_text
        try:
            while True:
                while outbox:
                    call = outbox.popleft()
                    call.is_sent = True
                    await wire.send(call.payload, is_text=is_text)
                wake.clear()
                await wake.wait()
        except ConnectionLost:
            pass  # the reader is told, too

    # What comes

    def _take(self, payload: bytes) -> None:
        try:
            message = decode(payload)
        except ValueError as exc:
            return self._puzzled(f"what came is no message ({exc}), {payload[:100]!r}")
        number = message.get("id")
        if number is None:
            if "version" not in message and "status" not in message and message.get("event_name") is None:
                return self._puzzled(f"a reply came without `id`: {message.get('detail', message)!r:.200}")
            self._is_known = True
            return self._on_push(message, len(payload))
        call = self._calls.landed(number)
        if self._calls.waiting and self._calls.fill():
            self._wake.set()
        if call is None or not call.finish():
            return None
        if type(message.get("status")) is not int:
            return call.fail(UnexpectedReply(f"a reply without a status, {_FOREIGN} {message!r:.200}", message))
        if not self._is_known:
            self._is_known = True
            self.connector.is_trusted()
        return call.take(message)

    def _puzzled(self, what: str) -> None:
        """Let calls fail that would wait in vain: who says that has said nothing else yet."""
        logger.warning("%s: what came is no reply, and no event", self._url)
        if self._is_known:
            return
        for number in list(self._calls.flying):
            call = self._calls.landed(number)
            if call is not None and call.finish():
                call.fail(UnexpectedReply(f"{what}: {_FOREIGN}"))
