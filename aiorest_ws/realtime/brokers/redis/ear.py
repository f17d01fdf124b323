"""Channels → what is said on them, over one connection that does nothing else, and is asked whether it still hears."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from redis.exceptions import MovedError, ResponseError

from aiorest_ws.exceptions import BrokerUnavailable
from aiorest_ws.logs.throttled import Complaints, printable
from aiorest_ws.realtime.brokers.redis.line import about
from aiorest_ws.realtime.brokers.redis.link import Link, logger
from aiorest_ws.realtime.timers import Timer, Timers

__all__ = ("Ear",)

_TOGETHER = 500  # channels in one command
_ALL = 10  # times as long as one answer it may take until all that is wanted is heard


class Ear(Link):
    """What hears channels: those that are wanted, again on each connection.

    silence      seconds without a word after which it is asked whether it still hears
    on_message   called with a channel and what was said
    on_heard     called when all that is wanted is heard, on each connection
    on_moved     called when another server has one of the channels now
    is_caught    all that is wanted is heard
    run_id       of the server
    """

    def __init__(
        self,
        name: str,
        dial: Callable[[], Any],
        timers: Timers,
        timeout: float,
        wait: Callable[[int], float],
        silence: float,
    ) -> None:
        super().__init__(name, dial, timers, timeout, wait)
        self.silence = silence
        self.is_sharded = False
        self.run_id = ""
        self.on_message: Callable[[bytes, bytes], None] = lambda channel, data: None
        self.on_heard: Callable[[], None] = lambda: None
        self.on_moved: Callable[[], None] = lambda: None
        self._wanted: dict[bytes, asyncio.Future[None] | None] = {}  # with who waits until it is heard
        self._asked: dict[bytes, int] = {}  # how often, without an answer
        self._commands: list[tuple[Any, ...]] = []
        self._wake = asyncio.Event()
        self._pings: deque[asyncio.Future[None]] = deque()
        self._heard_at = 0.0
        self._look: Timer | None = None
        self._is_asked = False
        self._complaints = Complaints(logger)
        self.is_caught = False

    @property
    def subscribe(self) -> str:
        return "SSUBSCRIBE" if self.is_sharded else "SUBSCRIBE"

    def hear(self, channel: bytes) -> asyncio.Future[None]:
        """Want a channel; gives a future that is done once it is heard."""
        waits = self._wanted.get(channel)
        if waits is None or (waits.done() and (waits.cancelled() or waits.exception() is not None)):
            waits = self._wanted[channel] = self._future()
            if self.is_down:
                self._refuse(waits)
            elif self.is_up:
                self._ask(channel)
        return waits

    def leave(self, channel: bytes) -> None:
        """Want it no longer."""
        waits = self._wanted.pop(channel, None)
        if waits is not None and not waits.done():
            waits.cancel()
        if self.is_up:
            self._send("SUNSUBSCRIBE" if self.is_sharded else "UNSUBSCRIBE", channel)

    def ping(self) -> asyncio.Future[None]:
        """Give a future that is done when all is heard that was said before."""
        future = self._future()
        if self.is_up:
            self._pings.append(future)
            self._send("PING")
        else:
            self._refuse(future)
        return future

    def _future(self, times: int = 1) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

        def late() -> None:
            if not future.done():
                self._refuse(future)

        timer = self.timers.after(self.timeout * times, late)
        future.add_done_callback(lambda _: timer.cancel())
        return future

    def _refuse(self, future: asyncio.Future[None]) -> None:
        future.set_exception(BrokerUnavailable("the broker cannot be reached: nothing is heard"))

    # What it does

    async def _greet(self, connection: Any) -> None:
        await connection.send_command("INFO", "server")
        try:
            self.run_id = about(await connection.read_response(timeout=math.inf)).get("run_id", "")
        except ResponseError:
            self.run_id = ""

    def _begin(self) -> None:
        self._commands.clear()
        self._asked.clear()
        self._ask(*self._wanted)
        self._send("PING")  # it is answered when all is heard
        ping = self._future(_ALL)
        ping.add_done_callback(self._caught)
        self._pings.append(ping)
        self._heard()
        self._look = self.timers.after(self.silence, self._watch)

    def _caught(self, ping: asyncio.Future[None]) -> None:
        if ping.exception() is None:
            self.is_caught = True
            self.on_heard()
        else:
            self.drop(f"it did not answer within {self.timeout * _ALL:g} s")

    def _ask(self, *channels: bytes) -> None:
        for channel in channels:
            self._asked[channel] = self._asked.get(channel, 0) + 1
        for group in _grouped(channels, 1 if self.is_sharded else _TOGETHER):  # of one slot, those of a cluster
            self._send(self.subscribe, *group)

    def _send(self, *args: Any) -> None:
        self._commands.append(args)
        self._wake.set()

    async def _write(self, connection: Any) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._commands = self._commands, []
            if batch:
                await connection.send_packed_command(connection.pack_commands(batch), check_health=False)

    async def _read(self, connection: Any) -> None:
        while True:
            try:
                said = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            except MovedError:
                self.on_moved()
                raise  # on the next connection all that is still here is heard
            self._heard()
            if type(said) is not list:
                self._pong()  # while no channel is heard
                continue
            kind = said[0]
            if kind in (b"message", b"smessage"):
                self._message(said[1], said[2])
            elif kind in (b"subscribe", b"ssubscribe"):
                self._is_heard(said[1])
            elif kind == b"pong":
                self._pong()
            elif kind == b"sunsubscribe" and said[1] in self._wanted:
                self._moved(said[1])

    def _message(self, channel: bytes, data: bytes) -> None:
        try:
            self.on_message(channel, data)
        except Exception as exc:  # the next one must still be heard
            self._complaints.write(logging.ERROR, f"cannot take what was said on {printable(channel)}", exc)

    def _is_heard(self, channel: bytes) -> None:
        self._asked[channel] = left = self._asked.get(channel, 1) - 1
        if left > 0:
            return  # it was left meanwhile, and is wanted again
        del self._asked[channel]
        waits = self._wanted.get(channel)
        if waits is not None and not waits.done():
            waits.set_result(None)

    def _moved(self, channel: bytes) -> None:
        """A channel that is heard here no longer; but what was left and is wanted again is on its way."""
        if channel not in self._asked:
            self.on_moved()
            self.drop("a channel has another server now")

    def _pong(self) -> None:
        if self._pings:
            ping = self._pings.popleft()
            if not ping.done():
                ping.set_result(None)

    # Its faults

    def _heard(self) -> None:
        self._heard_at = self.timers.now()
        self._is_asked = False

    def _watch(self) -> None:
        """Ask, after a silence, whether it still hears; one that does not answer is deaf, however open it looks."""
        now = self.timers.now()
        if self._is_asked:
            self.drop(f"it is deaf: nothing was heard for {now - self._heard_at:.0f} s, nor an answer")
            return
        left = self._heard_at + self.silence - now
        if left <= 0:
            self._is_asked = True
            self.ping()
            left = self.timeout
        self._look = self.timers.after(left, self._watch)

    def _lose(self, why: str) -> None:
        self.is_caught = False
        if self._look is not None:
            self._look.cancel()
            self._look = None
        pings, self._pings = self._pings, deque()
        for ping in pings:
            if not ping.done():
                self._refuse(ping)

    def _give_up(self, why: str) -> None:
        for waits in self._wanted.values():
            if waits is not None and not waits.done():
                self._refuse(waits)


def _grouped(channels: tuple[bytes, ...], size: int) -> Iterable[tuple[bytes, ...]]:
    return (channels[at : at + size] for at in range(0, len(channels), size))
