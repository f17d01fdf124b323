"""What a supervisor told this process, and an application → a server on the supervisor's sockets, which obeys it.

It prints nothing of its own: what keeps it from starting it tells its supervisor, which says it once.
"""

from __future__ import annotations

import _thread
import asyncio
import fcntl
import logging
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.logs.access import share_stream
from aiorest_ws.server.process import Signals
from aiorest_ws.server.program import Program
from aiorest_ws.server.server import Seat
from aiorest_ws.server.shutdown import RESTARTING, SHUTTING_DOWN
from aiorest_ws.workers.channel import Channel, open_channel
from aiorest_ws.workers.told import Told

if TYPE_CHECKING:
    from aiorest_ws.app import Application
    from aiorest_ws.workers.counts import Counts

__all__ = ("Worker",)

logger = logging.getLogger("aiorest_ws")

_TO_THE_GROUP = (signal.SIGINT, signal.SIGHUP)  # a terminal sends them to every process: the supervisor says what to do
_LEAVE = 5.0  # seconds that an orphan gets beyond those of its requests
_TAKEN = 2.0  # seconds for the supervisor to take the last message


class Worker(Program):
    """What `Application.run` is in a worker.

    text    what it was told
    turn    how often `run` was called before
    """

    def __init__(self, app: Application, options: Mapping[str, Any], text: str, turn: int) -> None:
        super().__init__(app, options)
        self._text = text
        self._turn = turn
        self._told: Told
        self._channel: Channel
        self._life = _Life()
        self._is_told_to_end = False
        self._hangs_up = False
        self._say_counted: Callable[[], None] | None = None

    def run(self) -> None:
        """Serve to the end, and end the process: what is behind `run` is the supervisor's. Raises SystemExit."""
        try:
            self._told = Told.read(self._text)
        except ImproperlyConfigured as exc:
            raise SystemExit(f"aiorest-ws: {exc}") from None
        if self._turn < self._told.turn:
            return  # it is not the one: the supervisor came past it, too
        self._told.keep()
        share_stream()
        _leave_to_supervisor()
        super().run()
        raise SystemExit(0)

    def _signals(self) -> Signals:
        signals = Signals((signal.SIGTERM,))
        self._life.watch(self._told.life, signals, self._options["shutdown_timeout"] + _LEAVE)
        return signals

    async def _run(self, signals: Signals) -> bool:
        """Serve, and tell the supervisor how it goes. Tells whether it failed."""
        told, app = self._told, self._app
        self._channel = app._channel = await open_channel(socket.socket(fileno=told.channel), to="the supervisor")
        counts = self._counts()
        app._seat = seat = Seat(
            told.bound(counts if told.is_common else None),
            None if self._options["max_connections"] is None and not told.is_common else counts,
        )
        self._listen_to(signals)
        try:
            is_lost = await self._serve(signals)
            if not is_lost and not self._is_told_to_end:
                self._channel.send("over")
            return is_lost
        except ImproperlyConfigured as exc:
            logger.debug("cannot start", exc_info=exc)
            self._channel.send("failed", str(exc), False)
            return True
        except Exception:  # the program's own: its supervisor says it, once for all workers, with its traceback
            self._channel.send("failed", traceback.format_exc()[-100_000:], True)
            return True
        finally:
            if self._say_counted is not None:
                self._say_counted()
            app._channel = app._seat = None
            seat.bound.close_sockets()
            await self._hang_up()

    def _counts(self) -> Counts | None:
        if self._told.counts is None:
            return None
        from aiorest_ws.workers.counts import Counts

        counts = Counts(self._told.counts, self._told.slot)
        counts.tell(0, 0)
        return counts

    async def _hang_up(self) -> None:
        """Close the channel when what was said has been taken."""
        self._hangs_up = True
        gone = asyncio.Event()
        self._channel.on_lost(gone.set)
        self._channel.close()
        try:
            await asyncio.wait_for(gone.wait(), _TAKEN)
        except TimeoutError:
            self._channel.abort()

    # What the supervisor says

    def _listen_to(self, signals: Signals) -> None:
        self._channel.take("ping", lambda head, body: self._channel.send("pong"))
        self._channel.take("drain", partial(self._drain, signals))
        self._channel.take("hurry", lambda head, body: self._on_impatience())
        self._channel.on_lost(self._on_lost)
        if self._told.stacks is not None:
            import faulthandler

            # Ignored by default: it does no harm before. The loop's own handlers would not be called while it is stuck.
            faulthandler.register(signal.SIGURG, file=self._told.stacks, all_threads=True)

    def _drain(self, signals: Signals, head: list[Any], body: bytes) -> None:
        (is_replaced,) = head
        self._channel.send("draining", self._in_flight())
        self._is_told_to_end = True
        if self._app._server is not None:
            self._app._server.ask(RESTARTING if is_replaced else SHUTTING_DOWN)

    def _in_flight(self) -> int:
        factory = self._app._listening
        return 0 if factory is None else sum(connection._in_flight for connection in factory.connections)

    def _on_lost(self) -> None:
        if not self._hangs_up:
            self._life.end()

    # What happens here

    def _on_started(self) -> None:
        if self._options["metrics_port"] is not None and self._app._listening is not None:
            from aiorest_ws.metrics import metrics_of
            from aiorest_ws.workers.scrapes import answer_scrapes

            self._say_counted = answer_scrapes(self._channel, metrics_of(self._app._listening).exposed)
        self._channel.send("ready")

    def _on_signal(self, asked: asyncio.Event, number: signal.Signals) -> None:
        asked.set()
        self._is_told_to_end = True
        if self._app._server is not None:
            self._app._server.ask()


class _Life:
    """The supervisor's life: when it is over, so is this process, whatever it does.

    A thread that waited for that would make every request slower (see `server.sockets`): the system sends a signal.
    """

    def __init__(self) -> None:
        self._is_lost = False
        self._signals: Signals
        self._seconds: float

    def watch(self, descriptor: int, signals: Signals, seconds: float) -> None:
        """End with the pipe at `descriptor`: as at SIGTERM, and if that takes longer than `seconds`, at once."""
        self._signals, self._seconds = signals, seconds
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGIO, lambda number, frame: self.end())
            fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)

    def end(self) -> None:
        """End this process, once."""
        if not self._is_lost:
            self._is_lost = True
            self._signals.take_first(signal.SIGTERM)
            _thread.start_new_thread(self._end_late, ())

    def _end_late(self) -> None:
        time.sleep(self._seconds)
        os.kill(os.getpid(), signal.SIGKILL)


def _leave_to_supervisor() -> None:
    """Do nothing at signals that every process of a terminal gets. The supervisor has blocked them until now.

    What this process starts gets them as ever: it inherits what is ignored, but no handlers.
    """
    if threading.current_thread() is threading.main_thread():
        for number in _TO_THE_GROUP:
            signal.signal(number, lambda number, frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _TO_THE_GROUP)
