"""Commands → their replies, over one connection, in order; each within its time, or it has failed."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Any

from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError

from aiorest_ws.exceptions import BrokerUnavailable
from aiorest_ws.logs.throttled import Complaints
from aiorest_ws.realtime.brokers.redis.link import Link, logger, reason_of
from aiorest_ws.realtime.brokers.redis.scripts import Script, Scripts
from aiorest_ws.realtime.timers import Timer, Timers

try:
    from hiredis import pack_command as _pack
except ImportError:
    _pack = None  # type: ignore[assignment]

__all__ = ("Command", "Line", "about")

_MOST = 64 * 1024 * 1024  # bytes of commands that wait for their replies
_INFO = ("INFO", "server")
_NOT_SENT = "the broker cannot be reached: nothing was sent"


class Command:
    """One command on its way.

    take      what its reply means; None: itself
    until     when it has failed, a time of the line's timers; None: as long as the line makes progress
    script    which it runs
    server_at    where in `args` the server is to stand that takes it, which is known when it is sent; 0: nowhere
    """

    __slots__ = ("args", "future", "script", "server_at", "size", "take", "until")

    def __init__(
        self,
        args: tuple[Any, ...],
        future: asyncio.Future[Any],
        until: float | None,
        script: Script | None = None,
        take: Callable[[Any], Any] | None = None,
        server_at: int = 0,
    ) -> None:
        self.args = args
        self.future = future
        self.until = until
        self.script = script
        self.take = take
        self.server_at = server_at
        self.size = sum([len(arg) for arg in args if type(arg) is bytes])

    def at(self, run_id: str) -> tuple[Any, ...]:
        """Give it as the server with this `run_id` is to take it."""
        at = self.server_at
        return (*self.args[:at], run_id, *self.args[at:]) if at else self.args

    def is_late(self, now: float) -> bool:
        return self.until is not None and self.until <= now

    def done(self, reply: Any) -> None:
        if self.future.done():
            return
        try:
            value = reply if self.take is None else self.take(reply)
        except Exception as exc:
            self.future.set_exception(exc)
        else:
            self.future.set_result(value)

    def failed(self, why: str, note: str = "") -> None:
        """Fail, with what clients may know, and a note for who looks into it."""
        if not self.future.done():
            exc = BrokerUnavailable(why)
            if note:
                exc.add_note(note)
            self.future.set_exception(exc)


class Line(Link):
    """What takes commands, any number at once, and sends those of one turn together.

    scripts    those that the server is to know, by what it is
    server     what is known of it: what INFO says
    run_id     which server it is: another one after it was started anew
    on_redirect    called with a command and what the server said instead of a reply: whether somebody else does it
    """

    def __init__(
        self, name: str, dial: Callable[[], Any], timers: Timers, timeout: float, wait: Callable[[int], float]
    ) -> None:
        super().__init__(name, dial, timers, timeout, wait)
        self.scripts = Scripts("PUBLISH")
        self.server: dict[str, str] = {}
        self.on_redirect: Callable[[Command, ResponseError], bool] = lambda command, exc: False
        self._waiting: list[Command] = []
        self._sent: deque[Command] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._progress = 0.0
        self._complaints = Complaints(logger)
        self._look: Timer | None = None

    @property
    def run_id(self) -> str:
        return self.server.get("run_id", "")

    @property
    def is_cluster(self) -> bool:
        return "cluster" in (self.server.get("redis_mode"), self.server.get("server_mode"))  # of redis, of valkey

    def ask(self, *args: Any, is_patient: bool = False, take: Callable[[Any], Any] | None = None) -> Any:
        """Give a future of the reply to a command, or of what `take` makes of it.

        It fails with BrokerUnavailable if there is no server, at once where that is known; when the reply does not come
        in time, unless it `is_patient`; and if the server says so.
        """
        return self._put(args, is_patient, take)

    def run(
        self,
        script: Script,
        keys: tuple[bytes, ...],
        *args: Any,
        is_patient: bool = False,
        takes_server: bool = False,
        take: Callable[[Any], Any] | None = None,
    ) -> Any:
        """As `ask`, for a script; with `takes_server` it is told, before `args`, which server that is."""
        all_args = ("EVALSHA", script.sha, len(keys), *keys, *args)
        return self._put(all_args, is_patient, take, script, 3 + len(keys) if takes_server else 0)

    def _put(
        self,
        args: tuple[Any, ...],
        is_patient: bool,
        take: Callable[[Any], Any] | None,
        script: Script | None = None,
        server_at: int = 0,
    ) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_seen)  # it may be that nobody waits
        until = None if is_patient else self.timers.now() + self.timeout
        command = Command(args, future, until, script, take, server_at)
        if self.is_down:
            command.failed(_NOT_SENT)
        elif self._size + command.size > _MOST:
            command.failed(f"the broker is behind by {self._size:,} bytes: nothing was sent")
        else:
            self.put(command)
        return future

    def put(self, command: Command) -> None:
        """Have a command sent, which may have been sent before."""
        self._size += command.size
        self._waiting.append(command)
        self._wake.set()
        if self._look is None:
            self._look = self.timers.after(self.timeout, self._watch)

    # What it does

    async def _greet(self, connection: Any) -> None:
        await connection.send_command(*_INFO)
        try:
            self.server = about(await connection.read_response(timeout=math.inf))
        except ResponseError:
            self.server = {}  # not for everybody: then nobody can know whether it is the same
        self.scripts = Scripts("SPUBLISH" if self.is_cluster else "PUBLISH")
        for script in self.scripts.all:
            await connection.send_command("SCRIPT", "LOAD", script.text)
        for _ in self.scripts.all:
            await connection.read_response(timeout=math.inf)

    def _begin(self) -> None:
        self._progress = self.timers.now()
        if self._waiting:
            self._wake.set()

    async def _write(self, connection: Any) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            self._sent.extend(batch)
            run_id = self.run_id
            commands = [command.at(run_id) for command in batch]
            await connection.send_packed_command(_packed(connection, commands), check_health=False)

    async def _read(self, connection: Any) -> None:
        while True:
            try:
                reply = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            except ResponseError as exc:
                reply = exc
            self._progress = self.timers.now()
            command = self._sent.popleft()
            self._size -= command.size
            if isinstance(reply, ResponseError):
                self._refused(command, reply)
            else:
                command.done(reply)

    def _refused(self, command: Command, exc: ResponseError) -> None:
        """Take what the server says instead of a reply."""
        if isinstance(exc, NoScriptError) and command.script is not None:
            command.args = ("EVAL", command.script.text, *command.args[2:])
            command.script = None
            self.put(command)
            return
        if self.on_redirect(command, exc):
            return
        why = reason_of(exc)
        self._complaints.write(logging.ERROR, f"redis at {self.name} refuses {command.args[0]}: {why}")
        command.failed("the broker refuses", why)
        if isinstance(exc, ReadOnlyError):
            self.drop("it is a replica now")

    # Its faults

    def _watch(self) -> None:
        """Let go of commands whose time is over, and of a connection on which nothing moves."""
        self._look = None
        now = self.timers.now()
        for command in self._sent:
            if command.is_late(now):
                command.failed("the broker did not answer in time: it may have been done, or not")
        waiting, self._waiting = self._waiting, []
        for command in waiting:
            if command.is_late(now):
                self._size -= command.size
                command.failed(_NOT_SENT)
            else:
                self._waiting.append(command)
        if self._sent and self._progress + self.timeout <= now:
            self.drop(f"it did not answer within {self.timeout:g} s")
        if self._sent or self._waiting:
            self._look = self.timers.after(self.timeout / 4, self._watch)

    def _lose(self, why: str) -> None:
        sent, self._sent = self._sent, deque()
        for command in sent:
            self._size -= command.size
            command.failed("the broker was lost: it may have been done, or not")

    def _give_up(self, why: str) -> None:
        waiting, self._waiting = self._waiting, []
        for command in waiting:
            self._size -= command.size
            command.failed(_NOT_SENT)


def about(info: bytes) -> dict[str, str]:
    """Give what INFO says."""
    lines = (line.partition(":") for line in info.decode("utf-8", "replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


def _packed(connection: Any, commands: list[tuple[Any, ...]]) -> list[bytes]:
    if _pack is None:
        return connection.pack_commands(commands)
    return [_pack(command) for command in commands]


def _seen(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
